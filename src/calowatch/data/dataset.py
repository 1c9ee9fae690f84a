"""A prepared data set on disk: manifest, index of lumisections, windows, preparation; counts are in the cache.

======================  ==================================================================================
``manifest.json``       recipe, seed, provenance, hashes of store and segmentation, what is on each side
``index.parquet``       one row per lumisection used: run, ls, row (in the cached run), era, n_events, side
``windows.parquet``     one row per window: side, run, rows and ls (lists of the window's length)
``preparation.json``,   the steps, and what was learned of the training side
``preparation.npz``
======================  ==================================================================================
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from calowatch.core.errors import FormatError, InputError, UnknownNameError, nearest
from calowatch.core.files import atomic_file
from calowatch.data.cache import CachedRun, open_cached
from calowatch.data.preparation import Preparation, load_preparation
from calowatch.detector.index import channel_columns
from calowatch.detector.table import segmentation_hash

__all__ = [
    "INDEX_FILE",
    "MANIFEST_FILE",
    "SCHEMA",
    "WINDOWS_FILE",
    "DataSet",
    "SideCounts",
    "Windows",
    "open_dataset",
    "write_windows",
]

MANIFEST_FILE = "manifest.json"
INDEX_FILE = "index.parquet"
WINDOWS_FILE = "windows.parquet"
SCHEMA = 1

Ints = npt.NDArray[np.int64]
Names = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Windows:
    """The windows of a data set or of one of its sides.

    Parameters
    ----------
    side, run
        Shape (window,).
    rows
        Rows in the cached run, shape (window, length).
    ls
        Lumisection numbers, shape (window, length).
    """

    side: Names
    run: Ints
    rows: Ints
    ls: Ints

    def __len__(self) -> int:
        return len(self.run)

    def of(self, side: str) -> "Windows":
        """Return the windows of one side."""
        mine = self.side == side
        return Windows(self.side[mine], self.run[mine], self.rows[mine], self.ls[mine])


@dataclass(frozen=True)
class DataSet:
    """A data set as it is on disk.

    Parameters
    ----------
    folder
        Where it is.
    manifest
        Content of ``manifest.json``.
    index
        One row per lumisection: run, ls, row, era, n_events, side.
    windows
        Windows of all sides.
    preparation
        As fitted on the training side.
    """

    folder: Path
    manifest: dict[str, Any]
    index: pd.DataFrame
    windows: Windows
    preparation: Preparation

    @cached_property
    def channels(self) -> pd.DataFrame:
        """The data set's channels: channel, subdet, ieta, iphi, depth."""
        number = self.preparation.channel
        table = channel_columns(number)
        table.insert(0, "channel", number)
        return table

    @property
    def sides(self) -> list[str]:
        """The sides that the data set has."""
        return list(self.manifest["splits"])

    def check_side(self, side: str) -> str:
        """Return the side, or raise `UnknownNameError` naming those that exist."""
        if side not in self.sides:
            raise UnknownNameError(
                f"{self.folder}: side {side!r}",
                f"one of {', '.join(self.sides)}",
                "none such",
                nearest(side, self.sides),
            )
        return side

    def run(self, run: int) -> CachedRun:
        """Return the counts of a run, memory-mapped."""
        store = self.manifest["store"]
        return open_cached(
            (self.folder.resolve() / store["path"]).resolve(),
            run,
            store["runs"][str(run)]["sha256"],
            (self.folder.resolve() / store["cache"]).resolve(),
        )

    def columns(self, cached: CachedRun) -> Ints:
        """Return the columns of the data set's channels in a cached run."""
        return channel_places(cached.channel, self.preparation.channel)


def channel_places(held: Ints, wanted: Ints) -> Ints:
    """Return where the wanted channels are in those held, which must contain them all."""
    order = np.argsort(held)
    places: Ints = order[np.searchsorted(held, wanted, sorter=order)]
    return places


@dataclass(frozen=True)
class SideCounts:
    """The counts of one side's lumisections, to be gone through as often as needed, a few at a time.

    Parameters
    ----------
    index
        Rows of one side.
    runs
        Opens a cached run by its number.
    channel
        The channels wanted.
    """

    index: pd.DataFrame
    runs: dict[int, CachedRun]
    channel: Ints

    def __iter__(self) -> Iterator[tuple[npt.NDArray[Any], Ints]]:
        for run, part in self.index.groupby("run", sort=True):
            cached = self.runs[int(str(run))]
            columns = channel_places(cached.channel, self.channel)
            yield from cached.chunks(part["row"].to_numpy(np.int64), columns)


def write_windows(path: Path, windows: Windows) -> None:
    """Write windows as Parquet with lists of fixed length."""
    length = windows.rows.shape[1]
    lists = {
        name: pa.FixedSizeListArray.from_arrays(pa.array(values.ravel().astype(np.int32)), length)
        for name, values in (("rows", windows.rows), ("ls", windows.ls))
    }
    table = pa.table({"side": windows.side.tolist(), "run": windows.run, **lists})
    with atomic_file(path) as scratch:
        pq.write_table(table, scratch)


def _read_windows(path: Path, length: int) -> Windows:
    table = pq.read_table(path)
    lists = {
        name: table[name].combine_chunks().flatten().to_numpy().astype(np.int64).reshape(-1, length)
        for name in ("rows", "ls")
    }
    side = np.array(table["side"].to_pylist(), dtype="U10")
    return Windows(side, table["run"].to_numpy().astype(np.int64), lists["rows"], lists["ls"])


def open_dataset(folder: Path | str) -> DataSet:
    """Return a data set.

    Raises
    ------
    InputError
        When there is none, it is damaged, or the detector's segmentation is another one by now.
    """
    folder = Path(folder)
    if not (folder / INDEX_FILE).is_file():
        found = "another folder" if folder.is_dir() else "no such folder"
        raise InputError(folder, "a prepared data set", found, "make one with: calowatch prepare RECIPE")
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text())
        index = pd.read_parquet(folder / INDEX_FILE)
        windows = _read_windows(folder / WINDOWS_FILE, int(manifest["recipe"]["window"]["length"]))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise FormatError(
            folder, "a whole data set", f"a damaged one ({error})", "prepare the data set again"
        ) from error
    if manifest.get("schema") != SCHEMA:
        raise FormatError(folder, f"schema {SCHEMA}", f"schema {manifest.get('schema')}", "prepare it again")
    for era, sha256 in manifest["segmentation"].items():
        if segmentation_hash(era) != sha256:
            raise InputError(
                folder,
                f"the segmentation of {era} that this version of calowatch knows",
                "another one",
                "prepare the data set again",
            )
    return DataSet(folder, manifest, index, windows, load_preparation(folder))
