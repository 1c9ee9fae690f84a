"""Phi rings, and how bright each ring is in each lumisection whatever its failing channels do.

A ring is all channels of one subdetector, ieta, depth and photodetector technology. Beams are round, so its channels
see the same physics; luminosity, pile-up and trigger prescales move them together. With lambda = -ln(1 - p) hits per
event, the model of the whole package is ``lambda[ls, channel] = rate[ls, ring] * response[channel]``.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = [
    "MAX_RATE",
    "MIN_RATE",
    "Rings",
    "probability",
    "ring_log_rates",
    "ring_probability",
    "rings_of",
    "window_log_rates",
]

Floats = npt.NDArray[np.float64]

MIN_RATE, MAX_RATE = 1e-7, 16.0
"""Bounds of lambda: they keep p away from 0 and 1, where no count could ever be evidence."""

_BLOCK = 10  # lumisections summed before channels are compared with their ring
_CHUNK = 4  # lumisections worked on at once: what fits the processor's cache
_MISFIT = 2.5  # chi-squared of a ring, over its usual one, from which a lumisection is looked at by itself
_PRIOR_WIDTH = (
    1.0  # of ln(rate) around its start; matters only where a ring tells next to nothing (HF, p = 1)
)


@dataclass(frozen=True)
class Rings:
    """Channels grouped by ring.

    Parameters
    ----------
    group
        Ring of each channel, shape (channel,).
    order, starts
        A permutation that brings the channels of a ring together, and where each ring starts in it.
    """

    group: npt.NDArray[np.int64]
    order: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]

    @cached_property
    def in_order(self) -> bool:
        """Whether the channels of every ring lie together already, as in the channel tables."""
        return bool((np.diff(self.order) == 1).all())

    @property
    def size(self) -> int:
        """Number of rings."""
        return len(self.starts)

    def sum(self, values: npt.NDArray[np.generic]) -> Floats:
        """Return sums over rings: (..., channel) to (..., ring)."""
        ordered = values if self.in_order else values[..., self.order]
        total: Floats = np.add.reduceat(ordered, self.starts, axis=-1)
        return total

    def median(self, values: Floats) -> Floats:
        """Return medians over the finite values of each ring, NaN where there are none."""
        table = pd.DataFrame(np.atleast_2d(values).T).groupby(self.group).median()
        found: Floats = table.to_numpy(np.float64).T
        return found if values.ndim > 1 else found[0]

    def spread(self, values: Floats) -> Floats:
        """Return robust standard deviations per ring: 1.4826 times the median absolute deviation."""
        deviations = np.abs(values - self.median(values)[..., self.group])
        return 1.4826 * self.median(deviations)


def rings_of(channels: pd.DataFrame) -> Rings:
    """Return the rings of a channel table.

    Parameters
    ----------
    channels
        With columns subdet, ieta, depth and technology, one row per channel.

    Examples
    --------
    >>> from calowatch.detector.table import channel_table
    >>> rings_of(channel_table("run3")).size
    408
    """
    keys = [channels[name] for name in ("subdet", "ieta", "depth", "technology")]
    group = np.asarray(channels.groupby(keys, sort=False).ngroup(), np.int64)
    order = np.asarray(np.argsort(group, kind="stable"), np.int64)
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    return Rings(group, order, np.asarray(starts, np.int64))


def probability(log_rate: Floats) -> Floats:
    """Return p = 1 - exp(-lambda), with lambda kept between `MIN_RATE` and `MAX_RATE`."""
    p: Floats = 1.0 - np.exp(-np.clip(np.exp(log_rate), MIN_RATE, MAX_RATE))
    return p


def ring_probability(log_rate: Floats, response: Floats, rings: Rings) -> Floats:
    """Return p of every channel, (row, channel), from ln(rate) per ring, (row, ring), and the response (channel,)."""
    rate = np.take(np.exp(log_rate), rings.group, axis=-1)
    rate *= response
    np.clip(rate, MIN_RATE, MAX_RATE, out=rate)
    np.negative(rate, out=rate)
    np.exp(rate, out=rate)
    p: Floats = np.subtract(1.0, rate, out=rate)
    return p


def empirical_log_rate(hits: npt.ArrayLike, trials: npt.ArrayLike) -> Floats:
    """Return ln(-ln(1 - hits / trials)), drawn in by half a hit at both ends so that it is always finite."""
    share = (np.asarray(hits, np.float64) + 0.5) / (np.asarray(trials, np.float64) + 1.0)
    result: Floats = np.log(-np.log1p(-share))
    return result


def _newton_steps(
    counts: npt.NDArray[Any], trials: Floats, log_response: Floats, rings: Rings, start: Floats, steps: int
) -> Floats:
    """Return ln(rate) per ring (row, ring) that maximises the binomial likelihood, starting from ``start``.

    The score in ln(lambda) is (n - N p) lambda / p and its information N lambda^2 (1 - p) / p. Channels with zero
    trials do not take part. A wide normal prior around ``start`` keeps rings that tell nothing where they are.
    """
    log_rate, response = start.copy(), np.exp(log_response)
    for _ in range(steps):
        rate = np.take(np.exp(log_rate), rings.group, axis=-1)
        rate *= response
        np.clip(rate, MIN_RATE, MAX_RATE, out=rate)
        miss = np.exp(-rate)
        hit = 1.0 - miss
        rate /= hit  # from here on lambda / p
        information = trials * miss
        information *= rate * rate
        information *= hit
        hit *= trials
        score = (counts - hit) * rate
        pull = rings.sum(score) - (log_rate - start) / _PRIOR_WIDTH**2
        log_rate += np.clip(pull / (rings.sum(information) + 1.0 / _PRIOR_WIDTH**2), -1.0, 1.0)
    return log_rate


def _misfit(
    counts: npt.NDArray[Any], trials: Floats, log_response: Floats, rings: Rings, log_rate: Floats
) -> Floats:
    """Return chi-squared per channel of every row and ring, shape (row, ring); about one where all is well."""
    p = ring_probability(log_rate, np.exp(log_response), rings)
    expected = trials * p
    away = counts - expected
    away *= away
    away /= expected * (1.0 - p) + 1.0
    return rings.sum(away) / np.maximum(rings.sum((trials > 0).astype(np.float64)), 1.0)


def _start(counts: npt.NDArray[Any], trials: Floats, rings: Rings) -> Floats:
    """Return a first ln(rate) per row and ring from the share of hits."""
    return empirical_log_rate(rings.sum(counts), rings.sum(trials))


def _kept(
    counts: npt.NDArray[Any], trials: Floats, log_response: Floats, rings: Rings
) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Return which (block, channel) follow their ring, and ln(rate) per block and ring.

    A channel is left out of its ring's rate where it lies more than 4 robust standard deviations from the ring's
    median: then neither a dead RBX (4 of 72 channels) nor a hot card drags its ring.
    """
    weights = trials.copy()
    kept = weights > 0
    log_rate = _newton_steps(counts * kept, weights, log_response, rings, _start(counts, weights, rings), 3)
    for _ in range(2):
        p = ring_probability(log_rate, np.exp(log_response), rings)
        with np.errstate(divide="ignore", invalid="ignore"):
            pull = (counts - trials * p) / np.sqrt(trials * p * (1.0 - p) + 1.0)
        pull[trials <= 0] = np.nan
        centred = np.abs(pull - rings.median(pull)[:, rings.group])
        scale = np.maximum(rings.spread(pull), 1.0)[:, rings.group]
        kept = (centred <= 4.0 * scale) & (trials > 0)
        weights = trials * kept
        log_rate = _newton_steps(counts * kept, weights, log_response, rings, log_rate, 2)
    return kept, log_rate


