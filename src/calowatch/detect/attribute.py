"""From likelihood ratios to failing units: who is to blame, from when to when, and how.

A dead crate makes each of its modules, cards, fibres and channels look dead, and half of a larger unit too. The
unit whose failure explains most is blamed first; what it explains is taken into the expectation, and the rest is
asked again, until nothing significant is left.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from calowatch.core.progress import SILENT, Progress
from calowatch.detect.course import Ramp, find_ramp
from calowatch.detect.scan import (
    CHANGES,
    Cells,
    Change,
    best_bursts,
    best_segments,
    log_ratio,
    log_ratios,
)
from calowatch.detect.units import UnitSet

__all__ = ["Failure", "attribute", "benjamini_hochberg"]

Floats = npt.NDArray[np.float64]

_WHOLE = 0.9  # share of failing channels from which a unit counts as failing as a whole
_TOLERANCE = 3.0  # log-likelihood by which a smaller share must win before a unit is cleared
_DEAD_BELOW = 0.02  # digis over expectation: no course in time is asked of so little
_BURST = 8.0  # log-likelihood ratio that every burst beyond the first must be worth
_ROWS = 8  # lumisections worked on at once
_EXPLAINED_SIGMA = 0.2  # ln(lambda): what may vary within a unit that fails by a common factor


@dataclass(frozen=True)
class Failure:
    """A unit to blame.

    Parameters
    ----------
    unit
        Position in the `UnitSet`.
    bursts
        First and last row of each stretch in which it fails, in order.
    factor
        Digis over expectation in those stretches.
    change
        What fits best there.
    log_p
        Natural logarithm of the p-value of this unit, after all stretches and changes tried.
    ramp
        How the factor goes with time, where it comes on gradually.
    """

    unit: int
    bursts: tuple[tuple[int, int], ...]
    factor: float
    change: Change
    log_p: float
    ramp: Ramp | None = None


def benjamini_hochberg(log_p: Floats, tests: int, rate: float) -> float:
    """Return the largest ln(p) that Benjamini and Hochberg (1995) let pass at a false discovery rate.

    Parameters
    ----------
    log_p
        ln(p) of the tests worth looking at; the rest count as 1.
    tests
        Number of tests in all.
    rate
        Accepted share of false ones among the discoveries.

    Examples
    --------
    >>> round(float(np.exp(benjamini_hochberg(np.log([1e-5, 0.009, 0.2]), 4, 0.02))), 3)
    0.009
    """
    ordered = np.sort(log_p)
    limits = np.log(rate) + np.log(np.arange(1, len(ordered) + 1)) - np.log(tests)
    passed = np.flatnonzero(ordered <= limits)
    return float(ordered[passed[-1]]) if len(passed) else -np.inf


def log_trials(usable_rows: int) -> float:
    """Return ln of the number of changes and stretches tried on one unit."""
    return float(np.log(len(CHANGES)) + np.log(max(usable_rows, 1)) + np.log(usable_rows + 1.0) - np.log(2.0))


class _Ledger:
    """The cells of a run as far as they are explained: what accepted failures change is kept here."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._p = cells.p
        self._sigma = cells.sigma
        self._touched = np.zeros(cells.p.shape[1], dtype=bool)

    def of(self, channels: npt.NDArray[np.int64]) -> Cells:
        """Return the cells of some channels with all that is explained taken in."""
        if not self._touched[channels].any():
            return self._cells.take(channels)
        return Cells(self._cells.counts, self._cells.trials, self._p, self._sigma).take(channels)

    def explain(self, channels: npt.NDArray[np.int64], failure: Failure) -> None:
        """Take a failure into the expectation."""
        if self._p is self._cells.p:
            self._p = self._cells.p.copy()
            self._sigma = np.broadcast_to(self._cells.sigma, self._p.shape).astype(np.float32)
        rows = np.flatnonzero(_inside(failure.bursts, len(self._p))).astype(np.int64)
        block = np.ix_(rows, channels)
        p = self._p[block]
        changed = p * failure.ramp.factor(rows)[:, None] if failure.ramp else failure.change.apply(p)
        self._p[block] = np.clip(changed, 1e-9, 1.0 - 1e-6)
        self._sigma[block] = np.hypot(self._sigma[block], _EXPLAINED_SIGMA)
        self._touched[channels] = True


