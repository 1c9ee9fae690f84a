"""What telling two runs apart is worth: the battery of splits, variants, baselines and spoilt training sides.

A classifier that tells two runs apart may have learned intensity, a few bad cells, or which lumisection an image was
made from. The battery takes these away one by one and says what is left, beside the simplest rules and, for simulated
images, beside the exact likelihood ratio.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.bundle.classifier import ClassifierBundle, classify_data
from calowatch.core.errors import InputError
from calowatch.core.files import check_place, file_hash, staged_files, write_json
from calowatch.core.progress import SILENT, Progress
from calowatch.core.provenance import provenance
from calowatch.core.training import ImageDataRecipe, ImageTraining
from calowatch.data.image_preparation import fit_preparation
from calowatch.data.image_sets import image_files, open_images
from calowatch.data.image_splits import ImageSides, blocks_of
from calowatch.data.images import ImageData
from calowatch.evaluate.shortcuts_cells import (
    ORACLE,
    VARIANTS,
    Battery,
    Cell,
    battery_split,
    cell_recipe,
    check_cells,
    deal_cell,
    plan,
)
from calowatch.evaluate.shortcuts_faith import read_explained
from calowatch.evaluate.shortcuts_words import Told, battery_frame, battery_words
from calowatch.io.image_blocks import MARKER
from calowatch.metrics.classification import Judged, classification_figures
from calowatch.metrics.intervals import never_surer
from calowatch.models.classical import OneRing
from calowatch.present.shortcuts import write_battery_figure
from calowatch.present.shortcuts_page import battery_page
from calowatch.simulate.gsoc_files import GsocTruth, read_gsoc_truth
from calowatch.simulate.gsoc_oracle import log_likelihood_ratio

__all__ = ["BatteryResult", "BatteryTask", "Learn", "Learned", "as_long", "evaluate_shortcuts"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BLOCK = 500
"""Images in a block where nothing tells."""

MOST_TIMES = 16
"""How many times more epochs a small training side is trained for, at most."""


@dataclass(frozen=True, eq=False)
class Learned:
    """A model fresh from training, and how many seconds that took."""

    bundle: ClassifierBundle
    seconds: float


Learn = Callable[[ImageTraining, ImageData, ImageSides], Learned]
"""Trains a recipe on some sides of some images: `calowatch.train.images.train_classifier`, handed in."""


@dataclass(frozen=True, eq=False)
class BatteryTask:
    """What the battery is run on.

    Parameters
    ----------
    files
        Image sets, one per run, two of them.
    recipes
        What to train, by name.
    battery
        What it holds; its models are the recipes' names.
    block
        Neighbouring images that are dealt together; None for what the simulation says, else 500.
    at_most
        Take the first images of each run only.
    seed
        Of dealing and training.
    faithfulness
        A JSON file of ``calowatch explain`` on a bundle of the same runs, told beside; None for none.
    command
        What was typed, for the page.
    """

    files: tuple[Path, ...]
    recipes: Mapping[str, ImageTraining]
    battery: Battery
    block: int | None = None
    at_most: int | None = None
    seed: int = 0
    faithfulness: Path | None = None
    command: str = ""


@dataclass(frozen=True, eq=False)
class BatteryResult:
    """What came out.

    Parameters
    ----------
    document
        All of it as JSON takes it: ``cells``, ``table``, ``verdict``, ``settings``, ``provenance``.
    frame
        One row per kind of cell, repeats joined.
    verdict
        In plain words.
    files
        What was written.
    """

    document: Mapping[str, Any]
    frame: pd.DataFrame
    verdict: tuple[str, ...]
    files: tuple[Path, ...]


@dataclass(frozen=True, eq=False)
class _Opened:
    """The images, what is known of their making, and what marks a finished cell as one of this task."""

    data: ImageData
    block: int
    known: bool
    truth: GsocTruth | None
    sources: list[dict[str, str]]


def evaluate_shortcuts(
    task: BatteryTask, out: Path | str, learn: Learn, progress: Progress = SILENT
) -> BatteryResult:
    """Run the battery; cells that an earlier, interrupted call finished are not run again.

    Parameters
    ----------
    task
        On what, and which cells.
    out
        Folder for ``shortcuts.md``, ``shortcuts.csv``, ``shortcuts.json``, ``shortcuts.png`` and ``cells/``.
    learn
        Trains a recipe on given sides of given images.
    progress
        Shown one step per cell.

    Raises
    ------
    InputError
        For files that are not two runs, cells that they are too small for, recipes of other images, a block length that
        cuts through simulated blocks, and a faithfulness of something else: all before anything is trained.
    """
    out = Path(out)
    check_place(out)
    _check_recipes(task.recipes)
    explained = None if task.faithfulness is None else read_explained(task.faithfulness)
    opened = _open(task, progress)
    if explained is not None:
        explained.check(opened.data.classes, [recipe.network.name for recipe in task.recipes.values()])
    cells = plan(task.battery, oracle=opened.truth is not None)
    check_cells(opened.data, cells, opened.block, task.seed)
    rows = []
    for cell in progress.track(cells, "battery", len(cells)):
        row = _finished(task, opened, cell, out / "cells", learn)
        progress.note(
            f"{cell.key}: accuracy {row['accuracy']['value']:.4f}, trained in {row['seconds']:.1f} s"
        )
        rows.append(row)
    hashes = {each["name"]: each["sha256"] for each in opened.sources}
    told = Told(opened.block, opened.known, explained.to_json(hashes) if explained else None)
    frame = battery_frame(pd.DataFrame(rows))
    words = battery_words(frame, opened.data.classes, told)
    document = _document(task, opened, told) | {
        "verdict": list(words),
        "table": json.loads(frame.to_json(orient="records")),
        "cells": rows,
    }
    return BatteryResult(document, frame, words, _write(out, document, frame, words))


def _check_recipes(recipes: Mapping[str, ImageTraining]) -> None:
    for name, recipe in recipes.items():
        if recipe.data.kind != "runs":
            raise InputError(
                f"recipe {name}",
                "one for images of runs",
                f"one for {recipe.data.kind} images",
                "choose a runs- recipe",
            )


def _document(task: BatteryTask, opened: _Opened, told: Told) -> dict[str, Any]:
    """Return how it was made."""
    return {
        "runs": list(opened.data.classes),
        "images": len(opened.data),
        "block": opened.block,
        "blocks_known": opened.known,
        "battery": task.battery.to_json(),
        "command": task.command,
        "faithfulness": told.faithfulness,
        "provenance": provenance("evaluate shortcuts", sources=opened.sources, seed=task.seed),
    }


def _write(
    out: Path, document: dict[str, Any], frame: pd.DataFrame, words: Sequence[str]
) -> tuple[Path, ...]:
    names = [f"shortcuts.{end}" for end in ("json", "csv", "md", "png")]
    with staged_files(out) as scratch:
        paths = [scratch / name for name in names]
        write_json(paths[0], document)
        frame.to_csv(paths[1], index=False)
        write_battery_figure(paths[3], frame, document["runs"])
        paths[2].write_text(battery_page(document, frame, words, picture=names[3]), encoding="utf-8")
    return tuple(out / name for name in names)


def _open(task: BatteryTask, progress: Progress) -> _Opened:
    files = image_files(task.files, "runs")
    data = open_images(files, ImageDataRecipe(kind="runs", at_most=task.at_most), progress)
    if len(data.classes) != 2:
        raise InputError("files", "image sets of two runs", ", ".join(data.classes), "give two files")
    truth, block = _truth(files, data)
    known = bool((data.table["block"] >= 0).all())
    sources = [{"name": path.name, "sha256": file_hash(path)} for path in files]
    return _Opened(data, task.block or block or BLOCK, known, truth, sources)


def _truth(files: Sequence[Path], data: ImageData) -> tuple[GsocTruth | None, int | None]:
    """Return what the files were simulated from, and the length of its blocks; nothing for files of any other kind."""
    folders = {Path(path).parent for path in files}
    if len(folders) != 1 or (data.table["block"] < 0).any():
        return None, None
    (folder,) = folders
    truth = read_gsoc_truth(folder)
    if not set(data.table["run"].unique().tolist()) <= {model.run for model in truth.models}:
        return None, None
    return truth, int(json.loads((folder / MARKER).read_text())["settings"]["block"])


def _finished(task: BatteryTask, opened: _Opened, cell: Cell, folder: Path, learn: Learn) -> dict[str, Any]:
    """Return a cell's figures: those of an earlier call where they are of the same task, else run it now."""
    mark = _mark(task, opened, cell)
    path = folder / f"{cell.key}.json"
    if path.is_file():
        try:
            held: dict[str, Any] = json.loads(path.read_text())
        except ValueError:
            held = {}
        if held.get("mark") == mark:
            return _by_todays_rule(held)
    figures = _oracle(task, opened, cell) if cell.model == ORACLE else _trained(task, opened, cell, learn)
    row = {**asdict(cell), **figures, "mark": mark}
    write_json(path, row)
    return row


