"""Verdicts: injected failures are found and named, nothing is invented."""

import numpy as np
import pytest

from calowatch.core.schema import UNKNOWN_EVENTS
from calowatch.detect.attribute import benjamini_hochberg
from calowatch.detect.decide import Question, decide
from calowatch.detector.units import find_unit
from calowatch.models.reference import Reference, RingReference, usable_ls


@pytest.fixture(scope="module")
def reference(toy_run):
    return Reference().fit([toy_run(seed, pileup=pileup).occupancy for seed, pileup in ((1, 1.0), (2, 0.8))])


@pytest.fixture
def judge(toy_run, reference):
    def judged(faults, *, seed=5, known=frozenset(), **options):
        run = toy_run(seed, faults=faults, **options).occupancy
        return decide(Question(run, reference.predict(run), usable_ls(run), known))

    return judged


ONE_EACH = [
    ("HEM15", 0.0, 15, 40, "rbx", "dead"),
    ("HEP07-RM3", 0.9, 11, 40, "rm", "degraded"),
    ("HBP03-RM2-C2", 0.8, 6, 30, "card", "degraded"),
    ("HEP07-RM3-F4", 0.6, 11, 30, "fibre", "link_loss"),
    ("uHTR-24-05", 0.7, 21, 30, "uhtr", "link_loss"),
    ("FED-1110", 0.8, 10, 20, "fed", "degraded"),
    ("HE+27-25-3", 0.0, 1, 40, "channel", "dead"),
    ("HB+7-30-2", 1.6, 11, 22, "channel", "hot"),
    ("HO-7-30-4", 0.6, 11, 30, "channel", "degraded"),
]


@pytest.mark.parametrize(("unit", "factor", "first", "last", "unit_type", "kind"), ONE_EACH)
def test_one_failing_unit_is_named_alone(judge, run3, unit, factor, first, last, unit_type, kind):
    (found,) = judge([(unit, factor, first, last)])
    assert (found.unit, found.unit_type, found.kind, found.known) == (unit, unit_type, kind, False)
    assert abs(found.first_ls - first) <= 1
    assert abs(found.last_ls - last) <= 1
    assert found.factor == pytest.approx(factor, abs=0.05)
    assert found.significance > 3
    assert found.log10_p < -2
    assert len(found.channels) == find_unit(unit, run3)[1].sum()


def test_two_adjacent_rbx_and_a_channel_elsewhere(judge):
    found = judge([("HEM15", 0.0, 11, 40), ("HEM16", 0.0, 11, 40), ("HE+27-25-3", 0.3, 1, 40)])
    assert {verdict.unit for verdict in found} == {"HEM15", "HEM16", "HE+27-25-3"}


def test_a_dead_channel_within_a_degraded_module_is_named_beside_it(judge):
    found = judge([("HEP07-RM3", 0.8, 1, 40), ("HE+27-25-3", 0.0, 1, 40)])
    assert {(verdict.unit, verdict.kind) for verdict in found} == {
        ("HEP07-RM3", "degraded"),
        ("HE+27-25-3", "dead"),
    }


def test_half_a_fibre_does_not_blame_the_fibre(judge):
    channels = ["HE+27-25-3", "HE+27-25-5"]
    found = judge([(channel, 0.0, 1, 40) for channel in channels])
    assert {verdict.unit for verdict in found} == set(channels)


def test_bursts_are_sporadic(judge):
    bursts = [("HEP07-RM3-F4", 0.4, first, first + 3) for first in (5, 15, 30)]
    (found,) = judge(bursts)
    assert (found.unit, found.kind) == ("HEP07-RM3-F4", "sporadic")
    assert (found.first_ls, found.last_ls) == (5, 33)


def test_a_slow_loss_is_a_drift(judge):
    (found,) = judge([("HEP07-RM3", 1 - 0.01 * (ls - 10), ls, ls) for ls in range(11, 41)])
    assert (found.unit, found.kind) == ("HEP07-RM3", "drift")


@pytest.mark.parametrize("seed", [30, 31, 32])
@pytest.mark.parametrize("pileup", [0.7, 1.3])
def test_healthy_runs_raise_nothing(judge, seed, pileup):
    assert judge([], seed=seed, pileup=pileup) == []


def test_known_channels_are_kept_apart(judge, run3):
    table, mask = run3, find_unit("HEM15", run3)[1]
    known = frozenset(table["channel"].to_numpy()[mask].tolist())
    found = judge([("HEM15", 0.0, 1, 40), ("HE+27-25-3", 0.0, 1, 40)], known=known)
    assert [(verdict.unit, verdict.known) for verdict in found] == [("HE+27-25-3", False), ("HEM15", True)]


