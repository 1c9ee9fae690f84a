"""The reference: does it predict what a healthy detector does, whatever the conditions and the failures?"""

import numpy as np
import pytest

from calowatch.core.errors import InputError
from calowatch.core.schema import UNKNOWN_EVENTS
from calowatch.detector.units import find_unit
from calowatch.models.reference import Reference, RingReference, trials_of, usable_ls
from calowatch.models.rings import ring_log_rates, rings_of


@pytest.fixture(scope="module")
def fitted(toy_run):
    return Reference().fit([toy_run(seed, pileup=pileup).occupancy for seed, pileup in ((1, 1.0), (2, 0.8))])


def pulls(run, expectation):
    n, p = expectation["n_trials"].to_numpy()[:, None], expectation["p"].to_numpy()
    return (run["counts"].to_numpy() - n * p) / np.sqrt(n * p * (1 - p))


@pytest.mark.parametrize("pileup", [0.7, 1.0, 1.4])
def test_prediction_follows_the_pileup_of_the_run(toy_run, fitted, pileup):
    toy = toy_run(7, pileup=pileup)
    lit = toy.p < 0.995
    off = (fitted.predict(toy.occupancy)["p"].to_numpy() / toy.p - 1)[lit]
    assert abs(np.median(off)) < 1e-3
    assert off.std() < 0.02


def test_pulls_of_a_healthy_run_are_standard_normal(toy_run, fitted):
    toy = toy_run(8, pileup=0.9)
    pull = pulls(toy.occupancy, fitted.predict(toy.occupancy))[toy.p < 0.98]
    assert pull.std() == pytest.approx(1.0, abs=0.03)
    assert abs(pull.mean()) < 0.01


def test_expectation_is_never_zero_or_one(toy_run, fitted):
    p = fitted.predict(toy_run(9).occupancy)["p"].to_numpy()
    assert p.min() > 0
    assert p.max() < 1


@pytest.mark.parametrize(
    "faults", [[("HEM15", 0.0, 11, 40)], [("HEM15", 0.8, 1, 40), ("HEM15-RM1", 2.0, 5, 20)]]
)
def test_a_failing_rbx_does_not_drag_its_rings(toy_run, fitted, run3, faults):
    toy = toy_run(10, faults=faults, subdets=("HB", "HE"))
    reference = Reference().fit([toy_run(1, subdets=("HB", "HE")).occupancy])
    failing = find_unit("HEM15", run3)[1][: toy.p.shape[1]]
    same_side = (toy.occupancy["subdet"] == "HE").to_numpy() & (toy.occupancy["ieta"] < 0).to_numpy()
    off = reference.predict(toy.occupancy)["p"].to_numpy() / toy.p - 1
    assert abs(off[:, same_side & ~failing].mean()) < 2e-3


def test_fit_needs_known_events(toy_run):
    run = toy_run(1, n_ls=5).occupancy
    unknown = run.assign(n_events=("ls", np.full(5, UNKNOWN_EVENTS)))
    with pytest.raises(InputError, match="known events"):
        Reference().fit([unknown])


def test_fit_refuses_runs_that_do_not_match(toy_run):
    with pytest.raises(InputError, match="same 15840 channels"):
        Reference().fit(
            [
                toy_run(1, n_ls=3, subdets=("HB", "HE")).occupancy,
                toy_run(1, n_ls=3, subdets=("HB",)).occupancy,
            ]
        )


def test_fit_refuses_nothing_and_runs_without_enough_events(toy_run):
    with pytest.raises(InputError, match="none"):
        Reference().fit([])
    with pytest.raises(InputError, match="100 events"):
        Reference().fit([toy_run(1, n_ls=3, events=20).occupancy])


def test_a_channel_dead_in_all_healthy_runs_is_compared_with_its_ring(toy_run):
    dead = ("HE+27-25-3", 0.0, 1, 40)
    reference = Reference().fit([toy_run(1, faults=[dead]).occupancy])
    toy = toy_run(2)
    here = (toy.occupancy["channel"] == 2127253).to_numpy()
    assert np.isnan(reference.log_response_[here])
    expectation = reference.predict(toy.occupancy)
    assert expectation["p"].to_numpy()[:, here] == pytest.approx(toy.p[:, here], rel=0.4)
    assert float(expectation["sigma"].to_numpy()[here][0]) > 0.05


def test_a_run_in_which_a_channel_failed_does_not_spoil_its_response(toy_run):
    runs = [toy_run(seed).occupancy for seed in (1, 2)]
    failed = toy_run(3, faults=[("HE+27-25-3", 0.5, 1, 40)]).occupancy
    here = (failed["channel"] == 2127253).to_numpy()
    clean, mixed = Reference().fit(runs), Reference().fit([*runs, failed])
    assert mixed.log_response_[here] == pytest.approx(clean.log_response_[here], abs=0.02)


def test_sigma_covers_the_scatter_between_runs(toy_run, fitted):
    other = Reference().fit([toy_run(20).occupancy])
    lit = np.isfinite(other.log_response_) & (toy_run(20).p[0] < 0.99)
    pull = (other.log_response_ - fitted.log_response_)[lit] / np.hypot(other.sigma_, fitted.sigma_)[lit]
    assert 0.7 < pull.std() < 1.1


def test_ring_reference_expects_the_ring(toy_run):
    toy = toy_run(5, faults=[("HEM15", 0.0, 1, 40)])
    expectation = RingReference().predict(toy.occupancy)
    silicon = toy.p[0] < 0.99
    off = np.log(expectation["p"].to_numpy() / toy.p).mean(axis=0)[silicon]
    assert abs(np.median(off)) < 0.01
    assert expectation["sigma"].to_numpy()[silicon].mean() == pytest.approx(0.14, rel=0.15)


def test_unknown_events_become_poisson_trials(toy_run):
    run = toy_run(1, n_ls=4).occupancy
    unknown = run.assign(n_events=("ls", np.array([UNKNOWN_EVENTS, 1000, 1000, 1000])))
    assert (trials_of(unknown) >= 1000 * run["counts"].max("channel").to_numpy()).all()
    assert usable_ls(unknown).all()


def test_low_statistics_give_no_verdict(toy_run):
    assert not usable_ls(toy_run(1, n_ls=4, events=40).occupancy).any()


def test_ring_rate_does_not_depend_on_the_order_of_channels(toy_run, run3):
    toy = toy_run(6, n_ls=12)
    counts, trials = toy.occupancy["counts"].to_numpy(), trials_of(toy.occupancy)
    shuffled = np.random.default_rng(0).permutation(len(run3))
    rates = ring_log_rates(counts, trials, np.zeros(len(run3)), rings_of(run3))
    table = run3.iloc[shuffled].reset_index(drop=True)
    other = rings_of(table)
    again = ring_log_rates(counts[:, shuffled], trials, np.zeros(len(run3)), other)
    np.testing.assert_allclose(again[:, other.group], rates[:, rings_of(run3).group[shuffled]], atol=1e-9)
