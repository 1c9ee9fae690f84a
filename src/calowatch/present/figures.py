"""Plotly figures of the report: the run against lumisections, and one unit through the run."""

from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from calowatch.core.schema import UNKNOWN_EVENTS
from calowatch.detect.verdict import Verdict
from calowatch.present.averages import Exposure, exposure, unit_course, verdict_columns
from calowatch.present.given import ReportInput
from calowatch.present.palette import NO_VERDICT_COLOUR, STATES, in_words, state_of

__all__ = ["AXIS", "LAYOUT", "run_figure", "stretches", "unit_figure"]

BLUE, GREY, RED = "#0072b2", "#8a8a8a", "#d55e00"
AXIS = {"showline": True, "linecolor": "#444", "mirror": True, "ticks": "outside", "gridcolor": "#e6e6e6"}
LAYOUT: dict[str, Any] = {
    "template": "none",
    "paper_bgcolor": "white",
    "plot_bgcolor": "white",
    "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#1c1c1c"},
    "showlegend": False,
}
_CONDITIONS = (("pileup", "pile-up"), ("lumi", "luminosity"))


def stretches(ls: npt.ArrayLike) -> list[tuple[int, int]]:
    """Return runs of consecutive lumisections as (first, last).

    Examples
    --------
    >>> stretches([3, 4, 5, 9])
    [(3, 5), (9, 9)]
    """
    numbers = np.unique(np.asarray(ls, np.int64))
    pieces = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    return [(int(piece[0]), int(piece[-1])) for piece in pieces if piece.size]


def _shade_no_verdict(figure: go.Figure, given: ReportInput, **where: Any) -> None:
    for first, last in stretches(given.no_verdict_ls):
        figure.add_vrect(
            x0=first - 0.5, x1=last + 0.5, fillcolor=NO_VERDICT_COLOUR, line_width=0, layer="below", **where
        )


def _run_series(given: ReportInput, exposed: Exposure) -> list[tuple[str, npt.NDArray[np.float64]]]:
    """Return (label, value per lumisection) of what the run's summary shows."""
    occupancy = given.occupancy
    events = occupancy["n_events"].to_numpy().astype(np.float64)
    hits = occupancy["counts"].to_numpy().sum(axis=1, dtype=np.int64).astype(np.float64)
    series = []
    events[events == UNKNOWN_EVENTS] = np.nan
    if np.isfinite(events).any():
        series.append(("events per LS", events))
    if exposed.known:
        hits /= np.where(events > 0, events, np.nan)
    series += [(label, occupancy[name].to_numpy()) for name, label in _CONDITIONS if name in occupancy]
    series.append(("hits per event" if exposed.known else "hits per LS", hits))
    return series


def run_figure(given: ReportInput) -> go.Figure:
    """Return events, conditions and total occupancy against lumisections; those without a verdict are shaded."""
    series = _run_series(given, exposure(given.occupancy))
    figure = make_subplots(rows=len(series), cols=1, shared_xaxes=True, vertical_spacing=0.06)
    ls = given.occupancy["ls"].to_numpy()
    for row, (label, values) in enumerate(series, start=1):
        trace = go.Scatter(
            x=ls.astype(np.int32),
            y=values.astype(np.float32),
            mode="lines" if ls.size > 1 else "markers",
            line={"color": BLUE, "width": 1.6, "shape": "hvh"},
            hovertemplate="LS %{x}: %{y:.4g}<extra></extra>",
        )
        figure.add_trace(trace, row=row, col=1)
        figure.update_yaxes(title={"text": label, "font": {"size": 12}}, rangemode="tozero", row=row, col=1)
        _shade_no_verdict(figure, given, row=row, col=1)
    figure.update_xaxes(AXIS)
    figure.update_yaxes(AXIS)
    figure.update_xaxes(title_text="lumisection (LS)", row=len(series), col=1)
    return figure.update_layout(
        LAYOUT, height=115 * len(series) + 60, margin={"l": 75, "r": 15, "t": 10, "b": 50}
    )


def _top_of_ratio(ratio: npt.NDArray[np.float64], spread: npt.NDArray[np.float64]) -> float:
    finite = ratio[np.isfinite(ratio)]
    band = float(np.max(2 * spread[np.isfinite(spread)], initial=0.0))
    return max(1.25, 1.08 * float(np.max(finite, initial=0.0)), 1.1 + min(band, 1.0))


def unit_figure(given: ReportInput, exposed: Exposure, verdict: Verdict) -> go.Figure:
    """Return digis over expectation of a unit against lumisections.

    The grey band holds a healthy unit 95 times in 100 (two binomial standard deviations); the stretch of the failure
    is shaded; lumisections without a verdict are drawn hollow.
    """
    course = unit_course(given, exposed, verdict_columns(verdict, given.occupancy))
    ls, colour = course.ls.astype(np.int32), STATES[state_of(verdict)].colour
    low, high = np.maximum(0.0, 1 - 2 * course.spread), 1 + 2 * course.spread
    hollow = np.isin(ls, list(given.no_verdict_ls))
    figure = go.Figure()
    figure.add_vrect(
        x0=verdict.first_ls - 0.5,
        x1=verdict.last_ls + 0.5,
        fillcolor=colour,
        opacity=0.13,
        line_width=0,
        layer="below",
    )
    nothing = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    figure.add_trace(go.Scatter(x=ls, y=high.astype(np.float32), **nothing))
    band = {"fill": "tonexty", "fillcolor": "rgba(120,120,120,0.28)"}
    figure.add_trace(go.Scatter(x=ls, y=low.astype(np.float32), **nothing, **band))
    figure.add_hline(y=1.0, line={"color": "#444", "width": 1, "dash": "dash"})
    figure.add_trace(
        go.Scatter(
            x=ls,
            y=course.ratio.astype(np.float32),
            mode="lines+markers",
            line={"color": colour, "width": 1},
            marker={
                "size": 5 if ls.size <= 400 else 3,
                "color": np.where(hollow, "#ffffff", colour).tolist() if hollow.any() else colour,
                "line": {"color": colour, "width": 1},
            },
            hovertemplate="LS %{x}: %{y:.3f} of expected<extra></extra>",
        )
    )
    top = _top_of_ratio(course.ratio, course.spread)
    figure.update_xaxes(AXIS, title_text="lumisection (LS)", range=[int(ls[0]) - 0.8, int(ls[-1]) + 0.8])
    figure.update_yaxes(AXIS, title_text="seen / expected", range=[0, top])
    title = (
        f"<b>{escape(verdict.title)}</b>  {in_words(verdict.kind)}, LS {verdict.first_ls}-{verdict.last_ls}"
    )
    return figure.update_layout(
        LAYOUT,
        title={"text": title, "x": 0.02, "font": {"size": 15}},
        height=270,
        margin={"l": 60, "r": 12, "t": 40, "b": 45},
    )
