"""The report of a judged classifier: what is drawn and what is told of it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.metrics.calibration import Reliability
from calowatch.metrics.classification import Curves, Figure
from calowatch.metrics.intervals import wilson
from calowatch.present.explore_colours import MARKERS, series_colours
from calowatch.present.panels import Panel, Series
from calowatch.present.panels_page import Page, Section, Table

__all__ = ["FIGURE_NAMES", "ClassifyReport", "Strangers", "classify_page", "figure_text"]

Floats = npt.NDArray[np.float64]

_MOST_ERRORS = 30
FIGURE_NAMES = {
    "accuracy": "accuracy",
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "log_loss": "log loss (nats)",
    "ece": "calibration error (ECE)",
    "rejection_50": "rejection at 50 % efficiency",
    "rejection_70": "rejection at 70 % efficiency",
    "rejection_90": "rejection at 90 % efficiency",
}


@dataclass(frozen=True, eq=False)
class Strangers:
    """How strange other images are, by each score.

    Parameters
    ----------
    name
        What they are.
    own, other
        Scores of the judged side and of the others, by name of the score; higher = stranger.
    thresholds
        Of each score, passed by a share ``beyond`` of the validation side.
    beyond
        That share.
    table
        One row per score: ``auc``, ``own_beyond``, ``other_beyond``.
    taken_for
        How many of the others the classifier, or the mean of several, takes for each class.
    scored_by
        Which of several the scores are of; empty where there is one.
    """

    name: str
    own: Mapping[str, Floats]
    other: Mapping[str, Floats]
    thresholds: Mapping[str, float]
    beyond: float
    table: pd.DataFrame
    taken_for: Mapping[str, int]
    scored_by: str = ""


@dataclass(frozen=True, eq=False)
class ClassifyReport:
    """A judged classifier.

    Parameters
    ----------
    title, subtitle, notes
        Words.
    classes
        Names, in order of their labels.
    figures
        By name, see `calowatch.metrics.classification.classification_figures`.
    confusion
        [true class, taken for].
    curves
        Of each class that has them: class 1 of two, or each against the rest.
    reliability
        Of the probability of the likeliest class.
    scores
        Edges of bins of the probability of the last class, and images in them per true class.
    errors
        One row per wrong image, the surest first.
    course
        One row per stretch of a file: source, position (its middle), images, errors.
    bins
        One row per bin of a known quantity: quantity, low, high, images, accuracy, roc_auc, each with low and high.
    strangers
        None where none were given.
    provenance
        How it was made.
    """

    title: str
    subtitle: str
    notes: Sequence[str]
    classes: Sequence[str]
    figures: Mapping[str, Figure]
    confusion: npt.NDArray[np.int64]
    curves: Mapping[str, Curves]
    reliability: Reliability
    scores: tuple[Floats, Mapping[str, npt.NDArray[np.int64]]]
    errors: pd.DataFrame
    course: pd.DataFrame
    bins: pd.DataFrame
    strangers: Strangers | None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def drawn(self) -> bool:
        """Whether figures have intervals."""
        return self.figures["accuracy"].low is not None


def figure_text(name: str, figure: Figure) -> str:
    """Return a figure with its interval as a reader wants it.

    Examples
    --------
    >>> figure_text("accuracy", Figure(0.9975, 0.995, 1.0))
    '0.9975 (0.9950 to 1.0000)'
    >>> figure_text("rejection_50", Figure(None, 812.0, None))
    'none passed (at least 812)'
    >>> figure_text("rejection_50", Figure(None))
    'undefined'
    """
    form = ".1f" if name.startswith("rejection") else ".4f"
    if figure.value is None:
        return "undefined" if figure.low is None else f"none passed (at least {figure.low:.0f})"
    if figure.low is None or figure.high is None:
        return format(figure.value, form) + (f" (at least {figure.low:{form}})" if figure.low else "")
    return f"{figure.value:{form}} ({figure.low:{form}} to {figure.high:{form}})"


def _area(given: ClassifyReport, curve: Curves) -> float:
    """Return the area under a curve: of one curve the figure itself, of several that of the thinned curve."""
    told = given.figures["roc_auc"].value
    if len(given.curves) == 1 and told is not None:
        return told
    return float(np.trapezoid(curve.true_positive_rate, curve.false_positive_rate))


def _rates(given: ClassifyReport) -> dict[str, Panel]:
    colours = series_colours(len(given.curves))
    roc = [
        Series(
            each.false_positive_rate, each.true_positive_rate, f"{name}: AUC {_area(given, each):.4f}", colour
        )
        for (name, each), colour in zip(given.curves.items(), colours, strict=True)
    ]
    chance = Series([0.0, 1.0], [0.0, 1.0], "chance", "#8a8a8a", dash=":")
    precision = [
        Series(each.recall, each.precision, name, colour)
        for (name, each), colour in zip(given.curves.items(), colours, strict=True)
    ]
    ends = (-0.02, 1.02)
    return {
        "roc": Panel(
            "ROC",
            "background efficiency (false positive rate)",
            "signal efficiency (true positive rate)",
            [chance, *roc],
            x_ends=ends,
            y_ends=ends,
            square=True,
        ),
        "precision_recall": Panel(
            "Precision and recall",
            "recall (signal efficiency)",
            "precision (purity)",
            precision,
            x_ends=ends,
            y_ends=(0.0, 1.02),
            square=True,
        ),
    }


def _calibration(given: ClassifyReport) -> dict[str, Panel]:
    seen = given.reliability
    # Binomial errors, so that a bin of three images is not read as a fault.
    error = np.sqrt(np.maximum(seen.seen * (1 - seen.seen), 0.25 / seen.count) / seen.count)
    points = Series(
        seen.stated,
        seen.seen,
        "seen, one standard error",
        form="points",
        low=seen.seen - error,
        high=seen.seen + error,
    )
    even = Series([0.0, 1.0], [0.0, 1.0], "calibrated", "#8a8a8a", dash=":")
    edges, held = given.scores
    last = given.classes[-1]
    shown = [
        Series(edges, np.where(counts > 0, counts, 0.5), name, colour, "steps")
        for (name, counts), colour in zip(held.items(), series_colours(len(held)), strict=True)
    ]
    return {
        "calibration": Panel(
            "Calibration",
            "stated probability of the likeliest class",
            "share right",
            [even, points],
            y_ends=(0.0, 1.1),
            square=True,
        ),
        "scores": Panel(
            "What was said of each class",
            f"probability of {last}",
            "images per bin (log; 0.5: none)",
            shown,
            y_log=True,
        ),
    }


def _course(given: ClassifyReport) -> dict[str, Panel]:
    if given.course.empty:
        return {}
    sources = list(dict.fromkeys(given.course["source"]))
    series, top = [], 0.01
    middles = np.unique(given.course["position"].to_numpy(np.float64))
    # Files beside each other within a stretch, so that bars do not hide each other.
    aside = 0.4 * np.diff(middles).min(initial=middles[0]) / len(sources)
    for number, (source, colour) in enumerate(zip(sources, series_colours(len(sources)), strict=True)):
        part = given.course[given.course["source"] == source]
        share = (part["errors"] / part["images"]).to_numpy(np.float64)
        ends = [wilson(*pair) for pair in part[["errors", "images"]].to_numpy(np.int64).tolist()]
        low, high = np.array(ends).T
        series.append(
            Series(
                part["position"].to_numpy(np.float64) + aside * (number - (len(sources) - 1) / 2),
                share,
                source,
                colour,
                "points",
                mark=MARKERS[number % 5],
                low=low,
                high=high,
            )
        )
        top = max(top, float(high.max()) * 1.05)
    return {
        "errors": Panel(
            "Errors along the files",
            "position in the file (image)",
            "share of wrong images, 95 %",
            series,
            y_ends=(-0.02 * top, top),
            beside=True,
        )
    }


_BINNED = {"pt": "pT (GeV)", "m0": "m0 (GeV)", "pileup": "pile-up (collisions)"}


def _bins(given: ClassifyReport) -> dict[str, Panel]:
    panels = {}
    for quantity, part in given.bins.groupby("quantity", sort=False):
        ticks = [f"{low:.2f} - {high:.2f}" for low, high in zip(part["low"], part["high"], strict=True)]
        series = [
            Series(
                np.arange(len(part)) + shift,
                part[name].to_numpy(np.float64),
                words,
                colour,
                "both",
                mark=mark,
                low=part[f"{name}_low"].to_numpy(np.float64) if given.drawn else None,
                high=part[f"{name}_high"].to_numpy(np.float64) if given.drawn else None,
            )
            for (name, words), colour, mark, shift in zip(
                (("roc_auc", "ROC-AUC"), ("accuracy", "accuracy")),
                series_colours(2),
                "os",
                (-0.05, 0.05),
                strict=True,
            )
        ]
        words = _BINNED.get(str(quantity), str(quantity))
        panels["bins_" + re.sub(r"\W", "", str(quantity))] = Panel(
            f"By {words}", words, f"ROC-AUC, accuracy{' (95 %)' * given.drawn}", series, ticks=ticks
        )
    return panels


def _strange(given: Strangers) -> dict[str, Panel]:
    panels = {}
    for name, own in given.own.items():
        other = given.other[name]
        both = np.concatenate([own, other])
        positive = bool((both > 0).all())
        low, high = float(both.min()), float(both.max())
        spread = positive and low > 0 and high / low > 50
        edges = (
            np.geomspace(low, high, 41) if spread else np.linspace(low, high if high > low else low + 1, 41)
        )
        shares = [
            Series(edges, np.histogram(values, edges)[0] / len(values), words, colour, "steps")
            for values, words, colour in zip(
                (own, other), ("own classes", given.name), series_colours(2), strict=True
            )
        ]
        panels[f"novelty_{name}"] = Panel(
            f"Strangeness by {name}",
            f"{name} (higher = stranger)",
            "share of images per bin",
            shares,
            x_log=spread,
            lines=[(given.thresholds[name], f"{100 * given.beyond:g} % of validation beyond")],
        )
    return panels


def _error_table(errors: pd.DataFrame) -> Table:
    shown = errors.head(_MOST_ERRORS)
    rows = [[_cell(value) for value in row] for row in shown.itertuples(index=False)]
    return Table([str(name).replace("_", " ") for name in shown.columns], rows)


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _named(table: pd.DataFrame) -> list[tuple[str, Any]]:
    return [(str(name), row) for name, row in table.iterrows()]


def _strange_section(given: Strangers) -> Section:
    rows = [
        [name, f"{row.auc:.4f}", f"{100 * row.own_beyond:.2f} %", f"{100 * row.other_beyond:.2f} %"]
        for name, row in _named(given.table)
    ]
    taken = ", ".join(f"{count} for {name}" for name, count in given.taken_for.items())
    scored = f" Scores are those of {given.scored_by} alone." if given.scored_by else ""
    return Section(
        f"Neither: {given.name}",
        f"The classifier has to choose, and takes {taken}. A score of strangeness says that it should not have."
        f"{scored}",
        [Table(["score", "AUC", "own beyond the threshold", "others beyond it"], rows)],
        _strange(given),
    )


def classify_page(given: ClassifyReport) -> Page:
    """Return the page of a judged classifier."""
    figures = [
        [FIGURE_NAMES.get(name, name), figure_text(name, each)] for name, each in given.figures.items()
    ]
    confusion = [
        [name, *(f"{count:,}" for count in row)]
        for name, row in zip(given.classes, given.confusion.tolist(), strict=True)
    ]
    wrong = len(given.errors)
    more = f", the {_MOST_ERRORS} surest here, all in errors.csv" if wrong > _MOST_ERRORS else ""
    sections = [
        Section(
            "Figures",
            "Intervals of 95 %, by bootstrap over blocks." if given.drawn else "",
            [Table(["figure", "value"], figures)],
        ),
        Section(
            "Confusion",
            "Rows: what an image is. Columns: what it was taken for.",
            [Table(["", *given.classes], confusion)],
        ),
        Section("Curves", panels=_rates(given)),
        Section(
            "Calibration",
            "After division of logits by a temperature learned on the validation side.",
            panels=_calibration(given),
        ),
        Section(
            "Errors", f"{wrong} wrong{more}.", [_error_table(given.errors)] if wrong else [], _course(given)
        ),
    ]
    if not given.bins.empty:
        sections.append(Section("By what is known of the images", panels=_bins(given)))
    if given.strangers is not None:
        sections.append(_strange_section(given.strangers))
    return Page(given.title, given.subtitle, given.notes, sections, given.provenance)
