"""Generation in chunks: each with random numbers of its own, done by anybody in any order, kept until all are there.

What comes out depends on seed and chunk size alone, never on the number of workers or on where a run was broken off.
"""

import json
from collections.abc import Callable, Mapping, Sequence
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


def run_chunks(plan: ChunkPlan, folder: Path, place: Place = HERE, progress: Progress = SILENT) -> list[Path]:
    """Make all chunks that ``folder`` does not hold yet, and return their files in the order of the plan.

    Workers hand their arrays back, and only this process writes: a cluster needs no folder in common.

    Parameters
    ----------
    plan
        What to make.
    folder
        Holds one npz file per chunk, and the plan. The caller removes it once it has what it wants.
    place
        Who works.
    progress
        Shows how many chunks are done.

    Raises
    ------
    ConflictError
        When the folder holds chunks of another plan.
    InputError
        When there is no such cluster, or a chunk kills every worker that it is given.
    """
    _claim(folder, plan)
    paths = {chunk: folder / f"chunk-{chunk.number:06d}.npz" for chunk in plan.chunks}
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
    return list(paths.values())


def _make(task: Callable[[Chunk], Arrays], chunk: Chunk, progress: Progress) -> Arrays:  # noqa: ARG001
    return task(chunk)


def _claim(folder: Path, plan: ChunkPlan) -> None:
    """Write the plan into a new folder, or make sure that the folder holds chunks of this one."""
    check_place(folder)
    wanted = json.loads(json.dumps({"calowatch": provenance("generate")["calowatch"], **plan.fingerprint}))
    wanted["chunks"] = [[chunk.first, chunk.size, chunk.seed, chunk.stream] for chunk in plan.chunks]
    path = folder / _PLAN
    if path.is_file():
        try:
            held = json.loads(path.read_text())
        except ValueError:
            held = None
        if held != wanted:
            raise ConflictError(
                folder,
                "chunks of the same settings, to go on with",
                "an unfinished generation with others",
                "give the earlier settings, or remove this folder",
            )
        return
    write_json(path, wanted)


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
