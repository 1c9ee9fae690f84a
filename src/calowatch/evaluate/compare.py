"""The verb ``compare``: trained classifiers ranked on the same images, and beside each other as their bundles tell."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from calowatch.bundle.classifier import ClassifierBundle, load_classifier
from calowatch.bundle.manifest import MANIFEST
from calowatch.core.errors import ConflictError, FormatError, InputError
from calowatch.core.files import check_place, staged_files, write_json
from calowatch.core.provenance import provenance
from calowatch.evaluate.compare_ranked import RankRequest, rank_bundles
from calowatch.metrics.classification import Figure, as_json
from calowatch.present.classify_compare import Compared, comparison_page
from calowatch.present.compare_ranked import Ranked
from calowatch.present.panels_page import write_page

__all__ = ["Comparison", "compare"]

_OWNED = ("comparison.*", "curves_*.png", "worth.png", "ranking.png")


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a comparison gave.

    Parameters
    ----------
    document
        The content of ``comparison.json``.
    bundles
        The same, as tables.
    ranked
        In order of what they are worth on the same images; None where that was not asked for, or could not be.
    files
        What was written, the page first.
    """

    document: Mapping[str, Any]
    bundles: tuple[Compared, ...]
    ranked: Ranked | None
    files: tuple[Path, ...]


def compare(bundles: Sequence[Path | str], out: Path | str, rank: RankRequest | None = None) -> Comparison:
    """Put classifiers beside each other; write ``comparison.html``, ``comparison.json`` and PNG figures.

    Curves are those of the training, and figures those of the side that each bundle was judged on when it was made;
    where the sides hold other images the page says so. A ranking judges all of them anew, by the same images.

    Parameters
    ----------
    bundles
        Folders of classifiers, at least two.
    out
        Folder of the results.
    rank
        How to rank them; None for what the bundles tell alone.

    Raises
    ------
    InputError
        For fewer than two bundles, one named twice, or a ranking that must be and cannot.
    FormatError
        For a folder that is no bundle of a classifier.
    ConflictError
        When a page that is not ours stands where the page should go.
    """
    _check_out(Path(out))
    folders = [Path(each) for each in bundles]
    whole = [each.resolve() for each in folders]
    twice = [str(each) for each, place in zip(folders, whole, strict=True) if whole.count(place) > 1]
    if twice:
        raise InputError("bundles", "each once", f"{' and '.join(twice)}: the same", "leave one out")
    if len(folders) < 2:
        raise InputError("bundles", "two or more", f"{len(folders)}", "name another one")
    loaded = [load_classifier(each) for each in folders]
    names = _names(folders)
    told = tuple(_read(each, name) for each, name in zip(loaded, names, strict=True))
    ranked, unranked = _ranked(loaded, names, rank)
    notes = [*_notes(loaded, told, ranked), *unranked, *(ranked.notes if ranked else ())]
    made = provenance(
        "compare",
        sources=[
            {"name": name, "sha256": dict(each.manifest["sha256"])}
            for name, each in zip(names, loaded, strict=True)
        ],
        seed=rank.seed if rank else None,
    )
    document = {
        "bundles": [
            {**each.entry(), "figures": as_json(each.figures), "history": _rows(each.history)}
            for each in told
        ],
        "ranked": ranked.to_json() if ranked else None,
        "notes": notes,
        "provenance": made,
    }
    out = Path(out)
    with staged_files(out, _OWNED) as scratch:
        written = write_page(scratch, "comparison", comparison_page(told, notes, made, ranked))
        write_json(scratch / "comparison.json", document)
        files = [path.name for path in written] + ["comparison.json"]
    return Comparison(document, told, ranked, tuple(out / name for name in files))


