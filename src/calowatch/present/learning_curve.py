"""What classifiers gain from more training images: one table, one figure, a page of both."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from calowatch.metrics.classification import Figure
from calowatch.present.classify import figure_text
from calowatch.present.explore_colours import MARKERS, series_colours
from calowatch.present.markdown import markdown_table
from calowatch.present.panels import Panel, Series
from calowatch.present.panels_page import Page, Section, Table

__all__ = ["LearningCurve", "learning_markdown", "learning_page"]

_WORDS = (
    "Each training side holds all smaller ones; the test side is the same for all and chose nothing. The validation "
    "side is never larger than the training side. Networks see a small side more often, up to 16 times the epochs of "
    "the recipe, so that too few steps are not taken for too few images."
)
_INTERVALS = " Intervals of 95 % are of the test side alone: another training would scatter beside."


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """Figures by the number of training images.

    Parameters
    ----------
    kind, classes
        Of the images.
    table
        A row per recipe and size: ``recipe``, ``images``, ``validation``, ``test``, ``epochs`` (0 for classical
        models), ``seconds``, and ``roc_auc``, ``accuracy``, ``rejection_50`` with ``_low`` and ``_high``.
    provenance
        How it was made.
    """

    kind: str
    classes: tuple[str, ...]
    table: pd.DataFrame
    provenance: Mapping[str, Any]


def _drawn(curve: LearningCurve) -> bool:
    """Return whether there are intervals."""
    return bool(curve.table["roc_auc_low"].notna().any())


def _words(curve: LearningCurve) -> str:
    return _WORDS + _INTERVALS * _drawn(curve)


def _panel(curve: LearningCurve) -> Panel:
    names, bars = list(dict.fromkeys(curve.table["recipe"])), _drawn(curve)
    series = []
    for number, (name, colour) in enumerate(zip(names, series_colours(len(names)), strict=True)):
        part = curve.table[curve.table["recipe"] == name].sort_values("images")
        value, low, high = (
            part[column].to_numpy(np.float64) for column in ("roc_auc", "roc_auc_low", "roc_auc_high")
        )
        # A few per cent aside, so that bars of one size do not hide each other.
        x = part["images"].to_numpy(np.float64) * 1.03 ** (number - (len(names) - 1) / 2)
        # Classical models are dashed: what a network has to be better than.
        dash = "--" if not part["epochs"].any() else "-"
        series.append(
            Series(
                x,
                value,
                name,
                colour,
                "both",
                dash,
                MARKERS[number % 5],
                np.where(np.isnan(low), value, low) if bars else None,
                np.where(np.isnan(high), value, high) if bars else None,
            )
        )
    test = int(curve.table["test"].iloc[0])
    title = f"{' against '.join(curve.classes)}: {test:,} test images"
    return Panel(title, "training images (log)", f"ROC-AUC{', 95 %' * bars}", series, x_log=True)


def _cell(row: Mapping[Any, Any], name: str) -> str:
    value, low, high = (
        None if pd.isna(row.get(key)) else float(row[key]) for key in (name, f"{name}_low", f"{name}_high")
    )
    return figure_text(name, Figure(value, low, high))


def _table(curve: LearningCurve) -> Table:
    head = ["training images", "model", "ROC-AUC", "accuracy", "rejection at 50 %", "epochs", "seconds"]
    rows = [
        [
            f"{row['images']:,}",
            str(row["recipe"]),
            *(_cell(row, name) for name in ("roc_auc", "accuracy", "rejection_50")),
            f"{row['epochs']}" if row["epochs"] else "-",
            f"{row['seconds']:.0f}",
        ]
        for row in curve.table.sort_values(["images", "recipe"]).to_dict("records")
    ]
    return Table(head, rows)


def learning_page(curve: LearningCurve) -> Page:
    """Return the page: figure and table."""
    section = Section(
        "ROC-AUC by training images", _words(curve), [_table(curve)], {"learning_curve": _panel(curve)}
    )
    subtitle = " against ".join(curve.classes)
    return Page("Learning curve", subtitle, (), [section], curve.provenance)


def learning_markdown(curve: LearningCurve, picture: str, told: Mapping[str, Any]) -> str:
    """Return the curve as a part of a Markdown page.

    Parameters
    ----------
    curve
        The curve.
    picture
        File name of the figure beside the page.
    told
        ``command``, ``commit`` and ``seed``, so that it can be made again.
    """
    lines = markdown_table(_table(curve))
    made = f"Made by `{told['command']}`; seed {told['seed']}, commit {told['commit'] or 'unknown'}."
    return "\n".join([_words(curve), "", *lines, "", f"![ROC-AUC by training images]({picture})", "", made])