def _gain(cells: Cells) -> tuple[float, int]:
    """Return the largest log-likelihood ratio of a unit over stretches and changes, and the change's position."""
    sums = np.stack([ratio.sum(axis=1) for ratio in log_ratios(cells)], axis=1)
    gains = best_segments(sums)[0]
    best = int(gains.argmax())
    return float(gains[best]), best


class _Rise:
    """The largest sum over a stretch of lumisections of each unit, kept up as lumisections come in."""

    def __init__(self, size: int) -> None:
        self._total, self._lowest, self.best = (np.zeros(size) for _ in range(3))

    def add(self, gain: Floats) -> None:
        """Take in one lumisection's log-likelihood ratios, shape (unit,)."""
        np.minimum(self._lowest, self._total, out=self._lowest)
        self._total += gain
        np.maximum(self.best, self._total - self._lowest, out=self.best)


def _initial_gains(cells: Cells, units: UnitSet, progress: Progress) -> Floats:
    """Return the largest log-likelihood ratio of every unit, over stretches and changes."""
    singles = np.array([inside[0] for inside in units.members if len(inside) == 1], dtype=np.int64)
    rises = [_Rise(len(units)) for _ in CHANGES]
    for first in progress.track(range(0, len(cells.counts), _ROWS), "scanning"):
        for rise, ratio in zip(rises, log_ratios(cells.rows(slice(first, first + _ROWS))), strict=True):
            sums = units.incidence @ ratio.T
            for row in range(len(ratio)):
                rise.add(np.concatenate([ratio[row, singles], sums[:, row]]))
    best: Floats = np.max([rise.best for rise in rises], axis=0)
    return best


def _fails_as_a_whole(cells: Cells, change: Change) -> bool:
    """Return whether the channels of a unit fail together, rather than a few of them.

    The likelihood of "a share of the channels fails" is compared at the share that fits best and at all of them,
    for channels that all change alike, and for channels that fail by a factor each of its own. Weak failures, where
    no single channel tells, pass; half a unit dead does not.
    """
    alike = log_ratio(cells, change).sum(axis=0)
    if _all_affected(alike):
        return True
    own = tuple(other for other in CHANGES if other.deficit is change.deficit and other.form == "factor")
    ratios = np.stack([ratio.sum(axis=0) for ratio in log_ratios(cells, own)])
    return _all_affected(special.logsumexp(ratios, axis=0) - np.log(len(own)))


def _all_affected(affected: Floats) -> bool:
    """Return whether all channels may be affected, from the log-likelihood ratio of each to be."""
    shares = np.linspace(0.02, 1.0, 50)[:, None]
    with np.errstate(divide="ignore"):
        total = np.logaddexp(np.log(shares) + affected, np.log1p(-shares)).sum(axis=1)
    best = int(total.argmax())
    return bool(shares[best, 0] >= _WHOLE or total[-1] >= total[best] - _TOLERANCE)


def _inside(bursts: Sequence[tuple[int, int]], size: int) -> npt.NDArray[np.bool_]:
    """Return which rows lie within the bursts."""
    inside = np.zeros(size, dtype=bool)
    for first, last in bursts:
        inside[first : last + 1] = True
    return inside


def _ratio_of_sums(cells: Cells, bursts: Sequence[tuple[int, int]]) -> float:
    """Return digis over expected digis within the bursts."""
    rows = _inside(bursts, len(cells.counts)) & (cells.trials > 0)[:, 0]
    expected = float((cells.trials[rows] * cells.p[rows]).sum())
    return float(cells.counts[rows].sum()) / max(expected, 1e-9)


