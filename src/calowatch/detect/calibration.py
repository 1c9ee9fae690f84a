"""What healthy data say of a model: thresholds for stated false-alarm rates, and how far its expectation may be off."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.core.errors import InputError
from calowatch.detect.evidence import signed_evidence

__all__ = ["RATES", "Calibration", "Misfit", "Thresholds", "binomial_evidence"]

Floats = npt.NDArray[np.floating[Any]]
Doubles = npt.NDArray[np.float64]

RATES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""False alarms per healthy channel-window for which thresholds are kept."""

_PRIOR = 0.1  # of ln(lambda): what is believed of a channel that the data say nothing about
_FLOOR = 0.003  # of sigma: what may still move between runs


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of one figure, fixed on healthy data; a channel-window above is flagged.

    Parameters
    ----------
    rates
        Asked share of healthy channel-windows above the threshold.
    values
        Thresholds; NaN where the data are too few to tell.
    samples
        Healthy channel-windows behind them.
    above
        How many of these lie above each threshold; a handful says little.

    Examples
    --------
    >>> found = Thresholds.of(np.arange(1000.0), (0.01, 1e-4))
    >>> found.values, found.above
    ((989.0, nan), (10, 0))
    """

    rates: tuple[float, ...]
    values: tuple[float, ...]
    samples: int
    above: tuple[int, ...]

    @classmethod
    def of(cls, scores: Floats, rates: tuple[float, ...] = RATES) -> Self:
        """Return the thresholds of healthy scores of any shape: the least values that no more than a share exceeds."""
        flat = scores.ravel()
        above = tuple(int(rate * flat.size * (1.0 + 1e-12)) for rate in rates)
        most = max(above, default=0) + 1
        top = np.sort(np.partition(flat, flat.size - most)[flat.size - most :])
        values = tuple(float(top[-1 - n]) if n else float("nan") for n in above)
        return cls(tuple(rates), values, int(flat.size), above)

    def at(self, rate: float) -> float:
        """Return the threshold of a rate.

        Raises
        ------
        InputError
            When no threshold was kept for it, or the healthy data were too few for it.
        """
        kept = {told: value for told, value in zip(self.rates, self.values, strict=True) if isfinite(value)}
        for told, value in kept.items():
            if np.isclose(told, rate, rtol=1e-6):
                return value
        raise InputError(
            f"false-alarm rate {rate:g}",
            f"one of {', '.join(f'{told:g}' for told in kept)}",
            f"no threshold ({self.samples} healthy channel-windows)",
            "take a larger rate, or calibrate on more healthy data",
        )


@dataclass(frozen=True, eq=False)
class Calibration:
    """What healthy validation data say of a model.

    Parameters
    ----------
    thresholds
        By figure: ``source_score`` where the model has one, ``binomial``, and what else was asked for.
    channel
        Channel numbers, shape (channel,).
    sigma
        How far ln(lambda) may truly lie from what the model expects, as a standard deviation, shape (channel,); see
        `Misfit`.
    n_windows
        Healthy windows behind it.
    """

    thresholds: Mapping[str, Thresholds]
    channel: npt.NDArray[np.int64]
    sigma: Doubles
    n_windows: int

    def threshold(self, figure: str, rate: float) -> float:
        """Return the threshold of a figure for a rate of false alarms per channel-window; errors as `Thresholds.at`."""
        return self.thresholds[figure].at(rate)


def binomial_evidence(counts: npt.NDArray[Any], n_events: npt.NDArray[Any], p: Floats) -> Doubles:
    """Return abs(signed evidence) of the digis of whole windows, shape [window, channel]; higher is more abnormal.

    Parameters
    ----------
    counts, n_events, p
        [window, time, channel], [window, time], [window, time, channel].
    """
    trials = np.asarray(n_events, np.float64)
    total = trials.sum(axis=1)[:, None]
    expected = np.einsum("wtc,wt->wc", np.asarray(p, np.float64), trials)
    mean = np.clip(expected / np.maximum(total, 1.0), 1e-12, 1.0 - 1e-12)
    return np.abs(np.nan_to_num(signed_evidence(counts.sum(axis=1), total, mean)))


class Misfit:
    """How far a model's expectation lies from healthy channels, beyond counting statistics.

    With r = digis less expected ones, v = sum N p (1 - p) their variance and s = sum N lambda (1 - p) what r gains per
    unit of ln(lambda), all of one window, a channel's bias is b = sum r / sum s, known to sum v / (sum s)^2, and the
    mean of r^2 - v - b^2 s^2 over that of s^2 is the square of its scatter from window to window (moments, after
    DerSimonian and Laird, 1986). Sigma is the root of b^2, the square of what is unknown of b, that of the scatter
    (the median of each ring), and a floor. The bias is not corrected: the expectation stays the model's own.

    Parameters
    ----------
    channel
        Channel numbers, shape (channel,).
    """

    def __init__(self, channel: npt.NDArray[np.int64]) -> None:
        self.channel = channel
        self._sums: Doubles = np.zeros((5, len(channel)))

    def add(self, counts: npt.NDArray[Any], n_events: npt.NDArray[Any], p: Floats) -> None:
        """Take healthy windows into account; shapes as of `binomial_evidence`."""
        trials = np.asarray(n_events, np.float64)[..., None]
        chance = np.asarray(p, np.float64)
        hits = trials * chance
        misses = 1.0 - chance
        away = counts.sum(axis=1) - hits.sum(axis=1)
        variance = (hits * misses).sum(axis=1)
        slope = (trials * -np.log1p(-chance) * misses).sum(axis=1)
        for row, values in enumerate((away, slope, variance, away**2, slope**2)):
            self._sums[row] += values.sum(axis=0)

    def sigma(self) -> Doubles:
        """Return sigma of ln(lambda), shape (channel,); 0.1 and no more where healthy data say nothing."""
        away, slope, variance, squares, slopes = self._sums
        known = slope**2 / np.maximum(variance, 1e-300)
        with np.errstate(invalid="ignore", divide="ignore"):
            bias = np.nan_to_num(away / slope)
            excess = (squares - variance) / slopes - (bias**2 - 1.0 / known)
        bias *= known / (known + _PRIOR**-2)
        ring = self.channel // 1000 * 10 + self.channel % 10
        told = pd.Series(np.where(np.isfinite(excess) & (known > _PRIOR**-2), excess, np.nan))
        scatter = told.groupby(ring).transform("median").fillna(0.0).clip(lower=0.0).to_numpy()
        found: Doubles = np.sqrt(bias**2 + 1.0 / (known + _PRIOR**-2) + scatter + _FLOOR**2)
        return found


def pooled(scores: Iterable[Floats]) -> Floats:
    """Return scores of several pieces as one array of 32-bit numbers."""
    return np.concatenate([np.asarray(part, np.float32).ravel() for part in scores])
