"""Signed evidence: how far a count of digis lies from its expectation, on the scale of a standard normal.

Negative means fewer digis than expected, positive more. Under the expectation the evidence is standard normal.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import special

__all__ = ["EXACT_BELOW", "evidence", "signed_evidence"]

Floats = npt.NDArray[np.float64]

EXACT_BELOW = 10.0
"""Where fewer hits or fewer misses than this are expected, the binomial tail is summed exactly."""

_LN2 = float(np.log(2.0))
_ROWS = 4  # lumisections worked on at once


def signed_evidence(hits: npt.ArrayLike, trials: npt.ArrayLike, p: npt.ArrayLike) -> Floats:
    """Return the signed evidence of binomial counts, an array of the common shape of the arguments.

    It is the normal quantile of the mid-p value: exact where fewer than `EXACT_BELOW` hits or misses are expected,
    or where the count is 0 or all trials; elsewhere the modified signed root of the deviance, within
    2.5 % of the exact one.

    Parameters
    ----------
    hits
        Counted digis.
    trials
        Events; where zero, the evidence is NaN.
    p
        Expected probability of a digi per event, strictly between 0 and 1.

    Notes
    -----
    r* = r + ln(v / r) / r with r the signed root of the deviance and v = (logit x - logit p) sqrt(N x (1 - x)),
    x = hits / trials: Barndorff-Nielsen (1986), in the form of Davison, Statistical Models (2003), section 12.3.

    Examples
    --------
    >>> signed_evidence([300, 240, 0], 1000, 0.3).round(2)
    array([  0.  ,  -4.22, -26.58])
    """
    n, big, p = np.broadcast_arrays(
        np.asarray(hits, np.float64), np.asarray(trials, np.float64), np.asarray(p, np.float64)
    )
    shape = n.shape
    n, big, p = n.ravel(), big.ravel(), p.ravel()
    z = np.full(n.size, np.nan)
    inside = np.flatnonzero((n > 0) & (n < big))
    none, every = np.flatnonzero((n <= 0) & (big > 0)), np.flatnonzero((n >= big) & (big > 0))
    z[none] = special.ndtri_exp(np.minimum(big[none] * np.log1p(-p[none]) - _LN2, 0.0))
    z[every] = -special.ndtri_exp(np.minimum(big[every] * np.log(p[every]) - _LN2, 0.0))
    n, big, p = n.take(inside), big.take(inside), p.take(inside)
    root = _signed_root(n, big, p)
    few = np.flatnonzero(big * np.minimum(p, 1.0 - p) < EXACT_BELOW)
    root[few] = _exact(n[few], big[few], p[few], root[few])
    z[inside] = root
    return z.reshape(shape)


def _signed_root(n: Floats, big: Floats, p: Floats) -> Floats:
    """Return Barndorff-Nielsen's r*; near the expectation, where it is 0 / 0, its limit."""
    expected, misses = big * p, big - n
    away = n - expected
    log_hit, log_miss = np.log(n / expected), np.log(misses / (big - expected))
    r = np.copysign(np.sqrt(np.maximum(2.0 * (n * log_hit + misses * log_miss), 0.0)), away)
    log_hit -= log_miss
    log_hit *= np.sqrt(n * misses / big)
    width = np.sqrt(expected * (1.0 - p))
    away /= width
    near = np.abs(away) < 1e-2
    r[near] = log_hit[near] = 1.0
    limit = away + (1.0 - 2.0 * p) / (6.0 * width)  # of the skewness, after Cornish and Fisher
    return np.where(near, limit, r + np.log(log_hit / r) / r)


def _exact(n: Floats, big: Floats, p: Floats, otherwise: Floats) -> Floats:
    """Return the normal quantile of the exact mid-p value."""
    whole, deficit = big.astype(np.int64), n < big * p
    tail = np.empty_like(n)
    for side, rows in ((special.bdtr, deficit), (special.bdtrc, ~deficit)):
        at, trials, chance = n[rows], whole[rows], p[rows]
        tail[rows] = 0.5 * (side(at, trials, chance) + side(at - 1, trials, chance))
    with np.errstate(divide="ignore"):
        z = np.where(deficit, 1.0, -1.0) * special.ndtri_exp(np.log(tail))
    return np.where(np.isfinite(z), z, otherwise)  # beyond 1e-300 the signed root still knows how far


def _window_sums(values: Floats, window: int) -> Floats:
    """Return sums over the ``window`` rows that end at each row; fewer rows at the start."""
    total = np.cumsum(values, axis=0)
    total[window:] -= total[:-window].copy()
    return total


def evidence(
    occupancy: xr.Dataset,
    expectation: xr.Dataset,
    usable: npt.NDArray[np.bool_],
    window: int = 5,
) -> xr.Dataset:
    """Return the signed evidence of every channel and lumisection.

    Parameters
    ----------
    occupancy, expectation
        The run and what was expected of it, as in `calowatch.core.schema`, with ``n_trials`` (ls,).
    usable
        Which lumisections have enough events for a verdict, shape (ls,).
    window
        Lumisections, ending at each one, over which counts are summed for ``z_window``.

    Returns
    -------
    Dataset with ``z`` and ``z_window``, both (ls, channel) float32, NaN in lumisections without verdict; unusable
    lumisections add nothing to a window.
    """
    counts = occupancy["counts"].to_numpy()
    trials = np.where(usable, expectation["n_trials"].to_numpy(), 0.0)
    p = expectation["p"].to_numpy()
    z, summed = np.empty(counts.shape, np.float32), np.empty(counts.shape, np.float32)
    n_window = _window_sums(trials, window)
    for first in range(0, len(trials), _ROWS):
        part = slice(first, first + _ROWS)
        z[part] = signed_evidence(counts[part], trials[part, None], p[part])
        before = max(first - window + 1, 0)
        rows = slice(before, first + _ROWS)
        skip = first - before
        hits = _window_sums(counts[rows] * usable[rows, None].astype(np.float64), window)[skip:]
        expected = _window_sums(trials[rows, None] * p[rows], window)[skip:]
        many = n_window[part, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(many > 0, expected / many, 0.5)
        summed[part] = signed_evidence(hits, many, np.clip(mean, 1e-12, 1.0 - 1e-12))
    summed[~usable] = np.nan
    data: dict[str, Any] = {"z": (("ls", "channel"), z), "z_window": (("ls", "channel"), summed)}
    return xr.Dataset(data, expectation.coords, {"window": window, **expectation.attrs})
