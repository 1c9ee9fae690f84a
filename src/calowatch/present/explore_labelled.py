"""The page of an exploration of labelled images: means and their ratio, spectra, observables, samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.present.explore_colours import series_colours
from calowatch.present.image_panels import ImagePanel
from calowatch.present.panels import Panel, Series
from calowatch.present.panels_page import Page, Section, Table

__all__ = ["LabelledNumbers", "Spectrum", "labelled_document", "labelled_page"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_MOST_SHOWN = 12
_LEAST_HITS = 20  # of a pixel in either class, for their ratio

_UNITS: Mapping[tuple[str, str], str] = {
    ("egamma", "energy"): "energy (50 GeV)",
    ("egamma", "time"): "time (50 ns)",
    ("jets", "tracks"): "track pT (100 GeV)",
    ("jets", "ecal"): "ECAL energy (100 GeV)",
    ("jets", "hcal"): "HCAL energy (100 GeV)",
}


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Distributions of one quantity.

    Parameters
    ----------
    name
        Of the quantity.
    edges
        Of the bins, shape (bins + 1,).
    height
        Per image, shape (class, bins).
    log
        Bins are logarithmic.
    """

    name: str
    edges: Floats
    height: Floats
    log: bool


@dataclass(frozen=True, eq=False)
class LabelledNumbers:
    """Numbers of labelled images.

    Parameters
    ----------
    kind
        egamma or jets.
    classes, channels, axes
        Names.
    n
        Images of each class.
    mean, frequency
        Mean image, and share of images in which a pixel is not zero; shape (class, channel, rows, columns).
    ends
        Smallest and largest value, shape (2, class, channel).
    spectra
        Values that are not zero, per channel.
    observables
        A row per observable (observable, auc, error, mean of each class), the one that tells most first; and their
        distributions by name.
    samples, sample_numbers
        Some images of each class, shape (k, channel, rows, columns), and their numbers.
    notes
        What is odd in the files.
    sources
        Names of the files.
    """

    kind: str
    classes: tuple[str, ...]
    channels: tuple[str, ...]
    axes: tuple[str, str]
    n: Ints
    mean: Floats
    frequency: Floats
    ends: Floats
    spectra: tuple[Spectrum, ...]
    observables: tuple[pd.DataFrame, Mapping[str, Spectrum]]
    samples: Sequence[npt.NDArray[np.float32]]
    sample_numbers: Sequence[Ints]
    notes: tuple[str, ...]
    sources: tuple[str, ...]

    @property
    def present(self) -> list[int]:
        """Labels of the classes that have images."""
        return [int(label) for label in np.flatnonzero(self.n)]

    @property
    def nonzero(self) -> Floats:
        """Share of the values that are not zero, shape (class, channel)."""
        return np.asarray(self.frequency.mean(axis=(2, 3)), np.float64)

    def ratio(self, channel: int) -> Floats | None:
        """Return ln of the mean image of class 1 over that of class 0, NaN where either has hardly any hits."""
        if len(self.present) != 2 or len(self.classes) != 2:
            return None
        first, second = self.mean[0, channel], self.mean[1, channel]
        hits = self.frequency[:, channel] * self.n[:, None, None]
        good = (first > 0) & (second > 0) & (hits >= _LEAST_HITS).all(axis=0)
        return np.log(np.where(good, second, np.nan) / np.where(good, first, np.nan))


def labelled_document(given: LabelledNumbers) -> dict[str, Any]:
    """Return every number by name, as arrays, tables' rows and text."""
    table, spectra = given.observables
    return {
        "kind": given.kind,
        "classes": given.classes,
        "channels": given.channels,
        "sources": given.sources,
        "notes": given.notes,
        "images": dict(zip(given.classes, given.n.tolist(), strict=True)),
        "nonzero": given.nonzero,
        "minimum": given.ends[0],
        "maximum": given.ends[1],
        "mean_value": given.mean.mean(axis=(2, 3)),
        "mean": given.mean,
        "frequency": given.frequency,
        "spectra": {each.name: {"edges": each.edges, "per_image": each.height} for each in given.spectra},
        "observables": [
            {str(key): value for key, value in row.items()}
            | {"edges": spectra[row["observable"]].edges, "share": spectra[row["observable"]].height}
            for row in table.to_dict("records")
        ],
    }


def labelled_page(given: LabelledNumbers, made: Mapping[str, Any]) -> Page:
    """Return the page of an exploration.

    Parameters
    ----------
    given
        What was found.
    made
        Provenance.
    """
    sections = [
        Section("Numbers", tables=[_numbers(given)]),
        Section(
            "Mean images",
            f"Grey: zero in every image. White in ratios: fewer than {_LEAST_HITS} hits in a class.",
            panels=_means(given),
        ),
        Section("Values", "Values that are not zero, per image and bin.", panels=_spectra(given)),
    ]
    if len(given.observables[0]):
        sections.append(
            Section(
                "Observables",
                "AUC of each alone, above 0.5 where it is larger for the second class. Trees on all of them together "
                "are the baseline that a network has to beat.",
                tables=[_observables(given)],
                panels=_distributions(given),
            )
        )
    sections.append(
        Section(
            "Samples",
            "Evenly spaced in the files. Grey, or white where values may be negative: zero.",
            panels=_samples(given),
        )
    )
    names = " and ".join(given.classes[label] for label in given.present)
    subtitle = f"{int(given.n.sum()):,} images of {', '.join(given.sources)}"
    return Page(f"Exploration: {names}", subtitle, given.notes, sections, made)


