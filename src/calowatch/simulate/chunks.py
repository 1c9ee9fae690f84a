"""Generation in chunks: each with random numbers of its own, done by anybody in any order, kept until all are there.

What comes out depends on seed and chunk size alone, never on the number of workers or on where a run was broken off.
"""

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from calowatch.core.errors import ConflictError, InputError
from calowatch.core.files import atomic_file, check_place, write_json
from calowatch.core.progress import SILENT, Progress
from calowatch.core.provenance import provenance
from calowatch.io.parallel import ATTEMPTS, Lost, hire

__all__ = ["Arrays", "Chunk", "ChunkPlan", "Place", "chunks_of", "read_chunk", "run_chunks"]

Arrays = Mapping[str, npt.NDArray[Any]]
"""What a chunk gives: named arrays without objects."""

_PLAN = "plan.json"
_CHUNK = re.compile(r"chunk-\d{6}(-[0-9a-f]{12})?\.npz")
_HALF = re.compile(r"\.(chunk-.*\.npz|plan\.json)\.[0-9a-f]{8}\.partial")
_MOST_TOLD = 5


@dataclass(frozen=True)
class Chunk:
    """A part of what is to be generated.

    Parameters
    ----------
    number
        Its number; of all chunks of a plan, each has another one.
    first
        Number of its first event among those of its stream.
    size
        Events.
    seed
        Of the whole generation.
    stream
        Tells apart what is generated with one seed: classes, sides of a split, libraries.
    """

    number: int
    first: int
    size: int
    seed: int
    stream: int = 0

    def rng(self, purpose: int = 0) -> np.random.Generator:
        """Return random numbers that no other chunk, stream or purpose shares.

        Examples
        --------
        >>> one, other = Chunk(0, 0, 10, seed=1), Chunk(1, 10, 10, seed=1)
        >>> one.rng().random() == one.rng().random(), one.rng().random() == other.rng().random()
        (True, False)
        """
        return np.random.default_rng(np.random.SeedSequence([self.seed, self.stream, self.number, purpose]))


def chunks_of(n: int, size: int, seed: int, *, stream: int = 0, start: int = 0) -> list[Chunk]:
    """Return the chunks of ``n`` events, numbered from ``start``; the last one may be smaller.

    Examples
    --------
    >>> [(chunk.number, chunk.first, chunk.size) for chunk in chunks_of(5, 2, seed=0, start=7)]
    [(7, 0, 2), (8, 2, 2), (9, 4, 1)]
    """
    firsts = range(0, n, size)
    return [
        Chunk(start + number, first, min(size, n - first), seed, stream)
        for number, first in enumerate(firsts)
    ]


@dataclass(frozen=True)
class ChunkPlan:
    """What is to be generated.

    Parameters
    ----------
    task
        Function of a module (it travels to other processes) that makes one chunk.
    chunks
        All of them.
    fingerprint
        Whatever decides the result besides the chunks, ready for JSON: chunks of another one are not taken up.
    label
        What the progress bar says.
    """

    task: Callable[[Chunk], Arrays]
    chunks: Sequence[Chunk]
    fingerprint: Mapping[str, Any]
    label: str = "generating"


@dataclass(frozen=True)
class Place:
    """Where the work is done: ``workers`` processes here, or a Dask cluster by the address of its scheduler."""

    workers: int = 1
    scheduler: str | None = None


HERE = Place()


@contextmanager
def run_chunks(
    plan: ChunkPlan, folder: Path, place: Place = HERE, progress: Progress = SILENT
) -> Iterator[list[Path]]:
    """Make all chunks that ``folder`` does not hold yet, and yield their files in the order of the plan.

    The folder is for one process at a time. Once the caller is through with the chunks it is removed; on an error it
    stays, to go on with, unless it holds no chunk. Workers hand their arrays back, and only this process writes: a
    cluster needs no folder in common.

    Parameters
    ----------
    plan
        What to make.
    folder
        Holds one npz file per chunk, each with a digest of the plan in its name, and the plan.
    place
        Who works.
    progress
        Shows how many chunks are done.

    Raises
    ------
    ConflictError
        When the folder holds chunks of another plan, or another process is at it.
    InputError
        When there is no such cluster, or a chunk kills every worker that it is given.
    """
    check_place(folder)
    with _locked(folder):
        key = _claim(folder, plan)
        paths = {chunk: folder / f"chunk-{chunk.number:06d}-{key}.npz" for chunk in plan.chunks}
        try:
            _make_missing(plan, paths, place, progress)
            yield list(paths.values())
        except BaseException:
            if not _chunks(folder):
                _remove(folder)
            raise
        _remove(folder)


