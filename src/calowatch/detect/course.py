"""The course of a failure in time: a step, or a drift."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from calowatch.detect.scan import Cells

__all__ = ["Ramp", "find_ramp", "ratio_per_ls"]

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


@dataclass(frozen=True)
class Ramp:
    """A failure that comes on gradually: the factor is 1 up to a row and falls or rises steadily from there.

    Parameters
    ----------
    first, last
        First and last row of the failure.
    slope
        Change of the factor per row.
    """

    first: int
    last: int
    slope: float

    def factor(self, rows: npt.NDArray[np.int64]) -> Floats:
        """Return the factor in some rows, zero at least."""
        inside = (rows >= self.first) & (rows <= self.last)
        return np.where(inside, np.maximum(1.0 + self.slope * (rows - self.first + 1.0), 0.0), 1.0)


def find_ramp(cells: Cells, burst: tuple[int, int]) -> Ramp | None:
    """Return the ramp of a failure that came on gradually, or None where a step describes it as well.

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
        return None
    ratio, error = ratio_per_ls(cells)
    rows = np.arange(len(ratio))
    fit = np.isfinite(ratio) & (error > 0) & (rows <= last)
    away, weight, rows = ratio[fit] - 1.0, error[fit] ** -2, rows[fit]
    steps = [_fit(away, weight, (rows >= start).astype(np.float64)) for start in range(last)]
    ramps = [_fit(away, weight, np.maximum(rows - start + 1.0, 0.0)) for start in range(last)]
    best = min(range(last), key=lambda start: ramps[start][0])
    if ramps[best][0] + _BETTER >= min(misfit for misfit, _ in steps):
        return None
    return Ramp(best, last, ramps[best][1])


def _fit(values: Floats, weight: Floats, shape: Floats) -> tuple[float, float]:
    """Return chi-squared of ``values`` against the best multiple of ``shape``, and that multiple."""
    norm = float((weight * shape**2).sum())
    size = float((weight * shape * values).sum()) / norm if norm > 0 else 0.0
    return float((weight * (values - size * shape) ** 2).sum()), size
