"""The user's own electronics maps, each for a range of runs, laid over the built-in table.

They live in the user's configuration, ``$CALOWATCH_CONFIG`` or else ``~/.config/calowatch`` (or under
``$XDG_CONFIG_HOME``): an index ``conditions/electronics.toml`` and one CSV per map beside it. A map may re-cable
channels, never add, remove or widen one: bundles stay valid, and only the hash of the electronics changes.
"""

import hashlib
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from calowatch.core.errors import ConflictError, FormatError, InputError
from calowatch.core.files import atomic_file
from calowatch.detector.conditions import Conditions, Interval, era_of_run
from calowatch.detector.electronics import COLUMNS
from calowatch.detector.map_comparison import compare_map
from calowatch.detector.segmentation import SUBDETS
from calowatch.detector.table import channel_table

__all__ = [
    "MAP_COLUMNS",
    "NewMap",
    "SavedMap",
    "conditions_folder",
    "maps_for",
    "save_map",
    "saved_maps",
    "table_for",
]

MAP_COLUMNS = ("channel", "subdet", "ieta", "iphi", "depth", *COLUMNS, "qie_id")
"""Columns of a stored map, in order; one that the map did not have is absent. ``qie_id`` is the card's serial."""

_INDEX = "electronics.toml"
_TEXTS = ("rbx", "uhtr", "qie_id")
_ADDRESS = ("crate", "slot", "uhtr")


@dataclass(frozen=True)
class SavedMap:
    """One entry of the index: a map of one subdetector and the runs it holds for.

    Parameters
    ----------
    file
        CSV beside the index.
    source
        Name of the file that the user gave.
    kind
        ``"EMap"`` or ``"LMap"``.
    era, subdet
        What it is a map of.
    first_run, last_run
        Both inclusive; ``last_run`` is ``None`` while the map still holds.
    """

    file: str
    source: str
    kind: str
    era: str
    subdet: str
    first_run: int
    last_run: int | None = None

    @property
    def runs(self) -> str:
        """The runs in words."""
        return f"from run {self.first_run}" + ("" if self.last_run is None else f" to {self.last_run}")


def conditions_folder() -> Path:
    """Return where the user's conditions are kept; it need not exist."""
    given = os.environ.get("CALOWATCH_CONFIG")
    if given:
        return Path(given) / "conditions"
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "calowatch" / "conditions"


def saved_maps() -> list[SavedMap]:
    """Return the user's maps, in the order of subdetectors and runs.

    Raises
    ------
    FormatError
        When the index is broken, or two maps of a subdetector overlap.
    """
    path = conditions_folder() / _INDEX
    if not path.is_file():
        return []
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("map", [])
        maps = [SavedMap(**entry) for entry in entries]
        for subdet in SUBDETS:
            _check_apart(maps, subdet)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise FormatError(
            path, "an index written by map parse --save", str(error), "correct or remove it"
        ) from error
    return sorted(maps, key=lambda entry: (SUBDETS.index(entry.subdet), entry.first_run))


def _check_apart(maps: Sequence[SavedMap], subdet: str) -> None:
    Conditions(
        f"maps of {subdet}",
        [Interval(entry.first_run, entry.last_run, entry) for entry in maps if entry.subdet == subdet],
    )


def maps_for(era: str, run: int | None = None) -> list[SavedMap]:
    """Return the user's maps that hold in a run, at most one per subdetector; the newest ones without a run."""
    chosen: dict[str, SavedMap] = {}
    for entry in saved_maps():
        holds = run is None or run in Interval(entry.first_run, entry.last_run, entry)
        if entry.era == era and holds:
            chosen[entry.subdet] = entry
    return list(chosen.values())


