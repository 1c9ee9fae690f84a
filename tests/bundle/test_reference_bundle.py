"""Bundles: what is saved is what is loaded, and a broken one is refused."""

import json

import numpy as np
import pytest

from calowatch.bundle.reference import MANIFEST, load_reference, save_reference
from calowatch.bundle.score import score
from calowatch.core.errors import ConflictError, FormatError
from calowatch.core.schema import UNKNOWN_EVENTS
from calowatch.models.reference import Reference

CONTENT = {"era": "run3", "runs": [{"run": 1}], "provenance": {}}


@pytest.fixture(scope="module")
def reference(toy_run):
    return Reference().fit([toy_run(1, n_ls=8, subdets=("HE",)).occupancy])


@pytest.fixture
def bundle(reference, tmp_path):
    save_reference(tmp_path / "ref", reference, CONTENT)
    return tmp_path / "ref"


def test_in_memory_and_reloaded_agree_to_the_bit(reference, bundle, toy_run):
    run = toy_run(2, n_ls=6, subdets=("HE",)).occupancy
    loaded = load_reference(bundle)
    assert loaded.era == "run3"
    for name in ("p", "sigma"):
        np.testing.assert_array_equal(
            loaded.reference.predict(run)[name].to_numpy(), reference.predict(run)[name].to_numpy()
        )


def test_no_pickle_inside(bundle):
    with np.load(bundle / "reference.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"channel", "log_response", "sigma", "ring_log_rate"}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda b: (b / MANIFEST).unlink(), "no manifest.json"),
        (lambda b: (b / MANIFEST).write_text("{"), "unreadable"),
        (lambda b: (b / MANIFEST).write_text("[]"), "unreadable"),
        (lambda b: (b / "reference.npz").write_bytes(b"junk"), "other or missing content"),
        (lambda b: (b / "reference.npz").unlink(), "other or missing content"),
    ],
)
def test_broken_bundles_are_refused(bundle, spoil, words):
    spoil(bundle)
    with pytest.raises(FormatError, match=words):
        load_reference(bundle)


@pytest.mark.parametrize(
    ("key", "value", "error"), [("schema", 99, FormatError), ("segmentation", "x", ConflictError)]
)
def test_bundles_of_another_kind_are_refused(bundle, key, value, error):
    manifest = json.loads((bundle / MANIFEST).read_text())
    (bundle / MANIFEST).write_text(json.dumps({**manifest, key: value}))
    with pytest.raises(error):
        load_reference(bundle)


@pytest.mark.parametrize("key", ["schema", "era", "runs", "segmentation", "sha256"])
def test_a_manifest_without_an_entry_is_refused(bundle, key):
    manifest = json.loads((bundle / MANIFEST).read_text())
    del manifest[key]
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(FormatError, match="unreadable"):
        load_reference(bundle)


@pytest.mark.parametrize(("name", "value"), [("sigma_", np.nan), ("sigma_", 0.0), ("ring_log_rate_", np.inf)])
def test_numbers_that_would_hide_failures_are_refused(reference, tmp_path, name, value):
    spoiled = Reference()
    for key in ("channel_", "log_response_", "sigma_", "ring_log_rate_"):
        setattr(spoiled, key, getattr(reference, key).copy())
    getattr(spoiled, name)[5] = value
    save_reference(tmp_path / "bad", spoiled, CONTENT)
    with pytest.raises(FormatError, match="positive sigma"):
        load_reference(tmp_path / "bad")


def test_missing_bundle_says_how_to_make_one(tmp_path):
    with pytest.raises(FormatError, match="calowatch fit"):
        load_reference(tmp_path / "nowhere")


def test_a_bundle_is_replaced_and_other_folders_are_not(reference, bundle, tmp_path):
    save_reference(bundle, reference, CONTENT)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(ConflictError, match="lost"):
        save_reference(tmp_path / "mine", reference, CONTENT)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years"


def test_a_failing_save_leaves_the_old_bundle(reference, bundle, monkeypatch):
    before = (bundle / MANIFEST).read_bytes()

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="No space"):
        save_reference(bundle, reference, CONTENT)
    assert (bundle / MANIFEST).read_bytes() == before
    assert [path.name for path in bundle.parent.iterdir()] == ["ref"]


def test_score_falls_back_to_rings_and_says_so(bundle, toy_run):
    loaded = load_reference(bundle)
    run = toy_run(2, n_ls=5, subdets=("HE", "HO")).occupancy
    mixed = score(run, loaded)
    assert "does not know HO" in " ".join(mixed.warnings)
    assert mixed.expectation.sizes["channel"] == run.sizes["channel"]
    he = run["subdet"].to_numpy() == "HE"
    only = score(run.isel(channel=he), loaded)
    np.testing.assert_array_equal(mixed.expectation["p"].to_numpy()[:, he], only.expectation["p"].to_numpy())
    unknown = score(run.assign(n_events=("ls", np.full(5, UNKNOWN_EVENTS))), loaded)
    assert "only ring-relative evidence" in unknown.warnings[0]
    assert unknown.expectation.attrs["method"] == "ring"


def test_score_refuses_another_era_and_foreign_channels(bundle, toy_run):
    loaded = load_reference(bundle)
    with pytest.raises(ConflictError, match="era run3"):
        score(toy_run(1, n_ls=3, era="2018").occupancy, loaded)
    with pytest.raises(ConflictError, match="none of them"):
        score(toy_run(1, n_ls=3, subdets=("HO",)).occupancy, loaded)


def test_channel_order_does_not_matter(bundle, toy_run):
    run = toy_run(3, n_ls=5, subdets=("HE",)).occupancy
    loaded = load_reference(bundle)
    order = np.random.default_rng(1).permutation(run.sizes["channel"])
    shuffled = score(run.isel(channel=order), loaded)
    np.testing.assert_allclose(
        shuffled.evidence["z"].to_numpy(), score(run, loaded).evidence["z"].to_numpy()[:, order], atol=1e-5
    )


def test_a_missing_subdetector_is_no_green_light(toy_run, tmp_path):
    both = toy_run(1, n_ls=5, subdets=("HE", "HO")).occupancy
    save_reference(tmp_path / "both", Reference().fit([both]), CONTENT)
    alone = both.isel(channel=both["subdet"].to_numpy() == "HE")
    (warning,) = score(alone, load_reference(tmp_path / "both")).warnings
    assert "Nothing of HO" in warning
