"""Figures of a campaign."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from calowatch.metrics.intervals import clopper_pearson
from calowatch.present.campaign_numbers import AXES, SAID, TRUTH, Cell, Result, figures_of, interval, on_axis
from calowatch.present.panels import Form, Panel, Series

__all__ = ["panels_of"]

Floats = npt.NDArray[np.floating[Any]]

# Bounds black and networks in the colours of Okabe and Ito; baselines grey, dashed and marked, so that what is learned
# stands out. Whatever repeats a colour differs by mark and dash.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a4b00")
_MARKS = ("o", "s", "^", "D", "v", "P", "*", "<", ">", "h")
_GREYS = ("#8a8a8a", "#4d4d4d", "#b0b0b0", "#6b6b6b")
_BASELINE_MARKS = ("o", "s", "^", "v", "D")
_ARROW = 2.2  # an arrow ends at its mark over this
_STEP, _ROOM = 0.1, 0.75  # between open marks of one place, and for all of them, in places
_NOTHING = 1e-12  # zero on a logarithmic axis: below every axis that is drawn
_NONE_ABOVE = "none above, ≤ (Clopper-Pearson)"
_UNORDERED = ("shift", "unit")  # axes whose places have no order: nothing joins them


@dataclass(frozen=True)
class _Style:
    colour: str
    mark: str
    dash: str
    group: str


_KNOWN = _Style("#000000", "D", ":", "bounds")
_TRUE = _Style("#000000", "s", "-", "bounds")


def _style(result: Result) -> dict[str, _Style]:
    """Return how each model is drawn, baselines before networks."""
    known = [who for who in result["contestants"] if who["name"] != TRUTH]
    learned = [who["name"] for who in known if who["kind"] == "network"]
    plain = [who["name"] for who in known if who["kind"] != "network"]
    found = {
        name: _Style(_GREYS[i % len(_GREYS)], _BASELINE_MARKS[i % len(_BASELINE_MARKS)], "--", "baselines")
        for i, name in enumerate(plain)
    }
    for i, name in enumerate(learned):
        dash = ("-", ":")[(i // len(_COLOURS)) % 2]
        found[name] = _Style(_COLOURS[i % len(_COLOURS)], _MARKS[i % len(_MARKS)], dash, "networks")
    return found


@dataclass(frozen=True, eq=False)
class _Curve:
    """What one model has along an axis: rates with their edges, (place, 3), NaN where there is none."""

    label: str
    style: _Style
    told: Floats

    @property
    def nothing(self) -> npt.NDArray[np.bool_]:
        """Where none was seen, so that only the upper edge says anything."""
        return np.asarray((self.told[:, 0] == 0) & (self.told[:, 2] > 0))


def _curves(result: Result, cells: Sequence[tuple[str, Cell]], evidence: str) -> list[_Curve]:
    rows = [("all known", TRUTH, "known", _KNOWN), ("true p, mixture", TRUTH, "mixture", _TRUE)]
    rows += [(name, name, evidence, style) for name, style in _style(result).items()]
    none = (np.nan,) * 3
    found = [
        _Curve(label, style, np.array([interval(cell, model, by) or none for _, cell in cells]))
        for label, model, by, style in rows
    ]
    return [curve for curve in found if np.isfinite(curve.told[:, 0]).any()]


def _seen(x: Floats, curve: _Curve, form: Form = "both") -> list[Series]:
    """Return what was measured, with its intervals, joined between neighbours."""
    style = curve.style
    value, low, high = np.where(curve.told[:, :1] > 0, curve.told, np.nan).T
    mark, group = style.mark, style.group
    # The bars have no entry of their own in the legend; a lower edge of zero reaches down to the end of the axis.
    bars = Series(x, value, "", style.colour, "points", style.dash, mark, np.fmax(low, _NOTHING), high, group)
    return [bars, Series(x, value, curve.label, style.colour, form, style.dash, mark, group=group)]


def _unseen(x: Floats, edges: Floats, style: _Style) -> list[Series]:
    """Return open marks at upper edges, an arrow down from each."""
    tip = edges / _ARROW
    gap = np.full_like(edges, np.nan)
    across, down = (np.stack(each, 1).ravel() for each in ((x, x, gap), (edges, tip, gap)))
    return [
        Series(across, down, "", style.colour, "line", group=style.group),
        Series(x, tip, "", style.colour, "points", "-", "v", group=style.group),
        Series(x, edges, "", style.colour, "points", "-", style.mark, group=style.group, hollow=True),
    ]


def _aside(shown: npt.NDArray[np.bool_]) -> Floats:
    """Return how far to the side each curve stands at each place, so that equal values are all seen."""
    n = shown.sum(axis=0)
    rank = shown.cumsum(axis=0) - 1
    return np.where(shown, (rank - (n - 1) / 2) * np.minimum(_STEP, _ROOM / np.maximum(n, 1)), 0.0)


def _along(curves: Sequence[_Curve], *, ordered: bool) -> list[Series]:
    """Return the curves over 0, 1, 2 ...: joined where their places have an order, all side by side where not."""
    x = np.arange(len(curves[0].told), dtype=np.float64)
    nothing = np.array([curve.nothing for curve in curves])
    aside = _aside(nothing if ordered else np.ones_like(nothing))
    series = list[Series]()
    for curve, to_side in zip(curves, aside, strict=True):
        series += _seen(x, curve) if ordered else _seen(x + to_side, curve, "points")
    for curve, to_side in zip(curves, aside, strict=True):
        if (none := curve.nothing).any():
            series += _unseen((x + to_side)[none], curve.told[none, 2], curve.style)
    return [_entry(_NONE_ABOVE), *series] if nothing.any() else series


def _lowest(curves: Sequence[_Curve]) -> float:
    """Return the lower end of an axis that shows every value and every arrow."""
    edges = [curve.told[curve.nothing, 2].min(initial=1.0) / _ARROW for curve in curves]
    values = [curve.told[curve.told[:, 0] > 0, 0].min(initial=1.0) for curve in curves]
    return float(min(1.0, *edges, *values)) / 2


def _entry(words: str, mark: str = "o") -> Series:
    """Return an entry of the legend that says what an open mark is; first, so that a long legend shows it too."""
    return Series([np.nan], [np.nan], words, "#444444", "points", "-", mark, group="zeros", hollow=True)


def panels_of(result: Result) -> dict[str, Panel]:
    """Return the figures by name."""
    found = {}
    for axis in ("factor", "duration", "ring", "statistics", "shift", "unit"):
        cells = on_axis(result, axis)
        if len(cells) < 2:
            continue
        for kind, words in (
            ("source", "source score"),
            ("evidence", "calibrated mixture on the same weights"),
        ):
            found[f"{axis}-{kind}"] = _axis_panel(result, axis, kind, words)
    points = {"roc": result["cells"][0]}
    for cell in result["cells"]:
        if cell["factor"] == 0.9 and cell["conditions"] == result["campaign"]["base"]["conditions"]:
            points["roc-0.9"] = cell
    for name, cell in points.items():
        found[f"{name}-source"] = _roc_panel(result, cell, "source")
        found[f"{name}-evidence"] = _roc_panel(result, cell, "calibrated")
    found["false-alarms"] = _alarm_panel(result)
    return found


def _axis_panel(result: Result, axis: str, kind: str, words: str) -> Panel:
    cells = on_axis(result, axis)
    curves = _curves(result, cells, "source" if kind == "source" else "calibrated")
    return Panel(
        f"{AXES[axis]}: {words}",
        AXES[axis].lower(),
        "false-positive rate at 99 % capture",
        _along(curves, ordered=axis not in _UNORDERED),
        y_log=True,
        y_ends=(_lowest(curves), 1.5),
        x_ends=(-0.5, len(cells) - 0.5),
        ticks=[label.replace(" runs, later", ",\nlater") for label, _ in cells],
        beside=True,
    )


def _roc_panel(result: Result, cell: Cell, evidence: str) -> Panel:
    rows = [(TRUTH, "known", _KNOWN), *((name, evidence, style) for name, style in _style(result).items())]
    series = list[Series]()
    for model, by, style in rows:
        told = figures_of(cell, model, by)
        if told is None:
            continue
        curve = np.array(told["channel"]["curve"])
        label = SAID[by] if model == TRUTH else model
        seen = np.where(curve[:, 0] > 0, curve[:, 0], np.nan)
        series.append(
            Series(seen, curve[:, 1], label, style.colour, "both", style.dash, style.mark, group=style.group)
        )
        edge = clopper_pearson(0, told["channel"]["n_healthy"])[1]
        series += _unseen_share(curve[curve[:, 0] == 0, 1], edge, style)
    if any(each.hollow for each in series):
        series.insert(0, _entry(_NONE_ABOVE))
    place = f"factor {cell['factor']:g}, {cell['duration']} LS, {cell['ring']} rings, {cell['said']}"
    title = f"ROC, {SAID[evidence]}: {place}"
    x, y = "false-positive rate per channel-window", "share of faults captured"
    return Panel(title, x, y, series, x_log=True, beside=True)


def _unseen_share(share: Floats, edge: float, style: _Style) -> list[Series]:
    """Return an open mark at the upper edge of a rate of zero, an arrow to the left from it."""
    found = list[Series]()
    for y in share[-1:]:
        found += [
            Series([edge / _ARROW, edge], [y, y], "", style.colour, "line", group=style.group),
            Series([edge / _ARROW], [y], "", style.colour, "points", "-", "<", group=style.group),
            Series([edge], [y], "", style.colour, "points", "-", style.mark, group=style.group, hollow=True),
        ]
    return found


def _alarm_panel(result: Result) -> Panel:
    main = result["campaign"]["healthy"]
    names = [who["name"] for who in result["contestants"]]
    series = list[Series]()
    none = False
    for i, evidence in enumerate(("source", "z", "calibrated")):
        told = [
            who["false_alarms"][main].get(evidence, {}).get("per_day", [np.nan] * 3)
            for who in result["contestants"]
        ]
        x = np.arange(len(names)) + 0.15 * (i - 1)
        curve = _Curve(SAID[evidence], _Style(_COLOURS[i], _MARKS[i], "-", ""), np.array(told, np.float64))
        series += _seen(x, curve, "points")
        if (nothing := curve.nothing).any():
            none = True
            series += _unseen(x[nothing], curve.told[nothing, 2], curve.style)
    if none:
        series.insert(0, _entry("no alarm, ≤ (exact Poisson)"))
    expected = result["campaign"]["judgement"]["channel_rate"] * result["n_channels"] * 86400 / 23.31
    expected /= result["campaign"]["window"]
    line = Series(
        [-0.5, len(names) - 0.5], [expected] * 2, "what the threshold was fixed for", "#8a8a8a", "line", ":"
    )
    return Panel(
        f"False alarms on {result['pools'][main]['n_ls']:,} healthy LS",
        "model",
        "false alarms in 24 h",
        [line, *series],
        y_log=True,
        x_ends=(-0.5, len(names) - 0.5),
        ticks=names,
        beside=True,
    )
