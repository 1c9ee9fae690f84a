"""Quark and gluon jets as labelled data."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from calowatch.core.errors import FormatError
from calowatch.core.progress import Progress
from calowatch.core.training import ImageDataRecipe
from calowatch.data.images import ImageData
from calowatch.io.jets import CHANNELS, CLASSES, SCALARS, JetFiles, find_jets, read_jets
from calowatch.metrics.jets import JET_OBSERVABLES, jet_observables

__all__ = ["open_jets"]

_AT_ONCE = 256


def open_jets(sources: Sequence[str | Path], recipe: ImageDataRecipe, progress: Progress) -> ImageData:
    """Open Parquet files of jets; empty and broken images are left out, with a note.

    Scalars are pt and m0, then the observables of `calowatch.metrics.jets`, worked out only where the recipe wants any
    of them. Blocks are the chunks of generation, which published files do not tell.

    Parameters
    ----------
    sources
        Files, or folders of them.
    recipe
        Of the data.
    progress
        Takes notes of what is odd in the files.

    Raises
    ------
    InputError
        For files that are something else.
    """
    files: list[Path] = []
    for source in sources:
        found = find_jets(source)
        if not found and Path(source).is_dir():
            raise FormatError(
                source, "Parquet files with X_jets in the folder", "none", "give the files' folder"
            )
        files += found or [Path(source)]
    images = read_jets(files, progress=progress)
    scalars = images.scalars
    names: tuple[str, ...] = SCALARS
    if set(recipe.scalars) - set(SCALARS):
        scalars = np.concatenate([scalars, _observables(images, progress)], axis=1)
        names = (*SCALARS, *JET_OBSERVABLES)
    axes = ("ieta", "iphi")
    return ImageData(images, images.labels, CLASSES, CHANNELS, scalars, names, images.table, axes, "jets")


def _observables(images: JetFiles, progress: Progress) -> npt.NDArray[np.float32]:
    found = np.empty((len(images), len(JET_OBSERVABLES)), np.float32)
    firsts = range(0, len(images), _AT_ONCE)
    for first in progress.track(firsts, "measuring jets", len(firsts)):
        rows = np.arange(first, min(first + _AT_ONCE, len(images)))
        found[rows] = jet_observables(images.read(rows))
    return found
