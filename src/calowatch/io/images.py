"""Labelled image sets: GSoC npy files of shape (n, 64, 72), one depth of HE per image, values that are no counts.

Rows and columns are those of the canonical grid (`calowatch.detector.index.canonical_index`): row 0 is ieta -32, row 32
is ieta 1, column 0 is iphi 1. A file is mapped, never loaded whole: a set of 10000 images is 369 MB.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from calowatch.core.errors import AmbiguousLayoutError, CountsError, FormatError, InputError
from calowatch.core.files import atomic_file
from calowatch.core.progress import SILENT, Progress

__all__ = [
    "IMAGE_SHAPE",
    "ImageSet",
    "find_images",
    "looks_like_images",
    "read_images",
    "refuse_images",
    "write_images",
]

IMAGE_SHAPE = (64, 72)
"""Rows (ieta) and columns (iphi) of an image."""

_BLOCK = 256  # images looked at together: 9 MB
_NAMED = re.compile(r"run[_-]?0*(\d{5,7})(?!\d)", re.IGNORECASE)
_MAGIC = b"\x93NUMPY"


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one class.

    Parameters
    ----------
    images
        Shape (n, 64, 72), floats, finite and not negative; mapped from the file, read only.
    label
        Name of the class, such as ``"run 355456"``.
    run
        Run number, ``None`` where the label is the user's own.
    source
        The file.
    """

    images: npt.NDArray[np.floating[Any]]
    label: str
    run: int | None
    source: str

    def __len__(self) -> int:
        return len(self.images)

    def blocks(self) -> Iterator[npt.NDArray[np.float64]]:
        """Yield the images in order, some hundred at a time, as 64-bit floats."""
        for first in range(0, len(self.images), _BLOCK):
            yield np.asarray(self.images[first : first + _BLOCK], np.float64)


