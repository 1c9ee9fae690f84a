"""Faults placed where they do not touch, ageing, and prescale steps of one's own."""

import numpy as np
import pytest

from calowatch.core.errors import InputError
from calowatch.detector.table import channel_table
from calowatch.simulate.ageing import Ageing
from calowatch.simulate.conditions import ConditionsSettings
from calowatch.simulate.injection import Placed, boxes, inject, spread_out, units_of
from calowatch.simulate.occupancy import OccupancySettings, draw_truth, occupancy


@pytest.fixture(scope="module")
def table():
    whole = channel_table("run3")
    return whole[whole["subdet"] == "HE"].reset_index(drop=True)


@pytest.mark.parametrize(
    ("unit", "n"), [("channel", 32), ("fibre", 32), ("rm", 16), ("rbx", 6), ("uhtr", 12)]
)
def test_units_of_a_window_do_not_touch(table, unit, n):
    units = units_of(unit, table)
    chosen = spread_out(units, n, np.random.default_rng(1))
    assert len(chosen) == n
    rbx = [set(table["rbx"].iloc[units.members[i]]) for i in chosen]
    assert sum(map(len, rbx)) == len(set.union(*rbx))
    if unit == "channel":
        ring = table[["ieta", "depth"]].iloc[[units.members[i][0] for i in chosen]]
        assert not ring.duplicated().any()


def test_units_hold_every_channel_once(table):
    for unit in ("channel", "fibre", "card", "rm", "rbx", "uhtr"):
        columns = np.concatenate(units_of(unit, table).members)
        assert np.array_equal(np.sort(columns), np.arange(len(table)))
    with pytest.raises(InputError):
        units_of("tower", table)


def test_boxes_are_boxes(table):
    found = boxes(table, 200, np.random.default_rng(2))
    assert len(found) == 200
    for inside in found.members:
        cells = table.iloc[inside]
        row = np.where(cells["ieta"] < 0, cells["ieta"] + 32, cells["ieta"] + 31)
        assert np.ptp(row) < 14
        assert len(set(cells["iphi"])) <= 5
        assert np.ptp(cells["depth"]) < 7


def test_only_the_fault_changes():
    rng = np.random.default_rng(3)
    events = np.array([1000, 1200, 900])
    p = np.full((3, 5), 0.4)
    counts = rng.binomial(events[:, None], p)
    before = counts.copy()
    columns = np.array([1, 4])
    faulty = inject(counts, events, [(Placed(0, 1, 2), columns, p[1:3][:, columns])], 0.0, rng)
    assert np.array_equal(counts, before)
    assert (faulty[1:, columns] == 0).all()
    untouched = np.ones((3, 5), bool)
    untouched[1:, columns] = False
    assert np.array_equal(faulty[untouched], before[untouched])
    full = inject(counts, events, [(Placed(0, 0, 0), columns, p[:1][:, columns])], 9.0, rng)
    assert (full[0, columns] == 1000).all()


def test_saturated_units_are_told(table):
    units = units_of("channel", table)
    p = np.full(len(table), 0.4)
    p[0], p[1] = 0.9, 1.0
    assert units.saturated(p, 2.0).sum() == 2
    assert units.saturated(p, 1.0).all()
    assert not units.saturated(p, 0.8).any()


def test_ageing_changes_the_response_and_nothing_else():
    young = OccupancySettings(n_ls=4, subdets=("HE",), seed=5)
    old = OccupancySettings(n_ls=4, subdets=("HE",), seed=5, ageing=Ageing(0.2, 0.1, 0.2))
    a, b = draw_truth(young), draw_truth(old)
    assert np.array_equal(a.conditions.n_events, b.conditions.n_events)
    finite = np.isfinite(a.response.own)
    ratio = np.log(b.response.own[finite] / a.response.own[finite])
    assert -0.25 < np.median(ratio) < 0
    whole = channel_table("run3")
    he = (whole["subdet"] == "HE").to_numpy()
    moved = Ageing(0.2, 0.1, 0.2).moved(whole)[he]
    assert moved.mean() == pytest.approx(0.1, abs=0.02)
    assert np.std(ratio[moved[finite]]) > 3 * np.std(ratio[~moved[finite]])


def test_truth_without_counts_is_the_truth():
    settings = OccupancySettings(n_ls=3, subdets=("HO",), seed=8)
    assert np.array_equal(draw_truth(settings).p(), occupancy(settings)[1].p())


def test_prescale_steps_can_be_asked_for():
    often = ConditionsSettings("flat", step_ls=(5, 10), ring_jump=0.2)
    truth = draw_truth(OccupancySettings(n_ls=60, subdets=("HO",), conditions=often))
    assert truth.conditions.segment[-1] >= 5
    assert 0.1 < np.ptp(truth.response.jumps) <= 0.2
    for wrong in ({"step_ls": (9, 3)}, {"ring_jump": 1.5}):
        with pytest.raises(InputError):
            ConditionsSettings("flat", **wrong)


@pytest.mark.parametrize("wrong", [{"loss": 1.0}, {"recalibrated": -0.1}, {"spread": -1.0}])
def test_impossible_ageing_is_refused(wrong):
    with pytest.raises(InputError):
        Ageing(**wrong)
