"""Injected faults as the source system shows them: what was injected, seen, reconstructed, scored and flagged."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.style
import mplhep
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from calowatch.present.maps import MAX_IETA, N_IPHI, STYLE, channel_grid, ieta_reach, outline
from calowatch.present.palette import NO_CHANNEL_COLOUR, ZERO_COLOUR, colour_map

__all__ = ["FaultPicture", "draw_fault"]

Floats = npt.NDArray[np.floating[Any]]

_COLUMNS = 4
_HEALTHY = "#e4e4e4"
# Whether flagged and whether injected at once: an outline around a single cell would hide the cell.
_OUTCOMES = (
    (_HEALTHY, "nothing injected, not flagged"),
    ("#d55e00", "injected and flagged"),
    ("#0072b2", "injected, not flagged"),
    ("#000000", "flagged, nothing injected"),
)
_APART = 1  # cells between the injected ones and the line around them


@dataclass(frozen=True, eq=False)
class FaultPicture:
    """What one picture shows: a window with every fault that stands in it; arrays are (channel,), means over it.

    Parameters
    ----------
    heading
        Fault, how many others share its window, model and conditions.
    channels
        Columns subdet, ieta, iphi, depth, dphi.
    plane
        Subdetector and depth that is drawn.
    injected
        Factor on p, one where nothing was injected.
    seen, expected
        Hits per event.
    score
        By the name of each score.
    limit
        Threshold of each score.
    """

    heading: str
    channels: pd.DataFrame
    plane: tuple[str, int]
    injected: Floats
    seen: Floats
    expected: Floats
    score: dict[str, Floats]
    limit: dict[str, float]


@dataclass(frozen=True, eq=False)
class _Map:
    title: str
    values: Floats
    colours: Colormap
    norm: Normalize
    bar: bool = True
    zero: bool = False


def _maps(given: FaultPicture) -> list[_Map]:
    mine = (given.channels["subdet"] == given.plane[0]) & (given.channels["depth"] == given.plane[1])
    top = float(np.max([given.seen[mine].max(initial=0.0), given.expected[mine].max(initial=0.0)])) or 1.0
    hits = Normalize(0, top)
    away = max(float(np.abs(given.injected - 1.0).max()), 0.05)
    injected = np.where(given.injected == 1.0, np.nan, given.injected)
    found = [
        _Map("injected: factor on p", injected, colour_map("evidence"), Normalize(1 - away, 1 + away)),
        _Map("seen: hits per event", given.seen, colour_map("occupancy"), hits, zero=True),
        _Map("reconstruction: hits per event", given.expected, colour_map("occupancy"), hits, zero=True),
    ]
    outcomes = ListedColormap([colour for colour, _ in _OUTCOMES])
    faulty = given.injected != 1.0
    for name, score in given.score.items():
        limit = given.limit[name]
        highest = max(float(score[mine].max(initial=0.0)), 2.0 * max(limit, 1.0))
        positive = np.maximum(score, 0.1)
        found.append(
            _Map(f"{name} (flag above {limit:.3g})", positive, colour_map("occupancy"), LogNorm(0.1, highest))
        )
        flagged = score > limit
        outcome = np.select([faulty & flagged, faulty, flagged], [1.0, 2.0, 3.0], 0.0)
        found.append(_Map(_counted(name, outcome[mine]), outcome, outcomes, Normalize(0, 3), bar=False))
    return found


def _counted(name: str, outcome: Floats) -> str:
    """Return a title that counts what a plane shows, since single cells are small."""
    hit, missed, wrong = (int((outcome == value).sum()) for value in (1, 2, 3))
    return f"flag: {name}\n{hit} of {hit + missed} injected, {wrong} elsewhere"


def _around(cells: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return cells and their neighbours; iphi closes, ieta ends."""
    wide = cells | np.roll(cells, _APART, axis=0) | np.roll(cells, -_APART, axis=0)
    out = wide.copy()
    out[:, _APART:] |= wide[:, :-_APART]
    out[:, :-_APART] |= wide[:, _APART:]
    return out


