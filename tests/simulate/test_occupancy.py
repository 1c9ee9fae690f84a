"""Simulated counts against their truth."""

import numpy as np
import pytest

from calowatch.core.errors import InputError, UnknownNameError
from calowatch.core.schema import check_occupancy
from calowatch.detector.table import channel_table
from calowatch.simulate.conditions import ConditionsSettings
from calowatch.simulate.faults import Fault, parse_fault
from calowatch.simulate.occupancy import OccupancySettings, occupancy
from calowatch.simulate.profile import load_profile

FLAT = ConditionsSettings(shape="flat", levels=(1000.0,), low_share=0.0)


def simulate(*faults, **settings):
    placed = tuple(parse_fault(fault) if isinstance(fault, str) else fault for fault in faults)
    return occupancy(OccupancySettings(**{"n_ls": 12, "conditions": FLAT, "faults": placed, **settings}))


def counts(data):
    return data["counts"].to_numpy()


@pytest.mark.parametrize(("era", "n_channels"), [("run3", 21456), ("2018", 14976)])
def test_contract(era, n_channels):
    data, truth = simulate(era=era, run=320000, n_ls=3, first_ls=40)
    check_occupancy(data)
    assert data.sizes == {"ls": 3, "channel": n_channels}
    assert data["channel"].to_numpy().tolist() == channel_table(era)["channel"].tolist()
    assert data["ls"].to_numpy().tolist() == [40, 41, 42]
    assert (data.attrs["run"], data.attrs["era"]) == (320000, era)
    assert counts(data).dtype == np.int32
    assert truth.p().shape == counts(data).shape


def test_seeds_decide_everything():
    first, again = simulate(seed=4)[0], simulate(seed=4)[0]
    other_seed, other_run = simulate(seed=5)[0], simulate(seed=4, run=362761)[0]
    assert first.drop_attrs().identical(again.drop_attrs())
    for other in (other_seed, other_run):
        assert (counts(first) != counts(other)).mean() > 0.5


def test_runs_share_one_detector():
    def ratio(**settings):
        _, truth = simulate(subdets=("HB",), n_ls=2, **settings)
        return truth.response.own

    assert np.array_equal(ratio(seed=1, run=362760), ratio(seed=2, run=362761))
    assert not np.array_equal(ratio(), ratio(detector_seed=3))


def test_a_subset_is_the_same_run():
    whole, part = simulate()[0], simulate(subdets=("HF", "HE"))[0]
    chosen = whole.sel(channel=np.isin(whole["subdet"], ["HE", "HF"]))
    assert np.array_equal(counts(chosen), counts(part))


def test_counts_are_binomial():
    """Pulls against the truth have unit variance, as the counts of the real detector do."""
    data, truth = simulate(n_ls=100, subdets=("HB", "HO"), conditions=ConditionsSettings(low_share=0.0))
    events = data["n_events"].to_numpy()[:, None]
    p = truth.p()
    pulls = (counts(data) - events * p) / np.sqrt(events * p * (1 - p))
    assert pulls.mean() == pytest.approx(0, abs=0.005)
    assert pulls.std() == pytest.approx(1, abs=0.005)
    assert pulls.mean(axis=0).std() * 10 == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("era", "subdet", "spread"),
    [("run3", "HB", 0.10), ("2018", "HB", 0.35), ("2018", "HE", 0.10), ("run3", "HO", 0.09)],
)
def test_rings_follow_the_profile(era, subdet, spread):
    _, truth = simulate(era=era, subdets=(subdet,), n_ls=1)
    rings = load_profile().ring_table(subdet, era).p()
    towers = zip(truth.table["ieta"].abs(), truth.table["depth"], strict=True)
    expected = -np.log1p(-np.minimum([rings[tower] for tower in towers], 1 - 1e-12))
    finite = np.isfinite(truth.response.own)
    logs = np.log(truth.response.own[finite] / expected[finite])
    assert logs.mean() == pytest.approx(0, abs=4 * spread / np.sqrt(len(logs)))
    assert logs.std() == pytest.approx(spread, rel=0.05)


