"""Sources as a user names them: a file, a folder, a store, or one run of a store as ``STORE::RUN``."""

import glob
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import xarray as xr

from calowatch.core.errors import ConflictError, InputError
from calowatch.core.progress import SILENT, Progress
from calowatch.io.merge import merge_runs
from calowatch.io.readers import SUFFIXES, has_readable_name, reader_of
from calowatch.io.request import ReadRequest
from calowatch.io.store import is_store, open_run, runs

__all__ = [
    "Piece",
    "ReaderWithRun",
    "expand",
    "read_piece",
    "read_source",
    "read_sources",
    "run_of_piece",
]

NO_REQUEST = ReadRequest()


@runtime_checkable
class ReaderWithRun(Protocol):
    """A reader that tells the run of a file without reading its counts, which saves reading the file twice."""

    def run_of(self, path: Path, request: ReadRequest) -> int:
        """Return the run that `read` would return, or raise as it would."""
        ...


@dataclass(frozen=True)
class Piece:
    """What can be read in one go: a file, or one run of a store.

    Parameters
    ----------
    path
        The file, or the folder of the store.
    stored_run
        The run of the store; ``None`` for a file.
    """

    path: Path
    stored_run: int | None = None

    def __str__(self) -> str:
        return str(self.path) if self.stored_run is None else f"{self.path}::{self.stored_run}"


def expand(source: str | Path, request: ReadRequest = NO_REQUEST) -> list[Piece]:
    """Return the pieces of a source.

    Parameters
    ----------
    source
        A file; a folder, of which all files with the suffix of a known format are taken, those in its subfolders
        included, hidden ones and other suffixes passed over; a pattern with ``*``, ``?``, ``[]`` or ``**`` (any
        depth of folders), whose matches are taken in the same way; a store, of which all runs are taken; or
        ``STORE::RUN``.
    request
        With ``run``, only that run of a store is taken.

    Raises
    ------
    InputError
        When there is nothing of that name, or nothing in it.
    """
    store, separator, run = str(source).rpartition("::")
    if separator and not Path(source).exists():
        if not run.isdecimal():
            raise InputError(source, "STORE::RUN with a run number", f"{run!r}", "give the number of the run")
        return [Piece(Path(store), int(run))]
    path = Path(source)
    if not path.exists():
        if glob.has_magic(str(source)):
            return _matching(str(source), request)
        raise InputError(path, "a file, a folder or STORE::RUN", "nothing of that name", "check the path")
    if not path.is_dir():
        return [Piece(path)]
    if is_store(path):
        return _stored(path, request)
    pieces = _in_folder(path)
    if not pieces:
        raise _nothing_to_read(source, "in the folder")
    return pieces


def _matching(pattern: str, request: ReadRequest) -> list[Piece]:
    """Return the pieces of whatever matches a pattern, each once."""
    pieces: list[Piece] = []
    for path in map(Path, sorted(glob.glob(pattern, recursive=True))):  # noqa: PTH207 - Path.glob takes no absolute pattern
        if path.is_dir():
            pieces += _stored(path, request) if is_store(path) else _in_folder(path)
        elif has_readable_name(path):
            pieces.append(Piece(path))
    if not pieces:
        raise _nothing_to_read(pattern, "that match")
    return list(dict.fromkeys(pieces))


def _nothing_to_read(source: str | Path, where: str) -> InputError:
    return InputError(source, f"files ending in {' '.join(SUFFIXES)}", f"none {where}", "check the path")


def _stored(store: Path, request: ReadRequest) -> list[Piece]:
    held = runs(store) if request.run is None else [request.run]
    if not held:
        raise InputError(store, "runs in the store", "an empty store", "fill it with: calowatch convert")
    return [Piece(store, run) for run in held]


def _in_folder(folder: Path) -> list[Piece]:
    """Return the files of known formats in a folder and its subfolders, in order."""
    pieces: list[Piece] = []
    for item in sorted(folder.iterdir()):
        if item.name.startswith("."):
            continue
        if item.is_dir():
            # Links to folders are not followed, they may lead back here; a store has to be named.
            pieces += [] if item.is_symlink() or is_store(item) else _in_folder(item)
        elif has_readable_name(item) and item.is_file():
            pieces.append(Piece(item))
    return pieces