def ring_log_rates(
    counts: npt.NDArray[np.integer[Any]],
    trials: Floats,
    log_response: Floats,
    rings: Rings,
) -> Floats:
    """Return ln(rate) of every ring in every lumisection, robust against failing channels.

    Parameters
    ----------
    counts
        Digis, shape (ls, channel).
    trials
        Events, shape (ls,).
    log_response
        ln(response), shape (channel,); NaN for channels that must not take part.
    rings
        The rings of the channels.

    Returns
    -------
    Shape (ls, ring).
    """
    return _log_rates(counts, trials, (log_response, rings), _BLOCK, apart=False)


def window_log_rates(
    counts: npt.NDArray[np.integer[Any]],
    trials: Floats,
    log_response: Floats,
    rings: Rings,
) -> Floats:
    """Return ln(rate) of every ring in every lumisection of windows, each window by itself.

    Parameters
    ----------
    counts
        Digis, shape (window, time, channel).
    trials
        Events, shape (window, time).
    log_response, rings
        As for `ring_log_rates`.

    Returns
    -------
    Shape (window, time, ring).
    """
    windows, time, n = counts.shape
    found = _log_rates(counts.reshape(-1, n), trials.ravel(), (log_response, rings), time, apart=True)
    return found.reshape(windows, time, -1)


def _log_rates(
    counts: npt.NDArray[np.integer[Any]],
    trials: Floats,
    channels: tuple[Floats, Rings],
    block: int,
    *,
    apart: bool,
) -> Floats:
    """Return ln(rate) (ls, ring); ``apart`` where blocks of lumisections know nothing of each other."""
    log_response, rings = channels
    usable = np.isfinite(log_response)
    response = np.where(usable, log_response, 0.0)
    edges = np.arange(0, len(trials), block)
    block_counts = np.add.reduceat(counts, edges, axis=0, dtype=np.float64)
    block_trials = np.add.reduceat(trials, edges)[:, None] * usable
    kept, block_rates = _kept(block_counts, block_trials, response, rings)
    place = np.arange(len(trials)) // block
    rates, misfit = np.empty((2, len(trials), rings.size))
    for first in range(0, len(trials), _CHUNK):
        part = slice(first, first + _CHUNK)
        weights = kept[place[part]]
        seen, events = counts[part] * weights, trials[part, None] * weights
        rates[part] = _newton_steps(seen, events, response, rings, block_rates[place[part]], 2)
        misfit[part] = _misfit(seen, events, response, rings, rates[part])
    # A failure that begins or ends within a block, or a burst, shows in single lumisections only.
    if apart:
        usual = np.repeat(np.median(misfit.reshape(-1, block, rings.size), axis=1), block, axis=0)
    else:
        usual = np.median(misfit, axis=0)
    alone = np.flatnonzero((misfit > _MISFIT * np.maximum(usual, 1.0)).any(axis=1))
    for first in range(0, len(alone), 8 * _CHUNK):
        rows = alone[first : first + 8 * _CHUNK]
        weights = kept[place[rows]]
        rates[rows] = _kept(counts[rows] * weights, trials[rows, None] * weights, response, rings)[1]
    return rates