def test_hf_counts_every_event():
    data, truth = simulate(subdets=("HF",), conditions=ConditionsSettings(pileup=3))
    assert (truth.p() == 1).all()
    assert (counts(data) == data["n_events"].to_numpy()[:, None]).all()


@pytest.mark.parametrize(("subdet", "exponent"), [("HB", 1.0), ("HE", 1.0), ("HO", 0.7)])
def test_pileup_scales_lambda(subdet, exponent):
    def hits(pileup):
        conditions = ConditionsSettings(shape="flat", pileup=pileup)
        _, truth = simulate(subdets=(subdet,), conditions=conditions)
        own = truth.response.own
        return -np.log1p(-truth.p()[:, own < 3])

    assert hits(25.0) / hits(50.0) == pytest.approx(0.5**exponent)


def test_nothing_collides_at_no_pileup():
    _, truth = simulate(subdets=("HB", "HF"), conditions=ConditionsSettings(shape="flat", pileup=0))
    assert set(np.unique(truth.p())) == {0.0, 1.0}


def test_prescale_steps_move_rings_together_and_not_far():
    _, truth = simulate(subdets=("HB",), n_ls=900, conditions=ConditionsSettings(shape="flat"))
    segment = truth.conditions.segment
    jumps = truth.response.jumps
    assert jumps.shape[0] == segment[-1] + 1 > 2
    assert np.abs(np.diff(jumps, axis=0)).max() <= 0.05
    assert np.diff(jumps, axis=0).std() > 0.01


FAULTS = [
    "HEM15+HEM16 rbx_power_loss 5-",
    "HBP03-RM2 hot 3-6 factor=2",
    "HEP07-RM3-F4 sporadic 2-11 factor=0.3 duty=0.5 burst=2",
    "uHTR-24-05 link_loss 2-4 factor=0.7",
    "HE-27-33-3 masked",
    "HO+5d4 degraded 7- gain=0.8",
    "HF+30-1-1 dead 12",
]


def test_faults_act_on_their_unit_and_time_only():
    """The healthy twin of a run differs from it nowhere else."""
    (healthy, _), (faulty, truth) = simulate(), simulate(*FAULTS)
    touched = np.zeros(faulty["counts"].shape, dtype=bool)
    for placed in truth.placed:
        touched[np.ix_(placed.rows, placed.columns)] = True
    assert (counts(healthy) == counts(faulty))[~touched].all()
    assert (counts(healthy) != counts(faulty))[touched].mean() > 0.8
    check_occupancy(faulty)


@pytest.mark.parametrize(
    ("fault", "unit_type", "n_channels", "first_ls", "last_ls"),
    [
        ("HEM15 rbx_power_loss 5-", "rbx", 188, 5, 12),
        ("hbp03-rm2 hot -3", "rm", 63, 1, 3),
        ("HEP07-RM3-F4 dead 2-99", "fibre", 5, 2, 12),
        ("uHTR-24-05 link_loss 2-4", "uhtr", 128, 2, 4),
        ("HE -27 33 3 masked", "channel", 1, 1, 12),
        ("HO+5d4 degraded 7", "ring", 72, 7, 7),
    ],
)
def test_truth_names_unit_time_and_channels(fault, unit_type, n_channels, first_ls, last_ls):
    data, truth = simulate(fault)
    (found,) = truth.faults
    assert (found.unit_type, len(found.channels), found.first_ls, found.last_ls) == (
        unit_type,
        n_channels,
        first_ls,
        last_ls,
    )
    names = zip(
        *(data[name].to_numpy().tolist() for name in ("subdet", "ieta", "iphi", "depth")), strict=True
    )
    own = np.isin(np.arange(data.sizes["channel"]), truth.placed[0].columns)
    assert {name for name, mine in zip(names, own, strict=True) if mine} == set(found.channels)


def test_units_are_named_as_everywhere():
    _, truth = simulate("hem15 + hem16 dead", "HE -27 33 3 dead")
    assert [fault.unit for fault in truth.faults] == ["HEM15", "HEM16", "HE-27-33-3"]


