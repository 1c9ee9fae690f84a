"""The verb ``prepare``: from a store and a recipe to a data set whose sides share nothing."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.core.errors import ConflictError, InputError, UnknownNameError, nearest
from calowatch.core.files import atomic_directory, check_replaceable, write_json
from calowatch.core.progress import SILENT, Progress
from calowatch.core.provenance import provenance
from calowatch.core.recipe import SIDES, DataRecipe, Select, WholeRuns, in_spans, load_recipe, recipe_path
from calowatch.core.schema import UNKNOWN_EVENTS
from calowatch.data.cache import cache_folder, cache_run, open_cached
from calowatch.data.dataset import (
    INDEX_FILE,
    MANIFEST_FILE,
    SCHEMA,
    WINDOWS_FILE,
    SideCounts,
    Windows,
    write_windows,
)
from calowatch.data.preparation import Preparation
from calowatch.data.splits import assign_sides, find_windows, guard_of, require_sides
from calowatch.detector.index import channel_columns
from calowatch.detector.segmentation import SUBDETS
from calowatch.detector.table import segmentation_hash
from calowatch.io.known import read_known
from calowatch.io.store import open_run, run_attrs
from calowatch.io.store import runs as runs_of

__all__ = ["PrepareOptions", "prepare"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PrepareOptions:
    """What the recipe does not say.

    Parameters
    ----------
    store
        The store; by default the one that the recipe names.
    seed
        In place of the recipe's.
    known
        Known bad channels: CSV or HcalChannelStatus, as for ``monitor``. They read 0 and are in no scale.
    cache
        Folder of the memory-mapped counts, by default ``STORE.cache`` beside the store.
    """

    store: str | Path | None = None
    seed: int | None = None
    known: str | Path | None = None
    cache: str | Path | None = None


@dataclass(frozen=True)
class _Head:
    """What is needed of a run before its counts are."""

    era: str
    sources: list[dict[str, Any]]
    ls: Ints
    n_events: Ints
    channel: Ints


@dataclass(frozen=True)
class _Source:
    """The runs that take part, and the channels they share."""

    store: Path
    cache: Path
    heads: Mapping[int, _Head]
    channel: Ints


def prepare(
    recipe: str | Path,
    out: str | Path,
    options: PrepareOptions | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Make a data set from a store, as a recipe says.

    Parameters
    ----------
    recipe
        TOML file, or the bare name of a recipe that comes with calowatch.
    out
        Folder of the data set; an earlier data set there is replaced.
    options
        Store, seed, known bad channels, place of the cache.
    progress
        Shows the caching of runs, and takes notes on what was left out.

    Returns
    -------
    The manifest: recipe, splits with their counts, what was left out and why, hashes, provenance.

    Raises
    ------
    InputError
        When the recipe has mistakes or asks for what the store does not hold. Nothing is written then.
    """
    options = options or PrepareOptions()
    path = recipe_path(recipe)
    plan = load_recipe(path, DataRecipe)
    if options.seed is not None:
        plan = plan.model_copy(update={"seed": options.seed})
    known = frozenset() if options.known is None else read_known(options.known)
    source = _source(path, plan, options, progress)
    index, left_out = _index(source, plan, path.name)
    table, positions = find_windows(index, plan.window)
    windows = Windows(
        table["side"].to_numpy(str),
        table["run"].to_numpy(np.int64),
        index["row"].to_numpy(np.int64)[positions],
        index["ls"].to_numpy(np.int64)[positions],
    )
    check_replaceable(out, INDEX_FILE)
    hashes = _cache_runs(source, sorted(index["run"].unique().tolist()), progress)
    preparation = _fitted(source, index, plan, hashes, known)
    with atomic_directory(out, marker=INDEX_FILE) as scratch:
        index.to_parquet(scratch / INDEX_FILE, index=False)
        write_windows(scratch / WINDOWS_FILE, windows)
        preparation.save(scratch)
        manifest = {
            "schema": SCHEMA,
            "name": path.stem,
            **_origin(source, plan, hashes, Path(out)),
            "n_channels": len(source.channel),
            "n_known_bad": int((~preparation.mask).sum()),
            "splits": _splits(index, windows),
            "left_out": left_out,
        }
        write_json(scratch / MANIFEST_FILE, manifest)
    return manifest


