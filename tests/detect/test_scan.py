"""The scan: likelihood ratios are bets that a healthy detector cannot win, and stretches are found exactly."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calowatch.detect.scan import FACTORS, MARGIN, Cells, best_segments, log_ratio, log_ratios, segments


def cells(counts, trials, p, sigma):
    shape = np.shape(counts)
    return Cells(
        np.asarray(counts), np.full((shape[0], 1), float(trials)), np.full(shape, p), np.full(shape[1], sigma)
    )


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("p", [0.02, 0.3, 0.97])
@pytest.mark.parametrize("shift", [-1.0, 0.0, 1.0])
def test_mean_of_the_ratio_is_at_most_one_in_the_healthy_interval(factor, p, shift):
    """E[L1 / L0] <= 1, summed exactly over all counts: what makes the p-value valid."""
    sigma, trials = 0.01, 60
    counts = np.arange(trials + 1)[:, None]
    ratio = log_ratio(cells(counts, trials, p, sigma), factor)[:, 0]
    from scipy import stats

    true = -np.expm1(np.log1p(-p) * np.exp(shift * MARGIN * sigma))
    mean = (stats.binom.pmf(counts[:, 0], trials, true) * np.exp(ratio)).sum()
    assert mean <= 1 + 1e-9


def test_ratio_at_zero_sigma_is_the_textbook_one():
    found = log_ratio(cells([[250]], 1000, 0.3, 0.0), 0.8)[0, 0]
    assert found == pytest.approx(250 * np.log(0.8) + 750 * np.log((1 - 0.24) / 0.7))


def test_saturated_and_uncertain_cells_say_nothing():
    assert log_ratio(cells([[1000]], 1000, 1 - 1e-9, 0.1), 1.1)[0, 0] == 0
    assert log_ratio(cells([[0]], 1000, 0.3, 0.5), 0.9)[0, 0] == 0
    assert (np.stack(list(log_ratios(cells([[5]], 0, 0.3, 0.01)))) == 0).all()


def test_a_stray_digi_does_not_clear_a_dead_channel():
    assert log_ratio(cells([[1]], 1000, 0.3, 0.01), 0.0)[0, 0] > 300


gains_of = st.lists(st.floats(-5, 5).map(lambda x: round(x, 1)), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(gains_of)
def test_best_segment_is_the_best_of_all(values):
    gains = np.array(values)[:, None]
    gain, first, last = (found[0] for found in best_segments(gains))
    every = [
        gains[a : b + 1].sum() for a, b in itertools.combinations_with_replacement(range(len(values)), 2)
    ]
    assert gain == pytest.approx(max(every))
    assert gains[first : last + 1].sum() == pytest.approx(gain)


@settings(max_examples=150, deadline=None)
@given(gains_of)
def test_segments_are_disjoint_and_hold_the_best(values):
    gains = np.array(values)
    found = segments(gains, 0.05)
    assert all(a[1] < b[0] for a, b in itertools.pairwise(found))
    assert all(gains[first : last + 1].sum() == pytest.approx(gain) for first, last, gain in found)
    best = best_segments(gains[:, None])[0][0]
    if best > 0.05:
        assert max(gain for _, _, gain in found) == pytest.approx(best)


def test_segments_example_of_ruzzo_and_tompa():
    scores = np.array([4, -5, 3, -3, 1, 2, -2, 2, -2, 1, 5.0])
    assert segments(scores, 0.5) == [(0, 0, 4.0), (2, 2, 3.0), (4, 10, 7.0)]
