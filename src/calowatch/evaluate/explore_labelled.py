"""Numbers of labelled images of particles and jets: means and spectra per class, observables with their AUC."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.core.errors import InputError
from calowatch.core.progress import SILENT, Progress, SilentProgress
from calowatch.core.training import ImageDataRecipe
from calowatch.data.image_sets import open_images
from calowatch.data.images import ImageData
from calowatch.io.egamma import find_egamma
from calowatch.io.jets import find_jets
from calowatch.metrics.ranking import roc_auc
from calowatch.models.classical import tabulate
from calowatch.present.explore_labelled import LabelledNumbers, Spectrum

__all__ = ["labelled_kind", "labelled_numbers", "open_labelled"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Kind = Literal["egamma", "jets"]

_BINS = 60
_SAMPLES = 4
_LOOK = 2000  # images of each class that decide the edges of spectra
_BYTES = 32 * 2**20  # read together
_VAGUE = 0.1  # error of an AUC above which it is told
_SURE = 3.0  # errors of an AUC of one half by which labels look exchanged

_FEWER = MappingProxyType({"jets": "multiplicity"})
"""Observable that is smaller for the second class, whatever made the images, by kind of images."""

_OBSERVERS: Mapping[str, str] = MappingProxyType({"egamma": "showers", "jets": "jets"})
"""Sets of observables by kind of images."""

_SCALARS: Mapping[Kind, tuple[str, ...]] = MappingProxyType({"egamma": (), "jets": ("pt", "m0")})
"""Numbers beside the images that are looked at like observables."""

_FINDERS: Mapping[Kind, Callable[[str | Path], list[Path]]] = MappingProxyType(
    {"egamma": find_egamma, "jets": find_jets}
)


def labelled_kind(sources: Sequence[str | Path]) -> Kind | None:
    """Return what kind of labelled images the sources are, None for anything else.

    Raises
    ------
    InputError
        When only some of them are, or they are of two kinds.
    """
    kinds = {str(source): _kind_of(source) for source in sources}
    found = set(kinds.values())
    if len(found) > 1:
        words = ", ".join(
            f"{Path(source).name}: {kind or 'something else'}" for source, kind in kinds.items()
        )
        raise InputError(
            "sources", "images of one kind, or runs and image sets", words, "explore each kind by itself"
        )
    return next(iter(found), None)


def _kind_of(source: str | Path) -> Kind | None:
    return next((kind for kind, find in _FINDERS.items() if find(source)), None)


def open_labelled(
    kind: Kind, sources: Sequence[str | Path], progress: Progress = SILENT
) -> tuple[ImageData, tuple[str, ...]]:
    """Open labelled images, of which one class may be missing; return them and what is odd in the files."""
    notes = _Notes(progress)
    recipe = ImageDataRecipe(kind=kind, scalars=_SCALARS[kind])
    data = open_images(sources, recipe, notes, partial=True)
    n = np.bincount(data.labels, minlength=len(data.classes))
    for name in (name for name, number in zip(data.classes, n, strict=True) if not number):
        notes.note(f"no image of the class {name}: nothing is compared, and nothing can be trained on this")
    if n.all() and _error(n) > _VAGUE:
        words = " and ".join(f"{number} of {name}" for name, number in zip(data.classes, n, strict=True))
        notes.note(f"few images ({words}): AUCs are known to {_error(n):.2f} only")
    return data, tuple(notes.notes)


class _Notes(SilentProgress):
    """Passes everything on, and remembers the notes."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self.track = progress.track  # type: ignore[method-assign]

    def note(self, message: str) -> None:
        """Remember the message, and pass it on."""
        super().note(message)
        self._progress.note(message)


@dataclass
class _Sums:
    """What one pass over the images of all classes adds up; the first axis is the class."""

    total: Floats
    filled: Floats
    ends: Floats
    edges: Sequence[Floats]
    counts: list[Floats]
    tables: list[Floats] = field(default_factory=list)
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, data: ImageData, edges: Sequence[Floats]) -> "_Sums":
        classes, (_, channels, *pixels) = len(data.classes), data.images.shape
        shape = (classes, channels, *pixels)
        counts = [np.zeros((classes, len(each) - 1)) for each in edges]
        ends = np.stack([np.full((classes, channels), np.inf), np.full((classes, channels), -np.inf)])
        return cls(np.zeros(shape), np.zeros(shape), ends, edges, counts)

    def add(self, images: npt.NDArray[np.float32], label: int) -> None:
        self.total[label] += images.sum(axis=0, dtype=np.float64)
        self.filled[label] += (images != 0).sum(axis=0)
        for channel, edges in enumerate(self.edges):
            values = images[:, channel]
            self.ends[0, label, channel] = min(self.ends[0, label, channel], values.min())
            self.ends[1, label, channel] = max(self.ends[1, label, channel], values.max())
            inside = np.clip(values[values != 0], edges[0], np.nextafter(edges[-1], -np.inf))
            self.counts[channel][label] += np.histogram(inside, edges)[0]

    def observe(self, data: ImageData, images: npt.NDArray[np.float32], rows: Ints) -> None:
        if data.kind in _OBSERVERS:
            names, values = tabulate(_OBSERVERS[data.kind], images, np.empty((len(images), 0)))
            self.names = (*names, *data.scalar_names)
            self.tables.append(np.concatenate([values, data.scalars[rows]], axis=1).astype(np.float32))


