"""Figures from counts per block equal those computed from all samples by the independent functions of ranking."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calowatch.core.errors import InputError
from calowatch.metrics.blocks import CAPTURES, block_counts, rank
from calowatch.metrics.ranking import average_precision, false_positive_rate_at, roc_auc


def _samples(seed, blocks=7, each=50, faults=40, digits=1):
    rng = np.random.default_rng(seed)
    healthy = np.sort(np.round(rng.normal(size=(blocks, each)), digits).astype(np.float32), axis=1)
    scores = np.round(rng.normal(1.0, 1.0, faults), digits).astype(np.float32)
    return scores, rng.integers(blocks, size=faults), healthy


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1, 4]))
def test_figures_are_those_of_all_samples(seed, digits):
    scores, blocks, healthy = _samples(seed, digits=digits)
    found = rank(block_counts((scores, blocks), healthy), draws=0)
    truth = np.concatenate([np.ones(len(scores), bool), np.zeros(healthy.size, bool)])
    values = np.concatenate([scores, healthy.ravel()])
    for capture, triple in zip(CAPTURES, found.false_positive_rate, strict=True):
        assert triple[0] == pytest.approx(false_positive_rate_at(truth, values, capture))
    assert found.roc_auc[0] == pytest.approx(roc_auc(truth, values))
    assert found.average_precision[0] == pytest.approx(average_precision(truth, values))
    assert (found.n_faulty, found.n_healthy) == (len(scores), healthy.size)


def test_intervals_hold_the_value_and_a_zero_keeps_an_upper_edge():
    scores, blocks, healthy = _samples(3, faults=200, digits=4)
    found = rank(block_counts((scores, blocks), healthy), draws=300)
    for value, low, high in (*found.false_positive_rate, found.roc_auc, found.average_precision):
        assert low <= value <= high
    clear = rank(block_counts((scores + 50, blocks), healthy), draws=50)
    assert clear.false_positive_rate[2][0] == 0
    assert clear.false_positive_rate[2][2] == pytest.approx(3.69 / healthy.size, rel=0.02)


def test_many_thresholds_change_little():
    scores, blocks, healthy = _samples(5, faults=5000, digits=6)
    exact = rank(block_counts((scores, blocks), healthy, most=10_000), draws=0)
    coarse = rank(block_counts((scores, blocks), healthy, most=400), draws=0)
    assert coarse.roc_auc[0] == pytest.approx(exact.roc_auc[0], abs=0.01)
    assert coarse.false_positive_rate[2][0] == pytest.approx(exact.false_positive_rate[2][0], abs=0.02)


def test_prevalence_moves_precision_only():
    scores, blocks, healthy = _samples(6, digits=4)
    counts = block_counts((scores, blocks), healthy)
    rare, common = (rank(counts, prevalence=ratio, draws=0) for ratio in (1e-4, 1.0))
    assert rare.average_precision[0] < common.average_precision[0]
    assert rare.roc_auc[0] == common.roc_auc[0]


def test_the_curve_rises():
    scores, blocks, healthy = _samples(7, faults=300, digits=4)
    curve = np.array(rank(block_counts((scores, blocks), healthy), draws=0).curve)
    assert (np.diff(curve, axis=0) >= 0).all()
    assert curve[-1, 1] == 1


@pytest.mark.parametrize("bad", ["empty", "nan", "unsorted"])
def test_what_cannot_be_ranked_is_refused(bad):
    scores, blocks, healthy = _samples(8)
    if bad == "empty":
        scores, blocks = scores[:0], blocks[:0]
    elif bad == "nan":
        scores[0] = np.nan
    else:
        healthy = healthy[:, ::-1]
    with pytest.raises(InputError):
        block_counts((scores, blocks), healthy)
