"""Figures of small images side by side, described once and drawn twice: as PNG for paper, by Plotly for the page."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Literal

import matplotlib.style
import mplhep
import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from plotly.subplots import make_subplots

from calowatch.present.figures import AXIS, LAYOUT
from calowatch.present.maps import STYLE
from calowatch.present.palette import colour_map, colour_scale

__all__ = ["ImagePanel", "image_figure", "write_images"]

Floats = npt.NDArray[np.float64]

_EMPTY = {"log": "#e8e8e8", "linear": "#e8e8e8", "apart": "#ffffff"}  # the middle of the last scale is grey


@dataclass(frozen=True, eq=False)
class ImagePanel:
    """Images with one colour scale.

    Parameters
    ----------
    title
        Of all of them.
    images
        Title and values of each, shape (rows, columns); NaN, and zero on a logarithmic scale, has no colour.
    axes
        Names of rows and columns.
    label
        Of the colour scale, units in brackets.
    scale
        ``log``; ``linear`` from the smallest value; ``apart``, symmetric around zero.
    ends
        Of the colour scale; None for those of the data.
    origin
        Row and column that are number 0.
    columns
        Images beside each other.
    """

    title: str
    images: Sequence[tuple[str, npt.NDArray[Any]]]
    axes: tuple[str, str]
    label: str
    scale: Literal["log", "linear", "apart"] = "log"
    ends: tuple[float, float] | None = None
    origin: tuple[int, int] = (0, 0)
    columns: int = 2

    def limits(self) -> tuple[float, float]:
        """Return the ends of the colour scale."""
        if self.ends is not None:
            return self.ends
        values = np.concatenate([np.asarray(image, np.float64).ravel() for _, image in self.images])
        values = values[np.isfinite(values)]
        if self.scale == "log":
            values = values[values > 0]
        if not values.size:
            return 0.1, 1.0
        low, high = float(values.min()), float(values.max())
        if self.scale == "apart":
            reach = max(abs(low), abs(high)) or 1.0
            return -reach, reach
        return (low, high) if low < high else (low / 2.0, high * 2.0 or 1.0)

    def shown(self, image: npt.NDArray[Any]) -> Floats:
        """Return an image with NaN where it has no colour."""
        values = np.asarray(image, np.float64)
        return np.where(values > 0, values, np.nan) if self.scale == "log" else values


def write_images(path: Path, panel: ImagePanel) -> Path:
    """Draw the images as PNG in CMS style, and return its path."""
    columns = min(panel.columns, len(panel.images))
    rows = -(-len(panel.images) // columns)
    low, high = panel.limits()
    norm = LogNorm(low, high) if panel.scale == "log" else Normalize(low, high)
    colours = colour_map("evidence") if panel.scale == "apart" else colormaps["viridis"]
    with matplotlib.style.context([mplhep.style.CMS, STYLE]):
        figure, grid, beside = _frames(rows, columns, panel.title)
        for axes in grid.ravel()[len(panel.images) :]:
            axes.set_axis_off()
        for number, (title, image) in enumerate(panel.images):
            axes = grid[number // columns, number % columns]
            axes.set_facecolor(_EMPTY[panel.scale])
            drawn = axes.imshow(
                panel.shown(image), cmap=colours, norm=norm, origin="lower", extent=_extent(panel, image)
            )
            axes.minorticks_off()
            axes.set_title(title, loc="left", fontsize=12)
            axes.set_xlabel(panel.axes[1])
            axes.set_ylabel(panel.axes[0] if number % columns == 0 else "")
        figure.colorbar(drawn, cax=beside, label=panel.label)
        figure.savefig(path, dpi=100, pil_kwargs={"compress_level": 4})
    return path


def _frames(rows: int, columns: int, title: str) -> tuple[Figure, npt.NDArray[Any], Axes]:
    """Return a figure with axes for images and one for the colour scale: sizes in inches, known beforehand."""
    side, left, right, gap, bottom, top, between = 3.3, 0.95, 1.5, 0.6, 0.75, 0.85, 1.15
    width = max(left + columns * side + (columns - 1) * gap + right, 6.5)
    height = bottom + rows * side + (rows - 1) * between + top
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    figure.text(0.2 / width, 1 - 0.28 / height, title, fontsize=15, fontweight="bold", va="center")
    grid = np.empty((rows, columns), object)
    for row, column in np.ndindex(rows, columns):
        x, y = left + column * (side + gap), bottom + (rows - 1 - row) * (side + between)
        grid[row, column] = figure.add_axes((x / width, y / height, side / width, side / height))
    x = left + columns * side + (columns - 1) * gap + 0.15
    beside = figure.add_axes((x / width, bottom / height, 0.2 / width, (height - bottom - top) / height))
    return figure, grid, beside


def _extent(panel: ImagePanel, image: npt.NDArray[Any]) -> tuple[float, float, float, float]:
    """Return left, right, bottom and top, such that pixels lie round whole numbers."""
    rows, columns = image.shape
    row, column = panel.origin
    return -column - 0.5, columns - column - 0.5, -row - 0.5, rows - row - 0.5


def image_figure(panel: ImagePanel) -> go.Figure:
    """Return the images as a Plotly figure."""
    columns = min(panel.columns, len(panel.images))
    rows = -(-len(panel.images) // columns)
    titles = [escape(title) for title, _ in panel.images]
    gap = {"horizontal_spacing": 0.14 / columns, "vertical_spacing": 0.22 / rows}
    figure = make_subplots(rows=rows, cols=columns, subplot_titles=titles, **gap)
    for number, (_, image) in enumerate(panel.images):
        values = panel.shown(image)
        heat = go.Heatmap(
            x=np.arange(image.shape[1]) - panel.origin[1],
            y=np.arange(image.shape[0]) - panel.origin[0],
            z=(np.log10(values) if panel.scale == "log" else values).astype(np.float32),
            customdata=np.asarray(image, np.float32),
            coloraxis="coloraxis",
            hoverongaps=False,
            hovertemplate=f"{panel.axes[0]} %{{y}}, {panel.axes[1]} %{{x}}: %{{customdata:.4g}}<extra></extra>",
        )
        where = {"row": number // columns + 1, "col": number % columns + 1}
        figure.add_trace(heat, **where)
        figure.update_xaxes(
            AXIS | {"showgrid": False}, title_text=panel.axes[1], zeroline=False, constrain="domain", **where
        )
        first = number % columns == 0
        square = {"scaleanchor": f"x{number + 1}" if number else "x", "constrain": "domain"}
        title = panel.axes[0] if first else ""
        figure.update_yaxes(AXIS | {"showgrid": False} | square, title_text=title, zeroline=False, **where)
    return figure.update_layout(
        LAYOUT,
        title={"text": escape(panel.title), "font": {"size": 15}, "x": 0, "xref": "paper"},
        height=(330 if columns == 1 else 260) * rows + 110,
        margin={"l": 60, "r": 20, "t": 75, "b": 55},
        coloraxis=_colour_axis(panel),
        plot_bgcolor=_EMPTY[panel.scale],
    )


def _colour_axis(panel: ImagePanel) -> dict[str, Any]:
    low, high = panel.limits()
    bar: dict[str, Any] = {
        "title": {"text": panel.label, "side": "right"},
        "thickness": 16,
        "outlinewidth": 1,
    }
    if panel.scale == "log":
        low, high = float(np.log10(low)), float(np.log10(high))
        ticks = np.linspace(low, high, 6)
        bar |= {"tickvals": ticks.tolist(), "ticktext": [f"{10**tick:.2g}" for tick in ticks]}
    colours = colour_scale("evidence" if panel.scale == "apart" else "occupancy")
    return {"cmin": low, "cmax": high, "colorscale": colours, "colorbar": bar}
