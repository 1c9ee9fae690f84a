"""The two labelled arrays that every room exchanges: occupancy and expectation.

*Occupancy* is an `xarray.Dataset` with dimensions ``(ls, channel)``:

========================  ===============  ==============================================================
``counts``                (ls, channel)    digis per lumisection and channel, whole numbers
``n_events``              (ls,)            events per lumisection; `UNKNOWN_EVENTS` (-1) where unknown
``rechits``               (ls, channel)    optional: reconstructed hits, beside the digis, whole numbers
``pileup``, ``lumi``      (ls,)            optional conditions
coordinates               (ls,)            ``ls``
coordinates               (channel,)       ``channel`` (number), ``subdet``, ``ieta``, ``iphi``, ``depth``
attributes                                 ``run``, ``era``, ``provenance``
========================  ===============  ==============================================================

*Expectation* has the same coordinates and holds ``p`` (ls, channel), the probability that an event gives a digi in
the channel, and ``sigma`` (channel,), how far the channel's hits per event may truly lie from it, as a standard
deviation of ln(lambda), with lambda = -ln(1 - p).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from calowatch.core.errors import CountsError

__all__ = [
    "UNKNOWN_EVENTS",
    "check_occupancy",
    "events_known",
    "make_expectation",
    "make_occupancy",
    "with_rechits",
]

UNKNOWN_EVENTS = -1
"""Stands in ``n_events`` for a lumisection whose number of events no file tells."""

CHANNEL_COLUMNS = ("subdet", "ieta", "iphi", "depth")


def make_occupancy(
    counts: npt.NDArray[Any],
    channels: pd.DataFrame,
    ls: npt.ArrayLike,
    n_events: npt.ArrayLike | None,
    attrs: Mapping[str, Any],
    conditions: Mapping[str, npt.ArrayLike] | None = None,
) -> xr.Dataset:
    """Return a checked occupancy data set.

    Parameters
    ----------
    counts
        Digis, shape (ls, channel); an integer type, or floats that are whole numbers.
    channels
        One row per channel, with ``channel`` (its number) and the columns subdet, ieta, iphi, depth.
    ls
        Lumisection numbers, shape (ls,), increasing.
    n_events
        Events per lumisection, shape (ls,), -1 where unknown; ``None`` when all are unknown.
    attrs
        ``run`` (int), ``era`` and ``provenance`` at least, and ``source``, what to call the input in errors.
    conditions
        ``pileup`` and ``lumi`` per lumisection, where known.

    Raises
    ------
    CountsError
        When the numbers break the rules of `check_occupancy`.
    """
    sections = np.asarray(ls, dtype=np.int64)
    events = np.full(sections.shape, UNKNOWN_EVENTS) if n_events is None else np.asarray(n_events)
    data: dict[str, Any] = {
        "counts": (("ls", "channel"), _whole(counts, str(attrs.get("source", "counts")))),
        "n_events": ("ls", events.astype(np.int64)),
    }
    for name, values in (conditions or {}).items():
        data[name] = ("ls", np.asarray(values, dtype=np.float64))
    coords: dict[str, Any] = {"ls": sections, "channel": channels["channel"].to_numpy(np.int64)}
    for name in CHANNEL_COLUMNS:
        values = channels[name].to_numpy()
        coords[name] = ("channel", values.astype("U2") if name == "subdet" else values.astype(np.int16))
    return check_occupancy(xr.Dataset(data, coords, dict(attrs)))


def _whole(counts: npt.NDArray[Any], where: str) -> npt.NDArray[np.integer[Any]]:
    """Return the counts as integers, refusing what is not a whole number."""
    if np.issubdtype(counts.dtype, np.integer):
        return counts
    with np.errstate(invalid="ignore"):
        whole = counts.astype(np.int32)
    bad = whole != counts
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        too_large = np.isfinite(counts[first]) and counts[first] == np.floor(counts[first])
        raise CountsError(
            where,
            f"counts from 0 to {2**31 - 1}" if too_large else "whole numbers of digis",
            f"{counts[first]} at (lumisection row, channel row) {first}, and {int(bad.sum())} such values in all",
            "the file is damaged; take the original"
            if too_large
            else "give counts, not rates or averages; images with non-integer values are no occupancy",
        )
    return whole


def with_rechits(occupancy: xr.Dataset, rechits: npt.NDArray[Any]) -> xr.Dataset:
    """Return the occupancy with reconstructed hits beside the digis.

    Parameters
    ----------
    occupancy
        A run.
    rechits
        Reconstructed hits, shape (ls, channel); an integer type, or floats that are whole numbers.

    Raises
    ------
    CountsError
        For hits that are negative or no whole numbers.
    """
    where = f"{occupancy.attrs.get('source', 'occupancy')} (RecHits)"
    hits = _whole(rechits, where)
    if hits.min() < 0:
        raise CountsError(where, "zero or more", f"{hits.min()}", "the file is damaged; take the original")
    return occupancy.assign(rechits=(("ls", "channel"), hits))


def check_occupancy(occupancy: xr.Dataset) -> xr.Dataset:
    """Return ``occupancy`` unchanged if its numbers can be counts of digis.

    Raises
    ------
    CountsError
        For negative counts, counts above the number of events, lumisections out of order or none at all, or no channel.
    """
    where = str(occupancy.attrs.get("source", "occupancy"))
    counts = occupancy["counts"].to_numpy()
    sections = occupancy["ls"].to_numpy()
    if counts.size == 0:
        expected = "at least one channel" if sections.size else "at least one lumisection"
        raise CountsError(where, expected, "none", "check that the file is the one you meant")
    if (np.diff(sections) <= 0).any():
        raise CountsError(
            where, "increasing lumisection numbers", "repeated or unordered ones", "split the file by run"
        )
    if counts.min() < 0:
        row, column = np.unravel_index(int(counts.argmin()), counts.shape)
        raise CountsError(
            where,
            "counts of zero or more",
            f"{counts.min()} in LS {sections[row]}, {_name(occupancy, int(column))}",
            "the file is damaged or was subtracted from another; take the original",
        )
    events = occupancy["n_events"].to_numpy()
    most = counts.max(axis=1)
    over = np.flatnonzero((events != UNKNOWN_EVENTS) & (most > events))
    if over.size:
        row = over[0]
        raise CountsError(
            where,
            "no more digis in a channel than events",
            f"{most[row]} digis but {events[row]} events in LS {sections[row]}, "
            f"{_name(occupancy, int(counts[row].argmax()))} ({over.size} such lumisections)",
            "check that the events and the histograms are of the same run and that no file was added twice",
        )
    return occupancy


def _name(occupancy: xr.Dataset, column: int) -> str:
    parts = (str(occupancy[name].to_numpy()[column]) for name in CHANNEL_COLUMNS)
    return "channel " + " ".join(parts)


def events_known(occupancy: xr.Dataset) -> npt.NDArray[np.bool_]:
    """Return, per lumisection, whether the number of events is known; shape (ls,)."""
    known: npt.NDArray[np.bool_] = occupancy["n_events"].to_numpy() != UNKNOWN_EVENTS
    return known


def make_expectation(
    occupancy: xr.Dataset,
    p: npt.NDArray[np.float64],
    sigma: npt.NDArray[np.float64],
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """Return an expectation on the coordinates of ``occupancy``.

    Parameters
    ----------
    occupancy
        The run it is for.
    p
        Digi probability per event, shape (ls, channel), strictly between 0 and 1.
    sigma
        Standard deviation of the true ln(lambda) around ``p``, shape (channel,).
    attrs
        ``method``, and what else describes it.

    Raises
    ------
    ValueError
        When ``p`` reaches 0 or 1, where no count could ever be evidence.
    """
    if not ((p > 0) & (p < 1)).all():
        raise ValueError("an expectation must lie strictly between 0 and 1")
    data = {"p": (("ls", "channel"), p), "sigma": ("channel", sigma)}
    coords = {name: occupancy.coords[name] for name in ("ls", "channel", *CHANNEL_COLUMNS)}
    return xr.Dataset(data, coords, {"run": occupancy.attrs["run"], "era": occupancy.attrs["era"], **attrs})
