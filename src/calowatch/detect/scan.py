"""Likelihood ratios against the expectation, summed over units and scanned over time.

For a change of p, a stretch of lumisections and a set of channels, the ratio of the likelihoods of the counts with
and without the change is the best possible statistic (Neyman and Pearson, 1933). Under the expectation its mean is
one, so by Markov's inequality it exceeds exp(G) with probability exp(-G) at most: a p-value that holds for any
number of events, without asymptotics, and that only has to be multiplied by the number of changes and stretches
tried.

An expectation is never exact. The healthy hypothesis is therefore the whole interval of ln(lambda) within
`MARGIN` times ``sigma`` of the expected one, and the ratio is taken against its nearest edge: then its mean is one at
most anywhere in the interval, and a slightly wrong expectation raises no alarm however long the run.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = [
    "CHANGES",
    "MARGIN",
    "Cells",
    "Change",
    "best_bursts",
    "best_segments",
    "log_ratio",
    "log_ratios",
]

Floats = npt.NDArray[np.float64]

MARGIN = 3.0
"""Half-width of the healthy interval of ln(lambda), in units of sigma."""

_LEAST = 1e-3  # stands for factor 0, so that a stray digi does not clear a dead channel
_VISIBLE = 1.03  # excesses smaller than this, all that is left to channels that nearly always fire, are none
_CLEAR = 1.5  # a change is asked of a channel only if it moves ln(lambda) by this many half-widths


@dataclass(frozen=True)
class Change:
    """What a failure does to p.

    Parameters
    ----------
    form
        ``"factor"``: p' = size * p, digis lost or added whatever their charge. ``"gain"``: p' = p^(1 / size), charges
        that shrink or grow against a fixed threshold, for a spectrum that falls exponentially.
    size
        Below one for fewer digis, above one for more.
    """

    form: Literal["factor", "gain"]
    size: float

    @property
    def deficit(self) -> bool:
        """Whether digis get fewer."""
        return self.size < 1.0

    def apply(self, p: Floats) -> Floats:
        """Return the changed p; a factor above one may lead above one."""
        if self.form == "factor":
            return self.size * p
        changed: Floats = p ** (1.0 / self.size)
        return changed


CHANGES = (
    *(Change("factor", size) for size in (0.0, 0.3, 0.6, 0.8, 0.9, 0.95, 1.05, 1.1, 1.25, 1.6, 3.0)),
    *(Change("gain", size) for size in (0.6, 0.8, 0.9, 1.15, 1.4)),
)
"""What is tried on every unit."""


@dataclass(frozen=True)
class Cells:
    """Counts and what was expected of them, for some channels of a run.

    Parameters
    ----------
    counts
        Digis, shape (ls, channel).
    trials
        Events, shape (ls, 1); zero where no verdict is possible.
    p
        Expected probability, shape (ls, channel).
    sigma
        Uncertainty of ln(lambda), shape (channel,) or (ls, channel).
    """

    counts: npt.NDArray[Any]
    trials: Floats
    p: Floats
    sigma: Floats

    def take(self, channels: npt.NDArray[np.int64]) -> "Cells":
        """Return the cells of some channels, given by their positions."""
        return Cells(self.counts[:, channels], self.trials, self.p[:, channels], self.sigma[..., channels])

    def rows(self, part: slice | npt.NDArray[np.bool_]) -> "Cells":
        """Return the cells of some lumisections."""
        sigma = self.sigma if self.sigma.ndim == 1 else self.sigma[part]
        return Cells(self.counts[part], self.trials[part], self.p[part], sigma)


def log_ratios(cells: Cells, changes: tuple[Change, ...] = CHANGES) -> Iterator[Floats]:
    """Yield, per change and in their order, the log-likelihood ratio of every cell, shape (ls, channel).

    Cells in which a change moves nothing beyond the healthy interval (saturated ones, or expectations too uncertain
    for so small a change) contribute zero.
    """
    edges = {deficit: _edge(cells, deficit) for deficit in {change.deficit for change in changes}}
    misses = cells.trials - cells.counts
    for change in changes:
        edge_rate, clear_rate, edge, log_edge = edges[change.deficit]
        changed = change.apply(cells.p)
        if change.deficit:
            changed = np.maximum(changed, _LEAST * cells.p)
        else:
            # Never quite one: a single miss must not rule a hot channel out.
            np.minimum(changed, 1.0 - 0.25 * (1.0 - edge), out=changed)
        changed_rate = -np.log1p(-changed)
        if change.deficit:
            works = (changed_rate <= clear_rate) & (changed < edge)
        else:
            works = (changed_rate >= clear_rate) & (changed > edge) & (changed > _VISIBLE * cells.p)
        ratio = cells.counts * (np.log(changed) - log_edge)
        ratio += misses * (edge_rate - changed_rate)
        yield np.where(works & (cells.trials > 0), ratio, 0.0)


def _edge(cells: Cells, deficit: bool) -> tuple[Floats, Floats, Floats, Floats]:
    """Return lambda at the edge of the healthy interval and where changes are clear of it, and p, ln(p) at the edge."""
    rate = -np.log1p(-cells.p)
    half_width = (-MARGIN if deficit else MARGIN) * cells.sigma
    edge_rate = rate * np.exp(half_width)
    edge = -np.expm1(-edge_rate)
    return edge_rate, rate * np.exp(_CLEAR * half_width), edge, np.log(edge)


def log_ratio(cells: Cells, change: Change) -> Floats:
    """Return the log-likelihood ratio of every cell for one change, shape (ls, channel)."""
    return next(log_ratios(cells, (change,)))


def best_segments(
    gains: Floats,
) -> tuple[Floats, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return, per column, the largest sum over a stretch of rows, and the first and last row of that stretch.

    Parameters
    ----------
    gains
        Log-likelihood ratios, shape (ls, unit).

    Examples
    --------
    >>> best_segments(np.array([[-1.0], [2.0], [3.0], [-9.0], [1.0]]))
    (array([5.]), array([1]), array([2]))
    """
    total = np.vstack([np.zeros((1, gains.shape[1])), np.cumsum(gains, axis=0, dtype=np.float64)])
    lowest = np.minimum.accumulate(total[:-1], axis=0)
    rise = total[1:] - lowest
    last = rise.argmax(axis=0)
    columns = np.arange(gains.shape[1])
    before = np.where(np.arange(len(gains))[:, None] <= last, total[:-1], np.inf)
    # The latest of equal minima: rows that add nothing (no verdict possible) do not belong to a stretch.
    first = len(gains) - 1 - before[::-1].argmin(axis=0)
    return rise[last, columns], first.astype(np.int64), last.astype(np.int64)


