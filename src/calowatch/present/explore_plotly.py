"""Interactive figures of an exploration: runs, rings and images."""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from calowatch.present.explore_colours import PLOTLY_MARKERS, series_colours
from calowatch.present.explore_given import Exploration, RunNumbers
from calowatch.present.explore_images_png import difference_title, field_view, log_limits
from calowatch.present.explore_scales import (
    folded,
    folded_ticks,
    ieta_ends,
    line_text,
    ring_values,
    short,
    variance_top,
)
from calowatch.present.figures import AXIS, LAYOUT
from calowatch.present.maps import planes
from calowatch.present.palette import colour_scale

__all__ = ["image_figures", "run_figures"]

Floats = npt.NDArray[np.float64]

_MARGIN = {"l": 70, "r": 20, "t": 60, "b": 50}
_LEGEND = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1, "yref": "container", "yanchor": "top"}
_SERIES = (("events", "events per LS"), ("pileup", "pile-up"), ("lumi", "luminosity"))


def _finish(figure: go.Figure, height: int, legend: bool = True) -> go.Figure:
    figure.update_xaxes(AXIS, zeroline=False)
    figure.update_yaxes(AXIS, zeroline=False)
    return figure.update_layout(LAYOUT, showlegend=legend, legend=_LEGEND, height=height, margin=_MARGIN)


def _trace(runs: Sequence[RunNumbers], i: int, named: bool, **more: Any) -> go.Scatter:
    """Return a trace in a run's colour; of all its traces in a figure, one stands in the legend."""
    return go.Scatter(name=runs[i].label, legendgroup=runs[i].label, showlegend=named, **more)


def _conditions(runs: Sequence[RunNumbers]) -> go.Figure:
    known = [
        (name, text)
        for name, text in _SERIES
        if any(name in run.series and run.series[name].notna().any() for run in runs)
    ]
    if not known:
        return None
    figure = make_subplots(rows=len(known), cols=1, shared_xaxes=True, vertical_spacing=0.06)
    for row, (name, text) in enumerate(known, start=1):
        for i, (run, colour) in enumerate(zip(runs, series_colours(len(runs)), strict=True)):
            if name in run.series:
                trace = _trace(
                    runs,
                    i,
                    row == 1,
                    x=run.series["ls"].to_numpy(np.int32),
                    y=run.series[name].to_numpy(np.float32),
                    mode="lines" if len(run.series) > 1 else "markers",
                    line={"color": colour, "width": 1.6, "shape": "hvh"},
                    hovertemplate=f"{run.label}<br>LS %{{x}}: %{{y:.5g}}<extra></extra>",
                )
                figure.add_trace(trace, row=row, col=1)
        figure.update_yaxes(title_text=text, rangemode="tozero", row=row, col=1)
    figure.update_xaxes(title_text="lumisection (LS)", row=len(known), col=1)
    return _finish(figure, 210 * len(known) + 110)


def _totals(runs: Sequence[RunNumbers], subdet: str) -> go.Figure:
    figure = make_subplots(rows=2, cols=2, horizontal_spacing=0.09, vertical_spacing=0.13)
    for row, quantity in enumerate(("total", "largest"), start=1):
        for column, against in enumerate(("ls", "events"), start=1):
            for i, run in enumerate(runs):
                if f"{quantity}_{subdet}" in run.series:
                    for trace in _points_and_line(runs, i, (subdet, quantity, against)):
                        figure.add_trace(trace, row=row, col=column)
            x = "lumisection (LS)" if against == "ls" else "events per LS"
            figure.update_xaxes(title_text=x, row=row, col=column)
            y = f"digis of {subdet} per LS" if quantity == "total" else "digis of the busiest channel"
            figure.update_yaxes(title_text=y, row=row, col=column)
    return _finish(figure, 760)


def _points_and_line(runs: Sequence[RunNumbers], i: int, what: tuple[str, str, str]) -> list[go.Scatter]:
    subdet, quantity, against = what
    run, colour = runs[i], series_colours(len(runs))[i]
    x = run.series[against].to_numpy(np.float64)
    y = run.series[f"{quantity}_{subdet}"].to_numpy(np.float64)
    fits = run.fits
    mine = (fits["subdet"] == subdet) & (fits["quantity"] == quantity) & (fits["against"] == against)
    fit = fits[mine].iloc[0]
    ls = run.series["ls"].to_numpy()
    points = _trace(
        runs,
        i,
        quantity == "total" and against == "ls",
        x=x.astype(np.float32),
        y=y.astype(np.float32),
        mode="markers",
        marker={
            "color": colour,
            "size": 5,
            "opacity": 0.75,
            "symbol": PLOTLY_MARKERS[i % len(PLOTLY_MARKERS)],
        },
        customdata=ls.astype(np.int32),
        hovertemplate=f"{run.label}, LS %{{customdata}}<br>%{{y:.6g}} digis<extra></extra>",
    )
    if not np.isfinite(fit["slope"]):
        return [points]
    ends = np.linspace(
        np.nanmin(x), np.nanmax(x), 9
    )  # some points in between, so that the line can be hovered
    line = _trace(
        runs,
        i,
        False,
        x=ends,
        y=fit["intercept"] + fit["slope"] * ends,
        mode="lines",
        line={"color": colour, "width": 2.2},
        hovertemplate=f"{run.label}<br>{line_text(fit)}<extra></extra>",
    )
    return [points, line]


