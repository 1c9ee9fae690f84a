"""ieta-iphi maps as the field draws them: ieta to the right, so the +z side is on the right, iphi upwards."""

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
from matplotlib.colors import BoundaryNorm, Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from calowatch.core.progress import SILENT, Progress
from calowatch.present.averages import RunAverage
from calowatch.present.palette import (
    EVIDENCE_LIMIT,
    NO_CHANNEL_COLOUR,
    NO_VERDICT,
    NO_VERDICT_COLOUR,
    QUANTITIES,
    STATES,
    ZERO_COLOUR,
    colour_map,
)

__all__ = [
    "MAX_IETA",
    "N_IPHI",
    "STYLE",
    "channel_grid",
    "draw_map",
    "index_grid",
    "outline",
    "panel_frame",
    "titles",
    "write_maps",
]

MAX_IETA = 41
N_IPHI = 72

Floats = npt.NDArray[np.float64]

STYLE = {
    "font.size": 13,
    "axes.labelsize": 13,
    "axes.titlesize": 14,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 12,
    # Each tick is drawn by itself: fewer of them halve the time of a map.
    "xtick.minor.visible": False,
    "ytick.minor.visible": False,
    "xtick.top": False,
    "ytick.right": False,
    "xtick.major.size": 6,
    "ytick.major.size": 6,
}


def index_grid(channels: pd.DataFrame, subdet: str, depth: int) -> npt.NDArray[np.int64]:
    """Return the row of ``channels`` that fills each cell, shape (72 iphi, 83 ieta), -1 where none does.

    Parameters
    ----------
    channels
        Columns subdet, ieta, iphi, depth and dphi (width in units of 5 degrees), one row per channel.
    subdet, depth
        Which plane to draw.

    Notes
    -----
    Row 0 is iphi 1; column 0 is ieta -41, column 41 is ieta 0 (never filled). A cell of 10 degrees fills two rows,
    the outermost ones of HF four; the last of these starts at iphi 71 and ends at iphi 2.
    """
    rows = np.flatnonzero((channels["subdet"] == subdet) & (channels["depth"] == depth))
    ieta, iphi, dphi = (channels[name].to_numpy(np.int64)[rows] for name in ("ieta", "iphi", "dphi"))
    grid = np.full((N_IPHI, 2 * MAX_IETA + 1), -1, np.int64)
    for step in range(int(dphi.max(initial=0))):
        wide = dphi > step
        grid[(iphi[wide] - 1 + step) % N_IPHI, ieta[wide] + MAX_IETA] = rows[wide]
    return grid


def channel_grid(values: npt.ArrayLike, channels: pd.DataFrame, subdet: str, depth: int) -> Floats:
    """Return values of channels as a map, shape (72 iphi, 83 ieta), NaN where there is no channel.

    Parameters
    ----------
    values
        One per row of ``channels``.
    channels, subdet, depth
        As for `index_grid`, whose axes it has.

    Examples
    --------
    >>> channels = pd.DataFrame({"subdet": ["HE"], "ieta": [-27], "iphi": [33], "depth": [3], "dphi": [2]})
    >>> grid = channel_grid([0.5], channels, "HE", 3)
    >>> grid[32:34, -27 + 41].tolist(), int(np.isfinite(grid).sum())
    ([0.5, 0.5], 2)
    """
    given = np.asarray(values, np.float64)
    if given.shape != (len(channels),):
        raise ValueError(f"values of shape {given.shape} for {len(channels)} channels")
    rows = index_grid(channels, subdet, depth)
    return np.where(rows < 0, np.nan, np.append(given, np.nan)[rows])


def outline(cells: npt.NDArray[np.bool_]) -> Floats:
    """Return the border of marked cells, shape (segments, 2 ends, 2 coordinates: ieta, iphi).

    Parameters
    ----------
    cells
        On the axes of `index_grid`.

    Examples
    --------
    >>> cells = np.zeros((72, 83), dtype=bool)
    >>> cells[0, 41 + 5] = True
    >>> len(outline(cells)), outline(cells).min(axis=(0, 1)).tolist()
    (4, [4.5, 0.5])
    """
    ieta0, iphi0 = -MAX_IETA - 0.5, 0.5
    padded = np.pad(cells, 1)
    row, column = np.nonzero(padded[1:-1, 1:] != padded[1:-1, :-1])
    x, y = column + ieta0, row + iphi0
    upright = np.stack([np.stack([x, y], -1), np.stack([x, y + 1], -1)], 1)
    row, column = np.nonzero(padded[1:, 1:-1] != padded[:-1, 1:-1])
    x, y = column + ieta0, row + iphi0
    level = np.stack([np.stack([x, y], -1), np.stack([x + 1, y], -1)], 1)
    return np.concatenate([upright, level]).astype(np.float64)


