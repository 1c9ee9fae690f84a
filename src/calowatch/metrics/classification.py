"""What a classifier is worth: figures of labels and probabilities, with intervals that respect blocks.

``labels`` are classes 0 .. classes - 1, shape (sample,); ``probabilities`` (sample, class); ``blocks`` (sample,) says
which samples are alike and must be drawn together: neighbouring lumisections, say.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from calowatch.core.errors import InputError
from calowatch.metrics.calibration import expected_calibration_error
from calowatch.metrics.intervals import bootstrap_blocks, never_surer
from calowatch.metrics.ranking import average_precision, false_positive_rate_at, roc_auc

__all__ = [
    "EFFICIENCIES",
    "Curves",
    "Figure",
    "Judged",
    "as_json",
    "classification_figures",
    "confusion",
    "curves",
    "fit_temperature",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

EFFICIENCIES = (50, 70, 90)
"""Percent of class 1 kept, at which the rejection of class 0 is told."""

_DRAWS = 200
_LEAST = 1e-12


@dataclass(frozen=True)
class Figure:
    """A number with its interval of 95 %; None where there is none (an infinite rejection, nothing to draw from)."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def to_json(self) -> dict[str, float | None]:
        """Return the three numbers by name."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Judged:
    """Samples with what was said of them.

    Parameters
    ----------
    labels, probabilities, blocks
        As the module says.

    Raises
    ------
    InputError
        For lengths that differ, no samples, or numbers that are no probabilities.
    """

    labels: Ints
    probabilities: Floats
    blocks: Ints

    def __post_init__(self) -> None:
        p = np.asarray(self.probabilities)
        sound = p.ndim == 2 and len(p) and len(p) == len(self.labels) == len(self.blocks)
        if not sound or not ((p >= 0) & (p <= 1)).all():
            raise InputError(
                "probabilities",
                "numbers from 0 to 1, a row per label",
                f"shape {p.shape}",
                "give what classify returns",
            )

    @property
    def predicted(self) -> Ints:
        """The likeliest class of each sample."""
        found: Ints = self.probabilities.argmax(axis=1)
        return found

    def some(self, rows: Ints) -> "Judged":
        """Return some of the samples, with repetitions."""
        return Judged(self.labels[rows], self.probabilities[rows], self.blocks[rows])


def _accuracy(judged: Judged) -> float:
    return float((judged.predicted == judged.labels).mean())


def _each_class(judged: Judged, measure: Callable[[Any, Any], float]) -> float:
    """Return a ranking figure of class 1, or the mean of every class against the rest; NaN where a class is missing."""
    classes = judged.probabilities.shape[1]
    positive = [1] if classes == 2 else list(range(classes))
    if len(np.unique(judged.labels)) < classes:
        return float("nan")
    return float(np.mean([measure(judged.labels == c, judged.probabilities[:, c]) for c in positive]))


def _ece(judged: Judged) -> float:
    right = judged.predicted == judged.labels
    return expected_calibration_error(right, np.clip(judged.probabilities.max(axis=1), 0.0, 1.0), 15)


def _log_loss(judged: Judged) -> float:
    said = judged.probabilities[np.arange(len(judged.labels)), judged.labels]
    return float(-np.log(np.maximum(said, _LEAST)).mean())


def _passing(efficiency: int) -> Callable[[Judged], float]:
    def measure(judged: Judged) -> float:
        if len(np.unique(judged.labels)) < 2:
            return float("nan")
        return false_positive_rate_at(judged.labels == 1, judged.probabilities[:, 1], efficiency / 100)

    return measure


def classification_figures(judged: Judged, *, draws: int = _DRAWS, seed: int = 0) -> dict[str, Figure]:
    """Return accuracy, ROC-AUC, PR-AUC, log loss, calibration error and, of two classes, rejections.

    Intervals are bootstrapped over blocks (`calowatch.metrics.intervals.bootstrap_blocks`). Where nothing went wrong
    there is nothing to draw: shares of 0 or 1 then get the exact bound of as many trials as there are blocks, which
    bounds the other shares too (`calowatch.metrics.intervals.never_surer`), and rankings no interval. The calibration
    error has none: drawn anew it only grows. ``rejection_50`` is one over the share of class 0 that passes where half
    of class 1 is kept; where nothing of class 0 passes it has no value, but a lower end, also without draws.

    Parameters
    ----------
    judged
        The samples.
    draws
        Of the bootstrap; 0 for figures without intervals.
    seed
        Of the draws.
    """
    shares: dict[str, Callable[[Judged], float]] = {"accuracy": _accuracy}
    numbers: dict[str, Callable[[Judged], float]] = {
        "roc_auc": lambda each: _each_class(each, roc_auc),
        "pr_auc": lambda each: _each_class(each, average_precision),
        "log_loss": _log_loss,
    }
    found = {name: _share(judged, measure, draws, seed) for name, measure in shares.items()}
    found |= {name: _number(judged, measure, draws, seed) for name, measure in numbers.items()}
    found["ece"] = Figure(_ece(judged))
    if judged.probabilities.shape[1] == 2:
        for efficiency in EFFICIENCIES:
            found[f"rejection_{efficiency}"] = _rejection(judged, efficiency, draws, seed)
    return found


def _rejection(judged: Judged, efficiency: int, draws: int, seed: int) -> Figure:
    """Return one over the share of class 0 that passes; of none its bound, so that it is not taken for undefined."""
    passing = _share(judged, _passing(efficiency), draws, seed, of=0)
    high = passing.high
    if passing.value == 0.0 and high is None:
        high = never_surer(0.0, 0.0, len(np.unique(judged.blocks[judged.labels == 0])))[1]
    return Figure(*map(_inverse, (passing.value, high, passing.low)))


def _inverse(share: float | None) -> float | None:
    return 1.0 / share if share else None


def _number(judged: Judged, measure: Callable[[Judged], float], draws: int, seed: int) -> Figure:
    value = measure(judged)
    if np.isnan(value):
        return Figure(None)
    if not draws or len(np.unique(judged.blocks)) < 2:
        return Figure(value)
    low, high = bootstrap_blocks(
        lambda rows: measure(judged.some(rows)), judged.blocks, draws=draws, seed=seed
    )
    return Figure(value, low, high) if high - low > _LEAST else Figure(value)


def _share(
    judged: Judged, measure: Callable[[Judged], float], draws: int, seed: int, of: int | None = None
) -> Figure:
    """Return a share, of all samples or of those of one class."""
    found = _number(judged, measure, draws, seed)
    if not draws or found.value is None:
        return found
    trials = len(np.unique(judged.blocks if of is None else judged.blocks[judged.labels == of]))
    low = found.value if found.low is None else found.low
    high = found.value if found.high is None else found.high
    return Figure(found.value, *never_surer(low, high, trials))


def confusion(judged: Judged) -> Ints:
    """Return how many samples of each class (row) were taken for each class (column)."""
    classes = judged.probabilities.shape[1]
    return np.bincount(judged.labels * classes + judged.predicted, minlength=classes**2).reshape(
        classes, classes
    )


@dataclass(frozen=True, eq=False)
class Curves:
    """ROC and precision-recall curves of one class, from the highest threshold to the lowest.

    Parameters
    ----------
    false_positive_rate, true_positive_rate
        From (0, 0) to (1, 1).
    recall, precision
        Beginning with the first sample found.
    """

    false_positive_rate: Floats
    true_positive_rate: Floats
    recall: Floats
    precision: Floats


def curves(truth: npt.ArrayLike, score: npt.ArrayLike, points: int = 400) -> Curves:
    """Return the curves of a class, thinned to about ``points`` points; ties are never split.

    Parameters
    ----------
    truth
        bool, shape (sample,).
    score
        Larger for likelier, shape (sample,).
    points
        How many are wanted at most; the first and last are always kept.

    Raises
    ------
    InputError
        When only one kind of sample is there.
    """
    labels, values = np.asarray(truth, np.bool_).ravel(), np.asarray(score, np.float64).ravel()
    if labels.all() or not labels.any():
        raise InputError("labels", "both kinds of samples", "one kind only", "add the other kind")
    order = np.argsort(-values, kind="stable")
    last = np.flatnonzero(np.append(np.diff(values[order]) != 0, True))
    right = np.cumsum(labels[order])[last].astype(np.float64)
    wrong = last + 1.0 - right
    keep = _thinned(right / right[-1], wrong / wrong[-1], points)
    right, wrong = right[keep], wrong[keep]
    return Curves(
        np.append(0.0, wrong / wrong[-1]),
        np.append(0.0, right / right[-1]),
        right / right[-1],
        right / (right + wrong),
    )


def _thinned(x: Floats, y: Floats, points: int) -> Ints:
    """Return positions that lie evenly along a curve, both ends among them."""
    along = np.cumsum(np.hypot(np.diff(x, prepend=0.0), np.diff(y, prepend=0.0)))
    wanted = np.searchsorted(along, np.linspace(along[0], along[-1], points))
    return np.unique(np.clip(np.append(wanted, [0, len(x) - 1]), 0, len(x) - 1))


def fit_temperature(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return what to divide logits by so that probabilities are calibrated (arXiv 1706.04599), between 0.001 and 1000.

    Targets are not 0 and 1 but what one more sample of each kind would leave (Platt 1999, Advances in Large Margin
    Classifiers, 61), so that classes that separate perfectly do not make probabilities of 0 and 1.

    Parameters
    ----------
    logits
        [sample, class].
    labels
        [sample].
    """
    scores, y = np.asarray(logits, np.float64), np.asarray(labels, np.int64)
    n, classes = scores.shape
    held = np.bincount(y, minlength=classes)
    target = np.full((n, classes), 0.0)
    own = (held[y] + 1.0) / (held[y] + classes)
    target += ((1.0 - own) / max(classes - 1, 1))[:, None]
    target[np.arange(n), y] = own

    def loss(log_temperature: float) -> float:
        return float(-(target * log_softmax(scores / np.exp(log_temperature), axis=1)).sum() / n)

    found = minimize_scalar(loss, bounds=(np.log(1e-3), np.log(1e3)), method="bounded")
    return float(np.exp(found.x))


def as_json(figures: Mapping[str, Figure]) -> dict[str, dict[str, float | None]]:
    """Return figures as JSON takes them."""
    return {name: figure.to_json() for name, figure in figures.items()}