def _draw(axes: Axes, given: FaultPicture, one: _Map) -> None:
    subdet, depth = given.plane
    place: dict[str, Any] = {
        "origin": "lower",
        "extent": (-MAX_IETA - 0.5, MAX_IETA + 0.5, 0.5, N_IPHI + 0.5),
        "aspect": "auto",
        "interpolation": "nearest",
    }
    there = channel_grid(np.ones(len(given.channels)), given.channels, subdet, depth)
    axes.imshow(there, cmap=ListedColormap([_HEALTHY]), **place)
    values = channel_grid(one.values, given.channels, subdet, depth)
    zero = (values == 0) & one.zero
    axes.imshow(np.where(zero, np.nan, values), cmap=one.colours, norm=one.norm, **place)
    axes.imshow(np.where(zero, 1.0, np.nan), cmap=ListedColormap([ZERO_COLOUR]), **place)
    faulty = np.nan_to_num(channel_grid(given.injected != 1.0, given.channels, subdet, depth)) > 0
    for colour, width in (("white", 1.8), ("black", 0.7)):
        axes.add_collection(LineCollection(list(outline(_around(faulty))), colors=colour, linewidths=width))
    reach = ieta_reach(given.channels, subdet) + 1.0
    axes.set(xlim=(-reach, reach), ylim=(0.5, N_IPHI + 0.5), xlabel="ieta", ylabel="iphi")
    axes.set_xticks([ieta for ieta in range(-40, 41, 10) if abs(ieta) < reach])
    axes.set_yticks([1, 18, 36, 54, 72])
    axes.set_title(one.title, loc="left", fontsize=12)


def draw_fault(path: Path, given: FaultPicture) -> Path:
    """Draw a picture as PNG, and return its path; the black lines run one cell outside the injected channels."""
    maps = _maps(given)
    with matplotlib.style.context([mplhep.style.CMS, STYLE]):
        figure = Figure(figsize=(4.3 * _COLUMNS, 8.4), layout="constrained")
        FigureCanvasAgg(figure)
        row: Sequence[Axes] = figure.subplots(2, _COLUMNS).ravel()
        # What there is above, what is made of it below.
        places = [*range(3), *range(_COLUMNS, _COLUMNS + len(maps) - 3)]
        for axes in (row[place] for place in range(len(row)) if place not in places):
            axes.set_axis_off()
        for axes, one in zip((row[place] for place in places), maps, strict=True):
            _draw(axes, given, one)
            if one.bar:
                figure.colorbar(ScalarMappable(one.norm, one.colours), ax=axes, fraction=0.05, pad=0.02)
        subdet, depth = given.plane
        figure.suptitle(
            f"{given.heading}; {subdet} depth {depth}", x=0.005, ha="left", fontsize=14, fontweight="bold"
        )
        _explain(row[_COLUMNS - 1], given)
        figure.savefig(path, dpi=80, pil_kwargs={"compress_level": 4})
    return path


def _explain(axes: Axes, given: FaultPicture) -> None:
    """Say in the place above the last map what lines and colours mean, and how much of the window this plane holds."""
    subdet, depth = given.plane
    faulty = given.injected != 1.0
    mine = faulty & ((given.channels["subdet"] == subdet) & (given.channels["depth"] == depth)).to_numpy()
    entries = (*_OUTCOMES, (ZERO_COLOUR, "exactly zero hits"), (NO_CHANNEL_COLOUR, "no channel"))
    handles: list[Any] = [
        Patch(facecolor=colour, edgecolor="#666666", linewidth=0.6, label=words) for colour, words in entries
    ]
    handles.append(Line2D([], [], color="black", lw=0.9, label="one cell outside what is injected"))
    axes.legend(
        handles=handles,
        loc="upper left",
        frameon=False,
        fontsize=12,
        title=f"{int(mine.sum())} of the {int(faulty.sum())} channels injected\nin this window are on this plane",
        title_fontsize=12,
        alignment="left",
    )