def _check_out(out: Path) -> None:
    check_place(out)
    if (out / "comparison.html").exists() and not (out / "comparison.json").exists():
        raise ConflictError(
            out / "comparison.html",
            "no page, or one written by calowatch compare (with comparison.json beside it)",
            "something else, which would be lost",
            "choose another --out",
        )


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the names of the folders, with as many of their parents as are needed to tell them apart."""
    parts, depth = [each.resolve().parts for each in folders], [1] * len(folders)
    while True:
        names = ["/".join(each[-n:]) for each, n in zip(parts, depth, strict=True)]
        alike = [number for number, name in enumerate(names) if names.count(name) > 1]
        if not alike:
            return names
        for number in alike:
            depth[number] += 1


def _read(bundle: ClassifierBundle, name: str) -> Compared:
    assert bundle.folder is not None
    if bundle.manifest.get("split") is None:
        raise FormatError(
            bundle.folder / MANIFEST,
            "a classifier trained on files",
            "no entry split",
            "train it anew on files",
        )
    path, curves = bundle.folder / "figures.json", bundle.folder / "metrics.csv"
    try:
        told = json.loads(path.read_text())
        figures = {each: Figure(**numbers) for each, numbers in told["figures"].items()}
        history = pd.read_csv(curves) if curves.is_file() else pd.DataFrame()
        side, images = str(told["side"]), sum(bundle.manifest["split"]["images"][told["side"]].values())
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise FormatError(
            path, "figures of a trained classifier", str(error).splitlines()[0], "train it anew"
        ) from error
    recipe = bundle.recipe
    split = f"{recipe.data.split.by}, {side} side of {images:,}"
    return Compared(
        name,
        bundle.name,
        int(bundle.manifest["n_parameters"]),
        " against ".join(bundle.classes),
        " > ".join(step.step for step in recipe.data.steps) or "none",
        split,
        float(bundle.manifest["training"]["seconds"]),
        str(bundle.manifest["training"]["device"]),
        figures,
        history,
    )


def _ranked(
    loaded: Sequence[ClassifierBundle], names: Sequence[str], rank: RankRequest | None
) -> tuple[Ranked | None, list[str]]:
    """Return the ranking, or why there is none."""
    if rank is None:
        return None, []
    try:
        return rank_bundles(loaded, names, rank), []
    except InputError as error:
        if rank.must:
            raise
        return None, [f"Not ranked on the same images: {error}"]


def _notes(loaded: Sequence[ClassifierBundle], told: Sequence[Compared], ranked: Ranked | None) -> list[str]:
    notes = []
    if len({_judged_rows(each) for each in loaded}) > 1:
        beside = " The ranking is of the images that all of them have in common." if ranked else ""
        notes.append(
            "These classifiers were judged on different images when they were made: small differences of those figures "
            f"mean nothing.{beside}"
        )
    if len({frozenset(each.classes) for each in loaded}) > 1:
        notes.append("They tell different classes apart.")
    losses = {
        each.name: _loss(bundle) for each, bundle in zip(told, loaded, strict=True) if len(each.history)
    }
    if len(set(losses.values())) > 1:
        said = "; ".join(f"{name}: {words}" for name, words in losses.items())
        notes.append(
            f"Their losses are not the same ({said}) and cannot become equally small: compare the courses of these "
            "curves, not their heights."
        )
    leaky = [
        each.name
        for each, bundle in zip(told, loaded, strict=True)
        if bundle.manifest["images"] == "runs" and bundle.recipe.data.split.by in ("random", "stratified")
    ]
    if leaky:
        notes.append(
            f"{', '.join(leaky)}: single images were dealt to the sides, and neighbours of a run are near-duplicates, "
            "so the figures say how well it remembers."
        )
    return notes


def _loss(bundle: ClassifierBundle) -> str:
    """Return in words what the training made small."""
    loss = bundle.recipe.loss
    parts = [loss.kind.replace("_", " "), "classes weighted" if loss.class_weights else ""]
    parts += [f"label smoothing {loss.label_smoothing:g}" if loss.label_smoothing else ""]
    parts += ["router losses" if loss.balance or loss.z else ""]
    return ", ".join(part for part in parts if part)


def _judged_rows(bundle: ClassifierBundle) -> object:
    """Return what tells the images that a bundle was judged on."""
    if bundle.dealt is None:
        return bundle.folder
    side = 2 if (bundle.dealt.side == 2).any() else 1
    hashes = [each["sha256"] for each in bundle.manifest["sources"]]
    mine = bundle.dealt.side == side
    source, position = bundle.dealt.source[mine].tolist(), bundle.dealt.position[mine].tolist()
    return frozenset((hashes[file], row) for file, row in zip(source, position, strict=True))


def _rows(history: pd.DataFrame) -> list[dict[str, float]]:
    return [
        {str(name): float(value) for name, value in row.items() if pd.notna(value)}
        for row in history.to_dict("records")
    ]
