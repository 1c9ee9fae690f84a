"""Pile-up from a library of ready minimum-bias collisions, each turned to another azimuth whenever it is drawn.

Made once and kept in the user's cache. Pools of another name share no event: what networks are tested on may lie over
other collisions than what they learned from.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from calowatch.core.errors import ConflictError, FormatError, InputError, nearest
from calowatch.core.files import atomic_directory, check_replaceable, write_json
from calowatch.core.places import cache_place
from calowatch.core.progress import SILENT, Progress
from calowatch.core.provenance import provenance, versions
from calowatch.simulate.chunks import Arrays, Chunk, ChunkPlan, Place, chunks_of, read_chunk, run_chunks
from calowatch.simulate.jets_events import COLUMNS, ENERGY, Particles, minimum_bias

__all__ = [
    "PileupLibrary",
    "PileupRequest",
    "build_library",
    "library_place",
    "open_library",
    "ready_library",
]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

MARKER = "pileup.json"
SCHEMA = 1
PROCESSES = ("inelastic", "nonDiffractive")
_GENERATOR = "pythia8mc"
_UNRECORDED = "8.317.2"
"""Version of `_GENERATOR` where a library names none: the only one that calowatch took before libraries named it."""
CHUNK = 10_000
BATCH = 250
PT_MIN = 0.15
"""GeV; below it a charged particle curls up, and a neutral one stays under the noise of a crystal."""


@dataclass(frozen=True)
class PileupRequest:
    """Which library.

    Parameters
    ----------
    n
        Collisions.
    pool
        Name of the library: pools of different names hold different collisions.
    seed
        Of the whole.
    process
        ``inelastic``, as a trigger without any condition sees them, or ``nonDiffractive``, which starts ten times
        sooner and has more particles on average.
    """

    n: int = 100_000
    pool: str = "train"
    seed: int = 0
    process: str = "inelastic"

    @property
    def stream(self) -> int:
        """Number of the pool among all streams of random numbers."""
        return zlib.crc32(self.pool.encode())

    def fingerprint(self) -> dict[str, Any]:
        """Return all that decides the content."""
        made_by = versions(_GENERATOR)
        return {"schema": SCHEMA, **asdict(self), "energy": ENERGY, "pt_min": PT_MIN, **made_by}


@dataclass(frozen=True, eq=False)
class PileupLibrary:
    """Ready collisions, mapped from the disk.

    Parameters
    ----------
    offsets
        Where each collision begins, shape (n + 1,).
    columns
        `COLUMNS`, shape (particles,) each.
    folder
        Where it lies.
    """

    offsets: Ints
    columns: Mapping[str, npt.NDArray[Any]]
    folder: Path
    manifest: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def particles(self, events: Ints) -> Particles:
        """Return some collisions, in any order and as often as named."""
        length = (self.offsets[1:] - self.offsets[:-1])[events]
        offsets = np.concatenate([[0], np.cumsum(length)])
        at = np.arange(offsets[-1]) + np.repeat(self.offsets[events] - offsets[:-1], length)
        return Particles(offsets, *(self.columns[name][at] for name in COLUMNS))

    def drawn(self, counts: Ints, share: tuple[int, int], rng: np.random.Generator) -> Particles:
        """Return pile-up of some bunch crossings: each collision turned about the beam, and every second mirrored.

        Parameters
        ----------
        counts
            Collisions of each crossing.
        share
            Which collisions may be drawn: first, and one past the last.
        rng
            Draws collisions, azimuth and mirror images.

        Returns
        -------
        One event per crossing. The beams are equal, so that a collision seen from the other side is as likely.
        """
        events = rng.integers(*share, int(counts.sum()))
        drawn = self.particles(events)
        of = drawn.event()
        turn = rng.uniform(-np.pi, np.pi, len(events)).astype(np.float32)
        mirror = rng.choice(np.array([-1, 1], np.float32), len(events))
        phi = np.remainder(drawn.phi + turn[of] + np.float32(np.pi), np.float32(2 * np.pi)) - np.float32(
            np.pi
        )
        ends = np.concatenate([[0], np.cumsum(counts)])
        return Particles(
            drawn.offsets[ends], drawn.pt, drawn.eta * mirror[of], phi, drawn.radius, drawn.kind, drawn.charge
        )


def library_place(request: PileupRequest) -> Path:
    """Return where the user's cache keeps a library."""
    name = f"{request.pool}-{request.process}-n{request.n}-seed{request.seed}"
    return cache_place("pileup") / name


