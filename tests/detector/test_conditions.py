import pytest

from calowatch.core.errors import UnknownNameError
from calowatch.detector.conditions import Conditions, Interval, era_of_run


@pytest.mark.parametrize(
    ("run", "era"),
    [
        (290000, "2017"),
        (309999, "2017"),
        (310000, "2018"),
        (327999, "2018"),
        (345000, "run3"),
        (400000, "run3"),
    ],
)
def test_era_of_run_at_the_edges(run, era):
    assert era_of_run(run) == era


@pytest.mark.parametrize("run", [0, 289999, 328000, 344999])
def test_a_run_of_no_era_names_the_intervals(run):
    with pytest.raises(UnknownNameError, match=r"310000-327999.*--era"):
        era_of_run(run)


def test_intervals_are_sorted_and_have_gaps():
    conditions = Conditions("list", [Interval(20, None, "b"), Interval(1, 9, "a")])
    assert [interval.value for interval in conditions] == ["a", "b"]
    assert conditions.get(9) == "a"
    assert conditions.get(10) is None
    assert conditions.get(10**9) == "b"


def test_an_error_that_has_no_intervals_still_reads():
    with pytest.raises(UnknownNameError, match="none"):
        Conditions("list", []).at(1)


@pytest.mark.parametrize("second", [Interval(9, 12, "b"), Interval(5, 6, "b"), Interval(1, None, "b")])
def test_overlap_is_refused(second):
    with pytest.raises(ValueError, match="overlap"):
        Conditions("list", [Interval(1, 9, "a"), second])


def test_an_interval_cannot_end_before_it_begins():
    with pytest.raises(ValueError, match="before"):
        Interval(9, 8, "a")