def _by_todays_rule(row: dict[str, Any]) -> dict[str, Any]:
    """Return a finished cell with the interval that its accuracy gets now: earlier ones had it from the draws alone."""
    figure = row["accuracy"]
    low, high = (figure["value"] if figure[edge] is None else figure[edge] for edge in ("low", "high"))
    low, high = never_surer(low, high, row["test_blocks"])
    return {**row, "accuracy": {**figure, "low": low, "high": high}}


def _mark(task: BatteryTask, opened: _Opened, cell: Cell) -> str:
    """Return a hash of everything that decides a cell."""
    recipe = task.recipes[cell.model].model_dump(mode="json") if cell.model != ORACLE else None
    version = provenance("evaluate shortcuts")["calowatch"]
    settings = [opened.sources, recipe, opened.block, task.at_most, task.seed, asdict(cell), version]
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _trained(task: BatteryTask, opened: _Opened, cell: Cell, learn: Learn) -> dict[str, Any]:
    recipe = cell_recipe(task.recipes[cell.model], cell, opened.block, task.seed)
    spoilt, sides = deal_cell(opened.data, cell, recipe.data.split, task.seed)
    whole = recipe.data.split.train * len(opened.data)
    learned = learn(as_long(recipe, whole, len(sides.train)), spoilt, sides)
    p = classify_data(learned.bundle, opened.data, sides.test, "float32").astype(np.float64)
    found = _judge(opened, sides, p)
    network = learned.bundle.network
    ring = int(network.row) if isinstance(network, OneRing) else None
    return {
        **found,
        "n_train": len(sides.train),
        "n_parameters": int(learned.bundle.manifest["n_parameters"]),
        "seconds": round(learned.seconds, 3),
        "ring": ring,
    }


