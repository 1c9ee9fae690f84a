"""The cache of jet images: pixels that are not zero, mapped from the disk, and whatever is not whole made again.

An entry is a folder for one file, named by its path, with ``pixel.npy``, ``value.npy``, ``first.npy``,
``table.parquet`` and the marker, which tells the file's size and time, and size and CRC-32 of each part. All parts are
compared with it at each opening, some seconds per GB at most: an entry that is of another state of the file, damaged or
half deleted counts for nothing.
"""

import hashlib
import json
import shutil
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from calowatch.core.errors import ConflictError, FormatError, InputError
from calowatch.core.files import atomic_directory, write_json
from calowatch.core.progress import Progress
from calowatch.io.jets_lists import SHAPE
from calowatch.io.jets_parquet import (
    EXPECTED,
    ROWS_AT_ONCE,
    image_blocks,
    jet_labels,
    jet_table,
    open_parquet,
)
from calowatch.io.jets_report import JetReport, JetTally

__all__ = ["JetPart", "JetPixels", "read_cached"]

Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

SCHEMA = 2
MARKER = "jets.json"
PARTS = ("first.npy", "pixel.npy", "value.npy", "table.parquet")
_IMAGES_AT_ONCE = 2048  # read from the cache together where more are asked for
_PIECE = 1 << 24
_PIXELS = int(np.prod(SHAPE))


@dataclass(frozen=True, eq=False)
class JetPixels:
    """Images without zeros, mapped from the disk: of image i, pixels first[i] to first[i + 1]."""

    first: Ints
    pixel: npt.NDArray[np.uint16]
    value: Singles

    def read(self, rows: Ints) -> Singles:
        """Return some images, in the order of ``rows``: [row, channel, ieta, iphi]."""
        found = np.zeros((len(rows), _PIXELS), np.float32)
        for begin in range(0, len(rows), _IMAGES_AT_ONCE):
            part = rows[begin : begin + _IMAGES_AT_ONCE]
            count = self.first[part + 1] - self.first[part]
            image = np.repeat(np.arange(begin, begin + len(part)), count)
            at = np.arange(len(image)) + np.repeat(self.first[part] - (np.cumsum(count) - count), count)
            found[image, self.pixel[at]] = self.value[at]
        return found.reshape(len(rows), *SHAPE)


@dataclass(frozen=True, eq=False)
class JetPart:
    """The sound jets of one file: a row per jet, what was counted, and their pixels."""

    table: pd.DataFrame
    report: JetReport
    pixels: JetPixels


def read_cached(path: Path, cache: Path, progress: Progress) -> JetPart:
    """Return the jets of a file from its entry in the cache, which is made first where there is none that is whole.

    Raises
    ------
    InputError
        When there is no such file, it is no file of jets, or the cache cannot be written.
    """
    if not path.is_file():
        raise InputError(path, EXPECTED, "no such file", "check the path")
    folder = cache / f"{path.stem}-{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    stamp = _stamp(path)
    found = _open(folder, path, stamp)
    if found is not None:
        return found
    if folder.exists() and _told(folder).get("stamp", stamp) == stamp:
        progress.note(f"{path.name}: its cache is damaged, so the file is read again")
    _make(folder, path, stamp, progress)
    found = _open(folder, path, stamp)
    if found is None:
        raise FormatError(folder, "the cache as it was written", "something else", "look after the disk")
    return found


def _stamp(path: Path) -> dict[str, Any]:
    stat = path.stat()
    return {"bytes": stat.st_size, "modified": stat.st_mtime_ns, "schema": SCHEMA}


def _told(folder: Path) -> dict[str, Any]:
    """Return what the marker tells; nothing where it is no marker."""
    try:
        told = json.loads((folder / MARKER).read_text())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _sum(file: Path) -> list[int]:
    """Return size and CRC-32 of a file."""
    found = 0
    with file.open("rb") as stream:
        while piece := stream.read(_PIECE):
            found = zlib.crc32(piece, found)
    return [file.stat().st_size, found]


