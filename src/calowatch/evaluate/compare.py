"""The verb ``compare``: trained classifiers beside each other, as their bundles tell of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from calowatch.bundle.classifier import ClassifierBundle, load_classifier
from calowatch.core.errors import FormatError, InputError
from calowatch.core.files import check_place, staged_files, write_json
from calowatch.core.provenance import provenance
from calowatch.metrics.classification import Figure, as_json
from calowatch.present.classify_compare import Compared, comparison_page
from calowatch.present.panels_page import write_page

__all__ = ["Comparison", "compare"]

_OWNED = ("comparison.*", "curves_*.png", "worth.png")


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a comparison gave.

    Parameters
    ----------
    document
        The content of ``comparison.json``.
    bundles
        The same, as tables.
    files
        What was written, the page first.
    """

    document: Mapping[str, Any]
    bundles: tuple[Compared, ...]
    files: tuple[Path, ...]


def compare(bundles: Sequence[Path | str], out: Path | str) -> Comparison:
    """Put classifiers beside each other; write ``comparison.html``, ``comparison.json`` and PNG figures.

    Nothing is computed anew: curves are those of the training, figures those of the side that each bundle was judged on
    when it was made. Where the sides hold other images the page says so.

    Parameters
    ----------
    bundles
        Folders of classifiers, at least two.
    out
        Folder of the results.

    Raises
    ------
    InputError
        For fewer than two bundles, or one named twice.
    FormatError
        For a folder that is no bundle of a classifier.
    """
    check_place(out)
    folders = [Path(each) for each in bundles]
    if len(folders) < 2 or len({each.resolve() for each in folders}) < len(folders):
        raise InputError("bundles", "two or more, each once", f"{len(folders)}", "name other bundles")
    loaded = [load_classifier(each) for each in folders]
    names = _names(folders)
    told = tuple(_read(each, name) for each, name in zip(loaded, names, strict=True))
    notes = _notes(loaded, told)
    made = provenance(
        "compare",
        sources=[
            {"name": name, "sha256": dict(each.manifest["sha256"])}
            for name, each in zip(names, loaded, strict=True)
        ],
    )
    document = {
        "bundles": [
            {**each.entry(), "figures": as_json(each.figures), "history": _rows(each.history)}
            for each in told
        ],
        "notes": notes,
        "provenance": made,
    }
    out = Path(out)
    with staged_files(out, _OWNED) as scratch:
        written = write_page(scratch, "comparison", comparison_page(told, notes, made))
        write_json(scratch / "comparison.json", document)
        files = [path.name for path in written] + ["comparison.json"]
    return Comparison(document, told, tuple(out / name for name in files))


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the names of the folders, with that of their parents where that is needed to tell them apart."""
    short = [each.resolve().name for each in folders]
    return [
        name if short.count(name) == 1 else f"{each.resolve().parent.name}/{name}"
        for each, name in zip(folders, short, strict=True)
    ]


def _read(bundle: ClassifierBundle, name: str) -> Compared:
    assert bundle.folder is not None
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


def _notes(loaded: Sequence[ClassifierBundle], told: Sequence[Compared]) -> list[str]:
    notes = []
    if len({_judged_rows(each) for each in loaded}) > 1:
        notes.append(
            "These classifiers were judged on different images: small differences of figures mean nothing."
        )
    if len({frozenset(each.classes) for each in loaded}) > 1:
        notes.append("They tell different classes apart.")
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
