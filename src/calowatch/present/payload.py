"""Data behind the interactive maps, packed for the page's script: numbers as base64 of little-endian arrays."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.detect.verdict import Verdict
from calowatch.present.averages import RunAverage
from calowatch.present.maps import MAX_IETA, ieta_reach, index_grid, outline, planes, titles, top_of_scale
from calowatch.present.palette import (
    EVIDENCE_LIMIT,
    NO_CHANNEL_COLOUR,
    NO_VERDICT,
    NO_VERDICT_COLOUR,
    QUANTITIES,
    STATES,
    ZERO_COLOUR,
    colour_scale,
    in_words,
)

__all__ = ["maps_payload", "packed", "unpacked"]

HARDWARE = ("rbx", "rm", "card", "fibre", "uhtr", "fed")


def packed(values: npt.ArrayLike, dtype: str) -> str:
    """Return an array as base64 text.

    Examples
    --------
    >>> packed([1, 2], "<i2")
    'AQACAA=='
    """
    return base64.b64encode(np.ascontiguousarray(values, dtype=dtype).tobytes()).decode("ascii")


def unpacked(text: str, dtype: str) -> npt.NDArray[Any]:
    """Return the array in base64 text: inverse of `packed`."""
    return np.frombuffer(base64.b64decode(text), dtype=dtype)


def _panel(channels: pd.DataFrame, failing: npt.NDArray[np.bool_], subdet: str, depth: int) -> dict[str, Any]:
    """Return the cells of one depth, cropped to the subdetector, and the border of what fails in it."""
    reach = ieta_reach(channels, subdet)
    crop = slice(MAX_IETA - reach, MAX_IETA + reach + 1)
    rows = index_grid(channels, subdet, depth)
    marked = np.append(failing, False)[rows]
    ends = outline(marked)
    apart = np.full((len(ends), 1), np.nan)  # lifts the pen between two segments
    x, y = (np.concatenate([ends[:, :, axis], apart], axis=1).ravel() for axis in (0, 1))
    return {
        "depth": depth,
        "cells": packed(rows[:, crop], "<i4"),
        "x": packed(x, "<f4"),
        "y": packed(y, "<f4"),
    }


def _names(channels: pd.DataFrame) -> dict[str, Any]:
    """Return the channels' names and, as codes into short lists, those of their hardware."""
    coded = {}
    for name in HARDWARE:
        codes, values = pd.factorize(channels[name])
        coded[name] = {"names": [str(value) for value in values], "codes": packed(codes, "<i4")}
    return {"channel": channels["channel_name"].tolist(), "hardware": coded}


def _subdetectors(average: RunAverage, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return, per subdetector, its panels, its colour range and the units outlined in it."""
    failing = average.state > NO_VERDICT
    channels = average.channels
    parts = {}
    for subdet, depths in planes(channels).items():
        mine = (channels["subdet"] == subdet).to_numpy()
        seen = np.unique(average.unit[mine])
        units = sorted((verdicts[i] for i in seen if i >= 0), key=lambda verdict: -verdict.significance)
        z = average.evidence[mine]
        parts[subdet] = {
            "reach": ieta_reach(channels, subdet),
            "top": top_of_scale(average, subdet),
            "clipped": int((np.abs(z[np.isfinite(z)]) > EVIDENCE_LIMIT).sum()),
            "failing": int(failing[mine].sum()),
            "units": [f"{verdict.title} ({in_words(verdict.kind)})" for verdict in units],
            "panels": [_panel(channels, failing, subdet, depth) for depth in depths],
        }
    return parts


def _first_shown(average: RunAverage) -> str:
    """Return the subdetector with most failing channels that nobody knew of, else the first one."""
    subdets = average.channels["subdet"].to_numpy(str)
    new = subdets[average.state > NO_VERDICT + 1]
    if not new.size:
        return str(subdets[0])
    names, numbers = np.unique(new, return_counts=True)
    return str(names[numbers.argmax()])


def maps_payload(average: RunAverage, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return all that the page needs to draw every map, ready for JSON."""
    return {
        "subdets": _subdetectors(average, verdicts),
        "first": _first_shown(average),
        "quantities": list(QUANTITIES),
        "titles": titles(average),
        "values": {name: packed(average.quantity(name), "<f4") for name in QUANTITIES},
        "counts": packed(average.counts, "<f8"),
        "unit": packed(average.unit, "<i4"),
        "unit_names": [f"{verdict.title}: {in_words(verdict.kind)}" for verdict in verdicts],
        "names": _names(average.channels),
        "events": average.events if np.isfinite(average.events) else None,
        "scales": {name: colour_scale(name) for name in QUANTITIES if name != "verdict"},
        "limit": EVIDENCE_LIMIT,
        "states": [{"name": state.name, "colour": state.colour} for state in STATES],
        "colours": {"zero": ZERO_COLOUR, "no_verdict": NO_VERDICT_COLOUR, "no_channel": NO_CHANNEL_COLOUR},
    }
