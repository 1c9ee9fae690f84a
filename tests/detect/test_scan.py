"""The scan: likelihood ratios are bets that a healthy detector cannot win, and stretches are found exactly."""

import itertools
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calowatch.detect.scan import (
    CHANGES,
    MARGIN,
    Cells,
    Change,
    best_bursts,
    best_segments,
    log_ratio,
    log_ratios,
)

FACTOR = partial(Change, "factor")


def cells(counts, trials, p, sigma):
    shape = np.shape(counts)
    return Cells(
        np.asarray(counts), np.full((shape[0], 1), float(trials)), np.full(shape, p), np.full(shape[1], sigma)
    )


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("p", [0.02, 0.3, 0.97])
@pytest.mark.parametrize("shift", [-1.0, 0.0, 1.0])
def test_mean_of_the_ratio_is_at_most_one_in_the_healthy_interval(change, p, shift):
    """E[L1 / L0] <= 1, summed exactly over all counts: what makes the p-value valid."""
    sigma, trials = 0.01, 60
    counts = np.arange(trials + 1)[:, None]
    ratio = log_ratio(cells(counts, trials, p, sigma), change)[:, 0]
    from scipy import stats

    true = -np.expm1(np.log1p(-p) * np.exp(shift * MARGIN * sigma))
    mean = (stats.binom.pmf(counts[:, 0], trials, true) * np.exp(ratio)).sum()
    assert mean <= 1 + 1e-9


def test_ratio_at_zero_sigma_is_the_textbook_one():
    found = log_ratio(cells([[250]], 1000, 0.3, 0.0), FACTOR(0.8))[0, 0]
    assert found == pytest.approx(250 * np.log(0.8) + 750 * np.log((1 - 0.24) / 0.7))


def test_saturated_and_uncertain_cells_say_nothing():
    assert log_ratio(cells([[1000]], 1000, 1 - 1e-9, 0.1), FACTOR(1.1))[0, 0] == 0
    assert log_ratio(cells([[0]], 1000, 0.3, 0.5), FACTOR(0.9))[0, 0] == 0
    assert (np.stack(list(log_ratios(cells([[5]], 0, 0.3, 0.01)))) == 0).all()


def test_a_stray_digi_does_not_clear_a_dead_channel():
    assert log_ratio(cells([[1]], 1000, 0.3, 0.01), FACTOR(0.0))[0, 0] > 300


gains_of = st.lists(st.floats(-5, 5).map(lambda x: round(x, 1)), min_size=1, max_size=10)


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
@given(gains_of, st.sampled_from([0.5, 2.0, 6.0]))
def test_bursts_are_the_best_of_all_choices_of_rows(values, price):
    gains = np.array(values)
    found, total = best_bursts(gains, price)
    best = 0.0
    for chosen in itertools.product([False, True], repeat=len(values)):
        starts = sum(on and not (i and chosen[i - 1]) for i, on in enumerate(chosen))
        best = max(best, gains[list(chosen)].sum() - price * starts)
    assert total == pytest.approx(best, abs=1e-9)
    assert sum(gains[a : b + 1].sum() - price for a, b in found) == pytest.approx(best, abs=1e-9)
    assert all(a[1] < b[0] for a, b in itertools.pairwise(found))


def test_bursts_do_not_pay_for_the_healthy_rows_between_them():
    gains = np.array([-50.0, 900, 800, -300, -300, -300, 950, 700, -50])
    assert best_bursts(gains, 8.0)[0] == [(1, 2), (6, 7)]


def test_rows_without_verdict_do_not_lengthen_a_burst():
    assert best_bursts(np.array([0.0, 0, 9, 0, 9, 0, 0]), 1.0)[0] == [(2, 4)]


def test_channels_that_nearly_always_fire_are_never_hot():
    ratios = list(log_ratios(cells([[100_000]], 100_000, 0.99, 0.0), tuple(map(FACTOR, (1.1, 1.25, 3.0)))))
    assert all(ratio[0, 0] == 0 for ratio in ratios)
