"""Grids for pictures and networks: where each channel sits in an array, and the way back.

The channel list is the row of everything; a grid is a view of it, made where one is needed. Six layouts:

======  ============  =====================================================================================
layout  shape         what it holds, and where
======  ============  =====================================================================================
hb      64 x 72 x 7   HB, in the canonical grid: row ieta + 32 (minus side) or ieta + 31, column iphi - 1,
                      layer depth - 1
he      64 x 72 x 7   HE, in the same grid
hbhe    64 x 72 x 7   HB and HE, which never share a cell
hf      26 x 36 x 4   HF: row ieta + 41 (minus side) or ieta - 16, column (iphi - 1) / 2, layer depth - 1
ho      30 x 72 x 1   HO: row ieta + 15 (minus side) or ieta + 14, column iphi - 1
dqm     84 x 72 x 8   everything, as DQM draws it: HF one row further out; layer depth - 1, and 7 for HO
======  ============  =====================================================================================

A cell that is wider than a column (10 degrees in HE and HF, 20 degrees in HF at abs(ieta) 40 and 41) sits in its
first column only, and the columns after it stay empty: nothing is counted twice. In ``hf`` the towers 40 and 41
have iphi 3, 7, .. 71 and so fill the odd columns 1, 3, .. 35; each covers its column and the next, around the beam.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.core.errors import UnknownNameError, nearest
from calowatch.core.provenance import provenance
from calowatch.detector.arrays import write_array
from calowatch.detector.index import canonical_index, dqm_index
from calowatch.detector.segmentation import SUBDETS
from calowatch.detector.table import channel_table, segmentation_hash

__all__ = [
    "LAYOUTS",
    "Layout",
    "canonical_losses",
    "cell_index",
    "find_layout",
    "from_grid",
    "in_layout",
    "layout_mask",
    "to_grid",
    "write_mask",
]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Values = TypeVar("Values", bound=np.generic)

CANONICAL_SHAPE = (64, 72, 7)

_HO_LAYER = 7


@dataclass(frozen=True)
class Layout:
    """One way to lay channels out as a three-dimensional grid.

    Parameters
    ----------
    name
        As the command line takes it.
    shape
        Rows (ieta), columns (iphi), layers (depth).
    subdets
        Which subdetectors it holds, all of their channels.
    place
        Row, column and layer of channels with ``subdet``, ``ieta``, ``iphi``, ``depth``.
    """

    name: str
    shape: tuple[int, int, int]
    subdets: tuple[str, ...]
    place: Callable[[pd.DataFrame], tuple[Ints, Ints, Ints]]


def _numbers(table: pd.DataFrame) -> tuple[Ints, Ints, Ints]:
    ieta, iphi, depth = (table[name].to_numpy(np.int64) for name in ("ieta", "iphi", "depth"))
    return ieta, iphi, depth


def _canonical(table: pd.DataFrame) -> tuple[Ints, Ints, Ints]:
    return canonical_index(*_numbers(table))


def _forward(table: pd.DataFrame) -> tuple[Ints, Ints, Ints]:
    ieta, iphi, depth = _numbers(table)
    return np.where(ieta < 0, ieta + 41, ieta - 16), (iphi - 1) // 2, depth - 1


def _outer(table: pd.DataFrame) -> tuple[Ints, Ints, Ints]:
    ieta, iphi, depth = _numbers(table)
    return np.where(ieta < 0, ieta + 15, ieta + 14), iphi - 1, np.zeros_like(depth)


def _dqm(table: pd.DataFrame) -> tuple[Ints, Ints, Ints]:
    ieta, iphi, depth = _numbers(table)
    subdet = table["subdet"].to_numpy(str)
    row, column = dqm_index(subdet, ieta, iphi)
    return row, column, np.where(subdet == "HO", _HO_LAYER, depth - 1)


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("he", CANONICAL_SHAPE, ("HE",), _canonical),
        Layout("hb", CANONICAL_SHAPE, ("HB",), _canonical),
        Layout("hbhe", CANONICAL_SHAPE, ("HB", "HE"), _canonical),
        Layout("hf", (26, 36, 4), ("HF",), _forward),
        Layout("ho", (30, 72, 1), ("HO",), _outer),
        Layout("dqm", (84, 72, 8), ("HB", "HE", "HF", "HO"), _dqm),
    )
}
"""All layouts by name."""


def find_layout(name: str) -> Layout:
    """Return a layout by its name, in any capitals.

    Raises
    ------
    UnknownNameError
        When there is no such layout.

    Examples
    --------
    >>> find_layout("HF").shape
    (26, 36, 4)
    """
    if name.lower() not in LAYOUTS:
        raise UnknownNameError(
            f"layout {name!r}", f"one of {', '.join(LAYOUTS)}", "no such layout", nearest(name, LAYOUTS)
        )
    return LAYOUTS[name.lower()]


def in_layout(table: pd.DataFrame, layout: str) -> Mask:
    """Return which channels of a table a layout holds.

    Examples
    --------
    >>> int(in_layout(channel_table("run3"), "hbhe").sum())
    15840
    """
    return np.isin(table["subdet"].to_numpy(str), find_layout(layout).subdets)


def cell_index(table: pd.DataFrame, layout: str) -> Ints:
    """Return the place of each channel in the flattened grid (the last axis, depth, runs fastest).

    Parameters
    ----------
    table
        Channels with ``subdet``, ``ieta``, ``iphi``, ``depth``, in the order of the values; any subset.
    layout
        One of `LAYOUTS`.

    Raises
    ------
    ValueError
        When the layout does not hold a channel of the table: take ``table[in_layout(table, layout)]``.

    Examples
    --------
    >>> table = channel_table("run3").query("subdet == 'HO'")
    >>> cell_index(table, "ho")[:3].tolist()
    [0, 1, 2]
    """
    chosen = find_layout(layout)
    if not in_layout(table, layout).all():
        raise ValueError(
            f"layout {chosen.name} holds {' and '.join(chosen.subdets)} only: use in_layout first"
        )
    return np.ravel_multi_index(chosen.place(table), chosen.shape).astype(np.int64)


def to_grid(
    values: npt.NDArray[Values], table: pd.DataFrame, layout: str, fill: Any = 0
) -> npt.NDArray[Values]:
    """Return values of channels as a grid.

    Parameters
    ----------
    values
        Shape (..., channel).
    table
        The channels, one row each, in the order of the last axis.
    layout
        One of `LAYOUTS`.
    fill
        What stands where there is no channel.

    Returns
    -------
    Shape (..., rows, columns, layers), of the same type.

    Raises
    ------
    ValueError
        When the layout does not hold a channel, or values and table differ in length.

    Examples
    --------
    >>> table = channel_table("run3").query("subdet == 'HF'")
    >>> to_grid(np.ones((5, len(table)), np.int32), table, "hf").shape
    (5, 26, 36, 4)
    """
    if values.shape[-1] != len(table):
        raise ValueError(f"{values.shape[-1]} values for {len(table)} channels")
    shape = find_layout(layout).shape
    grid = np.full((*values.shape[:-1], int(np.prod(shape))), fill, dtype=values.dtype)
    grid[..., cell_index(table, layout)] = values
    return grid.reshape(*values.shape[:-1], *shape)


def from_grid(grid: npt.NDArray[Values], table: pd.DataFrame, layout: str) -> npt.NDArray[Values]:
    """Return the values of channels from a grid: inverse of `to_grid`.

    Parameters
    ----------
    grid
        Shape (..., rows, columns, layers).
    table, layout
        As for `to_grid`.

    Raises
    ------
    ValueError
        When the layout does not hold a channel, or the grid has another shape.

    Examples
    --------
    >>> table = channel_table("run3").query("subdet == 'HE'")
    >>> values = np.arange(len(table))
    >>> bool((from_grid(to_grid(values, table, "he"), table, "he") == values).all())
    True
    """
    shape = find_layout(layout).shape
    if grid.shape[-3:] != shape:
        raise ValueError(f"a grid of shape {grid.shape} is not of layout {layout}: (..., {shape})")
    chosen: npt.NDArray[Values] = grid.reshape(*grid.shape[:-3], -1)[..., cell_index(table, layout)]
    return chosen


def layout_mask(layout: str, era: str = "run3") -> Mask:
    """Return which cells of a layout are channels of an era, as booleans in the layout's shape.

    Examples
    --------
    >>> int(layout_mask("hf").sum()), int(layout_mask("hb", "2018").sum())
    (3456, 2592)
    """
    table = channel_table(era)
    rows = table[in_layout(table, layout)]
    return to_grid(np.ones(len(rows), dtype=np.bool_), rows, layout, fill=False)


def canonical_losses(era: str = "run3") -> dict[str, dict[str, Any]]:
    """Return what the canonical 64 x 72 x 7 grid cannot hold of an era.

    Returns
    -------
    By subdetector: ``channels``; ``outside``, how many have no cell in the grid; ``shared``, by other subdetector, how
    many cells both claim.

    Examples
    --------
    >>> canonical_losses("run3")["HO"]
    {'channels': 2160, 'outside': 0, 'shared': {'HB': 2160}}
    """
    table = channel_table(era)
    row, column, layer = _canonical(table)
    inside = (row >= 0) & (row < CANONICAL_SHAPE[0])
    cell = (row * CANONICAL_SHAPE[1] + column) * CANONICAL_SHAPE[2] + layer
    subdet = table["subdet"].to_numpy(str)
    cells = {name: cell[inside & (subdet == name)] for name in SUBDETS}
    losses = {}
    for name, own in cells.items():
        channels = int((subdet == name).sum())
        shared = {
            other: n
            for other, theirs in cells.items()
            if other != name and (n := len(np.intersect1d(own, theirs)))
        }
        losses[name] = {"channels": channels, "outside": channels - len(own), "shared": shared}
    return losses


def write_mask(path: Path | str, layout: str, era: str = "run3") -> dict[str, Any]:
    """Write `layout_mask` as ``.npy`` and what it is as JSON beside it (``PATH.json``); return what it is.

    Raises
    ------
    UnknownNameError
        For a layout or an era that does not exist.
    """
    mask = layout_mask(layout, era)
    summary = {
        "layout": find_layout(layout).name,
        "axes": ["ieta", "iphi", "depth"],
        "subdets": list(find_layout(layout).subdets),
        "era": era,
        "channels": int(mask.sum()),
        "segmentation": segmentation_hash(era),
        "canonical_grid_loses": canonical_losses(era),
    }
    write_array(path, mask, {**summary, "provenance": provenance("mask")})
    return {**summary, "shape": list(mask.shape)}
