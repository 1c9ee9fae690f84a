"""Electron and photon images as labelled data."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from calowatch.core.errors import FormatError
from calowatch.core.progress import Progress
from calowatch.core.training import ImageDataRecipe
from calowatch.data.images import ImageData
from calowatch.io.egamma import CHANNELS, CLASSES, EgammaFiles, find_egamma, read_egamma
from calowatch.metrics.showers import SHOWER_OBSERVABLES, shower_observables

__all__ = ["open_egamma"]

_AT_ONCE = 4096


def open_egamma(sources: Sequence[str | Path], recipe: ImageDataRecipe, progress: Progress) -> ImageData:
    """Open HDF5 files of electrons and photons; empty and broken images are left out, with a note.

    Scalars are the observables of `calowatch.metrics.showers`, worked out only where the recipe wants any. Blocks are
    the chunks of generation, which published files do not tell.

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
        found = find_egamma(source)
        if not found and Path(source).is_dir():
            raise FormatError(
                source, "HDF5 files with X and y in the folder", "none", "give the files' folder"
            )
        files += found or [Path(source)]
    images = read_egamma(files, progress)
    names = SHOWER_OBSERVABLES if recipe.scalars else ()
    scalars = _observables(images, progress) if names else np.empty((len(images), 0), np.float32)
    axes = ("ieta", "iphi")
    return ImageData(images, images.labels, CLASSES, CHANNELS, scalars, names, images.table, axes, "egamma")


def _observables(
    images: EgammaFiles, progress: Progress
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    found = np.empty((len(images), len(SHOWER_OBSERVABLES)), np.float32)
    firsts = range(0, len(images), _AT_ONCE)
    for first in progress.track(firsts, "measuring showers", len(firsts)):
        rows = np.arange(first, min(first + _AT_ONCE, len(images)))
        found[rows] = shower_observables(images.read(rows))
    return found
