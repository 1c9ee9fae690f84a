"""Bundles of baselines, and baselines behind the common interface: ring, per-channel reference, PCA, EWMA template.

============================  ========================================================================================
``manifest.json``             schema, kind ``ring``, ``pca`` or ``ewma``, era, window, hashes, provenance
``baseline.npz``              what was learned: ln(response), components, information
``score_sigma.npz``           standard deviation of each channel's window error on training data, where that is known
============================  ========================================================================================

The reference has a layout of its own, `calowatch.bundle.reference`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from calowatch.bundle.calibration_files import save_calibration
from calowatch.bundle.expecting import Counts, WindowPrediction, check_windows, training_sigma
from calowatch.bundle.frame import FRAME_FILE, filled_sigma
from calowatch.bundle.manifest import MANIFEST, hashes, open_manifest, read_arrays
from calowatch.bundle.reference import load_reference
from calowatch.core.errors import FormatError, InputError, UnknownNameError, nearest
from calowatch.core.files import atomic_directory, write_json
from calowatch.core.progress import SILENT, Progress
from calowatch.detect.calibration import Calibration
from calowatch.detector.table import channel_table, segmentation_hash
from calowatch.models.baselines import Ewma, Template, run_windows
from calowatch.models.pca import Pca
from calowatch.models.reference import Reference, usable_ls

__all__ = [
    "BASELINES",
    "BaselineWindows",
    "RunWindows",
    "baseline_windows",
    "fit_baseline",
    "save_baseline",
    "save_sigma",
]

BASELINES = ("ring", "reference", "pca", "ewma")
"""Kinds of bundles that hold no network."""

Baseline = Template | Pca | Ewma
Floats = npt.NDArray[np.float64]

SCHEMA = 1
WINDOW = 5
"""Lumisections per window where nobody said otherwise; baselines take windows of any length."""

_ARRAYS = "baseline.npz"
_SIGMA_WINDOWS = 300  # training windows behind the sigma of the score
_AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class BaselineWindows:
    """A baseline behind the common interface of `calowatch.bundle.expecting.WindowModel`.

    Parameters
    ----------
    name
        One of `BASELINES`.
    baseline
        What expects.
    window
        Lumisections of the windows it was fitted to; any other number does too.
    score_sigma
        Standard deviation over training windows of the window's mean absolute error in digis per event, shape
        (channel,); without it there is no source score.
    """

    name: str
    baseline: Baseline
    window: int = WINDOW
    score_sigma: Floats | None = None

    @property
    def template(self) -> Template:
        """Ring and response of the baseline."""
        return self.baseline if isinstance(self.baseline, Template) else self.baseline.template

    @property
    def channel(self) -> npt.NDArray[np.int64]:
        """Channel numbers, shape (channel,)."""
        return self.template.channel

    @property
    def n_parameters(self) -> int:
        """How many numbers were learned: one per channel, and as many per component; none of the ring."""
        n = 0 if self.name == "ring" else len(self.channel)
        return n * (1 + len(self.baseline.components)) if isinstance(self.baseline, Pca) else n

    def predict_windows(self, counts: Counts, n_events: Counts) -> WindowPrediction:
        """Return p and the source's score of windows of any length, the template standing still."""
        check_windows(self, counts, n_events, any_time=True)
        p = self.baseline.expect_windows(counts, n_events)
        if self.score_sigma is None:
            return WindowPrediction(p, None)
        return WindowPrediction(p, _error(counts, n_events, p) / filled_sigma(self.score_sigma, self.channel))

    def follow_windows(self, counts: Counts, n_events: Counts) -> Floats:
        """Return p of the windows of one run in order of time; the EWMA template follows them, others stand still."""
        check_windows(self, counts, n_events, any_time=True)
        if not isinstance(self.baseline, Ewma):
            return self.baseline.expect_windows(counts, n_events)
        return np.stack([p for p, _ in self.baseline.follow(counts, n_events)])

    def window_error(self, counts: Counts, n_events: Counts) -> Floats:
        """Return the mean absolute error of windows in digis per event, [window, channel]."""
        return _error(counts, n_events, self.baseline.expect_windows(counts, n_events))

    def with_sigma(self, score_sigma: Floats) -> "BaselineWindows":
        """Return the same baseline with a sigma for its score."""
        return replace(self, score_sigma=score_sigma)


