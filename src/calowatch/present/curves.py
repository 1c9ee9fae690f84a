"""Learning curves of a training as a picture."""

from pathlib import Path

import matplotlib.style
import mplhep
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from calowatch.core.files import atomic_file
from calowatch.present.maps import STYLE

__all__ = ["draw_curves", "write_curves"]

TRAIN, VALIDATION, BEST = "#0072b2", "#d55e00", "#444444"
_NOT_DRAWN = ("epoch", "step", "lr", "seconds")
_LABELS = {"auc": "ROC-AUC", "lr": "learning rate"}
_LINES = {**STYLE, "legend.frameon": False, "xtick.minor.visible": False}


def draw_curves(history: pd.DataFrame, best_epoch: int) -> Figure:
    """Return a panel for each figure that was logged, training and validation side together, and the learning rate.

    Parameters
    ----------
    history
        One row per epoch: ``epoch``, ``lr``, ``train_NAME``, ``val_NAME``.
    best_epoch
        Marked by a vertical line.
    """
    names = list(dict.fromkeys(_figure_of(name) for name in history.columns if name not in _NOT_DRAWN))
    names = sorted(names, key=lambda name: (name != "loss", name))
    with matplotlib.style.context([mplhep.style.CMS, _LINES]):
        figure = Figure(figsize=(9, 2.9 * len(names) + 2.4), layout="constrained")
        FigureCanvasAgg(figure)
        heights = [*(2.9 for _ in names), 1.5]
        panels = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for axes, name in zip(panels[:-1], names, strict=True):
            _panel(axes, history, name, best_epoch)
        _learning_rate(panels[-1], history, best_epoch)
        panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        panels[-1].set(xlabel="epoch", xlim=(0.5, float(history["epoch"].max()) + 0.5))
    return figure


def write_curves(path: Path, history: pd.DataFrame, best_epoch: int) -> None:
    """Write the learning curves as PNG; shapes as in `draw_curves`."""
    # Fonts are looked up when a figure is drawn: outside the style they would be others, some of which do not exist.
    with atomic_file(path) as scratch, matplotlib.style.context([mplhep.style.CMS, _LINES]):
        draw_curves(history, best_epoch).savefig(scratch, format="png", dpi=110)


def _figure_of(column: str) -> str:
    return column.removeprefix("train_").removeprefix("val_").removesuffix("_epoch")


def _panel(axes: Axes, history: pd.DataFrame, name: str, best_epoch: int) -> None:
    drawn = []
    for column in history.columns:
        if column in _NOT_DRAWN or _figure_of(column) != name:
            continue
        train = column.startswith("train_")
        values = history[column].to_numpy(np.float64)
        axes.plot(
            history["epoch"],
            values,
            color=TRAIN if train else VALIDATION,
            ls="--" if train else "-",
            marker="o" if train else "s",
            ms=5,
            lw=1.8,
            label="training" if train else "validation",
        )
        drawn.append(values[np.isfinite(values)])
    values = np.concatenate(drawn)
    # Over a wide range the last epochs of a linear axis would be one flat line.
    if values.size and values.min() > 0 and values.max() > 5 * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.axvline(best_epoch, color=BEST, lw=1.2, ls=":", label=f"best epoch ({best_epoch})")
    axes.set_ylabel(_LABELS.get(name, name.replace("_", " ")))
    axes.legend(loc="best", fontsize=12)


def _learning_rate(axes: Axes, history: pd.DataFrame, best_epoch: int) -> None:
    axes.plot(history["epoch"], history["lr"], color=BEST, marker="o", ms=4, lw=1.8)
    axes.axvline(best_epoch, color=BEST, lw=1.2, ls=":")
    axes.set_ylabel(_LABELS["lr"])
    axes.set_ylim(bottom=0)
