"""The course of a failure in time: a step, or a drift."""

import numpy as np
import numpy.typing as npt

from calowatch.detect.scan import Cells

__all__ = ["drifts", "ratio_per_ls"]

Floats = npt.NDArray[np.float64]

_LEAST_LS = 20  # a shorter failure has no course to speak of
_BETTER = 10.0  # chi-squared by which a ramp must beat a step


def ratio_per_ls(cells: Cells) -> tuple[Floats, Floats]:
    """Return, per lumisection, digis over expected digis of all cells together, and its standard deviation.

    Both have shape (ls,) and are NaN where nothing is expected.
    """
    expected = (cells.trials * cells.p).sum(axis=1)
    variance = (cells.trials * cells.p * (1.0 - cells.p)).sum(axis=1)
    hits = np.where(cells.trials[:, 0] > 0, cells.counts.sum(axis=1), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        return hits / expected, np.sqrt(variance) / expected


def drifts(cells: Cells, burst: tuple[int, int]) -> bool:
    """Return whether a failure came on gradually: whether a ramp describes it better than a step.

    Both descriptions start at one, have two parameters, end with the failure and are fitted by least squares to
    `ratio_per_ls`.

    Parameters
    ----------
    cells
        Those of the failing unit, for the whole run.
    burst
        First and last row of the failure.
    """
    first, last = burst
    if last - first + 1 < _LEAST_LS:
        return False
    ratio, error = ratio_per_ls(cells)
    rows = np.arange(len(ratio))
    fit = np.isfinite(ratio) & (error > 0) & (rows <= last)
    away, weight, rows = ratio[fit] - 1.0, error[fit] ** -2, rows[fit]
    steps = [_misfit(away, weight, (rows >= start).astype(np.float64)) for start in range(last)]
    ramps = [_misfit(away, weight, np.maximum(rows - start, 0.0)) for start in range(-1, last)]
    return min(ramps) + _BETTER < min(steps)


def _misfit(values: Floats, weight: Floats, shape: Floats) -> float:
    """Return chi-squared of ``values`` against the best multiple of ``shape``."""
    norm = float((weight * shape**2).sum())
    size = float((weight * shape * values).sum()) / norm if norm > 0 else 0.0
    return float((weight * (values - size * shape) ** 2).sum())
