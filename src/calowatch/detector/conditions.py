"""Conditions that change with time, as intervals of validity by run number.

One generic type serves whatever is true from one run to another: the era of the segmentation, the electronics, a
list of known bad channels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from calowatch.core.errors import UnknownNameError

__all__ = ["ERA_CONDITIONS", "Conditions", "Interval", "era_of_run", "era_or_default"]

T = TypeVar("T")


@dataclass(frozen=True)
class Interval(Generic[T]):
    """What holds from one run to another.

    Parameters
    ----------
    first_run, last_run
        Both inclusive; ``last_run`` is ``None`` while the interval is still open.
    value
        What holds in between.
    """

    first_run: int
    last_run: int | None
    value: T

    def __post_init__(self) -> None:
        if self.last_run is not None and self.last_run < self.first_run:
            raise ValueError(
                f"an interval cannot end (run {self.last_run}) before it begins ({self.first_run})"
            )

    def __contains__(self, run: int) -> bool:
        return self.first_run <= run and (self.last_run is None or run <= self.last_run)

    def __str__(self) -> str:
        last = "" if self.last_run is None else str(self.last_run)
        return f"{self.first_run}-{last}"


class Conditions(Generic[T]):
    """Intervals that do not overlap, found by run number.

    Parameters
    ----------
    what
        What the values are, for error messages, such as ``"era"``.
    intervals
        In any order; gaps are allowed.

    Raises
    ------
    ValueError
        When two intervals overlap.

    Examples
    --------
    >>> bad = Conditions("known bad list", [Interval(1, 9, "old"), Interval(10, None, "new")])
    >>> bad.at(12)
    'new'
    """

    def __init__(self, what: str, intervals: Sequence[Interval[T]]) -> None:
        self._what = what
        self._intervals = tuple(sorted(intervals, key=lambda interval: interval.first_run))
        for before, after in zip(self._intervals, self._intervals[1:], strict=False):
            if after.first_run in before:
                raise ValueError(f"{what}: intervals {before} and {after} overlap")

    def __iter__(self) -> Iterator[Interval[T]]:
        return iter(self._intervals)

    def get(self, run: int) -> T | None:
        """Return what holds in a run, or ``None`` in a gap."""
        return next((interval.value for interval in self._intervals if run in interval), None)

    def at(self, run: int) -> T:
        """Return what holds in a run.

        Raises
        ------
        UnknownNameError
            When no interval holds the run.
        """
        for interval in self._intervals:
            if run in interval:
                return interval.value
        known = ", ".join(f"{interval.value} ({interval})" for interval in self._intervals)
        raise UnknownNameError(
            f"run {run}",
            f"a run with a known {self._what}: {known or 'none'}",
            "a run outside all of them",
            f"give the {self._what} yourself (--{self._what.replace(' ', '-')})",
        )


ERA_CONDITIONS: Conditions[str] = Conditions(
    "era",
    [Interval(290000, 309999, "2017"), Interval(310000, 327999, "2018"), Interval(345000, None, "run3")],
)
"""The eras of the segmentation. Runs in the gaps belong to shutdowns and commissioning."""


def era_of_run(run: int) -> str:
    """Return the era whose segmentation holds in a run.

    Raises
    ------
    UnknownNameError
        For a run of no known era.

    Examples
    --------
    >>> era_of_run(306138), era_of_run(319077), era_of_run(362760)
    ('2017', '2018', 'run3')
    """
    return ERA_CONDITIONS.at(run)


def era_or_default(era: str | None, run: int | None) -> str:
    """Return the era that was given, else that of the run, else Run 3.

    Raises
    ------
    UnknownNameError
        For a run of no known era, when no era was given.

    Examples
    --------
    >>> era_or_default(None, 319077), era_or_default("2017", 319077), era_or_default(None, None)
    ('2018', '2017', 'run3')
    """
    if era is not None:
        return era
    return "run3" if run is None else era_of_run(run)
