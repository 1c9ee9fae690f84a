"""Delay of an alarm in lumisections, and alarms of healthy data per day."""

import numpy as np
import numpy.typing as npt
from scipy import special

from calowatch.core.errors import InputError

__all__ = ["LS_SECONDS", "delay", "false_alarms", "false_alarms_per_day"]

LS_SECONDS = 23.31
"""Length of a lumisection: 2^18 orbits of 3564 bunch slots at the LHC clock of 40.079 MHz."""

_LS_PER_DAY = 86400.0 / LS_SECONDS


def delay(onset: npt.ArrayLike, first_flag: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return how many lumisections passed before a fault was flagged, infinite for one never flagged.

    Parameters
    ----------
    onset
        First faulty lumisection of each fault, shape (fault,).
    first_flag
        Lumisection at whose end it was first flagged; NaN for never. One before the onset is no detection: the caller
        looks for the first flag from the onset on.

    Returns
    -------
    0 where it was flagged at the end of its first lumisection. Take quantiles of it, not the mean.

    Raises
    ------
    InputError
        When a flag lies before the onset.

    Examples
    --------
    >>> delay([10, 20], [12, float("nan")]).tolist()
    [2.0, inf]
    """
    late = np.asarray(first_flag, np.float64) - np.asarray(onset, np.float64)
    if (late < 0).any():
        raise InputError(
            "first flag", "no earlier than the onset", "an earlier one", "count it as a false alarm"
        )
    return np.where(np.isnan(late), np.inf, late)


def false_alarms(flags: npt.ArrayLike, quiet: int = 0) -> int:
    """Return the number of alarms in flags per lumisection, those that belong together counted once.

    Parameters
    ----------
    flags
        Whether anything was flagged in a lumisection of healthy data, in order, shape (ls,); or (ls, unit), where each
        unit raises alarms of its own.
    quiet
        Lumisections without a flag that do not end an alarm.

    Examples
    --------
    >>> false_alarms([1, 1, 0, 1, 0, 0, 1]), false_alarms([1, 1, 0, 1, 0, 0, 1], quiet=1)
    (3, 2)
    """
    flagged = np.asarray(flags, np.bool_)
    flagged = flagged[:, None] if flagged.ndim == 1 else flagged
    starts = 0
    for unit in flagged.T:
        at = np.flatnonzero(unit)
        starts += int((np.diff(at) > quiet + 1).sum()) + bool(at.size)
    return starts


def false_alarms_per_day(alarms: int, n_ls: int, level: float = 0.95) -> tuple[float, float, float]:
    """Return alarms per 24 h of healthy data, and the exact Poisson interval of that rate.

    Parameters
    ----------
    alarms
        As counted by `false_alarms`.
    n_ls
        Healthy lumisections looked at, of `LS_SECONDS` each (3707 in 24 h).
    level
        Two-sided confidence of the interval (Garwood 1936, Biometrika 28, 437).

    Returns
    -------
    Rate, lower and upper edge.

    Examples
    --------
    >>> [round(value, 2) for value in false_alarms_per_day(2, 15_000)]
    [0.49, 0.06, 1.79]
    """
    if n_ls < 1 or alarms < 0:
        raise InputError("lumisections", "at least one", f"{n_ls} with {alarms} alarms", "give healthy data")
    tail = (1.0 - level) / 2
    low = special.gammaincinv(alarms, tail) if alarms else 0.0
    high = special.gammaincinv(alarms + 1, 1.0 - tail)
    per_day = _LS_PER_DAY / n_ls
    return alarms * per_day, float(low) * per_day, float(high) * per_day
