"""PNG figures of explored runs, in CMS style: series, regression lines, rings, maps."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
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
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from calowatch.core.progress import SILENT, Progress
from calowatch.present.explore_colours import MARKERS, series_colours
from calowatch.present.explore_given import Exploration, RunNumbers
from calowatch.present.explore_scales import (
    folded,
    folded_ticks,
    ieta_ends,
    line_text,
    ratio_limits,
    ring_values,
    top_of_occupancy,
    variance_top,
)
from calowatch.present.maps import MAX_IETA, N_IPHI, STYLE, channel_grid, ieta_reach, panel_frame, planes
from calowatch.present.palette import NO_CHANNEL_COLOUR, ZERO_COLOUR, colour_map

__all__ = ["draw_conditions", "draw_occupancy", "draw_rings", "draw_totals", "write_run_figures"]

Floats = npt.NDArray[np.float64]

_LINES = {**STYLE, "xtick.minor.visible": True, "ytick.minor.visible": True, "legend.frameon": False}
_MOST_TEXTS = 6  # runs whose regression lines are written into the figure
_SERIES = (("events", "events per LS"), ("pileup", "pile-up"), ("lumi", "luminosity"))


def _figure(
    width: float, height: float, rows: int, columns: int, same: bool = False
) -> tuple[Figure, npt.NDArray[np.object_]]:
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    figure.set_layout_engine(
        ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1, rect=(0, 0.25 / height, 1, 1 - 1.0 / height))
    )
    return figure, figure.subplots(rows, columns, squeeze=False, sharey=same)


def _head(figure: Figure, title: str, labels: Sequence[str], first: int = 0, line: bool = False) -> None:
    """Write the title and say which colour is which run, from the one at position ``first`` on, above the panels."""
    height = figure.get_figheight()
    figure.text(0.012, 1 - 0.36 / height, title, fontsize=18, fontweight="bold", va="center")
    colours, few = series_colours(len(labels)), len(labels) <= len(MARKERS)
    shown = range(first, len(labels)) if few else (first, len(labels) - 1)
    handles = [
        Line2D([], [], color=colours[i], ls="-" if line else "", lw=3, marker=_mark(i, line), ms=8)
        for i in shown
    ]
    texts = [labels[i] for i in shown]
    if not few:
        texts = [f"{texts[0]} (dark)", f"to {texts[1]} (light), {len(labels) - first} runs"]
    place = (0.992, 1 - 0.08 / height)
    figure.legend(handles, texts, loc="upper right", bbox_to_anchor=place, ncols=4, fontsize=13)


def _mark(i: int, line: bool) -> str:
    return "" if line else MARKERS[i % len(MARKERS)]


def draw_conditions(runs: Sequence[RunNumbers]) -> Figure:
    """Return events, pile-up and luminosity per lumisection, one panel for each that any run knows."""
    known = [
        (name, text)
        for name, text in _SERIES
        if any(name in run.series and run.series[name].notna().any() for run in runs)
    ]
    if not known:
        known = [(f"total_{runs[0].channels['subdet'].iloc[0]}", "digis per LS (events unknown)")]
    with matplotlib.style.context([mplhep.style.CMS, _LINES]):
        figure, grid = _figure(13, 3.2 * len(known) + 1.4, len(known), 1)
        for axes, (name, text) in zip(grid[:, 0], known, strict=True):
            for run, colour in zip(runs, series_colours(len(runs)), strict=True):
                if name in run.series:
                    _stairs(axes, run.series["ls"].to_numpy(), run.series[name].to_numpy(np.float64), colour)
            axes.set(ylabel=text)
            axes.set_ylim(bottom=0)
            axes.margins(x=0.01)
        grid[-1, 0].set_xlabel("lumisection (LS)")
        _head(figure, "Conditions", [run.label for run in runs], line=True)
    return figure


def _stairs(axes: Axes, ls: npt.NDArray[np.int64], values: Floats, colour: str) -> None:
    """Draw a value per lumisection as a step of its width; where lumisections are missing the line breaks."""
    cut = np.flatnonzero(np.diff(ls) > 1) + 1
    for part, y in zip(np.split(ls, cut), np.split(values, cut), strict=True):
        axes.stairs(y, np.append(part, part[-1] + 1) - 0.5, baseline=None, color=colour, linewidth=1.6)


def draw_totals(runs: Sequence[RunNumbers], subdet: str) -> Figure:
    """Return total and largest occupancy of a subdetector against lumisections and against events."""
    with matplotlib.style.context([mplhep.style.CMS, _LINES]):
        figure, grid = _figure(14.5, 10.5, 2, 2)
        for row, quantity in enumerate(("total", "largest")):
            for column, against in enumerate(("ls", "events")):
                _scatter(grid[row, column], runs, (subdet, quantity, against))
        _head(figure, f"{subdet} occupancy per LS", [run.label for run in runs])
    return figure


def _scatter(axes: Axes, runs: Sequence[RunNumbers], what: tuple[str, str, str]) -> None:
    subdet, quantity, against = what
    colours = series_colours(len(runs))
    handles, texts = [], []
    for i, run in enumerate(runs):
        if f"{quantity}_{subdet}" not in run.series:
            continue
        x = run.series[against].to_numpy(np.float64)
        y = run.series[f"{quantity}_{subdet}"].to_numpy(np.float64)
        size = 5.0 if x.size < 100 else 3.2
        mark: dict[str, Any] = {"marker": MARKERS[i % len(MARKERS)], "ls": "", "ms": size, "mew": 0}
        axes.plot(x, y, color=colours[i], alpha=0.75, **mark)
        fits = run.fits
        mine = (fits["subdet"] == subdet) & (fits["quantity"] == quantity) & (fits["against"] == against)
        fit = fits[mine].iloc[0]
        if np.isfinite(fit["slope"]):
            ends = np.array([np.nanmin(x), np.nanmax(x)])
            (line,) = axes.plot(ends, fit["intercept"] + fit["slope"] * ends, color=colours[i], lw=2)
            handles.append(line)
            texts.append(line_text(fit))
    if 0 < len(texts) <= _MOST_TEXTS:
        low, high = axes.get_ylim()
        axes.set_ylim(
            low, high + (0.06 + 0.075 * len(texts)) * (high - low)
        )  # room for the texts above the points
        axes.legend(handles, texts, fontsize=10, loc="upper left", handlelength=1.2)
    if against == "events" and not axes.lines:
        axes.text(0.5, 0.5, "events unknown", transform=axes.transAxes, ha="center", fontsize=16)
    axes.set_xlabel("lumisection (LS)" if against == "ls" else "events per LS")
    axes.set_ylabel(f"digis of {subdet} per LS" if quantity == "total" else "digis of the busiest channel")
    axes.ticklabel_format(axis="y", scilimits=(0, 5), useMathText=True)
    axes.yaxis.get_offset_text().set_fontsize(11)


def draw_rings(given: Exploration, subdet: str, quantity: str) -> Figure | None:
    """Return ``variance`` or ``drift`` of a subdetector's rings against ieta, a panel per depth.

    ``None`` where no ring of the subdetector has a value.
    """
    parts = ring_values(given, subdet, quantity)
    depths = sorted({int(depth) for _, part in parts for depth in part["depth"].unique()})
    if not depths:
        return None
    columns = min(len(depths), 2 if len(depths) <= 4 else 4)
    rows = -(-len(depths) // columns)
    labels = [run.label for run in given.runs]
    reference = labels[0]
    if quantity == "variance":
        first, level, name = 0, 1.0, "variance / binomial"
        title = f"{subdet} variance over binomial"
    else:
        first, level, name = 1, 0.0, "ln(rate ratio)"
        title = f"{subdet} rings, rate relative to {reference}"
    with matplotlib.style.context([mplhep.style.CMS, _LINES]):
        figure, grid = _figure(max(6.4 * columns, 12.0), 4.2 * rows + 1.2, rows, columns, True)
        for axes, depth in zip(grid.ravel(), depths, strict=False):
            axes.axhline(level, color="#444444", lw=1, ls="--")
            for i, part in parts:
                _ring_points(axes, given, (i, part[part["depth"] == depth]), quantity)
            _ieta_axis(axes, given, subdet)
            axes.set_ylabel(name if axes in grid[:, 0] else "")
            axes.set_title(f"{subdet} depth {depth}", loc="left", fontweight="bold")
        for axes in grid.ravel()[len(depths) :]:
            axes.set_axis_off()
        if quantity == "variance":
            top = variance_top(given)
            grid[0, 0].set_ylim(max(0.0, 2.0 - top), top)
            legend = "\u2191 mean of the ring's channels beyond the axis; hollow: its median channel"
            figure.text(0.012, 0.13 / figure.get_figheight(), legend, fontsize=11, color="#444444")
        _head(figure, title, labels, first)
    return figure


def _ieta_axis(axes: Axes, given: Exploration, subdet: str) -> None:
    """Cut the stretch between the two sides out of an ieta axis, and mark the cut."""
    least, most = ieta_ends(given.runs, subdet)
    places, texts = folded_ticks(least, most)
    axes.set_xticks(places, texts)
    axes.xaxis.minorticks_off()
    reach = most - least + 2.0
    axes.set(xlim=(-reach, reach), xlabel="ieta")
    axes.axvline(0.0, color="#bbbbbb", lw=1)


def _ring_points(axes: Axes, given: Exploration, part: tuple[int, pd.DataFrame], quantity: str) -> None:
    i, rings = part
    n, colour = len(given.runs), series_colours(len(given.runs))[i]
    if not len(rings):
        return
    x = folded(rings["ieta"], ieta_ends(given.runs, str(rings["subdet"].iloc[0]))[0])
    x = x + 0.6 * (i - (n - 1) / 2) / n
    y, error = rings["value"].to_numpy(np.float64), rings["error"].to_numpy(np.float64)
    inside = y <= (variance_top(given) if quantity == "variance" else np.inf)
    mark: dict[str, Any] = {"marker": MARKERS[i % len(MARKERS)], "ls": "", "ms": 5, "color": colour}
    axes.errorbar(x[inside], y[inside], error[inside], elinewidth=1, capsize=0, **mark)
    if not inside.all():
        top = variance_top(given)
        height = np.full(int((~inside).sum()), 1.0 + 0.92 * (top - 1.0))
        axes.plot(x[~inside], height, **{**mark, "marker": "$\\uparrow$", "ms": 10})
        axes.plot(x[~inside], rings["typical"].to_numpy()[~inside], mfc="white", **mark)


def draw_occupancy(runs: Sequence[RunNumbers], number: int, subdet: str, quantity: str) -> Figure:
    """Return the map of a run's ``occupancy``, or of its RecHits over digis (``ratio``), a panel per depth.

    Parameters
    ----------
    runs
        All of them, since their maps share the colour scale.
    number
        Position of the run.
    subdet, quantity
        What to draw.
    """
    run = runs[number]
    depths = planes(run.channels)[subdet]
    columns = min(len(depths), 3 if len(depths) == 3 else 4)
    values, label = run.occupancy, run.occupancy_unit
    colours, norm = colour_map("occupancy"), Normalize(0, top_of_occupancy(runs, subdet))
    if quantity == "ratio" and run.ratio is not None:
        values, label = run.ratio, "RecHits / digis"
        colours, norm = colour_map("evidence"), Normalize(*ratio_limits(runs, subdet))
    with matplotlib.style.context([mplhep.style.CMS, STYLE]):
        figure, grid, bar_axes = panel_frame(-(-len(depths) // columns), columns)
        for axes, depth in zip(grid, depths, strict=False):
            _map_panel(axes, run, (values, subdet, depth), (colours, norm))
        for axes in grid[len(depths) :]:
            axes.set_axis_off()
        figure.colorbar(ScalarMappable(norm, colours), cax=bar_axes).set_label(label)
        top = 1 - 0.3 / figure.get_figheight()
        name = "occupancy" if quantity == "occupancy" else "RecHits over digis"
        figure.text(0.01, top, f"{subdet} {name}", fontsize=18, fontweight="bold", va="center")
        ls = run.series["ls"].to_numpy()
        heading = f"{run.label}, era {run.era}, LS {ls[0]}-{ls[-1]}"
        figure.text(0.99, top, heading, fontsize=14, ha="right", va="center")
        zero = "exactly zero" if quantity == "occupancy" else "no digis, or no RecHits"
        handles = [
            Patch(facecolor=colour, edgecolor="#666666", linewidth=0.6, label=text)
            for colour, text in ((ZERO_COLOUR, zero), (NO_CHANNEL_COLOUR, "no channel"))
        ]
        figure.legend(handles=handles, loc="lower left", ncols=2, frameon=False)
    return figure


def _map_panel(
    axes: Axes, run: RunNumbers, what: tuple[Floats, str, int], scale: tuple[Colormap, Normalize]
) -> None:
    values, subdet, depth = what
    colours, norm = scale
    extent = (-MAX_IETA - 0.5, MAX_IETA + 0.5, 0.5, N_IPHI + 0.5)
    shown = channel_grid(np.nan_to_num(values), run.channels, subdet, depth)
    for image, colour, limits in (
        (np.where(shown == 0, np.nan, shown), colours, norm),
        (np.where(shown == 0, 1.0, np.nan), ListedColormap([ZERO_COLOUR]), None),
    ):
        axes.imshow(
            image,
            cmap=colour,
            norm=limits,
            origin="lower",
            extent=extent,
            aspect="auto",
            interpolation="nearest",
        )
    reach = ieta_reach(run.channels, subdet) + 1.0
    axes.set(xlim=(-reach, reach), ylim=(0.5, N_IPHI + 0.5), xlabel="ieta", ylabel="iphi")
    axes.set_xticks([ieta for ieta in range(-40, 41, 10) if abs(ieta) < reach])
    axes.set_yticks([1, 18, 36, 54, 72])
    axes.set_title(f"{subdet} depth {depth}", loc="left", fontweight="bold")


def _wanted(given: Exploration) -> Iterator[tuple[str, Callable[[], Figure | None]]]:
    """Yield the name of each figure and what draws it."""
    runs = given.runs
    subdets = list(dict.fromkeys(subdet for run in runs for subdet in planes(run.channels)))
    yield "conditions", partial(draw_conditions, runs)
    for subdet in subdets:
        yield f"totals_{subdet}", partial(draw_totals, runs, subdet)
        for quantity in ("variance", "drift"):
            yield f"{quantity}_{subdet}", partial(draw_rings, given, subdet, quantity)
    for i, run in enumerate(runs):
        for subdet in planes(run.channels):
            for quantity in ("occupancy",) if run.ratio is None else ("occupancy", "ratio"):
                name = f"{quantity}_{subdet}_run{run.run}"
                yield name, partial(draw_occupancy, runs, i, subdet, quantity)


def write_run_figures(folder: Path, given: Exploration, progress: Progress = SILENT) -> list[Path]:
    """Write the PNG figures of all runs into an existing folder and return their paths."""
    wanted, written = list(_wanted(given)), []
    for name, draw in progress.track(wanted, "drawing runs", len(wanted)):
        figure = draw()
        if figure is not None:
            path = folder / f"{name}.png"
            with matplotlib.style.context([mplhep.style.CMS, STYLE]):
                figure.savefig(path, dpi=100, pil_kwargs={"compress_level": 4})
            written.append(path)
    return written
