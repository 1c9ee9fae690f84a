"""The folder of a training: what lies in it, and who may use it."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from calowatch.core.errors import ConflictError
from calowatch.core.files import check_place, write_json
from calowatch.core.progress import Progress

__all__ = [
    "BEST",
    "CURVES",
    "LAST",
    "LOGS",
    "METRICS",
    "check_folder",
    "claim_folder",
    "drop_checkpoints",
    "saved_history",
]

BEST, LAST = "best.ckpt", "last.ckpt"
METRICS, CURVES, LOGS = "metrics.csv", "curves.png", "tensorboard"
IDENTITY = "identity.json"
HISTORY = "history"


def check_folder(folder: Path, identity: Mapping[str, Any] | None, *, resume: bool) -> None:
    """Raise where a training could not use the folder: before long work.

    Raises
    ------
    ConflictError
        When it holds a training that was broken off and ``resume`` is not set, or another one than the one to resume.
    """
    check_place(folder)
    if not (folder / LAST).is_file():
        return
    if not resume:
        raise ConflictError(
            folder,
            "no unfinished training",
            f"one of {len(saved_history(folder))} epochs",
            "give --resume to go on, or delete the folder",
        )
    before = _identity(folder)
    now = json.loads(json.dumps(dict(identity or {})))
    changed = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
    if changed:
        raise ConflictError(
            folder,
            "the training that was broken off",
            f"one with another {', '.join(changed)}",
            "resume with what it began with, or delete the folder",
        )


def claim_folder(
    folder: Path, identity: Mapping[str, Any] | None, *, resume: bool, progress: Progress
) -> None:
    """Make the folder ready: as it is to resume, else without what an earlier training left."""
    check_folder(folder, identity, resume=resume)
    rows = saved_history(folder) if resume else []
    if resume:
        progress.note(
            f"going on after epoch {len(rows)}" if rows else "nothing to resume: starting with epoch 1"
        )
    if rows:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name in (BEST, LAST, METRICS, CURVES, IDENTITY):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / LOGS, ignore_errors=True)
    write_json(folder / IDENTITY, dict(identity or {}))


def saved_history(folder: Path) -> list[dict[str, float]]:
    """Return the epochs that the folder's checkpoint has behind it, one row each; none without a checkpoint."""
    path = folder / LAST
    if not path.is_file():
        return []
    saved = torch.load(path, map_location="cpu", weights_only=True)
    rows: list[dict[str, float]] = saved["callbacks"][HISTORY]["rows"]
    return rows


def drop_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a training whose bundle is written; logs and curves stay."""
    for path in (folder / BEST, folder / LAST, folder / IDENTITY, *folder.glob(".*.partial")):
        path.unlink(missing_ok=True)


def _identity(folder: Path) -> dict[str, Any]:
    path = folder / IDENTITY
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return found
