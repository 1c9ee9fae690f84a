"""What nothing can beat on the benchmark: likelihood ratios that know how its faults were made, at the true p.

For one factor on single channels, ln of L(f p) / L(p): by Neyman and Pearson (1933, Phil. Trans. R. Soc. A 231, 289)
no score captures as many of them with fewer false positives. For all faults together, ln of the odds that a channel is
at fault: the ratios of each unit that holds it and of each factor, weighted by how often they were drawn. It takes
faults one by one: what the others of the window tell (which boxes are taken) is left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from calowatch.core.progress import SILENT, Progress
from calowatch.evaluate.benchmark_data import FACTORS, UNITS, Benchmark
from calowatch.evaluate.campaign.evidence import known_ratio
from calowatch.simulate.injection import UNSEEN, UnitList, units_of

__all__ = ["AllKnown"]

Floats = npt.NDArray[np.floating]

_AT_ONCE = 20  # windows
_WEAKER = tuple(factor for factor in FACTORS if factor < 1.0)


@dataclass(frozen=True, eq=False)
class AllKnown:
    """Scores of who knows everything but where the faults are.

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
    p: npt.NDArray[np.float64]
    progress: Progress = SILENT

    def of_factor(self, factor: float) -> Floats:
        """Return the scores against single channels at a factor, (window, channel)."""
        return self._ratios[min(self._ratios, key=lambda one: abs(one - factor))]

    @cached_property
    def _ratios(self) -> Mapping[float, Floats]:
        """Logarithms of likelihood ratios of single channels by factor, each (window, channel)."""
        test, found = self.benchmark.arrays["test"], dict[float, Floats]()
        for factor in self.progress.track(FACTORS, "bound", len(FACTORS)):
            parts = []
            for first in range(0, len(self.p), _AT_ONCE):
                part = slice(first, first + _AT_ONCE)
                counts, events = test["counts"][part], test["n_events"][part].astype(np.int64)
                windows = counts.astype(np.int32), events, self.p[part]
                parts.append(known_ratio(windows, factor, counts.shape[1], 1)[0].astype(np.float32))
            found[factor] = np.concatenate(parts)
        return found

    def of_all(self) -> Floats:
        """Return the scores against all faults, (window, channel)."""
        run = self.benchmark.arrays["test"]["run"]
        lists = [(units_of(kind, self.benchmark.channels), wanted) for kind, wanted in UNITS]
        scores = np.full(self.benchmark.shape, -np.inf, np.float32)
        for number in np.unique(run):
            mine = run == number
            lumisections = self.p[mine].reshape(-1, self.p.shape[2])
            typical = lumisections[len(lumisections) // 2]
            for units, wanted in lists:
                self._add(scores, mine, typical, (units, wanted))
        return scores

    def _add(
        self,
        scores: Floats,
        mine: npt.NDArray[np.bool_],
        typical: npt.NDArray[np.float64],
        drawn: tuple[UnitList, int],
    ) -> None:
        """Add the ratios of the units of a kind to the scores of the windows of a run, in place."""
        units, wanted = drawn
        n = len(typical)
        incidence = units.incidence(n)
        # Every channel is in one unit of a kind at most.
        unit = np.full(n, -1)
        for place, inside in enumerate(units.members):
            unit[inside] = place
        weights = _chances(units, typical) * wanted / len(units)
        for factor, weight in zip(FACTORS, weights, strict=True):
            changes = np.abs(np.minimum(1.0, factor * typical) - typical) > UNSEEN
            ratios = np.where(changes, self._ratios[factor][mine], 0.0)
            with np.errstate(divide="ignore"):
                whole = (incidence @ ratios.T).T + np.log(weight)
            lit = changes & (unit >= 0)
            own = scores[np.ix_(mine, lit)]
            scores[np.ix_(mine, lit)] = np.logaddexp(own, whole[:, unit[lit]])


def _chances(units: UnitList, typical: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return how often each factor was drawn for each unit, (factor, unit).

    One that the factor saturates got a factor below 1 in its place.
    """
    lost = np.array([units.saturated(typical, factor) for factor in FACTORS])
    weaker = np.isin(FACTORS, _WEAKER)[:, None]
    chances: npt.NDArray[np.float64] = (~lost + weaker * lost.sum(axis=0) / len(_WEAKER)) / len(FACTORS)
    return chances
