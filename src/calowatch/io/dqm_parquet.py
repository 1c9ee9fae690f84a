"""Per-LS Parquet files of DQM (DIALS): one row per histogram and lumisection, with the bins as a list of lists.

Columns ``me`` (name of the histogram, ``Hcal/DigiTask/OccupancyCut/depth/depth<N>``), ``run_number``, ``ls_number`` and
``data`` (72 iphi x 84 ieta, nested lists), in the DQM grid. Other columns and other histograms are passed over. The
number of events is not in such a file.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xarray as xr

from calowatch.core.errors import AmbiguousLayoutError, ConflictError, CountsError, FormatError, InputError
from calowatch.core.progress import SILENT, Progress
from calowatch.core.schema import make_occupancy
from calowatch.detector.table import channel_table
from calowatch.io.dqm_grid import GRID, DqmGrid, check_planes, find_ho, place_channels
from calowatch.io.events import events_from_hf
from calowatch.io.origin import file_attrs, hashing, keep_filled
from calowatch.io.request import ReadRequest, settle_era, settle_first_ls, settle_run

__all__ = ["DqmParquetReader"]

MAGIC = b"PAR1"
COLUMNS = ("me", "run_number", "ls_number", "data")
NAME = re.compile(r"(Hcal|HcalAll)/DigiTask/(Occupancy|OccupancyCut)/depth/(depth(?:[1-7]|HO))")
ROWS_AT_ONCE = 128
"""Histograms in memory at a time, 6 MB."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Index:
    """Which rows of the file are read, and where they belong.

    Parameters
    ----------
    run
        Run number.
    histograms
        Name of the histograms, without the depth.
    sections
        Lumisections, increasing.
    plane, row
        By row of the file: name of the plane ("" where it is not read) and row of the lumisection.
    """

    run: int
    histograms: str
    sections: Ints
    plane: npt.NDArray[np.object_]
    row: Ints

    @property
    def present(self) -> frozenset[str]:
        """The planes in the file."""
        return frozenset(self.plane.tolist()) - {""}


