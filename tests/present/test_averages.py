"""The numbers behind the figures."""

from dataclasses import replace

import numpy as np
import pytest

from calowatch.core.schema import UNKNOWN_EVENTS
from calowatch.present.averages import exposure, run_average, unit_course, verdict_columns
from calowatch.present.figures import run_figure
from calowatch.present.palette import HEALTHY, KNOWN, NO_VERDICT, STATES, is_failing


def state_names(average):
    return np.array([state.name for state in STATES])[average.state]


def test_occupancy_is_hits_per_event(small_run):
    average = run_average(small_run)
    counts, events = small_run.occupancy["counts"].to_numpy(), small_run.occupancy["n_events"].to_numpy()
    assert average.per_event
    np.testing.assert_allclose(average.occupancy, counts.sum(axis=0) / events.sum())
    weighted = (small_run.expectation["p"].to_numpy() * events[:, None]).sum(axis=0) / events.sum()
    np.testing.assert_allclose(average.expectation, weighted)


def test_one_lumisection_with_unknown_events_makes_the_run_relative(small_run):
    occupancy = small_run.occupancy.copy(deep=True)
    occupancy["n_events"][2] = UNKNOWN_EVENTS
    run = replace(small_run, occupancy=occupancy)
    assert not run_average(run).per_event
    shown = run_figure(run).data
    assert [trace.y.size for trace in shown] == [9, 9, 9]
    assert np.isnan(shown[0].y).tolist() == [i == 2 for i in range(9)]


def test_without_events_all_is_per_lumisection(make_run):
    run = make_run(keep="subdet == 'HO'", events=False)
    average = run_average(run)
    assert not average.per_event
    assert np.isnan(average.events)
    np.testing.assert_allclose(average.occupancy, run.occupancy["counts"].mean("ls"))
    np.testing.assert_allclose(average.occupancy.sum() / average.expectation.sum(), 1.0, atol=0.01)


def test_evidence_is_the_strongest_and_keeps_its_sign(small_run):
    average = run_average(small_run)
    z = small_run.evidence["z_window"].to_numpy()
    np.testing.assert_array_equal(np.abs(average.evidence), np.abs(z).max(axis=0))
    dead = verdict_columns(small_run.verdicts[0], small_run.occupancy)
    assert (average.evidence[dead] < -10).all()


def test_channels_without_evidence_have_no_verdict(small_run):
    evidence = small_run.evidence.copy(deep=True)
    evidence["z_window"][:, 0] = np.nan
    average = run_average(replace(small_run, evidence=evidence))
    assert average.state[0] == NO_VERDICT
    assert np.isnan(average.evidence[0])
    assert (average.state == HEALTHY).sum() == average.state.size - 3


def test_the_most_significant_of_overlapping_verdicts_counts(small_run):
    dead = small_run.verdicts[0]
    weak = replace(dead, unit="weaker", kind="drift", significance=4.0)
    for verdicts in ([dead, weak], [weak, dead]):
        average = run_average(replace(small_run, verdicts=verdicts))
        columns = verdict_columns(dead, small_run.occupancy)
        assert state_names(average)[columns].tolist() == ["dead"]
        assert [verdicts[i].unit for i in average.unit[columns]] == [dead.unit]


def test_known_and_structural_are_no_call_to_act(small_run):
    dead = small_run.verdicts[0]
    known = replace(dead, known=True)
    average = run_average(replace(small_run, verdicts=[known]))
    assert (average.state == KNOWN).sum() == 1
    assert [is_failing(v) for v in (dead, known, replace(dead, kind="structural"))] == [True, False, False]


def test_channels_that_the_run_does_not_hold_are_left_out(small_run):
    verdict = replace(small_run.verdicts[0], channels=(("HE", -27, 33, 3), ("HO", 5, 20, 4)))
    assert verdict_columns(verdict, small_run.occupancy).size == 1
    assert verdict_columns(replace(verdict, channels=()), small_run.occupancy).size == 0


@pytest.mark.parametrize("events", [True, False])
def test_a_unit_through_the_run(make_run, events):
    run = make_run(
        keep="subdet == 'HO'", events=events, faults=[("HO+5-20-4", "channel_name", "dead", 0.0, 4)]
    )
    course = unit_course(run, exposure(run.occupancy), verdict_columns(run.verdicts[0], run.occupancy))
    assert (course.ratio[3:] == 0).all()
    assert (np.abs(course.ratio[:3] - 1) < 5 * course.spread[:3]).all()
    n, p = run.occupancy["n_events"].to_numpy(), run.expectation["p"].to_numpy()
    if events:
        column = verdict_columns(run.verdicts[0], run.occupancy)
        np.testing.assert_allclose(course.spread, np.sqrt((1 / p[:, column[0]] - 1) / n))


def test_a_unit_without_channels_has_no_ratio(small_run):
    course = unit_course(small_run, exposure(small_run.occupancy), [])
    assert np.isnan(course.ratio).all()


def test_channel_names_follow_the_run(small_run):
    channels = run_average(small_run).channels
    assert channels["channel"].tolist() == small_run.occupancy["channel"].to_numpy().tolist()
    row = channels.iloc[verdict_columns(small_run.verdicts[0], small_run.occupancy)[0]]
    assert row["channel_name"] == "HO+5-20-4"
