"""Figures of explanations: an image with what each method points at, means per class, experts, faithfulness curves."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib.style
import mplhep
import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap, ListedColormap, LogNorm, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from calowatch.present.explore_colours import MARKERS, series_colours
from calowatch.present.maps import STYLE
from calowatch.present.palette import NO_CHANNEL_COLOUR, ZERO_COLOUR, colour_map

__all__ = ["Field", "Line", "MapFigure", "write_curves", "write_experts", "write_means", "write_sample"]

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

SIGNED = ("integrated gradients", "occlusion")
"""Methods whose maps tell for and against, in log-odds of the class; others know no against."""

NOT_SEEN_COLOUR, MASKED_COLOUR = "#8f8f8f", "#3c3c3c"
_FEW = "#e8e8e8"
_SIDE, _GAP, _LEFT, _TOP, _BOTTOM = 3.1, 0.95, 0.85, 1.25, 0.75


@dataclass(frozen=True, eq=False)
class Field:
    """The grid that maps lie on.

    Parameters
    ----------
    axes
        Names of rows and columns of an image.
    kind
        runs (drawn as the detector is: ieta to the right, iphi upwards, no zero), egamma or jets.
    channels
        Cells that can hold anything, [row, column].
    masked
        Cells that the preparation hides from the network.
    seen
        Cells that the network looks at.
    """

    axes: tuple[str, str]
    kind: str
    channels: Mask
    masked: Mask
    seen: Mask

    @property
    def detector(self) -> bool:
        """Whether rows are ieta -32 .. -1, 1 .. 32 and columns iphi 1 .. 72."""
        return self.kind == "runs" and self.axes == ("ieta", "iphi")

    def name(self, row: int, column: int) -> dict[str, int]:
        """Return the place of a cell as people call it."""
        if self.detector:
            half = self.channels.shape[0] // 2
            row, column = (row - half if row < half else row - half + 1), column + 1
        return {self.axes[0]: row, self.axes[1]: column}


@dataclass(frozen=True, eq=False)
class MapFigure:
    """What a figure of one image shows.

    Parameters
    ----------
    title
        Of the figure.
    image
        Sum of its channels (energies alone, where it holds times too), [row, column].
    maps
        By the method's words, [row, column]; NaN where it says nothing.
    label
        Of the image's colours.
    """

    title: str
    image: Floats
    maps: Mapping[str, Floats]
    label: str = "as read"


def _window(maps: Iterable[Floats], field: Field) -> tuple[float, float, float, float] | None:
    """Return the square that holds what the maps tell of a jet, as left, right, low, high; none where all is told.

    A jet's image is mostly empty: without it the maps are a dot each.
    """
    if field.kind != "jets":
        return None
    known = [np.abs(np.nan_to_num(values)) for values in maps]
    weight = np.max([values / (values.max() or 1.0) for values in known], axis=0)
    places = np.argwhere(weight > 0.08)
    if not len(places):
        return None
    middle = (np.array(field.channels.shape) - 1) / 2
    reach = 5 * np.ceil(np.abs(places - middle).max() / 5) + 2.5
    if reach >= middle.min():
        return None
    (row, column) = middle
    return column - reach, column + reach, row - reach, row + reach


def _zoom(axes: Axes, window: tuple[float, float, float, float] | None) -> None:
    if window is not None:
        axes.set(xlim=window[:2], ylim=window[2:])


def _outline(axes: Axes, window: tuple[float, float, float, float] | None) -> None:
    if window is not None:
        left, right, low, high = window
        axes.add_patch(Rectangle((left, low), right - left, high - low, fill=False, ec="black", lw=1.2))


def _frame(rows: int, columns: int, title: str) -> tuple[Figure, npt.NDArray[np.object_]]:
    """Return a figure of square panels placed by hand, sizes in inches, with room for a bar beside each."""
    width = _LEFT + columns * (_SIDE + _GAP) + 0.15
    height = _TOP + rows * _SIDE + (rows - 1) * 1.05 + _BOTTOM
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    figure.text(0.25 / width, 1 - 0.3 / height, title, fontsize=15, fontweight="bold", va="center")
    grid = np.empty((rows, columns), object)
    for row, column in np.ndindex(rows, columns):
        x, y = _LEFT + column * (_SIDE + _GAP), _BOTTOM + (rows - 1 - row) * (_SIDE + 1.05)
        grid[row, column] = figure.add_axes((x / width, y / height, _SIDE / width, _SIDE / height))
    return figure, grid


def _legend(figure: Figure, field: Field, extra: Sequence[Patch] = ()) -> None:
    handles = [*extra]
    states = (
        (not field.channels.all(), "no channel", NO_CHANNEL_COLOUR),
        (field.masked.any(), "masked by the preparation", MASKED_COLOUR),
        (not field.seen.all(), "not seen by the network", NOT_SEEN_COLOUR),
    )
    handles += [
        Patch(facecolor=colour, edgecolor="0.4", label=name) for there, name, colour in states if there
    ]
    if handles:
        place = (0.25 / figure.get_figwidth(), 1 - 0.48 / figure.get_figheight())
        figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=place,
            ncols=len(handles),
            frameon=False,
            borderpad=0,
        )


def _colours(values: Floats, field: Field, colours: Colormap, norm: Normalize) -> Floats:
    """Return red, green and blue of each cell; what says nothing has the colour of its state."""
    rgb: Floats = np.asarray(colours(norm(np.nan_to_num(values))))[..., :3].copy()
    rgb[~np.isfinite(values)] = to_rgb(NOT_SEEN_COLOUR)
    return _states(rgb, field)


def _states(rgb: Floats, field: Field) -> Floats:
    for where, colour in (
        (field.masked, MASKED_COLOUR),
        (~field.seen, NOT_SEEN_COLOUR),
        (~field.channels & field.seen, NO_CHANNEL_COLOUR),
    ):
        rgb[where] = to_rgb(colour)
    return rgb


def _show(axes: Axes, rgb: Floats, field: Field, title: str, first: bool) -> None:
    rows, columns = rgb.shape[:2]
    if field.detector:
        shown, size = rgb.transpose(1, 0, 2), (rows, columns)
        half = rows // 2
        ieta = [value for value in range(-half, half + 1) if value and value % 10 == 0] + [-1, 1]
        axes.set_xlabel("ieta")
        axes.set_ylabel("iphi" if first else "")
    else:
        shown, size = rgb, (columns, rows)
        axes.set_xlabel(f"{field.axes[1]} (pixel of the image)")
        axes.set_ylabel(f"{field.axes[0]} (pixel of the image)" if first else "")
    axes.imshow(
        shown,
        origin="lower",
        extent=(-0.5, size[0] - 0.5, -0.5, size[1] - 0.5),
        aspect="auto",
        interpolation="none",
    )
    if field.detector:
        ieta = sorted(ieta)
        kept = [value for value in ieta if value != -1]
        axes.set_xticks([value + half - (value > 0) for value in kept], [str(value) for value in kept])
        ticks = [1, *range(12, columns + 1, 12)]
        axes.set_yticks([value - 1 for value in ticks], [str(value) for value in ticks])
    axes.minorticks_off()
    axes.set_title(title, loc="left", fontsize=12)


def _bar(figure: Figure, axes: Axes, colours: Colormap, norm: Normalize, label: str) -> None:
    box, width = axes.get_position(), figure.get_figwidth()
    beside = figure.add_axes((box.x1 + 0.08 / width, box.y0, 0.12 / width, box.height))
    bar = figure.colorbar(ScalarMappable(norm, colours), cax=beside)
    if isinstance(norm, LogNorm):
        _narrow_ticks(bar, float(norm.vmin or 1.0), float(norm.vmax or 1.0))
    beside.tick_params(labelsize=9)
    beside.set_title(label, fontsize=9, loc="left", pad=5)


def _narrow_ticks(bar: Colorbar, low: float, high: float) -> None:
    """Name decades, or within two of them plain numbers: 6 x 10^2 would reach into the next panel."""
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    if high / low >= 100:
        return
    some = np.asarray(LogLocator(subs=(1, 2, 5)).tick_values(low, high))
    if ((some >= low) & (some <= high)).sum() < 3:
        some = np.asarray(MaxNLocator(5).tick_values(low, high))
    ticks = [value for value in some if low <= value <= high]
    bar.set_ticks(ticks, labels=[f"{value:g}" for value in ticks])


def _scale(values: Floats, method: str, field: Field) -> tuple[Colormap, Normalize]:
    """Return colours of a map: around zero where it has a sign, else from zero, so that even attention looks even."""
    inside = values[field.channels & field.seen & ~field.masked & np.isfinite(values)]
    low, high = (float(inside.min()), float(inside.max())) if inside.size else (0.0, 1.0)
    if method in SIGNED:
        reach = max(-low, high) or 1.0
        return colour_map("evidence"), Normalize(-reach, reach)
    return colormaps["viridis"], Normalize(0.0, high or 1.0)


def _image_colours(image: Floats, field: Field) -> tuple[Colormap, Normalize]:
    held = image[field.channels & (image > 0)]
    low, high = (float(held.min()), float(held.max())) if held.size else (0.1, 1.0)
    return colormaps["viridis"], LogNorm(low, high if high > low else 2 * low)


def write_sample(path: Path, shown: MapFigure, field: Field) -> Path:
    """Draw one image, each method's map, and the map laid over the image in grey; return the path.

    Overlays are the more opaque the more a cell counts; blue counts against the class. Maps of a jet show the square
    drawn in its image: the rest tells nothing.
    """
    with matplotlib.style.context([mplhep.style.CMS, STYLE]):
        figure, grid = _frame(2, 1 + len(shown.maps), shown.title)
        colours, norm = _image_colours(shown.image, field)
        whole = replace(field, masked=np.zeros_like(field.masked), seen=np.ones_like(field.seen))
        rgb = _colours(np.maximum(shown.image, norm.vmin or 0.0), whole, colours, norm)
        zero_colour = ZERO_COLOUR if field.detector else _FEW  # most of a crop or jet is zero
        rgb[field.channels & (shown.image <= 0)] = to_rgb(zero_colour)
        _show(grid[0, 0], rgb, field, "image", first=True)
        _bar(figure, grid[0, 0], colours, norm, shown.label)
        window = _window(shown.maps.values(), field)
        _outline(grid[0, 0], window)
        grid[1, 0].set_axis_off()
        for column, (name, values) in enumerate(shown.maps.items(), start=1):
            scale = _scale(values, name, field)
            _show(grid[0, column], _colours(values, field, *scale), field, name, first=False)
            _bar(figure, grid[0, column], *scale, "log-odds" if name in SIGNED else "weight")
            _show(
                grid[1, column],
                _overlay(shown.image, values, field, scale),
                field,
                "over the image",
                first=column == 1,
            )
            _zoom(grid[0, column], window)
            _zoom(grid[1, column], window)
        zero = bool((field.channels & (shown.image <= 0)).any())
        _legend(figure, field, [Patch(facecolor=zero_colour, edgecolor="0.4", label="zero")] if zero else [])
        figure.savefig(path, dpi=80, pil_kwargs={"compress_level": 4})
    return path


def _overlay(image: Floats, values: Floats, field: Field, scale: tuple[Colormap, Normalize]) -> Floats:
    _, norm = _image_colours(image, field)
    grey = np.asarray(
        colormaps["Greys"](0.1 + 0.6 * np.clip(norm(np.maximum(image, norm.vmin or 0.0)), 0, 1))
    )[..., :3]
    colours, high, known = scale[0], scale[1].vmax or 1.0, np.nan_to_num(values)
    signed = (scale[1].vmin or 0.0) < 0
    weight = np.clip(np.abs(known) / high, 0, 1)[..., None]
    heat = colours(scale[1](known)) if signed else colormaps["YlOrRd"](0.35 + 0.6 * weight[..., 0])
    mixed: Floats = (1 - 0.85 * weight) * grey + 0.85 * weight * np.asarray(heat)[..., :3]
    return _states(mixed, field)


def write_means(path: Path, means: Mapping[str, Mapping[str, Floats]], field: Field, title: str) -> Path:
    """Draw mean maps, one row per class, one column per method; return the path.

    Of jets the middle only, where the rest of the maps tells nothing.
    """
    with matplotlib.style.context([mplhep.style.CMS, STYLE]):
        methods = list(next(iter(means.values())))
        figure, grid = _frame(len(means), len(methods), title)
        window = _window([values for maps in means.values() for values in maps.values()], field)
        for row, (name, maps) in enumerate(means.items()):
            for column, (method, values) in enumerate(maps.items()):
                scale = _scale(values, method, field)
                axes = grid[row, column]
                _show(axes, _colours(values, field, *scale), field, f"{name}\n{method}", first=column == 0)
                _zoom(axes, window)
                _bar(figure, axes, *scale, "relative")
        _legend(figure, field)
        figure.savefig(path, dpi=80, pil_kwargs={"compress_level": 4})
    return path


def write_experts(path: Path, shares: Floats, field: Field, title: str) -> Path:
    """Draw which expert each patch goes to, one column per block; return the path.

    Parameters
    ----------
    shares
        [block, expert, row, column]; the first row of panels tells the expert with the largest share, the others the
        share of each.
    """
    blocks, experts = shares.shape[:2]
    named = ListedColormap(series_colours(experts))
    whole = replace(field, channels=np.ones_like(field.channels), masked=np.zeros_like(field.masked))
    with matplotlib.style.context([mplhep.style.CMS, STYLE]):
        figure, grid = _frame(1 + experts, blocks, title)
        for block in range(blocks):
            known = np.nan_to_num(shares[block])
            best = np.where(field.seen, known.argmax(axis=0).astype(np.float64), np.nan)
            norm = Normalize(-0.5, experts - 0.5)
            _show(
                grid[0, block],
                _colours(best, whole, named, norm),
                field,
                f"block {block}: most to",
                block == 0,
            )
            for expert in range(experts):
                axes, share = grid[1 + expert, block], Normalize(0, 1)
                rgb = _colours(shares[block, expert], whole, colormaps["viridis"], share)
                _show(axes, rgb, field, f"share of expert {expert}", first=block == 0)
                _bar(figure, axes, colormaps["viridis"], share, "")
        labels = [Patch(facecolor=named(e), edgecolor="0.4", label=f"expert {e}") for e in range(experts)]
        _legend(figure, whole, labels)
        figure.savefig(path, dpi=80, pil_kwargs={"compress_level": 4})
    return path


@dataclass(frozen=True, eq=False)
class Line:
    """Mean deletion and insertion curve of a method, shape (step,), and the areas under both."""

    deletion: Floats
    insertion: Floats
    areas: tuple[float, float]


def write_curves(path: Path, share: Floats, lines: Mapping[str, Line], title: str) -> Path:
    """Draw deletion and insertion curves; return the path.

    Parameters
    ----------
    path
        Of the picture.
    share
        Of cells changed, shape (step,).
    lines
        By the method's words; ``random`` and ``size`` are drawn as what to beat.
    title
        Of the figure.
    """
    with matplotlib.style.context([mplhep.style.CMS, STYLE | {"legend.frameon": False}]):
        figure = Figure(figsize=(13.5, 6.6))
        FigureCanvasAgg(figure)
        figure.text(0.02, 0.95, title, fontsize=15, fontweight="bold", va="center")
        for number, name in enumerate(("deletion: low is faithful", "insertion: high is faithful")):
            axes = figure.add_axes((0.065 + 0.49 * number, 0.36, 0.42, 0.5))
            _lines(axes, share, lines, number)
            axes.set_title(name, loc="left", fontsize=13)
        figure.savefig(path, dpi=80, pil_kwargs={"compress_level": 4})
    return path


def _lines(axes: Axes, share: Floats, lines: Mapping[str, Line], number: int) -> None:
    colours = series_colours(len(lines))
    beside = {"random": ("random order", "0.55", "--"), "size": ("largest cells first", "black", ":")}
    for place, (method, line) in enumerate(lines.items()):
        words, colour, style = beside.get(method, (method, colours[place], "-"))
        axes.plot(
            100 * share,
            (line.deletion, line.insertion)[number],
            color=colour,
            ls=style,
            marker="" if method in beside else MARKERS[place % len(MARKERS)],
            ms=5,
            lw=2,
            label=f"{words}: {line.areas[number]:.3f}",
        )
    axes.set(xlabel="cells changed (%), largest attribution first", ylim=(-0.03, 1.03), xlim=(0, 100))
    axes.set_ylabel("probability of the class")
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(0, -0.19),
        ncols=2,
        title="area under the curve",
        alignment="left",
        columnspacing=1.2,
    )
