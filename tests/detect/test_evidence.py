"""Signed evidence: against the exact binomial tail, and as a standard normal."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import special, stats

from calowatch.detect.evidence import evidence, signed_evidence
from calowatch.models.reference import RingReference, usable_ls


def exact(n, trials, p):
    """The mid-p quantile, in logarithms throughout (slow)."""
    half = stats.binom.logpmf(n, trials, p) - np.log(2)
    low = np.logaddexp(stats.binom.logcdf(n - 1, trials, p) if n > 0 else -np.inf, half)
    high = np.logaddexp(stats.binom.logsf(n, trials, p), half)
    return special.ndtri_exp(min(low, 0.0)) if low < high else -special.ndtri_exp(min(high, 0.0))


@settings(max_examples=200, deadline=None)
@example(462, 0.08431004764497241, 0.513)  # close to the expectation, where r* is 0 / 0
@given(st.integers(1, 5000), st.floats(1e-6, 1 - 1e-6), st.floats(0, 1))
def test_agrees_with_the_exact_tail(trials, p, quantile):
    n = int(stats.binom.ppf(1e-12 + quantile * (1 - 2e-12), trials, p))
    expected = exact(n, trials, p)
    few = min(trials * p, trials * (1 - p)) < 10
    close = 1e-6 if few or n in (0, trials) else max(0.025, 0.025 * abs(expected))
    assert float(signed_evidence(n, trials, p)) == pytest.approx(expected, abs=close)


@pytest.mark.parametrize(("trials", "p"), [(1000, 0.3), (1000, 0.004), (1000, 0.997), (300, 0.5)])
def test_is_monotonic_and_finite_over_all_counts(trials, p):
    z = signed_evidence(np.arange(trials + 1), trials, p)
    assert np.isfinite(z).all()
    assert (np.diff(z) > 0).all()


@pytest.mark.parametrize("p", [0.001, 0.03, 0.4, 0.995])
def test_has_mean_zero_and_unit_variance_under_the_expectation(p):
    counts = np.arange(1001)
    weight = stats.binom.pmf(counts, 1000, p)
    z = signed_evidence(counts, 1000, p)
    assert (weight * z).sum() == pytest.approx(0.0, abs=0.05 if p == 0.001 else 0.01)
    assert (weight * z**2).sum() == pytest.approx(1.0, abs=0.5 if p in (0.001, 0.995) else 0.02)


def test_mirror_symmetry():
    z = signed_evidence([0, 5, 350, 998], 1000, 0.37)
    np.testing.assert_allclose(signed_evidence([1000, 995, 650, 2], 1000, 0.63), -z, rtol=1e-9)


def test_no_events_no_evidence():
    assert np.isnan(signed_evidence(0, 0, 0.3))


@pytest.fixture(scope="module")
def judged(toy_run):
    toy = toy_run(3, n_ls=12, faults=[("HEP07-RM3", 0.7, 5, 12)], subdets=("HB", "HE"))
    usable = usable_ls(toy.occupancy)
    usable[7] = False
    expectation = RingReference().predict(toy.occupancy)
    return toy.occupancy, expectation, usable, evidence(toy.occupancy, expectation, usable, window=3)


def test_unusable_lumisections_have_no_evidence(judged):
    _, _, usable, found = judged
    for name in ("z", "z_window"):
        assert (np.isnan(found[name].to_numpy()).all(axis=1) == ~usable).all()
        assert np.isfinite(found[name].to_numpy()[usable]).all()


@pytest.mark.parametrize("row", [0, 2, 6, 9, 11])
def test_window_sums_the_usable_lumisections_before(judged, row):
    occupancy, expectation, usable, found = judged
    rows = [i for i in range(max(0, row - 2), row + 1) if usable[i]]
    trials = expectation["n_trials"].to_numpy()[rows]
    p = (trials[:, None] * expectation["p"].to_numpy()[rows]).sum(axis=0) / trials.sum()
    direct = signed_evidence(occupancy["counts"].to_numpy()[rows].sum(axis=0), trials.sum(), p)
    np.testing.assert_allclose(found["z_window"].to_numpy()[row], direct, rtol=1e-4, atol=1e-4)
