"""Bundles of every kind asked about whole runs: failing units are named, healthy runs raise no alarm."""

import numpy as np
import pytest

from calowatch.bundle.baseline import BASELINES, RunWindows, baseline_windows, fit_baseline, save_baseline
from calowatch.bundle.calibrating import finish_bundle
from calowatch.bundle.calibration_files import load_calibration
from calowatch.bundle.expecting import load_window_model, training_sigma
from calowatch.bundle.network import NetworkParts, save_network
from calowatch.bundle.reference import save_reference
from calowatch.bundle.runs import load_bundle
from calowatch.bundle.score import score
from calowatch.core.errors import ConflictError, FormatError, InputError
from calowatch.core.recipe import PerEvent
from calowatch.core.schema import UNKNOWN_EVENTS
from calowatch.data.preparation import Preparation
from calowatch.detect.decide import Question, decide
from calowatch.models.reference import Reference


@pytest.fixture(scope="module")
def healthy(toy_run):
    return [
        toy_run(seed, n_ls=150, subdets=("HO",), pileup=0.8 + 0.2 * seed, run=seed).occupancy
        for seed in (1, 2)
    ]


@pytest.fixture(scope="module")
def bundles(healthy, tmp_path_factory):
    """One calibrated bundle of each kind, fitted to the first run and calibrated on the second."""
    folder = tmp_path_factory.mktemp("bundles")
    content = {"runs": [{"run": 1}], "provenance": {}}
    for kind in ("ring", "pca", "ewma"):
        save_baseline(folder / kind, fit_baseline(kind, healthy[:1]), content)
    reference = Reference().fit(healthy[:1])
    save_reference(folder / "reference", reference, {"era": "run3", **content})
    save_network(folder / "network", taught(reference, healthy[0]), content)
    for kind in (*BASELINES, "network"):
        finish_bundle(folder / kind, RunWindows(healthy[1:], 5))
    return folder


def taught(reference, run):
    """Our network with the response of the reference in place of training: no deviation from ring and response."""
    import torch

    from calowatch.detector.grids import cell_index
    from calowatch.detector.index import channel_columns
    from calowatch.models.api import NetworkRequest, build
    from calowatch.models.geometry import Geometry

    request = NetworkRequest("binomial-response", (), {"latent": 1})
    torch.manual_seed(0)
    network = build(request, Geometry.of_layout("ho"))
    channel = reference.channel_
    with torch.no_grad():
        network.last.weight.zero_()
        network.last.bias.zero_()
        cells = torch.from_numpy(cell_index(channel_columns(channel), "ho"))
        network.response.view(-1)[cells] = torch.from_numpy(np.nan_to_num(reference.log_response_)).float()
    preparation = Preparation([PerEvent()], channel)
    parts = NetworkParts(
        network, request, "ho", "run3", 5, channel, preparation, np.full(len(channel), 0.01), "binomial"
    )
    from dataclasses import replace

    from calowatch.bundle.running import windows_of

    return replace(parts, score_sigma=training_sigma(windows_of(parts), RunWindows([run], 5, 20)))


def verdicts(run, bundle):
    scores = score(run, bundle)
    return scores, decide(Question(run, scores.expectation, scores.usable))


@pytest.mark.parametrize("kind", [*BASELINES, "network"])
def test_a_failing_unit_is_named_and_healthy_runs_say_nothing(kind, bundles, toy_run):
    bundle = load_bundle(bundles / kind)
    ill = toy_run(7, n_ls=43, subdets=("HO",), faults=[("HO012", 0.5, 12, 43), ("HO-7-33-4", 0.0, 20, 43)])
    _, found = verdicts(ill.occupancy, bundle)
    assert {v.unit for v in found} == {"HO012", "HO-7-33-4"}
    assert {v.unit: v.first_ls for v in found} == {"HO012": 12, "HO-7-33-4": 20}
    for seed in (8, 9):
        scores, found = verdicts(toy_run(seed, n_ls=60, subdets=("HO",), pileup=1.3).occupancy, bundle)
        assert not found
        assert not scores.warnings


def test_a_network_that_learned_nothing_says_so(ho_parts, toy_run, tmp_path):
    """The source system's kind, in windows and by reconstruction, with weights as they were drawn."""
    save_network(tmp_path / "b", ho_parts("cnn-vae-lstm", ("rin", "dc")), {"provenance": {}})
    run = toy_run(8, n_ls=11, subdets=("HO",), faults=[("HO012", 0.0, 1, 11)]).occupancy
    scores, found = verdicts(run, load_bundle(tmp_path / "b"))
    assert scores.expectation["p"].shape == run["counts"].shape
    assert found
    assert any("does not fit the run" in warning for warning in scores.warnings)