class DqmParquetReader:
    """Reader of DQM histograms per lumisection in Parquet files."""

    name = "DQM Parquet"
    suffixes = (".parquet",)

    def matches(self, path: Path) -> bool:
        """Return whether the file begins as Parquet files do."""
        with path.open("rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC

    def run_of(self, path: Path, request: ReadRequest) -> int:
        """Return the run that `read` would return, without reading counts."""
        with _opened(path) as file:
            return settle_run(path, _index(path, file, request, SILENT).run, request, SILENT)

    def read(self, path: Path, request: ReadRequest, progress: Progress = SILENT) -> xr.Dataset:
        """Return the run in the file.

        Parameters
        ----------
        path
            The file.
        request
            ``run`` picks one of several; ``era`` overrides that of the run; ``first_ls`` must agree with the file.
        progress
            Takes notes on what was chosen.

        Raises
        ------
        FormatError
            For a file that is no Parquet file or is damaged, a missing column or depth, a histogram of another shape,
            or several runs of which none was picked.
        CountsError
            For negative or non-integer counts, or digis outside the segmentation.
        ConflictError
            When the request contradicts the file, or a histogram stands there twice.
        """
        with hashing(path) as sha256:
            with _opened(path) as file:
                index = _index(path, file, request, progress)
                run = settle_run(path, index.run, request, progress)
                era = settle_era(path, run, None, request)
                settle_first_ls(path, int(index.sections[0]), request, progress)
                check_planes(path, index.present, f"{index.histograms}/depth/")
                _check_complete(path, index)
                grid = place_channels(era, find_ho(era, index.present))
                counts = _read(path, file, index, grid, progress)
            chosen = {"histograms": index.histograms, "ho": grid.ho}
            attrs = file_attrs(path, run, era, self.name, sha256(), chosen)
        channels = channel_table(era)
        kept = keep_filled(path, channels, np.asarray(counts.any(axis=0)), progress)
        counts, channels = counts[:, kept], channels[kept]
        return make_occupancy(counts, channels, index.sections, events_from_hf(counts, channels), attrs)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a Parquet file; whatever goes wrong in its bytes, here or while it is read, is one clear error."""
    with path.open("rb") as stream:
        head = stream.read(len(MAGIC))
    if head != MAGIC:
        found = "an empty file" if not head else "something else"
        raise FormatError(path, "a Parquet file", found, "check that it is the file you meant")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:  # what pyarrow raises for broken bytes
        reason = str(error).strip().splitlines()[0]
        raise FormatError(
            path, "a whole Parquet file", f"a damaged one ({reason})", "copy it again"
        ) from error


def _index(path: Path, file: Any, request: ReadRequest, progress: Progress) -> _Index:
    """Return where the rows of one run belong, from the columns that hold no bins."""
    missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
    if missing:
        columns = ", ".join(COLUMNS)
        raise FormatError(
            path, f"the columns {columns}", f"no {', '.join(missing)}", "take a per-LS file of DIALS"
        )
    table = file.read(columns=list(COLUMNS[:3])).to_pandas()
    named = table["me"].astype(str).str.extract(f"^{NAME.pattern}$")
    numbers = table[["run_number", "ls_number"]].apply(pd.to_numeric, errors="coerce")
    inside = named[2].notna()
    if not inside.any():
        raise FormatError(
            path,
            "histograms Hcal/DigiTask/OccupancyCut/depth/depth<N>",
            f"none in {len(table)} rows",
            "download the depths of HCAL's DigiTask",
        )
    if numbers[inside].isna().any(axis=None) or (numbers[inside] % 1 != 0).any(axis=None):
        raise FormatError(path, "whole run and lumisection numbers", "some without", "take the original file")
    inside &= _one_run(path, numbers["run_number"], inside, request)
    name = named[0] + "/DigiTask/" + named[1]
    histograms = _one_kind(path, sorted(set(name[inside])), progress)
    inside &= name == histograms
    sections, row = np.unique(numbers["ls_number"][inside].to_numpy(np.int64), return_inverse=True)
    rows = np.full(len(table), -1, dtype=np.int64)
    rows[inside.to_numpy()] = row
    plane = named[2].where(inside, "").to_numpy(object)
    return _Index(int(numbers["run_number"][inside].iloc[0]), histograms, sections, plane, rows)


def _one_run(
    path: Path, numbers: "pd.Series[Any]", inside: "pd.Series[bool]", request: ReadRequest
) -> "pd.Series[bool]":
    runs = sorted(int(run) for run in set(numbers[inside]))
    if len(runs) > 1 and request.run not in runs:
        named = ", ".join(str(run) for run in runs[:5])
        raise FormatError(path, "one run", f"a mixture of runs {named}", "pick one with --run")
    return numbers == (runs[0] if len(runs) == 1 else request.run)


def _one_kind(path: Path, names: list[str], progress: Progress) -> str:
    """Return which histograms are read: ``Occupancy`` before ``OccupancyCut``, of one subsystem."""
    if len({name.split("/")[0] for name in names}) > 1:
        raise AmbiguousLayoutError(
            path,
            "occupancy of one subsystem",
            f"that of {' and '.join(names)}",
            "keep the one that is meant",
        )
    if len(names) > 1:
        progress.note(f"{path.name}: {names[0]} is read, {names[1]} left aside")
    return names[0]


def _check_complete(path: Path, index: _Index) -> None:
    """Raise unless every lumisection has every plane of the file exactly once."""
    read = index.row >= 0
    times = pd.crosstab(index.sections[index.row[read]], index.plane[read])
    for count, words in ((times == 0, "no"), (times > 1, "twice")):
        bad = np.argwhere(count.to_numpy())
        if not len(bad):
            continue
        ls, plane = times.index[bad[0][0]], times.columns[bad[0][1]]
        if words == "no":
            found = f"no {plane} in LS {ls} ({len(bad)} such gaps)"
            raise FormatError(path, "every depth in every lumisection", found, "download it again")
        found = f"{plane} of LS {ls} {times.iloc[tuple(bad[0])]} times ({len(bad)} such histograms)"
        raise ConflictError(path, "every histogram once", found, "keep the rows of one processing")


def _read(path: Path, file: Any, index: _Index, grid: DqmGrid, progress: Progress) -> npt.NDArray[np.int32]:
    """Return digis as (ls, channel), having refused cells that are filled where no channel is."""
    counts = np.zeros((index.sections.size, grid.planes.size), dtype=np.int32)
    filled = {plane: np.zeros(GRID, dtype=np.bool_) for plane in index.present}
    first = 0
    batches = file.iter_batches(batch_size=ROWS_AT_ONCE, columns=["data"])
    total = -(-file.metadata.num_rows // ROWS_AT_ONCE)
    for batch in progress.track(batches, f"reading {path.name}", total):
        rows, planes = index.row[first : first + len(batch)], index.plane[first : first + len(batch)]
        first += len(batch)
        wanted = np.flatnonzero(rows >= 0)
        if not wanted.size:
            continue
        bins = _bins(path, batch.column(0).take(pa.array(wanted)))
        values = _whole(path, bins, index.sections[rows[wanted]], planes[wanted])
        for plane in set(planes[wanted].tolist()):
            here = planes[wanted] == plane
            places = np.ix_(rows[wanted[here]], grid.channels_in(plane))
            counts[places] = grid.gather(plane, values[here])
            filled[plane] |= values[here].any(axis=0)
    grid.refuse_strays(path, filled, index.present)
    return counts


def _bins(path: Path, column: Any) -> npt.NDArray[Any]:
    """Return nested lists as an array (histogram, 72, 84), without a loop over bins."""
    expected = f"data as {GRID[0]} lists (iphi) of {GRID[1]} numbers (ieta)"
    for length in GRID:
        kind = column.type
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
            raise FormatError(path, expected, f"{kind}", "take a per-LS file of DIALS")
        lengths = pc.fill_null(pc.list_value_length(column), 0)
        bounds = pc.min_max(lengths).as_py()
        if (bounds["min"], bounds["max"]) != (length, length):
            odd = bounds["min"] if bounds["min"] != length else bounds["max"]
            raise FormatError(
                path, expected, f"a list of {odd} where {length} should be", "take a per-LS file of DIALS"
            )
        column = pc.list_flatten(column)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise FormatError(path, expected, f"{column.type}", "take a per-LS file of DIALS")
    values: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)  # a missing value comes as NaN
    return values.reshape(-1, *GRID)


def _whole(
    path: Path, bins: npt.NDArray[Any], sections: Ints, planes: npt.NDArray[np.object_]
) -> npt.NDArray[np.int32]:
    """Return bins as whole numbers, refusing others and those below zero."""
    with np.errstate(invalid="ignore"):
        values = bins.astype(np.int32)
        bad = (values != bins) | (values < 0)
    if bad.any():
        which, iphi_bin, ieta_bin = (int(i) for i in np.argwhere(bad)[0])
        raise CountsError(
            path,
            "whole numbers of digis, zero or more",
            f"{bins[which, iphi_bin, ieta_bin]} in LS {sections[which]}, {planes[which]}, row {iphi_bin}, "
            f"column {ieta_bin} ({int(bad.sum())} such values)",
            "take the original file, with counts instead of rates or differences",
        )
    return values