def _rings(given: Exploration, subdet: str, quantity: str) -> go.Figure | None:
    parts = ring_values(given, subdet, quantity)
    depths = sorted({int(depth) for _, part in parts for depth in part["depth"].unique()})
    if not depths:
        return None
    columns = min(len(depths), 2 if len(depths) <= 4 else 4)
    rows = -(-len(depths) // columns)
    figure = make_subplots(
        rows=rows,
        cols=columns,
        shared_yaxes="all",
        subplot_titles=[f"<b>{subdet} depth {depth}</b>" for depth in depths],
        horizontal_spacing=0.03,
        vertical_spacing=0.18,
    )
    level = 1.0 if quantity == "variance" else 0.0
    least, most = ieta_ends(given.runs, subdet)
    places, texts = folded_ticks(least, most)
    reach = most - least + 2.0
    for number, depth in enumerate(depths):
        where = {"row": number // columns + 1, "col": number % columns + 1}
        for i, part in parts:
            trace = _ring_trace(given, (i, part[part["depth"] == depth]), quantity, number == 0)
            figure.add_trace(trace, **where)
        figure.update_xaxes(
            tickvals=places, ticktext=texts, range=[-reach, reach], title_text="ieta", **where
        )
        figure.add_hline(y=level, line={"color": "#444", "width": 1, "dash": "dash"}, **where)
    name = "variance / binomial" if quantity == "variance" else f"ln(rate / {given.runs[0].label})"
    figure.update_yaxes(title_text=name, col=1)
    if quantity == "variance":
        top = variance_top(given)
        figure.update_yaxes(range=[max(0.0, 2.0 - top), top])
    else:
        values = np.concatenate([[0.0], *(part["value"].to_numpy(np.float64) for _, part in parts)])
        edge = 0.06 * float(np.ptp(values)) or 0.01
        figure.update_yaxes(range=[float(values.min()) - edge, float(values.max()) + edge])
    return _finish(figure, 340 * rows + 80)


def _ring_trace(given: Exploration, part: tuple[int, pd.DataFrame], quantity: str, named: bool) -> go.Scatter:
    i, rings = part
    runs, subdet = given.runs, ""
    if len(rings):
        subdet = str(rings["subdet"].iloc[0])
    least = ieta_ends(runs, subdet)[0] if subdet else 1
    colour, value = series_colours(len(runs))[i], rings["value"].to_numpy(np.float64)
    top = variance_top(given) if quantity == "variance" else np.inf
    beyond = value > top
    shown = np.where(beyond, 1.0 + 0.94 * (top - 1.0) if np.isfinite(top) else 0.0, value)
    error = np.where(beyond, 0.0, rings["error"].to_numpy(np.float64))
    symbol = PLOTLY_MARKERS[i % len(PLOTLY_MARKERS)]
    texts = [
        f"{runs[i].label}<br>{row.subdet}{row.ieta:+d}d{row.depth}, {row.n_channels} channels"
        f"<br>{row.value:.4g} ± {row.error:.2g}"
        + (f"<br>median channel {row.typical:.4g}" if quantity == "variance" else "")
        for row in rings.itertuples()
    ]
    return _trace(
        runs,
        i,
        named,
        x=folded(rings["ieta"], least) + 0.6 * (i - (len(runs) - 1) / 2) / len(runs),
        y=shown,
        error_y={"array": error, "thickness": 1, "width": 0},
        mode="markers",
        marker={"color": colour, "size": 6, "symbol": np.where(beyond, "arrow-up", symbol).tolist()},
        hovertext=texts,
        hoverinfo="text",
    )


def run_figures(given: Exploration) -> dict[str, go.Figure]:
    """Return the figures by name: ``conditions``, and per subdetector ``totals-HE``, ``variance-HE``, ``drift-HE``."""
    runs = given.runs
    if not runs:
        return {}
    found = {"conditions": _conditions(runs)}
    for subdet in dict.fromkeys(subdet for run in runs for subdet in planes(run.channels)):
        found[f"totals-{subdet}"] = _totals(runs, subdet)
        found[f"variance-{subdet}"] = _rings(given, subdet, "variance")
        found[f"drift-{subdet}"] = _rings(given, subdet, "drift")
    return {name: figure for name, figure in found.items() if figure is not None}


def _image_panels(
    panels: Sequence[tuple[str, Floats]], limits: tuple[float, float], label: str, columns: int = 2
) -> go.Figure:
    """Return images with one colour scale; logarithmic if it starts above zero, symmetric if below."""
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    titles = [f"<b>{escape(title)}</b>" for title, _ in panels]
    gap = {"horizontal_spacing": 0.16 / columns, "vertical_spacing": 0.2 / rows}
    figure = make_subplots(rows=rows, cols=columns, subplot_titles=titles, **gap)
    logarithmic = limits[0] > 0
    for number, (_, image) in enumerate(panels):
        values = field_view(np.where(image == 0, np.nan, image))
        with np.errstate(invalid="ignore"):
            colour = np.log10(values) if logarithmic else values
        heat = go.Heatmap(
            x=np.arange(-32, 33),
            y=np.arange(1, 73),
            z=colour.astype(np.float32),
            customdata=field_view(image).astype(np.float32),
            coloraxis="coloraxis",
            hoverongaps=False,
            hovertemplate="ieta %{x}, iphi %{y}: %{customdata:.5g}<extra></extra>",
        )
        where = {"row": number // columns + 1, "col": number % columns + 1}
        figure.add_trace(heat, **where)
        figure.update_xaxes(title_text="ieta" if where["row"] == rows else "", **where)
        figure.update_yaxes(title_text="iphi" if where["col"] == 1 else "", **where)
    bar: dict[str, Any] = {"title": {"text": label, "side": "right"}, "thickness": 18, "outlinewidth": 1}
    ends = limits
    if logarithmic:
        ends = (float(np.log10(limits[0])), float(np.log10(limits[1])))
        ticks = np.linspace(*ends, 6)
        bar |= {"tickvals": ticks.tolist(), "ticktext": [short(10**tick, 3) for tick in ticks]}
    scale = colour_scale("evidence" if limits[0] < 0 else "occupancy")
    axis = {"cmin": ends[0], "cmax": ends[1], "colorscale": scale, "colorbar": bar}
    _finish(figure, (430 if columns < 4 else 330) * rows + 90, legend=False)
    figure.update_xaxes(range=[-32.5, 32.5], showgrid=False)
    figure.update_yaxes(range=[0.5, 72.5], tickvals=[1, 18, 36, 54, 72], showgrid=False)
    width = 800 if len(panels) == 1 else None
    return figure.update_layout(coloraxis=axis, plot_bgcolor="#eeeeee", width=width)


def _lines(given: Exploration, edges: Floats, heights: Sequence[Floats], names: tuple[str, str]) -> go.Figure:
    figure = go.Figure()
    for each, colour, y in zip(given.images, series_colours(len(given.images)), heights, strict=True):
        figure.add_scatter(
            x=edges,
            y=np.append(y, y[-1]),
            mode="lines",
            line={"color": colour, "width": 1.8, "shape": "hv"},
            name=escape(each.label),
            hovertemplate="%{x:.4g}: %{y:.4g}<extra>" + escape(each.label) + "</extra>",
        )
    figure.update_xaxes(title_text=names[0])
    figure.update_yaxes(title_text=names[1])
    return _finish(figure, 430)


def _course(given: Exploration) -> go.Figure:
    figure = go.Figure()
    for each, colour in zip(given.images, series_colours(len(given.images)), strict=True):
        figure.add_scattergl(
            y=each.level.astype(np.float32),
            mode="markers",
            marker={"color": colour, "size": 3},
            name=escape(each.label),
            hovertemplate="image %{x}: mean %{y:.5g}<extra></extra>",
        )
    figure.update_xaxes(title_text="image")
    figure.update_yaxes(title_text="mean of the image (all cells)", rangemode="tozero")
    return _finish(figure, 380)


def image_figures(given: Exploration) -> dict[str, go.Figure]:
    """Return the figures of the image sets by name."""
    sets = given.images
    if not sets:
        return {}
    means = [(f"{each.label}, {each.n} images", each.mean) for each in sets]
    samples = [
        (f"{each.label}, image {number}", image)
        for each in sets
        for image, number in zip(each.samples, each.sample_numbers, strict=True)
    ]
    level_edges = np.histogram_bin_edges(np.concatenate([each.level for each in sets]), 60)
    levels = [np.histogram(each.level, level_edges)[0] / each.n for each in sets]
    columns = max(len(each.sample_numbers) for each in sets)
    values = _lines(
        given,
        given.value_edges,
        [np.where(each.distribution > 0, each.distribution, np.nan) for each in sets],
        ("value of a cell (zeros left out)", "cells per image and bin"),
    )
    found = {
        "images-mean": _image_panels(means, log_limits([image for _, image in means]), "mean (log)"),
        "images-frequency": _image_panels(
            [(each.label, each.frequency) for each in sets], (0.0, 1.0), "share of images"
        ),
        "images-samples": _image_panels(samples, log_limits([x for _, x in samples]), "value (log)", columns),
        "images-values": values.update_yaxes(type="log", exponentformat="power"),
        "images-levels": _lines(
            given, level_edges, levels, ("mean of an image (all cells)", "share of images")
        ),
        "images-course": _course(given),
    }
    for quantity, label in (("mean", "difference of means"), ("frequency", "difference of shares")):
        if len(sets) > 1:
            panels = [
                (
                    difference_title(each, sets[0], quantity),
                    getattr(each, quantity) - getattr(sets[0], quantity),
                )
                for each in sets[1:]
            ]
            reach = max(float(np.abs(image).max()) for _, image in panels) or 1.0
            found[f"images-{quantity}-difference"] = _image_panels(panels, (-reach, reach), label)
    return found
