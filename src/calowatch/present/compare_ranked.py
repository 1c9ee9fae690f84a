"""Classifiers in order of what they are worth: tables, a figure and a part of a Markdown page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from calowatch.metrics.classification import Figure, as_json
from calowatch.present.classify import figure_text
from calowatch.present.markdown import markdown_table
from calowatch.present.panels import Panel, Series
from calowatch.present.panels_page import Section, Table

__all__ = ["Ranked", "RankedRow", "ranking_markdown", "ranking_panel", "ranking_sections"]

_COLUMNS = ("pr_auc", "accuracy", "rejection_50", "rejection_70", "rejection_90", "ece")
_NAMES = ("PR-AUC", "accuracy", "rejection at 50 %", "at 70 %", "at 90 %", "ECE")
_OTHER = "OTHER DATA: published figures"
_MOST_PAIRED = 12


@dataclass(frozen=True, eq=False)
class RankedRow:
    """A classifier in its place.

    Parameters
    ----------
    name, n_parameters
        What it is called, and numbers learned.
    figures
        As `calowatch.metrics.classification.classification_figures` gives them.
    behind
        ROC-AUC less that of the first, paired; None for the first.
    mean
        It is the mean of two others.
    training
        As its bundle tells: ``epochs``, ``seconds``, ``device``; without epochs where it does not learn by epochs.
    """

    name: str
    n_parameters: int
    figures: Mapping[str, Figure] = field(default_factory=dict)
    behind: Figure | None = None
    mean: bool = False
    training: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Ranked:
    """Classifiers in order of ROC-AUC on the same images.

    Parameters
    ----------
    kind, classes
        Of the images.
    rows
        From the best to the worst.
    differences
        ROC-AUC of the row less that of the column, in the order of the rows.
    n, words
        How many images, and what they are.
    mean_of
        The two whose mean is one of the rows, chosen by the validation side of the training; empty without.
    published
        Figures of others: model, roc_auc, side, source, remark.
    generated
        The images are generated, not the published ones.
    notes
        What a reader must know.
    """

    kind: str
    classes: tuple[str, ...]
    rows: Sequence[RankedRow]
    differences: Sequence[Sequence[Figure]]
    n: int
    words: str
    mean_of: tuple[str, ...]
    published: Sequence[Mapping[str, str]]
    generated: bool
    notes: tuple[str, ...] = ()

    @property
    def drawn(self) -> bool:
        """Whether differences have intervals."""
        return any(row.behind is not None and row.behind.low is not None for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON takes it; ``published`` is marked as of other data."""
        names = [row.name for row in self.rows]
        return {
            "images": self.kind,
            "classes": list(self.classes),
            "judged_by": self.words,
            "n": self.n,
            "ranking": [
                {
                    "rank": rank,
                    "name": row.name,
                    "n_parameters": row.n_parameters,
                    "training": dict(row.training),
                    "figures": as_json(row.figures),
                    "behind_the_first": None if row.behind is None else row.behind.to_json(),
                }
                for rank, row in enumerate(self.rows, 1)
            ],
            "mean_of": list(self.mean_of),
            "differences": [
                {"of": one, "over": other, "roc_auc": self.differences[i][j].to_json()}
                for i, one in enumerate(names)
                for j, other in enumerate(names)
                if i < j
            ],
            "published_on_other_data": [dict(each) for each in self.published],
            "notes": list(self.notes),
        }


def _signed(figure: Figure, digits: int = 4) -> str:
    if figure.low is None or figure.high is None:
        return f"{figure.value:+.{digits}f}"
    return f"{figure.value:+.{digits}f} ({figure.low:+.{digits}f} to {figure.high:+.{digits}f})"


def _words(ranked: Ranked) -> str:
    """Return what the table is of, what its columns say, and how surely the first is the first."""
    said = f"{ranked.n:,} images, the same for all: {ranked.words}."
    if ranked.drawn:
        said += (
            f" Intervals of 95 % by bootstrap over {'blocks' if ranked.kind == 'runs' else 'images'}, drawn once for "
            "all, so that a difference is surer than two intervals side by side look."
        )
    if len(ranked.classes) == 2:
        said += (
            f" Rejection: one over the share of {ranked.classes[0]} images that pass where 50, 70 or 90 % of the "
            f"{ranked.classes[-1]} images are kept."
        )
    if ranked.mean_of:
        said += (
            f" The mean is that of the probabilities of {' and '.join(ranked.mean_of)}, which rank highest on the "
            "validation side of the training: other images than these."
        )
    level = [row.name for row in ranked.rows[1:] if row.behind and _reaches_zero(row.behind)]
    if level:
        said += f" Not told apart from the first: {', '.join(level)}."
    return said


def _reaches_zero(behind: Figure) -> bool:
    return behind.high is not None and behind.high >= 0.0