def test_one_side_without_hb_names_boxes(toy_run):
    run = toy_run(1, subdets=("HE",)).occupancy
    reference = Reference().fit([run])
    bad = toy_run(2, subdets=("HE",), faults=[("HEP15", 0.0, 9, 40), ("HEM15", 0.0, 9, 40)]).occupancy
    found = decide(Question(bad, reference.predict(bad), usable_ls(bad)))
    assert {verdict.unit for verdict in found} == {"HEP15", "HEM15"}


def test_lumisections_without_events_are_passed_over(toy_run, reference):
    run = toy_run(4, n_ls=12, events=30).occupancy
    assert decide(Question(run, reference.predict(run), usable_ls(run))) == []


@pytest.mark.parametrize("known_events", [True, False])
def test_rings_alone_find_dead_units_and_outliers(toy_run, known_events):
    faults = [("HEM15", 0.0, 1, 40), ("HE+22-25-2", 0.3, 1, 40), ("HF+35-25-2", 0.0, 1, 40)]
    run = toy_run(6, faults=faults).occupancy
    if not known_events:
        run = run.assign(n_events=("ls", np.full(40, UNKNOWN_EVENTS)))
    found = decide(Question(run, RingReference().predict(run), usable_ls(run)))
    assert {(verdict.unit, verdict.kind) for verdict in found} == {
        ("HEM15", "dead"),
        ("HE+22-25-2", "outlier"),
        ("HF+35-25-2", "dead"),
    }


def test_an_empty_ring_is_structural_without_a_reference(toy_run):
    run = toy_run(6, n_ls=8).occupancy
    counts = run["counts"].to_numpy().copy()
    ring = ((run["subdet"] == "HE") & (run["ieta"] == 18) & (run["depth"] == 1)).to_numpy()
    counts[:, ring] = 0
    run = run.assign(counts=(("ls", "channel"), counts))
    (found,) = decide(Question(run, RingReference().predict(run), usable_ls(run)))
    assert (found.unit, found.unit_type, found.kind, len(found.channels)) == (
        "HE+18d1",
        "ring",
        "structural",
        72,
    )
    assert found.log10_p < -10


def test_benjamini_hochberg_by_hand():
    log_p = np.log([0.001, 0.012, 0.02, 0.3])
    assert np.exp(benjamini_hochberg(log_p, 5, 0.05)) == pytest.approx(0.02)
    assert benjamini_hochberg(np.log([0.5]), 10, 0.05) == -np.inf
    assert benjamini_hochberg(np.array([]), 10, 0.05) == -np.inf


@pytest.mark.parametrize(("factor", "kind"), [(0.0, "dead"), (0.3, "degraded")])
def test_a_ring_that_fails_as_a_whole_is_named(judge, factor, kind):
    (found,) = judge([("HE+24d3", factor, 11, 40)])
    assert (found.unit, found.unit_type, found.kind, len(found.channels)) == ("HE+24d3", "ring", kind, 36)
    assert (found.first_ls, found.last_ls) == (11, 40)


@pytest.mark.parametrize("subdets", [("HB", "HE"), ("HE",)])
def test_a_silent_subdetector_is_no_green_light(toy_run, subdets):
    reference = Reference().fit([toy_run(1, subdets=subdets).occupancy])
    run = toy_run(2, subdets=subdets).occupancy
    counts = run["counts"].to_numpy().copy()
    counts[10:, (run["subdet"] == "HE").to_numpy()] = 0
    run = run.assign(counts=(("ls", "channel"), counts))
    found = decide(Question(run, reference.predict(run), usable_ls(run)))
    assert {verdict.unit_type for verdict in found} == {"ring"}
    assert len(found) == 148


def test_a_module_that_loses_gain_is_named_as_one(toy_run, reference, run3):
    """Loss of gain leaves channels that always fire alone, and takes half the digis of the quiet ones."""
    toy = toy_run(5)
    inside = find_unit("HEM17-RM2", run3)[1]
    rng = np.random.default_rng(3)
    counts = toy.occupancy["counts"].to_numpy().copy()
    events = toy.occupancy["n_events"].to_numpy()
    counts[10:, inside] = rng.binomial(events[10:, None], toy.p[10:, inside] ** (1 / 0.7))
    run = toy.occupancy.assign(counts=(("ls", "channel"), counts))
    (found,) = decide(Question(run, reference.predict(run), usable_ls(run)))
    assert (found.unit, found.kind, found.first_ls) == ("HEM17-RM2", "degraded", 11)


def test_rings_that_always_fired_are_not_hot_at_less_pileup(toy_run):
    """Where every event gives a digi the healthy rate is a lower bound only."""
    bright = [toy_run(seed, pileup=8.0, n_ls=20, subdets=("HE",)).occupancy for seed in (1, 2)]
    reference = Reference().fit(bright)
    for pileup in (1.0, 3.0, 20.0):
        run = toy_run(3, pileup=pileup, n_ls=20, subdets=("HE",)).occupancy
        assert decide(Question(run, reference.predict(run), usable_ls(run))) == []