@pytest.mark.parametrize("kind", [*BASELINES, "network"])
def test_windows_of_every_kind(kind, bundles, healthy):
    model = load_window_model(bundles / kind)
    counts, n_events = next(iter(RunWindows(healthy, 5)))
    found = model.predict_windows(counts, n_events)
    assert found.p.shape == counts.shape
    assert ((found.p > 0) & (found.p < 1)).all()
    alone = model.predict_windows(counts[3:4], n_events[3:4])
    np.testing.assert_allclose(alone.p, found.p[3:4], rtol=1e-4)
    assert (model.n_parameters == 0) == (kind == "ring")
    if kind != "reference":  # never saw windows: fit writes no sigma for it
        assert found.source_score.mean() == pytest.approx(alone.source_score.mean(), rel=0.5)
    kept = load_calibration(bundles / kind)
    z = kept.threshold("binomial", 1e-3)
    assert 3.1 < z < 3.6 if kind in ("reference", "pca", "ewma") else z > 3.1


def test_baselines_reloaded_are_those_in_memory(healthy, tmp_path):
    counts, n_events = next(iter(RunWindows(healthy, 5)))
    for kind in ("ring", "pca", "ewma"):
        model = fit_baseline(kind, healthy[:1])
        manifest = save_baseline(tmp_path / kind, model, {"provenance": {}})
        again = baseline_windows(tmp_path / kind, kind)
        assert manifest["n_parameters"] == again.n_parameters
        for mine, theirs in zip(
            (model.predict_windows(counts, n_events), model.follow_windows(counts, n_events)),
            (again.predict_windows(counts, n_events), again.follow_windows(counts, n_events)),
            strict=True,
        ):
            np.testing.assert_array_equal(getattr(mine, "p", mine), getattr(theirs, "p", theirs))
    with pytest.raises(InputError, match="save_reference"):
        save_baseline(tmp_path / "no", fit_baseline("reference", healthy[:1]), {})
    with pytest.raises(InputError, match="did you mean ewma"):
        fit_baseline("ewm", healthy[:1])


@pytest.mark.parametrize("name", ["baseline.npz", "score_sigma.npz", "calibration.npz"])
def test_broken_baselines_are_refused(name, bundles, tmp_path):
    import json
    import shutil

    from calowatch.core.files import file_hash

    folder = tmp_path / "b"
    shutil.copytree(bundles / "ewma", folder)
    (folder / name).write_bytes((folder / name).read_bytes()[:-30])
    with pytest.raises(FormatError, match="other content"):
        load_bundle(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"][name] = file_hash(folder / name)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(FormatError, match="anew"):
        load_bundle(folder)


def test_a_network_of_one_subdetector_leaves_the_others_to_their_rings(bundles, toy_run):
    bundle = load_bundle(bundles / "network")
    run = toy_run(3, n_ls=12, subdets=("HO", "HE")).occupancy
    mixed = score(run, bundle)
    assert "does not know HE" in " ".join(mixed.warnings)
    ho = run["subdet"].to_numpy() == "HO"
    only = score(run.isel(channel=ho), bundle)
    np.testing.assert_array_equal(mixed.expectation["p"].to_numpy()[:, ho], only.expectation["p"].to_numpy())
    assert "Nothing of HO" not in " ".join(mixed.warnings)
    with pytest.raises(ConflictError, match="none of them"):
        score(run.isel(channel=~ho), bundle)
    with pytest.raises(ConflictError, match="era run3"):
        score(toy_run(1, n_ls=3, era="2018").occupancy, bundle)
    unknown = run.assign(n_events=("ls", np.full(12, UNKNOWN_EVENTS)))
    assert score(unknown, bundle).expectation.attrs["method"] == "ring"


def test_runs_that_do_not_fill_windows(bundles, toy_run):
    """Fewer lumisections than a window, some left over, some without events, a hole in the channels, another order."""
    bundle = load_bundle(bundles / "network")
    run = toy_run(4, n_ls=13, subdets=("HO",)).occupancy
    p = score(run, bundle).expectation["p"]
    assert np.isfinite(p).all()
    np.testing.assert_array_equal(score(run.isel(ls=slice(10)), bundle).expectation["p"], p[:10])
    assert score(run.isel(ls=slice(2)), bundle).expectation["p"].shape == (2, 2160)
    few = run.copy(deep=True)
    few["n_events"][4], few["counts"][4] = 3, 0
    gap = score(few, bundle)
    assert not gap.usable[4]
    np.testing.assert_array_equal(gap.expectation["p"][4], gap.expectation["p"][3])
    order = np.random.default_rng(1).permutation(2160)
    np.testing.assert_array_equal(score(run.isel(channel=order), bundle).expectation["p"], p[:, order])
    holed = score(run.isel(channel=np.arange(2160) % 7 != 0), bundle)
    assert "lacks 309 of the 2160 channels" in holed.warnings[0]
    assert abs(np.log(holed.expectation["p"] / p.sel(channel=holed.expectation["channel"]))).max() < 0.2


def test_without_calibration_sigma_is_wide_and_it_says_so(healthy, toy_run, tmp_path):
    save_baseline(tmp_path / "b", fit_baseline("ewma", healthy[:1]), {"runs": [], "provenance": {}})
    found = score(toy_run(4, n_ls=13, subdets=("HO",)).occupancy, load_bundle(tmp_path / "b"))
    assert "not calibrated" in found.warnings[0]
    assert (found.expectation["sigma"] >= 0.05).all()
