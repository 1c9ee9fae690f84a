"""Figures of a campaign."""

from collections.abc import Iterator, Sequence

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

# Okabe and Ito, the bound in black; networks share the rest, told apart by marks and dashes too.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a4b00")
_MARKS = ("o", "s", "^", "D", "v", "x")
_DASHES = ("-", "--", ":")


def _style(result: Result) -> dict[str, tuple[str, str, str]]:
    """Return colour, mark and dash of each model."""
    names = [who["name"] for who in result["contestants"] if who["name"] != TRUTH]
    n, m = len(_COLOURS), len(_MARKS)
    return {name: (_COLOURS[i % n], _MARKS[i % m], _DASHES[(i // n) % 3]) for i, name in enumerate(names)}


def _bounds(cells: Sequence[tuple[str, Cell]]) -> list[Series]:
    x = np.arange(len(cells), dtype=np.float64)
    known = [_shown(cell, TRUTH, "known") for _, cell in cells]
    mixture = [_shown(cell, TRUTH, "mixture") for _, cell in cells]
    return [
        Series(x, known, "bound: all known", "#000000", "both", ":", "x"),
        Series(x, mixture, "true p, mixture", "#000000", "both", "--", "x"),
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
    found["roc"] = _roc_panel(result, result["cells"][0])
    for cell in result["cells"]:
        if cell["factor"] == 0.9 and cell["conditions"] == result["campaign"]["base"]["conditions"]:
            found["roc-0.9"] = _roc_panel(result, cell)
    found["false-alarms"] = _alarm_panel(result)
    return found


def _axis_panel(result: Result, axis: str, kind: str, words: str) -> Panel:
    cells = on_axis(result, axis)
    x = np.arange(len(cells), dtype=np.float64)
    series = _bounds(cells)
    for name, (colour, mark, dash) in _style(result).items():
        evidence = "source" if kind == "source" else "calibrated"
        y = [_shown(cell, name, evidence) for _, cell in cells]
        if np.isfinite(y).any():
            series.append(Series(x, y, name, colour, "both", dash, mark))
    return Panel(
        f"{AXES[axis]}: {words}",
        AXES[axis].lower(),
        "false-positive rate at 99 % capture",
        series,
        y_log=True,
        y_ends=(5e-8, 1.5),
        x_ends=(-0.4, len(cells) - 0.6),
        ticks=[label.replace(" runs, later", ",\nlater") for label, _ in cells],
    )


def _roc_panel(result: Result, cell: Cell) -> Panel:
    series = []
    for model, evidence, colour, dash, mark in _roc_rows(result):
        told = figures_of(cell, model, evidence)
        if told is None:
            continue
        curve = np.array(told["channel"]["curve"])
        least = 0.5 / told["channel"]["n_healthy"]
        label = f"{model}, {SAID[evidence]}"
        series.append(Series(np.maximum(curve[:, 0], least), curve[:, 1], label, colour, "both", dash, mark))
    title = f"ROC: factor {cell['factor']:g}, {cell['duration']} LS, {cell['ring']} rings, {cell['said']}"
    return Panel(
        title, "false-positive rate per channel-window", "share of faults captured", series, x_log=True
    )


def _roc_rows(result: Result) -> Iterator[tuple[str, str, str, str, str]]:
    yield TRUTH, "known", "#000000", ":", "x"
    for name, (colour, mark, _) in _style(result).items():
        yield name, "calibrated", colour, "-", mark
        yield name, "source", colour, "--", mark


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
    )
