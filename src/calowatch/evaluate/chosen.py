"""Which images classifiers are judged and explained by: of their own files those they have not learned from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from calowatch.bundle.classifier import ClassifierBundle
from calowatch.bundle.dealt import deal_again
from calowatch.core.errors import InputError, UnknownNameError, nearest
from calowatch.core.files import file_hash
from calowatch.core.progress import SILENT, Progress
from calowatch.core.recipe import SIDES
from calowatch.data.image_sets import image_files, open_images
from calowatch.data.images import ImageData, image_hashes

__all__ = ["ChosenImages", "choose_images", "choose_sides", "choose_together"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ChosenImages:
    """The images to judge by.

    Parameters
    ----------
    data
        All images of the files.
    rows
        Those to judge.
    words
        What to call them.
    side
        Of the classifier's own split; None for images of other files.
    notes
        What a reader must know of them.
    hashes
        SHA-256 of each file, by name.
    """

    data: ImageData
    rows: Ints
    words: str
    side: str | None
    notes: tuple[str, ...]
    hashes: Mapping[str, str]


def choose_images(
    bundle: ClassifierBundle, given: Sequence[Path], side: str | None = None, progress: Progress = SILENT
) -> ChosenImages:
    """Return the images to judge one classifier by; see `choose_together`."""
    return choose_together([bundle], given, side, progress)[0]


def choose_together(
    bundles: Sequence[ClassifierBundle],
    given: Sequence[Path],
    side: str | None = None,
    progress: Progress = SILENT,
) -> list[ChosenImages]:
    """Return the images to judge classifiers by, for each as it reads them: the same rows of the same files for all.

    Parameters
    ----------
    bundles
        The classifiers, of the same classes.
    given
        Files of labelled images; none for those that the first was trained with.
    side
        Of the split of whoever was trained with these files; None for test, or validation where there is no test side.
    progress
        Told how far the work is.

    Raises
    ------
    InputError
        When files are not found or no longer those of the training, the side holds no image, or every image is one that
        a classifier has learned from.
    """
    return choose_sides(bundles, given, [side], progress)[0]


def choose_sides(
    bundles: Sequence[ClassifierBundle],
    given: Sequence[Path],
    sides: Sequence[str | None],
    progress: Progress = SILENT,
) -> list[list[ChosenImages]]:
    """Return the images of several sides, as `choose_together` does of one; files are read once for all of them."""
    for side in sides:
        if side is not None and side not in SIDES:
            raise UnknownNameError("--side", f"one of {', '.join(SIDES)}", side, nearest(side, SIDES))
    first = bundles[0]
    if not given:
        for side in sides:
            _side(first, side)
    files = image_files(given or _own_files(first), first.recipe.data.kind)
    lost = [str(path) for path in files if not path.is_file()]
    if lost:
        raise InputError(", ".join(lost), "files of images", "nothing of that name", "check the paths")
    hashes = {path.name: file_hash(path) for path in progress.track(files, "hashing files", len(files))}
    if not given:
        _check_unchanged(first, hashes)
    opened = _open_for(bundles, files, progress)
    return [_of_side(bundles, opened, hashes, side) for side in sides]


def _open_for(
    bundles: Sequence[ClassifierBundle], files: Sequence[Path], progress: Progress
) -> list[ImageData]:
    """Return the images as each classifier reads them, opened once for all that read them alike."""
    opened: dict[tuple[object, ...], ImageData] = {}
    found = []
    for bundle in bundles:
        recipe = bundle.recipe.data.model_copy(update={"classes": bundle.classes, "at_most": None})
        key = (recipe.kind, recipe.classes, recipe.channels, recipe.scalars)
        if key not in opened:
            opened[key] = open_images(files, recipe, progress, partial=True)
        found.append(opened[key])
    return found


def _of_side(
    bundles: Sequence[ClassifierBundle],
    opened: Sequence[ImageData],
    hashes: Mapping[str, str],
    side: str | None,
) -> list[ChosenImages]:
    found = [_choose(each, data, hashes, side) for each, data in zip(bundles, opened, strict=True)]
    rows = found[0].rows
    for seen in found[1:]:
        rows = np.intersect1d(rows, seen.rows)
    if not len(rows):
        raise InputError(
            "images", "some that none of them has learned from", "none", "give other files with --data"
        )
    return [replace(seen, rows=rows, notes=_joined(bundles, found)) for seen in found]


def _joined(bundles: Sequence[ClassifierBundle], found: Sequence[ChosenImages]) -> tuple[str, ...]:
    """Return what a reader must know for the first, and of the others what differs, each under its name."""
    notes = list(found[0].notes)
    for bundle, seen in zip(bundles[1:], found[1:], strict=True):
        more = [note for note in seen.notes if note not in found[0].notes]
        if seen.words != found[0].words:
            more.insert(0, f"to it these are {seen.words}.")
        notes += [f"{bundle.name}: {note}" for note in more]
    return tuple(notes)


def _choose(
    bundle: ClassifierBundle, data: ImageData, hashes: Mapping[str, str], side: str | None
) -> ChosenImages:
    own = {str(each["sha256"]) for each in bundle.manifest["sources"]}.intersection(hashes.values())
    if bundle.dealt is not None and own:
        side = _side(bundle, side)
    dealt = bundle.dealt
    if dealt is None:
        return ChosenImages(data, np.arange(len(data)), "images of other files", None, (), hashes)
    sides = deal_again(dealt, data, hashes, bundle.manifest["sources"])
    if sides is not None and side is not None:
        notes = _split_notes(bundle, side)
        return ChosenImages(data, sides.of(side), f"{side} side of its own split", side, notes, hashes)
    learned = np.isin(image_hashes(data), dealt.learned) & _not_empty(data)
    rows = np.flatnonzero(~learned)
    if not len(rows):
        raise InputError(
            ", ".join(hashes),
            "images that the classifier has not learned from",
            "only such",
            "give other files",
        )
    notes = _changed_notes(bundle, hashes)
    if learned.any():
        notes += (f"{int(learned.sum())} images were left out: the classifier has learned from equal ones.",)
    return ChosenImages(data, rows, "images of other files", None, notes, hashes)


def _side(bundle: ClassifierBundle, asked: str | None) -> str:
    """Return the side to judge by.

    Raises
    ------
    InputError
        When it holds no image, with the sides that do.
    """
    # Train comes last: it is there for the curious, and is no judgement.
    order = ("test", "validation", "train")
    dealt = bundle.dealt
    held = [name for name in order if dealt is None or bool((dealt.side == SIDES.index(name)).any())]
    side = asked or next((name for name in held if name != "train"), "test")
    if side not in held:
        fix = (
            f"choose --side {held[0]}" if held[:1] not in ([], ["train"]) else "give other files with --data"
        )
        raise InputError(f"--side {side}", "images on this side", "none: the split gave it no share", fix)
    return side


def _own_files(bundle: ClassifierBundle) -> list[Path]:
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


def _check_unchanged(bundle: ClassifierBundle, hashes: Mapping[str, str]) -> None:
    """Raise where a file has other content than when it was learned from: nothing tells which of its images are new."""
    known = {str(each["sha256"]) for each in bundle.manifest["sources"]}
    changed = [name for name, sha256 in hashes.items() if sha256 not in known]
    if changed:
        raise InputError(
            ", ".join(changed),
            f"the content that {bundle.name} was trained with",
            "other content: changed since",
            "put the files back, or name files to judge by with --data",
        )


def _changed_notes(bundle: ClassifierBundle, hashes: Mapping[str, str]) -> tuple[str, ...]:
    names = {str(each["name"]) for each in bundle.manifest["sources"]}
    same = [name for name in hashes if name in names]
    if not same:
        return ()
    note = (
        f"{', '.join(same)}: of the name of a training file, but of other content. Where it holds changed copies of "
        "images that were learned from, these are judged as if they were new."
    )
    return (note,)


def _not_empty(data: ImageData) -> npt.NDArray[np.bool_]:
    """Return which images hold anything: empty ones are all equal, and teach nothing."""
    return np.concatenate([data.images.read(piece).any(axis=(1, 2, 3)) for piece in data.pieces()])


def _split_notes(bundle: ClassifierBundle, side: str) -> tuple[str, ...]:
    """Return what a split leaves open: neighbours on two sides, equal images on two sides, which side it is."""
    split, notes = bundle.recipe.data.split, []
    if bundle.manifest["images"] == "runs" and split.by in ("random", "stratified"):
        notes.append(
            "Single images were dealt to the sides, and neighbours of a run are near-duplicates: these figures "
            "say how well the classifier remembers. A split by blocks says how well it has learned."
        )
    equal = (bundle.manifest.get("split") or {}).get("equal_images")
    if equal:
        notes.append(f"{equal} validation and test images equal a training image.")
    if side == "validation":
        notes.append("These images chose the epoch and the temperature, so the figures flatter a little.")
    if side == "train":
        notes.append("These are the images that the classifier has learned from: no judgement of its worth.")
    return tuple(notes)
