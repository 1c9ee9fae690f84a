"""Files of labelled images, joined into data that networks are trained on and judged by."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.core.errors import InputError, nearest
from calowatch.core.progress import SILENT, Progress
from calowatch.core.training import ImageDataRecipe
from calowatch.data.image_sets_egamma import open_egamma
from calowatch.data.image_sets_jets import open_jets
from calowatch.data.images import ArrayImages, ImageData, JoinedImages, pick_channels
from calowatch.io.egamma import find_egamma
from calowatch.io.image_blocks import told_blocks
from calowatch.io.images import ImageSet, find_images, read_images
from calowatch.io.jets import find_jets

__all__ = ["OPENERS", "image_files", "open_images", "open_others"]

Ints = npt.NDArray[np.int64]
NO_CLASS = -1


def open_images(
    sources: Sequence[str | Path],
    recipe: ImageDataRecipe,
    progress: Progress = SILENT,
    *,
    partial: bool = False,
) -> ImageData:
    """Open the images that a recipe wants; they are checked now, and read when asked for.

    Parameters
    ----------
    sources
        Files, or folders of them, of the recipe's kind.
    recipe
        Says the classes, and which channels, scalars and how many images of each class are taken: the first ones of
        each, so that neighbours stay neighbours.
    progress
        Takes notes of what the files tell.
    partial
        Classes may be without images.

    Raises
    ------
    InputError
        For files of another kind, classes without images and images of no class.
    """
    data = pick_channels(OPENERS[recipe.kind](sources, recipe, progress), recipe.channels)
    data = _pick_scalars(data, recipe.scalars)
    if recipe.at_most is not None:
        first = [np.flatnonzero(data.labels == label)[: recipe.at_most] for label in range(len(data.classes))]
        data = data.some(np.sort(np.concatenate(first)))
    missing = [name for label, name in enumerate(data.classes) if not (data.labels == label).any()]
    if missing and not partial:
        raise InputError(
            ", ".join(map(str, sources)),
            f"images of each class ({', '.join(data.classes)})",
            f"none of {', '.join(missing)}",
            "give the files of all classes",
        )
    return data


def open_others(
    sources: Sequence[str | Path], recipe: ImageDataRecipe, progress: Progress = SILENT
) -> ImageData:
    """Open images of anything else in the recipe's layout: a third run, say. Their labels are all -1.

    Parameters and errors as in `open_images`, but that classes do not matter.
    """
    anything = recipe.model_copy(update={"classes": (), "at_most": None})
    data = pick_channels(OPENERS[recipe.kind](sources, anything, progress), recipe.channels)
    data = _pick_scalars(data, recipe.scalars)
    return replace(data, labels=np.full(len(data), NO_CLASS))


def _pick_scalars(data: ImageData, names: Sequence[str]) -> ImageData:
    for name in names:
        if name not in data.scalar_names:
            known = ", ".join(data.scalar_names) or "none: these images have no numbers beside them"
            raise InputError(
                f"scalar {name!r}", f"one of {known}", "none such", nearest(name, data.scalar_names)
            )
    at = [data.scalar_names.index(name) for name in names]
    return replace(data, scalars=data.scalars[:, at], scalar_names=tuple(names))


def _open_runs(sources: Sequence[str | Path], recipe: ImageDataRecipe, progress: Progress) -> ImageData:
    sets = [
        read_images(path, progress=progress)
        for path in progress.track(image_files(sources, "runs"), "checking images")
    ]
    classes = _classes(sets, recipe.classes)
    unknown = sorted({each.label for each in sets} - set(classes))
    if unknown:
        raise InputError(
            ", ".join(each.source for each in sets if each.label in unknown),
            f"images of {' or '.join(classes)}",
            f"{', '.join(unknown)}",
            "leave this file out, or name its run among the recipe's classes",
        )
    lengths = [len(each) for each in sets]
    table = pd.DataFrame(
        {
            "source": np.repeat([Path(each.source).name for each in sets], lengths),
            "position": np.concatenate([np.arange(length) for length in lengths]),
            "block": np.concatenate([_blocks(each, progress) for each in sets]),
            "run": np.repeat([each.run or 0 for each in sets], lengths),
        }
    )
    labels = np.repeat([classes.index(each.label) for each in sets], lengths).astype(np.int64)
    images = JoinedImages([ArrayImages(each.images) for each in sets])
    none = np.empty((len(labels), 0), np.float32)
    return ImageData(images, labels, classes, ("occupancy",), none, (), table, ("ieta", "iphi"), "runs")


def _blocks(images: ImageSet, progress: Progress) -> Ints:
    """Return the block of each image where a simulation tells it, else -1."""
    told = told_blocks(images.source, progress)
    return np.full(len(images), -1) if told is None else told


def image_files(sources: Sequence[str | Path], kind: str) -> list[Path]:
    """Return the files that sources name, in order: files themselves, or those of a kind directly in a folder.

    Raises
    ------
    InputError
        For a source without files, no sources, or two files of one name, which no table of images could tell apart.
    """
    files = []
    for source in sources:
        found = _FILES[kind](source)
        if not found:
            raise _nothing_found(Path(source), kind)
        files += found
    names = [path.name for path in files]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            "files", "files of different names", f"{', '.join(twice)} twice", "leave out or rename one"
        )
    if not files:
        raise InputError("files", "image files", "none", "name them in the recipe, or give --data")
    return files


def _nothing_found(source: Path, kind: str) -> InputError:
    """Return what to say of a source without files of a kind: it is not there, or it holds others."""
    wanted = f"a file of {kind} images, or a folder of them"
    if not source.exists():
        return InputError(source, wanted, "nothing of that name", "check the path")
    others = [other for other in _FILES if other != kind and _holds(other, source)]
    if others:
        return InputError(
            source, wanted, f"{others[0]} images", f"choose a recipe of {others[0]}, or give other files"
        )
    return InputError(
        source,
        wanted,
        "a folder without any" if source.is_dir() else "another kind of file",
        "check the path",
    )


def _holds(kind: str, source: Path) -> bool:
    try:
        return bool(_FILES[kind](source))
    except InputError:
        return False


def _classes(sets: Sequence[ImageSet], named: Sequence[str]) -> tuple[str, ...]:
    """Return names of classes as readers give them: a run by its number is "run N"."""
    if named:
        return tuple(f"run {int(name)}" if name.isdigit() else name for name in named)
    return tuple(dict.fromkeys(each.label for each in sets))


Opener = Callable[[Sequence[str | Path], ImageDataRecipe, Progress], ImageData]

OPENERS: Mapping[str, Opener] = MappingProxyType(
    {"runs": _open_runs, "egamma": open_egamma, "jets": open_jets}
)
"""What opens files of each kind: all images of them, with all channels and all scalars they have."""

_FILES: Mapping[str, Callable[[str | Path], list[Path]]] = MappingProxyType(
    {"runs": find_images, "egamma": find_egamma, "jets": find_jets}
)
"""What finds files of each kind."""