def _refined(cells: Cells, bursts: Sequence[tuple[int, int]], change: Change) -> Change:
    """Return the change of the same form whose expected digis within the bursts equal the counted ones."""
    if change.form == "factor":
        return Change("factor", _ratio_of_sums(cells, bursts))
    rows = _inside(bursts, len(cells.counts)) & (cells.trials > 0)[:, 0]
    hits, trials, p = cells.counts[rows].sum(), cells.trials[rows], cells.p[rows]

    def excess(size: float) -> float:
        return float((trials * Change("gain", size).apply(p)).sum() - hits)

    low, high = (0.05, 1.0) if change.deficit else (1.0, 20.0)
    if excess(low) >= 0 or excess(high) <= 0:
        return change
    return Change("gain", float(optimize.brentq(excess, low, high, xtol=1e-4)))


def _bursts(cells: Cells, change: Change) -> tuple[tuple[tuple[int, int], ...], Change]:
    """Return when a unit fails and how, refining both in turn from the best change of the list."""
    bursts: list[tuple[int, int]] = []
    options = [change, *(other for other in CHANGES if other.deficit is change.deficit and other != change)]
    best = -np.inf
    for option in options:
        found, score = best_bursts(log_ratio(cells, option).sum(axis=1), _BURST)
        if score > best:
            best, change, bursts = score, option, found
    for _ in range(2):
        refined = _refined(cells, bursts, change) if bursts else change
        if refined.deficit is not change.deficit:
            break
        found, _ = best_bursts(log_ratio(cells, refined).sum(axis=1), _BURST)
        if not found:
            break
        change, bursts = refined, found
    return tuple(bursts), change


def attribute(cells: Cells, units: UnitSet, rate: float, progress: Progress = SILENT) -> list[Failure]:
    """Return the units to blame, the most significant first.

    Parameters
    ----------
    cells
        The run against its expectation.
    units
        Whom to ask.
    rate
        False discovery rate of the returned list (Benjamini-Hochberg over all units asked).
    progress
        Whom to tell how far the scan is.
    """
    if not len(units):
        return []
    offset = log_trials(int((cells.trials > 0).sum()))
    gains = _initial_gains(cells, units, progress)
    threshold = benjamini_hochberg(offset - gains[gains > offset], len(units), rate)
    queue = [(-float(gains[i]), int(i)) for i in np.flatnonzero(offset - gains <= threshold)]
    heapq.heapify(queue)
    ledger, failures = _Ledger(cells), list[Failure]()
    while queue:
        promised, unit = heapq.heappop(queue)
        own = ledger.of(units.members[unit])
        gain, best = _gain(own)
        if gain < -promised - 1e-3:
            if offset - gain <= threshold:
                heapq.heappush(queue, (-gain, unit))
            continue
        failure = _judge(own, unit, CHANGES[best], offset - gain)
        if failure is None:
            continue
        failures.append(failure)
        ledger.explain(units.members[unit], failure)
        heapq.heappush(queue, (promised, unit))  # it may fail in another way at another time
    limit = benjamini_hochberg(np.array([failure.log_p for failure in failures]), len(units), rate)
    return [failure for failure in failures if failure.log_p <= limit]


def _judge(cells: Cells, unit: int, change: Change, log_p: float) -> Failure | None:
    """Return the failure of a unit, or None where only some of its channels fail."""
    bursts, change = _bursts(cells, change)
    if not bursts:
        first, last = (int(at[0]) for at in best_segments(log_ratio(cells, change).sum(axis=1)[:, None])[1:])
        bursts = ((first, last),)
    factor = _ratio_of_sums(cells, bursts)
    ramp = find_ramp(cells, bursts[0]) if len(bursts) == 1 and factor >= _DEAD_BELOW else None
    if ramp is not None:
        bursts = ((ramp.first, ramp.last),)
        factor = _ratio_of_sums(cells, bursts)
    inside = cells.rows(_inside(bursts, len(cells.counts)))
    if cells.counts.shape[1] > 1 and not _fails_as_a_whole(inside, change):
        return None
    return Failure(unit, bursts, factor, change, log_p, ramp)
