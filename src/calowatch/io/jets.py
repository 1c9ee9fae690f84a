"""Quark and gluon jet images: Parquet files with nested lists, read once into a sparse cache that is mapped afterwards.

Layout of the published files: ``X_jets`` nested lists 3 x 125 x 125 (transverse momenta of tracks, ECAL, HCAL; rows
ieta, columns iphi), ``pt``, ``m0`` and ``y``, 1 for quarks and 0 for gluons, often one jet per row group. Files of ours
may hold the truth in further columns. Nested lists are flattened as Arrow holds them, without a Python loop over
pixels. Of 46875 pixels some 700 are not zero: the cache keeps these, so that 139 306 jets (26 GB of 32-bit floats) take
less than 1 GB on the disk, lose no digit, and are read in any order.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from calowatch.core.errors import InputError
from calowatch.core.files import atomic_file
from calowatch.core.places import cache_place
from calowatch.core.progress import SILENT, Progress
from calowatch.io.jets_cache import JetPixels, read_cached
from calowatch.io.jets_lists import SHAPE
from calowatch.io.jets_parquet import COLUMNS
from calowatch.io.jets_report import CHANNELS, JetReport
from calowatch.io.same_files import same_files

__all__ = [
    "CHANNELS",
    "CLASSES",
    "SCALARS",
    "SHAPE",
    "JetFiles",
    "JetReport",
    "find_jets",
    "looks_like_jets",
    "read_jets",
    "write_jets",
]

Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

CLASSES = ("gluon", "quark")
"""In order of their labels."""
SCALARS = ("pt", "m0")
_ROW_GROUP = 100


@dataclass(frozen=True, eq=False)
class JetFiles:
    """Labelled images of some files, an image source: sound ones only, in the order of the files.

    Parameters
    ----------
    labels
        1 for quarks, shape (jets,).
    scalars
        pt and m0 in GeV, shape (jets, 2).
    table
        One row per jet: ``source``, ``position`` (in the file), ``block`` (chunk of generation, -1 where unknown),
        pt, m0, and the truth that all files have.
    reports
        One per file.
    """

    labels: Ints
    scalars: Singles
    table: pd.DataFrame
    reports: tuple[JetReport, ...]
    parts: tuple[JetPixels, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Return (images, channels, rows, columns)."""
        return len(self), *SHAPE

    @cached_property
    def _first(self) -> Ints:
        return np.cumsum([0, *(len(part.first) - 1 for part in self.parts)])

    def read(self, rows: Ints) -> Singles:
        """Return some images, in the order of ``rows``: [row, channel, ieta, iphi]."""
        rows = np.asarray(rows, np.int64)
        if len(self.parts) == 1:
            return self.parts[0].read(rows)
        of = np.searchsorted(self._first, rows, side="right") - 1
        found = np.empty((len(rows), *SHAPE), np.float32)
        for number, part in enumerate(self.parts):
            here = np.flatnonzero(of == number)
            if here.size:
                found[here] = part.read(rows[here] - self._first[number])
        return found


def looks_like_jets(path: Path | str) -> bool:
    """Return whether a file is Parquet with the column ``X_jets``, or with all others: `read_jets` tells what lacks."""
    path = Path(path)
    try:
        names = set(pq.read_schema(path).names) if path.is_file() else set()
    except (OSError, pa.ArrowException):
        return False
    return COLUMNS[0] in names or names >= set(COLUMNS[1:])


def find_jets(source: Path | str) -> list[Path]:
    """Return the files that a source names: a file itself, or those directly in a folder."""
    path = Path(source)
    if path.is_dir():
        return [file for file in sorted(path.glob("*.parquet")) if looks_like_jets(file)]
    return [path] if looks_like_jets(path) else []


def read_jets(
    paths: Sequence[Path | str], cache: Path | None = None, progress: Progress = SILENT
) -> JetFiles:
    """Read files of jet images, a few at a time, and check every value; what was read before is mapped at once.

    Empty images and those with NaN or infinity are left out; they and all else that is odd are counted and noted.

    Parameters
    ----------
    paths
        Parquet files.
    cache
        Folder of what was read; by default in the user's cache. It can be deleted any time.
    progress
        Shows how far it is, and takes notes.

    Raises
    ------
    FormatError
        When a file is no Parquet, lacks a column, has one of another type, or holds images of another shape (which is
        the first) or of more than one orientation.
    CountsError
        When labels are not 0 and 1, or another channel than the last has the towers of the HCAL.
    InputError
        When there is no such file, two have one name, or no image is sound.
    """
    files = [Path(path) for path in paths]
    names = [path.name for path in files]
    if len(set(names)) < len(names):
        raise InputError("files", "files of different names", "one name twice", "leave out one, or rename it")
    parts = [read_cached(path, cache or cache_place("jets"), progress) for path in files]
    for note in [*(note for part in parts for note in part.report.notes()), *same_files(files)]:
        progress.note(note)
    if not any(len(part.table) for part in parts):
        raise InputError(", ".join(names) or "files", "images", "none that is sound", "give other files")
    shared = set.intersection(*(set(part.table.columns) for part in parts))
    columns = [name for name in parts[0].table.columns if name in shared]
    table = pd.concat([part.table[columns] for part in parts], ignore_index=True)
    return JetFiles(
        labels=table.pop("y").to_numpy(np.int64),
        scalars=table[list(SCALARS)].to_numpy(np.float32),
        table=table,
        reports=tuple(part.report for part in parts),
        parts=tuple(part.pixels for part in parts),
    )


Block = tuple[Singles, Mapping[str, npt.NDArray[Any]]]


def write_jets(
    path: Path | str, blocks: Iterable[Block], provenance: Mapping[str, Any], row_group: int = _ROW_GROUP
) -> None:
    """Write jet images in the published layout, whole or not at all.

    Parameters
    ----------
    path
        The file.
    blocks
        Images [jet, channel, ieta, iphi] and columns: pt, m0, y, and whatever truth there is; some at a time.
    provenance
        Record of `calowatch.core.provenance`, kept as JSON in the file's metadata.
    row_group
        Jets per row group.

    Raises
    ------
    ValueError
        For images of another shape, missing columns, or no block at all.
    """
    writer: pq.ParquetWriter | None = None
    with atomic_file(path) as scratch:
        try:
            for images, columns in blocks:
                table = _arrow(images, columns, provenance)
                if writer is None:
                    writer = pq.ParquetWriter(scratch, table.schema, compression="snappy")
                writer.write_table(table, row_group_size=row_group)
        finally:
            if writer is not None:
                writer.close()
        if writer is None:
            raise ValueError("no jets to write")


def _arrow(
    images: Singles, columns: Mapping[str, npt.NDArray[Any]], provenance: Mapping[str, Any]
) -> pa.Table:
    if images.shape[1:] != SHAPE or not {"pt", "m0", "y"} <= set(columns):
        raise ValueError(f"images of shape {images.shape} with columns {sorted(columns)}")
    nested = pa.array(np.ascontiguousarray(images, np.float64).reshape(-1))
    for size in reversed(SHAPE):
        ends = np.arange(0, len(nested) + 1, size, dtype=np.int32)
        nested = pa.ListArray.from_arrays(pa.array(ends), nested)
    plain = {name: np.asarray(columns[name], np.float64) for name in ("pt", "m0", "y")}
    truth = {name: values for name, values in columns.items() if name not in plain}
    table = pa.table({"X_jets": nested, **plain, **truth})
    return table.replace_schema_metadata({"provenance": json.dumps(provenance)})
