"""Whether things happen as often as their stated probability says."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from calowatch.core.errors import InputError

__all__ = ["Reliability", "expected_calibration_error", "reliability"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reliability:
    """A reliability diagram as numbers, each of shape (bin,); bins without samples are left out.

    Parameters
    ----------
    stated
        Mean stated probability.
    seen
        Share that happened.
    count
        Samples.
    """

    stated: Floats
    seen: Floats
    count: npt.NDArray[np.int64]


def reliability(
    happened: npt.ArrayLike, stated: npt.ArrayLike, bins: int = 10, *, equal_count: bool = False
) -> Reliability:
    """Return how often things happened that were given a probability (Murphy and Winkler 1977, Appl. Stat. 26, 41).

    Parameters
    ----------
    happened
        bool, shape (sample,).
    stated
        Probabilities, shape (sample,).
    bins
        How many, of equal width from 0 to 1.
    equal_count
        Bins of about equally many samples instead, for probabilities that are mostly small.

    Raises
    ------
    InputError
        For numbers outside 0 to 1, for no samples, or for lengths that differ.
    """
    truth, p = np.asarray(happened, np.float64).ravel(), np.asarray(stated, np.float64).ravel()
    if truth.shape != p.shape or not p.size or bins < 1:
        raise InputError(
            "probabilities", "one per sample, and bins", f"{p.size} for {truth.size}", "pair them"
        )
    if not ((p >= 0) & (p <= 1)).all():
        raise InputError(
            "probabilities", "numbers from 0 to 1", "others", "take the logistic function of logits"
        )
    if equal_count:
        inner = np.unique(np.quantile(p, np.linspace(0, 1, bins + 1)[1:-1]))
    else:
        inner = np.linspace(0, 1, bins + 1)[1:-1]
    place = np.searchsorted(inner, p, side="left")
    count = np.bincount(place, minlength=len(inner) + 1)
    some = count > 0
    sums = [np.bincount(place, weights=each, minlength=len(count))[some] for each in (p, truth)]
    return Reliability(sums[0] / count[some], sums[1] / count[some], count[some].astype(np.int64))


def expected_calibration_error(
    happened: npt.ArrayLike, stated: npt.ArrayLike, bins: int = 10, *, equal_count: bool = False
) -> float:
    """Return the mean distance of stated from seen, weighted by samples (Naeini et al. 2015, AAAI, 2901).

    Parameters and errors as in `reliability`.

    Examples
    --------
    >>> round(expected_calibration_error([True, False, True, True], [0.8, 0.8, 0.8, 0.8]), 3)
    0.05
    """
    found = reliability(happened, stated, bins, equal_count=equal_count)
    return float(np.abs(found.stated - found.seen) @ found.count / found.count.sum())
