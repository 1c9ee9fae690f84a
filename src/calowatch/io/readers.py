"""The file formats that can be read, in the order in which they are asked."""

from pathlib import Path
from typing import Protocol

import xarray as xr

from calowatch.core.errors import FormatError
from calowatch.core.progress import Progress
from calowatch.io.analyzer import AnalyzerReader
from calowatch.io.dqm_parquet import DqmParquetReader
from calowatch.io.dqm_root import DqmRootReader
from calowatch.io.images import refuse_images
from calowatch.io.master import MasterReader
from calowatch.io.master_writer import TABLE
from calowatch.io.request import ReadRequest
from calowatch.io.study_hdf5 import StudyReader

__all__ = ["READERS", "SUFFIXES", "Reader", "has_readable_name", "reader_of"]


class Reader(Protocol):
    """One file format."""

    @property
    def name(self) -> str:
        """What to call the format in messages."""
        ...

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Endings of its files' names, by which they are found in folders."""
        ...

    def matches(self, path: Path) -> bool:
        """Return whether the content is of this format; a file too broken to tell is left to `read`."""
        ...

    def read(self, path: Path, request: ReadRequest, progress: Progress) -> xr.Dataset:
        """Return the run in the file, checked, or raise an `InputError`."""
        ...


READERS: tuple[Reader, ...] = (
    AnalyzerReader(),
    DqmRootReader(),
    StudyReader(),
    DqmParquetReader(),
    MasterReader(),
)

SUFFIXES = tuple(dict.fromkeys(suffix for reader in READERS for suffix in reader.suffixes))
"""Endings of the names of files that some reader reads."""

COMPANIONS = frozenset({TABLE})
"""Names of files with such an ending that are read together with another one."""


def has_readable_name(path: Path) -> bool:
    """Return whether a file in a folder is taken for an input, by its name alone."""
    return path.suffix.lower() in SUFFIXES and path.name not in COMPANIONS


def reader_of(path: Path) -> Reader:
    """Return the reader of a file, by its content; where none recognises it, the one that its name promises.

    Raises
    ------
    FormatError
        When neither content nor name is of a format that is read, or the file is an image set.
    """
    refuse_images(path)
    for reader in READERS:
        if reader.matches(path):
            return reader
    for reader in READERS:
        if path.suffix.lower() in reader.suffixes:
            return reader
    formats = ", ".join(f"{reader.name} ({' '.join(reader.suffixes)})" for reader in READERS)
    raise FormatError(path, f"one of {formats}", "another format", "check that it is the file you meant")
