"""Thresholds and sigma come from healthy windows by the path that scores, and travel with the bundle."""

import json

import numpy as np
import pytest

from calowatch.bundle.calibrating import calibrate, finish_bundle
from calowatch.bundle.calibration_files import load_calibration
from calowatch.bundle.expecting import WindowPrediction, load_window_model
from calowatch.bundle.manifest import MANIFEST
from calowatch.bundle.network import save_network
from calowatch.core.errors import FormatError, InputError
from calowatch.core.files import file_hash


class Oracle:
    """Knows the true p, but for a bias and a scatter of ln(lambda) from window to window."""

    name, n_parameters, window = "oracle", 0, 3

    def __init__(self, truth, bias=0.0, scatter=0.0):
        self.channel = truth[0].channel
        self._answers = iter([t.p for t in truth])
        self._bias, self._scatter = bias, scatter
        self._rng = np.random.default_rng(0)

    def predict_windows(self, counts, n_events):
        p = next(self._answers)
        off = self._bias + self._scatter * self._rng.standard_normal((len(p), 1, p.shape[2]))
        return WindowPrediction(-np.expm1(np.log1p(-p) * np.exp(off)), None)


def pieces(truth):
    return [(t.counts, t.n_events) for t in truth]


@pytest.fixture(scope="module")
def truth(ho_windows):
    return [ho_windows(n=60, seed=seed) for seed in range(4)]


def test_thresholds_keep_their_rate_on_other_healthy_windows(truth, ho_windows):
    found = calibrate(Oracle(truth), pieces(truth))
    assert found.n_windows == 240
    told = found.thresholds["binomial"]
    assert told.samples == 240 * 2160
    assert told.above == (5184, 518, 51, 5, 0)
    assert np.isnan(told.values[-1])
    assert "source_score" not in found.thresholds
    assert told.at(1e-2) == pytest.approx(2.576, abs=0.03)
    assert told.at(1e-4) == pytest.approx(3.89, abs=0.2)
    for rate in (1e-6, 0.5):
        with pytest.raises(InputError, match=r"518400 healthy"):
            found.threshold("binomial", rate)


@pytest.mark.parametrize(("bias", "scatter"), [(0.0, 0.0), (0.05, 0.0), (0.0, 0.04), (0.1, 0.05)])
def test_sigma_is_bias_and_scatter_and_not_statistics(truth, bias, scatter):
    sigma = calibrate(Oracle(truth, bias, scatter), pieces(truth)).sigma
    assert np.median(sigma) == pytest.approx(np.hypot(bias, scatter), abs=0.008)
    assert (sigma > 0.003).all()


def test_a_channel_that_tells_nothing_gets_a_wide_sigma(truth):
    silent = [type(t)(t.channel, t.counts.copy(), t.n_events, t.p.copy()) for t in truth]
    for t in silent:
        t.p[..., 7] = 1e-7
        t.counts[..., 7] = 0
    sigma = calibrate(Oracle(silent), pieces(silent)).sigma
    assert 0.09 < sigma[7] < 0.11


def test_calibration_travels_with_the_bundle(ho_parts, ho_windows, tmp_path):
    folder = tmp_path / "b"
    save_network(folder, ho_parts("binomial"), {"provenance": {}})
    assert load_calibration(folder) is None
    windows = [(w.counts, w.n_events) for w in (ho_windows(n=6, seed=s) for s in range(2))]
    found = finish_bundle(folder, windows)
    kept = load_calibration(folder)
    assert kept.thresholds["source_score"].samples == 12 * 2160
    np.testing.assert_array_equal(kept.sigma, found.sigma)
    for name in ("source_score", "binomial"):
        np.testing.assert_array_equal(kept.thresholds[name].values, found.thresholds[name].values)
    assert load_window_model(folder).n_parameters > 0
    again = finish_bundle(folder, windows)
    np.testing.assert_array_equal(again.sigma, found.sigma)
    with pytest.raises(InputError, match="validation side"):
        finish_bundle(folder, [])
    np.testing.assert_array_equal(load_calibration(folder).sigma, found.sigma)
    (folder / "calibration.json").write_text("{}")
    with pytest.raises(FormatError, match="other content"):
        load_window_model(folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["sha256"]["calibration.json"] = file_hash(folder / "calibration.json")
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(FormatError, match="calibrate anew"):
        load_calibration(folder)


def test_windows_of_a_dataset_are_those_that_were_counted(toy_run, tmp_path):
    from calowatch.bundle.calibrating import DatasetWindows
    from calowatch.data.prepare import prepare
    from calowatch.io.store import write_run

    run = toy_run(1, n_ls=50, run=362758, subdets=("HO",)).occupancy
    write_run(tmp_path / "o.zarr", run)
    (tmp_path / "r.toml").write_text(
        'store = "o.zarr"\n[select]\nsubdets = ["HO"]\n[split]\nby = "ls_range"\ntrain = "1-20"\nvalidation = "21-50"\n'
        '[window]\nlength = 5\n[preparation]\nsteps = ["per_event"]\n'
    )
    prepare(tmp_path / "r.toml", tmp_path / "d")
    channel = run["channel"].to_numpy()[::-1][:100]
    windows = DatasetWindows(tmp_path / "d", "validation", channel, at_once=4)
    assert len(windows) == 6
    for _ in range(2):
        counts, n_events = (np.concatenate(parts) for parts in zip(*windows, strict=True))
        np.testing.assert_array_equal(counts.reshape(30, 100), run["counts"].to_numpy()[20:, ::-1][:, :100])
        np.testing.assert_array_equal(n_events.ravel(), run["n_events"].to_numpy()[20:])
    assert len(DatasetWindows(tmp_path / "d", "validation", channel, at_most=2)) == 2
    with pytest.raises(InputError, match="did you mean"):
        DatasetWindows(tmp_path / "d", "validatoin", channel)
    with pytest.raises(InputError, match="1 fewer"):
        DatasetWindows(tmp_path / "d", "train", np.r_[channel, 2073333])