def ready_library(
    request: PileupRequest,
    folder: Path | None = None,
    place: Place | None = None,
    progress: Progress = SILENT,
) -> PileupLibrary:
    """Return a library, built first where there is none yet.

    Parameters
    ----------
    request
        What it shall hold.
    folder
        Where it is or shall be; by default the user's cache.
    place
        Who builds it.
    progress
        Watches.

    Raises
    ------
    InputError
        For a request that cannot be, or when the folder holds a library that does not fit, or something else.
    """
    _check(request)
    given, folder = folder is not None, folder or library_place(request)
    if not (folder / MARKER).is_file():
        _check_folder(folder, given=given)
        progress.note(f"{folder}: no library of pile-up yet, building one of {request.n} collisions")
        build_library(request, folder, place, progress)
    library = open_library(folder)
    held = {name: library.manifest.get(name) for name in request.fingerprint()}
    if held != request.fingerprint():
        wrong = [name for name, value in request.fingerprint().items() if held[name] != value]
        raise InputError(
            folder,
            ", ".join(f"{name} {request.fingerprint()[name]}" for name in wrong),
            ", ".join(f"{name} {held[name]}" for name in wrong),
            "give another --library, or the options it was built with"
            if given
            else "remove it: it is built again when needed",
        )
    return library


def _check(request: PileupRequest) -> None:
    if request.n < 1:
        raise InputError("--library-size", "at least one ready collision", str(request.n), "ask for more")
    if request.process not in PROCESSES:
        found, fix = repr(request.process), nearest(request.process, PROCESSES)
        raise InputError("--process", f"one of {', '.join(PROCESSES)}", found, fix)
    if Path(request.pool).name != request.pool:
        raise InputError("--pool", "a name without slashes", repr(request.pool), "give a word, such as test")


def _check_folder(folder: Path, *, given: bool) -> None:
    """Raise before the work where a library could not go, and name the option by which another place is chosen."""
    try:
        check_replaceable(folder, MARKER)
    except ConflictError as error:
        fix = (
            "choose another --library"
            if given
            else "set CALOWATCH_CACHE to another folder, or give --library"
        )
        raise ConflictError(error.where, error.expected, error.found, fix) from error


def build_library(
    request: PileupRequest, folder: Path, place: Place | None = None, progress: Progress = SILENT
) -> None:
    """Build a library in chunks; a build that was broken off goes on where it stopped.

    Raises
    ------
    ConflictError
        When ``folder`` holds something else.
    InputError
        For a library of less than one collision, an unknown process, or a pool whose name is none of a folder.
    """
    _check(request)
    _check_folder(folder, given=True)
    chunks = chunks_of(request.n, CHUNK, request.seed, stream=request.stream)
    plan = ChunkPlan(
        partial(_collisions, request.process), chunks, request.fingerprint(), "minimum-bias collisions"
    )
    # Another name than that of the chunks of jets, whose file may lie beside.
    scratch = folder.parent / f"{folder.name}.pileup-chunks"
    with (
        run_chunks(plan, scratch, place or Place(), progress) as paths,
        atomic_directory(folder, marker=MARKER) as fresh,
    ):
        _join(paths, fresh)
        origin = provenance("simulate jets", seed=request.seed, options=request.fingerprint())
        write_json(fresh / MARKER, {**request.fingerprint(), "provenance": origin})


def _collisions(process: str, chunk: Chunk) -> Arrays:
    parts = list(minimum_bias(chunk.size, BATCH, chunk.rng(), PT_MIN, process))
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS}
    return {"length": lengths.astype(np.int32), **columns}


def _join(paths: list[Path], folder: Path) -> None:
    """Write one array per column, a chunk at a time."""
    lengths = [read_chunk(path)["length"] for path in paths]
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths), dtype=np.int64)])
    np.save(folder / "offsets.npy", offsets, allow_pickle=False)
    total = int(offsets[-1])
    targets: dict[str, Any] = {}
    first = 0
    for path in paths:
        arrays = read_chunk(path)
        for name in COLUMNS:
            if name not in targets:
                targets[name] = np.lib.format.open_memmap(
                    folder / f"{name}.npy", mode="w+", dtype=arrays[name].dtype, shape=(total,)
                )
            targets[name][first : first + len(arrays[name])] = arrays[name]
        first += len(arrays["pt"])
    for target in targets.values():
        target.flush()


def open_library(folder: Path) -> PileupLibrary:
    """Map a library.

    Raises
    ------
    FormatError
        When the folder holds none, or a damaged one.
    """
    expected = "a library of pile-up"
    try:
        manifest = {_GENERATOR: _UNRECORDED, **json.loads((folder / MARKER).read_text())}
        offsets = np.load(folder / "offsets.npy", allow_pickle=False)
        columns = {
            name: np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False))
            for name in COLUMNS
        }
    except (OSError, ValueError, TypeError) as error:
        raise FormatError(folder, expected, str(error), "remove it: it is built again when needed") from error
    if any(column.shape != (offsets[-1],) for column in columns.values()):
        raise FormatError(folder, expected, "arrays of other lengths", "remove it: it is built again")
    return PileupLibrary(offsets, columns, folder, manifest)
