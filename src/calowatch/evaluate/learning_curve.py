"""The verb ``evaluate learning-curve``: what a classifier gains from more training images.

Training sides are nested: each holds all smaller ones. The test side is the same for all of them.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.bundle.classifier import classify_data
from calowatch.core.errors import InputError
from calowatch.core.files import check_place, file_hash, staged_files, write_json
from calowatch.core.progress import SILENT, Progress
from calowatch.core.provenance import provenance
from calowatch.core.training import ImageTraining
from calowatch.data.image_sets import image_files, open_images
from calowatch.data.image_splits import ImageSides, deal_images, independent_blocks, settled_split
from calowatch.data.images import ImageData
from calowatch.evaluate.shortcuts import Learn, as_long
from calowatch.metrics.classification import Judged, classification_figures
from calowatch.present.learning_curve import LearningCurve, learning_page
from calowatch.present.panels_page import write_page

__all__ = ["CurveTask", "LearningResult", "evaluate_learning", "nested_sides"]

Ints = npt.NDArray[np.int64]

FIGURES = ("roc_auc", "accuracy", "rejection_50")
_LEAST = 20  # images on the training side
_OWNED = ("learning_curve.*",)


@dataclass(frozen=True, eq=False)
class CurveTask:
    """What is trained.

    Parameters
    ----------
    recipes
        By name; all of one kind of images and one split.
    data
        Files, or folders of them.
    sizes
        Training images; a size beyond the training side is taken as all of it.
    seed
        Of dealing and training; None for the recipes' own, which must be one.
    draws
        Of the bootstrap.
    command
        What was typed, for the page.
    """

    recipes: Mapping[str, ImageTraining]
    data: tuple[Path, ...]
    sizes: tuple[int, ...]
    seed: int | None = None
    draws: int = 200
    command: str = ""


@dataclass(frozen=True, eq=False)
class LearningResult:
    """What came out.

    Parameters
    ----------
    document
        The content of ``learning_curve.json``.
    curve
        The same, as a table.
    files
        What was written, the page first.
    """

    document: Mapping[str, Any]
    curve: LearningCurve
    files: tuple[Path, ...]


def nested_sides(labels: Ints, sides: ImageSides, size: int, seed: int) -> ImageSides:
    """Return sides with a smaller training side, classes in their shares; one of a larger size holds it.

    The validation side, by which epochs and temperature are chosen, is made no larger than the training side: who has
    1000 images to learn from has no 30,000 to choose by. The test side stays.

    Parameters
    ----------
    labels
        Of all images, int64.
    sides
        The whole ones.
    size
        Images to learn from.
    seed
        Of the order in which images are added.

    Examples
    --------
    >>> rows = np.arange(30)
    >>> nested_sides(rows % 2, ImageSides(rows[:20], rows[20:26], rows[26:]), 4, 0).test.tolist()
    [26, 27, 28, 29]
    """
    rng = np.random.default_rng([seed, 1])
    train, validation = (_first(labels, rows, size, rng) for rows in (sides.train, sides.validation))
    return ImageSides(train, validation, sides.test)


def _first(labels: Ints, rows: Ints, size: int, rng: np.random.Generator) -> Ints:
    """Return the first rows of an order in which every beginning holds the classes in their shares."""
    mixed = rng.permutation(rows)
    mine = labels[mixed]
    place = np.empty(len(mixed))
    for label in np.unique(mine):
        of_class = mine == label
        place[of_class] = (np.arange(of_class.sum()) + 0.5) / of_class.sum()
    return np.sort(mixed[np.argsort(place, kind="stable")][:size])


@dataclass(frozen=True, eq=False)
class _Opened:
    """Images as one recipe reads them, and the whole sides."""

    data: ImageData
    sides: ImageSides


def evaluate_learning(
    task: CurveTask, out: Path | str, learn: Learn, progress: Progress = SILENT
) -> LearningResult:
    """Train every recipe with ever more images; points that an interrupted call finished are not trained again.

    Parameters
    ----------
    task
        What.
    out
        Folder for ``learning_curve.html``, ``.json``, ``.csv`` and ``.png``, and for ``points/``.
    learn
        Trains a recipe on given sides of given images.
    progress
        Shown one step per point.

    Raises
    ------
    InputError
        For recipes of different images, splits or seeds, a split without test side, and sizes too small: before
        anything is trained.
    """
    out = Path(out)
    check_place(out)
    recipes = _checked(task)
    first = next(iter(recipes.values()))
    files = image_files(task.data, first.data.kind)
    sources = [
        {"name": path.name, "sha256": file_hash(path)}
        for path in progress.track(files, "hashing files", len(files))
    ]
    opened = _open(recipes, files, progress)
    sizes = _sizes(task, len(next(iter(opened.values())).sides.train))
    plan = [(name, size) for size in sizes for name in recipes]
    rows = []
    for name, size in progress.track(plan, "learning curve", len(plan)):
        row = _point(task, recipes[name], opened[name], (name, size, sources), out / "points", learn)
        progress.note(f"{name}, {size:,} images: ROC-AUC {row['figures']['roc_auc']['value']:.4f}")
        rows.append(row)
    return _write(task, out, rows, next(iter(opened.values())), sources)


def _checked(task: CurveTask) -> dict[str, ImageTraining]:
    """Return the recipes under the seed."""
    seeds = {each.seed if task.seed is None else task.seed for each in task.recipes.values()}
    asked = {(each.data.kind, each.data.split, each.data.classes) for each in task.recipes.values()}
    if len(asked) != 1 or len(seeds) != 1:
        raise InputError(
            "recipes",
            "one kind of images, split and seed",
            "several",
            "compare recipes of one task, with --seed",
        )
    if not task.sizes or min(task.sizes) < _LEAST:
        raise InputError(
            "--sizes",
            f"numbers of training images, {_LEAST} or more",
            ", ".join(map(str, task.sizes)) or "none",
            "such as 1000,3000,10000",
        )
    (seed,) = seeds
    return {name: each.model_copy(update={"seed": seed}) for name, each in task.recipes.items()}


def _open(
    recipes: Mapping[str, ImageTraining], files: Sequence[Path], progress: Progress
) -> dict[str, _Opened]:
    """Return the images as each recipe reads them, opened once for all that read them alike."""
    held: dict[tuple[object, ...], _Opened] = {}
    found = {}
    for name, recipe in recipes.items():
        key = (recipe.data.channels, recipe.data.scalars)
        if key not in held:
            data = open_images(files, recipe.data, progress)
            sides = deal_images(data, settled_split(data, recipe.data.split), recipe.seed)
            if not len(sides.test):
                raise InputError(
                    f"{name}: split.test",
                    "a share",
                    "0",
                    "learning curves need a test side that chose nothing",
                )
            held[key] = _Opened(data, sides)
        found[name] = held[key]
    return found


def _sizes(task: CurveTask, most: int) -> list[int]:
    return sorted({min(size, most) for size in task.sizes})


def _point(
    task: CurveTask,
    recipe: ImageTraining,
    opened: _Opened,
    what: tuple[str, int, Sequence[Mapping[str, str]]],
    folder: Path,
    learn: Learn,
) -> dict[str, Any]:
    """Return a point: that of an earlier call where it is of the same task, else trained now."""
    name, size, sources = what
    longer = as_long(recipe, len(opened.sides.train), size)
    version = provenance("")["calowatch"]
    told = [recipe.model_dump(mode="json"), list(sources), size, task.draws, version, longer.fit.epochs]
    mark = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    path = folder / f"{name}-{size}.json"
    try:
        held: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        held = {}
    if held.get("mark") == mark:
        return held
    sides = nested_sides(opened.data.labels, opened.sides, size, recipe.seed)
    row = {"recipe": name, "images": size, **_judged(task, longer, opened.data, sides, learn), "mark": mark}
    write_json(path, row)
    return row


def _judged(
    task: CurveTask, recipe: ImageTraining, data: ImageData, sides: ImageSides, learn: Learn
) -> dict[str, Any]:
    learned = learn(recipe, data, sides)
    p = classify_data(learned.bundle, data, sides.test, "float32").astype(np.float64)
    blocks = independent_blocks(data, recipe.data.split)[sides.test]
    found = classification_figures(Judged(data.labels[sides.test], p, blocks), draws=task.draws)
    return {
        "validation": len(sides.validation),
        "test": len(sides.test),
        "epochs": int(learned.bundle.manifest["training"].get("epochs", 0)),
        "seconds": round(learned.seconds, 2),
        "figures": {name: found[name].to_json() for name in FIGURES if name in found},
    }


def _write(
    task: CurveTask,
    out: Path,
    rows: Sequence[Mapping[str, Any]],
    opened: _Opened,
    sources: Sequence[Mapping[str, str]],
) -> LearningResult:
    data = opened.data
    seed = next(iter(_checked(task).values())).seed
    made = provenance(
        "evaluate learning-curve", sources=sources, seed=seed, options={"command": task.command}
    )
    curve = LearningCurve(data.kind, tuple(data.classes), pd.DataFrame([_flat(row) for row in rows]), made)
    document = {
        "images": data.kind,
        "classes": list(data.classes),
        "points": [{name: value for name, value in row.items() if name != "mark"} for row in rows],
        "provenance": made,
    }
    with staged_files(out, _OWNED) as scratch:
        written = write_page(scratch, "learning_curve", learning_page(curve))
        write_json(scratch / "learning_curve.json", document)
        curve.table.to_csv(scratch / "learning_curve.csv", index=False)
        names = [path.name for path in written] + ["learning_curve.json", "learning_curve.csv"]
    return LearningResult(document, curve, tuple(out / name for name in names))


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: row[name] for name in ("recipe", "images", "validation", "test", "epochs", "seconds")}
    for name, figure in row["figures"].items():
        found |= {name: figure["value"], f"{name}_low": figure["low"], f"{name}_high": figure["high"]}
    return found
