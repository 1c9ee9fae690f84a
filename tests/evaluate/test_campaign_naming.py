"""Which unit a campaign takes for the one that failed, and by which window a fault is ranked."""

from contextlib import nullcontext

import numpy as np
import pytest

from calowatch.detector.table import channel_table
from calowatch.detector.units import unit_names
from calowatch.evaluate.campaign import run as running
from calowatch.evaluate.campaign.cells import cells_of, place
from calowatch.evaluate.campaign.data import CampaignData
from calowatch.evaluate.campaign.recipe import load_campaign
from calowatch.evaluate.campaign.run import CampaignOptions
from calowatch.evaluate.campaign.units import HARDWARE, Hardware
from calowatch.evaluate.campaign.write import evaluate_campaign
from calowatch.simulate.injection import Placed, boxes, spread_out, units_of

RATE = 1e-5


@pytest.fixture(scope="module")
def table():
    whole = channel_table("run3")
    return whole[whole["subdet"] == "HE"].reset_index(drop=True)


@pytest.fixture(scope="module")
def hardware(table):
    return Hardware({name: units_of(name, table, alone_in_rings=True) for name in HARDWARE}, len(table))


def _unit(hardware, kind, number):
    before = sum(len(hardware.lists[name]) for name in HARDWARE[: HARDWARE.index(kind)])
    return before + number, hardware.lists[kind].members[number]


def _silent(hardware):
    return np.zeros(hardware.n_channels), np.zeros(len(hardware.sizes))


def test_a_larger_score_elsewhere_in_the_detector_takes_the_name_away(hardware):
    (row, fibre), (other_row, other) = (_unit(hardware, "fibre", n) for n in (3, 700))
    channel, units = _silent(hardware)
    units[row], units[other_row] = 60.0, 61.0
    values = hardware.values_of_mixtures(channel, units)
    assert not hardware.named(values, fibre, hardware.crowd([fibre]))
    assert hardware.named(values, other, hardware.crowd([other]))


def test_another_fault_of_the_same_window_does_not(hardware):
    (row, fibre), (other_row, other) = (_unit(hardware, "fibre", n) for n in (3, 700))
    channel, units = _silent(hardware)
    units[row], units[other_row] = 60.0, 90.0
    channel[other] = 200.0
    values = hardware.values_of_mixtures(channel, units)
    both = hardware.crowd([fibre, other])
    assert not hardware.named(values, fibre, hardware.crowd([fibre]))
    assert hardware.named(values, fibre, both)
    assert not hardware.named(values, other, both)  # a single channel has more for it than the fibre


def test_a_single_channel_is_named_where_it_has_most(hardware):
    channel, units = _silent(hardware)
    channel[17], units[5] = 40.0, 30.0
    values = hardware.values_of_mixtures(channel, units)
    assert hardware.named(values, np.array([17]), hardware.crowd([np.array([17])]))
    assert not hardware.named(values, np.array([18]), hardware.crowd([np.array([18])]))


@pytest.mark.parametrize("kind", HARDWARE)
@pytest.mark.parametrize("share", [1.0, 0.75])
def test_flags_name_the_unit_that_holds_them(hardware, kind, share):
    _, inside = _unit(hardware, kind, 7)
    flags = np.zeros(hardware.n_channels, dtype=bool)
    # Spread over the unit, so that no part of it has more of them.
    flags[inside[np.arange(len(inside)) * share % 1.0 < share]] = True
    flags[inside] &= np.random.default_rng(0).permutation(len(inside)) < np.ceil(share * len(inside))
    values = hardware.values_of_flags(flags, RATE)
    assert hardware.named(values, inside, hardware.crowd([inside]))


def test_flags_elsewhere_take_the_name_away(hardware):
    _, inside = _unit(hardware, "card", 7)
    _, box = _unit(hardware, "rbx", 30)
    flags = np.zeros(hardware.n_channels, dtype=bool)
    flags[inside] = flags[box] = True
    values = hardware.values_of_flags(flags, RATE)
    assert not hardware.named(values, inside, hardware.crowd([inside]))
    assert hardware.named(values, inside, hardware.crowd([inside, box]))
    assert hardware.values_of_flags(np.zeros_like(flags), RATE).units.max() <= 0.0


@pytest.mark.parametrize("kind", ["fibre", "card", "rm", "rbx", "uhtr", "box"])
def test_faults_of_a_window_share_no_box_and_no_ring(table, kind):
    rng = np.random.default_rng(0)
    units = boxes(table, 50, rng) if kind == "box" else units_of(kind, table, alone_in_rings=True)
    names = unit_names(table)
    chosen = [units.members[unit] for unit in spread_out(units, 32, rng)]
    assert len(chosen) > 1
    for name in ("rbx", "ring"):
        seen = [set(names[name].iloc[columns]) for columns in chosen]
        assert sum(map(len, seen)) == len(set.union(*seen))


@pytest.fixture(scope="module")
def of_nothing():
    """A campaign whose faults change nothing that could be seen."""
    given = load_campaign("tiny").model_dump()
    given |= {
        "axes": {"unit": ("channel",), "factor": (0.9999,), "duration": (3, 5, 20)},
        "also": (),
        "base": {**given["base"], "factor": 0.9999},
        "faults": {**given["faults"], "least": 300},
        "conditions": {"other": given["conditions"]["other"]},
        "baselines": ("reference",),
    }
    return type(load_campaign("tiny")).model_validate(given)


def test_long_faults_have_no_more_chances_than_healthy_windows(of_nothing, tmp_path, monkeypatch):
    class Here:
        def submit(self, work, *given):
            from concurrent.futures import Future

            done = Future()
            done.set_result(work(*given))
            return done

    monkeypatch.setattr(running, "_executor", lambda _: nullcontext(Here()))
    result = evaluate_campaign(of_nothing, CampaignOptions(tmp_path / "out"), "calowatch").result
    auc = {
        cell["duration"]: {
            name: told["channel"]["roc_auc"][0] for name, told in cell["figures"]["reference"].items()
        }
        for cell in result["cells"]
    }
    assert set(auc) == {3, 5, 20}
    assert auc[20] == pytest.approx(auc[5], abs=0.06)  # the largest of five would be at 0.8
    assert auc[20]["z"] == pytest.approx(0.5, abs=0.06)


def test_the_judged_window_is_the_first_that_the_fault_fills_most(of_nothing, tmp_path):
    data = CampaignData(of_nothing, tmp_path)
    long = next(cell for cell in cells_of(of_nothing) if cell.duration == 20)
    placed = place(long, data)
    window = placed.pool.window
    assert placed.judged_window(Placed(0, 0, 19)) == 0
    assert placed.judged_window(Placed(0, 1, 20)) == 1
    assert placed.judged_window(Placed(0, window - 1, window + 1)) == 1
    assert all(
        fault.first <= placed.judged_window(fault) * window <= fault.last - window + 1
        for faults in placed.faults
        for fault in faults
    )
