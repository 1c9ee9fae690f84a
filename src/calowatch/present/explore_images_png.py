"""PNG figures of explored image sets, in CMS style: mean maps, samples, hit frequency, distributions."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.style
import mplhep
import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from calowatch.core.progress import SILENT, Progress
from calowatch.present.explore_colours import series_colours
from calowatch.present.explore_given import Exploration, ImageNumbers
from calowatch.present.maps import STYLE
from calowatch.present.palette import colour_map

__all__ = ["difference_title", "field_view", "log_limits", "write_image_figures"]

Floats = npt.NDArray[np.float64]

_HALF = 32  # rows of an image on either side of ieta 0
_EMPTY = "#eeeeee"


def field_view(image: npt.NDArray[Any]) -> Floats:
    """Return an image as the field draws it: shape (72 iphi, 65 ieta from -32 to 32), NaN at ieta 0.

    Examples
    --------
    >>> image = np.zeros((64, 72))
    >>> image[5, 9] = 2.0  # ieta -27, iphi 10
    >>> field_view(image)[9, -27 + 32]
    np.float64(2.0)
    """
    values = np.asarray(image, np.float64)
    nowhere = np.full((1, values.shape[1]), np.nan)
    return np.concatenate([values[:_HALF], nowhere, values[_HALF:]]).T


def difference_title(each: ImageNumbers, first: ImageNumbers, quantity: str) -> str:
    """Return the title of a difference map, which says so where no cell differs."""
    same = np.array_equal(getattr(each, quantity), getattr(first, quantity))
    return f"{each.label} - {first.label}" + (": no cell differs" if same else "")


def log_limits(maps: Sequence[Floats]) -> tuple[float, float]:
    """Return the ends of the logarithmic colour scale that some maps share: the smallest and largest positive value."""
    positive = np.concatenate([image[image > 0] for image in maps])
    if not positive.size:
        return 0.1, 1.0
    low, high = float(positive.min()), float(positive.max())
    return (low, high) if low < high else (low / 2.0, high * 2.0)


def _panels(title: str, n: int, columns: int = 2) -> tuple[Figure, list[Axes]]:
    columns = min(columns, n)
    rows = -(-n // columns)
    height = 5.2 * rows + 0.8
    figure = Figure(figsize=(max(6.6 * columns, 9.0), height))
    FigureCanvasAgg(figure)
    figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1, rect=(0, 0, 1, 1 - 0.7 / height)))
    figure.text(0.012, 1 - 0.36 / height, title, fontsize=18, fontweight="bold", va="center")
    panels = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for axes in panels[n:]:
        axes.set_axis_off()
    return figure, panels[:n]


def _map(axes: Axes, image: Floats, colours: Colormap, norm: Normalize, title: str) -> Any:
    """Draw one image; cells that are zero are grey, and there is no ieta 0."""
    shown = np.where(image == 0, np.nan, image)
    axes.set_facecolor(_EMPTY)
    drawn = axes.imshow(
        field_view(shown),
        cmap=colours,
        norm=norm,
        origin="lower",
        extent=(-_HALF - 0.5, _HALF + 0.5, 0.5, 72.5),
        aspect="auto",
        interpolation="nearest",
    )
    axes.axvspan(-0.5, 0.5, color="white", lw=0)
    axes.set(xlabel="ieta", ylabel="iphi")
    axes.set_xticks(range(-30, 31, 10))
    axes.set_yticks([1, 18, 36, 54, 72])
    axes.set_title(title, loc="left", fontweight="bold", fontsize=13)
    return drawn


def _draw_means(sets: Sequence[ImageNumbers]) -> Figure:
    figure, panels = _panels("Mean image, grey: zero in every image", len(sets))
    norm = LogNorm(*log_limits([each.mean for each in sets]))
    for axes, each in zip(panels, sets, strict=True):
        title = f"{each.label}, {each.n} images"
        drawn = _map(axes, each.mean, colormaps["viridis"], norm, title)
    figure.colorbar(drawn, ax=panels, label="mean value (log)", aspect=30, pad=0.01)
    return figure


def _draw_differences(sets: Sequence[ImageNumbers], quantity: str) -> Figure:
    """Return maps of ``mean`` or ``frequency`` of each set less the first one's."""
    word = "Mean" if quantity == "mean" else "Hit frequency"
    figure, panels = _panels(f"{word}, difference to {sets[0].label}, grey: none", len(sets) - 1)
    differences = [getattr(each, quantity) - getattr(sets[0], quantity) for each in sets[1:]]
    reach = max(float(np.abs(difference).max()) for difference in differences) or 1.0
    for axes, each, difference in zip(panels, sets[1:], differences, strict=True):
        title = difference_title(each, sets[0], quantity)
        drawn = _map(axes, difference, colour_map("evidence"), Normalize(-reach, reach), title)
    unit = "difference of means" if quantity == "mean" else "difference of frequencies"
    figure.colorbar(drawn, ax=panels, label=unit, aspect=30, pad=0.01)
    return figure


