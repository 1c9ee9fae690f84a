"""From images as they were read to what a network sees: learned on the training side, the same everywhere after."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from calowatch.core.errors import FormatError, InputError
from calowatch.core.progress import SILENT, Progress
from calowatch.core.training import ImageStep, ImageStepName
from calowatch.data.images import ImageData

__all__ = ["ImagePreparation", "fit_preparation", "load_preparation"]

Ints = npt.NDArray[np.int64]
Images = npt.NDArray[np.float32]
Learned = Mapping[str, npt.NDArray[np.float64]]

_FILE, _ARRAYS = "preparation.json", "preparation.npz"
_SAMPLE = 4096  # images whose values give a quantile: some million of them
_DEFAULT = {"mask_deviating": 5.0, "channel_scale": 0.99, "signed_log": 1.0}
_LEAST_SPREAD = 1e-3  # of the ring's median: rings so even that rounding would look like deviation


@dataclass(frozen=True, eq=False)
class ImagePreparation:
    """Steps with what they learned.

    Parameters
    ----------
    steps
        In order.
    learned
        What each step learned, by name; empty for steps that learn nothing.
    scalar_mean, scalar_std
        Of the numbers beside the image on the training side, which are brought to mean 0 and deviation 1.
    """

    steps: tuple[ImageStep, ...] = ()
    learned: tuple[Learned, ...] = ()
    scalar_mean: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    scalar_std: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def transform(self, images: npt.NDArray[Any]) -> Images:
        """Return prepared images; the input stays as it is.

        Parameters
        ----------
        images
            As read, [image, channel, row, column].
        """
        x = np.array(images, np.float32)
        for step, learned in zip(self.steps, self.learned, strict=True):
            _STEPS[step.step].apply(x, learned)
        return x

    def transform_scalars(self, scalars: npt.NDArray[Any]) -> Images:
        """Return prepared numbers beside the images, [image, scalar]."""
        return ((np.asarray(scalars, np.float64) - self.scalar_mean) / self.scalar_std).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write ``preparation.json`` and ``preparation.npz`` into a folder."""
        document = {"steps": [step.model_dump(exclude_none=True) for step in self.steps]}
        (folder / _FILE).write_text(json.dumps(document, indent=1) + "\n")
        arrays: dict[str, Any] = {
            f"{number}_{name}": values
            for number, learned in enumerate(self.learned)
            for name, values in learned.items()
        }
        with (folder / _ARRAYS).open("wb") as stream:
            np.savez_compressed(stream, scalar_mean=self.scalar_mean, scalar_std=self.scalar_std, **arrays)


def load_preparation(folder: Path) -> ImagePreparation:
    """Return what `ImagePreparation.save` wrote.

    Raises
    ------
    FormatError
        When the files are missing or damaged.
    """
    try:
        given = json.loads((folder / _FILE).read_text())["steps"]
        steps = TypeAdapter(tuple[ImageStep, ...]).validate_python(given)
        with np.load(folder / _ARRAYS, allow_pickle=False) as arrays:
            held = {name: arrays[name] for name in arrays.files}
        learned = tuple(
            {name: held[f"{number}_{name}"] for name in _STEPS[step.step].names}
            for number, step in enumerate(steps)
        )
        return ImagePreparation(steps, learned, held["scalar_mean"], held["scalar_std"])
    except (OSError, ValueError, LookupError, TypeError, BadZipFile, ValidationError) as error:
        raise FormatError(
            folder / _FILE,
            "the preparation of a classifier",
            str(error).splitlines()[0],
            "copy the bundle again",
        ) from error


def fit_preparation(
    data: ImageData, rows: Ints, steps: Sequence[ImageStep], progress: Progress = SILENT
) -> ImagePreparation:
    """Learn a preparation from some images; nothing else is looked at.

    Parameters
    ----------
    data
        The images.
    rows
        The training side.
    steps
        What to do, in order; each step sees what the steps before it give.
    progress
        Told of each pass through the images.

    Raises
    ------
    InputError
        Without rows, or when a step meets values that it cannot take (a logarithm of numbers below zero).
    """
    if not len(rows):
        raise InputError("training side", "images", "none", "give it a share")
    fitted = ImagePreparation()
    for number, step in enumerate(steps):
        kind, at = _STEPS[step.step], step.at or _DEFAULT.get(step.step, 0.0)
        learned = kind.learn(_Seen(data, rows, fitted, at, progress))
        fitted = ImagePreparation(tuple(steps[: number + 1]), (*fitted.learned, learned))
    scalars = np.asarray(data.scalars[rows], np.float64)
    spread = scalars.std(axis=0)
    return ImagePreparation(
        fitted.steps, fitted.learned, scalars.mean(axis=0), np.where(spread > 0, spread, 1.0)
    )


@dataclass(frozen=True, eq=False)
class _Seen:
    """The training side as a step sees it, and the step's own number."""

    data: ImageData
    rows: Ints
    before: ImagePreparation
    at: float
    progress: Progress

    def pieces(self) -> Any:
        cut = list(self.data.pieces(self.rows))
        for piece in self.progress.track(cut, "learning the preparation", len(cut)):
            yield self.data.labels[piece], self.before.transform(self.data.images.read(piece))


def _nothing(_: _Seen) -> Learned:
    return {}


