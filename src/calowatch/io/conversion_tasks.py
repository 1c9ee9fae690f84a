"""What the workers of a conversion do: find out the run of a file, and bring the files of one run into the store.

Tasks take and give back little; a run's counts live in its task alone, so that memory does not grow with runs.
"""

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import xarray as xr

from calowatch.core.errors import ConflictError, InputError
from calowatch.core.files import file_hash
from calowatch.core.progress import Progress
from calowatch.io.merge import merge_runs
from calowatch.io.request import ReadRequest
from calowatch.io.sources import NO_REQUEST, Piece, read_piece, run_of_piece
from calowatch.io.store import open_run, run_attrs, write_run

__all__ = ["COPY", "FileJob", "FileSeen", "Goal", "RunDone", "RunJob", "convert_run", "look", "stored"]

COPY = "copy"
"""Fate of a file with the content of another of the run."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Goal:
    """What holds for all of a conversion.

    Parameters
    ----------
    store
        Folder of the store.
    request
        Run, era and first lumisection, where the sources do not say them themselves.
    replace
        Throw away what the store held of the converted runs before.
    keep_going
        Take whatever goes wrong with a file for that file's fault, and go on.
    """

    store: Path
    request: ReadRequest
    replace: bool
    keep_going: bool


@dataclass(frozen=True)
class FileJob:
    """A piece of which to find out the run; ``known`` are runs in the store by the SHA-256 of files as long."""

    goal: Goal
    piece: Piece
    known: Mapping[str, int]


@dataclass(frozen=True)
class FileSeen:
    """The run of a piece, and whether its content is in the store already."""

    run: int
    there: bool


@dataclass(frozen=True)
class RunJob:
    """The pieces of one run, in the order in which they are merged; ``run`` is ``None`` for one piece not looked at."""

    goal: Goal
    run: int | None
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class RunDone:
    """What the store now holds of a run, and the fate of each piece: `COPY`, as `write_run` says it, or an error."""

    run: int | None
    n_ls: int
    subdets: tuple[str, ...]
    fates: tuple[str | InputError, ...]


def look(job: FileJob, progress: Progress) -> FileSeen | InputError:
    """Find out the run of a piece and whether it was converted before."""

    def seen() -> FileSeen:
        if job.known and not job.goal.replace:
            run = job.known.get(file_hash(job.piece.path))
            if run is not None and _as_asked(job.goal, run):
                return FileSeen(run, there=True)
        return FileSeen(run_of_piece(job.piece, job.goal.request), there=False)

    return _attempt(seen, job.piece, job.goal, progress)


def _as_asked(goal: Goal, run: int) -> bool:
    """Return whether the store holds a run as the request wants it read."""
    request = goal.request
    if request == NO_REQUEST:
        return True
    held = open_run(goal.store, run, lazy=True)
    have = (run, held.attrs["era"], int(held["ls"][0]))
    wanted = (request.run, request.era, request.first_ls)
    return all(one in (None, other) for one, other in zip(wanted, have, strict=True))


def _attempt(work: Callable[[], Value], piece: Piece, goal: Goal, progress: Progress) -> Value | InputError:
    """Return the result of some work on a piece, or why there is none."""
    try:
        return work()
    except InputError as error:
        return error
    except OSError as error:
        reason = error.strerror or str(error)
        return InputError(piece, "a file that can be read, and room for it", reason, "check disk and rights")
    except Exception as error:
        if not goal.keep_going:
            raise
        # One odd file in a night's hundreds must not cost the others; the trace still reaches whoever watches.
        progress.note(traceback.format_exc())
        found = f"{type(error).__name__}: {error}"
        return InputError(
            piece, "a file that can be read", found, "report this with the file: a bug of calowatch"
        )


def convert_run(job: RunJob, progress: Progress) -> RunDone:
    """Read the pieces of a run, merge them and write them in one go."""
    fates: dict[int, str | InputError] = {}
    read: dict[int, xr.Dataset] = {}
    for index, piece in enumerate(job.pieces):
        if _is_copy(piece, read):
            fates[index] = COPY
            continue
        found = _attempt(partial(_read, job, piece, progress), piece, job.goal, progress)
        if isinstance(found, InputError):
            fates[index] = found
        else:
            read[index] = found
    if read:
        fates |= _write(job, read, progress)
    ordered = tuple(fates[index] for index in range(len(job.pieces)))
    if all(isinstance(fate, InputError) for fate in ordered):
        return RunDone(job.run, 0, (), ordered)
    run = int(next(iter(read.values())).attrs["run"])
    return stored(run, run_attrs(job.goal.store, run), ordered)


def stored(run: int, attrs: Mapping[str, Any], fates: tuple[str | InputError, ...] = ()) -> RunDone:
    """Return what a store notes about a run, with the fates of pieces of it."""
    return RunDone(run, int(attrs["n_ls"]), tuple(attrs["subdets"]), fates)


def _is_copy(piece: Piece, read: Mapping[int, xr.Dataset]) -> bool:
    """Return whether a file has the content of one that was read; hashed only when one is as long."""
    if piece.stored_run is not None or not piece.path.is_file():
        return False
    length = piece.path.stat().st_size
    same = {
        source.get("sha256")
        for occupancy in read.values()
        for source in occupancy.attrs.get("provenance", {}).get("sources", [])
        if source.get("bytes") == length
    }
    return bool(same) and file_hash(piece.path) in same


def _read(job: RunJob, piece: Piece, progress: Progress) -> xr.Dataset:
    occupancy = read_piece(piece, job.goal.request, progress)
    run = occupancy.attrs["run"]
    if job.run is not None and run != job.run:
        raise ConflictError(piece, f"run {job.run} throughout", f"run {run} as well", "split it by run")
    return occupancy


def _write(job: RunJob, read: Mapping[int, xr.Dataset], progress: Progress) -> dict[int, str | InputError]:
    """Write what was read as one; where pieces disagree, one by one, so that the first of those at odds stays."""
    goal, indices = job.goal, list(read)

    def write(chosen: list[int], replace: bool) -> str:
        run = merge_runs([read[index] for index in chosen], progress)
        return write_run(goal.store, run, replace=replace, progress=progress)

    fate = _attempt(partial(write, indices, goal.replace), job.pieces[indices[0]], goal, progress)
    if not isinstance(fate, InputError) or len(indices) == 1:
        return dict.fromkeys(indices, fate)
    fates: dict[int, str | InputError] = {}
    fresh = goal.replace
    for index in indices:
        fates[index] = _attempt(partial(write, [index], fresh), job.pieces[index], goal, progress)
        fresh = fresh and isinstance(fates[index], InputError)
    return fates
