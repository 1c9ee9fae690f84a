"""Whether a map tells the truth: deleting and inserting cells in its order, and what random weights make of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from calowatch.bundle.classifier import ClassifierBundle, classify
from calowatch.evaluate.explain_maps import MapSettings, ToExplain, explain_images, randomised
from calowatch.metrics.intervals import bootstrap_blocks

__all__ = [
    "Curves",
    "Faith",
    "faithfulness",
    "map_correlation",
    "orders_beside",
    "probability_curves",
    "randomisation_check",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_DRAWS = 500


@dataclass(frozen=True, eq=False)
class Curves:
    """Probability of the explained class while cells go, or come.

    Parameters
    ----------
    share
        Of the cells changed, shape (step,), from 0 to 1.
    deletion, insertion
        Probability, [image, step].
    """

    share: Floats
    deletion: Floats
    insertion: Floats

    def areas(self) -> Mapping[str, Floats]:
        """Return areas per image: ``deletion`` (small is faithful), ``insertion`` (large), ``score`` (difference)."""
        low: Floats = np.asarray(np.trapezoid(self.deletion, self.share, axis=1))
        high: Floats = np.asarray(np.trapezoid(self.insertion, self.share, axis=1))
        return {"deletion": low, "insertion": high, "score": high - low}


@dataclass(frozen=True, eq=False)
class Faith:
    """What faithfulness is measured with.

    Parameters
    ----------
    given
        The images.
    cells
        Which cells take part, [image, row, column]: those that can hold anything.
    baseline
        What is put where a cell is deleted, [channel, row, column], as read.
    blocks
        Which images are not independent of each other, [image].
    steps
        Of a curve.
    seed
        Of random order, of ties, of intervals, of random weights.
    """

    given: ToExplain
    cells: Mask
    baseline: npt.NDArray[Any]
    blocks: Ints
    steps: int = 20
    seed: int = 0


def probability_curves(bundle: ClassifierBundle, maps: Floats, faith: Faith) -> Curves:
    """Return deletion and insertion curves (arXiv 1806.07421) in the order of maps, largest first.

    Cells that are equal, such as those of one patch, follow in random order; cells that are not seen come last.

    Parameters
    ----------
    bundle
        The classifier, asked by `calowatch.bundle.classifier.classify`.
    maps
        [image, row, column].
    faith
        Images, cells, baseline.
    """
    rank, count = _ranks(maps, faith)
    images, beside = np.asarray(faith.given.images, np.float32), np.asarray(faith.baseline, np.float32)
    share = np.linspace(0.0, 1.0, faith.steps + 1)
    own = np.arange(len(images)), faith.given.target
    deletion: list[Floats] = []
    insertion: list[Floats] = []
    for part in share:
        first = (rank < np.rint(part * count)[:, None, None])[:, None]
        inside = faith.cells[:, None]
        for change, found in ((first & inside, deletion), (~first & inside, insertion)):
            p = classify(bundle, np.where(change, beside, images), faith.given.scalars, "float32")
            found.append(p[own].astype(np.float64))
    return Curves(share, np.stack(deletion, axis=1), np.stack(insertion, axis=1))


def _ranks(maps: Floats, faith: Faith) -> tuple[Ints, Ints]:
    """Return the place of each cell in the order of its image, and how many cells take part."""
    rng = np.random.default_rng(faith.seed)
    n = len(maps)
    worth = np.where(np.isnan(maps), -np.inf, maps).reshape(n, -1)
    out = ~faith.cells.reshape(n, -1)
    order = np.stack(
        [np.lexsort((rng.random(worth.shape[1]), -w, o)) for w, o in zip(worth, out, strict=True)]
    )
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(worth.shape[1])[None], axis=1)
    return rank.reshape(maps.shape), faith.cells.sum(axis=(1, 2))


def orders_beside(faith: Faith) -> Mapping[str, Floats]:
    """Return orders that know nothing of the classifier, as maps: ``random``, and ``size`` (value of the cell)."""
    rng = np.random.default_rng([faith.seed, 1])
    size = np.abs(np.asarray(faith.given.images, np.float64)).sum(axis=1)
    return {"random": rng.random(size.shape), "size": size}


def map_correlation(maps: Floats, others: Floats, cells: Mask) -> Floats:
    """Return Spearman's correlation of two maps over cells, [image]; 0 where either is constant."""
    found = []
    for one, other, inside in zip(maps, others, cells, strict=True):
        at = inside & ~np.isnan(one) & ~np.isnan(other)
        a, b = one[at], other[at]
        even = a.size < 2 or np.ptp(a) == 0 or np.ptp(b) == 0
        found.append(0.0 if even else float(spearmanr(a, b).statistic))
    return np.array(found)


def faithfulness(
    bundle: ClassifierBundle, maps: Mapping[str, Floats], faith: Faith
) -> tuple[Mapping[str, Curves], list[dict[str, Any]]]:
    """Return the curves of each method, of random order and of order by size, and a row of areas for each.

    A row holds ``method``, the mean areas ``deletion``, ``insertion`` and ``score``, and for methods
    ``score_over_random`` and ``score_over_size`` (paired differences); each with ``_low`` and ``_high``, the 95 %
    interval over images, by blocks (None for fewer than two blocks).
    """
    curves = {
        name: probability_curves(bundle, each, faith)
        for name, each in {**maps, **orders_beside(faith)}.items()
    }
    areas = {name: each.areas() for name, each in curves.items()}
    rows = []
    for name, each in areas.items():
        values = dict(each)
        if name in maps:
            values |= {
                f"score_over_{beside}": each["score"] - areas[beside]["score"]
                for beside in ("random", "size")
            }
        rows.append({"method": name, **_told(values, faith)})
    return curves, rows


def randomisation_check(
    bundle: ClassifierBundle,
    maps: Mapping[str, Floats],
    settings: MapSettings,
    faith: Faith,
    of: Sequence[str],
) -> dict[str, Any]:
    """Return the model-randomisation check (arXiv 1810.03292) of some methods: one row of ``correlation`` for each.

    It is Spearman's correlation of the map with that of the same network with weights as before training, absolute
    values for maps with a sign. Near 1, the map shows the image and the network's shape rather than what was learned.
    Empty for classifiers without layers.
    """
    random = randomised(bundle, faith.seed)
    if random is None:
        return {}
    found = {}
    for name in of:
        others = explain_images(random, name, faith.given, settings, check=False)
        values = map_correlation(np.abs(maps[name]), np.abs(others), faith.cells)
        found[name] = _told({"correlation": values}, faith)
    return found


def _told(values: Mapping[str, Floats], faith: Faith) -> dict[str, float | None]:
    told: dict[str, float | None] = {}
    for name, each in values.items():
        told[name] = float(each.mean())
        ends: tuple[float | None, float | None] = (None, None)
        if len(np.unique(faith.blocks)) > 1:
            ends = _interval(each, faith)
        told[f"{name}_low"], told[f"{name}_high"] = ends
    return told


def _interval(values: Floats, faith: Faith) -> tuple[float, float]:
    return bootstrap_blocks(
        lambda rows: float(values[rows].mean()), faith.blocks, draws=_DRAWS, seed=faith.seed
    )