def _unit(given: LabelledNumbers, channel: str) -> str:
    return _UNITS.get((given.kind, channel), channel)


def _numbers(given: LabelledNumbers) -> Table:
    names = [given.classes[label] for label in given.present]
    rows = [["images", *(f"{given.n[label]:,}" for label in given.present)]]
    for number, channel in enumerate(given.channels):
        for words, values, form in (
            ("share that is not zero (%)", 100 * given.nonzero, ".3f"),
            ("smallest", given.ends[0], ".4g"),
            ("largest", given.ends[1], ".4g"),
            ("mean", given.mean.mean(axis=(2, 3)), ".4g"),
        ):
            cells = [format(float(values[label, number]), form) for label in given.present]
            rows.append([f"{channel}: {words}", *cells])
    return Table(["", *names], rows)


def _origin(given: LabelledNumbers) -> tuple[int, int]:
    rows, columns = given.mean.shape[2:]
    return (15, 15) if given.kind == "egamma" else (rows // 2, columns // 2)


def _axes(given: LabelledNumbers) -> tuple[str, str]:
    """Return what the axes count: crystals in jets too, where ieta and iphi would be towers of five."""
    if given.kind == "jets":
        return "crystals along eta from the centre", "crystals along phi from the centre"
    return f"{given.axes[0]} from the seed", f"{given.axes[1]} from the seed"


def _means(given: LabelledNumbers) -> dict[str, ImagePanel]:
    panels = {}
    axes, origin = _axes(given), _origin(given)
    for number, channel in enumerate(given.channels):
        signed = bool((given.ends[0, given.present, number] < 0).any())
        images = [
            (f"{given.classes[label]}, {given.n[label]:,} images", given.mean[label, number])
            for label in given.present
        ]
        panels[f"mean_{channel.lower()}"] = ImagePanel(
            f"Mean {channel}", images, axes, _unit(given, channel), "apart" if signed else "log", None, origin
        )
        ratio = None if signed else given.ratio(number)
        if ratio is not None:
            first, second = given.classes
            panels[f"ratio_{channel.lower()}"] = ImagePanel(
                f"Mean {channel}: {second} over {first}",
                [(f"ln of {second} over {first}", ratio)],
                axes,
                "ln of the ratio",
                "apart",
                _middle(ratio),
                origin,
            )
        if number and np.array_equal(given.frequency[:, number], given.frequency[:, number - 1]):
            continue
        frequency = [(given.classes[label], given.frequency[label, number]) for label in given.present]
        panels[f"frequency_{channel.lower()}"] = ImagePanel(
            f"Share of images with a hit: {channel}", frequency, axes, "share of images", "log", None, origin
        )
    return panels


def _middle(ratio: Floats) -> tuple[float, float]:
    """Return ends that a few pixels with hardly any hits do not stretch."""
    finite = np.abs(ratio[np.isfinite(ratio)])
    reach = float(np.quantile(finite, 0.98)) if finite.size else 1.0
    return -(reach or 1.0), reach or 1.0


def _steps(given: LabelledNumbers, spectrum: Spectrum) -> list[Series]:
    colours, dashes = series_colours(len(given.classes)), ("-", "--", ":")
    return [
        Series(
            spectrum.edges,
            spectrum.height[label],
            given.classes[label],
            colours[label],
            "steps",
            dashes[label % len(dashes)],
        )
        for label in given.present
    ]


def _spectra(given: LabelledNumbers) -> dict[str, Panel]:
    return {
        f"spectrum_{each.name.lower()}": Panel(
            f"Values of {each.name}",
            _unit(given, each.name),
            "pixels per image and bin",
            _steps(given, each),
            x_log=each.log,
            y_log=True,
        )
        for each in given.spectra
    }


def _observables(given: LabelledNumbers) -> Table:
    table = given.observables[0]
    names = [given.classes[label] for label in given.present]
    rows = [
        [
            str(row["observable"]),
            "unknown" if np.isnan(row["auc"]) else f"{row['auc']:.4f} ± {row['error']:.4f}",
            *(f"{row[f'mean {label}']:.4g}" for label in given.present),
        ]
        for row in table.to_dict("records")
    ]
    return Table(["observable", "AUC", *(f"mean of {name}" for name in names)], rows)


def _distributions(given: LabelledNumbers) -> dict[str, Panel]:
    table, spectra = given.observables
    panels = {}
    for row in table.head(_MOST_SHOWN).to_dict("records"):
        name = str(row["observable"])
        auc = "" if np.isnan(row["auc"]) else f", AUC {row['auc']:.3f}"
        series = _steps(given, spectra[name])
        panels[f"observable_{name}"] = Panel(f"{name}{auc}", name, "share of images per bin", series)
    return panels


def _samples(given: LabelledNumbers) -> dict[str, ImagePanel]:
    panels = {}
    for number, channel in enumerate(given.channels):
        images = [
            (f"{given.classes[label]}, image {at}", image[number])
            for label in given.present
            for image, at in zip(given.samples[label], given.sample_numbers[label].tolist(), strict=True)
        ]
        signed = bool((given.ends[0, given.present, number] < 0).any())
        shown = [(title, np.where(image == 0, np.nan, image)) for title, image in images]
        panels[f"samples_{channel.lower()}"] = ImagePanel(
            f"Samples: {channel}",
            shown,
            _axes(given),
            _unit(given, channel),
            "apart" if signed else "log",
            None,
            _origin(given),
            max(len(each) for each in given.samples),
        )
    return panels
