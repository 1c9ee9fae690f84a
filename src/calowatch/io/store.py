"""The store of converted runs: a Zarr hierarchy with one group per run, chunked by lumisection.

``STORE/<run>`` holds ``counts`` and, where known, ``rechits`` (ls, channel), ``n_events`` and the coordinates ``ls``
and ``channel`` (the channel's number; no strings). A run is written beside and renamed, under a lock of the store's
folder: whoever dies half-way leaves the old state, and what it left behind is cleared away by whoever opens the store
next.
"""

import fcntl
import os
import re
import shutil
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import BloscCodec

from calowatch.core.errors import ConflictError, FormatError, InputError, UnknownNameError
from calowatch.core.files import file_hash
from calowatch.core.progress import SILENT, Progress
from calowatch.core.schema import CHANNEL_COLUMNS, check_occupancy, with_rechits
from calowatch.detector.index import channel_columns
from calowatch.io.merge import merge_runs, subdets_of
from calowatch.io.origin import source_hashes
from calowatch.io.store_notes import attributes_of, check_arrays, damaged, notes_if_whole, notes_of

__all__ = [
    "check_place",
    "find_source",
    "held_runs",
    "is_store",
    "open_run",
    "run_attrs",
    "runs",
    "write_run",
]

MARKER = "calowatch_store"
SCHEMA = 1
LS_PER_CHUNK = 64
# Of lz4 and Zstandard with either shuffle, this writes fastest, and smaller than all others tried (level 1).
CODEC = BloscCodec(cname="lz4", clevel=1, shuffle="bitshuffle")
LOST = -1
"""Fill value of the counts: a chunk that got lost reads as negative counts, which every check refuses."""


def is_store(path: Path | str) -> bool:
    """Return whether a folder is a store of ours."""
    return MARKER in attributes_of(Path(path))


def _existing(store: Path | str) -> Path:
    store = Path(store)
    if not store.is_dir():
        raise InputError(
            store, "a store", "no such folder", "make one with: calowatch convert SOURCE --store"
        )
    if not is_store(store):
        raise FormatError(store, "a store of calowatch", "another folder", "check the name of the store")
    _recover_if_needed(store)
    return store


def runs(store: Path | str) -> list[int]:
    """Return the numbers of the runs in a store, in order.

    Raises
    ------
    InputError
        When there is no store.
    """
    store = _existing(store)
    return sorted(int(item.name) for item in store.iterdir() if re.fullmatch(r"\d+", item.name))


def run_attrs(store: Path | str, run: int) -> dict[str, Any]:
    """Return what the store notes about a run: run, era, provenance, n_ls and subdets.

    Raises
    ------
    InputError
        When there is no store, it is empty, or the run is not in it.
    FormatError
        When the notes about the run are damaged.
    """
    held = runs(store)
    if run not in held:
        if not held:
            raise InputError(store, f"run {run}", "an empty store", "fill it with: calowatch convert")
        raise UnknownNameError(
            f"{store}::{run}", "a run in the store", f"only {_few(held)}", "name one of these"
        )
    return notes_of(Path(store), run)


def _few(held: list[int]) -> str:
    named = ", ".join(str(run) for run in held[:8])
    return f"{named} and {len(held) - 8} more" if len(held) > 8 else named


def held_runs(store: Path | str) -> dict[int, dict[str, Any]]:
    """Return what the store notes about each of its runs, as `run_attrs` does; empty where there is no store.

    Of a run whose notes are damaged there are none: it is held, and only replacing it mends it.
    """
    return {run: notes_if_whole(Path(store), run) for run in runs(store)} if is_store(store) else {}


def find_source(store: Path | str, path: Path) -> int | None:
    """Return the run that a file of this content was converted into, or ``None``.

    The file is hashed only when the store knows one of its length.
    """
    length, sha256 = path.stat().st_size, ""
    for run, attrs in held_runs(store).items():
        for source in attrs.get("provenance", {}).get("sources", []):
            if source.get("bytes") == length:
                sha256 = sha256 or file_hash(path)
                if source.get("sha256") == sha256:
                    return run
    return None


