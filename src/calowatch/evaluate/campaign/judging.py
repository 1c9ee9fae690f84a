"""One cell for one contestant: its faults scored window by window, then the figures of the cell."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.core.files import write_json
from calowatch.detect.mixture import log_mixture, unit_mixture
from calowatch.evaluate.campaign.cells import Cell, Placement
from calowatch.evaluate.campaign.data import Pool
from calowatch.evaluate.campaign.evidence import known_ratio
from calowatch.evaluate.campaign.models import TRUTH, Contestant
from calowatch.evaluate.campaign.scoring import (
    AT_ONCE,
    CHUNK,
    KEPT_FOR_TABLES,
    Limits,
    Workbench,
    healthy_path,
    limits,
    save_arrays,
)
from calowatch.evaluate.campaign.units import Values, unit_scores
from calowatch.metrics.blocks import CAPTURES, Ranking, block_counts, rank
from calowatch.simulate.injection import Placed

__all__ = ["cell_path", "judge_cell"]

Floats = npt.NDArray[np.float64]
AnyFloats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]
Singles = npt.NDArray[np.float32]

NEVER = -1e30
"""Score of a channel that cannot be in a fault of the cell, for who knows all."""


@dataclass(eq=False)
class _Tally:
    """What one evidence says of the faults of a cell; lists of one entry per fault unless told otherwise."""

    score: list[Singles] = field(default_factory=list)  # one per channel of each fault, of its judged window
    best: list[float] = field(default_factory=list)  # of all its windows and channels
    unit_score: list[float] = field(default_factory=list)
    delay: list[float] = field(default_factory=list)
    named: list[bool] = field(default_factory=list)
    untouched: list[tuple[int, int]] = field(default_factory=list)  # per stretch: flagged, all


@dataclass(frozen=True, eq=False)
class _Stretches:
    """Some stretches at once, their windows one after the other."""

    numbers: list[int]
    counts: npt.NDArray[Any]
    events: Ints
    p: Floats | None
    n_windows: int


def cell_path(work: Workbench, who: Contestant, cell: Cell) -> Path:
    """Return the file of a contestant's figures of a cell."""
    return work.bench.folder(who) / f"cell-{cell.name}.json"


def judge_cell(work: Workbench, who: Contestant, cell: Cell) -> None:
    """Score the faults of a cell and write its figures; the healthy windows must have been scored before."""
    path = cell_path(work, who, cell)
    if path.is_file():
        return
    placed = work.placement(cell)
    head = {
        "n_units": placed.n_units,
        "n_saturated": placed.n_saturated,
        "n_faults": placed.n_faults,
        "n_windows": placed.n_windows,
    }
    if not placed.n_faults:
        write_json(path, {**head, "evidences": {}})
        return
    fixed = limits(work, who)
    tallies: dict[str, _Tally] = {}
    for part in _stretches(work, placed, truth=who.name == TRUTH):
        _score(work, who, (placed, part, fixed), tallies)
    healthy = _negatives(work, who, placed)
    first = np.concatenate(
        [np.full(len(f), s.first) for s, f in zip(placed.stretches, placed.faults, strict=True)]
    )
    block = np.searchsorted(work.kept(placed.pool), first)
    figures = {}
    arrays: dict[str, npt.NDArray[Any]] = {"block": block.astype(np.int32)}
    for name, tally in tallies.items():
        figures[name] = _figures(work, (placed, name, block, fixed), tally, healthy)
        arrays[f"score_{name}"] = np.concatenate(tally.score)
        arrays[f"best_{name}"] = np.array(tally.best, np.float32)
        arrays[f"unit_{name}"] = np.array(tally.unit_score, np.float32)
    save_arrays(path.with_suffix(".npz"), arrays)
    write_json(path, {**head, "evidences": figures})


