"""Master folders of the source system: digis of HB and HE of one run as numpy arrays, row number = lumisection.

* ``output__depth.npy``: (LS, 64 ieta, 72 iphi, 7 depth), with or without a last axis of length 1;
* ``run_ls_lumi_df.npy``: one record per lumisection, with ``ls`` and ``NumEvents``;
* ``meta_data.json``: ``RunId``, and the axes.

The source system saves ``hbhe`` with the axes of the analyzer (gap at ieta 0, bin 0 of iphi empty), and ``he`` and
``hb`` after its loader's steps (drop ieta 0, shift iphi), on the canonical grid. Either way it has lost iphi 72, which
was in an overflow bin: those channels are not in such a file and not in what is read. Ours are canonical and have them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from calowatch.core.errors import CountsError, FormatError, InputError
from calowatch.core.files import file_hash
from calowatch.core.progress import SILENT, Progress
from calowatch.core.schema import UNKNOWN_EVENTS, make_occupancy
from calowatch.io.analyzer_layout import (
    Layout,
    analyzer_channels,
    cell_names,
    cells_of,
    choose_layout,
    grid_cells,
)
from calowatch.io.master_writer import META, SHAPE, TABLE, write_master
from calowatch.io.origin import file_attrs, keep_filled, refuse_strays
from calowatch.io.request import ReadRequest, settle_era, settle_first_ls, settle_run

__all__ = ["MasterReader", "write_master"]

MAGIC = b"\x93NUMPY"
LAST_IPHI = 72
LS_LIMIT = 2000
"""Lumisections from here on did not fit into the histograms that such arrays are made from."""
LS_NAMES = ("ls", "LS#")
EVENT_NAMES = ("NumEvents", "n_events")
CONDITIONS = ("pileup", "lumi")

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Table:
    """What the table of lumisections tells, by increasing lumisection."""

    sections: Ints
    events: Ints | None
    conditions: dict[str, npt.NDArray[np.float64]]


class MasterReader:
    """Reader of the source system's master folders, by their array."""

    name = "master folder"
    suffixes = (".npy",)

    def matches(self, path: Path) -> bool:
        """Return whether the file is such an array, or a numpy file too broken to tell."""
        with path.open("rb") as stream:
            if stream.read(len(MAGIC)) != MAGIC:
                return False
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError):
            return True
        return array.ndim in (4, 5) and array.shape[1:4] == SHAPE

    def run_of(self, path: Path, request: ReadRequest) -> int:
        """Return the run that `read` would return, without reading counts."""
        _array(path)
        return settle_run(path, _meta(path).get("run"), request, SILENT)

    def read(self, path: Path, request: ReadRequest, progress: Progress = SILENT) -> xr.Dataset:
        """Return the run in the folder of the array.

        Parameters
        ----------
        path
            The array; table and description lie beside it.
        request
            ``era`` overrides that of the run; ``run`` and ``first_ls`` must agree with the folder.
        progress
            Takes notes on what is not in the file.

        Raises
        ------
        FormatError
            For an array that is damaged, pickled or of another shape, a missing or pickled table, a missing column, or
            rows that cannot be tied to lumisections.
        AmbiguousLayoutError
            When the filled cells fit the axes of the analyzer and the canonical grid alike.
        CountsError
            For negative or non-integer counts, counts above events, or digis outside the segmentation or in
            lumisections that the table does not know.
        ConflictError
            When the request contradicts the folder.
        """
        array = _array(path)
        table, meta = _table(path), _meta(path)
        run = settle_run(path, meta.get("run"), request, progress)
        era = settle_era(path, run, meta.get("era"), request)
        settle_first_ls(path, int(table.sections[0]), request, progress)
        sha256 = file_hash(path)
        if meta.get("sha256") not in (None, sha256):
            raise FormatError(
                path, f"the array that {META} describes", "a damaged or another one", "copy it again"
            )
        filled, used = _filled(path, array)
        layout = choose_layout(path, filled)
        channels = analyzer_channels(era)
        _check_cells(path, layout, filled, era)
        kept = keep_filled(path, channels, np.isin(cells_of(layout, channels), filled), progress)
        kept &= _recorded(path, layout, filled, channels, progress)
        _check_rows(path, used, table, array)
        counts = _counts(array, layout, channels[kept], table.sections)
        inside = table.sections < max(LS_LIMIT, len(array))
        if not inside.all():
            progress.note(
                f"{path.name}: {(~inside).sum()} lumisections from {LS_LIMIT} on were cut off, left out"
            )
        attrs = _attrs(path, file_attrs(path, run, era, self.name, sha256, {"layout": layout.name.lower()}))
        events = None if table.events is None else table.events[inside]
        conditions = {name: values[inside] for name, values in table.conditions.items()}
        return make_occupancy(
            counts[inside], channels[kept], table.sections[inside], events, attrs, conditions
        )