def open_run(store: Path | str, run: int, *, lazy: bool = False) -> xr.Dataset:
    """Return a run of the store.

    Parameters
    ----------
    store
        Folder of the store.
    run
        Run number.
    lazy
        Read counts only when they are asked for, such as a slice of lumisections; they are then not checked.

    Raises
    ------
    InputError
        When there is no store, it is empty, or the run is not in it.
    FormatError
        When something in it is damaged.
    CountsError
        When counts got lost or damaged.
    """
    run_attrs(store, run)
    return _load(Path(store), run, lazy)


def _load(store: Path, run: int, lazy: bool) -> xr.Dataset:
    attrs = notes_of(store, run)
    check_arrays(store, run)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # Zarr warns of members it cannot make sense of; they are missed below
            stored = xr.open_zarr(store / str(run), consolidated=False, chunks=None, mask_and_scale=False)
        if not lazy:
            stored.load()
        occupancy = _labelled(stored)
    except MemoryError:
        raise
    except Exception as error:
        # Zarr meets damage wherever it happens to read: type, index and decoding errors alike.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise damaged(store, run, reason) from error
    kept = {name: attrs[name] for name in ("run", "era", "provenance")}
    occupancy.attrs = {**kept, "source": f"{store}::{run}"}
    return occupancy if lazy else _checked(occupancy)


def _labelled(stored: xr.Dataset) -> xr.Dataset:
    """Return a run with the columns of its channels, having checked what it is made of."""
    wanted = {"counts": ("ls", "channel"), "n_events": ("ls",), "ls": ("ls",), "channel": ("channel",)}
    if "rechits" in stored:
        wanted["rechits"] = ("ls", "channel")
    for name, dims in wanted.items():
        if stored[name].dims != dims or stored[name].dtype.kind not in "iu":
            raise ValueError(f"{name} is {stored[name].dtype} {stored[name].dims}")
    columns = channel_columns(stored["channel"].to_numpy())
    occupancy = stored.assign_coords(
        {name: ("channel", columns[name].to_numpy()) for name in CHANNEL_COLUMNS}
    )
    occupancy["subdet"] = occupancy["subdet"].astype("U2")
    return occupancy


def _checked(occupancy: xr.Dataset) -> xr.Dataset:
    check_occupancy(occupancy)
    return with_rechits(occupancy, occupancy["rechits"].to_numpy()) if "rechits" in occupancy else occupancy


def write_run(
    store: Path | str, occupancy: xr.Dataset, *, replace: bool = False, progress: Progress = SILENT
) -> str:
    """Write a run into a store, made if need be, and return what was done.

    Parameters
    ----------
    store
        Folder of the store.
    occupancy
        The run, or some of its subdetectors.
    replace
        Throw away what the store holds of this run, instead of merging with it.
    progress
        Takes a note when lumisections are left out.

    Returns
    -------
    ``"converted"`` for a new or replaced run, ``"merged"`` when it was added to what the store held of the run, and
    ``"already there"`` when the same files had been converted before.

    Raises
    ------
    ConflictError
        When the store holds other counts of the run, or the folder is something else.
    """
    check_occupancy(occupancy)
    store, run = _made(Path(store)), int(occupancy.attrs["run"])
    with _locked(store):
        _recover(store)
        status = "converted"
        if not replace and (store / str(run)).exists():
            existing = _load(store, run, lazy=False)
            if _same_sources(existing, occupancy):
                return "already there"
            occupancy, status = merge_runs([existing, occupancy], progress), "merged"
        _write(store, run, occupancy)
    return status


