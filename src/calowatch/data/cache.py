"""Counts as plain ``.npy`` files that can be memory-mapped, one folder per run, keyed by the content of the store.

``STORE.cache/<run>-<hash>/`` beside the store holds ``counts`` (ls, channel; uint16 where they fit, else int32),
``n_events``, ``ls`` and ``channel``. Data sets of one store share it; it can be deleted at any time.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from calowatch.core.errors import ConflictError, FormatError, InputError
from calowatch.core.files import atomic_directory, write_json
from calowatch.io.store import open_run, run_attrs

__all__ = ["CachedRun", "cache_folder", "cache_run", "open_cached", "run_hash"]

MARKER = "cached_run.json"
SCHEMA = 1
ARRAYS = ("counts", "n_events", "ls", "channel")
HASH_DIGITS = 16
LS_PER_CHUNK = 64

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CachedRun:
    """One run of the cache, its counts memory-mapped.

    Parameters
    ----------
    run
        Run number.
    counts
        Shape (ls, channel).
    n_events, ls
        Shape (ls,); events are -1 where unknown.
    channel
        Channel numbers, shape (channel,).
    """

    run: int
    counts: npt.NDArray[Any]
    n_events: Ints
    ls: Ints
    channel: Ints

    def chunks(self, rows: Ints, columns: npt.NDArray[Any]) -> Iterator[tuple[npt.NDArray[Any], Ints]]:
        """Yield counts and events of some rows and columns, few lumisections at a time."""
        for first in range(0, len(rows), LS_PER_CHUNK):
            part = rows[first : first + LS_PER_CHUNK]
            yield self.counts[part][:, columns], self.n_events[part]


def cache_folder(store: Path) -> Path:
    """Return where the cache of a store is kept unless the user says otherwise: beside it."""
    store = store.resolve()
    return store.with_name(f"{store.name}.cache")


def run_hash(store: Path, run: int) -> str:
    """Return the SHA-256 of what a store holds of a run: era, lumisections, events, channels and counts.

    Raises
    ------
    InputError
        When the store or the run does not exist.
    """
    digest = hashlib.sha256(str(run_attrs(store, run)["era"]).encode())
    for array in sorted(ARRAYS):
        folder = store / str(run) / array
        for path in sorted(item for item in folder.rglob("*") if item.is_file()):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(folder.parent).as_posix()} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()


def _folder(cache: Path, run: int, sha256: str) -> Path:
    return cache / f"{run}-{sha256[:HASH_DIGITS]}"


def cache_run(store: Path, run: int, cache: Path) -> str:
    """Cache a run if it is not cached yet, and return its hash.

    A run appears in the cache only when it is whole, so that work that was broken off goes on with the next run.

    Raises
    ------
    InputError
        When the run is not in the store, or damaged there.
    ConflictError
        When somebody writes the run meanwhile.
    """
    sha256 = run_hash(store, run)
    target = _folder(cache, run, sha256)
    if _is_whole(target, sha256):
        return sha256
    occupancy = open_run(store, run)
    if run_hash(store, run) != sha256:
        raise ConflictError(
            f"{store}::{run}", "a run at rest", "one that is being written", "try again later"
        )
    counts = occupancy["counts"].to_numpy()
    small = int(counts.max()) <= np.iinfo(np.uint16).max
    arrays = {
        "counts": counts.astype(np.uint16 if small else np.int32),
        **{name: occupancy[name].to_numpy().astype(np.int64) for name in ARRAYS[1:]},
    }
    with atomic_directory(target, marker=MARKER) as scratch:
        for name, values in arrays.items():
            np.save(scratch / f"{name}.npy", values, allow_pickle=False)
        sizes = {f"{name}.npy": (scratch / f"{name}.npy").stat().st_size for name in arrays}
        write_json(scratch / MARKER, {"schema": SCHEMA, "run": run, "sha256": sha256, "sizes": sizes})
    return sha256


def _is_whole(folder: Path, sha256: str) -> bool:
    """Return whether a folder holds all the files of a cached run, in full length."""
    try:
        told = json.loads((folder / MARKER).read_text())
        return bool(
            told["schema"] == SCHEMA
            and told["sha256"] == sha256
            and all((folder / name).stat().st_size == size for name, size in told["sizes"].items())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def open_cached(store: Path, run: int, sha256: str, cache: Path) -> CachedRun:
    """Return a run of the cache, cached anew if it got lost and the store still holds the same counts.

    Raises
    ------
    InputError
        When it got lost and the store holds other counts by now, or none.
    """
    folder = _folder(cache, run, sha256)
    if not _is_whole(folder, sha256):
        if run_hash(store, run) != sha256:
            raise InputError(
                f"{store}::{run}",
                "the counts that the data set was made of",
                "others, and the cache of the old ones is gone",
                "prepare the data set again",
            )
        cache_run(store, run, cache)
    try:
        counts = np.load(folder / "counts.npy", mmap_mode="r", allow_pickle=False)
        n_events, ls, channel = (np.load(folder / f"{name}.npy", allow_pickle=False) for name in ARRAYS[1:])
    except (OSError, ValueError) as error:
        raise FormatError(folder, "a cached run", f"a damaged one ({error})", "delete this folder") from error
    return CachedRun(run, counts, n_events, ls, channel)