def _attrs(path: Path, attrs: dict[str, Any]) -> dict[str, Any]:
    """Add the files beside the array to the sources."""
    more = [path.with_name(name) for name in (TABLE, META) if path.with_name(name).is_file()]
    attrs["provenance"]["sources"] += [
        {"name": file.name, "bytes": file.stat().st_size, "sha256": file_hash(file)} for file in more
    ]
    return attrs


def _load(path: Path, what: str) -> npt.NDArray[Any]:
    """Map a numpy file; never run what a pickled one holds."""
    with path.open("rb") as stream:
        head = stream.read(len(MAGIC))
    if head != MAGIC:
        found = "an empty file" if not head else "something else"
        raise FormatError(path, f"{what} as a numpy file", found, "check that it is the file you meant")
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = str(error).strip().splitlines()[0]
        if "allow_pickle" in reason or "Python objects" in reason:
            raise FormatError(
                path,
                f"{what} as plain numbers",
                "pickled objects, which could run anything",
                "load it where you trust it, and save it again with DataFrame.to_records(index=False) or a plain dtype",
            ) from error
        raise FormatError(
            path, f"{what} as a whole numpy file", f"a damaged one ({reason})", "copy it again"
        ) from error
    return array


def _array(path: Path) -> npt.NDArray[Any]:
    """Return the digis as (LS, ieta, iphi, depth), still on disk."""
    array = _load(path, "digis")
    whole = array[..., 0] if array.ndim == 5 and array.shape[4] == 1 else array
    if whole.ndim != 4 or whole.shape[1:] != SHAPE or not len(whole) or whole.dtype.kind not in "fiu":
        raise FormatError(
            path,
            "digis as numbers, (LS, 64 ieta, 72 iphi, 7 depth) or that with a last axis of 1",
            f"shape {array.shape} of {array.dtype}",
            "take a file of the source system, or write one with calowatch export",
        )
    return whole


def _table(path: Path) -> _Table:
    """Return the table of lumisections that lies beside the array."""
    file = path.with_name(TABLE)
    if not file.is_file():
        raise InputError(path, f"{TABLE} beside it", "none", "copy the whole folder")
    records = _load(file, "the table of lumisections")
    names = records.dtype.names or ()
    ls_name = next((name for name in LS_NAMES if name in names), None)
    if records.ndim != 1 or ls_name is None or not len(records):
        found = f"the columns {', '.join(names)}" if names else f"shape {records.shape} of {records.dtype}"
        raise FormatError(file, "records with the column ls", found, "save it with DataFrame.to_records")
    sections = _column(file, records, ls_name)
    order = np.argsort(sections, kind="stable")
    if (np.diff(sections[order]) == 0).any() or sections.min() < 0:
        raise FormatError(
            file, "every lumisection once, from 0 up", "repeated or negative ones", "split it by run"
        )
    events_name = next((name for name in EVENT_NAMES if name in names), None)
    events = None if events_name is None else _column(file, records, events_name)[order]
    if events is not None and events.min() < UNKNOWN_EVENTS:
        raise FormatError(file, f"{events_name} of zero or more", f"{events.min()}", "take the original file")
    conditions = {name: np.asarray(records[name], np.float64)[order] for name in CONDITIONS if name in names}
    return _Table(sections[order], events, conditions)


