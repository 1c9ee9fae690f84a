"""Training of image classifiers on images that are open already; nothing that stays is written."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from calowatch.bundle.classifier import (
    ClassifierBundle,
    class_logits_of,
    classify_data,
)
from calowatch.bundle.novelty import Novelty, fit_cloud
from calowatch.bundle.strangeness import novelty_scores, penultimate
from calowatch.core.errors import InputError
from calowatch.core.progress import SILENT, Progress
from calowatch.core.training import ImageTraining
from calowatch.data.image_preparation import ImagePreparation, fit_preparation
from calowatch.data.image_splits import ImageSides, deal_images
from calowatch.data.images import ImageData
from calowatch.metrics.classification import Judged, classification_figures, fit_temperature
from calowatch.models.classical import CLASSICAL, ArrayModel
from calowatch.models.classifier import Classifier
from calowatch.models.classifiers import ImageGeometry, build_classifier
from calowatch.train.classical import ClassicalTask, fit_classical
from calowatch.train.image_batches import ImageBatches, image_loader
from calowatch.train.image_module import ImageModule
from calowatch.train.trainer import Loaders, Training, TrainingPlace, run_training

__all__ = ["ImageRun", "TrainedClassifier", "train_classifier"]

Ints = npt.NDArray[np.int64]

_LOOKED_AT = 1024  # training images from which novelty is learned
_LEAST_VALIDATION = 20  # images; a temperature of fewer would be chance


@dataclass(frozen=True)
class ImageRun:
    """Where and how to train, beside the recipe.

    Parameters
    ----------
    folder
        For logs and checkpoints; None for a folder that is removed afterwards.
    device
        As of `calowatch.train.request.TrainRequest`.
    resume
        Go on where a training in ``folder`` was broken off.
    max_steps
        Stop after so many optimiser steps.
    identity
        What has to be equal to go on, see `calowatch.train.trainer.TrainingPlace`.
    novelty
        Also learn what the classifier's own images look like.
    progress
        Told how far the work is.
    """

    folder: Path | None = None
    device: str = "auto"
    resume: bool = False
    max_steps: int | None = None
    identity: Mapping[str, Any] | None = None
    novelty: bool = True
    progress: Progress = SILENT


@dataclass(frozen=True, eq=False)
class TrainedClassifier:
    """A classifier fresh from training.

    Parameters
    ----------
    bundle
        In memory, ready for `calowatch.bundle.classifier.classify`.
    sides
        How the images were dealt.
    history
        One row per epoch; empty for classical models.
    seconds
        Of training alone.
    training
        Epochs, best epoch, device and the like, as JSON takes them.
    """

    bundle: ClassifierBundle
    sides: ImageSides
    history: pd.DataFrame
    seconds: float
    training: Mapping[str, Any]

    def figures(self, data: ImageData, side: str = "test", draws: int = 0) -> dict[str, Any]:
        """Return figures of a side of the data it was trained with, as numbers: accuracy, roc_auc and so on.

        See `calowatch.metrics.classification.classification_figures`; a test side without images gives an error.
        """
        rows = self.sides.of(side)
        p = classify_data(self.bundle, data, rows, "float32").astype(np.float64)
        found = classification_figures(Judged(data.labels[rows], p, np.arange(len(rows))), draws=draws)
        return {name: figure.value for name, figure in found.items()}


def train_classifier(
    recipe: ImageTraining, data: ImageData, run: ImageRun | None = None, sides: ImageSides | None = None
) -> TrainedClassifier:
    """Train what a recipe says on some images, whatever its ``data.files`` are.

    Parameters
    ----------
    recipe
        Preparation, network, loss, optimiser, epochs; its split deals the images unless ``sides`` are given.
    data
        The images.
    run
        Where and how.
    sides
        Rows of each side, dealt already; validation must hold some.

    Raises
    ------
    InputError
        When data, split, preparation, network and loss do not go together.
    """
    run = run or ImageRun()
    sides = sides or deal_images(data, recipe.data.split, recipe.seed)
    for side in ("train", "validation"):
        sides.of(side)
    _check_classes(recipe, data)
    preparation = fit_preparation(data, sides.train, recipe.data.steps, run.progress)
    if recipe.network.name in CLASSICAL:
        network, history, training = _fit_classical(recipe, data, sides, preparation, run)
    else:
        network, history, training = _fit_network(recipe, data, sides, preparation, run)
    bundle = ClassifierBundle(network, preparation, _manifest(recipe, data, network, training))
    bundle = _calibrated(bundle, data, sides)
    if run.novelty:
        bundle = replace(bundle, novelty=_novelty(bundle, data, sides))
    return TrainedClassifier(bundle, sides, history, float(training["seconds"]), training)


def _check_classes(recipe: ImageTraining, data: ImageData) -> None:
    count, names = len(data.classes), ", ".join(data.classes)
    files = ", ".join(data.table["source"].unique().tolist())
    if count < 2:
        raise InputError(
            files,
            "images of two classes or more",
            f"those of {names} alone",
            "give files of another class too",
        )
    if recipe.loss.kind == "binary" and count != 2:
        fix = "set loss.kind to cross_entropy, or give files of two classes"
        raise InputError(files, "images of two classes, since loss.kind is binary", f"{count}: {names}", fix)


def _geometry(recipe: ImageTraining, data: ImageData) -> ImageGeometry:
    _, channels, rows, columns = data.images.shape
    outputs = 1 if recipe.loss.kind == "binary" else len(data.classes)
    return ImageGeometry(channels, rows, columns, len(data.scalar_names), outputs)


Fitted = tuple[Classifier | ArrayModel, pd.DataFrame, dict[str, Any]]


def _fit_classical(
    recipe: ImageTraining, data: ImageData, sides: ImageSides, preparation: ImagePreparation, run: ImageRun
) -> Fitted:
    started = perf_counter()
    model = fit_classical(ClassicalTask(data, sides, preparation, recipe, recipe.seed, run.progress))
    return model, pd.DataFrame(), {"seconds": perf_counter() - started, "device": "cpu"}


def _fit_network(
    recipe: ImageTraining, data: ImageData, sides: ImageSides, preparation: ImagePreparation, run: ImageRun
) -> Fitted:
    torch.manual_seed(recipe.seed)
    network = build_classifier(recipe.network.name, _geometry(recipe, data), recipe.network.options)
    weights = (
        _class_weights(data.labels[sides.train], len(data.classes)) if recipe.loss.class_weights else None
    )
    train = ImageBatches(data, sides.train, preparation, recipe.data.augment, run.progress)
    batch = max(recipe.fit.batch, 256)
    seen = _validated(sides.validation, batch, run.max_steps)
    validation = ImageBatches(data, seen, preparation, progress=run.progress)
    loaders = Loaders(
        image_loader(train, recipe.fit.batch, shuffle=True, seed=recipe.seed),
        image_loader(validation, batch),
    )
    module = ImageModule(network, recipe, weights)
    if run.folder is not None:
        found = _train(module, loaders, recipe, run, run.folder)
    else:
        with tempfile.TemporaryDirectory() as folder:
            found = _train(module, loaders, recipe, run, Path(folder))
    told = {
        "epochs": len(found.history),
        "best_epoch": found.best_epoch,
        "best_value": found.best_value,
        "seconds": found.seconds,
        "device": found.device,
        "primary": found.primary,
    }
    return module.network.eval().cpu(), found.history, told


def _validated(rows: Ints, batch: int, max_steps: int | None) -> Ints:
    """Return the validation images: for a trial some from everywhere, since the first ones may be of one class."""
    return rows if max_steps is None else rows[:: -(-len(rows) // (batch * max_steps))]


def _train(
    module: ImageModule, loaders: Loaders, recipe: ImageTraining, run: ImageRun, folder: Path
) -> Training:
    place = TrainingPlace(
        folder, run.resume, run.device, recipe.seed, run.progress, run.max_steps, run.identity
    )
    return run_training(module, loaders, recipe.fit, place)


def _class_weights(labels: Ints, classes: int) -> torch.Tensor:
    """Return weights that make all classes count alike, 1 on average."""
    count = np.maximum(np.bincount(labels, minlength=classes), 1)
    return torch.from_numpy((len(labels) / (classes * count)).astype(np.float32))


def _manifest(
    recipe: ImageTraining, data: ImageData, network: Classifier | ArrayModel, training: Mapping[str, Any]
) -> dict[str, Any]:
    if isinstance(network, ArrayModel):
        parameters, outputs = network.n_parameters, 1 if len(data.classes) == 2 else len(data.classes)
        geometry = replace(_geometry(recipe, data), outputs=outputs)
    else:
        parameters, geometry = sum(each.numel() for each in network.parameters()), _geometry(recipe, data)
    return {
        "model": recipe.network.name,
        "images": data.kind,
        "classes": list(data.classes),
        "channels": list(data.channels),
        "scalar_names": list(data.scalar_names),
        "axes": list(data.axes),
        "geometry": {name: getattr(geometry, name) for name in ImageGeometry.__dataclass_fields__},
        "n_parameters": parameters,
        "temperature": 1.0,
        "recipe": recipe.model_dump(mode="json"),
        "training": dict(training),
        "sources": [],
    }


def _calibrated(bundle: ClassifierBundle, data: ImageData, sides: ImageSides) -> ClassifierBundle:
    if len(sides.validation) < _LEAST_VALIDATION:
        return bundle
    logits = class_logits_of(bundle, data, sides.validation, "float32")
    temperature = fit_temperature(logits, data.labels[sides.validation])
    return replace(bundle, manifest={**bundle.manifest, "temperature": temperature})


def _novelty(bundle: ClassifierBundle, data: ImageData, sides: ImageSides) -> Novelty:
    """Learn clouds on some training images, thresholds on the validation side."""
    rng = np.random.default_rng(0)
    rows = np.sort(rng.choice(sides.train, min(_LOOKED_AT, len(sides.train)), replace=False))
    x, scalars = zip(*(_prepared(bundle, data, piece) for piece in data.pieces(rows)), strict=True)
    labels = _without_gaps(data.labels[rows])
    clouds = {"image": fit_cloud(np.concatenate(x).reshape(len(rows), -1), labels)}
    seen = penultimate(bundle, np.concatenate(x), np.concatenate(scalars))
    if seen is not None:
        clouds["features"] = fit_cloud(seen, labels, seen.shape[1])
    novelty = Novelty(clouds)
    validation = sides.validation
    if len(validation) > 4 * _LOOKED_AT:
        validation = np.sort(rng.choice(validation, 4 * _LOOKED_AT, replace=False))
    scores = novelty_scores(replace(bundle, novelty=novelty), data, validation)
    marks = {name: float(np.quantile(score, 1.0 - novelty.beyond)) for name, score in scores.items()}
    return replace(novelty, thresholds=marks)


def _prepared(
    bundle: ClassifierBundle, data: ImageData, rows: Ints
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    read = data.take(rows)
    return bundle.prepared(read["x"], read["scalars"])


def _without_gaps(labels: Ints) -> Ints:
    """Return labels numbered anew, since a small sample may lack a class."""
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)
