"""What stands around a network: channels, grid, preparation, and how its answer becomes p. No torch in here."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
from scipy import special

from calowatch.bundle.manifest import read_arrays
from calowatch.core.errors import FormatError
from calowatch.data.preparation import Preparation, Prepared, load_preparation
from calowatch.detector.grids import cell_index, find_layout, in_layout
from calowatch.detector.index import channel_columns

__all__ = ["FRAME_FILE", "NetworkFrame", "filled_sigma", "load_frame"]

FRAME_FILE = "score_sigma.npz"

Counts = npt.NDArray[np.integer[Any]]
Values = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

LOWEST_P, HIGHEST_P = np.float32(1e-7), np.float32(1.0 - 1.2e-7)
"""Bounds of p in 32 bits: one step from 0 and 1, where no count could ever be evidence."""


def filled_sigma(sigma: Doubles, channel: npt.NDArray[np.int64]) -> Doubles:
    """Return the score's sigma, positive in every channel.

    A channel whose error never changed in training (one that never fires) has sigma 0, and any digi would score
    infinity. It gets the median of the positive sigmas of its ring (subdetector, ieta, depth), or of all channels where
    its ring has none, or 1 where there is none at all.

    Examples
    --------
    >>> filled_sigma(np.array([0.0, 2.0, 4.0]), np.array([2073333, 2073353, 2073373])).tolist()
    [3.0, 2.0, 4.0]
    """
    good = np.isfinite(sigma) & (sigma > 0)
    everywhere = float(np.median(sigma[good])) if good.any() else 1.0
    ring = channel // 1000 * 10 + channel % 10
    filled = np.where(good, sigma, everywhere)
    for lacking in np.unique(ring[~good]):
        inside = ring == lacking
        if (inside & good).any():
            filled[inside & ~good] = np.median(sigma[inside & good])
    return filled


@dataclass(frozen=True, eq=False)
class NetworkFrame:
    """From counts to what a network sees, and from what it answers to p and to the source system's score.

    Parameters
    ----------
    name
        Of the network, in the dict of models, with its wrappers.
    n_parameters
        How many numbers it learned.
    predicts
        Prepared occupancy, or the logit of p.
    layout, era
        The grid, and which channels there are.
    window
        Lumisections that it sees together.
    preparation
        Of the channels it answers for, in their order, none of them masked.
    score_sigma
        Standard deviation over training windows of the window's mean absolute error, shape (channel,).
    """

    name: str
    n_parameters: int
    predicts: Literal["occupancy", "logit"]
    layout: str
    era: str
    window: int
    preparation: Preparation
    score_sigma: Doubles

    @property
    def channel(self) -> npt.NDArray[np.int64]:
        """Channel numbers, in the order of all arrays (channel,)."""
        return self.preparation.channel

    @cached_property
    def _cells(self) -> npt.NDArray[np.int64]:
        return cell_index(channel_columns(self.channel), self.layout)

    @cached_property
    def _sigma(self) -> Values:
        return filled_sigma(self.score_sigma, self.channel).astype(np.float32)

    def prepare(self, counts: Counts, n_events: npt.NDArray[Any]) -> Prepared:
        """Return prepared values (row, channel) of windows [window, time, channel], a row per lumisection."""
        flat = np.asarray(counts).reshape(-1, counts.shape[-1])
        return self.preparation.transform(flat, np.asarray(n_events).ravel(), np.float32)

    def grid(self, values: npt.NDArray[np.floating[Any]]) -> Values:
        """Return values (row, channel) as grids (row, ieta, iphi, depth), 0 where there is no channel."""
        shape = find_layout(self.layout).shape
        found = np.zeros((len(values), int(np.prod(shape))), np.float32)
        for row, source in zip(found, values, strict=True):
            row[self._cells] = source
        return found.reshape(-1, *shape)

    def channels(self, grids: Values) -> Values:
        """Return values (row, channel) of grids (row, ieta, iphi, depth)."""
        found: Values = grids.reshape(len(grids), -1)[:, self._cells]
        return found

    def probability(self, answer: Values, prepared: Prepared, time: int) -> Values:
        """Return p (row, channel) from the network's answer.

        An answer in prepared units goes the preparation's way back to digis, and is divided by the events. Nothing
        keeps such an answer inside (0, 1), so it is bounded at what counting can tell: half a digi, or half a miss, in
        all events of the window. The sigmoid of a logit needs no bound but that of 32 bits.

        Parameters
        ----------
        answer
            Shape (row, channel).
        prepared
            What the network saw.
        time
            Lumisections per window: that many rows in a line belong together.
        """
        if self.predicts == "logit":
            p: Values = special.expit(answer)
            return np.clip(p, LOWEST_P, HIGHEST_P, out=p)
        events = np.maximum(prepared.n_events, 0).astype(np.float64)
        digis = self.preparation.inverse_transform(Prepared(answer, prepared.n_events, prepared.ring_means))
        p = (digis / np.maximum(events, 1.0)[:, None].astype(np.float32)).astype(np.float32, copy=False)
        total = np.repeat(events.reshape(-1, time).sum(axis=1), time)
        least = np.maximum(0.5 / (total + 1.0), LOWEST_P).astype(np.float32)[:, None]
        return np.clip(np.nan_to_num(p, copy=False, nan=0.5), least, 1.0 - least, out=p)

    def error(self, answer: Values, prepared: Prepared, p: Values, time: int) -> Values:
        """Return the mean over each window of the absolute error, shape (window, channel).

        In prepared units where the network predicts these, in digis per event where it predicts logits. Lumisections
        without events are in no mean.
        """
        away = (answer if self.predicts == "occupancy" else p) - prepared.values
        np.abs(away, out=away)
        lit = (np.asarray(prepared.n_events) > 0).astype(np.float32).reshape(-1, time)
        summed = np.einsum("wtc,wt->wc", away.reshape(-1, time, away.shape[-1]), lit)
        mean: Values = summed / np.maximum(lit.sum(axis=1), 1.0)[:, None]
        return mean

    def source_score(self, error: Values) -> Values:
        """Return errors (window, channel) over their training sigma; higher is more abnormal."""
        return error / self._sigma

    def save(self, folder: Path) -> None:
        """Write the parts that are arrays: the preparation, and the score's sigma."""
        self.preparation.save(folder)
        with (folder / FRAME_FILE).open("wb") as stream:
            np.savez(stream, score_sigma=self.score_sigma)

    def entries(self) -> dict[str, Any]:
        """Return the parts that stand in the manifest."""
        return {
            "model": self.name,
            "n_parameters": self.n_parameters,
            "predicts": self.predicts,
            "layout": self.layout,
            "era": self.era,
            "window": self.window,
            "n_channels": len(self.channel),
        }


