"""Plain figures described once and drawn twice: as PNG for paper, by Plotly for the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib.style
import mplhep
import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from calowatch.present.figures import AXIS, LAYOUT
from calowatch.present.maps import STYLE

__all__ = ["Panel", "Series", "panel_figure", "write_panel"]

Numbers = npt.NDArray[Any] | Sequence[float]
Form = Literal["line", "points", "both", "steps"]

_MANY = 9  # names in a legend, beyond which it stands beside the axes
_LONG = 100  # letters of names along an axis, all as long as the longest, beyond which they slant
_DASHES = {"-": "solid", "--": "dash", ":": "dot"}
_SYMBOLS = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "x": "x",
    "P": "cross",
    "*": "star",
    "<": "triangle-left",
    ">": "triangle-right",
    "h": "hexagon",
}


@dataclass(frozen=True, eq=False)
class Series:
    """One curve or set of points.

    Parameters
    ----------
    x, y
        Numbers; NaN leaves a gap. For ``steps`` x holds the edges, one more than y.
    label
        In the legend; empty for none.
    colour
        As ``#rrggbb``.
    form
        How it is drawn.
    dash
        ``-``, ``--`` or ``:``.
    mark
        ``o s ^ D v x P * < > h``.
    low, high
        Ends of vertical bars; None for none.
    group
        Heading above this and the next entries of the legend; series of a group follow each other.
    hollow
        Marks are outlines.
    """

    x: Numbers
    y: Numbers
    label: str = ""
    colour: str = "#0072b2"
    form: Form = "line"
    dash: str = "-"
    mark: str = "o"
    low: Numbers | None = None
    high: Numbers | None = None
    group: str = ""
    hollow: bool = False


@dataclass(frozen=True, eq=False)
class Panel:
    """A figure with one pair of axes.

    Parameters
    ----------
    title, x, y
        Words for the figure and its axes, units in brackets.
    series
        What is drawn, the first below.
    x_log, y_log
        Logarithmic axes.
    x_ends, y_ends
        Ends of the axes; None for those of the data.
    ticks
        Names instead of numbers, at 0, 1, 2 ... of the x axis; empty for numbers.
    lines
        Vertical lines: where, and what to call it.
    square
        Both axes of one length.
    whole
        x counts something: ticks at whole numbers only.
    beside
        The legend stands beside the axes, as that of many series always does.
    """

    title: str
    x: str
    y: str
    series: Sequence[Series]
    x_log: bool = False
    y_log: bool = False
    x_ends: tuple[float, float] | None = None
    y_ends: tuple[float, float] | None = None
    ticks: Sequence[str] = ()
    lines: Sequence[tuple[float, str]] = ()
    square: bool = False
    whole: bool = False
    beside: bool = False

    @property
    def crowded(self) -> bool:
        """Whether the legend stands beside the axes, so that the figure has to be wide."""
        return self.beside or sum(bool(each.label) for each in self.series) > _MANY


def _draw(axes: Axes, each: Series) -> None:
    label = each.label or "_nolegend_"
    if each.form == "steps":
        axes.stairs(
            np.asarray(each.y), np.asarray(each.x), color=each.colour, lw=1.8, ls=each.dash, label=label
        )
        return
    look: dict[str, Any] = {
        "color": each.colour,
        "ls": "" if each.form == "points" else each.dash,
        "marker": each.mark if each.form != "line" else "",
        "ms": 5,
        "lw": 1.8,
        "label": label,
    }
    if each.hollow:
        look["mfc"] = "white"
    if each.low is None or each.high is None:
        axes.plot(each.x, each.y, **look)
        return
    y = np.asarray(each.y, np.float64)
    bars = np.maximum([y - np.asarray(each.low, np.float64), np.asarray(each.high, np.float64) - y], 0.0)
    axes.errorbar(each.x, y, yerr=bars, capsize=3, elinewidth=1.3, **look)


def write_panel(path: Path, panel: Panel) -> Path:
    """Draw a panel as PNG in CMS style, and return its path."""
    with matplotlib.style.context([mplhep.style.CMS, STYLE]):
        many = panel.crowded
        figure = Figure(
            figsize=(6.6, 6.2) if panel.square else (11.5 if many else 9.0, 5.6), layout="constrained"
        )
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        for each in panel.series:
            _draw(axes, each)
        for where, words in panel.lines:
            axes.axvline(where, color="#444444", lw=1.2, ls=":")
            axes.text(where, 0.98, f" {words}", transform=axes.get_xaxis_transform(), va="top", fontsize=10)
        axes.set_xlabel(panel.x)
        axes.set_ylabel(panel.y)
        axes.set_title(panel.title, loc="left", fontweight="bold", fontsize=14)
        axes.set_xscale("log" if panel.x_log else "linear")
        axes.set_yscale("log" if panel.y_log else "linear")
        if panel.ticks:
            axes.set_xticks(range(len(panel.ticks)), list(panel.ticks))
            if len(panel.ticks) * max(map(len, panel.ticks)) > _LONG:
                axes.tick_params("x", rotation=30)
                for name in axes.get_xticklabels():
                    name.set_horizontalalignment("right")
        if panel.whole:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if panel.x_ends:
            axes.set_xlim(*panel.x_ends)
        if panel.y_ends:
            axes.set_ylim(*panel.y_ends)
        axes.grid(color="#e6e6e6", lw=0.8)
        axes.set_axisbelow(True)
        if any(each.label for each in panel.series):
            _legend(axes, panel.series, beside=many)
        figure.savefig(path, dpi=100, pil_kwargs={"compress_level": 4})
    return path


def _legend(axes: Axes, series: Sequence[Series], *, beside: bool) -> None:
    """Draw the legend, with a heading where a group of series begins."""
    handles, labels = axes.get_legend_handles_labels()
    group_of = {each.label: each.group for each in series}
    shown: list[tuple[Any, str]] = []
    last = ""
    for handle, label in zip(handles, labels, strict=True):
        if (group := group_of[label]) != last:
            shown.append((Line2D([], [], ls=""), rf"$\bf{{{group}}}$"))
            last = group
        shown.append((handle, label))
    place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)} if beside else {}
    axes.legend(
        *zip(*shown, strict=True),
        fontsize=9 if beside else 11,
        frameon=True,
        framealpha=0.85,
        edgecolor="none",
        handlelength=2.8,
        **place,
    )


def _trace(each: Series) -> go.Scatter:
    y = np.asarray(each.y, np.float32)
    x = np.asarray(each.x)
    bars = None
    if each.low is not None and each.high is not None:
        bars = {
            "type": "data",
            "symmetric": False,
            "array": np.maximum(np.asarray(each.high, np.float32) - y, 0),
            "arrayminus": np.maximum(y - np.asarray(each.low, np.float32), 0),
        }
    if each.form == "steps":
        y = np.append(y, y[-1:])
    shape = "hv" if each.form == "steps" else "linear"
    return go.Scatter(
        x=x.astype(np.float32) if x.dtype.kind == "f" else x,
        y=y,
        name=each.label,
        showlegend=bool(each.label),
        legendgroup=each.group,
        legendgrouptitle={"text": each.group},
        mode={"line": "lines", "steps": "lines", "points": "markers", "both": "lines+markers"}[each.form],
        line={"color": each.colour, "width": 1.8, "dash": _DASHES[each.dash], "shape": shape},
        marker={"color": each.colour, "size": 7, "symbol": _SYMBOLS[each.mark] + "-open" * each.hollow},
        error_y=bars,
    )


def panel_figure(panel: Panel) -> go.Figure:
    """Return a panel as a Plotly figure."""
    figure = go.Figure([_trace(each) for each in panel.series])
    for where, words in panel.lines:
        figure.add_vline(where, line={"color": "#444", "dash": "dot", "width": 1.2}, annotation_text=words)
    figure.update_xaxes(AXIS, title_text=panel.x, zeroline=False, **_axis(panel.x_log, panel.x_ends))
    figure.update_yaxes(AXIS, title_text=panel.y, zeroline=False, **_axis(panel.y_log, panel.y_ends))
    if panel.ticks:
        figure.update_xaxes(
            tickvals=list(range(len(panel.ticks))), ticktext=list(panel.ticks), automargin=True
        )
    if panel.whole:
        last = max(float(np.max(each.x)) for each in panel.series)
        figure.update_xaxes(dtick=max(1, round(last / 10)))
    legend = any(each.label for each in panel.series)
    return figure.update_layout(
        LAYOUT,
        title={"text": panel.title, "font": {"size": 15}, "x": 0, "xref": "paper"},
        showlegend=legend,
        legend={"x": 1.02, "y": 0.5, "yanchor": "middle", "font": {"size": 12}, "tracegroupgap": 4}
        if panel.crowded
        else {"orientation": "h", "y": -0.22, "yanchor": "top", "x": 0},
        height=460,
        margin={"l": 70, "r": 20, "t": 40, "b": 60},
    )


def _axis(log: bool, ends: tuple[float, float] | None) -> Mapping[str, Any]:
    shown: dict[str, Any] = {"type": "log", "exponentformat": "power"} if log else {}
    if ends:
        shown["range"] = [float(np.log10(end)) for end in ends] if log else list(ends)
    return shown
