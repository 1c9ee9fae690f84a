"""Many independent faults at once: units that fail by one factor, placed into windows where they do not touch.

A network sees the faulty window, as in operation, so every window costs a pass. Faults that share neither readout box
nor ring are independent for all practical purposes; a score of them in one window makes a score of measurements.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from calowatch.core.errors import InputError
from calowatch.detector.units import unit_names

__all__ = ["UNSEEN", "Placed", "UnitList", "boxes", "inject", "spread_out", "units_of"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

UNSEEN = 1e-6
"""Change of p below which a factor changes nothing that could be seen."""

BOX = (14, 5, 7)
"""Largest random box of the source system: cells in ieta, iphi, depth."""


@dataclass(frozen=True, eq=False)
class UnitList:
    """Units of one kind over the channels of a campaign.

    Parameters
    ----------
    unit_type
        ``channel``, ``fibre``, ``card``, ``rm``, ``rbx``, ``uhtr`` or ``box``.
    names
        Of each unit.
    members
        Columns of the channels of each unit.
    guards
        What a unit keeps others of its window away from: numbers of its readout boxes, and of its rings where asked.
    """

    unit_type: str
    names: tuple[str, ...]
    members: tuple[Ints, ...]
    guards: tuple[frozenset[int], ...]

    def __len__(self) -> int:
        return len(self.names)

    def take(self, chosen: npt.ArrayLike) -> "UnitList":
        """Return some of the units, by position."""
        rows = [int(i) for i in np.atleast_1d(np.asarray(chosen, np.int64))]
        names, members = tuple(self.names[i] for i in rows), tuple(self.members[i] for i in rows)
        return UnitList(self.unit_type, names, members, tuple(self.guards[i] for i in rows))

    def incidence(self, n_channels: int) -> sparse.csr_array:
        """Return units x channels, ones where a channel belongs."""
        ends = np.cumsum([0, *(len(inside) for inside in self.members)])
        columns = np.concatenate(self.members) if len(self) else np.empty(0, np.int64)
        shape = (len(self), n_channels)
        return sparse.csr_array((np.ones(len(columns), np.float64), columns, ends), shape=shape)

    def saturated(self, p: Floats, factor: float) -> Mask:
        """Return which units a factor saturates: most channels would reach p = 1, or would not change at all.

        Parameters
        ----------
        p
            Healthy probability, shape (channel,).
        factor
            On p.
        """
        changed = np.minimum(1.0, factor * p)
        lost = ((factor > 1.0) & (factor * p >= 1.0)) | (np.abs(changed - p) <= UNSEEN)
        return np.array([bool(lost[inside].mean() > 0.5) for inside in self.members], dtype=bool)


def units_of(unit_type: str, table: pd.DataFrame, *, alone_in_rings: bool = False) -> UnitList:
    """Return every unit of a kind.

    Parameters
    ----------
    unit_type
        ``channel``, ``fibre``, ``card``, ``rm``, ``rbx`` or ``uhtr``.
    table
        The channels, in the order of the columns of the counts.
    alone_in_rings
        Whether units keep others away from all their rings; else channels alone do.
    """
    names = unit_names(table)
    boxes_ = np.asarray(pd.factorize(names["rbx"])[0], np.int64)
    rings = np.asarray(pd.factorize(names["ring"])[0], np.int64)
    column = "channel_name" if unit_type == "channel" else unit_type
    if column not in names:
        raise InputError("unit", "a kind of unit", repr(unit_type), "give such as channel, fibre or rbx")
    known = names[column].reset_index(drop=True)
    found = [
        (str(name), np.asarray(inside, np.int64))
        for name, inside in known.groupby(known).indices.items()
        if name
    ]
    offset = int(boxes_.max(initial=0)) + 1
    guards = []
    for _, inside in found:
        guard = {int(box) for box in boxes_[inside]}
        if alone_in_rings or unit_type == "channel":
            guard |= {offset + int(ring) for ring in rings[inside]}
        guards.append(frozenset(guard))
    return UnitList(unit_type, tuple(n for n, _ in found), tuple(m for _, m in found), tuple(guards))


def boxes(table: pd.DataFrame, n: int, rng: np.random.Generator) -> UnitList:
    """Return random boxes as the source system injects them: 1-14 ieta by 1-5 iphi by 1-7 depths, anywhere.

    In a window they share no readout box and no ring.

    Parameters
    ----------
    table
        The channels.
    n
        How many boxes; those without any channel are drawn again.
    rng
        Source of random numbers.
    """
    ieta, iphi, depth = (table[name].to_numpy(np.int64) for name in ("ieta", "iphi", "depth"))
    named = unit_names(table)
    rbx, ring = (np.asarray(pd.factorize(named[name])[0], np.int64) for name in ("rbx", "ring"))
    ring += int(rbx.max(initial=0)) + 1
    row = np.where(ieta < 0, ieta + 32, ieta + 31)  # the canonical grid has no gap at ieta 0
    members, guards = list[Ints](), list[frozenset[int]]()
    while len(members) < n:
        size = [int(rng.integers(1, most + 1)) for most in BOX]
        at = int(rng.choice(np.unique(row))), int(rng.integers(1, 73)), int(rng.integers(1, 8))
        inside = (row >= at[0]) & (row < at[0] + size[0]) & (depth >= at[2]) & (depth < at[2] + size[2])
        inside &= (iphi - at[1]) % 72 < size[1]
        columns = np.flatnonzero(inside)
        if len(columns):
            members.append(columns)
            guards.append(frozenset(int(number) for number in (*rbx[columns], *ring[columns])))
    names = tuple(f"box-{number:04d}" for number in range(n))
    return UnitList("box", names, tuple(members), tuple(guards))


def spread_out(units: UnitList, n: int, rng: np.random.Generator) -> Ints:
    """Return the positions of up to ``n`` units drawn at random such that no two of them touch."""
    taken: set[int] = set()
    chosen = list[int]()
    for unit in rng.permutation(len(units)):
        if len(chosen) == n:
            break
        if taken.isdisjoint(units.guards[unit]):
            taken |= units.guards[unit]
            chosen.append(int(unit))
    return np.array(chosen, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Placed:
    """One fault in a stretch of lumisections: unit by position, first and last row (inclusive) in the stretch."""

    unit: int
    first: int
    last: int


def inject(
    counts: npt.NDArray[Any],
    n_events: npt.NDArray[Any],
    faults: Sequence[tuple[Placed, Ints, Floats]],
    factor: float,
    rng: np.random.Generator,
) -> npt.NDArray[Any]:
    """Return a stretch of lumisections with faults: p' = min(1, factor * p), then a binomial draw.

    Parameters
    ----------
    counts, n_events
        Healthy counts (ls, channel), which stay as they are, and events (ls,).
    faults
        Each with its columns and their true p in its rows, (row, column).
    factor
        On p.
    rng
        Source of random numbers.
    """
    faulty = counts.copy()
    for fault, columns, p in faults:
        rows = slice(fault.first, fault.last + 1)
        faulty[rows, columns] = rng.binomial(n_events[rows, None], np.minimum(1.0, factor * p))
    return faulty
