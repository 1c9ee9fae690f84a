"""The mixed likelihood ratio against the binomial likelihood itself, and what the theory promises of it."""

import numpy as np
import pytest
from scipy import sparse, stats

from calowatch.detect.mixture import (
    FACTORS,
    log_mixture,
    log_ratio_stack,
    unit_mixture,
    unit_z,
    window_sums,
)


def _sums(p=0.4, events=200, windows=1, channels=300, seed=0, factor=1.0):
    rng = np.random.default_rng(seed)
    expected = np.full((windows, 5, channels), p)
    counts = rng.binomial(events, np.minimum(1.0, factor * expected))
    return window_sums(counts, np.full((windows, 5), events), expected)


@pytest.mark.parametrize("p", [0.05, 0.4, 0.9])
def test_ratio_is_that_of_the_likelihoods(p):
    sums = _sums(p)
    ratios = log_ratio_stack(sums, (0.5, 0.9, 1.05))
    for ratio, factor in zip(ratios, (0.5, 0.9, 1.05), strict=True):
        wanted = stats.binom.logpmf(sums.hits, sums.trials, factor * p) - stats.binom.logpmf(
            sums.hits, sums.trials, p
        )
        np.testing.assert_allclose(ratio, wanted, rtol=1e-4, atol=1e-3)


def test_the_healthy_mean_of_the_ratio_is_one():
    ratio = np.exp(log_mixture(log_ratio_stack(_sums(0.3, 40, 40, 2000), (0.9, 0.95, 1.1))).astype(float))
    assert ratio.mean() == pytest.approx(1.0, abs=0.1)
    assert (ratio > 100).mean() < 0.01  # Markov


def test_faults_stand_out_whatever_their_factor():
    healthy = log_mixture(log_ratio_stack(_sums(windows=20)))
    for factor in (0.0, 0.6, 0.8, 1.2, 2.0):
        faulty = log_mixture(log_ratio_stack(_sums(factor=factor)))
        assert (faulty > np.quantile(healthy, 0.99)).mean() > 0.97


def test_factors_saturate():
    sums = window_sums(np.full((1, 5, 3), 100), np.full((1, 5), 100), np.full((1, 5, 3), 0.9999999))
    ratios = log_ratio_stack(sums, FACTORS)
    assert np.isfinite(ratios).all()
    assert (log_mixture(ratios) < 0.1).all()  # a full channel that is full is no fault
    dead = window_sums(np.zeros((1, 5, 3)), np.full((1, 5), 100), np.full((1, 5, 3), 0.5))
    assert (log_mixture(log_ratio_stack(dead)) > 100).all()


def test_lumisections_with_few_events_tell_nothing():
    counts, events, p = np.full((1, 2, 4), 5), np.array([[10, 1000]]), np.full((1, 2, 4), 0.5)
    sums = window_sums(counts, events, p, min_events=100)
    assert sums.trials.tolist() == [[1000.0]]
    assert (sums.hits == 5).all()
    silent = window_sums(counts, events, p, min_events=5000)
    assert (log_mixture(log_ratio_stack(silent)) == 0).all()


def test_units_sum_what_their_channels_say():
    ratios = log_ratio_stack(_sums(windows=3, channels=4, factor=0.9))
    incidence = sparse.csr_array(np.array([[1.0, 1, 0, 0], [0, 0, 0, 1]]))
    found = unit_mixture(ratios, incidence)
    wanted = log_mixture(np.stack([ratios[..., :2].sum(-1), ratios[..., 3]], -1))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    z = np.array([[1.0, 3.0, 7.0, np.nan]])
    assert unit_z(z, incidence).tolist() == [[pytest.approx(4 / np.sqrt(2)), 0.0]]


def test_no_windows_have_no_scores():
    incidence = sparse.csr_array(np.eye(2, 3))
    assert unit_mixture(np.zeros((11, 0, 3)), incidence).shape == (0, 2)
