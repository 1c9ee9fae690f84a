"""The work of a campaign, in pieces that stand by themselves: what healthy windows score, and what faults score."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from calowatch.core.files import atomic_file, write_json
from calowatch.detect.calibration import Misfit, Thresholds
from calowatch.evaluate.campaign.cells import Cell, Placement, cells_of, kept_windows, place
from calowatch.evaluate.campaign.data import CampaignData, Pool
from calowatch.evaluate.campaign.evidence import Scores, scores_of
from calowatch.evaluate.campaign.models import TRUTH, Contestant, predict
from calowatch.evaluate.campaign.recipe import Campaign
from calowatch.evaluate.campaign.units import HARDWARE, Hardware, unit_lists

__all__ = ["AT_ONCE", "CHUNK", "Bench", "Limits", "Workbench", "healthy_chunk", "limits"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

AT_ONCE = 8
"""Windows scored together."""

CHUNK = 250
"""Healthy windows in a piece of work."""

KEPT_FOR_TABLES = ("flags", "top", "where", "windows", "seconds")
"""Arrays of a piece of healthy windows that outlive the judging of the cells, by the first word of their names."""

_TOP = 64  # scores kept of every healthy window


@dataclass(frozen=True)
class Bench:
    """A campaign and where its work lies; small enough to be sent to another process."""

    campaign: Campaign
    out: Path

    @property
    def data_folder(self) -> Path:
        """The runs."""
        return self.out / "work" / "runs"

    def folder(self, who: Contestant) -> Path:
        """Return where the work of a contestant lies."""
        return self.out / "work" / f"{who.slug}-{who.digest or 'bound'}"


class Workbench:
    """A bench with its data opened and its units listed, once per process."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.campaign = bench.campaign
        self.data = CampaignData(bench.campaign, bench.data_folder)
        self._placed: dict[str, Placement] = {}

    @cached_property
    def lists(self) -> Mapping[str, Any]:
        """Units of every kind."""
        return unit_lists(self.data)

    @cached_property
    def hardware(self) -> Hardware:
        """All named units."""
        return Hardware(self.lists, len(self.data.table))

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The cells of the campaign."""
        return cells_of(self.campaign)

    def placement(self, cell: Cell) -> Placement:
        """Return where the faults of a cell stand."""
        if cell.name not in self._placed:
            self._placed[cell.name] = place(cell, self.data)
        return self._placed[cell.name]

    def kept(self, pool: Pool) -> Ints:
        """Return the windows of a pool whose healthy scores are kept."""
        mine = [self.placement(cell) for cell in self.cells if cell.conditions == pool.name]
        return kept_windows(pool, mine)

    def unit_types(self, pool: Pool) -> list[str]:
        """Return the kinds of units that fail as a whole in a pool."""
        asked = {cell.unit for cell in self.cells if cell.conditions == pool.name}
        return [name for name in (*HARDWARE, "box") if name in asked]

    def score(
        self, who: Contestant, windows: tuple[Any, Ints], p: Floats | None, sigma: Floats | None
    ) -> tuple[Scores, float]:
        """Return every evidence of windows, and the seconds that the prediction took.

        Parameters
        ----------
        who
            The contestant.
        windows
            Counts and events.
        p
            The true p, for the truth.
        sigma
            Of the calibrated evidence, where it has been measured.
        """
        counts, events = windows
        source, seconds = None, 0.0
        expected: npt.NDArray[Any] | None = p
        if who.kind != "truth":
            found = predict(who, self.data, counts, events)
            expected, source, seconds = found.p, found.source, found.seconds
        assert expected is not None
        return scores_of(
            (counts, events, expected), source, sigma, self.campaign.judgement.min_events
        ), seconds

    def batches(
        self, who: Contestant, pool: Pool, chosen: Ints
    ) -> Iterator[tuple[Ints, Any, Ints, Floats | None]]:
        """Yield numbers, counts, events and, for the truth, p of some windows at a time."""
        for first in range(0, len(chosen), AT_ONCE):
            part = chosen[first : first + AT_ONCE]
            counts, events = self.data.windows(pool, part.tolist())
            p = self.data.windows_p(pool, part.tolist()) if who.name == TRUTH else None
            yield part, counts, events, p


@dataclass(frozen=True)
class Limits:
    """What healthy validation runs fix beforehand.

    Parameters
    ----------
    channel
        Threshold of each evidence: a channel-window above it is flagged.
    units
        By kind of unit, then evidence.
    sigma
        How far ln(lambda) may lie from the expectation, (channel,).
    """

    channel: Mapping[str, float]
    units: Mapping[str, Mapping[str, float]]
    sigma: Floats | None


def limits(work: Workbench, who: Contestant) -> Limits:
    """Return the limits of a contestant, from a file where they have been fixed before."""
    path = work.bench.folder(who) / "limits.json"
    if path.is_file():
        told = json.loads(path.read_text())
        sigma = None if told["sigma"] is None else np.array(told["sigma"])
        return Limits(told["channel"], told["units"], sigma)
    found = _fixed(work, who)
    sigma_list = None if found.sigma is None else [float(f"{value:.6g}") for value in found.sigma]
    write_json(path, {"channel": dict(found.channel), "units": dict(found.units), "sigma": sigma_list})
    return found if sigma_list is None else Limits(found.channel, found.units, np.array(sigma_list))


def _fixed(work: Workbench, who: Contestant) -> Limits:
    pool, judgement = work.data.pools["validation"], work.campaign.judgement
    misfit = Misfit(work.data.table["channel"].to_numpy(np.int64))
    kept = list[tuple[Any, Ints, npt.NDArray[Any], npt.NDArray[Any] | None]]()
    for _, counts, events, p in work.batches(who, pool, np.arange(pool.n_windows)):
        source = None
        if who.kind != "truth":
            found = predict(who, work.data, counts, events)
            source, expected = found.source, np.asarray(found.p, np.float32)
            misfit.add(counts, events, np.clip(np.asarray(expected, np.float64), 1e-9, 1.0 - 1e-9))
        else:
            assert p is not None
            expected = np.asarray(p)
        kept.append((counts, events, expected, source))
    sigma = misfit.sigma() if who.kind != "truth" else None
    channel: dict[str, list[Any]] = {}
    units: dict[str, dict[str, list[Any]]] = {name: {} for name in (*HARDWARE, "box")}
    for counts, events, expected, source in kept:
        scores = scores_of((counts, events, expected), source, sigma, judgement.min_events)
        for name, values in scores.channel.items():
            channel.setdefault(name, []).append(values.astype(np.float32))
            for kind, parts in units.items():
                incidence = work.lists[kind].incidence(len(work.data.table))
                parts.setdefault(name, []).append(scores.units(name, incidence).astype(np.float32))
    return Limits(
        {name: _threshold(values, judgement.channel_rate) for name, values in channel.items()},
        {
            kind: {name: _threshold(values, judgement.unit_rate) for name, values in parts.items()}
            for kind, parts in units.items()
        },
        sigma,
    )


def _threshold(parts: Sequence[npt.NDArray[np.float32]], rate: float) -> float:
    """Return the threshold of a rate; the largest healthy score where the data are too few to tell."""
    scores = np.concatenate([part.ravel() for part in parts])
    value = Thresholds.of(scores, (rate,)).values[0]
    return value if np.isfinite(value) else float(scores.max())


def save_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays as one npz, all or nothing."""
    with atomic_file(path) as scratch, scratch.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