def best_bursts(gains: Floats, price: float) -> tuple[list[tuple[int, int]], float]:
    """Return the stretches whose sums, less a price for each, add up to the most, and that total.

    Unlike the one best stretch, a union of bursts does not pay for the healthy rows between them.

    Parameters
    ----------
    gains
        Log-likelihood ratios of one unit, shape (ls,).
    price
        What each stretch costs: the evidence asked for every change of state.

    Notes
    -----
    The most likely path of a two-state chain, after Viterbi (1967), in linear time.

    Examples
    --------
    >>> best_bursts(np.array([9.0, -5.0, 8.0, -1.0, 6.0]), 4.0)
    ([(0, 0), (2, 4)], 14.0)
    """
    idle, failing = 0.0, -np.inf
    began = np.zeros(len(gains), dtype=bool)  # whether a burst that is on in this row began in it
    on = np.zeros(len(gains), dtype=bool)  # whether the row before an idle row was best left failing
    for row, gain in enumerate(gains):
        began[row] = idle - price >= failing
        on[row] = failing > idle
        idle, failing = max(idle, failing), max(failing, idle - price) + float(gain)
    bursts: list[tuple[int, int]] = []
    row, state = len(gains) - 1, failing > idle
    last = row
    while row >= 0:
        if state and began[row]:
            bursts.append((row, last))
            state = bool(on[row])
            last = row - 1
        elif not state:
            state = bool(on[row])
            last = row - 1
        row -= 1
    return _trimmed(gains, bursts[::-1]), max(idle, failing)


def _trimmed(gains: Floats, bursts: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the bursts without rows at their ends that tell nothing (no verdict was possible there)."""
    found = []
    for first, last in bursts:
        telling = first + np.flatnonzero(gains[first : last + 1])
        found.append((int(telling[0]), int(telling[-1])))
    return found
