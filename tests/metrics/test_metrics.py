"""Metrics against scikit-learn, SciPy and numbers worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from calowatch.core.errors import InputError
from calowatch.metrics.calibration import expected_calibration_error, reliability
from calowatch.metrics.intervals import bootstrap_blocks, clopper_pearson, wilson
from calowatch.metrics.localisation import channel_overlap, localisation
from calowatch.metrics.ranking import (
    average_precision,
    decide_at,
    false_positive_rate_at,
    rejection_at,
    roc_auc,
    threshold_at,
)
from calowatch.metrics.timing import LS_SECONDS, delay, false_alarms, false_alarms_per_day

samples = st.lists(st.tuples(st.booleans(), st.integers(-5, 5)), min_size=2, max_size=60).filter(
    lambda pairs: len({truth for truth, _ in pairs}) == 2
)


@settings(max_examples=60, deadline=None)
@given(samples)
def test_areas_equal_those_of_scikit_learn(pairs):
    """Scores are small integers, so that there are many ties."""
    truth, score = np.array(pairs).T
    assert roc_auc(truth, score) == pytest.approx(sk.roc_auc_score(truth, score))
    assert average_precision(truth, score) == pytest.approx(sk.average_precision_score(truth, score))


@settings(max_examples=60, deadline=None)
@given(samples, st.sampled_from([0.5, 0.9, 0.95, 0.99, 1.0]))
def test_rate_at_capture_is_the_least_of_the_curve(pairs, capture):
    truth, score = np.array(pairs).T
    fpr, tpr, _ = sk.roc_curve(truth, score, drop_intermediate=False)
    assert false_positive_rate_at(truth, score, capture) == pytest.approx(fpr[tpr >= capture - 1e-12].min())
    decision = decide_at(truth, score, threshold_at(truth, score, capture))
    assert decision.recall >= capture - 1e-12
    assert decision.false_positive_rate == false_positive_rate_at(truth, score, capture)


def test_decision_equals_scikit_learn():
    rng = np.random.default_rng(1)
    truth, score = rng.random(200) < 0.3, rng.random(200)
    found = decide_at(truth, score, 0.6)
    flagged = score >= 0.6
    assert found.precision == pytest.approx(sk.precision_score(truth, flagged))
    assert found.recall == pytest.approx(sk.recall_score(truth, flagged))
    assert found.f1 == pytest.approx(sk.f1_score(truth, flagged))
    assert [
        found.true_negatives,
        found.false_positives,
        found.false_negatives,
        found.true_positives,
    ] == sk.confusion_matrix(truth, flagged).ravel().tolist()
    assert np.isnan(decide_at(truth, score, 2.0).precision)


def test_rejection_is_one_over_the_rate():
    truth = [True] * 2 + [False] * 4
    assert rejection_at(truth, [5, 3, 4, 2, 1, 0], 1.0) == 4.0
    assert rejection_at(truth, [5, 3, 4, 2, 1, 0], 0.5) == np.inf


def test_an_infinite_score_is_the_most_suspicious():
    assert roc_auc([True, False], [np.inf, 3.0]) == 1.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: roc_auc([True, True], [1, 2]),
        lambda: roc_auc([True, False], [1, np.nan]),
        lambda: average_precision([True, False], [1, 2, 3]),
        lambda: decide_at([True, False], [1, 2, 3], 1),
        lambda: threshold_at([True, False], [1, 2], 99),
        lambda: wilson(3, 2),
        lambda: clopper_pearson(1, 2, 95),
        lambda: bootstrap_blocks(len, [1, 1]),
        lambda: bootstrap_blocks(lambda rows: np.nan, [1, 2], draws=5),
        lambda: localisation([], []),
        lambda: delay([5], [4]),
        lambda: false_alarms_per_day(1, 0),
        lambda: reliability([True], [1.5]),
        lambda: reliability([True, False], [0.5]),
    ],
)
def test_what_cannot_be_measured_is_refused(call):
    with pytest.raises(InputError):
        call()


@pytest.mark.parametrize(("found", "of"), [(0, 7), (3, 7), (7, 7), (12, 2000)])
def test_intervals_of_shares_equal_scipy(found, of):
    test = stats.binomtest(found, of)
    for ours, method in ((wilson, "wilson"), (clopper_pearson, "exact")):
        for level in (0.68, 0.95):
            theirs = test.proportion_ci(level, method)
            assert ours(found, of, level) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_bootstrap_takes_blocks_as_a_whole():
    """40 blocks of 25 equal samples hold 40 independent numbers, not 1000."""
    rng = np.random.default_rng(2)
    values = np.repeat(rng.normal(size=40), 25)
    blocks = np.repeat([f"LS {n}" for n in range(40)], 25)

    def mean(rows):
        return values[rows].mean()

    low, high = bootstrap_blocks(mean, blocks, draws=400)
    assert (high - low) / 2 == pytest.approx(1.96 * values[::25].std() / np.sqrt(40), rel=0.15)
    assert (low, high) == bootstrap_blocks(mean, blocks, draws=400)
    single = bootstrap_blocks(mean, np.arange(1000), draws=200)
    assert single[1] - single[0] < (high - low) / 3


def test_localisation_by_hand():
    found = localisation(["A", "B", "C", "D"], [["A"], ["B", "X"], ["X"], []])
    assert (found.named, found.alone, found.missed) == (2, 1, 1)
    assert (found.share_named, found.share_alone) == (0.5, 0.25)
    assert channel_overlap([], []) == 1.0
    assert channel_overlap([1], []) == 0.0


def test_delay_and_alarms_by_hand():
    assert delay([1, 1, 5], [1, 4, np.nan]).tolist() == [0.0, 3.0, np.inf]
    assert false_alarms([]) == 0
    assert false_alarms([[1, 0], [1, 1], [0, 1], [1, 0]]) == 3
    assert false_alarms([[1, 0], [1, 1], [0, 1], [1, 0]], quiet=1) == 2
    assert pytest.approx(2**18 * 3564 / 40.079e6, abs=0.005) == LS_SECONDS


def test_rate_per_day_has_an_exact_interval():
    rate, low, high = false_alarms_per_day(4, 15_000)
    per_day = 86400 / 23.31 / 15_000
    assert rate == pytest.approx(4 * per_day)
    assert low == pytest.approx(stats.chi2.ppf(0.025, 8) / 2 * per_day)
    assert high == pytest.approx(stats.chi2.ppf(0.975, 10) / 2 * per_day)
    assert false_alarms_per_day(0, 15_000)[:2] == (0.0, 0.0)


@pytest.mark.parametrize("equal_count", [False, True])
def test_reliability_equals_scikit_learn(equal_count):
    rng = np.random.default_rng(3)
    p = rng.beta(1, 4, 3000)
    truth = rng.random(3000) < p**1.2
    found = reliability(truth, p, equal_count=equal_count)
    seen, stated = calibration_curve(truth, p, n_bins=10, strategy="quantile" if equal_count else "uniform")
    np.testing.assert_allclose(found.seen, seen)
    np.testing.assert_allclose(found.stated, stated)
    assert found.count.sum() == 3000


def test_calibration_error_is_small_when_calibrated_and_large_when_not():
    rng = np.random.default_rng(4)
    p = rng.random(20_000)
    truth = rng.random(20_000) < p
    assert expected_calibration_error(truth, p) < 0.015
    assert expected_calibration_error(truth, p / 2) == pytest.approx(0.25, abs=0.015)
    assert expected_calibration_error([True, False], [1.0, 0.0]) == 0.0


def test_drawn_samples_are_those_of_the_drawn_blocks():
    blocks = np.array([3, 1, 3, 7, 1, 1])
    seen = []
    bootstrap_blocks(lambda rows: float(seen.append(rows.tolist()) or 0), blocks, draws=6, seed=2)
    rng = np.random.default_rng(2)
    held = [[1, 4, 5], [0, 2], [3]]
    for rows in seen:
        assert rows == [row for block in rng.integers(3, size=3) for row in held[block]]
