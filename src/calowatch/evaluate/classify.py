"""The verb ``evaluate run``: what an image classifier is worth, on images that it has not learned from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.bundle.classifier import (
    ClassifierBundle,
    class_logits_of,
    classify_data,
    load_classifier,
)
from calowatch.bundle.dealt import deal_again
from calowatch.bundle.engines import ClassifyMode
from calowatch.bundle.strangeness import novelty_scores
from calowatch.core.errors import InputError
from calowatch.core.files import check_place, file_hash, staged_files, write_json
from calowatch.core.progress import SILENT, Progress
from calowatch.core.provenance import provenance
from calowatch.data.image_sets import image_files, open_images, open_others
from calowatch.data.image_splits import independent_blocks
from calowatch.data.images import ImageData, image_hashes
from calowatch.evaluate.classify_numbers import bins_of, confidence_bins, course_of, errors_of, score_bins
from calowatch.metrics.classification import (
    Judged,
    as_json,
    classification_figures,
    confusion,
    curves,
)
from calowatch.metrics.ranking import roc_auc
from calowatch.present.classify import ClassifyReport, Strangers, classify_page
from calowatch.present.panels_page import write_page

__all__ = ["ChosenImages", "EvaluateRequest", "Evaluated", "choose_images", "evaluate_run"]

Ints = npt.NDArray[np.int64]

_OWNED = ("evaluation.*", "errors.csv", "scores.csv", "*.png")


@dataclass(frozen=True)
class EvaluateRequest:
    """What to judge a classifier by.

    Parameters
    ----------
    out
        Folder of the results.
    data
        Files of labelled images: those of the training, whose split is known, or others. By default the training's
        own, where they still lie.
    other
        Files of images of no class that the classifier knows.
    partners
        Further classifiers of the same classes: the mean of all their probabilities is judged, on images that none of
        them has learned from.
    side
        Of the training's split: test, validation or train. Train is no judgement, and the report says so.
    mode
        How the network is computed.
    draws
        Of the bootstrap.
    seed
        Of the draws.
    png
        Whether to draw PNG figures beside the page.
    progress
        Told how far the work is.
    """

    out: Path
    data: tuple[Path, ...] = ()
    other: tuple[Path, ...] = ()
    partners: tuple[Path, ...] = ()
    side: str = "test"
    mode: ClassifyMode = "float32"
    draws: int = 200
    seed: int = 0
    png: bool = True
    progress: Progress = SILENT


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What a judgement gave.

    Parameters
    ----------
    document
        The content of ``evaluation.json``.
    report
        The same, as arrays and tables.
    files
        What was written, the page first.
    """

    document: Mapping[str, Any]
    report: ClassifyReport
    files: tuple[Path, ...]


@dataclass(frozen=True, eq=False)
class ChosenImages:
    """The images to judge, their rows, what to call them, and what a reader must know of them."""

    data: ImageData
    rows: Ints
    words: str
    notes: tuple[str, ...]
    hashes: Mapping[str, str]


def evaluate_run(bundle: Path | str, request: EvaluateRequest) -> Evaluated:
    """Judge a classifier; write ``evaluation.html`` and ``.json``, ``errors.csv``, ``scores.csv`` and PNG figures.

    Parameters
    ----------
    bundle
        Folder of the classifier.
    request
        By which images, and where to.

    Raises
    ------
    InputError
        When there is no such bundle, its files are not found, the side holds no image, or every image given is one
        that the classifier has learned from.
    """
    check_place(request.out)
    known = load_classifier(bundle)
    chosen = choose_images(known, request)
    together = [(known, chosen)]
    for path in request.partners:
        partner = _partner(known, load_classifier(path))
        together.append((partner, choose_images(partner, request)))
        chosen = replace(chosen, rows=np.intersect1d(chosen.rows, together[-1][1].rows))
    if not len(chosen.rows):
        raise InputError(
            "--with", "images that none of them has learned from", "none", "give other files with --data"
        )
    p = [
        classify_data(each, seen.data, chosen.rows, request.mode, request.progress) for each, seen in together
    ]
    data = chosen.data.some(chosen.rows)
    blocks = independent_blocks(data, known.recipe.data.split)
    judged = Judged(data.labels, np.mean(p, axis=0, dtype=np.float64), blocks)
    if len(together) > 1:
        known = _mean(known, [each for each, _ in together[1:]])
    strangers = _strangers(known, chosen, request) if request.other else None
    report = _report(known, chosen, judged, request, strangers)
    document = _document(known, chosen, report, request)
    with staged_files(request.out, _OWNED) as scratch:
        written = write_page(scratch, "evaluation", classify_page(report), png=request.png)
        write_json(scratch / "evaluation.json", document)
        report.errors.to_csv(scratch / "errors.csv", index=False)
        _scores(data, judged, known.classes).to_csv(scratch / "scores.csv", index=False, float_format="%.6g")
        names = [path.name for path in written] + ["evaluation.json", "errors.csv", "scores.csv"]
    return Evaluated(document, report, tuple(request.out / name for name in names))


