"""How experts share the work, as one picture and one Markdown page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.style
import mplhep
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from calowatch.core.files import atomic_file
from calowatch.present.explore_colours import MARKERS, series_colours
from calowatch.present.maps import STYLE

__all__ = ["experts_page", "write_experts_figure"]

_LEAST_DROP = 0.005
"""AUC that the panel of removed experts spans at least, either way: rounding errors should not look like signal."""


def write_experts_figure(path: Path | str, seeds: pd.DataFrame, epochs: pd.DataFrame, title: str) -> None:
    """Draw similarity, routing and AUC by epoch, and what each removed expert costs, as PNG.

    Parameters
    ----------
    path
        The file.
    seeds, epochs
        As `calowatch.evaluate.experts.evaluate_experts` makes them.
    title
        Name of the recipe.
    """
    with matplotlib.style.context([mplhep.style.CMS, STYLE]):
        figure = Figure(figsize=(14, 10))
        FigureCanvasAgg(figure)
        figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12, rect=(0, 0, 1, 0.955)))
        figure.text(0.012, 0.975, f"Experts of {title}", fontsize=18, fontweight="bold", va="center")
        figure.text(0.988, 0.975, "thin lines: single seeds", fontsize=13, ha="right", va="center")
        panels = figure.subplots(2, 2)
        alike = {"experts_cka": "CKA", "experts_cosine": "cosine"}
        _draw_course(panels[0, 0], epochs, alike, "similarity of experts' answers")
        entropy = {
            "routing_mean_entropy": "of the whole load",
            "routing_token_entropy": "of one token, mean",
        }
        _draw_course(panels[0, 1], epochs, entropy, "entropy of the router (nats)")
        n = sum(name.startswith("load_") for name in seeds.columns)
        panels[0, 1].axhline(np.log(n), color="0.5", lw=1, ls=":")
        panels[0, 1].annotate(
            f"ln {n}: all share alike",
            (1, np.log(n)),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
        )
        panels[0, 1].set_ylim(0, 1.2 * np.log(n))
        _draw_course(panels[1, 0], epochs, {"val_auc": "AUC", "val_accuracy": "accuracy"}, "validation side")
        _draw_removed(panels[1, 1], seeds, n)
        with atomic_file(path) as scratch:
            figure.savefig(scratch, format="png", dpi=100)


def _draw_course(axes: Axes, epochs: pd.DataFrame, lines: Mapping[str, str], label: str) -> None:
    """Draw a thin line per seed and a thick one for their mean, per quantity."""
    for (name, words), colour in zip(lines.items(), series_colours(len(lines)), strict=True):
        if name not in epochs:
            continue
        held = epochs[epochs[name].notna()]
        for _, part in held.groupby("seed"):
            axes.plot(part["epoch"], part[name], color=colour, lw=1, alpha=0.4)
        mean = held.groupby("epoch")[name].mean()
        axes.plot(mean.index, mean, color=colour, lw=2.5, marker="o", ms=5, label=words)
    begun = any((epochs.loc[epochs[name].notna(), "epoch"] == 0).any() for name in lines if name in epochs)
    axes.set(xlabel="epoch (0: before training)" if begun else "epoch", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False, ncols=2)


def _draw_removed(axes: Axes, seeds: pd.DataFrame, experts: int) -> None:
    drops = seeds[[f"auc_drop_{expert}" for expert in range(experts)]].to_numpy(np.float64)
    shift = np.linspace(-0.25, 0.25, len(drops)) if len(drops) > 1 else np.zeros(1)
    colours = series_colours(len(drops))
    for number, (row, seed) in enumerate(zip(drops, seeds["seed"], strict=True)):
        mark = MARKERS[number % len(MARKERS)]
        x = np.arange(experts) + shift[number]
        axes.plot(x, row, mark, ms=9, color=colours[number], label=f"seed {seed}")
    axes.axhline(0, color="0.6", lw=1, zorder=0)
    axes.set_xticks(range(experts), [str(expert) for expert in range(experts)])
    axes.set_xlim(-0.5, experts - 0.5)
    axes.set(xlabel="expert removed, in all blocks", ylabel="AUC lost")
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -_LEAST_DROP), max(high, _LEAST_DROP))
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False, ncols=min(len(drops), 5), columnspacing=1.0
    )


_COLUMNS = {
    "seed": "seed",
    "auc": "AUC",
    "accuracy": "accuracy",
    "balance": "max/mean load",
    "dead": "dead experts",
    "token_entropy": "entropy of a token",
    "mean_entropy": "entropy of the load",
    "information_class": "information, class",
    "information_ieta": "ieta",
    "information_iphi": "iphi",
    "experts_cka": "CKA",
    "experts_cosine": "cosine",
}


def experts_page(document: Mapping[str, Any], seeds: pd.DataFrame, picture: str | None = None) -> str:
    """Return the study as Markdown: how it was made, verdict, a row per seed.

    Parameters
    ----------
    document
        ``recipe``, ``command``, ``verdict``, ``provenance`` and, where known, ``commit``.
    seeds
        One row per seed.
    picture
        Name of the figure beside the page; None for none.
    """
    made = document["provenance"]
    drops = {name: f"AUC lost without {name[9:]}" for name in seeds.columns if name.startswith("auc_drop_")}
    columns = {**_COLUMNS, **drops}
    lines = [f"| {' | '.join(columns.values())} |", f"|{' --- |' * len(columns)}"]
    for row in seeds.to_dict("records"):
        cells = [str(row[name]) if name == "seed" else _number(row[name]) for name in columns]
        lines.append(f"| {' | '.join(cells)} |")
    commit = f", commit {document['commit']}" if document.get("commit") else ""
    side = f"{seeds['side'].iloc[0]} side, {seeds['images'].iloc[0]} images"
    made_by = (
        f"First seed {made['seed']}, {len(seeds)} seeds, {side}, calowatch {made['calowatch']}{commit}, "
        f"{made['created'][:10]}. Entropies and information in nats, means of all blocks; the weights are those of the "
        "epoch with the lowest validation loss."
    )
    parts = [
        f"# Experts of {document['recipe']}",
        f"`{document['command']}`" if document.get("command") else "",
        made_by,
        f"![Experts by epoch]({picture})" if picture else "",
        "\n".join(f"- {sentence}" for sentence in document["verdict"]),
        "\n".join(lines),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _number(value: float) -> str:
    """Return four decimals; a nought has no sign."""
    return f"{value:z.4f}"