def _source(path: Path, plan: DataRecipe, options: PrepareOptions, progress: Progress) -> _Source:
    store = _store(path, plan, options)
    for name in plan.select.subdets:
        if name not in SUBDETS:
            raise UnknownNameError(
                f"{path.name}: select.subdets",
                f"some of {', '.join(SUBDETS)}",
                repr(name),
                nearest(name, SUBDETS),
            )
    wanted = _wanted_runs(path.name, store, plan)
    attrs = {run: run_attrs(store, run) for run in wanted}
    for run in wanted:
        missing = [name for name in plan.select.subdets if name not in attrs[run]["subdets"]]
        if missing:
            raise InputError(
                f"{store}::{run}",
                f"the subdetectors of {path.name}",
                f"none of {' and '.join(missing)}",
                "take them out of select.subdets, or convert the files that hold them",
            )
    heads = {run: _head(store, run) for run in wanted}
    cache = cache_folder(store) if options.cache is None else Path(options.cache)
    return _Source(store, cache.resolve(), heads, _shared_channels(heads, plan.select, progress))


def _head(store: Path, run: int) -> _Head:
    stored = open_run(store, run, lazy=True)
    arrays = (stored[name].to_numpy().astype(np.int64) for name in ("ls", "n_events", "channel"))
    sources = [dict(one) for one in stored.attrs["provenance"].get("sources", [])]
    return _Head(str(stored.attrs["era"]), sources, *arrays)


def _cache_runs(source: _Source, used: list[int], progress: Progress) -> dict[int, str]:
    """Cache the runs that have a lumisection on a side; return their hashes."""
    tracked = progress.track(used, "caching runs", len(used))
    return {run: cache_run(source.store, run, source.cache) for run in tracked}


def _store(path: Path, plan: DataRecipe, options: PrepareOptions) -> Path:
    if options.store is not None:
        return Path(options.store).resolve()
    if plan.store is None:
        raise InputError(
            path.name,
            "a store",
            "none, neither in the recipe nor given",
            "give --store STORE, or write store = ...",
        )
    return (path.parent / plan.store).resolve()


def _wanted_runs(recipe: str, store: Path, plan: DataRecipe) -> list[int]:
    """Return the runs to take, every one that the recipe names singly being in the store."""
    held = runs_of(store)
    spans = list(plan.select.runs or ())
    if not spans and isinstance(plan.split, WholeRuns):
        spans = [span for side in SIDES for span in getattr(plan.split, side) or ()]
    named = {span.first for span in spans if span.first == span.last}
    if isinstance(plan.split, WholeRuns):
        sides = [span for side in SIDES for span in getattr(plan.split, side) or ()]
        named |= {span.first for span in sides if span.first == span.last}
    missing = sorted(named - set(held))
    if missing:
        raise UnknownNameError(
            store,
            f"the {len(named)} runs that {recipe} names",
            f"a store without {', '.join(str(run) for run in missing)}",
            "convert them, or copy the recipe and take them out",
        )
    wanted = [run for run in held if not spans or in_spans(run, spans)]
    if not wanted:
        raise InputError(store, f"runs that {recipe} asks for", "none", "widen select.runs")
    return wanted


def _shared_channels(heads: Mapping[int, _Head], select: Select, progress: Progress) -> Ints:
    """Return the channels of the subdetectors asked for that all runs have, in the order of the channel table."""
    every = [_in_subdets(head.channel, select.subdets) for head in heads.values()]
    shared = every[0]
    for channel in every[1:]:
        shared = shared[np.isin(shared, channel)]
    lost = max(len(channel) for channel in every) - len(shared)
    if not len(shared):
        raise InputError("select.runs", "runs that share channels", "none shared", "take runs of one era")
    if lost:
        progress.note(f"{lost} channels are not in all runs and are left out; {len(shared)} remain")
    return shared