def planes(channels: pd.DataFrame) -> dict[str, list[int]]:
    """Return the depths of each subdetector that a run holds, in the order of its channels."""
    return {
        str(subdet): sorted(int(depth) for depth in part["depth"].unique())
        for subdet, part in channels.groupby("subdet", sort=False)
    }


def ieta_reach(channels: pd.DataFrame, subdet: str) -> int:
    """Return the largest abs(ieta) of a subdetector."""
    return int(channels.loc[channels["subdet"] == subdet, "ieta"].abs().max())


def titles(average: RunAverage) -> dict[str, str]:
    """Return what each quantity is, with its unit."""
    per = "event" if average.per_event else "LS"
    return {
        "occupancy": f"hits per {per}",
        "expectation": f"expected hits per {per}",
        "evidence": f"evidence [\u03c3], colours stop at ±{EVIDENCE_LIMIT:.0f}",
        "verdict": "verdict",
    }


def top_of_scale(average: RunAverage, subdet: str) -> float:
    """Return the end of the colour scale that occupancy and expectation of a subdetector share."""
    mine = (average.channels["subdet"] == subdet).to_numpy()
    both = np.concatenate([average.occupancy[mine], average.expectation[mine]])
    top = float(np.max(both[np.isfinite(both)], initial=0.0))
    return top if top > 0 else 1.0


def _colours(average: RunAverage, subdet: str, quantity: str) -> tuple[Colormap, Normalize]:
    if quantity == "verdict":
        kinds = ListedColormap([state.colour for state in STATES])
        return kinds, BoundaryNorm(np.arange(len(STATES) + 1) - 0.5, len(STATES))
    colours = colour_map(quantity)
    if quantity == "evidence":
        return colours, Normalize(-EVIDENCE_LIMIT, EVIDENCE_LIMIT)
    return colours, Normalize(0, top_of_scale(average, subdet))


def _legend(average: RunAverage, subdet: str, quantity: str) -> list[Patch]:
    def patch(colour: str, label: str) -> Patch:
        return Patch(facecolor=colour, edgecolor="#666666", linewidth=0.6, label=label)

    mine = (average.channels["subdet"] == subdet).to_numpy()
    entries: list[Patch] = []
    if quantity == "verdict":
        present = np.unique(average.state[mine])
        entries = [patch(STATES[i].colour, STATES[i].name) for i in present]
    elif quantity == "evidence":
        if np.isnan(average.evidence[mine]).any():
            entries = [patch(NO_VERDICT_COLOUR, "no verdict")]
    else:
        entries = [patch(ZERO_COLOUR, "exactly zero")]
    return [*entries, patch(NO_CHANNEL_COLOUR, "no channel")]