def _draw_frequencies(sets: Sequence[ImageNumbers]) -> Figure:
    figure, panels = _panels("Hit frequency, grey: never hit", len(sets))
    for axes, each in zip(panels, sets, strict=True):
        drawn = _map(axes, each.frequency, colormaps["viridis"], Normalize(0, 1), each.label)
    figure.colorbar(
        drawn, ax=panels, label="share of images in which the cell is not zero", aspect=30, pad=0.01
    )
    return figure


def _draw_samples(sets: Sequence[ImageNumbers]) -> Figure:
    shown = [
        (each, image, number)
        for each in sets
        for image, number in zip(each.samples, each.sample_numbers, strict=True)
    ]
    columns = max(len(each.sample_numbers) for each in sets)
    figure, panels = _panels("Samples, evenly spaced in the file, grey: zero", len(shown), columns)
    norm = LogNorm(*log_limits([each.samples for each in sets]))
    for axes, (each, image, number) in zip(panels, shown, strict=True):
        drawn = _map(axes, image, colormaps["viridis"], norm, f"{each.label}, image {number}")
    figure.colorbar(drawn, ax=panels, label="value (log)", aspect=30, pad=0.01)
    return figure


def _draw_distributions(given: Exploration) -> Figure:
    """Return the distribution of values, of the mean of each image and of its share of zeros."""
    figure, (values, levels) = _panels("Distributions", 2)
    colours = series_colours(len(given.images))
    ends = [each.level for each in given.images]
    edges = np.histogram_bin_edges(np.concatenate(ends), 60)
    for each, colour in zip(given.images, colours, strict=True):
        text = f"{each.label}, sparsity {100 * each.statistics['sparsity_mean']:.3f} %"
        values.stairs(each.distribution, given.value_edges, color=colour, lw=1.8, label=text)
        share = np.histogram(each.level, edges)[0] / each.n
        levels.stairs(share, edges, color=colour, lw=1.8, label=each.label)
    values.set(xlabel="value of a cell (zeros left out)", ylabel="cells per image and bin", yscale="log")
    levels.set(xlabel="mean of an image (all cells)", ylabel="share of images per bin")
    levels.set_ylim(bottom=0)
    for axes in (values, levels):
        axes.margins(x=0)
        axes.set_ylim(top=axes.get_ylim()[1] * (6 if axes is values else 1.25))
        axes.legend(frameon=False, fontsize=11, loc="upper right")
    return figure


def _draw_course(given: Exploration) -> Figure:
    figure, (axes,) = _panels("Mean of each image, in the order of the file", 1)
    figure.set_size_inches(13, 6)
    for each, colour in zip(given.images, series_colours(len(given.images)), strict=True):
        axes.plot(each.level, ".", ms=3, mew=0, color=colour, label=each.label, rasterized=True)
    axes.set(xlabel="image", ylabel="mean of the image (all cells)")
    axes.set_ylim(0, axes.get_ylim()[1] * 1.15)
    axes.legend(frameon=False, markerscale=4, ncols=4, loc="upper right")
    return figure


def write_image_figures(folder: Path, given: Exploration, progress: Progress = SILENT) -> list[Path]:
    """Write the PNG figures of all image sets into an existing folder and return their paths."""
    sets = given.images
    wanted: list[tuple[str, Callable[[], Figure]]] = [
        ("images_mean", partial(_draw_means, sets)),
        ("images_frequency", partial(_draw_frequencies, sets)),
        ("images_samples", partial(_draw_samples, sets)),
        ("images_distributions", partial(_draw_distributions, given)),
        ("images_course", partial(_draw_course, given)),
    ]
    if len(sets) > 1:
        wanted.append(("images_difference", partial(_draw_differences, sets, "mean")))
        wanted.append(("images_frequency_difference", partial(_draw_differences, sets, "frequency")))
    written = []
    for name, draw in progress.track(wanted, "drawing images", len(wanted)):
        path = folder / f"{name}.png"
        with matplotlib.style.context([mplhep.style.CMS, STYLE]):
            draw().savefig(path, dpi=100, pil_kwargs={"compress_level": 4})
        written.append(path)
    return written
