"""Classifiers ranked on one and the same set of images, with paired differences and the mean of the two best."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from calowatch.bundle.classifier import ClassifierBundle, classify_data
from calowatch.core.errors import InputError
from calowatch.core.progress import SILENT, Progress
from calowatch.data.image_splits import independent_blocks
from calowatch.evaluate.chosen import ChosenImages, choose_sides
from calowatch.evaluate.compare_published import PUBLISHED
from calowatch.metrics.classification import Judged, classification_figures
from calowatch.metrics.paired import paired_auc
from calowatch.present.compare_ranked import Ranked, RankedRow

__all__ = ["RankRequest", "rank_bundles"]

Floats = npt.NDArray[np.float64]

_FIGURE_DRAWS = 200
_NO_MEAN = "No mean of the two best:"


@dataclass(frozen=True)
class RankRequest:
    """By which images classifiers are ranked.

    Parameters
    ----------
    data
        Files of labelled images; by default those of the first classifier's training.
    side
        Of the training's split, see `calowatch.evaluate.chosen.choose_together`.
    draws, seed
        Of the bootstrap of differences, whose ends near 0 decide; figures of one classifier take 200 draws at most.
    must
        Where it cannot be done that is an error; else a note.
    progress
        Told how far the work is.
    """

    data: tuple[Path, ...] = ()
    side: str | None = None
    draws: int = 1000
    seed: int = 0
    must: bool = False
    progress: Progress = SILENT


@dataclass(frozen=True, eq=False)
class _Seen:
    """Probabilities of some images by every classifier, [classifier, image, class], and what the images are."""

    judged: tuple[Judged, ...]
    chosen: ChosenImages

    @property
    def p(self) -> Floats:
        return np.stack([each.probabilities for each in self.judged])


def rank_bundles(bundles: Sequence[ClassifierBundle], names: Sequence[str], request: RankRequest) -> Ranked:
    """Judge classifiers by the images that none of them has learned from, and put them in order of ROC-AUC.

    Of three or more, the two that rank highest on the validation side of the training are also judged together, by the
    mean of their probabilities. That side is one of the training's own files, also where others are judged by: the
    choice has not seen the images that it is judged by. Where there are no such images a note says so.

    Parameters
    ----------
    bundles, names
        The classifiers, of the same classes in the same order, and what to call them.
    request
        By which images.

    Raises
    ------
    InputError
        For other classes, files that are gone, images of one class only, or none that all of them may be judged by.
    """
    first = bundles[0]
    for bundle, name in zip(bundles, names, strict=True):
        if (bundle.classes, bundle.manifest["images"]) != (first.classes, first.manifest["images"]):
            wanted, found = (" and ".join(each.classes) for each in (first, bundle))
            raise InputError(name, f"a classifier of {wanted}, in this order", found, "compare them apart")
    sides, alone = _sides(bundles, request)
    shown = [_see(bundles, each, request) for each in (sides[:1] if alone else sides)]
    judged, notes = shown[0], list(sides[0][0].notes)
    if any(not (judged.chosen.data.labels[judged.chosen.rows] == c).any() for c in range(len(first.classes))):
        raise InputError(
            "images", f"of each class ({', '.join(first.classes)})", "a class without", "give more files"
        )
    rows = [
        RankedRow(name, bundle.manifest["n_parameters"], training=bundle.manifest["training"])
        for name, bundle in zip(names, bundles, strict=True)
    ]
    mean_of: tuple[str, ...] = ()
    all_judged = list(judged.judged)
    if alone:
        notes.append(alone)
    elif len(bundles) > 2:
        mean_of, row, mean = _mean_of_two(rows, shown[-1], judged)
        rows.append(row)
        all_judged.append(mean)
    return _ordered(rows, all_judged, judged.chosen, (mean_of, tuple(notes)), request)


def _sides(bundles: Sequence[ClassifierBundle], request: RankRequest) -> tuple[list[list[ChosenImages]], str]:
    """Return the images to judge by and, of three or more, those to choose the two best by; or why none is chosen."""
    if len(bundles) < 3:
        return choose_sides(bundles, request.data, [request.side], request.progress), ""
    try:
        both = choose_sides(bundles, request.data, [request.side, "validation"], request.progress)
    except InputError:
        both = choose_sides(bundles, request.data, [request.side], request.progress)
        return both, f"{_NO_MEAN} no validation images that all of them have in common to choose by."
    judged, choosing = both
    if not len(np.intersect1d(judged[0].rows, choosing[0].rows)):
        return both, _lacking(choosing)
    if any(each.side for each in judged):
        return [judged], f"{_NO_MEAN} the validation images, which choose them, are those judged by."
    try:
        # Nobody has learned from these files, so they have no validation side: the training's own files have one.
        (choosing,) = choose_sides(bundles, (), ["validation"], request.progress)
    except InputError as error:
        return [judged], f"{_NO_MEAN} no validation images of the training to choose by ({error})."
    return [judged, choosing], _lacking(choosing)


def _lacking(choosing: Sequence[ChosenImages]) -> str:
    """Return why nobody can be chosen by these images; empty where they hold every class."""
    data, rows = choosing[0].data, choosing[0].rows
    if len(np.unique(data.labels[rows])) == len(data.classes):
        return ""
    return f"{_NO_MEAN} the validation images that all of them have in common are not of all classes."


def _see(bundles: Sequence[ClassifierBundle], seen: Sequence[ChosenImages], request: RankRequest) -> _Seen:
    data = seen[0].data.some(seen[0].rows)
    blocks = independent_blocks(data, bundles[0].recipe.data.split)
    judged = []
    for bundle, each in zip(bundles, seen, strict=True):
        p = classify_data(bundle, each.data, each.rows, "float32", request.progress)
        judged.append(Judged(data.labels, p.astype(np.float64), blocks))
    return _Seen(tuple(judged), seen[0])


def _mean_of_two(
    rows: Sequence[RankedRow], choosing: _Seen, judged: _Seen
) -> tuple[tuple[str, ...], RankedRow, Judged]:
    """Return which two are best where they may be chosen, and their mean on the images to judge by."""
    labels, blocks = choosing.judged[0].labels, choosing.judged[0].blocks
    worth = paired_auc(labels, choosing.p, blocks, draws=0).values
    two = np.argsort(-worth, kind="stable")[:2].tolist()
    names = tuple(rows[at].name for at in two)
    mean = replace(judged.judged[0], probabilities=judged.p[two].mean(axis=0))
    size = sum(rows[at].n_parameters for at in two)
    return names, RankedRow(f"mean of {' and '.join(names)}", size, mean=True), mean


def _ordered(
    rows: Sequence[RankedRow],
    judged: Sequence[Judged],
    chosen: ChosenImages,
    told: tuple[tuple[str, ...], tuple[str, ...]],
    request: RankRequest,
) -> Ranked:
    """Return the rows from the highest ROC-AUC to the lowest, with all differences."""
    p = np.stack([each.probabilities for each in judged])
    paired = paired_auc(judged[0].labels, p, judged[0].blocks, draws=request.draws, seed=request.seed)
    order = np.argsort(-paired.values, kind="stable").tolist()
    track = request.progress.track(order, "figures", len(order))
    ranked = [
        replace(
            rows[at],
            figures=classification_figures(
                judged[at], draws=min(request.draws, _FIGURE_DRAWS), seed=request.seed
            ),
            behind=paired.difference(at, order[0]) if at != order[0] else None,
        )
        for at in track
    ]
    differences = [[paired.difference(one, other) for other in order] for one in order]
    blocks = chosen.data.table["block"].to_numpy()[chosen.rows]
    kind = chosen.data.kind
    return Ranked(
        kind,
        tuple(chosen.data.classes),
        ranked,
        differences,
        len(chosen.rows),
        chosen.words,
        told[0],
        [each.to_json() for each in PUBLISHED.get(kind, ())],
        # Files of others tell no chunks of generation.
        bool((blocks >= 0).all()) and kind != "runs",
        told[1],
    )
