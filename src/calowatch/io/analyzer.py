"""HcalAnalyzer ROOT files: digis of HB and HE per lumisection, and a tree that names the lumisections.

``Hcal4DQMAnalyzer/hist3D_depth1..7`` are TH3I with X = lumisection, Y = ieta, Z = iphi; the tree ``evttree`` has the
integer branches ``RunNum`` and ``LumiSec``. Two producers share these names, see `calowatch.io.analyzer_layout`:

* the first has one tree entry per event and the lumisection number as X bin;
* the second has one tree entry per lumisection, and X counts the entries; events are unknown.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import uproot
import xarray as xr

from calowatch.core.errors import CountsError, FormatError, InputError
from calowatch.core.progress import SILENT, Progress
from calowatch.core.schema import make_occupancy
from calowatch.io.analyzer_layout import (
    DEPTHS,
    ROWS,
    Layout,
    analyzer_channels,
    cell_names,
    cells_of,
    choose_layout,
)
from calowatch.io.analyzer_writer import FOLDER, HISTOGRAMS, TREE, write_analyzer
from calowatch.io.origin import file_attrs, keep_filled, refuse_strays
from calowatch.io.request import ReadRequest, settle_era, settle_first_ls, settle_run

__all__ = ["AnalyzerReader", "write_analyzer"]

AXES = ((0.0, None), (-32.0, 64), (0.0, 72))  # lower edge and number of bins of X, Y, Z; unit width
HEADER = struct.Struct(">4sii")  # magic, version, where the first record begins; then the end of the file
BIG_FILE = 1_000_000  # added to the version of files beyond 2 GB, whose header holds 64-bit addresses

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Tree:
    """The event tree: its run, and per lumisection how often it stands there and where it stands first."""

    run: int
    sections: Ints
    entries: Ints
    first_entry: Ints

    @property
    def per_ls(self) -> bool:
        """Whether no lumisection stands there twice: the second producer's tree, or one of very few events."""
        return bool((self.entries == 1).all())

    @property
    def columns(self) -> int:
        """How many X bins can hold digis, under either reading."""
        last = int(self.sections[-1]) + 1
        return max(last, self.sections.size) if self.per_ls else last


@dataclass(frozen=True)
class _Filled:
    """The filled cells of all depths: their numbers, their digis per X bin, and which X bins hold any."""

    cells: Ints
    digis: list[npt.NDArray[Any]]
    columns: npt.NDArray[np.bool_]
    n_bins: int