def _stretches(work: Workbench, placed: Placement, *, truth: bool) -> Iterator[_Stretches]:
    """Yield stretches with their faults, as many at a time as make a batch of windows; with p for the truth only."""
    size, data = placed.stretches[0].n_windows, work.data
    each, shape = max(1, AT_ONCE // size), (-1, placed.pool.window, len(data.table))
    for start in range(0, len(placed.stretches), each):
        numbers = list(range(start, min(start + each, len(placed.stretches))))
        done = [placed.injected(data, number) for number in numbers]
        p = np.concatenate([data.p(placed.pool, placed.stretches[n]) for n in numbers]) if truth else None
        yield _Stretches(
            numbers,
            np.concatenate([counts for counts, _ in done]).reshape(shape),
            np.concatenate([events for _, events in done]).reshape(shape[:2]),
            None if p is None else p.reshape(shape),
            size,
        )


def _score(
    work: Workbench,
    who: Contestant,
    given: tuple[Placement, _Stretches, Limits],
    tallies: dict[str, _Tally],
) -> None:
    placed, part, fixed = given
    scores, _ = work.score(
        who, (part.counts, part.events), part.p if who.name == TRUTH else None, fixed.sigma
    )
    hardware = unit_scores(scores, work.hardware)
    own = None if placed.cell.unit == "channel" else placed.units.incidence(len(work.data.table))
    for name, values in scores.channel.items():
        units = scores.units(name, own) if own is not None else None
        named = hardware.get(name)
        view = _View(
            values, units, named, fixed.channel[name], _unit_limit(fixed, placed, name), part.n_windows
        )
        _count(work, (placed, part, view), tallies.setdefault(name, _Tally()))
    if part.p is not None:
        channel, units = _known(placed, (part.counts, part.events, part.p), work)
        view = _View(channel, units, None, np.inf, np.inf, part.n_windows)
        _count(work, (placed, part, view), tallies.setdefault("known", _Tally()))


def _unit_limit(fixed: Limits, placed: Placement, name: str) -> float:
    return fixed.channel[name] if placed.cell.unit == "channel" else fixed.units[placed.cell.unit][name]


@dataclass(frozen=True, eq=False)
class _View:
    """One evidence of some windows: scores of channels, of the cell's units, and of all named units."""

    channel: AnyFloats
    units: AnyFloats | None
    hardware: AnyFloats | None
    limit: float
    unit_limit: float
    n_windows: int


def _count(work: Workbench, given: tuple[Placement, _Stretches, _View], tally: _Tally) -> None:
    placed, part, view = given
    window, size = placed.pool.window, view.n_windows
    for i, number in enumerate(part.numbers):
        rows, faults = slice(i * size, (i + 1) * size), placed.faults[number]
        flags = view.channel[rows] > view.limit
        hit = [placed.units.members[fault.unit] for fault in faults]
        healthy = np.ones(flags.shape[1], dtype=bool)
        healthy[np.concatenate(hit)] = False
        name = _namer(work, placed, (view, rows, flags), hit)
        for fault, columns in zip(faults, hit, strict=True):
            first = fault.first // window
            active = slice(rows.start + first, rows.start + fault.last // window + 1)
            own = view.channel[active][:, columns]
            whole = own[:, 0] if view.units is None else view.units[active, fault.unit]
            judged = placed.judged_window(fault) - first
            found = np.asarray(whole > view.unit_limit)
            tally.score.append(own[judged].astype(np.float32))
            tally.best.append(float(own.max()))
            tally.unit_score.append(float(whole[judged]))
            tally.delay.append(_delay(fault, found, window))
            tally.named.append(bool(found.any()) and name(first + int(whole.argmax()), columns))
        tally.untouched.append((int(flags[:, healthy].sum()), int(healthy.sum()) * size))


def _namer(
    work: Workbench,
    placed: Placement,
    given: tuple[_View, slice, npt.NDArray[np.bool_]],
    hit: Sequence[Ints],
) -> Callable[[int, Ints], bool]:
    """Return what tells whether a fault is named rightly, by the window of a stretch and the fault's channels."""
    if placed.cell.unit == "box":
        return lambda *_: False  # a box has no name
    view, rows, flags = given
    hardware, crowd = work.hardware, work.hardware.crowd(hit)

    @cache
    def values(window: int) -> Values:
        if view.hardware is None:
            return hardware.values_of_flags(
                np.asarray(flags.any(axis=0)), work.campaign.judgement.channel_rate
            )
        return hardware.values_of_mixtures(view.channel[rows][window], view.hardware[rows][window])

    return lambda window, columns: hardware.named(values(window), columns, crowd)


def _delay(fault: Placed, found: npt.NDArray[np.bool_], window: int) -> float:
    """Return lumisections from the first faulty one to the end of the first window that shows it."""
    if not found.any():
        return float("inf")
    last = (fault.first // window + int(found.argmax()) + 1) * window - 1
    return float(last - fault.first)


def _known(
    placed: Placement, windows: tuple[npt.NDArray[Any], Ints, Floats], work: Workbench
) -> tuple[AnyFloats, AnyFloats | None]:
    """Return the ratio that knows p, unit, factor and length, of channels and, for units, of units.

    Where a fault is shorter than the window, all its places are equally likely. Channels that no fault of the cell can
    hit score `NEVER`; a channel of a unit scores what its unit does.
    """
    cell = placed.cell
    ratios = known_ratio(windows, cell.factor, cell.duration, work.campaign.judgement.min_events)
    channel: AnyFloats = np.full(ratios.shape[1:], NEVER)
    if cell.unit == "channel":
        columns = np.concatenate(placed.units.members)
        channel[:, columns] = log_mixture(ratios[..., columns])
        return channel, None
    units = unit_mixture(ratios, placed.units.incidence(ratios.shape[-1]))
    for unit, inside in enumerate(placed.units.members):
        channel[:, inside] = np.maximum(channel[:, inside], units[:, unit, None])
    return channel, units


@dataclass(frozen=True, eq=False)
class _Negatives:
    """Sorted healthy scores by evidence, (window, channel) and (window, unit)."""

    channel: Mapping[str, Singles]
    units: Mapping[str, Singles]


def _negatives(work: Workbench, who: Contestant, placed: Placement) -> _Negatives:
    pool, cell = placed.pool, placed.cell
    arrays = _healthy(work, who, pool)
    channel = {
        name.removeprefix("kept_"): values for name, values in arrays.items() if name.startswith("kept_")
    }
    head = f"{cell.unit}_"
    units = {name.removeprefix(head): values for name, values in arrays.items() if name.startswith(head)}
    if who.name == TRUTH:
        parts = list[tuple[Singles, Singles | None]]()
        for _, counts, events, p in work.batches(who, pool, work.kept(pool)):
            assert p is not None
            known, known_units = _known(placed, (counts, events, p), work)
            parts.append((_sorted(known), None if known_units is None else _sorted(known_units)))
        channel = {**channel, "known": np.concatenate([part for part, _ in parts])}
        if cell.unit != "channel":
            units = {**units, "known": np.concatenate([part for _, part in parts if part is not None])}
    return _Negatives(channel, units)


def _sorted(values: AnyFloats) -> Singles:
    return np.sort(values.astype(np.float32), axis=1)


@lru_cache(maxsize=1)
def _loaded(paths: tuple[Path, ...]) -> Mapping[str, Singles]:
    parts: dict[str, list[Singles]] = {}
    for path in paths:
        with np.load(path, allow_pickle=False) as arrays:
            for name in arrays.files:
                if name.split("_")[0] not in KEPT_FOR_TABLES:
                    parts.setdefault(name, []).append(arrays[name])
    return {name: np.concatenate(values) for name, values in parts.items()}


def _healthy(work: Workbench, who: Contestant, pool: Pool) -> Mapping[str, Singles]:
    chunks = range(-(-pool.n_windows // CHUNK))
    return _loaded(tuple(healthy_path(work, who, pool, chunk) for chunk in chunks))


def _figures(
    work: Workbench, given: tuple[Placement, str, Ints, Limits], tally: _Tally, healthy: _Negatives
) -> dict[str, Any]:
    """Return the figures of one evidence, ready for JSON."""
    placed, name, block, fixed = given
    sizes = [len(values) for values in tally.score]
    scores = np.concatenate(tally.score)
    prevalence = len(scores) / (len(placed.stretches) * len(work.data.table))
    draws = work.campaign.judgement.draws
    counts = block_counts((scores, np.repeat(block, sizes)), healthy.channel[name])
    found = {"channel": _told(rank(counts, prevalence=prevalence, draws=draws))}
    if name in healthy.units:
        whole = block_counts((np.array(tally.unit_score), block), healthy.units[name])
        found["unit"] = _told(rank(whole, draws=draws))
    if name != "known":
        found["decision"] = _decision(work, (placed, name, fixed), tally)
    return found


def _told(ranking: Ranking) -> dict[str, Any]:
    rates = {f"{capture:g}": ranking.false_positive_rate[i] for i, capture in enumerate(CAPTURES)}
    return {
        "fpr": rates,
        "roc_auc": ranking.roc_auc,
        "pr_auc": ranking.average_precision,
        "n_faulty": ranking.n_faulty,
        "n_healthy": ranking.n_healthy,
        "prevalence": ranking.prevalence,
        "curve": [list(point) for point in ranking.curve],
    }


def _decision(work: Workbench, given: tuple[Placement, str, Limits], tally: _Tally) -> dict[str, Any]:
    """Return what the threshold that was fixed beforehand gives, each figure as (value, lower, upper).

    Precision counts flagged channels that belong to no fault, per window of a stretch: a fault is judged by one window
    too. Delay is over all faults, so that its median is unknown (null) where fewer than half are found.
    """
    placed, name, fixed = given
    # Stretches that begin with the same window are drawn together.
    group = pd.factorize(np.array([stretch.first for stretch in placed.stretches]))[0]
    n = int(group.max(initial=-1)) + 1
    owner = np.repeat(group, [len(faults) for faults in placed.faults])
    hit = np.array([int((values > fixed.channel[name]).sum()) for values in tally.score], np.float64)
    size = np.array([len(values) for values in tally.score], np.float64)
    delay = np.array(tally.delay)
    columns = [hit, size - hit, np.isfinite(delay), tally.named, np.ones(len(hit))]
    per = [np.bincount(owner, weights=np.asarray(c, np.float64), minlength=n) for c in columns]
    each = placed.stretches[0].n_windows
    wrong = np.array([flagged for flagged, _ in tally.untouched], np.float64) / each
    healthy = np.array([everything for _, everything in tally.untouched], np.float64) / each
    table = np.stack([*per, *(np.bincount(group, weights=part, minlength=n) for part in (wrong, healthy))])
    draws = work.campaign.judgement.draws
    weights = np.random.default_rng(0).multinomial(n, np.full(n, 1.0 / n), size=draws).astype(np.float64)
    value = _shares(table.sum(axis=1, keepdims=True))[:, 0]
    drawn = _shares(table @ weights.T) if draws else np.full((len(value), 1), np.nan)
    names = ("precision", "recall", "f1", "found", "named", "untouched_fpr")
    figures = {
        key: [_number(v), *(_number(e) for e in np.nanquantile(d, [0.025, 0.975]))]
        if np.isfinite(v)
        else None
        for key, v, d in zip(names, value, drawn, strict=True)
    }
    if placed.cell.unit == "box":
        figures["named"] = None  # a box has no name
    quantiles = {f"{q:g}": _number(np.quantile(delay, q, method="higher")) for q in (0.25, 0.5, 0.75, 0.9)}
    return {**figures, "delay_ls": quantiles, "threshold": fixed.channel[name]}


def _shares(sums: Floats) -> Floats:
    """Return precision, recall, F1, shares found and named, and the rate in untouched channels, (figure, draw)."""
    hit, missed, found, named, faults, wrong, healthy = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = hit / (hit + wrong), hit / (hit + missed)
        f1 = 2 * hit / (2 * hit + wrong + missed)
        return np.stack([precision, recall, f1, found / faults, named / faults, wrong / healthy])


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
