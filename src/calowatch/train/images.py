"""The verb ``train`` for images: from files and a recipe to a classifier bundle.

`train_classifier` trains on any `calowatch.data.images.ImageData`, in memory too, and leaves nothing behind: studies
train many variants with it. `train_images` opens files, trains, judges the side not seen and writes the bundle.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from calowatch.bundle.classifier import ClassifierBundle, classify_data, save_classifier
from calowatch.bundle.classifier_onnx import export_classifier
from calowatch.bundle.dealt import dealt_rows
from calowatch.bundle.manifest import MANIFEST
from calowatch.core.files import check_replaceable, file_hash
from calowatch.core.provenance import provenance
from calowatch.core.training import ImageTraining
from calowatch.data.image_sets import image_files, open_images
from calowatch.data.image_splits import (
    ImageSides,
    SplitProof,
    deal_images,
    independent_blocks,
    prove_apart,
    settled_split,
)
from calowatch.data.images import ImageData
from calowatch.metrics.classification import Figure, Judged, as_json, classification_figures
from calowatch.models.classifier import Classifier
from calowatch.train.image_card import card
from calowatch.train.image_fit import ImageRun, TrainedClassifier, train_classifier
from calowatch.train.place import CURVES, METRICS, drop_checkpoints
from calowatch.train.request import TrainRequest, training_folder

__all__ = ["ImageRun", "TrainedClassifier", "TrainedImages", "train_classifier", "train_images"]

_CALIBRATING = 256
"""Training images by which the 8 bits of an exported network are calibrated, and all its forms compared."""

_DIFFERENCES = ("largest_logit_difference", "largest_difference", "other_class")

_COMPARED_BYTES = 2 * 1024**3
"""Images larger than this together are not compared one by one across sides: it would take as long as an epoch."""


@dataclass(frozen=True, eq=False)
class TrainedImages:
    """What a training of an image classifier gave.

    Parameters
    ----------
    folder
        The bundle.
    bundle
        The same, in memory.
    history
        One row per epoch; empty for classical models.
    side
        Which side was judged: test, or validation where the split has no test side.
    figures
        Of that side, with intervals.
    """

    folder: Path
    bundle: ClassifierBundle
    history: pd.DataFrame
    side: str
    figures: Mapping[str, Figure]

    @property
    def summary(self) -> dict[str, Any]:
        """What a caller wants to know of it, as JSON takes it."""
        manifest = self.bundle.manifest
        return {
            "bundle": str(self.folder),
            "model": self.bundle.name,
            "n_parameters": manifest["n_parameters"],
            "classes": list(self.bundle.classes),
            "training": dict(manifest["training"]),
            "split": manifest["split"],
            "side": self.side,
            "figures": as_json(self.figures),
        }


def train_images(recipe: ImageTraining, request: TrainRequest) -> TrainedImages:
    """Train a classifier of images, judge it on the side it has not seen, and write its bundle.

    Parameters
    ----------
    recipe
        What to learn and how.
    request
        Where to, from which files if not the recipe's, and for how long.

    Raises
    ------
    InputError
        For files, splits, networks and options that do not go together.
    ConflictError
        When something that is no bundle stands in the way.
    """
    check_replaceable(request.out, MANIFEST)
    recipe = _changed(recipe, request)
    progress = request.progress
    files = image_files(request.data or recipe.data.files, recipe.data.kind)
    data = open_images(files, recipe.data, progress)
    recipe = _settled(recipe, data)
    sides = deal_images(data, recipe.data.split, recipe.seed)
    size = 4 * len(data) * int(np.prod(data.images.shape[1:]))
    proof = prove_apart(data, sides, recipe.data.split, contents=size <= _COMPARED_BYTES)
    sources = [
        _source(path, request.out, data) for path in progress.track(files, "hashing files", len(files))
    ]
    trained = train_classifier(recipe, data, _place(recipe, request, sources), sides)
    bundle = replace(
        trained.bundle,
        manifest={**_manifest(trained, proof, sources, recipe), **_not_exported(recipe, request, trained)},
        dealt=dealt_rows(data, sides, sources),
        folder=request.out,
    )
    side = "test" if len(sides.test) else "validation"
    figures = _judge(bundle, data, sides, side)
    found = TrainedImages(request.out, bundle, trained.history, side, figures)
    if trained.training.get("primary", True):
        learned = data.some(sides.train[:: max(1, len(sides.train) // _CALIBRATING)])

        def besides(folder: Path) -> None:
            _tell(folder, found)
            if "not_exported" not in bundle.manifest:
                _export(folder, bundle, learned, request)

        save_classifier(request.out, bundle, besides)
        drop_checkpoints(training_folder(request.out))
    return found


def _settled(recipe: ImageTraining, data: ImageData) -> ImageTraining:
    """Return the recipe with the split that it comes to for these images, which is what a bundle tells."""
    split = settled_split(data, recipe.data.split)
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"split": split})})


def _place(recipe: ImageTraining, request: TrainRequest, sources: list[dict[str, Any]]) -> ImageRun:
    identity = {
        "recipe": recipe.model_dump(mode="json"),
        "files": [each["sha256"] for each in sources],
    }
    return ImageRun(
        training_folder(request.out),
        request.device,
        request.resume,
        request.max_steps,
        identity,
        progress=request.progress,
    )


def _changed(recipe: ImageTraining, request: TrainRequest) -> ImageTraining:
    fit = recipe.fit if request.epochs is None else recipe.fit.model_copy(update={"epochs": request.epochs})
    seed = recipe.seed if request.seed is None else request.seed
    return recipe.model_copy(update={"fit": fit, "seed": seed})


def _source(path: Path, out: Path, data: ImageData) -> dict[str, Any]:
    """Return the record of a file; its place is told as seen from the bundle, never from the root of a machine."""
    return {
        "name": path.name,
        "sha256": file_hash(path),
        "images": int((data.table["source"] == path.name).sum()),
        "path": Path(os.path.relpath(path.resolve(), out.resolve())).as_posix(),
    }


def _manifest(
    trained: TrainedClassifier, proof: SplitProof, sources: list[dict[str, Any]], recipe: ImageTraining
) -> dict[str, Any]:
    named = [{"name": each["name"], "sha256": each["sha256"]} for each in sources]
    return {
        **trained.bundle.manifest,
        "sources": sources,
        "split": proof.to_json(),
        "provenance": provenance("train", sources=named, seed=recipe.seed, options={"task": "images"}),
    }


def _not_exported(recipe: ImageTraining, request: TrainRequest, trained: TrainedClassifier) -> dict[str, str]:
    """Return why no exported forms are written; empty where they are."""
    if not recipe.export:
        reason = "the recipe does not want it"
    elif not isinstance(trained.bundle.network, Classifier):
        reason = "it is no network"
    elif request.max_steps is not None:  # export would take longer than the trial itself
        reason = f"training was cut short by max_steps = {request.max_steps}"
    else:
        return {}
    return {"not_exported": reason}


def _judge(bundle: ClassifierBundle, data: ImageData, sides: ImageSides, side: str) -> dict[str, Figure]:
    rows = sides.of(side)
    mine = data.some(rows)
    p = classify_data(bundle, mine, None, "float32").astype(np.float64)
    return classification_figures(Judged(mine.labels, p, independent_blocks(mine, bundle.recipe.data.split)))


def _export(folder: Path, bundle: ClassifierBundle, learned: ImageData, request: TrainRequest) -> None:
    """Write the exported forms; a network that cannot be exported is none the worse for it."""
    assert isinstance(bundle.network, Classifier)
    read = learned.take(np.arange(min(len(learned), _CALIBRATING)))
    try:
        files = export_classifier(bundle.network, folder, *bundle.prepared(read["x"], read["scalars"]))
    except Exception as error:  # noqa: BLE001 - its many layers raise errors of no common class
        request.progress.note(f"no ONNX form of {bundle.name}: {str(error).splitlines()[0]}")
        return
    told = {each.mode: {name: getattr(each, name) for name in _DIFFERENCES} for each in files}
    (folder / "exported.json").write_text(json.dumps(told, indent=1) + "\n")


def _tell(folder: Path, found: TrainedImages) -> None:
    if len(found.history):
        found.history.to_csv(folder / METRICS, index=False)
        shutil.copyfile(training_folder(found.folder) / CURVES, folder / CURVES)
    document = {"side": found.side, "figures": as_json(found.figures)}
    (folder / "figures.json").write_text(json.dumps(document, indent=1) + "\n")
    (folder / "card.md").write_text(card(found.bundle, found.side, found.figures), encoding="utf-8")
