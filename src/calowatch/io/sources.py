"""Sources as a user names them: a file, a folder, a store, or one run of a store as ``STORE::RUN``."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from calowatch.core.errors import ConflictError, InputError
from calowatch.core.progress import SILENT, Progress
from calowatch.io.merge import merge_runs
from calowatch.io.readers import SUFFIXES, reader_of
from calowatch.io.request import ReadRequest
from calowatch.io.store import is_store, open_run, runs

__all__ = ["Piece", "expand", "read_piece", "read_source", "read_sources"]

NO_REQUEST = ReadRequest()


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
        included, hidden ones and other suffixes passed over; a store, of which all runs are taken; or ``STORE::RUN``.
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
        raise InputError(path, "a file, a folder or STORE::RUN", "nothing of that name", "check the path")
    if not path.is_dir():
        return [Piece(path)]
    if is_store(path):
        return _stored(path, request)
    files = [file for file in sorted(path.rglob("*")) if _readable(file, path)]
    if not files:
        endings = " ".join(SUFFIXES)
        raise InputError(path, f"files ending in {endings}", "none in the folder", "check the path")
    return [Piece(file) for file in files]


def _stored(store: Path, request: ReadRequest) -> list[Piece]:
    held = runs(store) if request.run is None else [request.run]
    if not held:
        raise InputError(store, "runs in the store", "an empty store", "fill it with: calowatch convert")
    return [Piece(store, run) for run in held]


def _readable(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return file.suffix.lower() in SUFFIXES and not hidden and file.is_file()


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
