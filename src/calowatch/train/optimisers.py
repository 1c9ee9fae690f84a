"""Optimisers and schedules of the learning rate, from recipes, in the form that Lightning takes."""

import math
from collections.abc import Iterable
from typing import Literal

from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch.nn import Parameter
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from calowatch.core.training import FitRecipe, OptimiserRecipe, ScheduleRecipe

__all__ = ["BY_TRAINER", "configure", "cosine_factor", "direction"]

_KINDS: dict[str, type[Adam] | type[AdamW]] = {"adam": Adam, "adamw": AdamW}

BY_TRAINER = 10**9
"""Epochs between two steps of a plateau schedule as Lightning counts them.

Lightning takes this step after the epoch's checkpoint is written, so that a resumed training would miss it; the trainer
takes it itself, before.
"""


def direction(monitor: str) -> Literal["min", "max"]:
    """Return whether a monitored figure is best at its ``"min"`` or ``"max"``.

    Examples
    --------
    >>> direction("loss"), direction("auc")
    ('min', 'max')
    """
    return "min" if monitor == "loss" else "max"


def cosine_factor(epoch: int, warmup: int, epochs: int) -> float:
    """Return the factor on the learning rate in an epoch, counted from 0.

    A linear rise over ``warmup`` epochs, then half a cosine that would be zero after the last epoch.

    Examples
    --------
    >>> [round(cosine_factor(epoch, 1, 5), 3) for epoch in range(5)]
    [1.0, 1.0, 0.854, 0.5, 0.146]
    """
    if epoch < warmup:
        return (epoch + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (epoch - warmup) / max(epochs - warmup, 1)))


def configure(
    parameters: Iterable[Parameter], optimiser: OptimiserRecipe, schedule: ScheduleRecipe, fit: FitRecipe
) -> OptimizerLRSchedulerConfig:
    """Return what ``configure_optimizers`` of a module returns.

    Parameters
    ----------
    parameters
        Weights to be moved.
    optimiser, schedule, fit
        Of a training recipe.
    """
    mover: Optimizer = _KINDS[optimiser.name](
        parameters, lr=optimiser.lr, weight_decay=optimiser.weight_decay, amsgrad=optimiser.amsgrad
    )
    if schedule.kind == "cosine":
        curve = LambdaLR(mover, lambda epoch: cosine_factor(epoch, schedule.warmup, fit.epochs))
        return {"optimizer": mover, "lr_scheduler": {"scheduler": curve, "interval": "epoch"}}
    if schedule.kind == "plateau":
        plateau = ReduceLROnPlateau(
            mover, mode=direction(fit.monitor), factor=schedule.factor, patience=schedule.patience
        )
        return {
            "optimizer": mover,
            "lr_scheduler": {
                "scheduler": plateau,
                "monitor": f"val_{fit.monitor}",
                "interval": "epoch",
                "frequency": BY_TRAINER,
                "strict": False,
            },
        }
    return {"optimizer": mover}  # type: ignore[typeddict-item] # the schedule may be left out