def _same_sources(existing: xr.Dataset, occupancy: xr.Dataset) -> bool:
    """Return whether a run was read from files that are already in, and read the same way."""
    hashes = source_hashes(occupancy.attrs)
    return (
        bool(hashes)
        and hashes <= source_hashes(existing.attrs)
        and existing.attrs["era"] == occupancy.attrs["era"]
        and set(subdets_of(occupancy)) <= set(subdets_of(existing))
        and bool(np.isin(existing["ls"], occupancy["ls"]).any())
    )


def check_place(store: Path | str) -> None:
    """Raise unless a folder is a store, or may become one.

    Raises
    ------
    ConflictError
        When something else is there.
    """
    store = Path(store)
    if is_store(store) or not store.exists():
        return
    if not store.is_dir():
        raise _taken(store)
    with _locked(store):
        _refuse_others(store)


def _taken(store: Path) -> ConflictError:
    return ConflictError(store, "a store, or a new folder", "something else", "choose another --store")


def _refuse_others(store: Path) -> None:
    """Raise where a folder holds something else; under its lock, or a store in the making would look like that."""
    if not is_store(store) and set(store.iterdir()) - set(_leftovers(store)):
        raise _taken(store)


def _made(store: Path) -> Path:
    if is_store(store):
        return store
    if store.exists() and not store.is_dir():
        raise _taken(store)
    store.mkdir(parents=True, exist_ok=True)
    # Several writers may come at once: the first makes the store, the others find it made.
    with _locked(store):
        _refuse_others(store)
        if not is_store(store):
            scratch = store / f".0.new-{uuid.uuid4().hex[:8]}"
            zarr.open_group(scratch, mode="w", zarr_format=3, attributes={MARKER: SCHEMA})
            (scratch / "zarr.json").rename(store / "zarr.json")
            shutil.rmtree(scratch)
    return store


@contextmanager
def _locked(store: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the only lock of the store (on its folder, so that no file is left); yield whether it was had."""
    descriptor = os.open(store, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(descriptor)
        yield False
        return
    try:
        yield True
    finally:
        os.close(descriptor)


def _leftovers(store: Path) -> list[Path]:
    return [item for item in store.iterdir() if re.fullmatch(r"\.\d+\.(new-\w+|old)", item.name)]


def _recover_if_needed(store: Path) -> None:
    """Clear up after a crash, unless somebody is writing at this moment."""
    if _leftovers(store):
        with _locked(store, wait=False) as had:
            if had:
                _recover(store)


def _recover(store: Path) -> None:
    """Bring back the old state of a run whose writer died between two renames; remove half-written runs."""
    for item in _leftovers(store):
        target = store / item.name.split(".")[1]
        if item.name.endswith(".old") and not target.exists():
            item.rename(target)
        else:
            shutil.rmtree(item)


def _write(store: Path, run: int, occupancy: xr.Dataset) -> None:
    target = store / str(run)
    scratch, old = store / f".{run}.new-{uuid.uuid4().hex[:8]}", store / f".{run}.old"
    try:
        _write_group(scratch, occupancy)
        if target.exists():
            target.rename(old)
        scratch.rename(target)
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _write_group(path: Path, occupancy: xr.Dataset) -> None:
    stored = occupancy.drop_vars(CHANNEL_COLUMNS)
    stored.attrs = {
        **{name: occupancy.attrs[name] for name in ("run", "era")},
        "provenance": occupancy.attrs.get("provenance", {}),
        "n_ls": int(occupancy.sizes["ls"]),
        "subdets": list(subdets_of(occupancy)),
    }
    for variable in stored.variables.values():
        variable.encoding = {}
    n_ls, n_channels = stored["counts"].shape
    grid = {"chunks": (min(LS_PER_CHUNK, n_ls), n_channels), "compressors": [CODEC], "fill_value": LOST}
    encoding = {name: grid for name in ("counts", "rechits") if name in stored}
    stored.to_zarr(path, mode="w", zarr_format=3, consolidated=False, encoding=encoding)
