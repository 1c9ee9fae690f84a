"""Faults for training: hardware units that lose or gain digis in what a network sees, never in what it shall say."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from calowatch.core.training import FaultNoise
from calowatch.detector.table import channel_table
from calowatch.detector.units import unit_names

__all__ = ["UNIT_KINDS", "FaultMaker", "faulty_counts", "units_of"]

UNIT_KINDS = ("channel", "fibre", "card", "rm", "rbx", "uhtr")
"""Kinds of units that fail; a fault takes any kind with equal probability, then any unit of it."""

Ints = npt.NDArray[np.int64]


def units_of(channels: pd.DataFrame, era: str) -> dict[str, list[Ints]]:
    """Return the rows of ``channels`` that each unit holds, by kind; kinds that are not known are left out.

    Parameters
    ----------
    channels
        With the column ``channel``, in the order of the rows wanted.
    era
        Whose electronics.
    """
    table = channel_table(era).set_index("channel", drop=False).loc[channels["channel"].to_numpy()]
    names = unit_names(table).rename(columns={"channel_name": "channel"})
    found: dict[str, list[Ints]] = {}
    for kind in UNIT_KINDS:
        name = names[kind].to_numpy(str)
        rows = np.flatnonzero(name != "")
        if rows.size:
            _, group = np.unique(name[rows], return_inverse=True)
            order = np.argsort(group, kind="stable")
            edges = np.flatnonzero(np.diff(group[order])) + 1
            found[kind] = [piece.astype(np.int64) for piece in np.split(rows[order], edges)]
    return found


def faulty_counts(counts: Tensor, n_events: Tensor, factor: Tensor) -> Tensor:
    """Return counts as a detector would have given them whose probabilities were multiplied by a factor.

    A factor below 1 thins: each digi stays with that probability. A factor above 1 turns each empty event into a digi
    with probability (f p - p) / (1 - p), at most 1, so that p' = min(1, f p); p is the window's own, smoothed.

    Parameters
    ----------
    counts
        Digis, [window, time, channel].
    n_events
        Events, [window, time].
    factor
        As ``counts``; 1 changes nothing.
    """
    trials = n_events[..., None].clamp(min=0).expand_as(counts)
    found = counts.clone()
    low = factor < 1
    found[low] = torch.binomial(counts[low], factor[low].to(counts.dtype))
    high = (factor > 1) & (trials > counts)
    p = (counts.sum(dim=1, keepdim=True) + 0.5) / (trials.sum(dim=1, keepdim=True) + 1.0)
    gain = ((factor - 1.0) * p / (1.0 - p)).clamp(max=1.0)[high]
    found[high] = counts[high] + torch.binomial((trials - counts)[high], gain)
    return found


@dataclass(frozen=True)
class FaultMaker:
    """Draws faults for batches, from torch's own random numbers: seed torch beforehand.

    Parameters
    ----------
    recipe
        Share of windows with faults, units of each, factors.
    units
        Cells of each unit in the flattened grid, by kind.
    slope
        By how much a cell's prepared value changes with its digis per event, shape of the flattened grid.
    """

    recipe: FaultNoise
    units: tuple[tuple[Tensor, ...], ...]
    slope: Tensor

    @classmethod
    def of(
        cls, recipe: FaultNoise, units: dict[str, list[Ints]], cells: Ints, slope: npt.NDArray[np.float64]
    ) -> Self:
        """Return a maker for channels at ``cells`` of a grid of which ``slope`` is known, [cell]."""
        placed = tuple(tuple(torch.from_numpy(cells[rows]) for rows in kind) for kind in units.values())
        return cls(recipe, placed, torch.from_numpy(slope.astype(np.float32)))

    def factors(self, windows: int, time: int) -> Tensor:
        """Draw a factor for each cell, [window, time, cell]; half of the faults last the window, others begin in it."""
        found = torch.ones(windows, time, len(self.slope))
        for window in (torch.rand(windows) < self.recipe.share).nonzero()[:, 0].tolist():
            for _ in range(self.recipe.units):
                kind = self.units[_draw(len(self.units))]
                unit = kind[_draw(len(kind))]
                first = _draw(time) if _draw(2) else 0
                found[window, first:, unit] = self.recipe.factors[_draw(len(self.recipe.factors))]
        return found

    def __call__(self, x: Tensor, n_events: Tensor, counts: Tensor) -> Tensor:
        """Return prepared occupancy [window, time, ieta, iphi, depth] with faults.

        Parameters
        ----------
        x, n_events, counts
            A healthy batch, as `calowatch.data.torch_datasets.OccupancyDataset` gives it.
        """
        flat = counts.flatten(2)
        factor = self.factors(*flat.shape[:2]).to(flat.device)
        hit = (factor != 1).flatten(0, 1).any(dim=0).nonzero()[:, 0]
        if not len(hit):
            return x
        changed = faulty_counts(flat[..., hit], n_events, factor[..., hit]) - flat[..., hit]
        found = x.flatten(2).clone()
        events = n_events[..., None].clamp(min=1)
        found[..., hit] += changed / events * self.slope.to(x.device)[hit]
        return found.view_as(x)


def _draw(below: int) -> int:
    return int(torch.randint(below, ()))