def _other_words(ranked: Ranked) -> str:
    if ranked.generated:
        return (
            "Of the published CMS images, which are not here. The ranking above is of generated ones: figures of the "
            "two tables do not compare."
        )
    return "Of published images with a test side of their own: other images than those judged above."


def _tables(ranked: Ranked) -> tuple[Table, Table, Table]:
    ranking = Table(
        ("model", "learned numbers", "epochs", "ROC-AUC", "less the first's, paired", *_NAMES),
        [
            (
                f"{rank}. {row.name}",
                f"{row.n_parameters:,}",
                str(row.training.get("epochs", "-")),
                figure_text("roc_auc", row.figures["roc_auc"]),
                "-" if row.behind is None else _signed(row.behind),
                *(figure_text(name, row.figures[name]) if name in row.figures else "-" for name in _COLUMNS),
            )
            for rank, row in enumerate(ranked.rows, 1)
        ],
    )
    names = [row.name for row in ranked.rows][:_MOST_PAIRED]
    pairs = Table(
        ("row less column", *names[:-1]),
        [
            (
                names[i],
                *(_signed(ranked.differences[i][j], 3) if j < i else "" for j in range(len(names) - 1)),
            )
            for i in range(1, len(names))
        ],
    )
    keys = ("model", "roc_auc", "side", "source", "remark")
    other = Table(
        ("model", "ROC-AUC there", "of which side", "source", "remark"),
        [tuple(each[key] for key in keys) for each in ranked.published],
    )
    return ranking, pairs, other


def _ends(figure: Figure) -> tuple[float, float, float]:
    value = np.nan if figure.value is None else figure.value
    return value, value if figure.low is None else figure.low, value if figure.high is None else figure.high


def ranking_panel(ranked: Ranked) -> Panel:
    """Return ROC-AUC of each, the best first, with intervals; published figures are left out of it."""
    rows = ranked.rows
    bars = any(row.figures["roc_auc"].low is not None for row in rows)
    series = []
    for mean, label, colour, mark in (
        (False, "one model", "#0072b2", "o"),
        (True, "mean of " + " and\n".join(ranked.mean_of), "#009e73", "D"),
    ):
        places = [at for at, row in enumerate(rows) if row.mean is mean]
        ends = np.array([_ends(rows[at].figures["roc_auc"]) for at in places]).reshape(-1, 3)
        if places:
            series.append(
                Series(
                    np.array(places, np.float64),
                    ends[:, 0],
                    label,
                    colour,
                    "points",
                    "-",
                    mark,
                    ends[:, 1] if bars else None,
                    ends[:, 2] if bars else None,
                )
            )
    ticks = ["mean of two" if row.mean else row.name for row in rows]
    return Panel(
        f"{' against '.join(ranked.classes)}: ranking on {ranked.n:,} images",
        "",
        "ROC-AUC, 95 %" if bars else "ROC-AUC",
        series,
        x_ends=(-0.5, len(ticks) - 0.5),
        ticks=ticks,
        beside=True,
    )


def ranking_sections(ranked: Ranked) -> list[Section]:
    """Return the sections of a page: ranking with its figure, differences, figures of others."""
    ranking, pairs, other = _tables(ranked)
    sections = [
        Section("Ranking on the same images", _words(ranked), [ranking], {"ranking": ranking_panel(ranked)})
    ]
    if len(ranked.rows) > 2:
        note = "ROC-AUC of the row less that of the column, paired"
        note += ": an interval without 0 tells the two apart." if ranked.drawn else "."
        sections.append(Section("Differences", note, [pairs]))
    if ranked.published:
        sections.append(Section(_OTHER, _other_words(ranked), [other]))
    return sections


def ranking_markdown(ranked: Ranked, picture: str, told: Mapping[str, Any]) -> str:
    """Return the ranking as a part of a Markdown page.

    Parameters
    ----------
    ranked
        The ranking.
    picture
        File name of the figure beside the page.
    told
        ``command``, ``commit`` and ``seed``, so that the table can be made again.
    """
    ranking, pairs, other = _tables(ranked)
    made = f"Made by `{told['command']}`; seed {told['seed']}, commit {told['commit'] or 'unknown'}."
    lines = [
        _words(ranked),
        "",
        *markdown_table(ranking),
        "",
        f"![{' against '.join(ranked.classes)}]({picture})",
        "",
    ]
    if len(ranked.rows) > 2:
        lines += ["ROC-AUC of the row less that of the column, paired:", "", *markdown_table(pairs), ""]
    lines += [f"Note: {note}" for note in ranked.notes] + [""] * bool(ranked.notes)
    if ranked.published:
        lines += [f"**{_OTHER}.** {_other_words(ranked)}", "", *markdown_table(other), ""]
    return "\n".join([*lines, made])