@pytest.mark.parametrize("kind", ["dead", "masked", "rbx_power_loss"])
def test_no_digi_is_left(kind):
    data, truth = simulate(Fault("HEM15", kind, 5, 8))
    here = counts(data)[:, truth.placed[0].columns]
    assert (here[4:8] == 0).all()
    assert (here[np.r_[:4, 8:12]].mean(axis=1) > 100).all()


@pytest.mark.parametrize(
    "fault", ["HBP03 degraded factor=0.6", "HBP03 hot factor=1.3", "HBP03 link_loss factor=0.6"]
)
def test_factor_acts_on_p(fault):
    data, truth = simulate(fault, subdets=("HB",), n_ls=40)
    columns = truth.placed[0].columns
    factor = truth.faults[0].factor
    expected = np.minimum(1, factor * truth.p(healthy=True)[:, columns])
    assert truth.p()[:, columns] == pytest.approx(expected)
    events = data["n_events"].to_numpy()[:, None]
    assert counts(data)[:, columns].sum() == pytest.approx((events * expected).sum(), rel=0.01)


def test_a_link_loses_the_same_events_everywhere():
    """HF counts every event, so that all channels of a lossy link show one number."""
    data, truth = simulate("HFP01 link_loss factor=0.8", "HFM01 link_loss factor=0.8", subdets=("HF",))
    plus, minus = (counts(data)[:, placed.columns] for placed in truth.placed)
    assert plus.shape[1] > 20
    assert (plus == plus[:, :1]).all()
    assert plus.mean() == pytest.approx(800, rel=0.02)
    assert not np.array_equal(plus[:, 0], minus[:, 0])


def test_hot_stops_at_the_ceiling():
    data, truth = simulate("HEM05 hot factor=1000")
    here = counts(data)[:, truth.placed[0].columns]
    assert (here == data["n_events"].to_numpy()[:, None]).mean() > 0.99


def test_saturated_channels_are_counted():
    _, truth = simulate("HEM05 hot factor=2", "HEM06 dead", "HEM07 degraded gain=0.5", "HFP01 hot")
    hot, dead, soft, forward = truth.faults
    full = np.isinf(truth.response.own[truth.placed[0].columns]).sum()
    assert hot.n_saturated == soft.n_saturated == full > 10
    assert dead.n_saturated == 0
    assert forward.n_saturated == len(forward.channels)


def test_bursts_are_listed_and_nothing_happens_between():
    (healthy, _), (data, truth) = simulate(n_ls=60), simulate("HEP07-RM3-F4 sporadic 10-50", n_ls=60)
    (fault,) = truth.faults
    on = np.zeros(60, dtype=bool)
    for first, last in fault.bursts:
        assert 10 <= first <= last <= 50
        on[first - 1 : last] = True
    same = (counts(data) == counts(healthy)).all(axis=1)
    assert np.array_equal(on, ~same)


def test_overlapping_faults_end_with_the_link():
    _, truth = simulate("uHTR-24-05 link_loss factor=0.5", "uHTR-24-05 hot factor=100")
    assert truth.p()[:, truth.placed[0].columns].max() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("HEM99 dead", UnknownNameError, "HEM"),
        ("HFP01 dead", UnknownNameError, "HFP01"),
        ("HEM15 dead 13-", InputError, "within 1-12"),
        ("HE+27d3 rbx_power_loss", InputError, "a readout box"),
    ],
)
def test_faults_that_cannot_be(fault, error, message):
    with pytest.raises(error, match=message):
        simulate(fault, subdets=("HB", "HE"))


@pytest.mark.parametrize(
    "settings",
    [
        {"era": "2017"},
        {"era": "run4"},
        {"subdets": ("HX",)},
        {"subdets": ()},
        {"seed": -1},
        {"n_ls": 0},
        {"first_ls": -1},
    ],
)
def test_settings_that_cannot_be(settings):
    with pytest.raises(InputError):
        simulate(**settings)
