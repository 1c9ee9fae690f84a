"""The battery in one picture: accuracy by variant and model, random split beside blocks, and what spoiling costs."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.style
import mplhep
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter, NullLocator

from calowatch.core.files import atomic_file
from calowatch.present.explore_colours import MARKERS, series_colours
from calowatch.present.maps import STYLE

__all__ = ["write_battery_figure"]

Floats = npt.NDArray[np.float64]

_TICKS = (0.5, 0.9, 0.99, 0.999)
_TOP = 0.9998  # where accuracies of 1 are drawn
_BOTTOM = 0.35
_NAMES = {
    "as-is": "as published",
    "unit-sum": "image to\nunit sum",
    "rings": "rings to\nunit mean",
    "masked": "deviating\ncells masked",
    "rings-masked": "masked, then\nrings to unit mean",
}


def write_battery_figure(path: Path | str, frame: pd.DataFrame, runs: Sequence[str]) -> None:
    """Draw the battery's table as PNG.

    Parameters
    ----------
    path
        The file.
    frame
        One row per kind of cell, as `calowatch.evaluate.shortcuts_words.battery_frame` makes it.
    runs
        Names of the two classes.
    """
    plain = frame[(frame["noise"] == 0) & frame["images"].isna() & frame["blocks"].isna()]
    models = list(frame["model"].unique())
    looks = dict(zip(models, zip(series_colours(len(models)), _marks(len(models)), strict=True), strict=True))
    panels = _spoilt_panels(frame)
    with matplotlib.style.context([mplhep.style.CMS, STYLE]):
        figure = Figure(figsize=(15, 11.5 if panels else 7))
        FigureCanvasAgg(figure)
        figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12, rect=(0, 0, 1, 0.955)))
        figure.text(0.012, 0.975, f"{runs[0]} against {runs[1]}", fontsize=18, fontweight="bold", va="center")
        grid = figure.add_gridspec(
            2 if panels else 1, max(len(panels), 1), height_ratios=[1.25, 1][: 2 if panels else 1]
        )
        _draw_variants(figure.add_subplot(grid[0, :]), plain, looks, _styles(frame))
        whole = plain[plain["split"] == "blocks"]
        for number, (name, label) in enumerate(panels):
            _draw_spoilt(figure.add_subplot(grid[1, number]), frame, whole, looks, (name, label))
        with atomic_file(path) as scratch:
            figure.savefig(scratch, format="png", dpi=100)


def _marks(n: int) -> list[str]:
    return [MARKERS[number % len(MARKERS)] for number in range(n)]


def _styles(frame: pd.DataFrame) -> dict[str, str]:
    """Return the line style of each variant that is tried with spoilt training sides."""
    spoilt = frame[(frame["noise"] > 0) | frame["images"].notna() | frame["blocks"].notna()]
    return dict(zip(map(str, spoilt["variant"].unique()), ("-", "--", ":", "-."), strict=False))


def _spoilt_panels(frame: pd.DataFrame) -> list[tuple[str, str]]:
    labels = {
        "noise": "share of wrong training labels",
        "images": "training images, both runs together",
        "blocks": "training blocks of each run",
    }
    held = {
        "noise": (frame["noise"] > 0).any(),
        **{name: frame[name].notna().any() for name in ("images", "blocks")},
    }
    return [(name, label) for name, label in labels.items() if held[name]]


def _accuracy_axis(axes: Axes) -> None:
    """Stretch the axis towards 1, where classifiers differ."""
    axes.set_yscale("logit")
    axes.set_ylim(_BOTTOM, 0.99993)
    axes.yaxis.set_major_locator(FixedLocator([*_TICKS, _TOP]))
    axes.yaxis.set_major_formatter(FixedFormatter(["0.5", "0.9", "0.99", "0.999", "none wrong"]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.axhline(0.5, color="0.75", lw=1, zorder=0)
    axes.axhline(0.999, color="0.88", lw=1, zorder=0)
    axes.axhline(_TOP, color="0.88", lw=1, zorder=0)


def _shown(values: pd.Series) -> Floats:
    found: Floats = np.clip(values.to_numpy(np.float64), _BOTTOM, _TOP)
    return found


def _draw_variants(
    axes: Axes, plain: pd.DataFrame, looks: dict[str, tuple[str, str]], styles: dict[str, str]
) -> None:
    variants = list(plain["variant"].unique())
    both = len(plain["split"].unique()) > 1
    step = 0.8 / max(len(looks), 1)
    for number, (model, (colour, mark)) in enumerate(looks.items()):
        for split, shift, face in (("random", -0.16, "white"), ("blocks", 0.16, colour)):
            some = plain[(plain["model"] == model) & (plain["split"] == split)]
            if some.empty:
                continue
            place = np.array([variants.index(variant) for variant in some["variant"]], np.float64)
            x = place - 0.4 + step * (number + 0.5) + (shift * step if both else 0.0)
            y, low, high = (_shown(some[name]) for name in ("accuracy", "accuracy_low", "accuracy_high"))
            axes.errorbar(
                x, y, [np.maximum(y - low, 0), np.maximum(high - y, 0)], fmt="none", ecolor=colour, lw=1.4
            )
            axes.plot(x, y, mark, ms=9, mfc=face, mec=colour, mew=1.8)
    for border in range(1, len(variants)):
        axes.axvline(border - 0.5, color="0.85", lw=1)
    _accuracy_axis(axes)
    axes.set_xlim(-0.5, len(variants) - 0.5)
    axes.set_xticks(range(len(variants)), [_NAMES.get(name, name) for name in variants])
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("accuracy on the test side")
    handles = [
        Line2D([], [], color=colour, marker=mark, ls="none", ms=9, label=model)
        for model, (colour, mark) in looks.items()
    ]
    handles += [
        Line2D([], [], mec="0.3", mfc=face, marker="o", ls="none", ms=9, mew=1.8, label=words)
        for words, face in (("open: random split", "white"), ("filled: by blocks", "0.3"))
    ]
    handles += [
        Line2D(
            [], [], color="0.3", ls=style, label=f"below: {_NAMES.get(variant, variant)}".replace("\n", " ")
        )
        for variant, style in styles.items()
    ]
    columns = -(-len(handles) // 2)
    corner = (0.0, 1.0)
    axes.legend(
        handles=handles,
        ncols=columns,
        loc="lower left",
        bbox_to_anchor=corner,
        frameon=False,
        columnspacing=1.2,
    )


def _draw_spoilt(
    axes: Axes,
    frame: pd.DataFrame,
    whole: pd.DataFrame,
    looks: dict[str, tuple[str, str]],
    named: tuple[str, str],
) -> None:
    name, label = named
    some = frame[frame["noise"] > 0] if name == "noise" else frame[frame[name].notna()]
    styles = _styles(frame)
    for (variant, model), part in some.groupby(["variant", "model"], sort=False):
        end = whole[(whole["variant"] == variant) & (whole["model"] == model)]
        line = part.sort_values(name)
        x, y = line[name].to_numpy(np.float64), _shown(line["accuracy"])
        if name == "noise" and len(end):
            x, y = np.append(0.0, x), np.append(_shown(end["accuracy"]), y)
        elif name == "images" and len(end):
            x, y = np.append(x, float(end["n_train"].iloc[0])), np.append(y, _shown(end["accuracy"]))
        colour, mark = looks[str(model)]
        axes.plot(x, y, ls=styles[str(variant)], color=colour, marker=mark, ms=7)
    _accuracy_axis(axes)
    if name != "noise":
        axes.set_xscale("log", base=2)
        ticks = sorted({int(value) for value in some[name]})
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xlabel(label)
    axes.set_ylabel("accuracy, by blocks")
