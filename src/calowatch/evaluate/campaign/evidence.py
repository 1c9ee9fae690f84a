"""From what a model expects to scores of channels and of units: every evidence, on the same weights.

==============  ========================================================================================
source          the published score: absolute error over its training sigma, mean of the window
z               abs(signed evidence) of the window's counts: how improbable they are
mixture         ln of the likelihood ratio mixed over factors
calibrated      the mixture, weakened by how far the model's expectation is off on healthy validation runs
known           with the true p only: the ratio for the cell's own unit, factor and lumisections
==============  ========================================================================================
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from calowatch.detect.mixture import (
    FACTORS,
    WindowSums,
    log_mixture,
    log_ratio_stack,
    unit_mixture,
    unit_z,
    window_sums,
)

__all__ = ["EVIDENCES", "SAID", "Scores", "known_ratio", "scores_of"]

Floats = npt.NDArray[np.float64]
AnyFloats = npt.NDArray[np.floating[Any]]

EVIDENCES = ("source", "z", "mixture", "calibrated", "known")
SAID: Mapping[str, str] = {
    "source": "source score",
    "z": "z",
    "mixture": "mixture",
    "calibrated": "calibrated mixture",
    "known": "all known",
}
"""What tables call them."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of windows by evidence, higher is more abnormal.

    Parameters
    ----------
    channel
        Shape (window, channel).
    signed
        ``z`` with its sign, and the source's score, for sums over units.
    ratios
        ln likelihood ratios (factor, window, channel) of the mixtures.
    """

    channel: Mapping[str, AnyFloats]
    signed: Mapping[str, AnyFloats]
    ratios: Mapping[str, AnyFloats]

    def rows(self, chosen: npt.NDArray[np.bool_]) -> "Scores":
        """Return the scores of some of the windows."""
        return Scores(
            {name: values[chosen] for name, values in self.channel.items()},
            {name: values[chosen] for name, values in self.signed.items()},
            {name: values[:, chosen] for name, values in self.ratios.items()},
        )

    def units(self, evidence: str, incidence: sparse.csr_array) -> AnyFloats:
        """Return the scores of units, (window, unit), by summing over their channels."""
        if evidence in self.ratios:
            return unit_mixture(self.ratios[evidence], incidence)
        return np.abs(unit_z(self.signed[evidence], incidence))


def scores_of(
    windows: tuple[npt.NDArray[np.integer], npt.NDArray[np.int64], npt.NDArray[np.floating]],
    source: npt.NDArray[np.floating] | None,
    sigma: Floats | None,
    min_events: int,
) -> Scores:
    """Return every evidence of windows.

    Parameters
    ----------
    windows
        Counts, events and expected p: (window, time, channel), (window, time), (window, time, channel).
    source
        The published score, (window, channel), where the model has one.
    sigma
        How far ln(lambda) may lie from the expectation, (channel,): makes ``calibrated``.
    min_events
        Lumisections with fewer events tell nothing, but for the published score, which does not know.
    """
    sums = window_sums(*windows, min_events=min_events)
    z = np.nan_to_num(sums.z())
    channel: dict[str, AnyFloats] = {"z": np.abs(z)}
    signed: dict[str, AnyFloats] = {"z": z}
    if source is not None:
        signed["source"] = channel["source"] = np.asarray(source, np.float64)
    ratios: dict[str, AnyFloats] = {"mixture": log_ratio_stack(sums, FACTORS)}
    channel["mixture"] = log_mixture(ratios["mixture"])
    if sigma is not None:
        ratios["calibrated"] = ratios["mixture"] * _trust(sums, sigma).astype(np.float32)
        channel["calibrated"] = log_mixture(ratios["calibrated"])
    return Scores(channel, signed, ratios)


def _trust(sums: WindowSums, sigma: Floats) -> Floats:
    """Return v / (v + s^2 sigma^2), (window, channel): what is left of a log-likelihood ratio for normal errors.

    v = N p (1 - p) is the counting variance and s = N lambda (1 - p) the change of digis per unit of ln(lambda).
    """
    misses = 1.0 - sums.p
    variance = sums.trials * sums.p * misses
    slope = sums.trials * -np.log1p(-sums.p) * misses
    return variance / np.maximum(variance + (slope * sigma) ** 2, 1e-300)


def known_ratio(
    windows: tuple[npt.NDArray[np.integer], npt.NDArray[np.int64], Floats],
    factor: float,
    duration: int,
    min_events: int,
) -> Floats:
    """Return ln L(f p) / L(p) of each lumisection position a fault can have, (position, window, channel).

    Parameters
    ----------
    windows
        Counts, events and true p.
    factor
        The fault's.
    duration
        Lumisections it lasts: shorter than the window, it may stand anywhere in it.
    min_events
        Lumisections with fewer events tell nothing.
    """
    counts, events, p = windows
    length = counts.shape[1]
    size = min(duration, length)
    found = []
    for first in range(length - size + 1):
        part = slice(first, first + size)
        # p' = min(1, f p) as it was injected: a miss there rules the fault out.
        hits, trials = counts[:, part].astype(np.float64), events[:, part, None].astype(np.float64)
        trials = np.where(trials >= min_events, trials, 0.0)
        hits = hits * (trials > 0)
        base = np.clip(p[:, part], 1e-9, 1.0 - 1e-9)
        changed = np.clip(factor * base, 1e-12, 1.0 - 1e-12)
        each = hits * (np.log(changed) - np.log(base)) + (trials - hits) * (
            np.log1p(-changed) - np.log1p(-base)
        )
        found.append(each.sum(axis=1))
    return np.stack(found)