def table_for(era: str, run: int | None = None) -> pd.DataFrame:
    """Return the channel table as it is wired in a run: the built-in one under the user's own maps.

    Parameters
    ----------
    era
        ``"2017"``, ``"2018"`` or ``"run3"``.
    run
        Run number; without it the newest map of each subdetector counts.

    Returns
    -------
    As `calowatch.detector.table.channel_table`, the same channels in the same order, with one more column ``qie_id``:
    the serial number of the card, ``""`` where no map tells.

    Raises
    ------
    FormatError
        When a stored map or its index is broken.

    Notes
    -----
    A cell that the map leaves blank keeps what is built in. Crate, slot and uHTR go together. An EMap names no FED:
    it follows from the board, where that board is built in, and else is unknown.

    Examples
    --------
    >>> len(table_for("2018", 319077)), "qie_id" in table_for("2018", 319077)
    (14976, True)
    """
    table = channel_table(era)
    built_in = table.copy()
    table["qie_id"] = ""
    for entry in maps_for(era, run):
        own = _read(conditions_folder() / entry.file, entry, built_in)
        table = _overlaid(table, own, built_in)
    return table


def _read(path: Path, entry: SavedMap, table: pd.DataFrame) -> pd.DataFrame:
    types = {name: "str" if name in (*_TEXTS, "subdet") else "Int64" for name in MAP_COLUMNS}
    try:
        own = pd.read_csv(path, dtype=types, na_values={name: [""] for name in types}, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise _broken(path, str(error)) from error
    unknown = set(own.columns) - set(MAP_COLUMNS)
    if unknown or "channel" not in own or own["channel"].isna().any() or own["channel"].duplicated().any():
        raise _broken(path, "other columns, or channels twice")
    expected = table["channel"][table["subdet"] == entry.subdet]
    if set(own["channel"]) != set(expected):
        raise _broken(path, f"other channels than {entry.subdet} has in era {entry.era}")
    for name in (column for column in _TEXTS if column in own):
        own[name] = own[name].fillna("").astype(object)
    return own.set_index("channel")


def _broken(path: Path, found: str) -> FormatError:
    return FormatError(
        path, "a map written by map parse --save", found, f"save the map again, or take it out of {_INDEX}"
    )


def _overlaid(table: pd.DataFrame, own: pd.DataFrame, built_in: pd.DataFrame) -> pd.DataFrame:
    table = table.copy()
    rows = np.flatnonzero(table["channel"].isin(own.index).to_numpy(bool))
    own = own.loc[table["channel"].iloc[rows]]
    moved = _known(own["crate"]) & _known(own["slot"]) if {"crate", "slot"} <= set(own) else None
    for name in (*COLUMNS, "qie_id"):
        if name not in own:
            continue
        known = _known(own[name])
        if name in _ADDRESS and moved is not None:
            known = moved
        column = table[name].to_numpy(object) if name in _TEXTS else table[name].array.copy()
        column = column.copy()
        column[rows[known]] = own[name].array[known]
        table[name] = column if name in _TEXTS else column.astype("Int16")
    if "fed" not in own and moved is not None:
        feds = built_in[built_in["uhtr"] != ""].drop_duplicates("uhtr").set_index("uhtr")["fed"]
        column = table["fed"].array.copy()
        column[rows[moved]] = feds.reindex(own["uhtr"][moved]).array
        table["fed"] = column
    return table


def _known(column: "pd.Series[Any]") -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    known: np.ndarray[tuple[int], np.dtype[np.bool_]] = (
        column.notna() & (column.astype(str) != "")
    ).to_numpy(bool)
    return known


@dataclass(frozen=True)
class NewMap:
    """A map to be saved.

    Parameters
    ----------
    channels
        One row per channel, with the columns of `MAP_COLUMNS` that the map has; others are passed over.
    source, kind
        As in `SavedMap`.
    first_run, last_run
        Both inclusive; ``last_run`` is ``None`` for a map that still holds.
    """

    channels: pd.DataFrame
    source: str
    kind: str
    first_run: int
    last_run: int | None = None


def save_map(new: NewMap) -> list[SavedMap]:
    """Keep a map for a range of runs; return its entries, one per subdetector.

    A map of the same subdetector and the same runs is replaced; one that is still open ends where the new one
    begins. Nothing is changed on an error.

    Raises
    ------
    UnknownNameError
        For runs of no known era.
    InputError
        When the runs belong to two eras or end before they begin, or when the map would change which channels
        there are.
    ConflictError
        When the runs overlap those of another map.
    """
    era = _checked_era(new)
    _check_channels(new, era)
    entries, files = [], {}
    for subdet in SUBDETS:
        rows = new.channels[new.channels["subdet"] == subdet]
        if rows.empty:
            continue
        columns = [name for name in MAP_COLUMNS if name in rows]
        text = rows.sort_values("channel")[columns].to_csv(index=False, na_rep="", lineterminator="\n")
        name = f"{subdet}-{new.first_run}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.csv"
        files[name] = text
        entries.append(SavedMap(name, new.source, new.kind, era, subdet, new.first_run, new.last_run))
    kept = [fitted for old in saved_maps() if (fitted := _beside(old, entries))]
    folder = conditions_folder()
    for name, text in files.items():
        with atomic_file(folder / name) as scratch:
            scratch.write_text(text, encoding="utf-8")
    with atomic_file(folder / _INDEX) as scratch:
        scratch.write_text(_toml([*kept, *entries]), encoding="utf-8")
    _remove_unused(folder, saved_maps())
    return entries


def _remove_unused(folder: Path, maps: Sequence[SavedMap]) -> None:
    """Remove maps that were replaced; the index no longer names them."""
    used = {entry.file for entry in maps}
    for path in folder.glob("H?-*-????????????.csv"):
        if path.name not in used:
            path.unlink(missing_ok=True)


def _checked_era(new: NewMap) -> str:
    first, last = new.first_run, new.last_run
    era = era_of_run(first)
    if last is not None and last < first:
        raise InputError(
            "--to-run", f"a run from {first} on", str(last), "give the last run that the map holds for"
        )
    if last is not None and era_of_run(last) != era:
        raise InputError(
            "--to-run", f"a run of era {era}, as run {first} is", f"run {last}", "save the map once per era"
        )
    return era


def _check_channels(new: NewMap, era: str) -> None:
    for subdet, found in compare_map(new.channels, era).subdets.items():
        if not found.same_channels:
            example = (*found.missing, *found.extra, "a cell of another width")[0]
            raise InputError(
                new.source,
                f"the channels of {subdet} in era {era}, which a map may re-cable but not change",
                f"{len(found.missing)} missing and {len(found.extra)} more, such as {example}",
                "save a whole map of that era",
            )


def _beside(old: SavedMap, entries: Sequence[SavedMap]) -> SavedMap | None:
    """Return an old entry as it stands beside new ones: unchanged, ended, or ``None`` where it is replaced."""
    for new in entries:
        if old.subdet != new.subdet:
            continue
        if (old.first_run, old.last_run) == (new.first_run, new.last_run):
            return None
        if old.last_run is None and old.first_run < new.first_run:
            return replace(old, last_run=new.first_run - 1)
        ends = [Interval(entry.first_run, entry.last_run, entry) for entry in (old, new)]
        if old.first_run in ends[1] or new.first_run in ends[0]:
            raise ConflictError(
                f"map of {new.subdet} {new.runs}",
                "runs that no other map holds for",
                f"{old.source} {old.runs}",
                f"choose other runs, or take the old entry out of {conditions_folder() / _INDEX}",
            )
    return old


def _toml(maps: Sequence[SavedMap]) -> str:
    lines = ["# The user's electronics maps, by run. Written by: calowatch map parse --save"]
    for entry in maps:
        lines += ["", "[[map]]"]
        values: Mapping[str, Any] = asdict(entry)
        # JSON spells texts and whole numbers as TOML does.
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items() if value is not None]
    return "\n".join(lines) + "\n"
