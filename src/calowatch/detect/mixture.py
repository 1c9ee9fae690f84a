"""Evidence of a window that needs no knowledge of the fault: a likelihood ratio mixed over factors.

For a fault that multiplies p by a known factor f the best statistic is L(f p) / L(p) (Neyman and Pearson 1933). Which f
it will be nobody knows, but the average of the ratios over several f is never worse than the right one divided by their
number, and under the expectation its mean is one, so it exceeds x with probability 1 / x at most. Counts are summed
over the window: L depends on hits n, trials N and p as f^n ((1 - f p) / (1 - p))^(N - n).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from calowatch.detect.evidence import signed_evidence

__all__ = ["FACTORS", "WindowSums", "log_mixture", "log_ratio_stack", "unit_mixture", "unit_z", "window_sums"]

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

FACTORS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1.1, 1.2, 1.5, 2.0)
"""What is mixed, with equal weights."""

_LEAST = 1e-3  # stands for factor 0, so that a stray digi does not clear a dead channel
_MISS_LEFT = (
    0.25  # of the misses stay at least where f p reaches 1, so that one miss does not clear a hot channel
)
_EDGE = 1e-9  # p is kept this far from 0 and 1


@dataclass(frozen=True, eq=False)
class WindowSums:
    """Counts of windows, summed over their lumisections.

    Parameters
    ----------
    hits
        Digis, shape (window, channel).
    trials
        Events, shape (window, 1).
    p
        Expected probability, its mean over the window weighted by events, shape (window, channel).
    """

    hits: Floats
    trials: Floats
    p: Floats

    def z(self) -> Floats:
        """Return the signed evidence of `calowatch.detect.evidence`, shape (window, channel)."""
        return signed_evidence(self.hits, self.trials, self.p)


def window_sums(
    counts: npt.NDArray[Any], n_events: npt.NDArray[Any], p: npt.NDArray[Any], min_events: int = 1
) -> WindowSums:
    """Return the sums of windows.

    Parameters
    ----------
    counts
        Shape (window, time, channel).
    n_events
        Shape (window, time).
    p
        Expected probability, shape (window, time, channel).
    min_events
        Lumisections with fewer events tell nothing.

    Examples
    --------
    >>> sums = window_sums(np.full((1, 5, 2), 30), np.full((1, 5), 100), np.full((1, 5, 2), 0.3))
    >>> sums.hits.tolist(), sums.trials.tolist(), sums.p.round(3).tolist()
    ([[150.0, 150.0]], [[500.0]], [[0.3, 0.3]])
    """
    trials = np.where(n_events >= min_events, n_events, 0).astype(np.float64)
    hits = np.einsum("wtc,wt->wc", counts, (trials > 0).astype(np.float64))
    total = trials.sum(axis=1, keepdims=True)
    mean = np.einsum("wtc,wt->wc", p, trials) / np.maximum(total, 1.0)
    return WindowSums(hits, total, np.clip(np.where(total > 0, mean, 0.5), _EDGE, 1.0 - _EDGE))


def log_ratio_stack(sums: WindowSums, factors: tuple[float, ...] = FACTORS) -> Singles:
    """Return ln L(f p) / L(p) of every window and channel, shape (factor, window, channel), in 32 bits.

    Factors saturate: where f p comes near 1 a quarter of the expected misses is left.
    """
    found = np.empty((len(factors), *sums.hits.shape), np.float32)
    misses, log_miss = sums.trials - sums.hits, np.log1p(-sums.p)
    log_p = np.log(sums.p) if max(factors) > 1.0 else log_miss
    most = 1.0 - _MISS_LEFT * (1.0 - sums.p)
    for ratio, factor in zip(found, factors, strict=True):
        changed = max(factor, _LEAST) * sums.p
        if factor > 1.0:
            np.minimum(changed, most, out=changed)
            gain = (np.log(changed) - log_p) * sums.hits
        else:
            gain = np.log(max(factor, _LEAST)) * sums.hits
        np.log1p(np.negative(changed, out=changed), out=changed)
        changed -= log_miss
        changed *= misses
        changed += gain
        ratio[...] = changed
    return found


def log_mixture(ratios: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
    """Return ln of the mean over factors of likelihood ratios, given their logarithms (factor, ...).

    Examples
    --------
    >>> log_mixture(np.log([[1.0], [3.0]])).round(3).tolist()
    [0.693]
    """
    largest = ratios.max(axis=0)
    away = ratios - largest
    np.exp(away, out=away)
    mixed: npt.NDArray[np.floating[Any]] = largest + np.log(away.mean(axis=0))
    return mixed


def unit_mixture(
    ratios: npt.NDArray[np.floating[Any]], incidence: sparse.csr_array
) -> npt.NDArray[np.floating[Any]]:
    """Return the mixture of units whose channels all change by the same factor, shape (window, unit).

    Parameters
    ----------
    ratios
        As `log_ratio_stack` gives them, (factor, window, channel).
    incidence
        Units x channels.
    """
    factors, windows, channels = ratios.shape
    summed = incidence @ ratios.reshape(factors * windows, channels).T
    return log_mixture(summed.reshape(incidence.shape[0], factors, windows).swapaxes(0, 1)).T


def unit_z(z: npt.NDArray[np.floating[Any]], incidence: sparse.csr_array) -> Floats:
    """Return the signed evidence of units: the sum over their channels, over the root of their number."""
    size = np.maximum(np.asarray(incidence.sum(axis=1), np.float64).ravel(), 1.0)
    total: Floats = (incidence @ np.nan_to_num(z).T).T / np.sqrt(size)
    return total
