"""A bundle asked about a whole run: windows in a line, and the sigma that healthy validation data told."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from calowatch.bundle.baseline import BaselineWindows
from calowatch.bundle.calibration_files import load_calibration
from calowatch.bundle.expecting import WindowModel, load_window_model
from calowatch.bundle.manifest import bundle_kind, read_manifest
from calowatch.bundle.reference import load_reference
from calowatch.core.schema import make_expectation
from calowatch.detect.calibration import Calibration
from calowatch.models.reference import RingReference, trials_of, usable_ls

__all__ = ["RunBundle", "WindowBundle", "load_bundle"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_AT_ONCE = 64  # windows
_FAR = 0.1  # of ln(lambda): an expectation that is farther off deserves a word
_AMISS = 2.0  # sigmas that the median channel is off: 0.7 where an expectation fits


class RunBundle(Protocol):
    """A bundle of any kind, asked about a run.

    Attributes
    ----------
    era
        Of its channels.
    channel
        Channel numbers that it knows.
    manifest
        As it stands beside it.
    """

    @property
    def era(self) -> str: ...  # noqa: D102 - told above

    @property
    def channel(self) -> Ints: ...  # noqa: D102

    @property
    def manifest(self) -> Mapping[str, Any]: ...  # noqa: D102

    def expect(self, occupancy: xr.Dataset) -> tuple[xr.Dataset, list[str]]:
        """Return the expectation for a run of channels that it knows, and what a user must read beside it."""
        ...


@dataclass(frozen=True, eq=False)
class WindowBundle:
    """A model for windows, asked about a run.

    Parameters
    ----------
    model
        Network or baseline.
    manifest
        As it stands beside it.
    calibration
        What healthy validation data told; without it sigma is that of the rings, which is wide.
    """

    model: WindowModel
    manifest: Mapping[str, Any]
    calibration: Calibration | None = None

    @property
    def era(self) -> str:
        """Era of the channels."""
        return str(self.manifest["era"])

    @property
    def channel(self) -> Ints:
        """Channel numbers that it knows."""
        return self.model.channel

    def expect(self, occupancy: xr.Dataset) -> tuple[xr.Dataset, list[str]]:
        """Return the expectation for a run of channels that it knows, and what a user must read beside it.

        Usable lumisections follow each other in windows; the last window reaches back where they do not divide evenly,
        and a run shorter than a window is filled up with its last lumisection. Channels of the model that the run does
        not hold are filled in as their ring does. Lumisections without enough events get the p of the usable one before
        (no verdict is asked there).
        """
        held = pd.Index(occupancy["channel"].to_numpy())
        place = held.get_indexer(pd.Index(self.channel))
        rows = np.flatnonzero(usable_ls(occupancy))
        warnings: list[str] = []
        if missing := int((place < 0).sum()):
            warnings.append(
                f"The run lacks {missing} of the {len(place)} channels that {self.model.name} sees; they are filled in "
                "from their rings."
            )
        if not len(rows):
            return RingReference().predict(occupancy), warnings
        p = np.empty((occupancy.sizes["ls"], len(held)))
        columns = np.flatnonzero(place >= 0)
        known = self._expected(occupancy, rows, place)[:, columns]
        latest = np.maximum(np.searchsorted(rows, np.arange(len(p)), side="right") - 1, 0)
        p[:, place[columns]] = known[latest]
        sigma = self._sigma(occupancy, warnings)
        warnings += self._amiss(occupancy.isel(ls=rows), p[rows], sigma)
        expectation = make_expectation(occupancy, p, sigma, {"method": str(self.manifest["kind"])})
        return expectation.assign(n_trials=("ls", trials_of(occupancy))), warnings

    def _expected(self, occupancy: xr.Dataset, rows: Ints, place: Ints) -> npt.NDArray[np.floating[Any]]:
        """Return p (usable ls, channel of the model)."""
        windows = _windows(len(rows), self.model.window)
        counts = _filled(occupancy["counts"].to_numpy()[rows], place, self.channel)
        n_events = occupancy["n_events"].to_numpy()[rows]
        if isinstance(self.model, BaselineWindows):
            found = self.model.follow_windows(counts[windows], n_events[windows])
        else:
            parts = [windows[first : first + _AT_ONCE] for first in range(0, len(windows), _AT_ONCE)]
            found = np.concatenate([self.model.predict_windows(counts[at], n_events[at]).p for at in parts])
        p = np.empty((len(rows), len(place)))
        for window, answer in zip(windows, found, strict=True):
            p[window] = answer
        return p

    def _amiss(self, occupancy: xr.Dataset, p: Floats, sigma: Floats) -> list[str]:
        """Return a warning where a run as a whole is not what the model expects: then verdicts are about the model."""
        trials = trials_of(occupancy).astype(np.float64)
        least = 1.0 / trials.sum()
        seen = occupancy["counts"].to_numpy().sum(axis=0) * least
        both = np.clip([seen, trials @ p * least], least, 1.0 - least)
        off = np.abs(np.diff(np.log(-np.log1p(-both)), axis=0)[0])
        middle = float(np.median(off))
        if middle < max(_FAR, _AMISS * float(np.median(sigma))):
            return []
        told = (
            f"Half of the channels are {100 * np.expm1(middle):.0f} % or more off what {self.model.name} expects of "
            "this run: it does not fit the run, and the failing units named here say more of it than of the detector. "
            "Train it longer, or take a reference."
        )
        return [told]

    def _sigma(self, occupancy: xr.Dataset, warnings: list[str]) -> Floats:
        numbers = occupancy["channel"].to_numpy()
        if self.calibration is None:
            warnings.append(f"{self.model.name} is not calibrated: small failures are not looked for.")
            sigma: Floats = RingReference().predict(occupancy)["sigma"].to_numpy()
            return sigma
        at = pd.Index(self.calibration.channel).get_indexer(pd.Index(numbers))
        found: Floats = self.calibration.sigma[at]
        if (middle := float(np.median(found))) > _FAR:
            warnings.append(
                f"Healthy channels lie {100 * middle:.0f} % off what {self.model.name} expects (median): failures that "
                "are not several times larger go unseen."
            )
        return found


def _windows(n: int, length: int) -> Ints:
    """Return rows of windows over ``n`` rows, shape (window, length).

    Examples
    --------
    >>> _windows(5, 2).tolist(), _windows(2, 3).tolist()
    ([[0, 1], [2, 3], [3, 4]], [[0, 1, 1]])
    """
    if n < length:
        return np.minimum(np.arange(length), n - 1)[None]
    starts = np.arange(0, n - length + 1, length)
    if n % length:
        starts = np.r_[starts, n - length]
    return starts[:, None] + np.arange(length)


def _filled(counts: npt.NDArray[Any], place: Ints, channel: Ints) -> npt.NDArray[Any]:
    """Return counts (ls, channel of the model), those that the run lacks being the mean of their ring."""
    if (place >= 0).all():
        return counts[:, place]
    found = np.where(place >= 0, counts[:, place], 0)
    ring = channel // 1000 * 10 + channel % 10
    for lacking in np.unique(ring[place < 0]):
        inside = ring == lacking
        present = inside & (place >= 0)
        if present.any():
            mean = found[:, present].mean(axis=1).round().astype(found.dtype)
            found[:, inside & (place < 0)] = mean[:, None]
    return found


def load_bundle(folder: Path | str) -> RunBundle:
    """Return a bundle of any kind that expects occupancy; torch is loaded only for a network.

    Raises
    ------
    FormatError
        When there is no bundle, a broken one, or one that expects no occupancy.
    ConflictError
        When the segmentation it was made for is not the one of this program.
    """
    if bundle_kind(folder) == "reference":
        return load_reference(folder)
    model = load_window_model(folder)
    manifest = read_manifest(folder)
    return WindowBundle(model, manifest, load_calibration(folder, manifest))