def _partner(first: ClassifierBundle, other: ClassifierBundle) -> ClassifierBundle:
    if (other.classes, other.manifest["images"]) != (first.classes, first.manifest["images"]):
        raise InputError(
            "--with",
            f"a classifier of {' and '.join(first.classes)}, in this order",
            " and ".join(other.classes),
            "choose another",
        )
    return other


def _mean(first: ClassifierBundle, others: Sequence[ClassifierBundle]) -> ClassifierBundle:
    """Return the first bundle under the name and size of all of them."""
    names = f"mean of {', '.join(each.name for each in (first, *others))}"
    size = sum(each.manifest["n_parameters"] for each in (first, *others))
    return replace(first, manifest={**first.manifest, "model": names, "n_parameters": size})


def choose_images(bundle: ClassifierBundle, request: EvaluateRequest) -> ChosenImages:
    """Return the images that a request names: of a side of the training's own files, or others never learned from.

    Raises
    ------
    InputError
        When files are not found, the side holds no image, or every image is one that it has learned from.
    """
    files = image_files(_files(bundle, request.data), bundle.recipe.data.kind)
    recipe = bundle.recipe.data.model_copy(update={"classes": bundle.classes, "at_most": None})
    data = open_images(files, recipe, request.progress, partial=True)
    sources, dealt = bundle.manifest["sources"], bundle.dealt
    hashes = {
        path.name: file_hash(path) for path in request.progress.track(files, "hashing files", len(files))
    }
    sides = deal_again(dealt, data, hashes, sources) if dealt is not None else None
    notes = list(_split_notes(bundle)) if sides is not None else []
    if sides is not None:
        if request.side == "train":
            notes.append(
                "These are the images that the classifier has learned from: no judgement of its worth."
            )
        words = f"{request.side} side of its own split"
        return ChosenImages(data, sides.of(request.side), words, tuple(notes), hashes)
    rows = np.arange(len(data))
    if dealt is not None:
        learned = np.isin(image_hashes(data), dealt.learned) & _not_empty(data)
        rows = np.flatnonzero(~learned)
        if not len(rows):
            raise InputError(
                ", ".join(hashes),
                "images that the classifier has not learned from",
                "only such",
                "give other files",
            )
        if learned.any():
            notes.append(
                f"{int(learned.sum())} images were left out: the classifier has learned from equal ones."
            )
    return ChosenImages(data, rows, "images of other files", tuple(notes), hashes)


def _not_empty(data: ImageData) -> npt.NDArray[np.bool_]:
    """Return which images hold anything: empty ones are all equal, and teach nothing."""
    return np.concatenate([data.images.read(piece).any(axis=(1, 2, 3)) for piece in data.pieces()])


def _files(bundle: ClassifierBundle, given: Sequence[Path]) -> list[Path]:
    if given:
        return list(given)
    assert bundle.folder is not None
    found = [bundle.folder / str(each.get("path", "")) for each in bundle.manifest["sources"]]
    lost = [path.name for path in found if not path.is_file()]
    if lost or not found:
        raise InputError(
            "--data",
            "the files to judge by",
            f"{', '.join(lost) or 'none'} no longer where they were",
            "name them with --data",
        )
    return found


def _split_notes(bundle: ClassifierBundle) -> tuple[str, ...]:
    """Return what the split leaves open: neighbours on two sides, equal images on two sides."""
    split, notes = bundle.recipe.data.split, []
    if bundle.manifest["images"] == "runs" and split.by in ("random", "stratified"):
        notes.append(
            "Single images were dealt to the sides, and neighbours of a run are near-duplicates: these figures "
            "say how well the classifier remembers. A split by blocks says how well it has learned."
        )
    equal = bundle.manifest.get("split", {}).get("equal_images")
    if equal:
        notes.append(f"{equal} validation and test images equal a training image.")
    return tuple(notes)


