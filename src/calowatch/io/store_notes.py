"""What the store notes about each of its runs, read without opening the arrays."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from calowatch.core.errors import FormatError
from calowatch.detector.segmentation import ERAS

__all__ = ["attributes_of", "check_arrays", "damaged", "notes_if_whole", "notes_of"]


class _Notes(BaseModel, strict=True):
    """The attributes of a run's group."""

    run: int
    era: str
    provenance: dict[str, Any]
    n_ls: int
    subdets: list[str]


def _metadata(node: Path) -> dict[str, Any]:
    try:
        found = json.loads((node / "zarr.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def attributes_of(group: Path) -> dict[str, Any]:
    """Return the attributes of a Zarr group without opening its arrays; empty where there is none."""
    attributes = _metadata(group).get("attributes")
    return attributes if isinstance(attributes, dict) else {}


def check_arrays(store: Path, run: int) -> None:
    """Raise unless the metadata of every array of a run are there; Zarr itself leaves loose ends where they are not.

    Raises
    ------
    FormatError
        Naming the array.
    """
    for item in sorted((store / str(run)).iterdir()):
        if item.is_dir() and _metadata(item).get("node_type") != "array":
            raise damaged(store, run, f"no metadata of an array in its {item.name}/zarr.json")


def notes_of(store: Path, run: int) -> dict[str, Any]:
    """Return what a store notes about a run that it holds.

    Raises
    ------
    FormatError
        When the notes are damaged.
    """
    attributes = attributes_of(store / str(run))
    try:
        notes = _Notes.model_validate(attributes)
    except ValidationError as error:
        names = ", ".join(dict.fromkeys(str(fault["loc"][0]) for fault in error.errors()))
        raise damaged(store, run, f"its zarr.json lacks {names}, or has something else there") from error
    if notes.run != run or notes.era not in ERAS:
        raise damaged(store, run, f"its zarr.json is of run {notes.run}, era {notes.era!r}")
    return attributes


def notes_if_whole(store: Path, run: int) -> dict[str, Any]:
    """Return what a store notes about a run; nothing where that is damaged."""
    try:
        return notes_of(store, run)
    except FormatError:
        return {}


def damaged(store: Path, run: int, reason: str) -> FormatError:
    """Return the error for a run of which something in the store is broken."""
    return FormatError(
        f"{store}::{run}", "a whole run", f"a damaged one ({reason})", "convert it again with --replace"
    )
