"""Confidence intervals: of shares, and by bootstrap of anything that is measured on blocks."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

from calowatch.core.errors import InputError

__all__ = ["bootstrap_blocks", "clopper_pearson", "never_surer", "wilson"]

Ints = npt.NDArray[np.int64]


def _check(found: int, of: int, level: float) -> None:
    if not 0 <= found <= of or of < 1:
        raise InputError("share", "0 <= found <= of, of >= 1", f"{found} of {of}", "count again")
    _check_level(level)


def _check_level(level: float) -> None:
    if not 0.0 < level < 1.0:
        raise InputError("level", "a probability between 0 and 1", str(level), "give 0.95 for 95 %")


def wilson(found: int, of: int, level: float = 0.95) -> tuple[float, float]:
    """Return the score interval of a share (Wilson 1927, J. Am. Stat. Assoc. 22, 209): right on average.

    Parameters
    ----------
    found, of
        Successes and trials.
    level
        Two-sided confidence.

    Examples
    --------
    >>> [round(edge, 4) for edge in wilson(8, 10)]
    [0.4902, 0.9433]
    """
    _check(found, of, level)
    z = float(special.ndtri(0.5 + level / 2))
    centre = (found + z * z / 2) / (of + z * z)
    half = z / (of + z * z) * np.sqrt(found * (of - found) / of + z * z / 4)
    # Exact at the ends, where rounding would leave a hair.
    return (0.0 if found == 0 else float(centre - half)), (1.0 if found == of else float(centre + half))


def clopper_pearson(found: int, of: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a share (Clopper and Pearson 1934, Biometrika 26, 404): never too short.

    Parameters as in `wilson`.

    Examples
    --------
    >>> [round(edge, 4) for edge in clopper_pearson(0, 10)]
    [0.0, 0.3085]
    """
    _check(found, of, level)
    tail = (1.0 - level) / 2
    low = special.betaincinv(found, of - found + 1, tail) if found else 0.0
    high = special.betaincinv(found + 1, of - found, 1.0 - tail) if found < of else 1.0
    return float(low), float(high)


def never_surer(low: float, high: float, blocks: int, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of a share over blocks, made no surer than a perfect one would be.

    Where nothing went wrong a bootstrap has nothing to draw, and the exact interval of as many trials as there are
    blocks says how little that proves. Where a little went wrong, the bootstrap alone would be narrower than that: the
    worse would look surer. So the lower end is never above that of ``blocks`` of ``blocks``, the upper never below that
    of none.

    Parameters
    ----------
    low, high
        Of the bootstrap; the share itself, twice, where nothing was drawn.
    blocks
        Independent blocks that the share is of.
    level
        Two-sided confidence.

    Examples
    --------
    >>> [round(edge, 4) for edge in never_surer(0.9992, 1.0, 8)], never_surer(0.45, 0.57, 8)
    ([0.6306, 1.0], (0.45, 0.57))
    """
    return min(low, clopper_pearson(blocks, blocks, level)[0]), max(
        high, clopper_pearson(0, blocks, level)[1]
    )


def bootstrap_blocks(
    statistic: Callable[[Ints], float],
    blocks: Sequence[object] | npt.NDArray[np.generic],
    *,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile interval of a statistic, drawing whole blocks with replacement.

    Samples of a block (the channels of a lumisection, the lumisections of a run) are not independent; drawing them one
    by one would give intervals too short (Efron and Tibshirani 1993, An Introduction to the Bootstrap, sections 8.6 and
    13.3). With fewer than about ten blocks the interval is too short all the same.

    Parameters
    ----------
    statistic
        Takes positions of samples, with repetitions, int64; returns a number. NaN (a draw without faults, say) is left
        out.
    blocks
        Which block each sample is in, shape (sample,).
    level
        Two-sided confidence.
    draws
        How many.
    seed
        Of the draws.

    Raises
    ------
    InputError
        For fewer than two blocks, or when no draw gave a number.
    """
    _check_level(level)
    _, place = np.unique(np.asarray(blocks), return_inverse=True)
    order = np.argsort(place, kind="stable")
    sizes = np.bincount(place)
    if len(sizes) < 2:
        raise InputError("blocks", "at least two", str(len(sizes)), "divide the samples into more blocks")
    rng, begins = np.random.default_rng(seed), np.cumsum(sizes) - sizes

    def rows() -> Ints:
        """Return the samples of blocks drawn, block after block, without a loop over blocks."""
        drawn = rng.integers(len(sizes), size=len(sizes))
        length = sizes[drawn]
        shift = np.repeat(begins[drawn] - (np.cumsum(length) - length), length)
        return order[shift + np.arange(len(shift))]

    found = np.array([statistic(rows()) for _ in range(draws)])
    found = found[~np.isnan(found)]
    if not found.size:
        raise InputError("statistic", "a number in some draw", "NaN in all", "use larger blocks")
    low, high = np.quantile(found, [(1.0 - level) / 2, (1.0 + level) / 2])
    return float(low), float(high)
