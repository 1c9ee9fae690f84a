"""Figures of a campaign."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calowatch.present.campaign_numbers import (
    AXES,
    SAID,
    TRUTH,
    Cell,
    Result,
    figures_of,
    least_of,
    on_axis,
    rate,
)
from calowatch.present.panels import Panel, Series

__all__ = ["panels_of"]

# Bounds black and networks in the colours of Okabe and Ito; baselines grey, dashed and marked, so that what is learned
# stands out. Whatever repeats a colour differs by mark and dash.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a4b00")
_MARKS = ("o", "s", "^", "D", "v", "P", "*", "<", ">", "h")
_GREYS = ("#8a8a8a", "#4d4d4d", "#b0b0b0", "#6b6b6b")
_BASELINE_MARKS = ("o", "s", "^", "v", "D")


@dataclass(frozen=True)
class _Style:
    colour: str
    mark: str
    dash: str
    group: str


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


def _bounds(cells: Sequence[tuple[str, Cell]]) -> list[Series]:
    x = np.arange(len(cells), dtype=np.float64)
    known = [_shown(cell, TRUTH, "known") for _, cell in cells]
    mixture = [_shown(cell, TRUTH, "mixture") for _, cell in cells]
    return [
        Series(x, known, "all known", "#000000", "both", ":", "x", group="bounds"),
        Series(x, mixture, "true p, mixture", "#000000", "both", "-", "x", group="bounds"),
    ]


def _shown(cell: Cell, model: str, evidence: str | None) -> float:
    """Return a rate for a logarithmic axis: zero stands half a sample above nothing."""
    value = rate(cell, model, evidence) if evidence else None
    return (
        float("nan")
        if value is None or evidence is None
        else max(value, 0.5 * least_of(cell, model, evidence))
    )


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
    x = np.arange(len(cells), dtype=np.float64)
    series = _bounds(cells)
    for name, style in _style(result).items():
        evidence = "source" if kind == "source" else "calibrated"
        y = [_shown(cell, name, evidence) for _, cell in cells]
        if np.isfinite(y).any():
            series.append(Series(x, y, name, style.colour, "both", style.dash, style.mark, group=style.group))
    return Panel(
        f"{AXES[axis]}: {words}",
        AXES[axis].lower(),
        "false-positive rate at 99 % capture",
        series,
        y_log=True,
        y_ends=(5e-8, 1.5),
        x_ends=(-0.4, len(cells) - 0.6),
        ticks=[label.replace(" runs, later", ",\nlater") for label, _ in cells],
        beside=True,
    )


def _roc_panel(result: Result, cell: Cell, evidence: str) -> Panel:
    black = _Style("#000000", "x", ":", "bounds")
    rows = [(TRUTH, "known", black), *((name, evidence, style) for name, style in _style(result).items())]
    series = []
    for model, by, style in rows:
        told = figures_of(cell, model, by)
        if told is None:
            continue
        curve = np.array(told["channel"]["curve"])
        shown = np.maximum(curve[:, 0], 0.5 / told["channel"]["n_healthy"])
        label = SAID[by] if model == TRUTH else model
        series.append(
            Series(shown, curve[:, 1], label, style.colour, "both", style.dash, style.mark, group=style.group)
        )
    place = f"factor {cell['factor']:g}, {cell['duration']} LS, {cell['ring']} rings, {cell['said']}"
    title = f"ROC, {SAID[evidence]}: {place}"
    x, y = "false-positive rate per channel-window", "share of faults captured"
    return Panel(title, x, y, series, x_log=True, beside=True)


def _alarm_panel(result: Result) -> Panel:
    main = result["campaign"]["healthy"]
    names = [who["name"] for who in result["contestants"]]
    series = []
    for i, evidence in enumerate(("source", "z", "calibrated")):
        told = [
            who["false_alarms"][main].get(evidence, {}).get("per_day", [np.nan] * 3)
            for who in result["contestants"]
        ]
        value, low, high = (np.array([each[k] for each in told], np.float64) for k in range(3))
        x = np.arange(len(names)) + 0.15 * (i - 1)
        floor = 0.1
        points = np.maximum(value, floor)
        mark = _MARKS[i]
        series.append(
            Series(x, points, SAID[evidence], _COLOURS[i], "points", "-", mark, np.maximum(low, floor), high)
        )
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
