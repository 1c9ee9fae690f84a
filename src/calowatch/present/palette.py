"""Colours of every figure, one meaning each.

Kinds of failure use the colour-blind safe set of Okabe and Ito (https://jfly.uni-koeln.de/color/), with black for dead
and brown in place of its yellow, which is too close to the pale yellow of "no verdict". What has no channel is white
everywhere; exactly zero is orange, which the colour map of occupancy (viridis) does not hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_hex

from calowatch.detect.verdict import KINDS, Verdict

__all__ = [
    "EVIDENCE_LIMIT",
    "HEALTHY",
    "KNOWN",
    "NO_CHANNEL_COLOUR",
    "NO_VERDICT",
    "NO_VERDICT_COLOUR",
    "QUANTITIES",
    "STATES",
    "ZERO_COLOUR",
    "State",
    "colour_map",
    "colour_scale",
    "in_words",
    "is_failing",
    "state_of",
]

Quantity = Literal["occupancy", "expectation", "evidence", "verdict"]
QUANTITIES: tuple[Quantity, ...] = ("occupancy", "expectation", "evidence", "verdict")

ZERO_COLOUR = "#ff9e4a"
NO_CHANNEL_COLOUR = "#ffffff"
NO_VERDICT_COLOUR = "#fff0a8"

EVIDENCE_LIMIT = 10.0
"""Where the colours of evidence stop, in standard deviations: the same in every run, so that eyes can learn it."""

# Grey up to 4 sigma, since the largest of many looks at a healthy channel reaches that; blue and orange to brown
# beyond, which colour-blind eyes tell apart. Never white: that is "no channel".
_EVIDENCE_COLOURS = [
    (0.0, "#08306b"),
    (0.2, "#4a90d9"),
    (0.3, "#cdd5df"),
    (0.5, "#dcdcdc"),
    (0.7, "#e3d6cb"),
    (0.8, "#e8833a"),
    (1.0, "#7f1d00"),
]


@dataclass(frozen=True)
class State:
    """One entry of the verdict map's legend."""

    name: str
    colour: str


_KIND_COLOURS = {
    "dead": "#000000",
    "degraded": "#0072b2",
    "hot": "#d55e00",
    "link_loss": "#e69f00",
    "sporadic": "#cc79a7",
    "drift": "#009e73",
    "outlier": "#7a4b00",
    "structural": "#56b4e9",
}


def in_words(kind: str) -> str:
    """Return a kind as a reader wants it.

    Examples
    --------
    >>> in_words("link_loss")
    'link loss'
    """
    return kind.replace("_", " ")


HEALTHY, NO_VERDICT, KNOWN = 0, 1, 2

STATES: tuple[State, ...] = (
    State("not failing", "#d9d9d9"),
    State("no verdict", NO_VERDICT_COLOUR),
    State("known bad", "#8a8a8a"),
    *(State(in_words(kind), _KIND_COLOURS[kind]) for kind in KINDS),
)
"""What a channel can be in the verdict map; its number there is the position here."""


def state_of(verdict: Verdict) -> int:
    """Return the position in `STATES` of a channel that a verdict names."""
    return KNOWN if verdict.known else KNOWN + 1 + KINDS.index(verdict.kind)


def is_failing(verdict: Verdict) -> bool:
    """Return whether somebody should act: neither known before nor a property of the detector."""
    return not verdict.known and verdict.kind != "structural"


def colour_map(quantity: str) -> Colormap:
    """Return the colour map of a quantity (not of verdicts, whose colours are those of `STATES`)."""
    if quantity == "evidence":
        return LinearSegmentedColormap.from_list("evidence", _EVIDENCE_COLOURS)
    return colormaps["viridis"]


def colour_scale(quantity: str, steps: int = 21) -> Sequence[tuple[float, str]]:
    """Return (position, colour) pairs for Plotly, from the colour map that the PNG maps use.

    Examples
    --------
    >>> colour_scale("evidence", 3)[1]  # grey, so that "as expected" differs from "no channel"
    (0.5, '#dcdcdc')
    """
    positions: npt.NDArray[np.float64] = np.linspace(0, 1, steps)
    colours = colour_map(quantity)(positions)
    return [(round(float(at), 4), to_hex(colour)) for at, colour in zip(positions, colours, strict=True)]
