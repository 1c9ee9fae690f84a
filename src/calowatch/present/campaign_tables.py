"""Tables of a campaign."""

from collections.abc import Mapping
from typing import Any

from calowatch.present.campaign_numbers import (
    NONE,
    SAID,
    Cell,
    Result,
    figures_of,
    number,
    on_axis,
    rate_told,
    rows_of,
    with_interval,
    with_range,
)
from calowatch.present.panels_page import Table

__all__ = ["axis_table", "base_rows", "cost_table", "daily_table", "finding_table", "point_table"]


def axis_table(result: Result, axis: str, level: str = "channel") -> Table:
    """Return false-positive rates at 99 % capture along an axis."""
    cells = on_axis(result, axis)
    rows = []
    for model, evidence in rows_of(result):
        row = [f"{model}, {SAID[evidence]}"]
        for _, cell in cells:
            told = (figures_of(cell, model, evidence) or {}).get(level)
            row.append(with_range(told["fpr"]["0.99"] if told else None))
        rows.append(row)
    return Table(["model, evidence", *(_column(label, cell) for label, cell in cells)], rows)


def _column(label: str, cell: Cell) -> str:
    if not cell["n_faults"]:
        return f"{label} (saturated)"
    share = cell["n_saturated"] / max(cell["n_units"], 1)
    return f"{label} ({share:.0%} saturated)" if share > 0.005 else label


def point_table(result: Result, cell: Cell) -> Table:
    """Return every figure of one cell, with intervals."""
    head = [
        "model, evidence",
        "FPR at 90 %",
        "95 %",
        "99 %",
        "ROC-AUC",
        "PR-AUC",
        "precision",
        "recall",
        "F1",
    ]
    rows = []
    for model, evidence in rows_of(result):
        told = figures_of(cell, model, evidence)
        if told is None:
            continue
        channel, decision = told["channel"], told.get("decision", {})
        row = [f"{model}, {SAID[evidence]}"]
        row += [with_interval(channel["fpr"][capture]) for capture in ("0.9", "0.95", "0.99")]
        row += [with_interval(channel[name], ".4f") for name in ("roc_auc", "pr_auc")]
        row += [with_interval(decision.get(name), ".3f") for name in ("precision", "recall", "f1")]
        rows.append(row)
    return Table(head, rows)


def finding_table(result: Result, axis: str) -> Table:
    """Return shares of faults found and rightly named at the threshold fixed beforehand, and their delay."""
    cells = on_axis(result, axis)
    rows = []
    for model, evidence in rows_of(result):
        if evidence == "known":
            continue
        row = [f"{model}, {SAID[evidence]}"]
        for _, cell in cells:
            decision = (figures_of(cell, model, evidence) or {}).get("decision")
            row.append(_finding(decision) if decision else NONE)
        rows.append(row)
    return Table(["model, evidence", *(label for label, _ in cells)], rows)


def _finding(decision: Mapping[str, Any]) -> str:
    named, late = decision["named"], decision["delay_ls"]["0.5"]
    name = NONE if named is None else f"{named[0]:.0%}"
    return f"{decision['found'][0]:.0%} / {name} / {NONE if late is None else f'{late:g}'}"


def cost_table(result: Result) -> Table:
    """Return parameters, times and false alarms of every model."""
    head = ["model", "evidence", "parameters", "training [s]", "ms per LS", "false alarms in 24 h"]
    head += [f"in 24 h, {pool['said']}" for name, pool in _shifts(result)]
    rows = []
    main = result["campaign"]["healthy"]
    for who in result["contestants"]:
        for evidence in who["evidences"]:
            daily = who["false_alarms"][main][evidence]["per_day"]
            row = [who["name"], SAID[evidence], _count(who["n_parameters"]), _count(who["training_seconds"])]
            row += [number(who["ms_per_ls"]), with_interval(daily)]
            row += [number(who["false_alarms"][name][evidence]["per_day"][0]) for name, _ in _shifts(result)]
            rows.append(row)
    return Table(head, rows)


def _shifts(result: Result) -> list[tuple[str, Mapping[str, Any]]]:
    skip = ("training", "validation", result["campaign"]["healthy"])
    return [(name, pool) for name, pool in result["pools"].items() if name not in skip]


def _count(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}"


def daily_table(result: Result) -> Table:
    """Return the share of faults found at one false alarm a day, along the factors."""
    cells = on_axis(result, "factor")
    rows = []
    for model, evidence in rows_of(result):
        if evidence == "known":
            continue
        told = [(figures_of(cell, model, evidence) or {}).get("one_a_day") for _, cell in cells]
        rows.append(
            [f"{model}, {SAID[evidence]}", *(NONE if t is None else f"{t['found']:.1%}" for t in told)]
        )
    return Table(["model, evidence", *(label for label, _ in cells)], rows)


def base_rows(result: Result) -> list[list[str]]:
    """Return the base point in five columns: who, rate at 99 % capture, AUC, recall, false alarms in 24 h."""
    base, main = result["cells"][0], result["campaign"]["healthy"]
    alarms = {who["name"]: who["false_alarms"][main] for who in result["contestants"]}
    rows = []
    for model, evidence in rows_of(result):
        told = figures_of(base, model, evidence)
        if told is None:
            continue
        daily = alarms[model].get(evidence)
        recall = told.get("decision", {}).get("recall")
        rows.append(
            [
                f"{model}, {SAID[evidence]}",
                rate_told(base, model, evidence),
                f"{told['channel']['roc_auc'][0]:.4f}",
                NONE if recall is None else f"{recall[0]:.3f}",
                NONE if daily is None else number(daily["per_day"][0]),
            ]
        )
    return rows
