"""The report of an exploration: one HTML file that opens offline."""

import json
from typing import Any

import numpy as np
import pandas as pd

from calowatch.present.explore_given import Exploration, RunNumbers
from calowatch.present.explore_plotly import image_figures, run_figures
from calowatch.present.explore_scales import ratio_limits, top_of_occupancy
from calowatch.present.explore_tables import (
    drift_summary,
    ratio_table,
    run_table,
    statistics_table,
    variance_summary,
)
from calowatch.present.maps import MAX_IETA, ieta_reach, index_grid, planes
from calowatch.present.palette import NO_CHANNEL_COLOUR, ZERO_COLOUR, colour_scale
from calowatch.present.payload import packed
from calowatch.present.report import render_page

__all__ = ["exploration_page"]

_QUANTITIES = ("occupancy", "variance", "ratio")
_MOST_NAMED = 12


def _geometry(channels: pd.DataFrame) -> dict[str, Any]:
    """Return the cells of every plane, and the names of the channels in them."""
    parts = {}
    for subdet, depths in planes(channels).items():
        reach = ieta_reach(channels, subdet)
        crop = slice(MAX_IETA - reach, MAX_IETA + reach + 1)
        cells = {depth: packed(index_grid(channels, subdet, depth)[:, crop], "<i4") for depth in depths}
        parts[subdet] = {"reach": reach, "panels": [{"depth": d, "cells": c} for d, c in cells.items()]}
    return {"subdets": parts, "names": channels["channel_name"].tolist()}


def _map_of(run: RunNumbers, geometry: int) -> dict[str, Any]:
    values = {"occupancy": packed(run.occupancy, "<f4"), "variance": packed(run.variance, "<f4")}
    if run.ratio is not None:
        values["ratio"] = packed(run.ratio, "<f4")
    return {
        "label": run.label,
        "geometry": geometry,
        "values": values,
        "hits": packed(run.hits, "<f8"),
        "unit": run.occupancy_unit,
    }


def _variance_ends(given: Exploration) -> tuple[float, float]:
    """Return a scale around 1, five standard deviations of a channel in the shortest run wide, at most 0 to 2."""
    fewest = min(len(run.series) for run in given.runs)
    reach = float(np.clip(5.0 * np.sqrt(2.0 / max(fewest - 1, 1)), 0.4, 1.0))
    return 1.0 - reach, 1.0 + reach


def _maps(given: Exploration) -> dict[str, Any]:
    """Return all that the page needs to draw every map; runs with the same channels share their cells."""
    known: dict[bytes, int] = {}
    geometries: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    for run in given.runs:
        key = run.channels["channel"].to_numpy(np.int64).tobytes()
        if key not in known:
            known[key] = len(geometries)
            geometries.append(_geometry(run.channels))
        runs.append(_map_of(run, known[key]))
    subdets = list(dict.fromkeys(name for run in given.runs for name in planes(run.channels)))
    limits = {
        subdet: {
            "occupancy": (0.0, top_of_occupancy(given.runs, subdet)),
            "variance": _variance_ends(given),
            "ratio": ratio_limits(given.runs, subdet),
        }
        for subdet in subdets
    }
    held = [name for name in _QUANTITIES if any(name in run["values"] for run in runs)]
    scales = {name: colour_scale("occupancy" if name == "occupancy" else "evidence") for name in held}
    return {
        "runs": runs,
        "geometries": geometries,
        "subdets": subdets,
        "limits": limits,
        "quantities": held,
        "scales": scales,
        "titles": {"variance": "variance / binomial", "ratio": "RecHits / digis"},
        "colours": {"zero": ZERO_COLOUR, "no_channel": NO_CHANNEL_COLOUR},
    }


def _named(rings: list[str]) -> str:
    more = f" and {len(rings) - _MOST_NAMED} more" if len(rings) > _MOST_NAMED else ""
    return ", ".join(rings[:_MOST_NAMED]) + more


def _title(given: Exploration) -> str:
    parts = []
    if given.runs:
        parts.append(given.runs[0].label if len(given.runs) == 1 else f"{len(given.runs)} runs")
    if given.images:
        n = len(given.images)
        parts.append("1 image set" if n == 1 else f"{n} image sets")
    return " and ".join(parts)


def _text(value: float, form: str) -> str:
    return format(value, form) if np.isfinite(value) else "unknown"


def exploration_page(given: Exploration) -> str:
    """Return the page as text."""
    figures = {**run_figures(given), **image_figures(given)}
    statistics = statistics_table(given)
    context = {
        "title": _title(given),
        "runs": run_table(given),
        "fits": [row for run in given.runs for row in run.fits.assign(run=run.run).to_dict("records")],
        "variance": variance_summary(given),
        "drift": drift_summary(given),
        "ratios": [row for run in given.runs for row in ratio_table(run)],
        "first_run": given.runs[0].label if given.runs else "",
        "images": given.images,
        "statistics": [(name, row.tolist()) for name, row in statistics.iterrows()],
        "figures": {name: json.loads(figure.to_json()) for name, figure in figures.items()},
        "maps": _maps(given) if given.runs else None,
        "provenance": json.dumps(given.provenance, indent=1, default=str, ensure_ascii=False),
        "named": _named,
        "text": _text,
    }
    return render_page("explore", context)