def looks_like_images(path: Path | str) -> bool:
    """Return whether a file is an image set: an npy array of floats, (n, 64, 72), with values that are not whole.

    Looks at the first images only; whole numbers there are counts, so the file is some other producer's.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            if stream.read(len(_MAGIC)) != _MAGIC:
                return False
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return False
    if images.ndim != 3 or images.shape[1:] != IMAGE_SHAPE or not np.issubdtype(images.dtype, np.floating):
        return False
    return not _whole(np.asarray(images[:_BLOCK]))


def _empty(path: Path) -> bool:
    """Return whether a file has the shape and type of an image set, and its first images hold nothing but zeros."""
    try:
        return not _mapped(path)[:_BLOCK].any()
    except InputError:
        return False


def _whole(images: npt.NDArray[Any]) -> bool:
    finite = images[np.isfinite(images)]
    return bool((finite == np.rint(finite)).all())


def refuse_images(path: Path | str) -> None:
    """Raise if a file is an image set, which can be no occupancy.

    Raises
    ------
    FormatError
        Naming the verbs that take images.
    """
    if looks_like_images(path):
        raise FormatError(
            path,
            "occupancy, counts of digis per lumisection and channel",
            f"an image set of non-integer values, (n, {IMAGE_SHAPE[0]}, {IMAGE_SHAPE[1]})",
            "images have no lumisections, events or channels: give the file to calowatch explore, or train on it",
        )


def find_images(source: Path | str) -> list[Path]:
    """Return the image files that a source names: an npy file itself, or the image sets directly in a folder.

    A file ending in ``.npy`` is always taken for images, so that `read_images` can say what is wrong with it; so is one
    in a folder that begins with empty images.
    """
    path = Path(source)
    if path.is_dir():
        files = [file for file in sorted(path.glob("*.npy")) if file.is_file()]
        return [file for file in files if looks_like_images(file) or _empty(file)]
    return [path] if path.suffix.lower() == ".npy" else []


def read_images(path: Path | str, label: str | None = None, progress: Progress = SILENT) -> ImageSet:
    """Map an image set and check every value of it.

    Parameters
    ----------
    path
        An npy file.
    label
        Name of the class; by default ``"run N"`` from the name of the file (``Run355456_Dataset_..npy``), with a note.
    progress
        Takes the note.

    Raises
    ------
    FormatError
        When the file is not npy, holds objects, or has another shape or type.
    AmbiguousLayoutError
        When all values are whole numbers (they may be counts), or the name holds two run numbers.
    CountsError
        For values that are negative, infinite or NaN, or all zero.
    InputError
        When there is no such file, or its name tells no run and no label is given.
    """
    path = Path(path)
    images = _mapped(path)
    run = None if label else _run_in_name(path)
    found = ImageSet(images, label or f"run {run}", run, str(path))
    whole, empty = True, True
    for number, block in enumerate(found.blocks()):
        _check_values(path, block, number * _BLOCK)
        whole = whole and _whole(block)
        empty = empty and not block.any()
    if empty:
        raise CountsError(
            path,
            "images with values above zero",
            f"{len(found)} empty images: every value is zero",
            "make the file again, or copy it again from where it is whole",
        )
    if whole:
        raise AmbiguousLayoutError(
            path,
            "images, whose values are not whole numbers",
            "whole numbers only, which may as well be counts of digis",
            "convert counts from the file they came from; store images unrounded",
        )
    if label is None:
        progress.note(f"{path.name}: run {run}, taken from the name")
    return found


def _mapped(path: Path) -> npt.NDArray[np.floating[Any]]:
    """Return the array in a file, still on disk, if it has the shape and type of an image set."""
    rows, columns = IMAGE_SHAPE
    expected = f"an npy array of floats, (n, {rows}, {columns})"
    fix = "give files such as Run355456_Dataset_*.npy"
    if not path.is_file():
        raise InputError(path, expected, "no such file", "check the path")
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        short = "greater than file size" in reason  # numpy's words for a file that was cut
        found = "a file that ends too early" if short else f"something else ({reason})"
        raise FormatError(path, expected, found, "copy it again" if short else fix) from error
    if not isinstance(images, np.ndarray):  # an npz archive opens as well
        raise FormatError(path, expected, "an archive of arrays", "save each array with numpy.save")
    if images.ndim != 3 or images.shape[1:] != IMAGE_SHAPE or not len(images):
        if images.ndim == 3 and images.shape[1:] == IMAGE_SHAPE[::-1]:
            fix = "swap the last two axes: rows are ieta, columns iphi"
        raise FormatError(path, expected, f"shape {images.shape}", fix)
    if not np.issubdtype(images.dtype, np.floating):
        raise FormatError(path, expected, f"{images.dtype} values", fix)
    return images


def _run_in_name(path: Path) -> int:
    found = sorted({int(number) for number in _NAMED.findall(path.name)})
    if len(found) > 1:
        raise AmbiguousLayoutError(
            path, "one run number in the name", f"runs {' and '.join(map(str, found))}", "give a --label"
        )
    if not found:
        raise InputError(
            path, "a name such as Run355456_Dataset_x.npy, which tells the run", "none", "give a --label"
        )
    return found[0]


def _check_values(path: Path, block: npt.NDArray[np.float64], first: int) -> None:
    bad = ~(np.isfinite(block) & (block >= 0))
    if bad.any():
        image, row, column = (int(i) for i in np.argwhere(bad)[0])
        raise CountsError(
            path,
            "values of zero or more",
            f"{block[image, row, column]} in image {first + image}, row {row}, column {column}",
            "the file is damaged, or normalised by its mean; take the original",
        )


def write_images(path: Path | str, images: npt.NDArray[np.floating[Any]]) -> None:
    """Write an image set as npy, whole or not at all.

    Parameters
    ----------
    path
        The file; a name such as ``Run355456_Dataset_x.npy`` tells readers the run.
    images
        Shape (n, 64, 72), floats, finite and not negative; written as 64-bit floats.

    Raises
    ------
    ValueError
        For another shape, or values that no reader would take.
    """
    values = np.ascontiguousarray(images, np.float64)
    if values.ndim != 3 or values.shape[1:] != IMAGE_SHAPE or not len(values):
        raise ValueError(f"images of shape {values.shape}")
    if not (np.isfinite(values) & (values >= 0)).all() or _whole(values):
        raise ValueError("images must be finite, not negative and not all whole numbers")
    with atomic_file(path) as scratch, scratch.open("wb") as stream:
        np.save(stream, values, allow_pickle=False)
