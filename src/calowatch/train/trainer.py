"""The trainer: Lightning's, set up so that a training goes on after a kill as if nothing had happened.

What is drawn at random (order of samples, dropout, latent vectors) depends on seed, epoch and batch alone, never on
what was drawn before; with the checkpoint of the last whole epoch a training that was killed therefore ends with the
same weights and history as one that was not.
"""

import logging
import signal
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader, RandomSampler

from calowatch.core.errors import InputError
from calowatch.core.progress import SILENT, Progress
from calowatch.core.training import FitRecipe
from calowatch.present.curves import write_curves
from calowatch.train.callbacks import Keeper, Reseed, Watch
from calowatch.train.optimisers import direction
from calowatch.train.place import BEST, CURVES, LAST, LOGS, claim_folder, saved_history
from calowatch.train.resumable import AtomicCheckpoints, EpochOrder

__all__ = ["Loaders", "Training", "TrainingPlace", "run_training"]

Precision = Literal["32-true", "16-mixed", "bf16-mixed"]

_MOST_LOG_STEPS = 50


@dataclass(frozen=True)
class Loaders:
    """Batches of both sides.

    Parameters
    ----------
    train
        Usually a `DataLoader`; one that shuffles gets an order that depends on seed and epoch alone.
    validation
        None where there is no such side: the training side is monitored then.
    """

    train: Iterable[Any]
    validation: Iterable[Any] | None = None


@dataclass(frozen=True)
class TrainingPlace:
    """Where and on what a training runs.

    Parameters
    ----------
    folder
        Of checkpoints, logs and curves.
    resume
        Go on from the folder's checkpoint; without one, start.
    device
        ``"auto"`` (CUDA where there is any, all GPUs), ``"cpu"``, ``"cuda"``, or one GPU as ``"cuda:1"``.
    seed
        Of everything drawn at random while training.
    progress
        Whom to tell how far the work is; gets a note after each epoch.
    max_steps
        Stop after so many optimiser steps.
    identity
        What has to be equal to go on, ready for JSON: the recipe, hashes of the data.
    """

    folder: Path
    resume: bool = False
    device: str = "auto"
    seed: int = 0
    progress: Progress = SILENT
    max_steps: int | None = None
    identity: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Training:
    """A finished training.

    Attributes
    ----------
    history
        One row per epoch: ``epoch`` from 1, ``step``, ``lr``, ``seconds``, and all figures that the module logged.
    best_epoch, best_value
        Of the monitored figure.
    seconds
        Of all epochs, those before a kill included.
    device
        What computed, such as ``"cpu"``.
    checkpoint
        Weights of the best epoch, for ``torch.load(..., weights_only=True)["state_dict"]``.
    primary
        False in the helping processes of a training on several GPUs, which write nothing.
    """

    history: pd.DataFrame
    best_epoch: int
    best_value: float
    seconds: float
    device: str
    checkpoint: Path
    primary: bool = True


def run_training(
    module: LightningModule, loaders: Loaders, settings: FitRecipe, place: TrainingPlace
) -> Training:
    """Train a module; it holds the weights of its best epoch afterwards.

    The module logs ``train_loss`` and, where there is a validation side, ``val_loss`` and whatever else its recipe
    monitors (``val_auc``, ``val_accuracy``), once per epoch. The folder then holds ``metrics.csv``, ``curves.png``,
    ``tensorboard/`` and the checkpoints.

    Parameters
    ----------
    module
        With its own ``configure_optimizers`` (see `calowatch.train.optimisers.configure`).
    loaders
        Batches.
    settings
        Of the recipe.
    place
        Where and on what.

    Raises
    ------
    InputError
        When the device is not there, the folder holds another training, or the loss is no number.
    """
    accelerator, devices = _device(place.device)
    claim_folder(place.folder, place.identity, resume=place.resume, progress=place.progress)
    validated = loaders.validation is not None
    monitor = f"val_{settings.monitor}" if validated else "train_loss"
    rows = saved_history(place.folder) if place.resume else []
    keeper = Keeper(place.folder, monitor, direction(settings.monitor))
    train = _resumable(loaders.train, place.seed)
    limit, epochs = _amount(len(train), settings.epochs, place.max_steps)  # type: ignore[arg-type]
    with _quiet(), torch.random.fork_rng(devices=[]):
        trainer = Trainer(
            accelerator=accelerator,
            devices=devices,
            precision=_precision(settings.precision, accelerator),
            max_epochs=epochs,
            limit_train_batches=limit,
            limit_val_batches=place.max_steps or 1.0,
            gradient_clip_val=settings.gradient_clip,
            callbacks=[
                Reseed(place.seed),
                Watch(place.progress, limit, epochs),
                *_early_stop(settings, monitor),
                keeper,
            ],
            logger=TensorBoardLogger(
                place.folder, name=None, version=LOGS, purge_step=int(rows[-1]["step"]) if rows else None
            ),
            plugins=[AtomicCheckpoints()],
            default_root_dir=place.folder,
            log_every_n_steps=min(_MOST_LOG_STEPS, limit),
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=True,
        )
        if not _finished(rows, keeper, settings.patience, epochs):
            last = place.folder / LAST
            _fit(trainer, module, train, loaders.validation, last if rows else None)
            rows = keeper.rows
        device = str(module.device) if accelerator == "cpu" else torch.cuda.get_device_name(module.device)
        return _result(module, rows, keeper, place, (device, trainer.is_global_zero))


