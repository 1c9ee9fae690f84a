"""Quark and gluon jet images: Parquet files with nested lists, read once into a sparse cache that is mapped afterwards.

Layout of the published files: ``X_jets`` nested lists 3 x 125 x 125 (track momentum, ECAL, HCAL; rows ieta, columns
iphi), ``pt``, ``m0`` and ``y``, 1 for quarks and 0 for gluons, often one jet per row group. Files of ours may hold the
truth in further columns. Nested lists are flattened as Arrow holds them, without a Python loop over pixels. Of 46875
pixels some 700 are not zero: the cache keeps these, so that 139 306 jets (26 GB of 32-bit floats) take less than 1 GB
on the disk, lose no digit, and are read in any order.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from calowatch.core.errors import CountsError, FormatError, InputError
from calowatch.core.files import atomic_directory, atomic_file, write_json
from calowatch.core.places import cache_place
from calowatch.core.progress import SILENT, Progress
from calowatch.io.jets_lists import SHAPE, flat_images
from calowatch.io.jets_report import CHANNELS, JetReport, JetTally

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
COLUMNS = ("X_jets", "pt", "m0", "y")

SCHEMA = 1
MARKER = "jets.json"
_ROWS_AT_ONCE = 16  # 6 MB of 64-bit floats, three times that while they are decoded
_IMAGES_AT_ONCE = 2048  # read from the cache together where more are asked for
_PIXELS = int(np.prod(SHAPE))
_ROW_GROUP = 100
_BLOCK = "chunk"
_EXPECTED = "a Parquet file with columns X_jets, pt, m0 and y"
_FIX = "give files such as QCDToGGQQ_IMGjet_RH1all_jet0_run0_n36272.test.snappy.parquet"


@dataclass(frozen=True, eq=False)
class _Pixels:
    """Images without zeros, mapped from the disk: of image i, pixels first[i] to first[i + 1]."""

    first: Ints
    pixel: npt.NDArray[np.uint16]
    value: Singles

    def read(self, rows: Ints) -> Singles:
        found = np.zeros((len(rows), _PIXELS), np.float32)
        for begin in range(0, len(rows), _IMAGES_AT_ONCE):
            part = rows[begin : begin + _IMAGES_AT_ONCE]
            count = self.first[part + 1] - self.first[part]
            image = np.repeat(np.arange(begin, begin + len(part)), count)
            at = np.arange(len(image)) + np.repeat(self.first[part] - (np.cumsum(count) - count), count)
            found[image, self.pixel[at]] = self.value[at]
        return found.reshape(len(rows), *SHAPE)


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
    parts: tuple[_Pixels, ...] = field(repr=False)

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
    """Return whether a file is Parquet with a column ``X_jets``."""
    path = Path(path)
    try:
        return path.is_file() and "X_jets" in pq.read_schema(path).names
    except (OSError, pa.ArrowException):
        return False


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
        When a file is no Parquet, lacks a column, or holds images of another shape: how many, and which is the first.
    CountsError
        When labels are not 0 and 1, or the channels are in another order.
    InputError
        When there is no such file, two have one name, or no image is sound.
    """
    files = [Path(path) for path in paths]
    names = [path.name for path in files]
    if len(set(names)) < len(names):
        raise InputError("files", "files of different names", "one name twice", "leave out one, or rename it")
    parts = [_cached(path, cache or cache_place("jets"), progress) for path in files]
    for part in parts:
        for note in part.report.notes():
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


@dataclass(frozen=True, eq=False)
class _Part:
    table: pd.DataFrame
    report: JetReport
    pixels: _Pixels


def _cached(path: Path, cache: Path, progress: Progress) -> _Part:
    if not path.is_file():
        raise InputError(path, _EXPECTED, "no such file", "check the path")
    stat = path.stat()
    told = f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}\0{SCHEMA}"
    folder = cache / f"{path.stem}-{hashlib.sha256(told.encode()).hexdigest()[:16]}"
    if not (folder / MARKER).is_file():
        with atomic_directory(folder, marker=MARKER) as scratch:
            _fill(path, scratch, progress)
    return _open(folder, path)


def _open(folder: Path, path: Path) -> _Part:
    try:
        told = json.loads((folder / MARKER).read_text())
        found = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in ("first", "pixel", "value")
        }
        table = pd.read_parquet(folder / "table.parquet")
    except (OSError, ValueError, pa.ArrowException) as error:
        raise FormatError(folder, "a cache of jets", str(error), "remove it: it is made again") from error
    counted: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in told.items()
    }
    table.insert(0, "source", path.name)
    pixels = _Pixels(*(np.asarray(found[name]) for name in ("first", "pixel", "value")))
    return _Part(table, JetReport(**(counted | {"source": path.name})), pixels)


