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
    classify_data,
    load_classifier,
)
from calowatch.bundle.engines import ClassifyMode
from calowatch.bundle.strangeness import check_knows_its_own, novelty_scores
from calowatch.core.errors import InputError
from calowatch.core.files import check_place, file_hash, staged_files, write_json
from calowatch.core.progress import SILENT, Progress
from calowatch.core.provenance import provenance
from calowatch.data.image_sets import image_files, open_others
from calowatch.data.image_splits import independent_blocks
from calowatch.data.images import ImageData
from calowatch.evaluate.chosen import ChosenImages, choose_together
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

__all__ = ["EvaluateRequest", "Evaluated", "evaluate_run"]

Ints = npt.NDArray[np.int64]

_FAR = 5
"""Times the share that a threshold was set for, above which it does not hold on the judged images."""

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
        Further classifiers of the same classes: the mean of all their probabilities is judged, on images of the same
        files that none of them has learned from. Strangeness is that of the first.
    side
        Of the training's split: test, validation or train; None for test, or validation where there is no test side.
        Train is no judgement, and the report says so.
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
    side: str | None = None
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
    bundles = [load_classifier(bundle)]
    bundles += [_partner(bundles[0], load_classifier(path)) for path in request.partners]
    others = _open_strangers(bundles, request) if request.other else []
    seen = choose_together(bundles, request.data, request.side, request.progress)
    chosen, known = seen[0], bundles[0] if len(bundles) == 1 else _mean(bundles)
    p = _mean_p(bundles, [(each.data, each.rows) for each in seen], request)
    data = chosen.data.some(chosen.rows)
    blocks = independent_blocks(data, known.recipe.data.split)
    judged = Judged(data.labels, p, blocks)
    strangers = _strangers(bundles, chosen, others, request) if request.other else None
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


def _mean(bundles: Sequence[ClassifierBundle]) -> ClassifierBundle:
    """Return the first bundle under the name and size of all of them."""
    names = f"mean of {', '.join(each.name for each in bundles)}"
    size = sum(each.manifest["n_parameters"] for each in bundles)
    return replace(bundles[0], manifest={**bundles[0].manifest, "model": names, "n_parameters": size})


def _mean_p(
    bundles: Sequence[ClassifierBundle],
    given: Sequence[tuple[ImageData, Ints | None]],
    request: EvaluateRequest,
) -> npt.NDArray[np.float64]:
    """Return the mean of their probabilities, each of the images as it reads them: [image, class]."""
    p = [
        classify_data(each, data, rows, request.mode, request.progress)
        for each, (data, rows) in zip(bundles, given, strict=True)
    ]
    mean: npt.NDArray[np.float64] = np.mean(p, axis=0, dtype=np.float64)
    return mean


def _open_strangers(bundles: Sequence[ClassifierBundle], request: EvaluateRequest) -> list[ImageData]:
    """Return the images of no known class, for each classifier as it reads them.

    Raises
    ------
    InputError
        For files that a classifier was trained with, runs that it knows, or a classifier that has not learned what its
        own images look like.
    """
    first = bundles[0]
    check_knows_its_own(first)
    others = [open_others(request.other, each.recipe.data, request.progress) for each in bundles]
    files = image_files(request.other, first.recipe.data.kind)
    learned = {str(source["sha256"]) for each in bundles for source in each.manifest["sources"]}
    known = [path.name for path in files if file_hash(path) in learned]
    table = others[0].table
    if "run" in table:
        of_class = ("run " + table["run"].astype(str)).isin(first.classes)
        known += [str(name) for name in table.loc[of_class, "source"].unique() if name not in known]
    if known:
        raise InputError(
            f"--other {', '.join(known)}",
            f"images of none of the classes ({', '.join(first.classes)})",
            "images of one of them",
            "give another file, or judge this one with --data",
        )
    return others


def _strangers(
    bundles: Sequence[ClassifierBundle],
    chosen: ChosenImages,
    opened: Sequence[ImageData],
    request: EvaluateRequest,
) -> Strangers:
    bundle, others = bundles[0], opened[0]
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
    taken = _mean_p(bundles, [(each, None) for each in opened], request).argmax(axis=1)
    return Strangers(
        ", ".join(dict.fromkeys(others.table["source"])),
        own,
        other,
        marks,
        bundle.novelty.beyond,
        pd.DataFrame.from_dict(rows, orient="index"),
        {name: int((taken == number).sum()) for number, name in enumerate(bundle.classes)},
        bundle.name if len(bundles) > 1 else "",
    )


def _pass_notes(strangers: Strangers) -> list[str]:
    """Return which thresholds of strangeness do not hold on the judged images."""
    share = strangers.table["own_beyond"]
    passed = [
        f"{name} ({100 * share[name]:.1f} %)" for name in share.index if share[name] > _FAR * strangers.beyond
    ]
    if not passed:
        return []
    note = (
        f"Its own judged images pass thresholds of strangeness more often than the {100 * strangers.beyond:g} % that "
        f"they were set for: {', '.join(passed)}. Being beyond these says little."
    )
    return [note]


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
    if strangers is not None:
        notes += _pass_notes(strangers)
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
            options={"side": chosen.side, "mode": request.mode, "bundle": dict(bundle.manifest["sha256"])},
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
        "side": chosen.side,
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
            "scored_by": strangers.scored_by or bundle.name,
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
