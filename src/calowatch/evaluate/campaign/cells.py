"""The cells of a campaign, and which faults stand where in each of them."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from calowatch.evaluate.campaign.data import CampaignData, Pool, Stretch
from calowatch.evaluate.campaign.recipe import Campaign
from calowatch.simulate.injection import Placed, UnitList, boxes, inject, spread_out, units_of

__all__ = ["Cell", "Placement", "campaign_boxes", "cells_of", "kept_windows", "place"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_LEAST_KEPT = 200  # healthy windows of a pool that serve as negatives
_LEAST_UNITS = 4  # that are not saturated, without which a cell is left out


@dataclass(frozen=True)
class Cell:
    """One point of the campaign.

    Parameters
    ----------
    unit, factor, duration, ring, conditions
        Of its faults; ``duration`` in lumisections, ``open_end`` for faults that stay. ``ring`` is None for units that
        reach over rings.
    axes
        The axes it is a point of, with its value there: the base point is on each.
    """

    unit: str
    factor: float
    duration: int
    open_end: bool
    ring: str | None
    conditions: str
    axes: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """A name for files and tables."""
        length = "end" if self.open_end else str(self.duration)
        return f"{self.unit}-f{self.factor:g}-{length}ls-{self.ring or 'all'}-{self.conditions}"

    @property
    def key(self) -> tuple[str, float, int, bool, str | None, str]:
        """What makes two cells the same."""
        return (self.unit, self.factor, self.duration, self.open_end, self.ring, self.conditions)


def cells_of(campaign: Campaign) -> tuple[Cell, ...]:
    """Return the cells, the base point first; one that lies on several axes stands there once."""
    base = campaign.base
    open_end = base.duration == "end"
    length = campaign.faults.to_end_ls if base.duration == "end" else int(base.duration)
    middle = Cell(base.unit, base.factor, length, open_end, base.ring, base.conditions)
    found: dict[tuple[object, ...], Cell] = {}

    def add(cell: Cell, axis: str, label: str) -> None:
        cell = replace(cell, ring=cell.ring if cell.unit == "channel" else None)
        before = found.get(cell.key, cell).axes
        entry = (axis, label)
        found[cell.key] = replace(cell, axes=before if entry in before else (*before, entry))

    add(middle, "base", "base")
    for axis, label, cell in _along_axes(campaign, middle):
        add(cell, axis, label)
    for other in campaign.also:
        given = {name: value for name, value in other.model_dump().items() if value is not None}
        cell = replace(middle, **given)
        add(cell, "also", ", ".join(_said(campaign, name, value) for name, value in given.items()))
    return tuple(found.values())


def _said(campaign: Campaign, name: str, value: object) -> str:
    return campaign.conditions[str(value)].said if name == "conditions" else f"{name} {value}"


def _along_axes(campaign: Campaign, middle: Cell) -> Iterator[tuple[str, str, Cell]]:
    axes = campaign.axes
    for unit in axes.unit:
        yield "unit", unit, replace(middle, unit=unit)
    for factor in axes.factor:
        yield "factor", f"{factor:g}", replace(middle, factor=factor)
    for duration in axes.duration:
        length = campaign.faults.to_end_ls if duration == "end" else int(duration)
        label = "to the end" if duration == "end" else f"{duration} LS"
        yield "duration", label, replace(middle, duration=length, open_end=duration == "end")
    for ring in axes.ring:
        yield "ring", ring, replace(middle, ring=ring)
    for name in axes.statistics:
        said = "normal" if name == campaign.base.conditions else name
        yield "statistics", said, replace(middle, conditions=name)
    for name in axes.shift:
        yield "shift", campaign.conditions[name].said, replace(middle, conditions=name)


@dataclass(frozen=True, eq=False)
class Placement:
    """The faults of a cell.

    Parameters
    ----------
    cell
        Its cell.
    pool
        Where the windows come from.
    units
        What can fail.
    stretches
        Windows in a line, each with faults of its own.
    faults
        Of each stretch.
    n_units, n_saturated
        Units of the kind, and how many of them the factor saturates: these are left out.
    seed
        Of the draws; every stretch has its own below it, so that order does not matter.
    """

    cell: Cell
    pool: Pool
    units: UnitList
    stretches: tuple[Stretch, ...]
    faults: tuple[tuple[Placed, ...], ...]
    n_units: int
    n_saturated: int
    seed: tuple[int, int]

    @cached_property
    def n_faults(self) -> int:
        """Faults in all."""
        return sum(len(faults) for faults in self.faults)

    @property
    def n_windows(self) -> int:
        """Windows that a model has to look at."""
        return sum(stretch.n_windows for stretch in self.stretches)

    def judged_window(self, fault: Placed) -> int:
        """Return the window of its stretch by which a fault is ranked: the first of those it fills most.

        A healthy sample is one window too, so that long faults have no more chances than it.
        """
        window = self.pool.window
        number = np.arange(fault.first // window, fault.last // window + 1)
        filled = np.minimum(fault.last, (number + 1) * window - 1) - np.maximum(fault.first, number * window)
        return int(number[filled.argmax()])

    def injected(
        self, data: CampaignData, number: int
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Return a stretch with its faults, (ls, channel), and its events, (ls,)."""
        stretch = self.stretches[number]
        counts, events = data.counts(self.pool, stretch)
        rng = np.random.default_rng([*self.seed, 1, number])
        faults = []
        for fault in self.faults[number]:
            columns = self.units.members[fault.unit]
            p = data.p_of(self.pool, stretch, slice(fault.first, fault.last + 1), columns)
            faults.append((fault, columns, p))
        return inject(np.asarray(counts, np.int32), events, faults, self.cell.factor, rng), events