def _not_negative(seen: _Seen) -> Learned:
    """Refuse what a logarithm of 1 + x, a sum or a ring mean cannot take."""
    for _, x in seen.pieces():
        if (x < 0).any():
            raise InputError(
                "steps",
                "values of zero or more before this step",
                "negative ones",
                "put it first, or use signed_log",
            )
    return {}


def _log1p(x: Images, _: Learned) -> None:
    np.log1p(np.maximum(x, 0, out=x), out=x)


def _range(seen: _Seen) -> Learned:
    low, high = None, None
    for _, x in seen.pieces():
        least, most = x.min(axis=(0, 2, 3)).astype(np.float64), x.max(axis=(0, 2, 3)).astype(np.float64)
        low = least if low is None else np.minimum(low, least)
        high = most if high is None else np.maximum(high, most)
    assert low is not None
    assert high is not None
    return {"offset": low, "scale": np.where(high > low, high - low, 1.0)}


def _moments(seen: _Seen) -> Learned:
    count, total, squares = 0, np.zeros(1), np.zeros(1)
    for _, x in seen.pieces():
        count += x[:, 0].size
        total = total + x.sum(axis=(0, 2, 3), dtype=np.float64)
        squares = squares + np.einsum("ncij,ncij->c", x, x, dtype=np.float64)
    mean = total / count
    spread = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    return {"offset": mean, "scale": np.where(spread > 0, spread, 1.0)}


def _linear(x: Images, learned: Learned) -> None:
    x -= learned["offset"].astype(np.float32)[:, None, None]
    x /= learned["scale"].astype(np.float32)[:, None, None]


def _unit_sum(x: Images, _: Learned) -> None:
    total = x.sum(axis=(2, 3), keepdims=True, dtype=np.float64)
    x /= np.where(total > 0, total, 1.0)


def _unit_ring(x: Images, _: Learned) -> None:
    count = (x != 0).sum(axis=3, keepdims=True)
    total = x.sum(axis=3, keepdims=True, dtype=np.float64)
    x *= np.where(total > 0, count / np.where(total > 0, total, 1.0), 1.0)


def _deviating(seen: _Seen) -> Learned:
    """Return 0 for cells to be masked, 1 for others: [channel, row, column]."""
    count: dict[int, int] = {}
    classes: dict[int, Any] = {}
    for labels, x in seen.pieces():
        for label in np.unique(labels).tolist():
            mine = x[labels == label]
            count[label] = count.get(label, 0) + len(mine)
            classes[label] = classes.get(label, 0.0) + mine.sum(axis=0, dtype=np.float64)
    means = np.stack([classes[label] / count[label] for label in sorted(classes)])
    cells = np.where((means != 0).any(axis=0), 1.0, np.nan)
    # Only rings with some cells: of an empty row there is no median.
    some = ~np.isnan(cells).all(axis=-1)
    keep = np.ones(cells.shape)
    values = (means * cells)[:, some]
    middle = np.nanmedian(values, axis=-1, keepdims=True)
    spread = 1.4826 * np.nanmedian(np.abs(values - middle), axis=-1, keepdims=True)
    limit = seen.at * np.maximum(spread, _LEAST_SPREAD * np.abs(middle))
    keep[some] = np.where((np.abs(values - middle) > limit).any(axis=0), 0.0, 1.0)
    return {"keep": keep}


def _mask(x: Images, learned: Learned) -> None:
    x *= learned["keep"].astype(np.float32)


def _quantile(seen: _Seen) -> Learned:
    rng = np.random.default_rng(0)
    rows = np.sort(rng.choice(seen.rows, min(_SAMPLE, len(seen.rows)), replace=False))
    sample = _Seen(seen.data, rows, seen.before, seen.at, seen.progress)
    read = [x for _, x in sample.pieces()]
    scale = []
    for channel in range(seen.data.images.shape[1]):
        values = np.concatenate([np.abs(x[:, channel][x[:, channel] != 0]) for x in read])
        scale.append(float(np.quantile(values, seen.at)) if values.size else 1.0)
    return {"offset": np.zeros(len(scale)), "scale": np.array(scale)}


def _scale_of_log(seen: _Seen) -> Learned:
    return {"at": np.array([seen.at])}


def _signed_log(x: Images, learned: Learned) -> None:
    np.copyto(x, np.copysign(np.log1p(np.abs(x) / np.float32(learned["at"][0])), x))


@dataclass(frozen=True)
class _Step:
    """How a step learns and what it does, in place, to float32 images of our own."""

    learn: Callable[[_Seen], Learned]
    apply: Callable[[Images, Learned], None]
    names: tuple[str, ...] = ()


_SCALED = ("offset", "scale")

_STEPS: Mapping[ImageStepName, _Step] = MappingProxyType(
    {
        "log1p": _Step(_not_negative, _log1p),
        "min_max": _Step(_range, _linear, _SCALED),
        "standard": _Step(_moments, _linear, _SCALED),
        "unit_sum": _Step(_not_negative, _unit_sum),
        "unit_ring": _Step(_not_negative, _unit_ring),
        "mask_deviating": _Step(_deviating, _mask, ("keep",)),
        "channel_scale": _Step(_quantile, _linear, _SCALED),
        "signed_log": _Step(_scale_of_log, _signed_log, ("at",)),
    }
)