def load_frame(folder: Path, manifest: Mapping[str, Any]) -> NetworkFrame:
    """Return the frame of a bundle, whose manifest has been checked.

    Raises
    ------
    FormatError
        When entries or arrays are missing, of another shape, or not numbers.
    """
    preparation = load_preparation(folder)
    try:
        sigma = np.asarray(read_arrays(folder / FRAME_FILE)["score_sigma"], np.float64)
        predicts, window = str(manifest["predicts"]), int(manifest["window"])
        frame = NetworkFrame(
            str(manifest["model"]),
            int(manifest["n_parameters"]),
            cast("Literal['occupancy', 'logit']", predicts),
            find_layout(str(manifest["layout"])).name,
            str(manifest["era"]),
            window,
            preparation,
            sigma,
        )
    except (LookupError, ValueError, TypeError) as error:
        raise FormatError(folder, "a whole bundle", f"a damaged one ({error})", "train it anew") from error
    n = len(preparation.channel)
    fits = predicts in ("occupancy", "logit") and window > 0 and n > 0 and sigma.shape == (n,)
    sound = fits and bool(preparation.mask.all() and (np.isfinite(sigma) & (sigma >= 0)).all())
    if not sound or not in_layout(channel_columns(preparation.channel), frame.layout).all():
        raise FormatError(
            folder,
            "channels of the layout, a window, and a sigma of zero or more for each channel",
            "other numbers",
            "train it anew",
        )
    return frame