def _column(file: Path, records: npt.NDArray[Any], name: str) -> Ints:
    values = np.asarray(records[name])
    with np.errstate(invalid="ignore"):
        whole = values.astype(np.int64) if values.dtype.kind in "fiu" else None
    if whole is None or (whole != values).any():
        raise FormatError(
            file, f"whole numbers in the column {name}", f"{values.dtype} values", "save it again"
        )
    return whole


def _meta(path: Path) -> Mapping[str, Any]:
    """Return run, era and SHA-256 from the description, as far as it is there and tells."""
    file = path.with_name(META)
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text())
        told = {"era": content.get("era"), "sha256": content.get("sha256")}
        return {**told, "run": int(content["RunId"]) if "RunId" in content else None}
    except (ValueError, TypeError, AttributeError) as error:
        raise FormatError(
            file, "a JSON object with the number RunId", "something else", "copy it again"
        ) from error


def _filled(path: Path, array: npt.NDArray[Any]) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Return the cells with digis, numbered as in `cells_of`, and which rows have any; a row in memory at a time."""
    cells = np.zeros(SHAPE, dtype=np.bool_)
    used = np.zeros(len(array), dtype=np.bool_)
    for number, row in enumerate(array):
        values = np.asarray(row)
        if values.min() < 0:
            where = f"{values.min()} in LS {number}"
            raise CountsError(path, "counts of zero or more", where, "take the original file")
        nonzero = values != 0
        cells |= nonzero
        used[number] = nonzero.any()
    ieta_bin, iphi_bin, layer = np.nonzero(cells)
    return grid_cells(ieta_bin, iphi_bin, layer), used


def _check_cells(path: Path, layout: Layout, filled: Ints, era: str) -> None:
    def strays(other: str) -> Ints:
        return np.setdiff1d(filled, cells_of(layout, analyzer_channels(other)))

    refuse_strays(path, cell_names(layout, strays(era)), era, lambda other: not strays(other).size)


def _recorded(
    path: Path, layout: Layout, filled: Ints, channels: pd.DataFrame, progress: Progress
) -> npt.NDArray[np.bool_]:
    """Return which channels the array has room for: iphi 72 only where that column is filled."""
    last = channels["iphi"].to_numpy() == LAST_IPHI
    if layout is Layout.CANONICAL and np.isin(cells_of(layout, channels[last]), filled).any():
        return np.ones(len(channels), dtype=np.bool_)
    progress.note(
        f"{path.name}: iphi {LAST_IPHI} was lost when the array was made, its channels are left out"
    )
    return np.asarray(~last)


def _check_rows(path: Path, used: npt.NDArray[np.bool_], table: _Table, array: npt.NDArray[Any]) -> None:
    """Raise unless rows are numbered by lumisection, and all that hold digis are in the table."""
    first = int(np.argmax(used))
    if table.events is not None and (table.events == 1).all() and array[first].max() > 1:
        raise FormatError(
            path,
            "events per lumisection",
            "1 everywhere, as from a file of the second HcalAnalyzer producer, whose rows are no lumisections",
            "convert the ROOT file itself",
        )
    unknown = np.setdiff1d(np.flatnonzero(used), table.sections)
    if unknown.size:
        raise CountsError(
            path,
            f"digis only in lumisections of {TABLE}",
            f"digis in row {unknown[0]} ({unknown.size} such rows)",
            "check that array and table are of one run",
        )


def _counts(
    array: npt.NDArray[Any], layout: Layout, channels: pd.DataFrame, sections: Ints
) -> npt.NDArray[Any]:
    """Return digis as (ls, channel); rows beyond the array's end were empty when it was cut."""
    place = cells_of(layout, channels)
    every = grid_cells(*np.indices(SHAPE).reshape(3, -1))
    order = np.argsort(every)
    column = order[np.searchsorted(every, place, sorter=order)]
    counts = np.zeros((sections.size, len(channels)), dtype=array.dtype)
    for row, section in zip(counts, sections.tolist(), strict=True):
        if section < len(array):
            row[:] = np.asarray(array[section]).reshape(-1)[column]
    return counts
