"""The two layouts that share the name of the HcalAnalyzer histogram, and how to tell them apart.

Both producers write ``hist3D_depth1..7`` with 64 ieta bins [-32, 32) and 72 iphi bins [0, 72). The first fills bin
(ieta + 32, iphi), so that ieta 0 and iphi 0 are gaps and iphi 72 falls into the overflow. The second fills the
canonical grid: no gap, iphi 1 in the first bin. Which one it is shows in cells that only one of them can fill.
"""

from enum import StrEnum
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.core.errors import AmbiguousLayoutError
from calowatch.detector.index import analyzer_cell, analyzer_index, canonical_cell, canonical_index, dqm_index
from calowatch.detector.segmentation import ERAS
from calowatch.detector.table import channel_table

__all__ = [
    "DEPTHS",
    "ROWS",
    "Layout",
    "analyzer_channels",
    "cell_names",
    "cells_of",
    "choose_layout",
    "forward_cells",
    "grid_cells",
]

DEPTHS = 7
IETA_BINS = 66
IPHI_BINS = 74
ROWS = IPHI_BINS * IETA_BINS
"""Cells of one depth, flow bins included; cell (iphi bin, ieta bin) is row ``iphi bin * 66 + ieta bin``."""

DQM_MARGIN = 10
"""Bins of ieta on either side of the DQM grid that have no place in these histograms."""

Ints = npt.NDArray[np.int64]


class Layout(StrEnum):
    """Which of the two producers filled the histograms."""

    GAPPED = "first producer (gap at ieta 0, iphi 72 in the overflow)"
    CANONICAL = "second producer (canonical grid)"


def analyzer_channels(era: str) -> pd.DataFrame:
    """Return the HB and HE rows of the channel table, the only ones that these histograms have room for."""
    table = channel_table(era)
    return table[table["subdet"].isin(["HB", "HE"])].reset_index(drop=True)


def cells_of(layout: Layout, channels: pd.DataFrame) -> Ints:
    """Return the cell number of each channel: ``(depth - 1) * ROWS`` plus its row, flow bins included."""
    if layout is Layout.GAPPED:
        ieta_bin, iphi_bin = analyzer_index(channels["ieta"], channels["iphi"])
    else:
        ieta_bin, iphi_bin, _ = canonical_index(channels["ieta"], channels["iphi"], channels["depth"])
    return grid_cells(ieta_bin, iphi_bin, channels["depth"].to_numpy(np.int64) - 1)


def grid_cells(ieta_bin: Ints, iphi_bin: Ints, layer: Ints) -> Ints:
    """Return cell numbers from 0-based bins and ``layer``, the depth - 1."""
    return layer * ROWS + (iphi_bin + 1) * IETA_BINS + ieta_bin + 1


def forward_cells() -> Ints:
    """Return the cells where the second producer leaves HF: it cuts the DQM grid, where HF lies one bin further out.

    Only abs(ieta) 29 to 31 are left inside, as if at 30 to 32.
    """
    table = channel_table("run3")
    forward = table[(table["subdet"] == "HF") & (table["ieta"].abs() <= 31)]
    ieta_bin, iphi_bin = dqm_index("HF", forward["ieta"], forward["iphi"])
    return grid_cells(ieta_bin - DQM_MARGIN, iphi_bin, forward["depth"].to_numpy(np.int64) - 1)


def cell_names(layout: Layout, cells: Ints) -> list[tuple[int, int, int]]:
    """Return (ieta, iphi, depth) of cell numbers."""
    layer, row = np.divmod(cells, ROWS)
    iphi_bin, ieta_bin = np.divmod(row, IETA_BINS)
    if layout is Layout.GAPPED:
        ieta, iphi = analyzer_cell(ieta_bin - 1, iphi_bin - 1)
    else:
        ieta, iphi, _ = canonical_cell(ieta_bin - 1, iphi_bin - 1, layer)
    return list(zip(ieta.tolist(), iphi.tolist(), (layer + 1).tolist(), strict=True))


@cache
def _possible(layout: Layout) -> npt.NDArray[np.bool_]:
    """Whether a cell can be filled in any era: the layout must not hang on the era, which may be wrong."""
    possible = np.zeros(DEPTHS * ROWS, dtype=np.bool_)
    for era in ERAS:
        possible[cells_of(layout, analyzer_channels(era))] = True
    return possible


def choose_layout(path: Path, filled: Ints) -> Layout:
    """Return the layout that the filled cells are proof of.

    Parameters
    ----------
    path
        The file, for errors.
    filled
        Numbers of the cells that hold digis, as in `cells_of`.

    Raises
    ------
    AmbiguousLayoutError
        When no cell speaks for either, or cells speak for both.
    """
    gapped, canonical = _possible(Layout.GAPPED)[filled], _possible(Layout.CANONICAL)[filled]
    for_gapped, for_canonical = int((gapped & ~canonical).sum()), int((canonical & ~gapped).sum())
    if for_gapped and not for_canonical:
        return Layout.GAPPED
    if for_canonical and not for_gapped:
        return Layout.CANONICAL
    found = (
        f"{for_gapped} cells that only the first and {for_canonical} that only the second could fill"
        if for_gapped
        else f"{filled.size} filled cells, none of which tells the two apart"
    )
    raise AmbiguousLayoutError(
        path,
        "cells filled as exactly one of the two HcalAnalyzer producers fills them",
        found,
        "make the file again with more lumisections, or with the analyzer itself",
    )
