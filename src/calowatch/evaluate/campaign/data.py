"""The runs of a campaign: drawn once, kept as memory-mapped counts, their true p computed where it is asked for."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.core.files import atomic_file
from calowatch.detector.table import channel_table
from calowatch.detector.units import unit_names
from calowatch.evaluate.campaign.recipe import Campaign, Conditions
from calowatch.simulate.occupancy import OccupancySettings, draw_truth, occupancy
from calowatch.simulate.truth import Truth

__all__ = ["CampaignData", "Pool", "RunFile", "Stretch", "channels_of", "draw_run", "pools_of"]

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class RunFile:
    """Where the counts of a run lie; the name holds a hash of all that decides them."""

    folder: Path
    settings: OccupancySettings

    @property
    def path(self) -> Path:
        """The counts, npy, uint16 (ls, channel); the events lie beside them."""
        text = json.dumps(asdict(self.settings), sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        return self.folder / f"run{self.settings.run}-{digest}.npy"

    @property
    def events(self) -> Path:
        """Events per lumisection, npy."""
        return self.path.with_suffix(".events.npy")


def draw_run(file: RunFile) -> Path:
    """Draw a run unless it is there already, and return the file of its counts."""
    if not file.events.is_file():
        data, _ = occupancy(file.settings)
        counts = data["counts"].to_numpy()
        if counts.max(initial=0) >= 2**16:
            raise ValueError("counts do not fit 16 bits")
        for path, values in (
            (file.path, counts.astype(np.uint16)),
            (file.events, data["n_events"].to_numpy()),
        ):
            with atomic_file(path) as scratch, scratch.open("wb") as stream:
                np.save(stream, values)
    return file.path


@dataclass(frozen=True)
class Pool:
    """Healthy runs under the same conditions, cut into windows that do not overlap.

    Parameters
    ----------
    name
        Of the conditions.
    said
        What tables call them.
    runs
        Their runs.
    first_ls, n_ls
        Rows of each run that take part.
    window
        Lumisections per window.
    """

    name: str
    said: str
    runs: tuple[OccupancySettings, ...]
    first_ls: int
    n_ls: int
    window: int

    @property
    def per_run(self) -> int:
        """Windows in each run."""
        return self.n_ls // self.window

    @property
    def n_windows(self) -> int:
        """Windows in all."""
        return self.per_run * len(self.runs)


@dataclass(frozen=True)
class Stretch:
    """Windows in a line: number of the first among the pool's, and how many."""

    first: int
    n_windows: int


def pools_of(campaign: Campaign) -> dict[str, Pool]:
    """Return the pools of a campaign by name, ``training`` and ``validation`` among them."""

    def pool(name: str, given: Conditions, n_ls: int, first: int = 0) -> Pool:
        return Pool(name, given.said, campaign.runs(given), first, n_ls, campaign.window)

    found = {
        "training": pool("training", campaign.training, campaign.train_ls),
        "validation": pool("validation", campaign.validation, campaign.validation.n_ls),
    }
    for name, given in campaign.conditions.items():
        found[name] = pool(name, given, given.n_ls, campaign.train_ls if given.later else 0)
    return found


def channels_of(campaign: Campaign) -> pd.DataFrame:
    """Return the channels that a campaign judges, in the order of all arrays."""
    whole = channel_table(campaign.era)
    return whole[whole["subdet"].isin(campaign.subdets)].reset_index(drop=True)


@lru_cache(maxsize=8)
def _truth(settings: OccupancySettings) -> Truth:
    return draw_truth(settings)


