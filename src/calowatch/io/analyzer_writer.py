"""Writer of HcalAnalyzer ROOT files, laid out as the first producer does, so that ROOT itself reads them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import uproot
import xarray as xr
from uproot.writing.identify import to_TAxis, to_TH3x

from calowatch.core.errors import InputError
from calowatch.core.files import atomic_file
from calowatch.core.progress import SILENT, Progress
from calowatch.core.schema import check_occupancy, events_known
from calowatch.detector.index import channel_columns
from calowatch.io.analyzer_layout import DEPTHS, IETA_BINS, IPHI_BINS, ROWS, Layout, cells_of

__all__ = ["FOLDER", "HISTOGRAMS", "LS_BINS", "TREE", "depth_histograms", "write_analyzer"]

FOLDER = "Hcal4DQMAnalyzer"
TREE = "evttree"
HISTOGRAMS = tuple(f"hist3D_depth{depth}" for depth in range(1, DEPTHS + 1))
LS_BINS = 2000
"""X bins of every real file: lumisections 0 to 1999."""


def write_analyzer(
    path: Path | str, occupancy: xr.Dataset, *, ls_bins: int = LS_BINS, progress: Progress = SILENT
) -> None:
    """Write the HB and HE of a run as the first HcalAnalyzer producer does.

    Parameters
    ----------
    path
        The file to write, atomically.
    occupancy
        The run; its HF and HO have no place in such a file and are left out.
    ls_bins
        X bins of the histograms; only lumisection numbers below it fit.
    progress
        Shown one step per depth.

    Raises
    ------
    InputError
        When neither HB nor HE is there, a lumisection does not fit, or the events are unknown (the tree has an
        entry for each).
    """
    check_occupancy(occupancy)
    held = np.flatnonzero(np.isin(occupancy["subdet"].to_numpy(), ["HB", "HE"]))
    _check_writable(path, occupancy, held, ls_bins)
    channels = channel_columns(occupancy["channel"].to_numpy()[held])
    sections = occupancy["ls"].to_numpy()
    histograms = depth_histograms(
        occupancy["counts"].to_numpy()[:, held], cells_of(Layout.GAPPED, channels), sections, ls_bins
    )
    with (
        atomic_file(path) as scratch,
        scratch.open("w+b") as stream,  # opened here, since uproot takes a colon in a name for a URL
        uproot.recreate(stream, compression=uproot.ZLIB(1)) as file,
    ):
        folder = file.mkdir(FOLDER)
        named = zip(HISTOGRAMS, histograms, strict=True)
        for name, histogram in progress.track(named, f"writing {Path(path).name}", DEPTHS):
            folder[name] = histogram
        tree = folder.mktree(TREE, {"RunNum": np.int32, "LumiSec": np.int32})
        entries = np.repeat(sections, occupancy["n_events"].to_numpy()).astype(np.int32)
        tree.extend({"RunNum": np.full_like(entries, occupancy.attrs["run"]), "LumiSec": entries})


def _check_writable(
    path: Path | str, occupancy: xr.Dataset, held: npt.NDArray[np.int64], ls_bins: int
) -> None:
    if not held.size:
        raise InputError(
            path, "HB or HE to write", "neither in the run", "write HF and HO in the HDF5 format"
        )
    sections = occupancy["ls"].to_numpy()
    if sections[0] < 0 or sections[-1] >= ls_bins:
        outside = int(sections[0] if sections[0] < 0 else sections[-1])
        raise InputError(
            path, f"lumisections 0 to {ls_bins - 1}", f"lumisection {outside}", "write the run in parts"
        )
    if not events_known(occupancy).all():
        raise InputError(
            path,
            "the number of events of every lumisection",
            "an unknown one",
            "write the HDF5 format, which can do without",
        )


def depth_histograms(
    counts: npt.NDArray[Any], cells: npt.NDArray[np.int64], columns: npt.NDArray[np.int64], ls_bins: int
) -> Iterator[Any]:
    """Yield the TH3I of depths 1 to 7.

    Parameters
    ----------
    counts
        Digis, shape (ls, channel).
    cells
        Cell number of each channel, as `calowatch.io.analyzer_layout.cells_of` returns.
    columns
        X bin of each lumisection, counted from 0.
    ls_bins
        X bins of the histogram.
    """
    for layer, name in enumerate(HISTOGRAMS):
        rows = np.zeros((ROWS, ls_bins + 2), dtype=np.int32)
        here = np.flatnonzero(cells // ROWS == layer)
        rows[np.ix_(cells[here] % ROWS, columns + 1)] = counts[:, here].T
        yield _th3i(name, rows, ls_bins)


def _th3i(name: str, rows: npt.NDArray[np.int32], ls_bins: int) -> Any:
    axes = [
        to_TAxis(f"{letter}axis", "", n_bins, low, low + n_bins)
        for letter, n_bins, low in (("x", ls_bins, 0.0), ("y", 64, -32.0), ("z", 72, 0.0))
    ]
    return to_TH3x(name, f"{name};LS;ieta;iphi", rows.reshape(-1), *_statistics(rows), None, *axes)


def _statistics(rows: npt.NDArray[np.int32]) -> list[float]:
    """Return fEntries and the eleven sums that ROOT takes means and deviations from, over the bins inside."""
    cube = rows.reshape(IPHI_BINS, IETA_BINS, -1)
    inside = cube[1:-1, 1:-1, 1:-1]
    x = np.arange(inside.shape[2]) + 0.5
    y, z = np.arange(64) - 31.5, np.arange(72) + 0.5
    along_x = inside.sum(axis=2, dtype=np.float64)
    weighted_x, squared_x = inside @ x, inside @ x**2
    total = float(along_x.sum())
    return [
        float(rows.sum(dtype=np.float64)),
        total,
        total,
        float(weighted_x.sum()),
        float(squared_x.sum()),
        float((along_x @ y).sum()),
        float((along_x @ y**2).sum()),
        float((weighted_x @ y).sum()),
        float((z @ along_x).sum()),
        float((z**2 @ along_x).sum()),
        float((z @ weighted_x).sum()),
        float(z @ along_x @ y),
    ]
