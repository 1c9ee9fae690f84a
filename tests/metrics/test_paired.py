"""Paired differences of ROC-AUC: the same as drawing samples one by one, and surer than two intervals."""

import numpy as np
import pytest

from calowatch.core.errors import InputError
from calowatch.metrics.paired import paired_auc
from calowatch.metrics.ranking import roc_auc


def two_of(n=400, seed=0):
    """Two scores that share most of their errors."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    common = labels + rng.normal(0, 1.0, n)
    score = np.round(1 / (1 + np.exp(-np.stack([common, common + rng.normal(0, 0.5, n)]))), 2)
    return labels, np.stack([1 - score, score], axis=2)


def test_areas_are_those_of_the_plain_metric_ties_included():
    labels, p = two_of()
    found = paired_auc(labels, p, np.arange(len(labels)), draws=0)
    np.testing.assert_allclose(found.values, [roc_auc(labels == 1, each[:, 1]) for each in p])
    assert found.difference(0, 1).low is None


def test_draws_are_those_of_samples_repeated():
    labels, p = two_of(60)
    blocks = np.arange(60) // 4
    found = paired_auc(labels, p, blocks, draws=5, seed=3)
    rng = np.random.default_rng(3)
    for drawn in found.draws:
        rows = np.concatenate([np.flatnonzero(blocks == block) for block in rng.integers(15, size=15)])
        np.testing.assert_allclose(drawn, [roc_auc(labels[rows] == 1, each[rows, 1]) for each in p])


def test_a_paired_difference_is_surer_than_two_intervals():
    labels, p = two_of(2000)
    found = paired_auc(labels, p, np.arange(len(labels)), draws=300)
    difference = found.difference(0, 1)
    apart = np.quantile(found.draws[:, 0], 0.975) - np.quantile(found.draws[:, 0], 0.025)
    assert difference.low > 0
    assert difference.high - difference.low < 0.7 * apart
    back = found.difference(1, 0)
    assert (back.value, back.low, back.high) == pytest.approx(
        (-difference.value, -difference.high, -difference.low)
    )
    assert found.difference(0, 0).high == 0


def test_several_classes_count_alike():
    rng = np.random.default_rng(0)
    labels, p = np.arange(90) % 3, rng.dirichlet([1, 1, 1], 90)
    expected = np.mean([roc_auc(labels == c, p[:, c]) for c in range(3)])
    assert paired_auc(labels, p[None], np.arange(90), draws=3).values[0] == pytest.approx(expected)


def test_one_block_gives_no_interval_and_one_class_is_refused():
    labels, p = two_of(20)
    assert len(paired_auc(labels, p, np.zeros(20)).draws) == 0
    with pytest.raises(InputError, match="without"):
        paired_auc(np.zeros(20, int), p, np.arange(20))
    with pytest.raises(InputError, match="a row for each"):
        paired_auc(labels, p[:, :10], np.arange(20))