def place(cell: Cell, data: CampaignData) -> Placement:
    """Return where the faults of a cell stand; without any where the factor saturates nearly all units."""
    campaign = data.campaign
    pool = data.pools[cell.conditions]
    seed = (campaign.seed, zlib.crc32(cell.name.encode()))
    rng = np.random.default_rng([*seed, 0])
    units = _candidates(cell, data)
    saturated = units.saturated(data.typical_p(pool), cell.factor)
    free = units.take(np.flatnonzero(~saturated))
    long = cell.duration > campaign.window
    n_windows = -(-(cell.duration + campaign.window - 1) // campaign.window) if long else 1
    stretches, faults = list[Stretch](), list[tuple[Placed, ...]]()
    if len(free) >= _LEAST_UNITS:
        order = _order(pool, n_windows, data)
        total = 0
        while total < campaign.faults.least:
            stretch = Stretch(order[len(stretches) % len(order)], n_windows)
            chosen = spread_out(free, campaign.faults.per_window[cell.unit], rng)
            faults.append(tuple(_timed(int(unit), cell, campaign.window, rng) for unit in chosen))
            stretches.append(stretch)
            total += len(chosen)
    return Placement(
        cell, pool, free, tuple(stretches), tuple(faults), len(units), int(saturated.sum()), seed
    )


def campaign_boxes(data: CampaignData) -> UnitList:
    """Return the random boxes of a campaign: the same in all its cells."""
    rng = np.random.default_rng([data.campaign.seed, zlib.crc32(b"box")])
    return boxes(data.table, data.campaign.faults.least, rng)


def _candidates(cell: Cell, data: CampaignData) -> UnitList:
    if cell.unit == "box":
        return campaign_boxes(data)
    units = units_of(cell.unit, data.table, alone_in_rings=True)
    if cell.ring is None:
        return units
    low, high = data.campaign.rings[cell.ring]
    inside = [bool(low <= data.ring_p[columns[0]] < high) for columns in units.members]
    return units.take(np.flatnonzero(inside))


def _timed(unit: int, cell: Cell, window: int, rng: np.random.Generator) -> Placed:
    """Return a fault with its lumisections: at random within a window, or from somewhere in the first on."""
    free = window if cell.duration > window else window - cell.duration + 1
    first = int(rng.integers(free))
    return Placed(unit, first, first + cell.duration - 1)


def longest(data: CampaignData, pool: Pool) -> int:
    """Return the windows of the longest stretch that any cell asks of a pool."""
    window = data.campaign.window
    lengths = [cell.duration for cell in cells_of(data.campaign) if cell.conditions == pool.name]
    most = max((-(-(length + window - 1) // window) for length in lengths if length > window), default=1)
    return min(most, pool.per_run)


def _order(pool: Pool, n_windows: int, data: CampaignData) -> list[int]:
    """Return where stretches begin: first windows of blocks, evenly over all runs, then second windows, and so on.

    All cells of a pool begin with the same windows, so that few healthy twins serve them all.
    """
    block = longest(data, pool)
    starts = [
        run * pool.per_run + at
        for at in range(0, pool.per_run - block + 1, block)
        for run in range(len(pool.runs))
    ]
    # Neighbouring blocks are alike: a fixed shuffle spreads a small cell over the whole run.
    starts = [starts[i] for i in np.random.default_rng(len(starts)).permutation(len(starts))]
    return [start + step for step in range(block - n_windows + 1) for start in starts]


def kept_windows(pool: Pool, placements: Sequence[Placement]) -> Ints:
    """Return the windows whose healthy twins are kept as negatives, in order.

    Those in which the stretches of the pool's cells begin, and others up to `_LEAST_KEPT`, so that small
    false-positive rates can be told.
    """
    mine = {stretch.first for each in placements if each.pool.name == pool.name for stretch in each.stretches}
    if mine:
        spread = np.random.default_rng(pool.n_windows).permutation(pool.n_windows)
        mine |= {int(window) for window in spread[: max(0, _LEAST_KEPT - len(mine))]}
    return np.array(sorted(mine), dtype=np.int64)