def _make_missing(plan: ChunkPlan, paths: Mapping[Chunk, Path], place: Place, progress: Progress) -> None:
    missing = [chunk for chunk, path in paths.items() if not _whole(path)]
    if len(missing) < len(paths):
        progress.note(f"going on: {len(paths) - len(missing)} of {len(paths)} chunks are there")
    if missing:
        with hire(min(place.workers, len(missing)), place.scheduler) as workers:
            done = workers.run(partial(_make, plan.task), missing, progress)
            for number, found in progress.track(done, plan.label, len(missing)):
                chunk = missing[number]
                if isinstance(found, Lost):
                    raise _lost(chunk)
                _keep(paths[chunk], found)


def _make(task: Callable[[Chunk], Arrays], chunk: Chunk, progress: Progress) -> Arrays:  # noqa: ARG001
    return task(chunk)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the only lock of a folder (on itself, so that no file is left); make the folder where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if not _had(descriptor, folder):
            raise ConflictError(
                folder,
                "a folder that nobody works in",
                "another process that generates into it",
                "wait until that is done, or choose another place",
            )
        yield
    finally:
        os.close(descriptor)


def _had(descriptor: int, folder: Path) -> bool:
    """Return whether the lock was free, and the folder not removed by whoever held it until then."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


def _claim(folder: Path, plan: ChunkPlan) -> str:
    """Write the plan into a folder that holds no chunk of another one, and return the plan's digest.

    Chunks without a plan are what is left of a removal that was broken off: those of this plan are as good as any,
    others go.
    """
    wanted = json.loads(json.dumps({"calowatch": provenance("generate")["calowatch"], **plan.fingerprint}))
    wanted["chunks"] = [[chunk.first, chunk.size, chunk.seed, chunk.stream] for chunk in plan.chunks]
    key = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:12]
    others = [path for path in _chunks(folder) if not path.stem.endswith(f"-{key}")]
    held = _held(folder / _PLAN)
    if others and (folder / _PLAN).is_file() and held != wanted:
        raise _conflict(folder, wanted, held)
    for path in (*others, *_halves(folder)):
        path.unlink()
    if held != wanted:
        write_json(folder / _PLAN, wanted)
    return key


def _held(path: Path) -> dict[str, Any] | None:
    """Return the plan of a folder; None where there is none, or a damaged one."""
    try:
        held = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return held if isinstance(held, dict) else None


def _conflict(folder: Path, wanted: Mapping[str, Any], held: Mapping[str, Any] | None) -> ConflictError:
    """Return an error that tells in what the unfinished generation differs."""
    expected = "chunks of the same settings, to go on with"
    if held is None:
        return ConflictError(folder, expected, f"a damaged {_PLAN}", "remove this folder")
    one, other = _flat(wanted), _flat(held)
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    # Sizes and seeds of all chunks are too many to tell, and follow from a setting where there is one.
    names = [name for name in names if name != "chunks"] or ["chunks"]
    wish, found = "other chunks", "others"
    if names != ["chunks"]:
        wish, found = (_told(names, each) for each in (one, other))
    return ConflictError(
        folder,
        f"{expected} ({wish})",
        f"an unfinished generation with {found}",
        "give the earlier settings, or remove this folder",
    )


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return settings without levels.

    Examples
    --------
    >>> _flat({"seed": 3, "readout": {"noise": 0.04}})
    {'seed': 3, 'readout.noise': 0.04}
    """
    flat: dict[str, Any] = {}
    for name, value in document.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _told(names: Sequence[str], settings: Mapping[str, Any]) -> str:
    words = [f"{name} {settings[name]}" if name in settings else f"no {name}" for name in names[:_MOST_TOLD]]
    return ", ".join(words + (["..."] if len(names) > _MOST_TOLD else []))


def _chunks(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if _CHUNK.fullmatch(path.name)]


def _halves(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if _HALF.fullmatch(path.name)]


def _remove(folder: Path) -> None:
    """Remove the plan, then the chunks, which without it stand in nobody's way; then the folder, if all was ours."""
    for path in (folder / _PLAN, *_chunks(folder), *_halves(folder)):
        path.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def _keep(path: Path, arrays: Arrays) -> None:
    with atomic_file(path) as scratch, scratch.open("wb") as stream:
        np.savez(stream, **dict[str, Any](arrays))


def _whole(path: Path) -> bool:
    """Return whether a chunk is there; it was written beside and renamed, so that it is whole or was damaged later."""
    try:
        read_chunk(path)
    except InputError:
        return False
    return True


def read_chunk(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a chunk.

    Raises
    ------
    InputError
        When the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise InputError(path, "a chunk of a generation", str(error), "generate again") from error


def _lost(chunk: Chunk) -> InputError:
    return InputError(
        f"chunk {chunk.number}",
        "a worker that gets through it",
        f"that {ATTEMPTS} died one after the other",
        "give the workers more memory, or take fewer",
    )