def as_long(recipe: ImageTraining, whole: float, n_train: int) -> ImageTraining:
    """Return the recipe with more epochs for a smaller training side: too few steps are not too few images.

    Parameters
    ----------
    recipe
        As it is for the whole training side.
    whole, n_train
        Images on that side, and on the one to learn from.
    """
    times = min(max(round(whole / n_train), 1), MOST_TIMES)
    fit = recipe.fit.model_copy(update={"epochs": recipe.fit.epochs * times})
    return recipe.model_copy(update={"fit": fit})


def _oracle(task: BatteryTask, opened: _Opened, cell: Cell) -> dict[str, Any]:
    """Return figures of the exact likelihood ratio, blind to the cells that models are blind to."""
    assert opened.truth is not None
    data, variant = opened.data, VARIANTS[cell.variant]
    _, sides = deal_cell(data, cell, battery_split(cell.split, opened.block), task.seed)
    keep = None
    if variant.masked:
        mask = next(step for step in variant.steps if step.step == "mask_deviating")
        keep = fit_preparation(data, sides.train, (mask,)).learned[0]["keep"][0] > 0
    runs = [int(data.table["run"][np.flatnonzero(data.labels == label)[0]]) for label in (0, 1)]
    first, second = (opened.truth.model(run) for run in runs)
    images = data.images.read(sides.test)[:, 0]
    ratio = log_likelihood_ratio(images, second, first, variant.scale, keep)
    p = 1.0 / (1.0 + np.exp(-np.clip(ratio, -500, 500)))
    found = _judge(opened, sides, np.stack([1.0 - p, p], axis=1))
    return {**found, "n_train": 0, "n_parameters": 0, "seconds": 0.0, "ring": None}


def _judge(opened: _Opened, sides: ImageSides, p: Floats) -> dict[str, Any]:
    """Return accuracy and AUC of the test side; blocks of neighbours are what is independent in it."""
    blocks = blocks_of(opened.data, battery_split("blocks", opened.block))[sides.test]
    judged = Judged(opened.data.labels[sides.test], np.clip(p, 0.0, 1.0), blocks)
    figures = classification_figures(judged)
    return {
        "n_test": len(sides.test),
        "test_blocks": len(np.unique(blocks)),
        "accuracy": figures["accuracy"].to_json(),
        "roc_auc": figures["roc_auc"].to_json(),
    }