def _fill(path: Path, folder: Path, progress: Progress) -> None:
    """Read a file from end to end into a new cache."""
    file = _opened(path)
    tally, first, good = JetTally(), [np.zeros(1, np.int64)], list[Ints]()
    n = file.metadata.num_rows
    with (folder / "pixel.raw").open("wb") as pixels, (folder / "value.raw").open("wb") as values:
        row = 0
        blocks = _blocks(path, file)
        for block, turned in progress.track(blocks, f"reading {path.name}", -(-n // _ROWS_AT_ONCE)):
            filled = tally.add(path, block, turned)
            pixels.write(filled.pixel.tobytes())
            values.write(filled.value.tobytes())
            first.append(filled.lengths)
            good.append(row + filled.images)
            row += len(block)
    _as_npy(folder / "pixel.raw", np.dtype(np.uint16))
    _as_npy(folder / "value.raw", np.dtype(np.float32))
    np.save(folder / "first.npy", np.cumsum(np.concatenate(first)), allow_pickle=False)
    table, broken = _table(path, file, np.concatenate(good) if good else np.empty(0, np.int64))
    if broken.any():
        _drop(folder, broken)
        table = table[~broken]
    table.to_parquet(folder / "table.parquet", index=False)
    report = tally.report(path.name, n, int(_labels(path, file).sum()), int(broken.sum()))
    write_json(folder / MARKER, asdict(report))


def _opened(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise FormatError(path, _EXPECTED, f"something else ({error})", _FIX) from error
    missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
    if missing:
        raise FormatError(path, _EXPECTED, f"no column {', '.join(missing)}", _FIX)
    return file


def _blocks(path: Path, file: pq.ParquetFile) -> Iterator[tuple[Singles, int]]:
    """Yield images, flattened to (jet, pixel), and how many of them were turned."""
    row = 0
    try:
        for batch in file.iter_batches(_ROWS_AT_ONCE, columns=["X_jets"], use_threads=False):
            yield flat_images(path, batch.column(0), row)
            row += len(batch)
    except (OSError, pa.ArrowException) as error:
        raise FormatError(
            path, "a whole file", f"damage after jet {row} ({error})", "copy it again"
        ) from error


def _as_npy(raw: Path, dtype: np.dtype[Any]) -> None:
    """Turn a file of bare numbers into an npy file, a piece at a time."""
    n = raw.stat().st_size // dtype.itemsize
    with raw.with_suffix(".npy").open("wb") as target, raw.open("rb") as source:
        header = {"descr": dtype.str, "fortran_order": False, "shape": (n,)}
        np.lib.format.write_array_header_1_0(target, header)
        while piece := source.read(1 << 24):
            target.write(piece)
    raw.unlink()


def _labels(path: Path, file: pq.ParquetFile) -> Ints:
    labels = np.asarray(file.read(columns=["y"]).column(0).to_numpy(), np.float64).reshape(-1)
    if not np.isin(labels, (0, 1)).all():
        found = ", ".join(f"{value:g}" for value in np.unique(labels)[:4])
        raise CountsError(path, "labels 0 (gluon) and 1 (quark) in y", found, "correct y")
    return labels.astype(np.int64)


def _table(path: Path, file: pq.ParquetFile, rows: Ints) -> tuple[pd.DataFrame, npt.NDArray[np.bool_]]:
    """Return all plain columns of the sound images, and which of them have no finite pt or m0."""
    plain = [field.name for field in file.schema_arrow if not pa.types.is_nested(field.type)]
    columns = file.read(columns=plain).to_pandas().iloc[rows]
    table = columns.assign(y=_labels(path, file)[rows]).reset_index(drop=True)
    block = table.pop(_BLOCK).to_numpy(np.int64) if _BLOCK in table else -1
    table.insert(0, "position", rows)
    table.insert(1, "block", block)
    return table, ~np.isfinite(table[list(SCALARS)].to_numpy(np.float64)).all(axis=1)


def _drop(folder: Path, broken: npt.NDArray[np.bool_]) -> None:
    """Take some images out of a cache."""
    first = np.load(folder / "first.npy")
    keep = np.repeat(~broken, np.diff(first))
    for name in ("pixel", "value"):
        column = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        np.save(folder / f"{name}.kept.npy", column[keep], allow_pickle=False)
        (folder / f"{name}.kept.npy").replace(folder / f"{name}.npy")
    np.save(folder / "first.npy", np.cumsum(np.append(0, np.diff(first)[~broken])), allow_pickle=False)


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