def _result(
    module: LightningModule,
    rows: list[dict[str, float]],
    keeper: Keeper,
    place: TrainingPlace,
    where: tuple[str, bool],
) -> Training:
    best = keeper.best(rows)
    if best is None:
        raise InputError(
            "training",
            f"a {keeper.monitor} that is a number",
            "none in any epoch: it diverged",
            "take a smaller optimiser.lr, or gradient_clip",
        )
    checkpoint = place.folder / BEST
    module.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"])
    history = pd.DataFrame(rows)
    device, primary = where
    if primary:
        write_curves(place.folder / CURVES, history, int(rows[best]["epoch"]))
    return Training(
        history=history,
        best_epoch=int(rows[best]["epoch"]),
        best_value=float(rows[best][keeper.monitor]),
        seconds=float(history["seconds"].sum()),
        device=device,
        checkpoint=checkpoint,
        primary=primary,
    )


def _fit(
    trainer: Trainer, module: LightningModule, train: Any, validation: Any, checkpoint: Path | None
) -> None:
    """Fit; an interrupt stays an interrupt, which Lightning turns into exit code 1."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, train, validation, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as stopped:
        if isinstance(stopped.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt from stopped
        raise


def _early_stop(settings: FitRecipe, monitor: str) -> list[Callback]:
    if settings.patience is None:
        return []
    mode = direction(settings.monitor) if monitor.startswith("val_") else "min"
    return [EarlyStopping(monitor, patience=settings.patience, mode=mode, check_on_train_epoch_end=True)]


def _finished(rows: list[dict[str, float]], keeper: Keeper, patience: int | None, epochs: int) -> bool:
    """Return whether a training that shall go on was broken off after its last epoch."""
    if not rows:
        return False
    best = keeper.best(rows)
    stopped = patience is not None and best is not None and len(rows) - 1 - best >= patience
    return stopped or len(rows) >= epochs


def _amount(batches: int, epochs: int, max_steps: int | None) -> tuple[int, int]:
    """Return batches per epoch and epochs, cut to the steps asked for."""
    if not batches:
        raise InputError("training data", "a batch at least", "none", "prepare more lumisections")
    if max_steps is None:
        return batches, epochs
    limit = min(batches, max_steps)
    return limit, min(epochs, max_steps // limit)


def _device(name: str) -> tuple[str, Any]:
    """Return Lightning's accelerator and devices."""
    kind, _, number = name.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and (kind != "cuda" or not number.isdigit())):
        raise InputError(
            "--device", "auto, cpu, cuda, or a GPU such as cuda:0", repr(name), "take one of them"
        )
    there = torch.cuda.device_count()
    if kind == "cuda" and (not there or int(number or 0) >= there):
        raise InputError("--device", name, f"{there} GPUs that torch can use", "take --device auto")
    if kind == "cpu" or not there:
        return "cpu", 1
    return "gpu", [int(number)] if number else "auto"


def _precision(asked: str, accelerator: str) -> Precision:
    if asked == "auto":
        return "bf16-mixed" if accelerator == "gpu" and torch.cuda.is_bf16_supported() else "32-true"
    known: dict[str, Precision] = {"32": "32-true", "16-mixed": "16-mixed", "bf16-mixed": "bf16-mixed"}
    return known[asked]


def _resumable(loader: Iterable[Any], seed: int) -> Iterable[Any]:
    """Return a shuffling loader with an order that depends on seed and epoch alone; others as they are."""
    if not isinstance(loader, DataLoader) or not isinstance(loader.sampler, RandomSampler):
        return loader
    return DataLoader(
        loader.dataset,
        batch_size=loader.batch_size,
        sampler=EpochOrder(loader.dataset, seed),  # type: ignore[arg-type]
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        drop_last=loader.drop_last,
        worker_init_fn=loader.worker_init_fn,
        persistent_workers=loader.persistent_workers,
        generator=torch.Generator().manual_seed(seed),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advice from users, who can follow none of it."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message in (
            r".*does not have many workers which may be a bottleneck.*",
            r".*GPU available but not used.*",
            r".*but have no `val_dataloader`.*",
            r".*isinstance\(treespec, LeafSpec\).*",
        ):
            warnings.filterwarnings("ignore", message=message)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
