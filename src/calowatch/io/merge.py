"""Files of one run put together: their subdetectors side by side, their lumisections in common."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from calowatch.core.errors import ConflictError
from calowatch.core.progress import SILENT, Progress
from calowatch.core.provenance import provenance
from calowatch.core.schema import UNKNOWN_EVENTS, make_occupancy, with_rechits
from calowatch.detector.index import channel_columns
from calowatch.detector.segmentation import SUBDETS

__all__ = ["merge_runs", "subdets_of"]

CONDITIONS = ("pileup", "lumi")


def subdets_of(occupancy: xr.Dataset) -> tuple[str, ...]:
    """Return the subdetectors in a run, in the usual order."""
    held = set(np.unique(occupancy["subdet"].to_numpy()).tolist())
    return tuple(name for name in SUBDETS if name in held)


def merge_runs(pieces: Sequence[xr.Dataset], progress: Progress = SILENT) -> xr.Dataset:
    """Return one run from pieces of it.

    A subdetector's lumisections are those of all pieces that hold it; where two pieces hold the same, their counts
    must be equal. The run has the lumisections that every subdetector has, and events from whichever piece knows.

    Parameters
    ----------
    pieces
        Occupancies of one run and era; one is returned as it is.
    progress
        Takes a note when lumisections are left out.

    Raises
    ------
    ConflictError
        When runs, eras, counts or events differ, or no lumisection is common.
    """
    first = pieces[0]
    if len(pieces) == 1:
        return first
    for attribute in ("run", "era"):
        _same_attribute(pieces, attribute)
    holding = [subdets_of(piece) for piece in pieces]
    blocks = [
        _join([piece for piece, names in zip(pieces, holding, strict=True) if name in names], name)
        for name in SUBDETS
    ]
    held = [block for block in blocks if not block.empty]
    sections = _common([block.index.to_numpy() for block in held], pieces, progress)
    counts = np.concatenate([block.loc[sections].to_numpy() for block in held], axis=1)
    ids = np.concatenate([block.columns.to_numpy() for block in held])
    channels = channel_columns(ids)
    channels.insert(0, "channel", ids)
    events = _known(pieces, "n_events", UNKNOWN_EVENTS).reindex(sections, fill_value=UNKNOWN_EVENTS)
    conditions = {
        name: _known([piece for piece in pieces if name in piece], name, np.nan).reindex(sections).to_numpy()
        for name in CONDITIONS
        if any(name in piece for piece in pieces)
    }
    run = make_occupancy(counts, channels, sections, events.to_numpy(), _attrs(pieces), conditions)
    rechits = _rechits(pieces, run, progress)
    return run if rechits is None else with_rechits(run, rechits)


def _rechits(pieces: Sequence[xr.Dataset], run: xr.Dataset, progress: Progress) -> npt.NDArray[Any] | None:
    """Return the reconstructed hits of the merged run, or ``None`` where the pieces do not tell all of them."""
    telling = [piece for piece in pieces if "rechits" in piece]
    if not telling:
        return None
    found = []
    for name in subdets_of(run):
        block = _join([piece for piece in telling if name in subdets_of(piece)], name, "rechits")
        if block.empty or not run["ls"].isin(block.index).all():
            progress.note(
                f"run {run.attrs['run']}: RecHits of {name} are not known throughout, so all are left out"
            )
            return None
        found.append(block.loc[run["ls"].to_numpy()].to_numpy())
    return np.concatenate(found, axis=1)


def _attrs(pieces: Sequence[xr.Dataset]) -> dict[str, object]:
    """Return attributes that name every file behind the pieces once."""
    files = {
        source.get("sha256", str(source)): source
        for piece in pieces
        for source in piece.attrs.get("provenance", {}).get("sources", [])
    }
    era = pieces[0].attrs["era"]
    return {
        "run": pieces[0].attrs["run"],
        "era": era,
        "source": " + ".join(_source(piece) for piece in pieces),
        "provenance": provenance("merge", sources=files.values(), options={"era": era}),
    }


def _source(piece: xr.Dataset) -> str:
    return str(piece.attrs.get("source", f"run {piece.attrs['run']}"))


def _same_attribute(pieces: Sequence[xr.Dataset], attribute: str) -> None:
    first = pieces[0]
    for piece in pieces[1:]:
        if piece.attrs[attribute] != first.attrs[attribute]:
            raise ConflictError(
                _source(piece),
                f"{attribute} {first.attrs[attribute]}, as in {_source(first)}",
                f"{attribute} {piece.attrs[attribute]}",
                "read them one by one" if attribute == "run" else "give one --era for both",
            )


def _join(pieces: Sequence[xr.Dataset], subdet: str, variable: str = "counts") -> pd.DataFrame:
    """Return a subdetector's digis or RecHits over the LS of all pieces: rows by LS, columns by channel."""
    what = subdet if variable == "counts" else f"{subdet} ({variable})"
    # Put together at the end, or where pieces overlap: a run may come as a file per lumisection.
    parts: list[pd.DataFrame] = []
    known: set[int] = set()
    for piece in pieces:
        columns = np.flatnonzero(piece["subdet"].to_numpy() == subdet)
        block = pd.DataFrame(
            piece[variable].to_numpy()[:, columns],
            index=piece["ls"].to_numpy(),
            columns=piece["channel"].to_numpy()[columns],
            copy=False,
        )
        if parts:
            _same_channels(parts[0], block, what, _source(piece))
        if not known.isdisjoint(block.index):
            parts = [pd.concat(parts)]
            _same_counts(parts[0], block, what, _source(piece))
            block = block.loc[block.index.difference(parts[0].index)]
        known.update(block.index)
        parts.append(block)
    if len(parts) > 1:
        return pd.concat(parts).sort_index()
    return parts[0] if parts else pd.DataFrame()