def labelled_numbers(
    data: ImageData, notes: Sequence[str] = (), progress: Progress = SILENT
) -> LabelledNumbers:
    """Return the numbers of labelled images, read once, some megabytes at a time.

    Parameters
    ----------
    data
        Images of one or more classes.
    notes
        What is odd in the files.
    progress
        Shows how far it is, and is told where labels look exchanged.
    """
    classes = range(len(data.classes))
    rows = [np.flatnonzero(data.labels == label) for label in classes]
    sums = _Sums.of(data, _edges(data, rows))
    size = max(1, _BYTES // (4 * int(np.prod(data.images.shape[1:]))))
    pieces = [(label, piece) for label in classes for piece in data.pieces(rows[label], size)]
    for label, piece in progress.track(pieces, "exploring images", len(pieces)):
        images = data.images.read(piece)
        sums.add(images, label)
        sums.observe(data, images, piece)
    n = np.array([len(each) for each in rows])
    whole = np.maximum(n, 1)[:, None, None, None]
    present = [label for label in classes if n[label]]
    observables = _observables(sums, n, present)
    exchanged = _exchanged(data, observables[0])
    for note in exchanged:
        progress.note(note)
    return LabelledNumbers(
        kind=data.kind,
        classes=data.classes,
        channels=data.channels,
        axes=data.axes,
        n=n,
        mean=sums.total / whole,
        frequency=sums.filled / whole,
        ends=np.where(np.isfinite(sums.ends), sums.ends, 0.0),
        spectra=_spectra(data, sums, n),
        observables=observables,
        samples=[data.images.read(_evenly(each)) for each in rows],
        sample_numbers=[_evenly(each) for each in rows],
        notes=(*notes, *exchanged),
        sources=tuple(dict.fromkeys(data.table["source"])),
    )


def _evenly(rows: Ints) -> Ints:
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(_SAMPLES, len(rows))).astype(np.int64))]


def _edges(data: ImageData, rows: Sequence[Ints]) -> list[Floats]:
    """Return edges of the spectrum of each channel: logarithmic where nothing is negative."""
    some = np.concatenate([each[:: max(1, len(each) // _LOOK)][:_LOOK] for each in rows])
    size = max(1, _BYTES // (4 * int(np.prod(data.images.shape[1:]))))
    found: list[list[Floats]] = [[] for _ in data.channels]
    for piece in data.pieces(some, size):
        images = data.images.read(piece)
        for channel, values in enumerate(found):
            values.append(images[:, channel][images[:, channel] != 0].astype(np.float64))
    edges = []
    for values in found:
        every = np.concatenate(values) if values else np.empty(0)
        if not every.size:
            edges.append(np.linspace(0.0, 1.0, _BINS + 1))
        elif every.min() > 0:
            edges.append(np.geomspace(np.quantile(every, 0.0005), every.max() * 1.2, _BINS + 1))
        else:
            edges.append(np.linspace(every.min(), every.max() + 1e-9, _BINS + 1))
    return edges


def _spectra(data: ImageData, sums: _Sums, n: Ints) -> tuple[Spectrum, ...]:
    return tuple(
        Spectrum(name, edges, counts / np.maximum(n, 1)[:, None], bool(edges[0] > 0))
        for name, edges, counts in zip(data.channels, sums.edges, sums.counts, strict=True)
    )


def _error(n: Ints) -> float:
    """Return the error of an AUC of one half (Mann and Whitney 1947, Ann. Math. Stat. 18, 50), the largest there is."""
    return float(np.sqrt((n.sum() + 1.0) / (12.0 * n[0] * n[1])))


def _exchanged(data: ImageData, table: pd.DataFrame) -> list[str]:
    """Return a note where an observable says that labels are the other way round."""
    name = _FEWER.get(data.kind)
    found = table[table["observable"] == name].dropna(subset=["auc"]).to_dict("records")
    first, second = data.classes[:2]
    return [
        f"{name} is larger for {second} (label 1) than for {first} (AUC {row['auc']:.3f}) but must be smaller: "
        "labels look exchanged"
        for row in found
        if row["auc"] > 0.5 + _SURE * row["error"]
    ]


def _bins(values: Floats) -> Floats:
    """Return edges of bins for one observable: one or more whole numbers to a bin where all values are whole."""
    low, high = (float(end) for end in np.quantile(values, [0.002, 0.998]))
    if (values == np.rint(values)).all():
        width = max(1, -(-int(high - low + 1) // _BINS))
        return np.arange(low, high + width + 1, width) - 0.5
    return np.linspace(low, high if high > low else low + 1.0, _BINS + 1)


def _observables(sums: _Sums, n: Ints, present: Sequence[int]) -> tuple[pd.DataFrame, dict[str, Spectrum]]:
    """Return a row per observable, the best first, and their distributions."""
    columns = ["observable", "auc", "error", *(f"mean {label}" for label in range(len(n)))]
    if not sums.tables:
        return pd.DataFrame(columns=columns), {}
    table = np.concatenate(sums.tables)
    labels = np.repeat(np.arange(len(n)), n)
    rows: list[dict[str, Any]] = []
    spectra = {}
    for number, name in enumerate(sums.names):
        values = table[:, number].astype(np.float64)
        row: dict[str, Any] = {"observable": name, "auc": np.nan, "error": np.nan}
        if len(n) == 2 and len(present) == 2:
            row["auc"] = roc_auc(labels == 1, values)
            row["error"] = _error(n)
        row |= {f"mean {label}": values[labels == label].mean() for label in present}
        rows.append(row)
        edges = _bins(values)
        counts = [
            np.histogram(values[labels == label], edges)[0] / max(n[label], 1) for label in range(len(n))
        ]
        spectra[name] = Spectrum(name, edges, np.stack(counts), log=False)
    found = pd.DataFrame(rows).reindex(columns=columns)
    best = (found["auc"] - 0.5).abs().fillna(0.0).sort_values(ascending=False, kind="stable").index
    return found.loc[best].reset_index(drop=True), spectra
