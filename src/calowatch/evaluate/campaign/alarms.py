"""Alarms of healthy data: how often, at the threshold that was fixed beforehand, and at which there is one a day."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from calowatch.evaluate.campaign.data import Pool
from calowatch.metrics.timing import LS_SECONDS, false_alarms_per_day

__all__ = ["HealthyRecord", "count_alarms", "read_healthy", "threshold_of_a_day"]

Ints = npt.NDArray[np.int64]

_DAY = 86400.0


@dataclass(frozen=True, eq=False)
class HealthyRecord:
    """What is left of the healthy windows of a pool, for one contestant.

    Parameters
    ----------
    flags
        By evidence: window and channel of every flag, (flag, 2).
    top
        By evidence: the largest scores of every window, (window, rank).
    where
        By evidence: their channels.
    n_ls
        Lumisections scored.
    predicting, scoring
        Seconds that the model took for them, and all of it.
    """

    flags: dict[str, Ints]
    top: dict[str, npt.NDArray[np.float32]]
    where: dict[str, Ints]
    n_ls: int
    predicting: float
    scoring: float


def read_healthy(folder: Path, pool: Pool) -> HealthyRecord:
    """Return the record of a pool from the files of its pieces."""
    parts: dict[str, list[Any]] = {}
    for path in sorted(folder.glob(f"healthy-{pool.name}-*.flags.npz")):
        with np.load(path, allow_pickle=False) as arrays:
            for name in arrays.files:
                parts.setdefault(name, []).append(arrays[name])
    whole = {name: np.concatenate(values) for name, values in parts.items() if name != "seconds"}
    predicting, scoring, n_ls = np.sum(parts["seconds"], axis=0)
    named = {
        head: {
            name.removeprefix(f"{head}_"): values for name, values in whole.items() if name.startswith(head)
        }
        for head in ("flags", "top", "where")
    }
    return HealthyRecord(
        {name: np.asarray(values, np.int64) for name, values in named["flags"].items()},
        named["top"],
        {name: np.asarray(values, np.int64) for name, values in named["where"].items()},
        int(n_ls),
        float(predicting),
        float(scoring),
    )


def count_alarms(windows: Ints, channels: Ints, per_run: int) -> int:
    """Return the number of alarms: flags of one channel in windows that follow one another in a run are one.

    Parameters
    ----------
    windows, channels
        Of each flag.
    per_run
        Windows in each run: the next run begins anew.

    Examples
    --------
    >>> count_alarms(np.array([0, 1, 3, 1]), np.array([7, 7, 7, 8]), 10)
    3
    """
    if not len(windows):
        return 0
    return len(windows) - int(_joined(windows, channels, per_run).shape[1])


def alarm_rate(flags: Ints, pool: Pool, n_ls: int) -> dict[str, Any]:
    """Return alarms and their rate per 24 h with the exact Poisson interval, ready for JSON."""
    alarms = count_alarms(flags[:, 0], flags[:, 1], pool.per_run)
    return {
        "alarms": alarms,
        "n_ls": n_ls,
        "per_day": list(false_alarms_per_day(alarms, n_ls)),
        "flags": len(flags),
    }


def threshold_of_a_day(top: npt.NDArray[np.float32], where: Ints, pool: Pool, n_ls: int) -> tuple[float, int]:
    """Return the lowest threshold with no more than one alarm per 24 h in these very data, and how many it lets by.

    The largest scores of each window are enough: where as many channels of one window are flagged as were kept, there
    are at least as many alarms. Only if that many alarms were allowed could lost scores matter; the threshold is then
    no lower than the largest score that a window may have lost.

    Parameters
    ----------
    top, where
        The largest scores of each window and their channels, (window, rank).
    pool, n_ls
        What they are of.
    """
    allowed = int(n_ls * LS_SECONDS / _DAY)
    floor = -np.inf if allowed < top.shape[1] else float(top.min(axis=1).max())
    # An alarm ends with its run, so that more flags than these are more alarms than allowed.
    most = min(allowed * pool.per_run + 1, top.size)
    least = max(float(np.partition(top, -most, axis=None)[-most]), floor)
    window, rank = np.nonzero(top >= least)
    scores, channel = top[window, rank], where[window, rank]
    thresholds = np.unique(scores)
    alarms = _alarms_above(scores, _joined(window, channel, pool.per_run), thresholds)
    return float(thresholds[alarms <= allowed][0]), allowed


def _joined(windows: Ints, channels: Ints, per_run: int) -> Ints:
    """Return which flags belong to one alarm if both are raised: those of a channel in windows one after another."""
    order = np.lexsort((windows, channels))
    window, channel = windows[order], channels[order]
    follows = (np.diff(window) == 1) & (np.diff(channel) == 0) & (window[1:] % per_run != 0)
    return np.stack([order[:-1][follows], order[1:][follows]])


def _alarms_above(scores: npt.NDArray[np.float32], joined: Ints, thresholds: npt.NDArray[np.float32]) -> Ints:
    """Return the number of alarms at each threshold.

    It need not fall as thresholds rise: a flag between two alarms makes them one.
    """
    weaker = scores[joined].min(axis=0)
    flags = len(scores) - np.searchsorted(np.sort(scores), thresholds, side="right")
    pairs = len(weaker) - np.searchsorted(np.sort(weaker), thresholds, side="right")
    return np.asarray(flags - pairs, np.int64)
