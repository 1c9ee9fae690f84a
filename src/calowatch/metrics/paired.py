"""How much better one classifier ranks than another on the same samples, by one bootstrap for all of them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from calowatch.core.errors import InputError
from calowatch.metrics.classification import Figure

__all__ = ["PairedAuc", "paired_auc"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PairedAuc:
    """Areas under ROC curves of several classifiers, drawn together.

    Parameters
    ----------
    values
        Of all samples, shape (classifier,).
    draws
        Of samples drawn anew, the same ones for every classifier, shape (draw, classifier).
    level
        Two-sided confidence of intervals.
    """

    values: Floats
    draws: Floats
    level: float = 0.95

    def difference(self, one: int, other: int) -> Figure:
        """Return by how much one is above another, with the percentile interval of the paired difference."""
        value = float(self.values[one] - self.values[other])
        if not len(self.draws):
            return Figure(value)
        tail = (1.0 - self.level) / 2
        low, high = np.quantile(self.draws[:, one] - self.draws[:, other], [tail, 1.0 - tail])
        return Figure(value, float(low), float(high))


def paired_auc(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    blocks: npt.ArrayLike,
    *,
    draws: int = 200,
    seed: int = 0,
) -> PairedAuc:
    """Return ROC-AUC of several classifiers of the same samples, and of the same samples drawn anew.

    Classifiers that see the same images err on the same ones: their difference is surer than each figure, and two
    intervals that overlap say little. So blocks are drawn once for all (Efron and Tibshirani 1993, An Introduction to
    the Bootstrap, section 8.3). Of more than two classes the mean of every class against the rest is taken.

    Parameters
    ----------
    labels
        Classes 0 .. classes - 1, shape (sample,).
    probabilities
        Shape (classifier, sample, class).
    blocks
        Which samples are drawn together, shape (sample,); nothing is drawn from fewer than two.
    draws
        How many; those in which a class is missing are left out.
    seed
        Of the draws.

    Raises
    ------
    InputError
        For lengths that differ, or where a class has no sample.

    Examples
    --------
    >>> labels, score = np.array([0, 0, 1, 1]), np.array([[0.1, 0.4, 0.35, 0.8], [0.1, 0.2, 0.3, 0.4]])
    >>> found = paired_auc(labels, np.stack([1 - score, score], axis=2), np.arange(4))
    >>> found.values.tolist(), found.difference(1, 0).value
    ([0.75, 1.0], 0.25)
    """
    truth, p = np.asarray(labels, np.int64), np.asarray(probabilities, np.float64)
    _, place = np.unique(np.asarray(blocks), return_inverse=True)
    if p.ndim != 3 or p.shape[1] != len(truth) or len(place) != len(truth):
        raise InputError("probabilities", f"a row for each of {len(truth)} labels", str(p.shape), "pair them")
    classes = p.shape[2]
    if len(np.unique(truth)) < classes:
        raise InputError("labels", f"samples of all {classes} classes", "a class without", "add some")
    positive = [1] if classes == 2 else list(range(classes))
    ranks = [[_Order.of(each[:, c]) for c in positive] for each in p]
    right = [truth == c for c in positive]

    def areas(weights: Floats) -> Floats:
        return np.array(
            [
                np.mean([order.auc(one, weights) for order, one in zip(each, right, strict=True)])
                for each in ranks
            ]
        )

    rng, n = np.random.default_rng(seed), int(place.max()) + 1
    found = []
    for _ in range(draws if n > 1 else 0):
        weights = np.bincount(rng.integers(n, size=n), minlength=n).astype(np.float64)[place]
        if np.bincount(truth, weights, classes).all():
            found.append(areas(weights))
    return PairedAuc(areas(np.ones(len(truth))), np.array(found).reshape(-1, len(p)))


@dataclass(frozen=True, eq=False)
class _Order:
    """Samples from the lowest score to the highest, and where each distinct score begins."""

    order: Ints
    begins: Ints

    @classmethod
    def of(cls, score: Floats) -> "_Order":
        order = np.argsort(score, kind="stable")
        return cls(order, np.flatnonzero(np.append(True, np.diff(score[order]) != 0)))

    def auc(self, truth: npt.NDArray[np.bool_], weights: Floats) -> float:
        """Return the weighted chance that a true sample scores above another, ties half."""
        own = np.add.reduceat((weights * truth)[self.order], self.begins)
        rest = np.add.reduceat((weights * ~truth)[self.order], self.begins)
        below = np.cumsum(rest) - 0.5 * rest
        return float(own @ below / (own.sum() * rest.sum()))
