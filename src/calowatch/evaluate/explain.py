"""The verb ``explain``: what a classifier looks at, image by image, and how far such maps may be trusted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from calowatch.bundle.classifier import ClassifierBundle, classify, load_classifier
from calowatch.core.errors import InputError
from calowatch.core.files import check_place, staged_files, write_json
from calowatch.core.progress import SILENT, Progress
from calowatch.core.provenance import provenance
from calowatch.data.image_splits import independent_blocks
from calowatch.data.images import ImageData
from calowatch.evaluate.chosen import ChosenImages, choose_images
from calowatch.evaluate.explain_faith import Curves, Faith, faithfulness, randomisation_check
from calowatch.evaluate.explain_maps import (
    ATTENTION,
    METHODS,
    MapSettings,
    ToExplain,
    expert_shares,
    explain_images,
    methods_of,
    seen_cells,
)
from calowatch.evaluate.explain_samples import (
    check_samples,
    drawn_image,
    masked_cells,
    mean_image,
    pick_samples,
)
from calowatch.present.explain import (
    Field,
    Line,
    MapFigure,
    write_curves,
    write_experts,
    write_means,
    write_sample,
)

__all__ = ["ExplainRequest", "Explained", "explain"]

Floats = npt.NDArray[np.float64]

Baseline = Literal["auto", "mean", "zero"]
_EVEN = 1.25
"""Attention to the most over that to the least, below which a note says that it is nearly even."""

_ORDERS = MappingProxyType({"random": "random order", "size": "the order of cell size"})
"""Orders of cells that know nothing of the network, beside which methods are told."""

BASELINES = ("auto", "mean", "zero")

_OWNED = ("explain.json", "maps.npz", "sample-*.png", "means.png", "experts.png", "faithfulness.png")


@dataclass(frozen=True)
class ExplainRequest:
    """What to explain.

    Parameters
    ----------
    out
        Folder of the results.
    data
        Files of labelled images, as of ``evaluate run``.
    samples
        How many, drawn evenly from the classes (``"24"``), or which: ``FILE:POSITION``, joined by commas; of FILE the
        beginning of the name is enough.
    side
        Of the training's split; None for test, or validation where there is no test side.
    methods
        Names of methods; none for all that the classifier offers.
    baseline
        What stands for "nothing there": ``mean`` of the classes' mean images, or ``zero``; ``auto`` is the mean for
        runs, zero for others.
    figures
        How many images are drawn.
    steps
        Of a faithfulness curve.
    seed
        Of drawing, random order, random weights and intervals.
    progress
        Told how far the work is.
    """

    out: Path
    data: tuple[Path, ...] = ()
    samples: str = "24"
    side: str | None = None
    methods: tuple[str, ...] = ()
    baseline: Baseline = "auto"
    figures: int = 6
    steps: int = 20
    seed: int = 0
    progress: Progress = SILENT


@dataclass(frozen=True, eq=False)
class Explained:
    """What came out.

    Parameters
    ----------
    document
        The content of ``explain.json``.
    maps
        By method, [image, row, column].
    files
        What was written.
    """

    document: Mapping[str, Any]
    maps: Mapping[str, Floats]
    files: tuple[Path, ...]


@dataclass(frozen=True, eq=False)
class _Subject:
    """The images that are explained, and the grid that they lie on."""

    data: ImageData
    given: ToExplain
    p: npt.NDArray[np.float32]
    field: Field
    faith: Faith
    settings: MapSettings


@dataclass(frozen=True, eq=False)
class _Found:
    """What is told and drawn."""

    maps: Mapping[str, Floats]
    curves: Mapping[str, Curves]
    rows: list[dict[str, Any]]
    random: Mapping[str, Any]
    experts: Floats | None


def explain(bundle: Path | str, request: ExplainRequest) -> Explained:
    """Explain a classifier on some images; write maps, figures and ``explain.json``.

    Of each image the class that the classifier takes it for is explained.

    Parameters
    ----------
    bundle
        Folder of the classifier.
    request
        On which images, by which methods, and where to.

    Raises
    ------
    InputError
        As of ``evaluate run``; for methods that the classifier does not offer, images that are not there, empty or
        constant attention.
    """
    check_place(request.out)
    known = load_classifier(bundle)
    methods = methods_of(known, request.methods)
    _baseline_name(known, request)
    check_samples(request.samples)
    chosen = choose_images(known, request.data, request.side, request.progress)
    subject = _subject(known, chosen, request)
    maps = {
        name: explain_images(known, name, subject.given, subject.settings)
        for name in request.progress.track(methods, "explaining", len(methods))
    }
    curves, rows = faithfulness(known, maps, subject.faith)
    found = _Found(
        maps,
        curves,
        rows,
        randomisation_check(known, maps, subject.settings, subject.faith, methods),
        expert_shares(known, subject.given.images, subject.given.scalars),
    )
    document = _document(known, chosen, subject, found, request)
    with staged_files(request.out, _OWNED) as scratch:
        written = _draw(scratch, known, subject, found, request)
        names = [path.name for path in written]
        write_json(scratch / "explain.json", document)
        arrays: dict[str, Any] = {name: each.astype(np.float32) for name, each in maps.items()}
        np.savez_compressed(scratch / "maps.npz", **arrays)
    return Explained(
        document, maps, tuple(request.out / name for name in ["explain.json", "maps.npz", *names])
    )


def _document(
    known: ClassifierBundle, chosen: ChosenImages, subject: _Subject, found: _Found, request: ExplainRequest
) -> dict[str, Any]:
    return {
        "model": known.name,
        "images": known.manifest["images"],
        "classes": list(known.classes),
        "explained": chosen.words,
        "n": len(subject.given),
        "baseline": _baseline_name(known, request),
        "methods": {name: METHODS[name] for name in found.maps},
        "faithfulness": found.rows,
        "random_weights": found.random,
        "samples": _samples(known, subject, found.maps),
        "notes": [*chosen.notes, *_even(found.maps), *_notes(found, len(subject.given))],
        "provenance": provenance(
            "explain",
            sources=[{"name": name, "sha256": sha256} for name, sha256 in chosen.hashes.items()],
            seed=request.seed,
            options={
                "bundle": dict(known.manifest["sha256"]),
                "side": chosen.side,
                "samples": request.samples,
                "steps": request.steps,
            },
        ),
    }


def _baseline_name(bundle: ClassifierBundle, request: ExplainRequest) -> str:
    if request.baseline not in BASELINES:
        raise InputError(
            "--baseline", f"one of {', '.join(BASELINES)}", request.baseline, "choose one of them"
        )
    if request.baseline == "auto":
        return "mean" if bundle.manifest["images"] == "runs" else "zero"
    return request.baseline


def _subject(bundle: ClassifierBundle, chosen: ChosenImages, request: ExplainRequest) -> _Subject:
    rows = pick_samples(chosen.data, chosen.rows, request.samples, request.seed)
    data = chosen.data.some(rows)
    read = data.take(np.arange(len(data)))
    p = classify(bundle, read["x"], read["scalars"], "float32")
    given = ToExplain(read["x"], read["scalars"], p.argmax(axis=1).astype(np.int64))
    mean = mean_image(chosen)
    zero = _baseline_name(bundle, request) == "zero"
    baseline = np.zeros_like(mean) if zero else mean
    runs = data.kind == "runs"
    held = (mean != 0).any(axis=0) if runs else np.ones(mean.shape[1:], bool)
    held = held | (given.images != 0).any(axis=(0, 1)) if runs else held
    cells = (
        np.broadcast_to(held, (len(data), *held.shape))
        if runs or not zero
        else (given.images != 0).any(axis=1)
    )
    blocks = independent_blocks(data, bundle.recipe.data.split)
    field = Field(data.axes, data.kind, held, masked_cells(bundle), seen_cells(bundle))
    faith = Faith(given, cells, baseline, blocks, request.steps, request.seed)
    return _Subject(data, given, p, field, faith, MapSettings(baseline))


def _samples(bundle: ClassifierBundle, subject: _Subject, maps: Mapping[str, Floats]) -> list[dict[str, Any]]:
    told = []
    for n, row in enumerate(subject.data.table.to_dict("records")):
        label, taken = int(subject.data.labels[n]), int(subject.given.target[n])
        told.append(
            {
                "source": str(row["source"]),
                "position": int(row["position"]),
                "true": bundle.classes[label] if label >= 0 else None,
                "explained": bundle.classes[taken],
                "p": float(subject.p[n, taken]),
                "largest": {name: _largest(each[n], subject, n) for name, each in maps.items()},
            }
        )
    return told


def _largest(values: Floats, subject: _Subject, n: int) -> dict[str, int] | None:
    inside = np.where(subject.faith.cells[n], values, np.nan)
    if np.isnan(inside).all():
        return None
    row, column = np.unravel_index(int(np.nanargmax(inside)), inside.shape)
    return subject.field.name(int(row), int(column))


def _notes(found: _Found, n_images: int) -> list[str]:
    """Return which methods are no better than orders that know nothing of the network, or blind to its weights."""
    notes = _unfaithful(found.rows, n_images)
    for method, told in found.random.items():
        if told["correlation"] > 0.5:
            notes.append(
                f"{METHODS[method].capitalize()}: much the same with random weights (Spearman "
                f"{told['correlation']:.2f}): it shows the image rather than what was learned."
            )
    return notes


def _unfaithful(rows: Sequence[Mapping[str, Any]], n_images: int) -> list[str]:
    """Return which methods do not exceed other orders, with the numbers compared and what to look at instead."""
    score = {row["method"]: float(row["score"]) for row in rows}
    beaten: dict[str, list[str]] = {name: [] for name in score if name in METHODS}
    for row in rows:
        for beside, words in _ORDERS.items() if row["method"] in beaten else ():
            name = f"score_over_{beside}"
            low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
            if (row[name] if low is None else low) <= 0:
                between = "" if low is None else f", 95 % {low:z.3f} to {high:z.3f}"
                beaten[row["method"]].append(
                    f"{words} ({score[beside]:z.3f}; difference {row[name]:z.3f}{between})"
                )
    passed = [METHODS[name] for name in sorted(beaten, key=lambda name: -score[name]) if not beaten[name]]
    instead = (
        f"look at {passed[0]} instead"
        if passed
        else "no method tried exceeds both: try others, or more images"
    )
    images = f"{n_images} image{'s' * (n_images != 1)}"
    return [
        f"{METHODS[name].capitalize()}: its order of cells is no more faithful than {' or '.join(orders)}. Compared "
        f"are scores, area of insertion less area of deletion, mean of {images}; this one's is {score[name]:z.3f}. Do "
        f"not read its map as what the classifier uses; {instead}."
        for name, orders in beaten.items()
        if orders
    ]


def _even(maps: Mapping[str, Floats]) -> list[str]:
    """Return which attention is so even that its order of patches means little."""
    notes = []
    for name in (each for each in maps if each in ATTENTION):
        ends = [np.nanquantile(maps[name], end, axis=(1, 2)) for end in (0.05, 0.95)]
        ratio = float(np.median(ends[1] / np.maximum(ends[0], 1e-300)))
        if ratio < _EVEN:
            notes.append(
                f"{METHODS[name].capitalize()}: nearly even, its largest patches {ratio:.2f} times its least."
            )
    return notes


def _draw(
    folder: Path, bundle: ClassifierBundle, subject: _Subject, found: _Found, request: ExplainRequest
) -> list[Path]:
    field, title = subject.field, f"{bundle.name}: {' against '.join(bundle.classes)}"
    written, n_images = [], len(subject.given)
    shown = range(min(request.figures, n_images))
    for n in request.progress.track(shown, "drawing images", len(shown)):
        heading = _heading(bundle, subject, n)
        maps = {METHODS[name]: each[n] for name, each in found.maps.items()}
        image, label = drawn_image(subject.given.images[n], bundle)
        written.append(
            write_sample(folder / f"sample-{n}.png", MapFigure(heading, image, maps, label), field)
        )
        if found.experts is not None:
            path = folder / f"sample-{n}-experts.png"
            written.append(write_experts(path, found.experts[n], field, heading))
    means = _means(bundle, subject, found.maps)
    written.append(write_means(folder / "means.png", means, field, f"Mean maps, {title}"))
    if found.experts is not None:
        heading = f"Experts, mean of {n_images} images, {title}"
        written.append(write_experts(folder / "experts.png", found.experts.mean(axis=0), field, heading))
    heading = f"Faithfulness, mean of {n_images} images, {title}"
    return [*written, _draw_curves(folder / "faithfulness.png", found, heading)]


def _draw_curves(path: Path, found: _Found, title: str) -> Path:
    lines = {}
    for row in found.rows:
        name, curves = str(row["method"]), found.curves[row["method"]]
        areas = (float(row["deletion"]), float(row["insertion"]))
        lines[METHODS.get(name, name)] = Line(
            curves.deletion.mean(axis=0), curves.insertion.mean(axis=0), areas
        )
    return write_curves(path, next(iter(found.curves.values())).share, lines, title)


def _heading(bundle: ClassifierBundle, subject: _Subject, n: int) -> str:
    row, label, taken = subject.data.table.iloc[n], int(subject.data.labels[n]), int(subject.given.target[n])
    true = f", truly {bundle.classes[label]}" if label not in (taken, -1) else ""
    return f"{row['source']}, image {row['position']}: {bundle.classes[taken]}, p {subject.p[n, taken]:.3f}{true}"


def _means(
    bundle: ClassifierBundle, subject: _Subject, maps: Mapping[str, Floats]
) -> dict[str, dict[str, Floats]]:
    """Return the mean map per explained class and method, each map brought to a largest absolute value of 1."""
    found: dict[str, dict[str, Floats]] = {}
    for label in np.unique(subject.given.target).tolist():
        mine = subject.given.target == label
        words = f"taken for {bundle.classes[label]} ({int(mine.sum())})"
        found[words] = {}
        for name, each in maps.items():
            size = np.nanmax(np.abs(each[mine]), axis=(1, 2), keepdims=True)
            scaled = each[mine] / np.where(size > 0, size, 1.0)
            held = np.isfinite(scaled)
            count = held.sum(axis=0)
            total = np.where(held, scaled, 0.0).sum(axis=0)
            found[words][METHODS[name]] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return found