def run_of_piece(piece: Piece, request: ReadRequest = NO_REQUEST) -> int:
    """Return the run of a piece, without reading its counts where the format allows that.

    Raises
    ------
    InputError
        As `read_piece` does.
    """
    if piece.stored_run is not None:
        return piece.stored_run
    reader = reader_of(piece.path)
    if isinstance(reader, ReaderWithRun):
        return reader.run_of(piece.path, request)
    return int(reader.read(piece.path, request, SILENT).attrs["run"])


def read_piece(piece: Piece, request: ReadRequest = NO_REQUEST, progress: Progress = SILENT) -> xr.Dataset:
    """Return the run in a piece; of a file, the subdetectors that it holds.

    Raises
    ------
    InputError
        As the readers and the store do.
    """
    if piece.stored_run is None:
        return reader_of(piece.path).read(piece.path, request, progress)
    occupancy = open_run(piece.path, piece.stored_run)
    for option, wanted, found in (
        ("run", request.run, piece.stored_run),
        ("era", request.era, occupancy.attrs["era"]),
        ("first-ls", request.first_ls, int(occupancy["ls"][0])),
    ):
        if wanted is not None and wanted != found:
            raise ConflictError(piece, f"{option} {wanted}", f"{option} {found}", f"drop --{option}")
    return occupancy


def read_source(
    source: str | Path, request: ReadRequest = NO_REQUEST, progress: Progress = SILENT
) -> xr.Dataset:
    """Return the one run of a source, its files merged.

    Parameters
    ----------
    source
        As in `expand`.
    request
        Run, era and first lumisection, where the source does not say them itself.
    progress
        Shows the reading, and takes notes.

    Raises
    ------
    ConflictError
        When the source holds several runs, or files of the run that disagree.
    InputError
        As the readers and the store do.

    Examples
    --------
    >>> read_source("no/such/file.root")
    Traceback (most recent call last):
    ...
    calowatch.core.errors.InputError: no/such/file.root: expected a file, a folder or STORE::RUN, ...
    """
    pieces = expand(source, request)
    held = sorted({piece.stored_run for piece in pieces if piece.stored_run is not None})
    if len(held) > 1:
        named = ", ".join(str(run) for run in held)
        raise ConflictError(source, "one run", f"runs {named}", f"give one of them, as {source}::{held[0]}")
    read: list[xr.Dataset] = []
    for occupancy in _read_all(pieces, request, progress):
        if read and occupancy.attrs["run"] != read[0].attrs["run"]:
            found = " and ".join(
                f"run {each.attrs['run']} in {each.attrs['source']}" for each in (read[0], occupancy)
            )
            raise ConflictError(
                source, "files of one run", found, "give the files of one run, or a folder per run"
            )
        read.append(occupancy)
    return merge_runs(read, progress)


def read_sources(
    sources: Iterable[str | Path], request: ReadRequest = NO_REQUEST, progress: Progress = SILENT
) -> list[xr.Dataset]:
    """Return the runs of several sources in order, the files of each run merged.

    Parameters
    ----------
    sources
        As in `expand`; a folder or a store may hold several runs.
    request
        Run, era and first lumisection, where the sources do not say them themselves.
    progress
        Shows the reading, and takes notes.

    Raises
    ------
    InputError
        As `read_source` does, several runs excepted.
    """
    pieces = [piece for source in sources for piece in expand(source, request)]
    by_run: dict[int, list[xr.Dataset]] = {}
    for occupancy in _read_all(list(dict.fromkeys(pieces)), request, progress):
        by_run.setdefault(int(occupancy.attrs["run"]), []).append(occupancy)
    return [merge_runs(by_run[run], progress) for run in sorted(by_run)]


def _read_all(pieces: list[Piece], request: ReadRequest, progress: Progress) -> Iterator[xr.Dataset]:
    shown = progress.track(pieces, "reading sources", len(pieces)) if len(pieces) > 1 else iter(pieces)
    for piece in shown:
        yield read_piece(piece, request, progress)
