"""A bound on the benchmark: posterior odds at the true p, that know how faults were made and which windows hold some.

A readout box holds one fault of a window at most, so that what a box can hold may be written out: nothing, or one of
its units at one factor, each weighted by how often it was drawn. The score of a channel is ln of the odds that its box
holds a fault that changes it, or for one factor that it is a single channel at it, to all that leave it healthy. By
Neyman and Pearson (1933, Phil. Trans. R. Soc. A 231, 289) no score that judges boxes one by one can be expected to
capture as many faults with fewer false positives. What other boxes tell is left out: how many faults of each kind a
window holds, and that single channels of a window share no ring.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.core.progress import SILENT, Progress
from calowatch.detector.units import unit_names
from calowatch.evaluate.benchmark_data import FACTORS, UNITS, Benchmark
from calowatch.evaluate.campaign.evidence import known_ratio
from calowatch.simulate.injection import UNSEEN, UnitList, units_of

__all__ = ["AllKnown"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_AT_ONCE = 20  # windows
_WEAKER = tuple(factor for factor in FACTORS if factor < 1.0)
_SURE = 1e-12  # odds are told no further than this chance of being healthy


@dataclass(frozen=True, eq=False)
class _Sums:
    """Logarithms of summed weights times likelihood ratios, each (window, channel).

    Parameters
    ----------
    own
        Of what changes the channel.
    rest
        Of what its box can hold besides, which leaves the channel healthy.
    single
        Of the channel alone, by factor.
    """

    own: Floats
    rest: Floats
    single: Mapping[float, npt.NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class AllKnown:
    """Scores of who knows everything but where the faults are; those of windows without any are minus infinity.

    Parameters
    ----------
    benchmark
        The benchmark.
    p
        True healthy p of its test windows, (window, time, channel).
    progress
        Told of the factors.
    """

    benchmark: Benchmark
    p: Floats
    progress: Progress = SILENT

    def of_factor(self, factor: float) -> Floats:
        """Return the scores against single channels at a factor, (window, channel)."""
        nearest = min(self._sums.single, key=lambda one: abs(one - factor))
        return self._of_faulty(self._sums.single[nearest] - self._sums.rest)

    def of_all(self) -> Floats:
        """Return the scores against all faults, (window, channel)."""
        return self._of_faulty(self._sums.own - self._sums.rest)

    def _of_faulty(self, scores: Floats) -> Floats:
        return np.where(self.benchmark.arrays["truth"]["faulty"][:, None], scores, -np.inf)

    @cached_property
    def _sums(self) -> _Sums:
        shape, run = self.benchmark.shape, self.benchmark.arrays["test"]["run"]
        lists = [(units_of(kind, self.benchmark.channels), wanted) for kind, wanted in UNITS]
        box = np.asarray(pd.factorize(unit_names(self.benchmark.channels)["rbx"])[0], np.int64)
        n_boxes = int(box.max()) + 1
        nothing = np.log(1.0 - sum(wanted for _, wanted in lists) / n_boxes)
        own, rest = np.full(shape, -np.inf), np.empty(shape)
        single = {factor: np.full(shape, -np.inf, np.float32) for factor in FACTORS}
        ratios = self._ratios()
        for number in np.unique(run):
            rows = np.flatnonzero(run == number)
            lumisections = self.p[rows].reshape(-1, shape[1])
            typical = lumisections[len(lumisections) // 2]
            mine = {factor: values[rows] for factor, values in ratios.items()}
            held, whole = np.full((len(rows), shape[1]), -np.inf), np.full((len(rows), n_boxes), nothing)
            for units, wanted in lists:
                for factor, terms, lit, unit in _terms(mine, typical, units, wanted):
                    told = terms[:, unit[lit]]
                    held[:, lit] = np.logaddexp(held[:, lit], told)
                    if units.unit_type == "channel":
                        single[factor][np.ix_(rows, lit)] = told
                    _add_to_boxes(whole, terms, box[[inside[0] for inside in units.members]])
            share = np.minimum(held - whole[:, box], np.log1p(-_SURE))
            own[rows], rest[rows] = held, whole[:, box] + np.log(-np.expm1(share))
        return _Sums(own, rest, single)

    def _ratios(self) -> Mapping[float, npt.NDArray[np.float32]]:
        """Return logarithms of likelihood ratios of single channels by factor, each (window, channel)."""
        test, found = self.benchmark.arrays["test"], dict[float, npt.NDArray[np.float32]]()
        for factor in self.progress.track(FACTORS, "bound", len(FACTORS)):
            parts = []
            for first in range(0, len(self.p), _AT_ONCE):
                part = slice(first, first + _AT_ONCE)
                counts, events = test["counts"][part], test["n_events"][part].astype(np.int64)
                windows = counts.astype(np.int32), events, self.p[part]
                parts.append(known_ratio(windows, factor, counts.shape[1], 1)[0].astype(np.float32))
            found[factor] = np.concatenate(parts)
        return found


def _terms(
    ratios: Mapping[float, npt.NDArray[np.float32]], typical: Floats, units: UnitList, wanted: int
) -> Iterator[tuple[float, Floats, Mask, Ints]]:
    """Yield by factor ln of weight times ratio (window, unit), the channels that it changes, and the unit of each."""
    incidence = units.incidence(len(typical))
    # Every channel is in one unit of a kind at most.
    unit = np.full(len(typical), -1, np.int64)
    for place, inside in enumerate(units.members):
        unit[inside] = place
    weights = _chances(units, typical) * wanted / len(units)
    for factor, weight in zip(FACTORS, weights, strict=True):
        changes = np.abs(np.minimum(1.0, factor * typical) - typical) > UNSEEN
        with np.errstate(divide="ignore"):
            terms = (incidence @ np.where(changes, ratios[factor], 0.0).T).T + np.log(weight)
        yield factor, terms, changes & (unit >= 0), unit


def _add_to_boxes(whole: Floats, terms: Floats, box: Ints) -> None:
    """Add the terms of units to the sums of their boxes, in place."""
    order = np.argsort(box, kind="stable")
    present, first = np.unique(box[order], return_index=True)
    whole[:, present] = np.logaddexp(whole[:, present], np.logaddexp.reduceat(terms[:, order], first, axis=1))


def _chances(units: UnitList, typical: Floats) -> Floats:
    """Return how often each factor was drawn for each unit, (factor, unit).

    One that the factor saturates got a factor below 1 in its place.
    """
    lost = np.array([units.saturated(typical, factor) for factor in FACTORS])
    weaker = np.isin(FACTORS, _WEAKER)[:, None]
    chances: Floats = (~lost + weaker * lost.sum(axis=0) / len(_WEAKER)) / len(FACTORS)
    return chances