def _panel(axes: Axes, average: RunAverage, plane: tuple[str, int], quantity: str) -> None:
    """Draw one depth: the values, what stands apart from the colour scale, and the border of failing units."""
    subdet, depth = plane
    extent = (-MAX_IETA - 0.5, MAX_IETA + 0.5, 0.5, N_IPHI + 0.5)
    place: dict[str, Any] = {
        "origin": "lower",
        "extent": extent,
        "aspect": "auto",
        "interpolation": "nearest",
    }
    values = channel_grid(average.quantity(quantity), average.channels, subdet, depth)
    colours, norm = _colours(average, subdet, quantity)
    apart, colour = values == 0, ZERO_COLOUR
    if quantity == "evidence":
        states = channel_grid(average.state, average.channels, subdet, depth)
        apart, colour = np.isnan(values) & np.isfinite(states), NO_VERDICT_COLOUR
    shown = values if quantity == "verdict" else np.where(apart, np.nan, values)
    axes.imshow(shown, cmap=colours, norm=norm, **place)
    if quantity != "verdict":
        axes.imshow(np.where(apart, 1.0, np.nan), cmap=ListedColormap([colour]), **place)
    lines = list(outline(channel_grid(average.state, average.channels, subdet, depth) > NO_VERDICT))
    halo = [] if quantity == "verdict" else [("white", 2.2)]  # black alone is lost on the dark end of a scale
    for line_colour, width in [*halo, ("black", 1.0)]:
        axes.add_collection(LineCollection(lines, colors=line_colour, linewidths=width))
    reach = ieta_reach(average.channels, subdet) + 1.0
    axes.set(xlim=(-reach, reach), ylim=(0.5, N_IPHI + 0.5), xlabel="ieta", ylabel="iphi")
    axes.set_xticks([ieta for ieta in range(-40, 41, 10) if abs(ieta) < reach])
    axes.set_yticks([1, 18, 36, 54, 72])
    axes.set_title(f"{subdet} depth {depth}", loc="left", fontweight="bold")


def draw_map(average: RunAverage, subdet: str, quantity: str, heading: str) -> Figure:
    """Return the figure of one quantity of one subdetector, a panel per depth.

    Parameters
    ----------
    average
        The run summed up.
    subdet
        One that the run holds.
    quantity
        One of `palette.QUANTITIES`.
    heading
        Run, era and lumisections, written top right.
    """
    depths = planes(average.channels)[subdet]
    columns = min(len(depths), 3 if len(depths) == 3 else 4)
    rows = -(-len(depths) // columns)
    with matplotlib.style.context([mplhep.style.CMS, STYLE]):
        figure, grid, bar_axes = panel_frame(rows, columns)
        for axes, depth in zip(grid, depths, strict=False):
            _panel(axes, average, (subdet, depth), quantity)
        for axes in grid[len(depths) :]:
            axes.set_axis_off()
        if quantity == "verdict":
            bar_axes.set_axis_off()
        else:
            colours, norm = _colours(average, subdet, quantity)
            extend = "both" if quantity == "evidence" else "neither"
            bar = figure.colorbar(ScalarMappable(norm, colours), cax=bar_axes, extend=extend)
            bar.set_label(titles(average)[quantity])
        top = 1 - 0.3 / figure.get_figheight()
        figure.text(0.01, top, f"{subdet} {quantity}", fontsize=18, fontweight="bold", va="center")
        figure.text(0.99, top, heading, fontsize=14, ha="right", va="center")
        figure.legend(handles=_legend(average, subdet, quantity), loc="lower left", ncols=6, frameon=False)
    return figure


def panel_frame(rows: int, columns: int) -> tuple[Figure, list[Axes], Axes]:
    """Return a figure, its panels and the axes of its colour bar, placed by hand: automatic layout costs seconds."""
    width, height = 4.1 * columns + 1.3 + (2.5 if columns == 1 else 0.0), 4.0 * rows + 1.2
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    right, bottom, top = 1 - 1.2 / width, 1.1 / height, 1 - 0.95 / height
    grid = figure.subplots(
        rows,
        columns,
        squeeze=False,
        gridspec_kw={
            "left": 0.75 / width,
            "right": right,
            "bottom": bottom,
            "top": top,
            "wspace": 0.24,
            "hspace": 0.32,
        },
    )
    bar_axes = figure.add_axes((right + 0.15 / width, bottom, 0.22 / width, top - bottom))
    return figure, list(grid.ravel()), bar_axes


def write_maps(folder: Path, average: RunAverage, heading: str, progress: Progress = SILENT) -> list[Path]:
    """Write one PNG per subdetector and quantity into an existing folder and return their paths."""
    wanted = [(subdet, quantity) for subdet in planes(average.channels) for quantity in QUANTITIES]
    written = []
    for subdet, quantity in progress.track(wanted, "drawing maps", len(wanted)):
        path = folder / f"{subdet}_{quantity}.png"
        figure = draw_map(average, subdet, quantity, heading)
        with matplotlib.style.context([mplhep.style.CMS, STYLE]):
            figure.savefig(path, dpi=100, pil_kwargs={"compress_level": 4})
        written.append(path)
    return written
