"""Ranking figures of many faults against many healthy samples, with bootstrap over blocks at little cost.

Scores are reduced once to counts per block and threshold; each draw of the bootstrap is then a weighted sum of rows.
Thresholds are the scores of the faulty samples, at which alone any figure changes, so that nothing is lost. Beyond
`MOST` distinct ones they are quantiles of them, half of them among the lowest, on which the false-positive rates hang.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from calowatch.core.errors import InputError
from calowatch.metrics.intervals import clopper_pearson

__all__ = ["CAPTURES", "BlockCounts", "Ranking", "block_counts", "rank"]

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

CAPTURES = (0.90, 0.95, 0.99)
"""Shares of the faults to be found, at which false-positive rates are quoted."""

MOST = 1024
_LOWEST = 0.12  # of the faulty samples, among which half of the thresholds lie


@dataclass(frozen=True, eq=False)
class BlockCounts:
    """Samples at or above each threshold, per block.

    Parameters
    ----------
    thresholds
        Increasing, shape (threshold,).
    faulty
        Faulty samples at or above each, shape (block, threshold).
    healthy
        Healthy samples at or above each, shape (block, threshold).
    beaten
        Healthy samples below each, those equal to it counting half.
    sizes
        Faulty and healthy samples of each block, shape (block, 2).
    """

    thresholds: Singles
    faulty: Singles
    healthy: Singles
    beaten: Singles
    sizes: Floats


def block_counts(
    faulty: tuple[npt.ArrayLike, npt.ArrayLike], healthy: npt.NDArray[np.floating], most: int = MOST
) -> BlockCounts:
    """Return the counts that all figures follow from.

    Parameters
    ----------
    faulty
        Scores of the faulty samples, and the block of each: a row of ``healthy``.
    healthy
        Scores of the healthy samples, increasing along each row, shape (block, sample).
    most
        Most thresholds.

    Raises
    ------
    InputError
        Without faulty samples, for NaN, or for rows that do not increase.
    """
    scores, blocks = np.asarray(faulty[0], np.float32), np.asarray(faulty[1], np.int64)
    if not scores.size or not healthy.size or scores.shape != blocks.shape:
        raise InputError(
            "scores", "faulty and healthy samples", f"{scores.size} and {healthy.size}", "add some"
        )
    if np.isnan(scores).any() or np.isnan(healthy).any() or (np.diff(healthy, axis=1) < 0).any():
        raise InputError("scores", "numbers, the healthy ones sorted", "others", "sort each row, without NaN")
    thresholds = np.unique(scores)
    if len(thresholds) > most:
        shares = np.concatenate(
            [np.linspace(0, _LOWEST, most // 2), np.linspace(_LOWEST, 1, most - most // 2)]
        )
        thresholds = np.unique(np.quantile(scores, shares, method="lower"))
    n_blocks, each = healthy.shape
    place = np.searchsorted(thresholds, scores, side="right") - 1
    table = np.bincount(blocks * len(thresholds) + place, minlength=n_blocks * len(thresholds))
    table = table.reshape(n_blocks, -1)[:, ::-1].cumsum(axis=1)[:, ::-1]
    below, not_above = np.empty((2, n_blocks, len(thresholds)), np.float32)
    for row in range(n_blocks):
        below[row] = np.searchsorted(healthy[row], thresholds, side="left")
        not_above[row] = np.searchsorted(healthy[row], thresholds, side="right")
    sizes = np.column_stack([np.bincount(blocks, minlength=n_blocks), np.full(n_blocks, each)])
    beaten = 0.5 * (below + not_above)
    return BlockCounts(thresholds, table.astype(np.float32), each - below, beaten, sizes.astype(np.float64))


@dataclass(frozen=True, eq=False)
class Ranking:
    """How well a score ranks, each figure as (value, lower, upper).

    Parameters
    ----------
    false_positive_rate
        By capture, in the order of `CAPTURES`.
    roc_auc
        The chance that a faulty sample scores above a healthy one.
    average_precision
        Area under the precision-recall curve, at ``prevalence`` faulty samples per healthy one.
    n_faulty, n_healthy
        Samples.
    prevalence
        Faulty samples per healthy one that the precision is for.
    curve
        The ROC curve in some points: false-positive rate, capture.
    """

    false_positive_rate: tuple[tuple[float, float, float], ...]
    roc_auc: tuple[float, float, float]
    average_precision: tuple[float, float, float]
    n_faulty: int
    n_healthy: int
    prevalence: float
    curve: tuple[tuple[float, float], ...]


def _figures(counts: BlockCounts, weights: Floats, prevalence: float) -> Floats:
    """Return all figures for weights of the blocks, (draw, block), as (draw, figure)."""
    drawn = weights.astype(np.float32)
    faulty, healthy, beaten = (
        np.asarray(drawn @ part, np.float64) for part in (counts.faulty, counts.healthy, counts.beaten)
    )
    sizes = np.maximum(weights @ counts.sizes, 1e-300)
    capture, rate = faulty / sizes[:, :1], healthy / sizes[:, 1:]
    found = []
    for asked in CAPTURES:
        # The highest threshold at which enough is captured; capture falls along the thresholds.
        at = np.maximum((capture >= asked - 1e-9).sum(axis=1) - 1, 0)
        found.append(np.take_along_axis(rate, at[:, None], axis=1)[:, 0])
    own = -np.diff(capture, axis=1, append=0.0)
    beaten /= sizes[:, 1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.nan_to_num(capture * prevalence / (capture * prevalence + rate), nan=1.0)
    return np.column_stack([*found, (own * beaten).sum(axis=1), (own * precision).sum(axis=1)])


def rank(
    counts: BlockCounts,
    *,
    prevalence: float | None = None,
    draws: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> Ranking:
    """Return ranking figures with percentile intervals from drawing blocks with replacement.

    The upper edge of a false-positive rate of zero is the exact one of Clopper and Pearson.

    Parameters
    ----------
    counts
        As `block_counts` gives them.
    prevalence
        Faulty samples per healthy one, for the precision; by default as in the counts.
    draws, level, seed
        Of the bootstrap. Without draws the edges are NaN.
    """
    n = len(counts.sizes)
    totals = counts.sizes.sum(axis=0)
    ratio = float(totals[0] / totals[1]) if prevalence is None else prevalence
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n, np.full(n, 1.0 / n), size=draws).astype(np.float64)
    weights = weights[weights @ counts.sizes[:, 0] > 0]
    values = _figures(counts, np.ones((1, n)), ratio)[0]
    tail = (1.0 - level) / 2
    edges = np.full((2, len(values)), np.nan)
    if len(weights):
        edges = np.quantile(_figures(counts, weights, ratio), [tail, 1.0 - tail], axis=0)
    # Where no healthy sample is above, no draw has one either: the exact interval says how little that proves.
    none = values[:3] * totals[1] < 0.5
    edges[1, :3][none] = np.fmax(edges[1, :3], clopper_pearson(0, int(totals[1]), level)[1])[none]
    triples = [(float(v), float(a), float(b)) for v, a, b in zip(values, *edges, strict=True)]
    return Ranking(
        tuple(triples[:3]), triples[3], triples[4], int(totals[0]), int(totals[1]), ratio, _curve(counts)
    )


def _curve(counts: BlockCounts, most: int = 40) -> tuple[tuple[float, float], ...]:
    """Return points of the ROC curve, about evenly spread over the logarithm of the false-positive rate."""
    faulty, healthy = counts.sizes.sum(axis=0)
    capture = counts.faulty.sum(axis=0, dtype=np.float64) / faulty
    rate = counts.healthy.sum(axis=0, dtype=np.float64) / healthy
    place = np.log(np.maximum(rate, 0.5 / healthy))
    steps = np.linspace(place.min(), place.max(), most)
    chosen = np.unique(np.abs(place[:, None] - steps).argmin(axis=0))
    return tuple((float(rate[i]), float(capture[i])) for i in chosen[::-1])
