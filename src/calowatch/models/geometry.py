"""What a network has to know of the detector: the grid, which of its cells are channels, which of them are joined."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from calowatch.core.errors import InputError
from calowatch.detector.graph import GraphRequest, graph
from calowatch.detector.grids import layout_mask

__all__ = ["Geometry"]


@dataclass(frozen=True, eq=False)
class Geometry:
    """A grid of channels and, where a graph network needs them, its edges.

    Parameters
    ----------
    mask
        Which cells are channels to be predicted, bool, shape (ieta, iphi, depth).
    edges
        Pairs of cells in the flattened grid, shape (2, edge), both directions of each pair; empty without a graph.

    Raises
    ------
    InputError
        When the mask has other axes or no channel, or an edge ends outside it.

    Examples
    --------
    >>> Geometry(np.ones((4, 8, 2), bool)).shape
    (4, 8, 2)
    """

    mask: npt.NDArray[np.bool_]
    edges: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if self.mask.ndim != 3 or not self.mask.any():
            raise InputError(
                "mask", "channels in (ieta, iphi, depth)", f"{self.mask.shape}", "take a layout's mask"
            )
        if self.edges is not None and self.edges.size and not self.mask.ravel()[self.edges].all():
            raise InputError("edges", "pairs of channels in the mask", "cells outside", "drop these edges")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows (ieta), columns (iphi) and layers (depth)."""
        ieta, iphi, depth = self.mask.shape
        return ieta, iphi, depth

    @classmethod
    def of_layout(cls, layout: str, era: str = "run3", edges: str | None = None) -> Self:
        """Return the geometry of one of `calowatch.detector.grids.LAYOUTS`.

        Parameters
        ----------
        layout, era
            Which grid and which channels.
        edges
            What joins channels, one of `calowatch.detector.graph.EDGE_KINDS`; None for networks without a graph. The
            published network joins channels that share an ``"rbx"``.
        """
        found = None
        if edges is not None:
            found, _ = graph(GraphRequest(layout, edges, "grid", era))
        return cls(layout_mask(layout, era), found)

    def half(self) -> tuple[int, int]:
        """Return the rows of the plus side that hold channels on either side, as first and last + 1.

        Row r of the plus side mirrors row ``rows - 1 - r``, in every layout of calowatch.

        Raises
        ------
        InputError
            For an odd number of rows, which has no two sides.
        """
        rows = self.shape[0]
        if rows % 2:
            raise InputError("grid", "as many rows on both sides", f"{rows} rows", "take a whole layout")
        lit = np.flatnonzero(np.logical_or(self.mask, self.mask[::-1])[rows // 2 :].any(axis=(1, 2)))
        return rows // 2 + int(lit[0]), rows // 2 + int(lit[-1]) + 1

    def folded(self) -> Self:
        """Return one side: cells that are channels on either side, edges that are there on either side."""
        first, last = self.half()
        mask = np.logical_or(self.mask[first:last], self.mask[::-1][first:last])
        if self.edges is None:
            return type(self)(mask)
        row, column, layer = np.unravel_index(self.edges, self.shape)
        row = np.where(row < self.shape[0] // 2, self.shape[0] - 1 - row, row) - first
        start, end = self.edges // (self.mask.size // 2)
        same_side: npt.NDArray[np.bool_] = np.equal(start, end)
        cells = np.ravel_multi_index((row, column, layer), mask.shape)[:, same_side]
        codes = np.unique(cells[0] * mask.size + cells[1])  # much faster than unique columns
        return type(self)(mask, np.stack([codes // mask.size, codes % mask.size]).astype(np.int64))
