"""The result of a campaign as one document: who, where, and every figure with its interval."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from calowatch.core.provenance import commit, provenance
from calowatch.evaluate.campaign.alarms import HealthyRecord, alarm_rate, read_healthy, threshold_of_a_day
from calowatch.evaluate.campaign.cells import Cell, cells_of
from calowatch.evaluate.campaign.evidence import EVIDENCES
from calowatch.evaluate.campaign.judging import cell_path
from calowatch.evaluate.campaign.models import TRUTH, Contestant, card
from calowatch.evaluate.campaign.scoring import Workbench

__all__ = ["Result", "collect", "long_table"]

Result = Mapping[str, Any]
"""The document, ready for JSON."""


def collect(work: Workbench, everyone: Sequence[Contestant]) -> Result:
    """Return the result of a campaign that has been scored.

    Parameters
    ----------
    work
        The campaign and its files.
    everyone
        Who took part, the bound first.
    """
    campaign = work.campaign
    records = {who.name: _records(work, who) for who in everyone}
    cells = []
    for cell in cells_of(campaign):
        told = {who.name: json.loads(cell_path(work, who, cell).read_text()) for who in everyone}
        head = {key: value for key, value in told[TRUTH].items() if key != "evidences"}
        figures = {name: each["evidences"] for name, each in told.items()}
        for who in everyone:
            _add_daily(work, (who, cell), figures[who.name], records[who.name])
        cells.append({**_cell_card(work, cell), **head, "figures": figures})
    return {
        "campaign": campaign.model_dump(mode="json"),
        "pools": work.data.describe(),
        "n_channels": len(work.data.table),
        "contestants": [_contestant(work, who, records[who.name]) for who in everyone],
        "cells": cells,
        "provenance": {
            **provenance(
                "evaluate campaign",
                seed=campaign.seed,
                sources=[{"name": who.name, "sha256": who.digest} for who in everyone if who.folder],
                options={"campaign": campaign.name},
            ),
            "commit": commit(),
        },
    }


def _records(work: Workbench, who: Contestant) -> dict[str, HealthyRecord]:
    folder = work.bench.folder(who)
    names = [name for name in work.data.pools if name not in ("training", "validation")]
    return {name: read_healthy(folder, work.data.pools[name]) for name in names}


def _cell_card(work: Workbench, cell: Cell) -> dict[str, Any]:
    return {
        "name": cell.name,
        "axes": [list(entry) for entry in cell.axes],
        "unit": cell.unit,
        "factor": cell.factor,
        "duration": "end" if cell.open_end else cell.duration,
        "ring": cell.ring,
        "conditions": cell.conditions,
        "said": work.data.pools[cell.conditions].said,
    }


def _contestant(work: Workbench, who: Contestant, records: Mapping[str, HealthyRecord]) -> dict[str, Any]:
    main = records[work.campaign.healthy]
    pools = work.data.pools
    seen = sum(record.n_ls for record in records.values())
    return {
        **card(who),
        "evidences": [name for name in EVIDENCES if name in main.flags],
        "ms_per_ls": None
        if who.kind == "truth"
        else 1000.0 * sum(r.predicting for r in records.values()) / seen,
        "ms_per_ls_scored": 1000.0 * sum(record.scoring for record in records.values()) / seen,
        "false_alarms": {
            name: {
                evidence: alarm_rate(flags, pools[name], record.n_ls)
                for evidence, flags in record.flags.items()
            }
            for name, record in records.items()
        },
    }


def _add_daily(
    work: Workbench,
    given: tuple[Contestant, Cell],
    figures: dict[str, Any],
    records: Mapping[str, HealthyRecord],
) -> None:
    """Add the share of faults found at the threshold of one false alarm a day in healthy data."""
    who, cell = given
    if not figures:
        return
    pool = work.data.pools[work.campaign.healthy]
    record = records[pool.name]
    with np.load(cell_path(work, who, cell).with_suffix(".npz"), allow_pickle=False) as arrays:
        for name, told in figures.items():
            if name not in record.top:
                continue
            threshold, allowed = threshold_of_a_day(record.top[name], record.where[name], pool, record.n_ls)
            found = float((arrays[f"best_{name}"] > threshold).mean())
            told["one_a_day"] = {"found": found, "alarms": allowed, "threshold": threshold}


def long_table(result: Result) -> pd.DataFrame:
    """Return every figure as a row: cell, model, evidence, level, figure, value, low, high."""
    rows = []
    for cell in result["cells"]:
        head = {
            key: cell[key]
            for key in ("unit", "factor", "duration", "ring", "conditions", "n_faults", "n_saturated")
        }
        for model, figures in cell["figures"].items():
            for evidence, told in figures.items():
                where = {"cell": cell["name"], **head, "model": model, "evidence": evidence}
                rows += [{**where, **row} for row in _flat(told)]
    for who in result["contestants"]:
        for pool, each in who["false_alarms"].items():
            for evidence, told in each.items():
                value, low, high = told["per_day"]
                figure = {"figure": "false_alarms_per_day", "value": value, "low": low, "high": high}
                rows.append({"model": who["name"], "evidence": evidence, "conditions": pool, **figure})
    return pd.DataFrame(rows)


def _flat(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for level in ("channel", "unit"):
        if level not in told:
            continue
        parts = {f"fpr_at_{capture}": triple for capture, triple in told[level]["fpr"].items()}
        parts |= {name: told[level][name] for name in ("roc_auc", "pr_auc")}
        rows += [{"level": level, "figure": name, **_triple(triple)} for name, triple in parts.items()]
    decision = told.get("decision", {})
    names = ("precision", "recall", "f1", "found", "named", "untouched_fpr")
    rows += [
        {"level": "threshold", "figure": name, **_triple(decision[name])}
        for name in names
        if decision.get(name)
    ]
    if decision:
        delays = decision["delay_ls"].items()
        rows += [{"level": "threshold", "figure": f"delay_ls_{q}", "value": value} for q, value in delays]
    if "one_a_day" in told:
        rows.append({"level": "one a day", "figure": "found", "value": told["one_a_day"]["found"]})
    return rows


def _triple(triple: Sequence[float | None]) -> dict[str, float | None]:
    return dict(zip(("value", "low", "high"), triple, strict=True))