class AnalyzerReader:
    """Reader of HcalAnalyzer ROOT files of both producers."""

    name = "HcalAnalyzer ROOT"
    suffixes = (".root",)

    def matches(self, path: Path) -> bool:
        """Return whether the file is a ROOT file with the analyzer's folder, or one too broken to tell."""
        with path.open("rb") as stream:
            if stream.read(4) != b"root":
                return False
        try:
            with uproot.open({str(path): None}) as file:
                return FOLDER in file
        except Exception:  # noqa: BLE001 - whatever is broken, read() says what
            return True

    def read(self, path: Path, request: ReadRequest, progress: Progress = SILENT) -> xr.Dataset:
        """Return the run in the file.

        Parameters
        ----------
        path
            The file.
        request
            ``era`` overrides the era of the run; ``run`` and ``first_ls`` must agree with the tree.
        progress
            Shown one step per depth.

        Raises
        ------
        FormatError
            For a file that is no ROOT file or is damaged, a missing histogram or tree, an empty tree, several
            runs, axes of another shape, or cells filled in a way that fits neither producer.
        CountsError
            For digis outside the segmentation or in lumisections that the tree does not know.
        ConflictError
            When the request contradicts the file.
        """
        with _opened(path) as file:
            folder = _folder(path, file)
            tree = _read_tree(path, folder)
            run = settle_run(path, tree.run, request, progress)
            era = settle_era(path, run, None, request)
            settle_first_ls(path, int(tree.sections[0]), request, progress)
            filled = _read_histograms(path, folder, tree, progress)
        layout = choose_layout(path, filled.cells)
        channels = analyzer_channels(era)
        _check_cells(path, layout, filled.cells, era)
        kept, columns, events = _lumisections(path, layout, tree, filled, progress)
        wanted = cells_of(layout, channels)
        counts = _place(filled, wanted, columns)
        present = keep_filled(path, channels, np.isin(wanted, filled.cells), progress)
        return make_occupancy(
            counts[present].T, channels[present], kept, events, file_attrs(path, run, era, self.name)
        )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a ROOT file; whatever goes wrong in its bytes, here or while it is read, is one clear error."""
    _check_header(path)
    try:
        # A mapping, since uproot takes a colon in a name for an object inside; no caches, or they keep histograms.
        with uproot.open({str(path): None}, object_cache=None, array_cache=None) as file:
            yield file
    except (InputError, MemoryError):
        raise
    except Exception as error:
        # uproot meets damage wherever it happens to read: struct, zlib, index and decoding errors alike.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise FormatError(path, "a whole ROOT file", f"a damaged one ({reason})", "copy it again") from error


def _check_header(path: Path) -> None:
    """Raise unless the file begins as a ROOT file and is as long as it says."""
    with path.open("rb") as stream:
        head = stream.read(HEADER.size + 8)
    if not head.startswith(b"root"):
        found = "an empty file" if not head else "something else"
        raise FormatError(path, "a ROOT file", found, "check that it is the file you meant")
    size, end = path.stat().st_size, size_in_header(head)
    if end is None or size < end:
        length = "a header" if end is None else f"{end} bytes"
        raise FormatError(
            path, f"a ROOT file of {length}", f"a truncated one of {size} bytes", "copy it again"
        )


def size_in_header(head: bytes) -> int | None:
    """Return the length of a ROOT file in bytes, as its header has it; ``None`` where the header is cut."""
    if len(head) < HEADER.size + 8:
        return None
    _, version, _ = HEADER.unpack_from(head)
    end: int = struct.unpack_from(">q" if version >= BIG_FILE else ">i", head, HEADER.size)[0]
    return end


def _folder(path: Path, file: Any) -> Any:
    names = [str(name) for name in file.keys(recursive=False, cycle=False)]
    if FOLDER not in names:
        raise FormatError(
            path,
            f"the folder {FOLDER}",
            f"{', '.join(names) or 'nothing'} in the file",
            "give the output of HcalAnalyzer with histograms per depth",
        )
    return file[FOLDER]


def _read_tree(path: Path, folder: Any) -> _Tree:
    if TREE not in folder:
        raise FormatError(path, f"the tree {TREE}", "none", "give the file that the analyzer itself wrote")
    branches = folder[TREE]
    missing = sorted({"RunNum", "LumiSec"} - set(branches.keys()))
    if missing:
        raise FormatError(
            path, f"{TREE} with RunNum and LumiSec", f"no {missing[0]}", "take the original file"
        )
    if branches.num_entries == 0:
        raise FormatError(path, f"events in {TREE}", "a tree without entries", "check the job that made it")
    runs = pd.unique(branches["RunNum"].array(library="np"))
    if len(runs) > 1:
        named = ", ".join(str(run) for run in sorted(runs.tolist())[:5])
        raise FormatError(path, "one run", f"a mixture of runs {named}", "split the file by run")
    sections, first, entries = _distinct(path, branches["LumiSec"].array(library="np"))
    return _Tree(int(runs[0]), sections, entries, first)


def _distinct(path: Path, numbers: npt.NDArray[Any]) -> tuple[Ints, Ints, Ints]:
    """Return the lumisections in order, their first entries and their numbers of entries."""
    if numbers.dtype.kind not in "iu" or numbers.min() < 0:
        raise FormatError(path, "whole lumisection numbers", f"{numbers.min()}", "take the original file")
    # Not np.unique, which sorts: millions of events, but few lumisections and those in stretches.
    found = pd.unique(numbers)
    first = np.empty(int(found.max()) + 1, dtype=np.int64)
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    first[numbers[starts][::-1]] = starts[::-1]
    sections = np.sort(found).astype(np.int64)
    return sections, first[sections], np.bincount(numbers)[sections].astype(np.int64)


def _read_histograms(path: Path, folder: Any, tree: _Tree, progress: Progress) -> _Filled:
    """Read the depths one after the other, keeping of each only the filled cells and the X bins in question."""
    present = set(folder.keys(recursive=False, cycle=False))
    missing = [name for name in HISTOGRAMS if name not in present]
    if missing:
        raise FormatError(
            path, f"{HISTOGRAMS[0]} .. {DEPTHS}", f"no {', '.join(missing)}", "take the whole file"
        )
    cells: list[Ints] = []
    digis: list[npt.NDArray[Any]] = []
    used: npt.NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)
    for layer, name in enumerate(progress.track(HISTOGRAMS, f"reading {path.name}", DEPTHS)):
        rows = _rows(path, name, folder[name])
        if layer and rows.shape[1] != used.size:
            raise _wrong_axis(
                path, name, "X", f"{rows.shape[1] - 2} bins, {used.size - 2} in the depths before"
            )
        columns = np.asarray(rows.any(axis=0), dtype=np.bool_)
        used = columns if not layer else used | columns
        filled = np.flatnonzero(rows.any(axis=1))
        cells.append(layer * ROWS + filled)
        digis.append(rows[:, 1 : 1 + tree.columns][filled])
        del rows
    return _Filled(np.concatenate(cells), digis, used[1:-1], _checked_flow(path, used))


def _checked_flow(path: Path, used: npt.NDArray[np.bool_]) -> int:
    """Return the number of X bins, having refused digis below the first."""
    if used[0]:
        raise FormatError(
            path, "lumisections from 0 up", "digis in the X underflow", "take the original file"
        )
    return used.size - 2


def _rows(path: Path, name: str, histogram: Any) -> npt.NDArray[Any]:
    """Return the bins as (cell, X bin), flow bins included: the order in which ROOT keeps them, so no copy."""
    if not str(histogram.classname).startswith("TH3"):
        raise _wrong_axis(path, name, "its", f"class {histogram.classname}, not TH3I")
    for letter, member, (low, n_bins) in zip("XYZ", ("fXaxis", "fYaxis", "fZaxis"), AXES, strict=True):
        axis = histogram.member(member)
        bins, start, stop = (axis.member(key) for key in ("fNbins", "fXmin", "fXmax"))
        if (n_bins is not None and bins != n_bins) or start != low or stop - start != bins:
            raise _wrong_axis(path, name, letter, f"{bins} bins [{start:g}, {stop:g})")
    values: npt.NDArray[Any] = histogram.values(flow=True).T
    return values.reshape(ROWS, -1)


def _wrong_axis(path: Path, name: str, letter: str, found: str) -> FormatError:
    expected = "X from 0 in unit bins, Y 64 bins [-32, 32), Z 72 bins [0, 72)"
    return FormatError(
        path, f"{name} with {expected}", f"{letter} axis: {found}", "take a file of the analyzer"
    )


def _check_cells(path: Path, layout: Layout, filled: Ints, era: str) -> None:
    def strays(other: str) -> Ints:
        return np.setdiff1d(filled, cells_of(layout, analyzer_channels(other)))

    refuse_strays(path, cell_names(layout, strays(era)), era, lambda other: not strays(other).size)


def _lumisections(
    path: Path, layout: Layout, tree: _Tree, filled: _Filled, progress: Progress
) -> tuple[Ints, Ints, Ints | None]:
    """Return the lumisection numbers, their X bins and their events."""
    events: Ints | None = None
    if layout is Layout.GAPPED:
        columns, events = tree.sections, tree.entries
    elif tree.per_ls:
        columns = tree.first_entry
    else:
        raise FormatError(
            path,
            "one tree entry per lumisection, as the second producer writes",
            f"{tree.entries.max()} entries for one lumisection",
            "check that histograms and tree are of one file",
        )
    inside = columns < filled.n_bins
    if not inside.all():
        progress.note(
            f"{path.name}: {(~inside).sum()} lumisections lie beyond the histograms and are left out"
        )
    unknown = np.setdiff1d(np.flatnonzero(filled.columns), columns)
    if unknown.size:
        raise CountsError(
            path,
            "digis only in lumisections of the tree",
            f"digis in X bin {unknown[0]} ({unknown.size} such bins), without events in the tree",
            "check that histograms and tree are of one file",
        )
    return tree.sections[inside], columns[inside], events if events is None else events[inside]


def _place(filled: _Filled, wanted: Ints, columns: Ints) -> npt.NDArray[Any]:
    """Return digis as (channel, ls): each filled cell in the row of its channel, zeros elsewhere."""
    kind = np.result_type(*filled.digis)
    counts = np.zeros((wanted.size, columns.size), dtype=kind)
    channel = np.full(DEPTHS * ROWS, -1, dtype=np.int64)
    channel[wanted] = np.arange(wanted.size)
    rows = np.split(channel[filled.cells], np.cumsum([len(part) for part in filled.digis])[:-1])
    chosen = _slice_of(columns)
    for place, digis in zip(rows, filled.digis, strict=True):
        counts[place] = digis[:, chosen]
    return counts


def _slice_of(columns: Ints) -> Any:
    """Return columns in a row as a slice, which numpy reads without a copy."""
    steady = columns.size and (np.diff(columns) == 1).all()
    return slice(int(columns[0]), int(columns[-1]) + 1) if steady else columns
