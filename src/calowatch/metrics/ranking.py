"""How well a score ranks faulty before healthy: pure functions of labels and scores.

``truth`` is bool, shape (sample,), True for faulty; ``score`` is a real number per sample, larger for more suspicious.
Equal scores are never split: a threshold takes all of them or none.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from calowatch.core.errors import InputError

__all__ = [
    "Decision",
    "average_precision",
    "decide_at",
    "false_positive_rate_at",
    "rejection_at",
    "roc_auc",
    "threshold_at",
]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Cumulative:
    """Faulty and healthy samples at or above each distinct score, the highest score first."""

    thresholds: Floats
    faulty: Floats
    healthy: Floats


def _cumulative(truth: npt.ArrayLike, score: npt.ArrayLike) -> _Cumulative:
    labels, values = np.asarray(truth, np.bool_).ravel(), np.asarray(score, np.float64).ravel()
    if labels.shape != values.shape:
        raise InputError("scores", f"one per label ({labels.size})", str(values.size), "give both per sample")
    if not np.isfinite(values).all() and np.isnan(values).any():
        raise InputError("scores", "numbers", "NaN", "leave out cells without a verdict, and count them")
    if labels.all() or not labels.any():
        raise InputError("labels", "faulty and healthy samples", "one kind only", "add the other kind")
    order = np.argsort(-values, kind="stable")
    labels, values = labels[order], values[order]
    last = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    faulty = np.cumsum(labels)[last].astype(np.float64)
    return _Cumulative(values[last], faulty, last + 1.0 - faulty)


def roc_auc(truth: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Return the area under the ROC curve: the chance that a faulty sample scores above a healthy one, ties half.

    Area by the trapezoidal rule over all thresholds (Fawcett 2006, Pattern Recognition Letters 27, 861). On scores of
    0 and 1 it would be no more than balanced accuracy.

    Raises
    ------
    InputError
        When only one kind of sample is there, or a score is NaN.

    Examples
    --------
    >>> roc_auc([True, True, False, False], [0.9, 0.4, 0.5, 0.1])
    0.75
    """
    found = _cumulative(truth, score)
    x = np.append(0.0, found.healthy / found.healthy[-1])
    y = np.append(0.0, found.faulty / found.faulty[-1])
    return float(np.trapezoid(y, x))


def average_precision(truth: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Return the area under the precision-recall curve, as the sum of precision times the step in recall.

    Without interpolation, which would be too favourable (Davis and Goadrich 2006, ICML, 233). Errors as in `roc_auc`.

    Examples
    --------
    >>> round(average_precision([True, True, False, False], [0.9, 0.4, 0.5, 0.1]), 4)
    0.8333
    """
    found = _cumulative(truth, score)
    precision = found.faulty / (found.faulty + found.healthy)
    return float(precision @ np.diff(found.faulty, prepend=0.0) / found.faulty[-1])


def threshold_at(truth: npt.ArrayLike, score: npt.ArrayLike, capture: float) -> float:
    """Return the highest threshold at which at least a share ``capture`` of the faulty samples is flagged.

    Flagged is what scores at or above it. Errors as in `roc_auc`, and for a capture outside (0, 1].
    """
    return _at_capture(_cumulative(truth, score), capture)[0]


def false_positive_rate_at(truth: npt.ArrayLike, score: npt.ArrayLike, capture: float) -> float:
    """Return the share of healthy samples flagged when at least ``capture`` of the faulty ones are.

    Errors as in `threshold_at`.

    Examples
    --------
    >>> false_positive_rate_at([True, True, False, False], [0.9, 0.4, 0.5, 0.1], 0.99)
    0.5
    """
    return _at_capture(_cumulative(truth, score), capture)[1]


def rejection_at(truth: npt.ArrayLike, score: npt.ArrayLike, efficiency: float) -> float:
    """Return one over the false-positive rate at an efficiency (capture); infinite when no healthy sample is flagged.

    Errors as in `threshold_at`.
    """
    rate = false_positive_rate_at(truth, score, efficiency)
    return 1.0 / rate if rate else float("inf")


def _at_capture(found: _Cumulative, capture: float) -> tuple[float, float]:
    """Return threshold and false-positive rate at a capture."""
    if not 0.0 < capture <= 1.0:
        raise InputError("capture", "a share in (0, 1]", str(capture), "give 0.99 for 99 %")
    # Counted in samples: 0.9 * 10 is a little more than 9 in binary.
    wanted = np.ceil(round(capture * found.faulty[-1], 9))
    at = int(np.searchsorted(found.faulty, wanted))
    return float(found.thresholds[at]), float(found.healthy[at] / found.healthy[-1])


@dataclass(frozen=True)
class Decision:
    """Counts of a decision at a threshold, and what follows from them; NaN where nothing was asked.

    Parameters
    ----------
    true_positives, false_positives, false_negatives, true_negatives
        Samples.
    """

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def precision(self) -> float:
        """Share of the flagged that are faulty."""
        return _share(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """Share of the faulty that are flagged."""
        return _share(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall: 2 TP / (2 TP + FP + FN)."""
        wrong = self.false_positives + self.false_negatives
        return _share(2 * self.true_positives, 2 * self.true_positives + wrong)

    @property
    def false_positive_rate(self) -> float:
        """Share of the healthy that are flagged."""
        return _share(self.false_positives, self.false_positives + self.true_negatives)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def decide_at(truth: npt.ArrayLike, score: npt.ArrayLike, threshold: float) -> Decision:
    """Return what comes of flagging all that scores at or above a threshold that was fixed beforehand.

    Examples
    --------
    >>> decide_at([True, True, False], [0.9, 0.4, 0.5], 0.5).precision
    0.5
    """
    faulty = np.asarray(truth, np.bool_)
    flagged = np.asarray(score, np.float64) >= threshold
    if faulty.shape != flagged.shape:
        raise InputError(
            "scores", f"one per label ({faulty.size})", str(flagged.size), "give both per sample"
        )
    both, either = int((faulty & flagged).sum()), int((faulty | flagged).sum())
    return Decision(both, int(flagged.sum()) - both, int(faulty.sum()) - both, faulty.size - either)
