"""Labelled images of any task, read piece by piece: what image networks are trained on and judged by."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.core.errors import InputError, UnknownNameError, nearest

__all__ = [
    "ArrayImages",
    "ImageData",
    "ImageSource",
    "JoinedImages",
    "PickedImages",
    "image_hashes",
    "in_memory",
    "labelled",
    "pick_channels",
]

Ints = npt.NDArray[np.int64]

AT_ONCE = 256
"""Images looked at together where all of them are: 4.7 MB of 64 x 72."""


class ImageSource(Protocol):
    """Images that may be larger than the memory.

    Attributes
    ----------
    shape
        (images, channels, rows, columns).
    """

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Return (images, channels, rows, columns)."""

    def read(self, rows: Ints) -> npt.NDArray[np.float32]:
        """Return some images, in the order of ``rows``: [row, channel, row of the image, column]."""


class ArrayImages:
    """Images of an array, which may be mapped from a file: only rows that are asked for are read.

    Parameters
    ----------
    array
        Numbers, [image, channel, row, column], or [image, row, column] for one channel.
    """

    def __init__(self, array: npt.NDArray[Any]) -> None:
        if array.ndim not in (3, 4):
            raise ValueError(f"images of shape {array.shape}")
        # A view: slicing np.memmap itself is slow.
        self._array = np.asarray(array)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Return (images, channels, rows, columns)."""
        first, *rest = self._array.shape
        channels, rows, columns = rest if len(rest) == 3 else (1, *rest)
        return first, channels, rows, columns

    def read(self, rows: Ints) -> npt.NDArray[np.float32]:
        """Return some images, in the order of ``rows``."""
        found = self._array[rows].astype(np.float32)
        return found.reshape(len(found), *self.shape[1:])


class JoinedImages:
    """Images of several sources, one after the other.

    Parameters
    ----------
    parts
        Sources of images of one shape.
    """

    def __init__(self, parts: Sequence[ImageSource]) -> None:
        shapes = {part.shape[1:] for part in parts}
        if len(shapes) != 1:
            raise InputError(
                "images", "files of images of one shape", str(sorted(shapes)), "give files of one kind"
            )
        self._parts = tuple(parts)
        self._first = np.cumsum([0, *(part.shape[0] for part in parts)])

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Return (images, channels, rows, columns)."""
        return int(self._first[-1]), *self._parts[0].shape[1:]

    def read(self, rows: Ints) -> npt.NDArray[np.float32]:
        """Return some images, in the order of ``rows``."""
        part_of = np.searchsorted(self._first, rows, side="right") - 1
        found = np.empty((len(rows), *self.shape[1:]), np.float32)
        for number in np.unique(part_of).tolist():
            here = part_of == number
            found[here] = self._parts[number].read(rows[here] - self._first[number])
        return found