class CampaignData:
    """The data of a campaign, opened where `draw_run` left them.

    Parameters
    ----------
    campaign
        The campaign.
    folder
        Where the runs lie.
    """

    def __init__(self, campaign: Campaign, folder: Path) -> None:
        self.campaign = campaign
        self.folder = folder
        self.pools: Mapping[str, Pool] = pools_of(campaign)
        self._typical: dict[str, Floats] = {}

    @cached_property
    def table(self) -> pd.DataFrame:
        """The channels, in the order of all arrays."""
        return channels_of(self.campaign)

    @property
    def files(self) -> list[RunFile]:
        """Every run of the campaign, once."""
        runs = {run.run: run for pool in self.pools.values() for run in pool.runs}
        return [RunFile(self.folder, run) for run in runs.values()]

    @cached_property
    def ring_p(self) -> Floats:
        """Mean p of each channel's ring at the reference pile-up, shape (channel,)."""
        own = self.truth(self.pools["training"].runs[0]).response.own
        p = -np.expm1(-own)
        ring = unit_names(self.table)["ring"].to_numpy()
        return np.asarray(pd.Series(p).groupby(ring).transform("mean"), np.float64)

    def truth(self, run: OccupancySettings) -> Truth:
        """Return the truth of a run."""
        return _truth(run)

    def typical_p(self, pool: Pool) -> Floats:
        """Return the mean true p of each channel over a pool, from a few lumisections of each run, (channel,)."""
        if pool.name not in self._typical:
            rows = np.linspace(pool.first_ls, pool.first_ls + pool.n_ls - 1, 5).astype(int)
            parts = [self.truth(run).p(int(row), int(row) + 1) for run in pool.runs for row in rows]
            self._typical[pool.name] = np.asarray(np.concatenate(parts).mean(axis=0), np.float64)
        return self._typical[pool.name]

    def _place(self, pool: Pool, stretch: Stretch) -> tuple[OccupancySettings, slice]:
        run, window = divmod(stretch.first, pool.per_run)
        first = pool.first_ls + window * pool.window
        return pool.runs[run], slice(first, first + stretch.n_windows * pool.window)

    def counts(self, pool: Pool, stretch: Stretch) -> tuple[Counts, npt.NDArray[np.int64]]:
        """Return counts (ls, channel) and events (ls,) of windows in a line; the counts must not be changed."""
        run, rows = self._place(pool, stretch)
        file = RunFile(self.folder, run)
        counts = np.load(file.path, mmap_mode="r", allow_pickle=False)[rows]
        events = np.load(file.events, allow_pickle=False)[rows]
        return counts, events

    def p(self, pool: Pool, stretch: Stretch) -> Floats:
        """Return the true healthy p of windows in a line, (ls, channel)."""
        run, rows = self._place(pool, stretch)
        return self.truth(run).p(rows.start, rows.stop, healthy=True)

    def p_of(self, pool: Pool, stretch: Stretch, rows: slice, columns: npt.NDArray[np.int64]) -> Floats:
        """Return the true healthy p of some rows of a stretch and some channels, (row, column)."""
        run, whole = self._place(pool, stretch)
        part = slice(whole.start + rows.start, whole.start + rows.stop)
        return self.truth(run).response.p(part, columns)

    def windows(self, pool: Pool, chosen: Sequence[int]) -> tuple[Counts, npt.NDArray[np.int64]]:
        """Return counts (window, time, channel) and events (window, time) of windows given by their numbers."""
        parts = [self.counts(pool, Stretch(int(number), 1)) for number in chosen]
        return np.stack([counts for counts, _ in parts]), np.stack([events for _, events in parts])

    def windows_p(self, pool: Pool, chosen: Sequence[int]) -> Floats:
        """Return the true p of windows given by their numbers, (window, time, channel)."""
        return np.stack([self.p(pool, Stretch(int(number), 1)) for number in chosen])

    def describe(self) -> dict[str, Any]:
        """Return what the runs are, ready for JSON."""
        return {
            name: {
                "said": pool.said,
                "runs": [run.run for run in pool.runs],
                "pileup": [run.conditions.pileup for run in pool.runs],
                "n_ls": pool.n_ls * len(pool.runs),
            }
            for name, pool in self.pools.items()
        }
