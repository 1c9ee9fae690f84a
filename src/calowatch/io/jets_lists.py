"""Nested Arrow lists as one flat array of images: no list is touched one by one."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from calowatch.core.errors import FormatError

__all__ = ["SHAPE", "flat_images"]

SHAPE = (3, 125, 125)
"""Channels, rows (ieta) and columns (iphi) of an image."""

_FIX = "leave these jets out, or make the file again"


def flat_images(path: Path, column: Any, row: int) -> tuple[npt.NDArray[np.float32], int]:
    """Return a column of nested lists as images, flattened to (jet, pixel), and which of their axes was the channel.

    Images whose channel is the second or the last axis are turned, so that it is the first.

    Parameters
    ----------
    path
        The file, for messages.
    column
        Arrow array of nested lists.
    row
        Number of the first jet.

    Raises
    ------
    FormatError
        For missing lists, or images of another shape: how many of those given, and the first one's number and shape.
    """
    n, levels, lengths = len(column), column, []
    while pa.types.is_list(levels.type) or pa.types.is_large_list(levels.type):
        if levels.null_count:
            found = f"{levels.null_count} missing lists among jets {row} to {row + n - 1}"
            raise FormatError(path, "whole images", found, _FIX)
        offsets = np.asarray(levels.offsets)
        lengths.append(np.diff(offsets))
        levels = levels.values[int(offsets[0]) : int(offsets[-1])]
    if len(lengths) != len(SHAPE) or not (
        pa.types.is_floating(levels.type) or pa.types.is_integer(levels.type)
    ):
        found = f"X_jets of type {column.type}"
        raise FormatError(path, "nested lists of numbers, 3 x 125 x 125", found, _FIX)
    shape = _shape(lengths)
    if shape is None or sorted(shape) != sorted(SHAPE):
        raise _wrong(path, column, row)
    if levels.null_count:
        levels = levels.fill_null(np.nan)
    with np.errstate(over="ignore"):  # what 32 bits cannot hold is infinite, and left out as such
        values = np.asarray(levels.to_numpy(zero_copy_only=False), np.float32)
    axis = shape.index(SHAPE[0])
    if axis == 0:
        return values.reshape(n, -1), axis
    turned = np.moveaxis(values.reshape(n, *shape), axis + 1, 1)
    return np.ascontiguousarray(turned).reshape(n, -1), axis


def _shape(lengths: list[npt.NDArray[Any]]) -> tuple[int, ...] | None:
    """Return the shape that all images have; None where they differ, or there are none."""
    if any(not len(each) or (each != each[0]).any() for each in lengths):
        return None
    return tuple(int(each[0]) for each in lengths)


def _wrong(path: Path, column: Any, row: int) -> FormatError:
    """Return the error of images of another shape: here jets are looked at one by one, since some are odd."""
    shapes = [_one(jet) for jet in column.to_pylist()]
    odd = [number for number, shape in enumerate(shapes) if shape is None or sorted(shape) != sorted(SHAPE)]
    odd = odd or [number for number, shape in enumerate(shapes) if shape != shapes[0]]
    first = shapes[odd[0]]
    named = "lists of different lengths" if first is None else " x ".join(map(str, first))
    return FormatError(
        path,
        "images of 3 x 125 x 125",
        f"{len(odd)} of another shape among jets {row} to {row + len(shapes) - 1}, the first is jet "
        f"{row + odd[0]}: {named}",
        _FIX,
    )


def _one(jet: list[list[list[float]]]) -> tuple[int, int, int] | None:
    rows = {len(channel) for channel in jet}
    columns = {len(line) for channel in jet for line in channel}
    return (len(jet), rows.pop(), columns.pop()) if len(rows) == len(columns) == 1 else None