def _in_subdets(channel: Ints, subdets: tuple[str, ...]) -> Ints:
    return channel[channel_columns(channel)["subdet"].isin(list(subdets)).to_numpy()]


def _index(source: _Source, plan: DataRecipe, where: str) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the lumisections that are on a side, and how many were left out and why."""
    parts = [
        pd.DataFrame(
            {
                "run": np.int64(run),
                "ls": head.ls,
                "row": np.arange(len(head.ls)),
                "era": head.era,
                "n_events": head.n_events,
            }
        )
        for run, head in source.heads.items()
    ]
    index = pd.concat(parts, ignore_index=True)
    select = plan.select
    events = index["n_events"].to_numpy()
    unknown = (events == UNKNOWN_EVENTS) & (select.min_events > 0)
    few = (events != UNKNOWN_EVENTS) & (events < select.min_events)
    outside = np.array([select.ls is not None and not in_spans(int(ls), select.ls) for ls in index["ls"]])
    left_out = {
        "outside_ls_ranges": int(outside.sum()),
        "unknown_events": int((unknown & ~outside).sum()),
        "few_events": int((few & ~outside).sum()),
    }
    index = index[~(unknown | few | outside)].reset_index(drop=True)
    index["side"] = assign_sides(index, plan.split, plan.seed)
    require_sides(index["side"].to_numpy(str), plan.split, where)
    left_out["on_no_side"] = int((index["side"] == "").sum())
    return index[index["side"] != ""].reset_index(drop=True), left_out


def _fitted(
    source: _Source, index: pd.DataFrame, plan: DataRecipe, hashes: Mapping[int, str], known: frozenset[int]
) -> Preparation:
    mask = ~np.isin(source.channel, list(known))
    if not mask.any():
        raise InputError("--known", "a list of some bad channels", "all of them", "check the list")
    runs = {run: open_cached(source.store, run, sha256, source.cache) for run, sha256 in hashes.items()}
    for run, cached in runs.items():
        if not np.array_equal(cached.ls, source.heads[run].ls):
            raise ConflictError(
                f"{source.store}::{run}", "a run at rest", "one that is being written", "try again later"
            )
    train = SideCounts(index[index["side"] == "train"], runs, source.channel)
    return Preparation(plan.preparation.steps, source.channel, mask).fit(train)


def _origin(source: _Source, plan: DataRecipe, hashes: Mapping[int, str], out: Path) -> dict[str, Any]:
    """Return recipe, seed, hashes and places; places are relative, so that no path of a machine travels along."""
    runs = {str(run): {"era": source.heads[run].era, "sha256": sha256} for run, sha256 in hashes.items()}
    whole = hashlib.sha256("".join(f"{run} {sha256}\n" for run, sha256 in hashes.items()).encode())
    return {
        "recipe": plan.model_dump(mode="json", exclude={"store"}),
        "seed": plan.seed,
        "guard": guard_of(plan.split),
        "segmentation": {
            era: segmentation_hash(era) for era in sorted({one["era"] for one in runs.values()})
        },
        "provenance": provenance(
            "prepare",
            sources=[{"run": run, "sources": source.heads[run].sources} for run in hashes],
            seed=plan.seed,
        ),
        "store": {
            "path": os.path.relpath(source.store, out.resolve()),
            "cache": os.path.relpath(source.cache, out.resolve()),
            "sha256": whole.hexdigest(),
            "runs": runs,
        },
    }


def _splits(index: pd.DataFrame, windows: Windows) -> dict[str, Any]:
    splits = {}
    for side in (side for side in SIDES if (index["side"] == side).any()):
        mine = index[index["side"] == side]
        splits[side] = {
            "runs": [int(run) for run in mine["run"].unique()],
            "n_ls": len(mine),
            "n_windows": len(windows.of(side)),
            "n_events": int(mine["n_events"].clip(lower=0).sum()),
        }
    return splits