def _open(folder: Path, path: Path, stamp: dict[str, Any]) -> JetPart | None:
    """Return what an entry holds; None unless it is of this state of the file, and whole."""
    told = _told(folder)
    if told.get("stamp") != stamp:
        return None
    try:
        if {name: _sum(folder / name) for name in PARTS} != told.get("parts"):
            return None
        first, pixel, value = (
            np.asarray(np.load(folder / name, mmap_mode="r", allow_pickle=False)) for name in PARTS[:3]
        )
        table = pd.read_parquet(folder / PARTS[3])
        counted: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in told["report"].items()
        }
        report = JetReport(**counted)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, pa.ArrowException):
        return None
    if not len(pixel) == len(value) == first[-1] or len(table) != len(first) - 1:
        return None
    table.insert(0, "source", path.name)
    return JetPart(table, report, JetPixels(first, pixel, value))


def _make(folder: Path, path: Path, stamp: dict[str, Any], progress: Progress) -> None:
    """Read a file from end to end into its entry, which replaces an earlier one."""
    held = {each.name for each in folder.iterdir()} if folder.is_dir() else set()
    if held <= set(PARTS):  # an entry that somebody deleted half of: nothing else that could be lost
        shutil.rmtree(folder, ignore_errors=True)
    try:
        with atomic_directory(folder, marker=MARKER) as scratch:
            report = _fill(path, scratch, progress)
            parts = {name: _sum(scratch / name) for name in PARTS}
            write_json(scratch / MARKER, {"stamp": stamp, "parts": parts, "report": asdict(report)})
    except ConflictError as error:
        fix = "remove what is there, or name another place by CALOWATCH_CACHE"
        raise ConflictError(folder, error.expected, error.found, fix) from error


def _fill(path: Path, folder: Path, progress: Progress) -> JetReport:
    file = open_parquet(path)
    labels = jet_labels(path, file)
    tally, first, good = JetTally(), [np.zeros(1, np.int64)], list[Ints]()
    n = file.metadata.num_rows
    with (folder / "pixel.raw").open("wb") as pixels, (folder / "value.raw").open("wb") as values:
        row = 0
        blocks = image_blocks(path, file)
        for block, turned in progress.track(blocks, f"reading {path.name}", -(-n // ROWS_AT_ONCE)):
            filled = tally.add(path, block, turned)
            pixels.write(filled.pixel.tobytes())
            values.write(filled.value.tobytes())
            first.append(filled.lengths)
            good.append(row + filled.images)
            row += len(block)
    _as_npy(folder / "pixel.raw", np.dtype(np.uint16))
    _as_npy(folder / "value.raw", np.dtype(np.float32))
    np.save(folder / "first.npy", np.cumsum(np.concatenate(first)), allow_pickle=False)
    table = jet_table(path, file, np.concatenate(good) if good else np.empty(0, np.int64))
    numbers = table[["pt", "m0"]].to_numpy(np.float64)
    broken = ~np.isfinite(numbers).all(axis=1)
    if broken.any():
        _drop(folder, broken)
        table = table[~broken]
    table.to_parquet(folder / "table.parquet", index=False)
    odd = int(((numbers[:, 0] <= 0) | (numbers[:, 1] < 0))[~broken].sum())
    return tally.report(path.name, (n, int(labels.sum())), int(broken.sum()), odd)


def _as_npy(raw: Path, dtype: np.dtype[Any]) -> None:
    """Turn a file of bare numbers into an npy file, a piece at a time."""
    n = raw.stat().st_size // dtype.itemsize
    with raw.with_suffix(".npy").open("wb") as target, raw.open("rb") as source:
        header = {"descr": dtype.str, "fortran_order": False, "shape": (n,)}
        np.lib.format.write_array_header_1_0(target, header)
        while piece := source.read(_PIECE):
            target.write(piece)
    raw.unlink()


def _drop(folder: Path, broken: npt.NDArray[np.bool_]) -> None:
    """Take some images out of a cache."""
    first = np.load(folder / "first.npy")
    keep = np.repeat(~broken, np.diff(first))
    for name in ("pixel", "value"):
        column = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        np.save(folder / f"{name}.kept.npy", column[keep], allow_pickle=False)
        (folder / f"{name}.kept.npy").replace(folder / f"{name}.npy")
    np.save(folder / "first.npy", np.cumsum(np.append(0, np.diff(first)[~broken])), allow_pickle=False)
