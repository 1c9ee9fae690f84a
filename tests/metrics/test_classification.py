"""Figures of classifiers against independent implementations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from sklearn import metrics as reference

from calowatch.core.errors import InputError
from calowatch.metrics.classification import (
    Figure,
    Judged,
    as_json,
    classification_figures,
    confusion,
    curves,
    fit_temperature,
)


def judged(n=400, classes=2, seed=0, blocks=None, sharp=1.0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    logits = rng.normal(0, 1, (n, classes)) + sharp * np.eye(classes)[labels]
    return Judged(labels, softmax(logits, axis=1), np.arange(n) if blocks is None else blocks)


def test_figures_agree_with_scikit_learn():
    given_ = judged()
    found = classification_figures(given_, draws=20)
    truth, p = given_.labels, given_.probabilities
    assert found["accuracy"].value == reference.accuracy_score(truth, p.argmax(1))
    assert found["roc_auc"].value == pytest.approx(reference.roc_auc_score(truth, p[:, 1]))
    assert found["pr_auc"].value == pytest.approx(reference.average_precision_score(truth, p[:, 1]))
    assert found["log_loss"].value == pytest.approx(reference.log_loss(truth, p))
    passing = (
        p[truth == 0, 1] >= np.sort(p[truth == 1, 1])[::-1][int(np.ceil(0.7 * (truth == 1).sum())) - 1]
    ).mean()
    assert found["rejection_70"].value == pytest.approx(1 / passing)
    for name, figure in found.items():
        assert name == "ece" or figure.low <= figure.value <= figure.high


def test_many_classes_are_judged_one_against_the_rest():
    given_ = judged(classes=3)
    found = classification_figures(given_, draws=0)
    expected = reference.roc_auc_score(given_.labels, given_.probabilities, multi_class="ovr")
    assert found["roc_auc"].value == pytest.approx(expected)
    assert "rejection_50" not in found
    np.testing.assert_array_equal(
        confusion(given_), reference.confusion_matrix(given_.labels, given_.probabilities.argmax(1))
    )


def test_blocks_of_equal_samples_widen_the_interval():
    one = judged(40)
    rows = np.repeat(np.arange(40), 10)
    alone, together = (one.some(rows), one.some(rows))
    alone = Judged(alone.labels, alone.probabilities, np.arange(400))
    width = [
        found["accuracy"].high - found["accuracy"].low
        for found in (classification_figures(each, draws=100) for each in (alone, together))
    ]
    assert width[1] > 2 * width[0]


def test_where_nothing_went_wrong_the_interval_is_that_of_the_blocks():
    labels = np.repeat([0, 1], 50)
    p = np.eye(2)[labels] * 0.8 + 0.1
    found = classification_figures(Judged(labels, p, np.repeat(np.arange(10), 10)))
    assert found["accuracy"].low == pytest.approx(0.025 ** (1 / 10))
    assert found["accuracy"].high == 1.0
    assert (found["roc_auc"].value, found["roc_auc"].low) == (1.0, None)
    assert found["rejection_50"].value is None
    assert found["rejection_50"].low == pytest.approx(1 / (1 - 0.025 ** (1 / 5)))
    assert as_json(found)["rejection_50"]["high"] is None


def test_a_mistake_never_makes_the_interval_surer():
    labels = np.repeat([0, 1], 500)
    p = np.eye(2)[labels] * 0.8 + 0.1
    blocks = np.repeat(np.arange(10), 100)
    best = classification_figures(Judged(labels, p, blocks))
    p[0] = p[0, ::-1]
    worse = classification_figures(Judged(labels, p, blocks))
    assert worse["accuracy"].value == 0.999
    assert worse["accuracy"].low == best["accuracy"].low
    assert worse["accuracy"].high == 1.0
    p[labels == 1] = p[labels == 0].mean()
    poor = classification_figures(Judged(labels, p, blocks))["accuracy"]
    assert poor.low < best["accuracy"].low
    alone = classification_figures(Judged(labels[:3], p[:3], np.zeros(3, int)))["accuracy"]
    assert (alone.low, alone.high) == pytest.approx((0.025, 0.975))


def test_one_class_alone_has_no_ranking():
    found = classification_figures(Judged(np.zeros(10, int), np.full((10, 2), 0.5), np.arange(10)))
    assert found["roc_auc"] == found["rejection_50"] == Figure(None)
    assert found["accuracy"].value == 1.0


def test_rejecting_all_is_told_from_what_is_undefined():
    labels = np.repeat([0, 1], 50)
    p = np.eye(2)[labels] * 0.8 + 0.1
    found = classification_figures(Judged(labels, p, np.arange(100)), draws=0)["rejection_50"]
    assert (found.value, found.high) == (None, None)
    assert found.low == pytest.approx(1 / (1 - 0.025 ** (1 / 50)))
    p[labels == 0] = p[-1]
    passing = classification_figures(Judged(labels, p, np.arange(100)), draws=0)["rejection_50"]
    assert passing == Figure(1.0)


def test_numbers_that_are_no_probabilities_are_refused():
    with pytest.raises(InputError, match="0 to 1"):
        Judged(np.zeros(2, int), np.full((2, 2), 1.5), np.arange(2))
    with pytest.raises(InputError, match="a row per label"):
        Judged(np.zeros(3, int), np.full((2, 2), 0.5), np.arange(2))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(10, 900), st.integers(2, 40))
def test_curves_hold_the_area(seed, n, ties):
    rng = np.random.default_rng(seed)
    truth = np.append(rng.random(n) < 0.4, [True, False])
    score = np.round((rng.random(n + 2) + 0.3 * truth) * ties) / ties
    found = curves(truth, score)
    x, y = found.false_positive_rate, found.true_positive_rate
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert (np.diff(x) >= 0).all()
    assert (np.diff(y) >= 0).all()
    assert np.trapezoid(y, x) == pytest.approx(reference.roc_auc_score(truth, score), abs=0.01)
    assert found.recall[-1] == 1.0
    assert found.precision[-1] == pytest.approx(truth.mean())


def test_curves_need_both_kinds():
    with pytest.raises(InputError, match="both kinds"):
        curves([True, True], [0.1, 0.2])


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_is_found_again(true):
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (20_000, 2))
    p = softmax(logits, axis=1)
    labels = (rng.random(20_000) < p[:, 1]).astype(int)
    assert fit_temperature(true * logits, labels) == pytest.approx(true, rel=0.05)


def test_classes_that_separate_perfectly_do_not_become_certain():
    labels = np.repeat([0, 1], 100)
    logits = 50.0 * np.stack([1 - 2 * labels, 2 * labels - 1], axis=1)
    temperature = fit_temperature(logits, labels)
    sure = np.exp(log_softmax(logits / temperature, axis=1)).max()
    assert sure == pytest.approx(101 / 102, abs=1e-3)
