"""HcalAnalyzer ROOT files: digis of HB and HE per lumisection, and a tree that names the lumisections.

``Hcal4DQMAnalyzer/hist3D_depth1..7`` are TH3I with X = lumisection, Y = ieta, Z = iphi; the tree ``evttree`` has the
integer branches ``RunNum`` and ``LumiSec``. Two producers share these names, see `calowatch.io.analyzer_layout`:

* the first has one tree entry per event and the lumisection number as X bin;
* the second has one tree entry per lumisection, and X counts the entries; events are unknown.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from calowatch.core.errors import CountsError, FormatError
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
    forward_cells,
)
from calowatch.io.analyzer_writer import FOLDER, HISTOGRAMS, TREE, write_analyzer
from calowatch.io.origin import file_attrs, hashing, keep_filled, refuse_strays
from calowatch.io.request import ReadRequest, settle_era, settle_first_ls, settle_run
from calowatch.io.root import holds, is_root, open_root

__all__ = ["AnalyzerReader", "write_analyzer"]

OLDER_FOLDER = "HcalDigiAnalyzer"
OLDER_HISTOGRAM = "hist3D"
AXES = ((0.0, None), (-32.0, 64), (0.0, 72))  # lower edge and number of bins of X, Y, Z; unit width

WORKERS = 2  # decompression leaves Python to other threads; more would cost memory

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
class _Depth:
    """The filled cells of one histogram: their rows, their digis per X bin, and which X bins hold any."""

    rows: Ints
    digis: npt.NDArray[Any]
    used: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Filled:
    """The filled cells of all depths: their numbers, their digis per X bin, and which X bins hold any.

    ``ends`` has, for each depth that holds digis at all, the X bin after its last digi; ``bins`` the length of each
    depth's X axis, of which ``used`` has the longest.
    """

    cells: Ints
    digis: list[npt.NDArray[Any]]
    used: npt.NDArray[np.bool_]
    ends: dict[int, int]
    bins: dict[int, int]


class AnalyzerReader:
    """Reader of HcalAnalyzer ROOT files of both producers."""

    name = "HcalAnalyzer ROOT"
    suffixes = (".root",)

    def matches(self, path: Path) -> bool:
        """Return whether the file is a ROOT file with a folder of the analyzer, or one too broken to tell."""
        return is_root(path) and (holds(path, FOLDER) or holds(path, OLDER_FOLDER))

    def run_of(self, path: Path, request: ReadRequest) -> int:
        """Return the run, from the first entry of the tree."""
        with open_root(path) as file:
            branches = _tree(path, _folder(path, file))
            run = int(branches["RunNum"].array(library="np", entry_stop=1)[0])
        return settle_run(path, run, request, SILENT)

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
        with hashing(path) as sha256:
            with open_root(path) as file:
                folder = _folder(path, file)
                _check_depths(path, folder)
                tree = _read_tree(path, folder)
            run = settle_run(path, tree.run, request, progress)
            era = settle_era(path, run, None, request)
            settle_first_ls(path, int(tree.sections[0]), request, progress)
            filled = _read_histograms(path, tree.columns, progress)
            layout = choose_layout(path, filled.cells)
            _check_cells(path, layout, filled.cells, era, progress)
            sections, columns, events = _lumisections(path, layout, tree, filled, progress)
            channels = analyzer_channels(era)
            cells = cells_of(layout, channels)
            present = keep_filled(path, channels, np.isin(cells, filled.cells), progress)
            counts = _place(filled, cells[present], columns)
            attrs = file_attrs(path, run, era, self.name, sha256())
        return make_occupancy(counts, channels[present], sections, events, attrs)


def _folder(path: Path, file: Any) -> Any:
    names = [str(name) for name in file.keys(recursive=False, cycle=False)]
    if FOLDER not in names and OLDER_FOLDER in names:
        raise _without_depth(path, OLDER_FOLDER)
    if FOLDER not in names:
        raise FormatError(
            path,
            f"the folder {FOLDER}",
            f"{', '.join(names) or 'nothing'} in the file",
            "give the output of HcalAnalyzer with histograms per depth",
        )
    return file[FOLDER]


def _tree(path: Path, folder: Any) -> Any:
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
    return branches


def _without_depth(path: Path, folder: str) -> FormatError:
    """Return the error for histograms that sum all depths: in no era has every tower of HB or HE a single one."""
    return FormatError(
        path,
        f"digis per depth, {FOLDER}/{HISTOGRAMS[0]} .. {DEPTHS}",
        f"{folder}/{OLDER_HISTOGRAM}, which sums the depths of a tower, so that its digis belong to no channel",
        "make it again with histograms per depth, or take the DQM file of the run",
    )


def _read_tree(path: Path, folder: Any) -> _Tree:
    branches = _tree(path, folder)
    runs = branches["RunNum"].array(library="np")
    if runs.min() != runs.max():
        named = ", ".join(str(run) for run in np.unique(runs)[:5])
        raise FormatError(path, "one run", f"a mixture of runs {named}", "split the file by run")
    return _Tree(int(runs[0]), *_distinct(path, branches["LumiSec"].array(library="np")))


def _distinct(path: Path, numbers: npt.NDArray[Any]) -> tuple[Ints, Ints, Ints]:
    """Return the lumisections in order, their numbers of entries and their first entries."""
    if numbers.dtype.kind not in "iu" or numbers.min() < 0:
        raise FormatError(path, "whole lumisection numbers", f"{numbers.min()}", "take the original file")
    # Events come in stretches of one lumisection, so that few of millions need to be sorted.
    starts = np.concatenate([[0], np.flatnonzero(numbers[1:] != numbers[:-1]) + 1])
    lengths = np.diff(starts, append=numbers.size)
    sections, first, which = np.unique(numbers[starts], return_index=True, return_inverse=True)
    entries = np.bincount(which, lengths).astype(np.int64)  # exact: a float holds whole numbers up to 2**53
    return sections.astype(np.int64), entries, starts[first]


def _check_depths(path: Path, folder: Any) -> None:
    present = set(folder.keys(recursive=False, cycle=False))
    missing = [name for name in HISTOGRAMS if name not in present]
    if OLDER_HISTOGRAM in present and len(missing) == DEPTHS:
        raise _without_depth(path, FOLDER)
    if missing:
        raise FormatError(
            path, f"{HISTOGRAMS[0]} .. {DEPTHS}", f"no {', '.join(missing)}", "take the whole file"
        )


def _read_histograms(path: Path, columns: int, progress: Progress) -> _Filled:
    """Read the depths, of which at most `WORKERS` are in memory as a whole at any time."""
    with ThreadPoolExecutor(WORKERS) as pool:
        parts = pool.map(lambda name: _read_depth(path, name, columns), HISTOGRAMS)
        depths = list(progress.track(parts, f"reading {path.name}", DEPTHS))
    if any(depth.used[0] for depth in depths):
        raise FormatError(
            path, "lumisections from 0 up", "digis in the X underflow", "take the original file"
        )
    inside = {number: depth.used[1:-1] for number, depth in enumerate(depths, start=1)}
    used = np.zeros(max(part.size for part in inside.values()), dtype=np.bool_)
    for part in inside.values():
        used[: part.size] |= part
    cells = [layer * ROWS + depth.rows for layer, depth in enumerate(depths)]
    ends = {
        number: int(np.flatnonzero(part).max(initial=-1)) + 1
        for number, part in inside.items()
        if depths[number - 1].used.any()
    }
    bins = {number: part.size for number, part in inside.items()}
    return _Filled(np.concatenate(cells), [depth.digis for depth in depths], used, ends, bins)


def _read_depth(path: Path, name: str, columns: int) -> _Depth:
    """Read one histogram and keep the filled cells only; each thread opens the file for itself."""
    with open_root(path) as file:
        bins = _rows(path, name, file[f"{FOLDER}/{name}"])
    # Whether a bin is empty shows in any byte order, so only what is kept needs to be turned into the machine's.
    raw = bins.view(f"u{bins.dtype.itemsize}")
    rows = np.flatnonzero(raw.any(axis=1))
    # The last X bin is the overflow: lumisections beyond the histogram, which the tree tells of as well.
    kept = bins[:, 1:-1][rows, :columns]
    digis = kept if kept.dtype.isnative else kept.byteswap(inplace=True).view(kept.dtype.newbyteorder())
    return _Depth(rows, digis, np.asarray(raw.any(axis=0), dtype=np.bool_))


def _rows(path: Path, name: str, histogram: Any) -> npt.NDArray[Any]:
    """Return the bins as (cell, X bin), flow bins included: the order in which ROOT keeps them, so no copy."""
    if not str(histogram.classname).startswith("TH3"):
        raise _wrong_axis(path, name, "its", f"class {histogram.classname}, not TH3I")
    for letter, member, (low, n_bins) in zip("XYZ", ("fXaxis", "fYaxis", "fZaxis"), AXES, strict=True):
        axis = histogram.member(member)
        bins, start, stop = (axis.member(key) for key in ("fNbins", "fXmin", "fXmax"))
        if (n_bins is not None and bins != n_bins) or start != low or stop - start != bins:
            raise _wrong_axis(path, name, letter, f"{bins} bins [{start:g}, {stop:g})")
    # The buffer as it lies in the file: histogram.values() would copy all of it to put it into another order.
    values: npt.NDArray[Any] = np.asarray(histogram.bases[-1])
    return values.reshape(ROWS, -1)


def _wrong_axis(path: Path, name: str, letter: str, found: str) -> FormatError:
    expected = "X from 0 in unit bins, Y 64 bins [-32, 32), Z 72 bins [0, 72)"
    return FormatError(
        path, f"{name} with {expected}", f"{letter} axis: {found}", "take a file of the analyzer"
    )


def _check_cells(path: Path, layout: Layout, filled: Ints, era: str, progress: Progress) -> None:
    if layout is Layout.CANONICAL:
        own = filled
        filled = np.setdiff1d(own, forward_cells())
        if filled.size < own.size:
            progress.note(f"{path.name}: holds the HF of abs(ieta) 29 to 31 only, left out")

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
    inside = columns < filled.used.size
    if not inside.all():
        progress.note(
            f"{path.name}: {(~inside).sum()} lumisections lie beyond the histograms and are left out"
        )
    unknown = np.setdiff1d(np.flatnonzero(filled.used), columns)
    if unknown.size:
        raise CountsError(
            path,
            "digis only in lumisections of the tree",
            f"digis in X bin {unknown[0]} ({unknown.size} such bins), without events in the tree",
            "check that histograms and tree are of one file",
        )
    inside &= _held_by_all(path, filled, tree.sections, columns, progress)
    return tree.sections[inside], columns[inside], events if events is None else events[inside]


def _held_by_all(
    path: Path, filled: _Filled, sections: Ints, columns: Ints, progress: Progress
) -> npt.NDArray[np.bool_]:
    """Return which lumisections every depth's axis reaches.

    Where a depth only stops holding digis before the others do, nothing in the file tells missing data from silence:
    the zeros are read as they stand, and the user is told.
    """
    quiet = min(filled.ends, key=filled.ends.__getitem__, default=None)
    if quiet is not None and len(set(filled.ends.values())) > 1:
        last = sections[columns < filled.ends[quiet]].max(initial=0)
        progress.note(
            f"{path.name}: depth {quiet} holds no digi after LS {last}, other depths do; read as zeros"
        )
    first = min(filled.bins, key=filled.bins.__getitem__)
    held = columns < filled.bins[first]
    if late := int((~held & (columns < filled.used.size)).sum()):
        progress.note(
            f"{path.name}: depth {first} ends at LS {sections[held].max(initial=0)}, other depths later; "
            f"{late} lumisections that not all depths reach are left out"
        )
    return held


def _place(filled: _Filled, wanted: Ints, columns: Ints) -> npt.NDArray[Any]:
    """Return digis as (ls, channel): each filled cell in the column of its channel, zeros elsewhere."""
    counts = np.zeros((columns.size, wanted.size), dtype=np.result_type(*filled.digis))
    channel = np.full(DEPTHS * ROWS, -1, dtype=np.int64)
    channel[wanted] = np.arange(wanted.size)
    places = np.split(channel[filled.cells], np.cumsum([len(part) for part in filled.digis])[:-1])
    chosen = _slice_of(columns)
    for place, digis in zip(places, filled.digis, strict=True):
        order = np.argsort(place)
        order = order[place[order] >= 0]  # the rest is the second producer's HF
        # Channels in a row, such as a phi ring, are turned together: small enough for the processor's cache.
        for run in np.split(order, np.flatnonzero(np.diff(place[order]) != 1) + 1):
            if run.size:
                start = place[run[0]]
                counts[:, start : start + run.size] = digis[run][:, chosen].T
    return counts


def _slice_of(columns: Ints) -> Any:
    """Return columns in a row as a slice, which numpy reads without a copy."""
    steady = columns.size and (np.diff(columns) == 1).all()
    return slice(int(columns[0]), int(columns[-1]) + 1) if steady else columns
