"""The verb ``train`` for occupancy: from a prepared data set and a recipe to the bundle of a network."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from calowatch.bundle.calibrating import DatasetWindows, finish_bundle
from calowatch.bundle.expecting import Windows, training_sigma
from calowatch.bundle.manifest import MANIFEST, amended
from calowatch.bundle.network import NetworkParts, save_network
from calowatch.bundle.running import windows_of
from calowatch.core.errors import InputError
from calowatch.core.files import atomic_directory, check_replaceable
from calowatch.core.progress import Progress
from calowatch.core.provenance import provenance
from calowatch.core.training import OccupancyTraining
from calowatch.data.torch_datasets import make_loader
from calowatch.models.api import NetworkRequest, build
from calowatch.models.binomial import BinomialNetwork
from calowatch.present.curves import write_curves
from calowatch.train.occupancy_card import card
from calowatch.train.occupancy_data import TrainingData
from calowatch.train.occupancy_module import OccupancyModule
from calowatch.train.place import CURVES, METRICS, check_folder, drop_checkpoints
from calowatch.train.request import TrainRequest, training_folder
from calowatch.train.trainer import Loaders, Training, TrainingPlace, run_training

__all__ = ["TrainedOccupancy", "train_occupancy"]

_SIGMA_WINDOWS = 2000
"""Training windows behind the score's sigma, which is known to 2 % then."""

_CALIBRATION_WINDOWS = 2000
"""Validation windows behind the thresholds: more than 10^7 channel-windows of HE."""

_TRIAL_WINDOWS = 16  # for either, in a training cut short by max_steps


@dataclass(frozen=True, eq=False)
class TrainedOccupancy:
    """What a training gave.

    Parameters
    ----------
    folder
        The bundle.
    manifest
        Of the bundle.
    history
        One row per epoch.
    """

    folder: Path
    manifest: Mapping[str, Any]
    history: pd.DataFrame

    @property
    def summary(self) -> dict[str, Any]:
        """What a caller wants to know of it, as JSON takes it."""
        kept = ("model", "n_parameters", "layout", "era", "window", "loss", "n_channels", "training", "runs")
        return {
            "bundle": str(self.folder),
            **{key: self.manifest[key] for key in kept if key in self.manifest},
        }


def train_occupancy(recipe: OccupancyTraining, request: TrainRequest) -> TrainedOccupancy:
    """Train a network to predict occupancy, and write its bundle: weights, preparation, calibration, card.

    Parameters
    ----------
    recipe
        What to learn and how.
    request
        Where to, from which data set if not the recipe's, and for how long.

    Raises
    ------
    InputError
        When data, network and options do not go together, or the device is not there.
    ConflictError
        When something else stands in the way, or a training that was broken off and shall not be resumed.
    """
    check_replaceable(request.out, MANIFEST)
    recipe = _changed(recipe, request)
    data = TrainingData(_dataset(recipe, request), recipe)
    identity = {"recipe": recipe.model_dump(mode="json", exclude={"dataset"}), "data": data.identity}
    folder = training_folder(request.out)
    check_folder(folder, identity, resume=request.resume)
    module = _module(recipe, data)
    trained = run_training(
        module,
        _loaders(recipe, data),
        recipe.fit,
        TrainingPlace(
            folder,
            request.resume,
            request.device,
            recipe.seed,
            request.progress,
            request.max_steps,
            identity,
        ),
    )
    if not trained.primary:
        return TrainedOccupancy(request.out, {"training": {"primary": False}}, trained.history)
    parts = _parts(recipe, data, module, trained)
    parts = _with_sigma(parts, data, request)
    manifest = _write(request, recipe, data, (parts, trained))
    drop_checkpoints(folder)
    return TrainedOccupancy(request.out, manifest, trained.history)


def _changed(recipe: OccupancyTraining, request: TrainRequest) -> OccupancyTraining:
    fit = recipe.fit if request.epochs is None else recipe.fit.model_copy(update={"epochs": request.epochs})
    seed = recipe.seed if request.seed is None else request.seed
    return recipe.model_copy(update={"fit": fit, "seed": seed})


def _dataset(recipe: OccupancyTraining, request: TrainRequest) -> Path:
    given = request.data or ((Path(recipe.dataset),) if recipe.dataset is not None else ())
    if len(given) != 1:
        name = recipe.prepare or "RECIPE"
        raise InputError(
            "--data",
            "one prepared data set",
            f"{len(given)}",
            f"make one with calowatch prepare {name} --store STORE --out DATA, and give --data DATA",
        )
    return given[0]


def _request(recipe: OccupancyTraining) -> NetworkRequest:
    return NetworkRequest(recipe.network.name, recipe.network.wrappers, dict(recipe.network.options))