def _same_channels(one: pd.DataFrame, other: pd.DataFrame, subdet: str, where: str) -> None:
    if not one.columns.equals(other.columns):
        raise ConflictError(
            where, f"the same channels of {subdet} in every file", "others", "read the files one by one"
        )


def _same_counts(one: pd.DataFrame, other: pd.DataFrame, subdet: str, where: str) -> None:
    common = one.index.intersection(other.index)
    left, right = one.loc[common].to_numpy(), other.loc[common].to_numpy()
    differ = left != right
    if differ.any():
        row, column = (int(i) for i in np.argwhere(differ)[0])
        channel = " ".join(str(part) for part in channel_columns([one.columns[column]]).iloc[0])
        raise ConflictError(
            where,
            f"the counts of {subdet} that are already there",
            f"{right[row, column]} instead of {left[row, column]} in LS {common[row]}, channel {channel} "
            f"({int(differ.sum())} such counts)",
            "keep one of the files, or convert with --replace",
        )


def _common(
    indices: Sequence[npt.NDArray[np.int64]], pieces: Sequence[xr.Dataset], progress: Progress
) -> npt.NDArray[np.int64]:
    """Return the lumisections that every subdetector has."""
    common, every = indices[0], indices[0]
    for index in indices[1:]:
        common, every = np.intersect1d(common, index), np.union1d(every, index)
    run = pieces[0].attrs["run"]
    if not common.size:
        raise ConflictError(
            _source(pieces[-1]),
            f"lumisections in common with {_source(pieces[0])}",
            "none",
            "check the run, and give --first-ls to files without lumisection numbers",
        )
    if common.size < every.size:
        progress.note(
            f"run {run}: {every.size - common.size} of {every.size} lumisections are missing for some subdetectors "
            "and left out"
        )
    return common


def _known(pieces: Sequence[xr.Dataset], name: str, unknown: float) -> pd.Series:
    """Return what any piece knows per lumisection; all that know must agree."""
    known: pd.Series = pd.Series(dtype=np.float64 if name in CONDITIONS else np.int64)
    for piece in pieces:
        values = pd.Series(piece[name].to_numpy(), index=piece["ls"].to_numpy())
        values = values[values.notna() & (values != unknown)]
        common = known.index.intersection(values.index)
        differ = known[common] != values[common]
        if differ.any():
            section = common[differ.to_numpy()][0]
            raise ConflictError(
                _source(piece),
                f"{name} {known[section]:g} in LS {section}, as in the other files of the run",
                f"{values[section]:g}",
                "check that the files are of one processing, or convert with --replace",
            )
        known = values if known.empty else pd.concat([known, values.drop(common)])
    return known
