"""Numbers of runs: what a healthy toy run must give, and what faults and missing events do to them."""

import numpy as np
import pytest

from calowatch.core.schema import UNKNOWN_EVENTS
from calowatch.evaluate.explore_runs import drift_between, run_numbers
from calowatch.present.explore_given import Exploration
from calowatch.present.explore_tables import drift_summary, ratio_table, variance_summary


@pytest.fixture(scope="module")
def healthy(toy_run):
    return run_numbers(toy_run(n_ls=30, subdets=("HE", "HF", "HO")).occupancy)


def given_of(*runs, drift=None):
    return Exploration(tuple(runs), drift, (), np.array([0.0, 1.0]), {})


def test_healthy_counts_scatter_as_binomials(healthy):
    rings = healthy.rings
    pull = (rings["variance"] - 1) / rings["error"]
    assert abs(rings["variance"].mean() - 1) < 4 * rings["error"].mean() / np.sqrt(len(rings))
    assert 0.8 < pull.std() < 1.2
    assert (rings["typical"] - 1).abs().median() < 0.05
    assert set(rings["subdet"]) == {"HE", "HO"}  # HF always fires
    assert all(row["far"] == [] for row in variance_summary(given_of(healthy)))


def test_a_fault_in_mid_run_shows_in_its_rings_and_not_in_their_median(toy_run):
    run = run_numbers(toy_run(n_ls=30, subdets=("HO",), faults=[("HO+5-20-4", 0.0, 16, 30)]).occupancy)
    rings = run.rings.set_index(["ieta", "depth"])
    assert rings.loc[(5, 4), "variance"] > 3
    assert rings.loc[(5, 4), "typical"] == pytest.approx(1, abs=0.15)
    row = int(np.nanargmax(run.variance))
    assert run.channels.loc[row, "channel_name"] == "HO+5-20-4"
    assert variance_summary(given_of(run))[0]["far"] == ["HO+5d4"]


def test_series_and_lines(toy_run, healthy):
    occupancy = toy_run(n_ls=30, subdets=("HE", "HF", "HO")).occupancy
    counts, hf = occupancy["counts"].to_numpy(), (occupancy["subdet"] == "HF").to_numpy()
    np.testing.assert_array_equal(healthy.series["total_HF"], counts[:, hf].sum(axis=1))
    np.testing.assert_array_equal(healthy.series["largest_HF"], counts[:, hf].max(axis=1))
    line = healthy.fits.query("subdet == 'HF' and quantity == 'total' and against == 'events'").iloc[0]
    slope, intercept = np.polyfit(occupancy["n_events"], counts[:, hf].sum(axis=1), 1)
    assert line["slope"] == pytest.approx(slope)
    assert line["intercept"] == pytest.approx(intercept, abs=1e-6)
    assert line["slope"] == pytest.approx(hf.sum())  # every HF cell counts every event
    assert line["r"] == pytest.approx(1)


def test_occupancy_is_per_event(toy_run, healthy):
    occupancy = toy_run(n_ls=30, subdets=("HE", "HF", "HO")).occupancy
    expected = occupancy["counts"].sum("ls") / occupancy["n_events"].sum()
    np.testing.assert_allclose(healthy.occupancy, expected)
    assert healthy.occupancy_unit == "digis per event"


def test_unknown_events_are_said(toy_run):
    occupancy = toy_run(n_ls=6, subdets=("HO",)).occupancy
    run = run_numbers(occupancy.assign(n_events=("ls", np.full(6, UNKNOWN_EVENTS))))
    assert len(run.notes) == 2
    assert run.rings.empty
    assert np.isnan(run.variance).all()
    assert run.occupancy_unit == "digis per LS"
    assert run.fits.query("against == 'events'")["slope"].isna().all()
    assert drift_between(run, run).empty


def test_some_unknown_events_leave_the_rest_measured(toy_run):
    occupancy = toy_run(n_ls=12, subdets=("HO",)).occupancy
    events = occupancy["n_events"].to_numpy().copy()
    events[3] = UNKNOWN_EVENTS
    run = run_numbers(occupancy.assign(n_events=("ls", events)))
    assert len(run.rings) == 30
    assert run.rings["error"].iloc[0] == pytest.approx(np.sqrt(2 / (10 * 71)))


def test_a_single_lumisection_measures_no_variance(toy_run):
    run = run_numbers(toy_run(n_ls=1, subdets=("HO",)).occupancy)
    assert "fewer than two LS" in run.notes[0]
    assert run.fits["slope"].isna().all()


def test_drift_finds_the_brightness_that_was_put_in(toy_run):
    """The toy's brightness factor of 1.2 moves every ring by ln 1.2, within its own error; a dead RBX does not."""
    first = run_numbers(toy_run(n_ls=20, seed=1, subdets=("HE", "HO"), run=1).occupancy)
    toy = toy_run(n_ls=20, seed=2, subdets=("HE", "HO"), run=2, pileup=1.2, faults=[("HEM15", 0.0, 1, 20)])
    drift = drift_between(first, run_numbers(toy.occupancy))
    pull = (drift["ln_ratio"] - np.log(1.2)) / drift["error"]
    assert (drift["run"] == 2).all()
    assert abs(pull.mean()) < 0.5
    assert 0.7 < pull.std() < 1.4
    assert drift["chi2"].median() == pytest.approx(1, abs=0.25)
    rows = drift_summary(given_of(drift=drift))
    assert [row["subdet"] for row in rows] == ["HE", "HO"]
    assert rows[0]["median"] == pytest.approx(np.log(1.2), abs=0.005)


def test_a_ring_that_moved_alone_is_named(toy_run):
    runs = [toy_run(n_ls=20, seed=seed, subdets=("HO",), run=seed).occupancy for seed in (1, 2)]
    ring = (runs[1]["ieta"] == -7).to_numpy()
    runs[1]["counts"][:, ring] = runs[1]["counts"].to_numpy()[:, ring] // 2
    drift = drift_between(*map(run_numbers, runs))
    assert drift_summary(given_of(drift=drift))[0]["far"] == ["HO-7d4"]


def test_rechits_over_digis(toy_run):
    occupancy = toy_run(n_ls=3, subdets=("HB", "HO")).occupancy
    counts = occupancy["counts"]
    share = np.where(occupancy["depth"] == 2, 0.5, 1.0)
    assert run_numbers(occupancy).ratio is None
    run = run_numbers(occupancy.assign(rechits=(counts * share).astype(np.int32)))
    rows = {(row["subdet"], row["depth"]): row["ratio"] for row in ratio_table(run)}
    assert rows["HO", 4] == rows["HB", 1] == 1
    assert rows["HB", 2] == pytest.approx(0.5, abs=0.01)
    assert np.isfinite(run.ratio[run.hits > 0]).all()


def test_rechits_without_digis_have_no_ratio(toy_run):
    occupancy = toy_run(n_ls=3, subdets=("HO",)).occupancy
    counts = occupancy["counts"].copy()
    counts[:, 5] = 0
    run = run_numbers(occupancy.assign(counts=counts, rechits=counts + 1))
    assert np.isnan(run.ratio[5])
    assert run.hits[5] == 0