def _module(recipe: OccupancyTraining, data: TrainingData) -> OccupancyModule:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = build(_request(recipe), data.geometry)
    if recipe.loss == "binomial" and network.predicts != "logit":
        raise InputError(
            "loss",
            "reconstruction for a network that predicts occupancy",
            "binomial",
            "change it, or take the network binomial",
        )
    if recipe.loss == "reconstruction" and network.predicts == "logit":
        raise InputError(
            "loss", "binomial for a network that predicts probabilities", "reconstruction", "change it"
        )
    if recipe.start == "response":
        if not isinstance(network, BinomialNetwork) or network.response is None:
            raise InputError(
                "start", "random for this network", "response", "take binomial-response, or leave it out"
            )
        network.start_from(*data.totals())
    return OccupancyModule(network, recipe, data.fault_maker())


def _loaders(recipe: OccupancyTraining, data: TrainingData) -> Loaders:
    batch, validation = recipe.fit.batch, data.validation
    train = make_loader(data.train, batch, shuffle=True, seed=recipe.seed)
    return Loaders(train, None if validation is None else make_loader(validation, batch))


def _parts(
    recipe: OccupancyTraining, data: TrainingData, module: OccupancyModule, trained: Training
) -> NetworkParts:
    return NetworkParts(
        network=module.network.eval().cpu(),
        request=_request(recipe),
        layout=recipe.layout,
        era=data.era,
        window=recipe.window,
        channel=data.train.channels["channel"].to_numpy(np.int64),
        preparation=data.train.preparation,
        score_sigma=np.ones(len(data.train.channels)),
        loss=recipe.loss,
        training={
            "summary": recipe.summary,
            "epochs": len(trained.history),
            "best_epoch": trained.best_epoch,
            "best_value": trained.best_value,
            "steps": int(trained.history["step"].iloc[-1]),
            "seconds": trained.seconds,
            "device": trained.device,
            "seed": recipe.seed,
            "final": {
                name: float(trained.history[name].iloc[-1])
                for name in trained.history.columns
                if name.startswith(("train_", "val_")) and np.isfinite(trained.history[name].iloc[-1])
            },
        },
        edges=data.geometry.edges,
    )


def _with_sigma(parts: NetworkParts, data: TrainingData, request: TrainRequest) -> NetworkParts:
    """Return the parts with the standard deviation of the window error on training data."""
    model = windows_of(parts)
    most = _SIGMA_WINDOWS if request.max_steps is None else _TRIAL_WINDOWS
    windows = DatasetWindows(data.folder, "train", model.channel, most)
    sigma = np.zeros(len(parts.channel))
    sigma[np.isin(parts.channel, model.channel)] = training_sigma(
        model, _watched(windows, "spread of the error", request.progress)
    )
    return replace(parts, score_sigma=sigma)


def _watched(windows: DatasetWindows, label: str, progress: Progress) -> Windows:
    """Return windows to be gone through once, with a bar."""
    return progress.track(windows, label, -(-len(windows) // windows.at_once))


def _write(
    request: TrainRequest,
    recipe: OccupancyTraining,
    data: TrainingData,
    made: tuple[NetworkParts, Training],
) -> dict[str, Any]:
    """Write the bundle: it appears with its calibration and card, or not at all."""
    parts, trained = made
    channel = windows_of(parts).channel
    with atomic_directory(request.out, marker=MANIFEST) as scratch:
        manifest = save_network(scratch, parts, _extra(recipe, data))
        if data.validation is None:
            request.progress.note("no validation side: the bundle has no calibration")
        else:
            most = _CALIBRATION_WINDOWS if request.max_steps is None else _TRIAL_WINDOWS
            windows = DatasetWindows(data.folder, "validation", channel, most)
            finish_bundle(scratch, _watched(windows, "calibration", request.progress))
        with amended(scratch) as folder:
            write_curves(folder / CURVES, trained.history, trained.best_epoch)
            trained.history.to_csv(folder / METRICS, index=False)
            (folder / "card.md").write_text(card(manifest, recipe, data.identity), encoding="utf-8")
    return manifest


def _extra(recipe: OccupancyTraining, data: TrainingData) -> dict[str, Any]:
    manifest = data.data.manifest
    return {
        "runs": data.runs,
        "validated_on": data.validation_runs,
        "recipe": recipe.model_dump(mode="json", exclude={"dataset"}),
        "dataset": data.identity,
        "provenance": provenance(
            "train",
            sources=manifest["provenance"]["sources"],
            seed=recipe.seed,
            options={"task": "occupancy"},
        ),
    }