def fit_baseline(
    kind: str,
    runs: Sequence[xr.Dataset],
    window: int = WINDOW,
    seed: int = 0,
    progress: Progress = SILENT,
) -> BaselineWindows:
    """Return a baseline fitted to healthy runs, with the sigma of its score.

    Parameters
    ----------
    kind
        One of `BASELINES`.
    runs
        Occupancy of one era with the same channels; events per lumisection must be known.
    window
        Lumisections per window.
    seed
        Of what is drawn on the way (the halves of PCA).
    progress
        Whom to tell how far it is.

    Raises
    ------
    InputError
        When there is no such baseline, or the runs do not do.
    """
    if kind not in BASELINES:
        raise UnknownNameError(
            f"method {kind!r}", f"one of {', '.join(BASELINES)}", "none such", nearest(kind, BASELINES)
        )
    baseline: Baseline
    if kind == "pca":
        baseline = Pca.fit(runs, window, seed, progress)
    elif kind == "ewma":
        baseline = Ewma.fit(runs, window, progress)
    else:
        learned = Reference().fit(runs, progress)
        response = learned.log_response_ if kind == "reference" else np.zeros(len(learned.channel_))
        baseline = Template(str(runs[0].attrs["era"]), learned.channel_, response)
    model = BaselineWindows(kind, baseline, window)
    return model.with_sigma(training_sigma(model, RunWindows(runs, window, _SIGMA_WINDOWS)))


