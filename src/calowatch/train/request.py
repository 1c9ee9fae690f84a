"""What a training is asked for beside its recipe; imports no torch."""

from dataclasses import dataclass
from pathlib import Path

from calowatch.core.progress import SILENT, Progress

__all__ = ["TrainRequest", "training_folder"]


@dataclass(frozen=True)
class TrainRequest:
    """Where to and from what to train.

    Parameters
    ----------
    out
        Folder of the bundle; an earlier bundle there is replaced once the new one is whole.
    data
        What to learn from, in place of what the recipe names.
    resume
        Go on where a training for ``out`` was broken off.
    device
        ``"auto"`` (CUDA where there is any, all GPUs), ``"cpu"``, ``"cuda"``, or one GPU as ``"cuda:1"``.
    seed, epochs
        In place of the recipe's.
    max_steps
        Stop after so many optimiser steps: to try a recipe.
    progress
        Whom to tell how far the work is.
    """

    out: Path
    data: tuple[Path, ...] = ()
    resume: bool = False
    device: str = "auto"
    seed: int | None = None
    epochs: int | None = None
    max_steps: int | None = None
    progress: Progress = SILENT


def training_folder(out: Path) -> Path:
    """Return where a training for a bundle keeps its logs and, until it is finished, its checkpoints.

    Examples
    --------
    >>> training_folder(Path("models/mine")).name
    'mine.training'
    """
    return out.parent / f"{out.name}.training"
