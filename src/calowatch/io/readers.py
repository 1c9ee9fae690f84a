"""The file formats that can be read, in the order in which they are asked."""

from pathlib import Path
from typing import Protocol

import xarray as xr

from calowatch.core.errors import FormatError
from calowatch.core.progress import Progress
from calowatch.io.analyzer import AnalyzerReader
from calowatch.io.request import ReadRequest
from calowatch.io.study_hdf5 import StudyReader

__all__ = ["READERS", "SUFFIXES", "Reader", "reader_of"]


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


READERS: tuple[Reader, ...] = (AnalyzerReader(), StudyReader())

SUFFIXES = tuple(suffix for reader in READERS for suffix in reader.suffixes)
"""Endings of the names of files that some reader reads."""


def reader_of(path: Path) -> Reader:
    """Return the reader of a file, by its content; where none recognises it, the one that its name promises.

    Raises
    ------
    FormatError
        When neither content nor name is of a format that is read.
    """
    for reader in READERS:
        if reader.matches(path):
            return reader
    for reader in READERS:
        if path.suffix.lower() in reader.suffixes:
            return reader
    formats = ", ".join(f"{reader.name} ({' '.join(reader.suffixes)})" for reader in READERS)
    raise FormatError(path, f"one of {formats}", "another format", "check that it is the file you meant")