def _strangers(bundle: ClassifierBundle, chosen: ChosenImages, request: EvaluateRequest) -> Strangers:
    others = open_others(request.other, bundle.recipe.data, request.progress)
    own = novelty_scores(bundle, chosen.data, chosen.rows, request.progress)
    other = novelty_scores(bundle, others, None, request.progress)
    assert bundle.novelty is not None
    marks = bundle.novelty.thresholds
    truth = np.repeat([False, True], [len(chosen.rows), len(others)])
    rows = {
        name: {
            "auc": roc_auc(truth, np.concatenate([own[name], other[name]])),
            "own_beyond": float((own[name] > marks[name]).mean()),
            "other_beyond": float((other[name] > marks[name]).mean()),
        }
        for name in own
    }
    taken = class_logits_of(bundle, others, None, request.mode).argmax(axis=1)
    return Strangers(
        ", ".join(dict.fromkeys(others.table["source"])),
        own,
        other,
        marks,
        bundle.novelty.beyond,
        pd.DataFrame.from_dict(rows, orient="index"),
        {name: int((taken == number).sum()) for number, name in enumerate(bundle.classes)},
    )


def _report(
    bundle: ClassifierBundle,
    chosen: ChosenImages,
    judged: Judged,
    request: EvaluateRequest,
    strangers: Strangers | None,
) -> ClassifyReport:
    data, classes = chosen.data.some(chosen.rows), bundle.classes
    missing = [name for label, name in enumerate(classes) if not (judged.labels == label).any()]
    notes = list(chosen.notes)
    if missing:
        notes.append(f"No images of {', '.join(missing)}: rankings and rejections are undefined.")
    n_blocks = len(np.unique(judged.blocks))
    if n_blocks < 10 * len(classes):
        notes.append(
            f"Only {n_blocks} independent blocks of images: the intervals are too short all the same."
        )
    positive = range(1, 2) if len(classes) == 2 else range(len(classes))
    shown = [c for c in positive if 0 < (judged.labels == c).sum() < len(judged.labels)]
    figures = classification_figures(judged, draws=request.draws, seed=request.seed)
    return ClassifyReport(
        f"{bundle.name}: {' against '.join(classes)}",
        f"{len(judged.labels):,} images, {chosen.words}; {bundle.manifest['n_parameters']:,} learned numbers, "
        f"computed as {request.mode}",
        notes,
        classes,
        figures,
        confusion(judged),
        {classes[c]: curves(judged.labels == c, judged.probabilities[:, c]) for c in shown},
        confidence_bins(judged),
        score_bins(judged, classes),
        errors_of(data, judged, classes),
        course_of(data, judged),
        bins_of(data, judged, draws=request.draws, seed=request.seed),
        strangers,
        provenance(
            "evaluate run",
            sources=[{"name": name, "sha256": sha256} for name, sha256 in chosen.hashes.items()],
            seed=request.seed,
            options={"side": request.side, "mode": request.mode, "bundle": dict(bundle.manifest["sha256"])},
        ),
    )


def _document(
    bundle: ClassifierBundle, chosen: ChosenImages, report: ClassifyReport, request: EvaluateRequest
) -> dict[str, Any]:
    strangers = report.strangers
    return {
        "model": bundle.name,
        "images": bundle.manifest["images"],
        "n_parameters": bundle.manifest["n_parameters"],
        "classes": list(report.classes),
        "judged_by": chosen.words,
        "side": request.side if "split" in chosen.words else None,
        "mode": request.mode,
        "n": len(chosen.rows),
        "temperature": bundle.temperature,
        "figures": as_json(report.figures),
        "confusion": report.confusion.tolist(),
        "errors": len(report.errors),
        "bins": _records(report.bins),
        "strangers": None
        if strangers is None
        else {
            "name": strangers.name,
            "scores": {str(name): row for name, row in strangers.table.to_dict("index").items()},
            "taken_for": dict(strangers.taken_for),
        },
        "notes": list(report.notes),
        "provenance": dict(report.provenance),
    }


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            str(name): None if isinstance(value, float) and np.isnan(value) else value
            for name, value in row.items()
        }
        for row in table.to_dict("records")
    ]


def _scores(data: ImageData, judged: Judged, classes: Sequence[str]) -> pd.DataFrame:
    table = data.table.drop(columns="block").copy()
    table["true"] = [classes[label] for label in judged.labels]
    for number, name in enumerate(classes):
        table[f"p {name}"] = judged.probabilities[:, number]
    return table