class RunWindows:
    """Windows of usable lumisections of runs in memory, to be gone through as often as needed.

    Parameters
    ----------
    runs
        Occupancy with the same channels.
    window
        Lumisections per window.
    at_most
        Take that many windows, evenly spread.
    """

    def __init__(self, runs: Sequence[xr.Dataset], window: int, at_most: int | None = None) -> None:
        self._runs, self._window, self._at_most = runs, window, at_most

    def __iter__(self) -> Iterator[tuple[Counts, Counts]]:
        """Yield counts [window, time, channel] and events [window, time]."""
        total = sum(int(usable_ls(run).sum()) // self._window for run in self._runs)
        step = max(1, -(-total // self._at_most)) if self._at_most else 1
        for run in self._runs:
            counts, n_events = run_windows(run, self._window)
            for first in range(0, len(counts), _AT_ONCE * step):
                part = slice(first, first + _AT_ONCE * step, step)
                yield counts[part], n_events[part]


def _error(counts: Counts, n_events: Counts, p: Floats) -> Floats:
    lit = (np.asarray(n_events) > 0).astype(np.float64)
    away = np.abs(p - counts / np.maximum(n_events, 1)[..., None])
    mean: Floats = np.einsum("wtc,wt->wc", away, lit) / np.maximum(lit.sum(axis=1), 1.0)[:, None]
    return mean


def save_baseline(
    folder: Path | str,
    model: BaselineWindows,
    manifest: Mapping[str, Any],
    calibration: Calibration | None = None,
) -> dict[str, Any]:
    """Write a baseline as a bundle, and return its manifest.

    Parameters
    ----------
    folder
        The bundle's folder; an earlier bundle there is replaced, anything else is left alone.
    model
        Kind ring, pca or ewma.
    manifest
        What to record besides: ``runs``, ``provenance`` and the like.
    calibration
        What healthy validation data told, if there were any.

    Raises
    ------
    InputError
        For a reference, which `calowatch.bundle.reference.save_reference` writes.
    ConflictError
        When something that is no bundle stands in the way.
    """
    if model.name not in BASELINES or model.name == "reference":
        raise InputError("bundle", "ring, pca or ewma", model.name, "use save_reference")
    with atomic_directory(folder, marker=MANIFEST) as scratch:
        with (scratch / _ARRAYS).open("wb") as stream:
            np.savez(stream, **_arrays(model.baseline))  # type: ignore[arg-type]
        if model.score_sigma is not None:
            save_sigma(scratch, model.score_sigma)
        if calibration is not None:
            save_calibration(scratch, calibration)
        content = {
            "schema": SCHEMA,
            "kind": model.name,
            "model": model.name,
            "era": model.template.era,
            "window": model.window,
            "n_channels": len(model.channel),
            "n_parameters": model.n_parameters,
            "segmentation": segmentation_hash(model.template.era),
            **manifest,
            "sha256": hashes(scratch),
        }
        write_json(scratch / MANIFEST, content)
    return content


def save_sigma(folder: Path, score_sigma: Floats) -> None:
    """Write the score's sigma into a bundle that is being made."""
    with (folder / FRAME_FILE).open("wb") as stream:
        np.savez(stream, score_sigma=score_sigma)


def _arrays(baseline: Baseline) -> dict[str, npt.NDArray[Any]]:
    template = baseline if isinstance(baseline, Template) else baseline.template
    found: dict[str, npt.NDArray[Any]] = {"channel": template.channel, "log_response": template.log_response}
    if isinstance(baseline, Pca):
        found["components"] = baseline.components
    if isinstance(baseline, Ewma):
        found |= {"information": baseline.information, "half_life": np.array(baseline.half_life)}
    return found


def baseline_windows(folder: Path | str, kind: str) -> BaselineWindows:
    """Return the baseline of a bundle behind the common interface.

    Raises
    ------
    FormatError
        When the bundle is broken.
    ConflictError
        When the segmentation it was made for is not the one of this program.
    """
    folder = Path(folder)
    if kind == "reference":
        bundle = load_reference(folder)
        learned = bundle.reference
        template = Template(bundle.era, learned.channel_, learned.log_response_)
        return BaselineWindows(kind, template, WINDOW, _sigma(folder, bundle.manifest, len(template.channel)))
    manifest = open_manifest(folder, (kind,), SCHEMA)
    try:
        arrays = read_arrays(folder / _ARRAYS)
        baseline = _baseline(kind, str(manifest["era"]), arrays)
        window = int(manifest["window"])
    except (LookupError, ValueError, TypeError) as error:
        raise FormatError(folder, "a whole bundle", f"a damaged one ({error})", "fit it anew") from error
    return BaselineWindows(kind, baseline, window, _sigma(folder, manifest, len(arrays["channel"])))


def _baseline(kind: str, era: str, arrays: Mapping[str, npt.NDArray[Any]]) -> Baseline:
    """Return what arrays hold; ValueError where they hold something else."""
    channel, response = arrays["channel"].astype(np.int64), arrays["log_response"].astype(np.float64)
    if (
        not set(channel.tolist()) <= set(channel_table(era)["channel"].tolist())
        or response.shape != channel.shape
    ):
        raise ValueError("other channels")
    if np.isinf(response).any():
        raise ValueError("a response that is no number")
    template = Template(era, channel, response)
    if kind == "ring":
        return template
    if kind == "pca":
        components = arrays["components"]
        _check(components, (len(components), len(channel)))
        return Pca(template, components)
    information, half_life = arrays["information"], float(arrays["half_life"])
    _check(information, channel.shape)
    if not half_life > 0 or not (information > 0).all():
        raise ValueError("a half-life or an information that is not positive")
    return Ewma(template, information, half_life)


def _check(values: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    if values.shape != shape or not np.isfinite(values).all():
        raise ValueError(f"numbers of shape {values.shape}, or none")


def _sigma(folder: Path, manifest: Mapping[str, Any], n: int) -> Floats | None:
    if FRAME_FILE not in manifest["sha256"]:
        return None
    try:
        sigma = np.asarray(read_arrays(folder / FRAME_FILE)["score_sigma"], np.float64)
        _check(sigma, (n,))
    except (LookupError, ValueError) as error:
        raise FormatError(folder / FRAME_FILE, "a sigma per channel", str(error), "calibrate anew") from error
    return sigma
