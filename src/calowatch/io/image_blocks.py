"""Which images of a set were simulated together, as the simulation wrote beside it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from calowatch.core.errors import FormatError
from calowatch.core.files import file_hash
from calowatch.core.progress import SILENT, Progress

__all__ = ["MARKER", "TRUTH", "told_blocks"]

MARKER = "gsoc.json"
"""Summary of simulated image sets, in their folder."""

TRUTH = "gsoc-truth.npz"
"""What they were drawn from."""


def told_blocks(path: Path | str, progress: Progress = SILENT) -> npt.NDArray[np.int64] | None:
    """Return the block of each image of a set that ``calowatch simulate gsoc`` wrote, images of a block being alike.

    Parameters
    ----------
    path
        The image set.
    progress
        Takes a note where a simulation lies beside that does not tell of this file as it is now.

    Returns
    -------
    Numbers from 0, shape (images,); None for sets that were not simulated, or changed since: by content, not by name.

    Raises
    ------
    FormatError
        When what the simulation wrote is damaged.
    """
    path = Path(path)
    marker, truth = path.parent / MARKER, path.parent / TRUTH
    if not marker.is_file():
        return None
    try:
        runs: list[dict[str, Any]] = json.loads(marker.read_text())["runs"]
        found = file_hash(path)
        same = next((int(each["run"]) for each in runs if each.get("sha256") == found), None)
        if same is None:
            progress.note(
                f"{path.name}: not the file that {MARKER} beside it was written for; its blocks are not known"
            )
            return None
        with np.load(truth, allow_pickle=False) as held:
            return np.asarray(held[f"block_{same}"], np.int64)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        raise FormatError(
            path.parent,
            f"{MARKER} and {TRUTH} as calowatch simulate gsoc writes them",
            f"{type(error).__name__}: {error}",
            "simulate the image sets again",
        ) from error
