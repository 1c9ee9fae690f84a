"""What happens around epochs and batches: seeds, checkpoints and history, live losses."""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from calowatch.core.files import atomic_file
from calowatch.core.progress import Progress
from calowatch.train.place import BEST, HISTORY, LAST, METRICS
from calowatch.train.resumable import seed_of

__all__ = ["Keeper", "Reseed", "Watch"]

Row = dict[str, float]

_BETWEEN_NOTES = 30.0  # seconds


class Reseed(Callback):
    """Seeds torch before each training batch, by seed, epoch and batch alone."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002 - as Lightning calls it
        batch: Any,  # noqa: ARG002
        batch_idx: int,
    ) -> None:
        """Seed torch; each process of a training on several GPUs draws its own numbers."""
        torch.manual_seed(seed_of(self.seed, trainer.current_epoch, batch_idx, trainer.global_rank))


class Keeper(Checkpoint):
    """Keeps the history and, after each epoch, the checkpoints: the best one's weights, and the last to resume from.

    Lightning's own callbacks could do either, but write the last checkpoint before the plateau schedule has moved.

    Parameters
    ----------
    folder
        Where they go.
    monitor, mode
        The figure that is best at its ``"min"`` or ``"max"``.
    """

    def __init__(self, folder: Path, monitor: str, mode: str) -> None:
        self.folder, self.monitor = folder, monitor
        self.sign = -1.0 if mode == "max" and monitor.startswith("val_") else 1.0
        self.rows: list[Row] = []
        self._began = time.monotonic()

    @property
    def state_key(self) -> str:
        """Name of the state in checkpoints."""
        return HISTORY

    def state_dict(self) -> dict[str, Any]:
        """Return the history."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the history of a checkpoint."""
        self.rows = [dict(row) for row in state_dict["rows"]]

    def best(self, rows: list[Row]) -> int | None:
        """Return the position of the best row, the earliest of equals; None where no figure is a number."""
        figures = [self.sign * row.get(self.monitor, math.nan) for row in rows]
        finite = [value for value in figures if math.isfinite(value)]
        return figures.index(min(finite)) if finite else None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Start the clock."""
        self._began = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Add a row, move a plateau schedule, write the checkpoints."""
        figures = {
            name: float(value)
            for name, value in sorted(trainer.callback_metrics.items())
            if not name.endswith("_step")
        }
        row = {
            "epoch": float(trainer.current_epoch + 1),
            "step": float(trainer.global_step),
            "lr": float(trainer.optimizers[0].param_groups[0]["lr"]),
        }
        self.rows.append(row | figures | {"seconds": time.monotonic() - self._began})
        for config in trainer.lr_scheduler_configs:
            if config.reduce_on_plateau:
                config.scheduler.step(figures.get(self.monitor, math.nan))  # type: ignore[arg-type]
        if self.best(self.rows) == len(self.rows) - 1:
            trainer.save_checkpoint(self.folder / BEST, weights_only=True)
        trainer.save_checkpoint(self.folder / LAST)
        if trainer.is_global_zero:
            with atomic_file(self.folder / METRICS) as scratch:
                pd.DataFrame(self.rows).astype({"epoch": int, "step": int}).to_csv(scratch, index=False)


class Watch(Callback):
    """Tells losses: a note after each epoch, and within long ones.

    Parameters
    ----------
    progress
        Whom to tell.
    batches, epochs
        Batches of an epoch, and epochs.
    """

    def __init__(self, progress: Progress, batches: int, epochs: int) -> None:
        self.progress, self.batches, self.epochs = progress, batches, epochs
        self._steps: Iterator[int] | None = None
        self._noted = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Show how much there is to do."""
        if trainer.is_global_zero:
            left = self.batches * (self.epochs - trainer.current_epoch)
            self._steps = self.progress.track(range(left), "training", left)
            self._noted = time.monotonic()

    def on_train_batch_start(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Move on."""
        if self._steps is not None:
            next(self._steps, None)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,
        batch: Any,  # noqa: ARG002
        batch_idx: int,
    ) -> None:
        """Tell the loss of a batch now and then."""
        if self._steps is None or time.monotonic() - self._noted < _BETWEEN_NOTES:
            return
        self._noted = time.monotonic()
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        self.progress.note(
            f"epoch {trainer.current_epoch + 1} of {self.epochs}, batch {batch_idx + 1} of {self.batches}: "
            f"loss {float(loss):.5g}"
        )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Tell what the epoch brought."""
        if self._steps is None:
            return
        figures = ", ".join(
            f"{name.replace('_', ' ')} {float(value):.5g}"
            for name, value in sorted(trainer.callback_metrics.items())
            if not name.endswith("_step")
        )
        self._noted = time.monotonic()
        self.progress.note(f"epoch {trainer.current_epoch + 1} of {self.epochs}: {figures}")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        """Take the bar away, on errors too."""
        if self._steps is not None:
            close = getattr(self._steps, "close", None)
            if close is not None:
                close()
            self._steps = None
