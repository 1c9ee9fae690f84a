"""Numbers of image sets: statistics, mean maps, hit frequency, value distribution."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
import numpy.typing as npt

from calowatch.core.progress import SILENT, Progress
from calowatch.io.images import ImageSet
from calowatch.present.explore_given import ImageNumbers

__all__ = ["SAMPLES", "image_numbers"]

Floats = npt.NDArray[np.float64]

SAMPLES = 4
BINS = 80


@dataclass(frozen=True, eq=False)
class _Sums:
    """One pass over a set; shapes (64, 72) per cell, (n,) per image, (k,) for the values that are not zero."""

    total: Floats
    filled: npt.NDArray[np.int64]
    sparsity: Floats
    level: Floats
    nonzero: Floats


def image_numbers(
    sets: Sequence[ImageSet], progress: Progress = SILENT
) -> tuple[tuple[ImageNumbers, ...], Floats]:
    """Return the numbers of each set, and the edges of the value distributions that they share.

    Parameters
    ----------
    sets
        One per class.
    progress
        Told of each set.
    """
    sums = [_sums(each) for each in progress.track(sets, "reading images", len(sets))]
    top = max((float(each.nonzero.max(initial=0.0)) for each in sums), default=0.0)
    edges = np.linspace(0.0, top if top > 0 else 1.0, BINS + 1)
    return tuple(_numbers(each, summed, edges) for each, summed in zip(sets, sums, strict=True)), edges


def _sums(images: ImageSet) -> _Sums:
    cells = images.images.shape[1:]
    total, filled = np.zeros(cells), np.zeros(cells, np.int64)
    sparsity, level, nonzero = [], [], []
    for block in images.blocks():
        hit = block != 0
        total += block.sum(axis=0)
        filled += hit.sum(axis=0)
        sparsity.append(1.0 - hit.mean(axis=(1, 2)))
        level.append(block.mean(axis=(1, 2)))
        nonzero.append(block[hit])
    return _Sums(
        total, filled, np.concatenate(sparsity), np.concatenate(level), np.sort(np.concatenate(nonzero))
    )


def _numbers(images: ImageSet, sums: _Sums, edges: Floats) -> ImageNumbers:
    n = len(images)
    numbers = np.unique(np.linspace(0, n - 1, min(SAMPLES, n)).round().astype(int))
    return ImageNumbers(
        label=images.label,
        run=images.run,
        source=PurePath(images.source).name,
        n=n,
        statistics=_statistics(sums, n),
        mean=sums.total / n,
        frequency=sums.filled / n,
        sparsity=sums.sparsity,
        level=sums.level,
        samples=np.asarray(images.images[numbers], np.float64),
        sample_numbers=tuple(int(number) for number in numbers),
        distribution=np.histogram(sums.nonzero, edges)[0] / n,
    )


def _statistics(sums: _Sums, n: int) -> dict[str, float]:
    """Return the table of statistics; all of it exact, from the sorted values that are not zero and how many are."""
    values, size = sums.nonzero, n * sums.total.size
    zeros = size - values.size
    mean = float(values.sum() / size)
    squares = float(((values - mean) ** 2).sum()) + zeros * mean**2
    ends = (values[0], values[-1]) if values.size else (0.0, 0.0)
    some = values if values.size else np.zeros(1)
    return {
        "min": float(ends[0]) if not zeros else 0.0,
        "max": float(ends[1]),
        "mean": mean,
        "median": (_ranked(values, zeros, (size - 1) // 2) + _ranked(values, zeros, size // 2)) / 2.0,
        "std": float(np.sqrt(squares / size)),
        "zero_fraction": zeros / size,
        "nonzero_min": float(some[0]),
        "nonzero_mean": float(some.mean()),
        "nonzero_median": float(np.median(some)),
        "nonzero_std": float(some.std()),
        "sparsity_min": float(sums.sparsity.min()),
        "sparsity_mean": float(sums.sparsity.mean()),
        "sparsity_max": float(sums.sparsity.max()),
        "sparsity_std": float(sums.sparsity.std()),
        "always_zero": int((sums.filled == 0).sum()),
        "always_filled": int((sums.filled == n).sum()),
    }


def _ranked(values: Floats, zeros: int, rank: int) -> float:
    """Return the value at a rank of all values in order, zeros (of which none is below) first."""
    return 0.0 if rank < zeros else float(values[rank - zeros])
