"""The report that puts trained classifiers beside each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from calowatch.metrics.classification import Figure
from calowatch.present.classify import FIGURE_NAMES, figure_text
from calowatch.present.compare_ranked import Ranked, ranking_sections
from calowatch.present.explore_colours import MARKERS, series_colours
from calowatch.present.panels import Panel, Series
from calowatch.present.panels_page import Page, Section, Table

__all__ = ["Compared", "comparison_page"]

_CURVES = (("loss", "loss"), ("accuracy", "accuracy"), ("auc", "ROC-AUC"))
_WORTH = ("accuracy", "roc_auc")


@dataclass(frozen=True, eq=False)
class Compared:
    """What is told of one classifier.

    Parameters
    ----------
    name, model
        Of its folder, and of its network or model.
    n_parameters
        Numbers learned.
    classes, steps, split
        In words: what it tells apart, how images are prepared, which side it was judged on.
    seconds, device
        Of its training.
    figures
        Of the judged side.
    history
        One row per epoch; empty for classical models.
    """

    name: str
    model: str
    n_parameters: int
    classes: str
    steps: str
    split: str
    seconds: float
    device: str
    figures: Mapping[str, Figure]
    history: pd.DataFrame

    def entry(self) -> dict[str, Any]:
        """Return all but figures and history, as JSON takes it."""
        names = ("name", "model", "n_parameters", "classes", "steps", "split", "seconds", "device")
        return {name: getattr(self, name) for name in names}


def _far_apart(series: Sequence[Series]) -> bool:
    """Return whether positive values span more than a decade: a logarithmic axis of less has no round ticks."""
    values = np.concatenate([np.asarray(each.y, np.float64) for each in series])
    values = values[np.isfinite(values)]
    return len(values) > 0 and bool(values.min() > 0 and values.max() > 10 * values.min())


def _curves(told: Sequence[Compared]) -> dict[str, Panel]:
    panels = {}
    for key, words in _CURVES:
        series = []
        for number, (each, colour) in enumerate(zip(told, series_colours(len(told)), strict=True)):
            mark = MARKERS[number % 5]
            for side, dash, said in (("train", "--", "training"), ("val", "-", "validation")):
                column = f"{side}_{key}"
                if column in each.history:
                    epochs = each.history["epoch"].to_numpy(np.float64)
                    values = each.history[column].to_numpy(np.float64)
                    name = f"{each.name}, {said}"
                    hollow = side == "train"
                    series.append(Series(epochs, values, name, colour, "both", dash, mark, hollow=hollow))
        if series:
            log = key == "loss" and _far_apart(series)
            panels[f"curves_{key}"] = Panel(
                words.capitalize() if key != "auc" else words,
                "epoch",
                f"{words}{' (log)' * log}",
                series,
                y_log=log,
                whole=True,
            )
    return panels


def _worth(told: Sequence[Compared]) -> dict[str, Panel]:
    series = []
    for number, (key, colour) in enumerate(zip(_WORTH, series_colours(len(_WORTH)), strict=True)):
        figures = [each.figures.get(key, Figure(None)) for each in told]
        value = np.array([np.nan if each.value is None else each.value for each in figures])
        low = np.array([v if each.low is None else each.low for each, v in zip(figures, value, strict=True)])
        high = np.array(
            [v if each.high is None else each.high for each, v in zip(figures, value, strict=True)]
        )
        at = np.arange(len(told)) + 0.12 * (number - 0.5)
        series.append(
            Series(at, value, FIGURE_NAMES[key], colour, "points", mark=MARKERS[number], low=low, high=high)
        )
    ends = (-0.5, len(told) - 0.5)
    names = [each.name for each in told]
    words = ", ".join(FIGURE_NAMES[key] for key in _WORTH)
    title = "Figures with intervals of 95 %"
    return {"worth": Panel(title, "", words, series, x_ends=ends, ticks=names, beside=True)}


def comparison_page(
    told: Sequence[Compared], notes: Sequence[str], made: Mapping[str, Any], ranked: Ranked | None = None
) -> Page:
    """Return the page of a comparison, the ranking on top where there is one."""
    names = [key for key in FIGURE_NAMES if any(key in each.figures for each in told)]
    figures = [
        [
            FIGURE_NAMES[key],
            *(figure_text(key, each.figures[key]) if key in each.figures else "-" for each in told),
        ]
        for key in names
    ]
    what = [
        [
            each.name,
            each.model,
            f"{each.n_parameters:,}",
            each.classes,
            each.steps,
            each.split,
            f"{len(each.history)}" if len(each.history) else "-",
            f"{each.seconds:.1f} s on {each.device}",
        ]
        for each in told
    ]
    head = ["", "model", "learned numbers", "classes", "preparation", "judged on", "epochs", "training"]
    curves = _curves(told)
    sections = [
        *(ranking_sections(ranked) if ranked else []),
        Section("What", tables=[Table(head, what)]),
        Section(
            "Figures told by the bundles" if ranked else "Figures",
            "Of the side not learned from, when each was made; intervals of 95 %, by bootstrap over blocks.",
            [Table(["", *(each.name for each in told)], figures)],
            _worth(told),
        ),
    ]
    if curves:
        sections.append(
            Section(
                "Training",
                "Dashed, hollow: training side, while it is learned. Solid: validation side.",
                panels=curves,
            )
        )
    return Page("Classifiers compared", ", ".join(each.name for each in told), notes, sections, made)