def healthy_path(work: Workbench, who: Contestant, pool: Pool, chunk: int) -> Path:
    """Return the file of one piece of healthy windows."""
    return work.bench.folder(who) / f"healthy-{pool.name}-{chunk:03d}.npz"


def healthy_chunk(work: Workbench, who: Contestant, pool: Pool, chunk: int) -> None:
    """Score some healthy windows of a pool: what is flagged, the largest scores, and all scores of kept windows."""
    path = healthy_path(work, who, pool, chunk)
    if path.is_file():
        return
    fixed = limits(work, who)
    chosen = np.arange(pool.n_windows)[chunk * CHUNK : (chunk + 1) * CHUNK]
    kept = set(work.kept(pool).tolist())
    n = len(work.data.table)
    incidences = {kind: work.lists[kind].incidence(n) for kind in work.unit_types(pool)}
    parts: dict[str, list[Any]] = {}
    seconds, began = 0.0, time.perf_counter()
    for numbers, counts, events, p in work.batches(who, pool, chosen):
        scores, took = work.score(who, (counts, events), p, fixed.sigma)
        seconds += took
        keep = np.array([int(number) in kept for number in numbers], dtype=bool)
        for name, values in scores.channel.items():
            single = values.astype(np.float32)
            flagged = np.argwhere(single > fixed.channel[name])
            flagged[:, 0] = numbers[flagged[:, 0]]
            top = np.argpartition(single, single.shape[1] - _TOP, axis=1)[:, -_TOP:]
            _add(parts, f"flags_{name}", flagged.astype(np.int32))
            _add(parts, f"top_{name}", np.take_along_axis(single, top, axis=1))
            _add(parts, f"where_{name}", top.astype(np.int32))
            _add(parts, f"kept_{name}", np.sort(single[keep], axis=1))
        few = scores.rows(keep)
        for kind, incidence in incidences.items():
            for name in scores.channel:
                whole = few.units(name, incidence).astype(np.float32)
                _add(parts, f"{kind}_{name}", np.sort(whole, axis=1))
    arrays = {name: np.concatenate(values) for name, values in parts.items()}
    arrays["windows"] = chosen.astype(np.int32)
    arrays["seconds"] = np.array([seconds, time.perf_counter() - began, len(chosen) * pool.window])
    save_arrays(path, arrays)


def _add(parts: dict[str, list[Any]], name: str, values: npt.NDArray[Any]) -> None:
    parts.setdefault(name, []).append(values)


def shrink(path: Path) -> None:
    """Replace a piece of healthy windows by what tables need of it: flags, largest scores, times."""
    with np.load(path, allow_pickle=False) as arrays:
        names = [name for name in arrays.files if name.split("_")[0] in KEPT_FOR_TABLES]
        save_arrays(path.with_suffix(".flags.npz"), {name: arrays[name] for name in names})
    path.unlink()