class PickedImages:
    """Some images of a source, some of its channels.

    Parameters
    ----------
    source
        The source.
    rows
        Which images, in this order.
    channels
        Which channels; None for all.
    """

    def __init__(self, source: ImageSource, rows: Ints, channels: Ints | None = None) -> None:
        self._source, self._rows, self._channels = source, rows, channels

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Return (images, channels, rows, columns)."""
        _, channels, rows, columns = self._source.shape
        return len(self._rows), channels if self._channels is None else len(self._channels), rows, columns

    def read(self, rows: Ints) -> npt.NDArray[np.float32]:
        """Return some images, in the order of ``rows``."""
        found = self._source.read(self._rows[rows])
        return found if self._channels is None else found[:, self._channels]


@dataclass(frozen=True, eq=False)
class ImageData:
    """Labelled images.

    Parameters
    ----------
    images
        The images.
    labels
        Class of each image, shape (images,), 0 .. classes - 1; -1 where it is of none of them.
    classes
        Names of the classes, in order of their labels.
    channels
        Names of the image channels.
    scalars
        Numbers beside the image, float32, shape (images, scalars); zero columns where there are none.
    scalar_names
        Their names.
    table
        One row per image: ``source`` (file), ``position`` (row in that file), ``block`` (images that may not be on
        different sides of a split by blocks; -1 where the file tells no blocks), and what else is known (run, pt, eta,
        m0).
    axes
        Names of rows and columns, such as ``("ieta", "iphi")``.
    kind
        runs, egamma or jets.
    """

    images: ImageSource
    labels: Ints
    classes: tuple[str, ...]
    channels: tuple[str, ...]
    scalars: npt.NDArray[np.float32]
    scalar_names: tuple[str, ...]
    table: pd.DataFrame
    axes: tuple[str, str]
    kind: str

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Ints) -> dict[str, npt.NDArray[Any]]:
        """Return some images with labels and scalars, as arrays ``x``, ``y`` and ``scalars``."""
        return {"x": self.images.read(rows), "y": self.labels[rows], "scalars": self.scalars[rows]}

    def some(self, rows: Ints) -> "ImageData":
        """Return some of the images as data of their own, read on demand like these."""
        return replace(
            self,
            images=PickedImages(self.images, rows),
            labels=self.labels[rows],
            scalars=self.scalars[rows],
            table=self.table.iloc[rows].reset_index(drop=True),
        )

    def pieces(self, rows: Ints | None = None, size: int = AT_ONCE) -> Iterator[Ints]:
        """Yield ``rows`` (by default all) in order, ``size`` at a time: what can be read at once."""
        rows = np.arange(len(self)) if rows is None else rows
        for first in range(0, len(rows), size):
            yield rows[first : first + size]


def in_memory(data: ImageData) -> ImageData:
    """Return the same data with all its images in memory, as float32."""
    return replace(data, images=ArrayImages(data.images.read(np.arange(len(data)))))


def labelled(
    images: npt.NDArray[Any],
    labels: npt.ArrayLike,
    classes: Sequence[str],
    *,
    blocks: npt.ArrayLike | None = None,
    kind: str = "runs",
) -> ImageData:
    """Return data of arrays in memory: what studies make their variants with.

    Parameters
    ----------
    images
        [image, row, column] or [image, channel, row, column].
    labels
        Class of each image, shape (images,).
    classes
        Names of the classes.
    blocks
        Images with one number are never dealt to different sides by blocks; by default unknown.
    kind
        runs, egamma or jets.

    Examples
    --------
    >>> data = labelled(np.ones((4, 2, 3)), [0, 0, 1, 1], ["a", "b"])
    >>> len(data), data.images.shape, data.table["position"].tolist()
    (4, (4, 1, 2, 3), [0, 1, 0, 1])
    """
    source, y = ArrayImages(images), np.asarray(labels, np.int64)
    if y.shape != (source.shape[0],):
        raise ValueError(f"{y.shape} labels for {source.shape[0]} images")
    table = pd.DataFrame({"source": [classes[label] if label >= 0 else "other" for label in y]})
    table["position"] = table.groupby("source").cumcount()
    table["block"] = -1 if blocks is None else np.asarray(blocks, np.int64)
    channels = tuple(f"channel {number}" for number in range(source.shape[1]))
    none = np.empty((len(y), 0), np.float32)
    return ImageData(source, y, tuple(classes), channels, none, (), table, ("ieta", "iphi"), kind)


def pick_channels(data: ImageData, names: Sequence[str] | None) -> ImageData:
    """Return the data with some of its channels, in the order named; None for all of them.

    Raises
    ------
    UnknownNameError
        For a channel that the images do not have.
    """
    if names is None:
        return data
    for name in names:
        if name not in data.channels:
            raise UnknownNameError(
                f"channel {name!r}",
                f"one of {', '.join(data.channels)}",
                "none such",
                nearest(name, data.channels),
            )
    at = np.array([data.channels.index(name) for name in names], np.int64)
    picked = PickedImages(data.images, np.arange(len(data)), at)
    return replace(data, images=picked, channels=tuple(names))


def image_hashes(data: ImageData, rows: Ints | None = None) -> npt.NDArray[np.uint64]:
    """Return a 64-bit BLAKE2 hash of each image with the numbers beside it, shape (rows,): equal for equal content."""
    found = []
    for piece in data.pieces(rows):
        read = data.take(piece)
        for image, scalars in zip(read["x"], read["scalars"], strict=True):
            digest = hashlib.blake2b(image.tobytes(), digest_size=8)
            digest.update(scalars.tobytes())
            found.append(int.from_bytes(digest.digest(), "little"))
    return np.array(found, np.uint64)
