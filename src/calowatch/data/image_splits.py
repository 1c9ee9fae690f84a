"""Which image is on which side of a split, and the proof that the sides share nothing."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.core.errors import InputError
from calowatch.core.recipe import SIDES
from calowatch.core.training import ImageSplit
from calowatch.data.images import ImageData, image_hashes

__all__ = [
    "ImageSides",
    "SplitProof",
    "blocks_of",
    "deal_images",
    "files_of",
    "independent_blocks",
    "prove_apart",
    "settled_split",
]

Ints = npt.NDArray[np.int64]
NO_SIDE = -1


@dataclass(frozen=True, eq=False)
class ImageSides:
    """Rows of each side, ascending; a row is on one side or on none.

    Parameters
    ----------
    train, validation, test
        Row numbers, int64.
    """

    train: Ints
    validation: Ints
    test: Ints

    def of(self, side: str) -> Ints:
        """Return the rows of a side.

        Raises
        ------
        InputError
            For an unknown side, or one without images.
        """
        if side not in SIDES:
            raise InputError("side", f"one of {', '.join(SIDES)}", repr(side), "choose one of them")
        rows: Ints = getattr(self, side)
        if not len(rows):
            held = ", ".join(name for name in SIDES if len(getattr(self, name)))
            raise InputError(
                f"side {side}", "images", "none: the split gave it no share", f"choose among {held}"
            )
        return rows


@dataclass(frozen=True)
class SplitProof:
    """What was counted after dealing.

    Parameters
    ----------
    images
        Images of each side, per class.
    blocks
        Blocks of each side; empty where single images were dealt.
    left_out
        Images on no side: guards, and what shares below 1 leave.
    shared_rows, shared_blocks
        On more than one side: zero, or the split is wrong.
    equal_images
        Validation and test images whose content equals a training image's, empty images apart; None where not looked
        for.
    """

    images: Mapping[str, Mapping[str, int]]
    blocks: Mapping[str, int]
    left_out: int
    shared_rows: int
    shared_blocks: int
    equal_images: int | None

    def to_json(self) -> dict[str, Any]:
        """Return the proof as JSON takes it."""
        return asdict(self)


def files_of(data: ImageData) -> Ints:
    """Return the number of each image's file, in the order of the files."""
    found: Ints = pd.factorize(data.table["source"])[0].astype(np.int64)
    return found


def blocks_of(data: ImageData, split: ImageSplit) -> Ints:
    """Return the block of each image, numbered over all files; -1 for images of a guard.

    The files' own blocks where they tell them. Else ``length`` neighbours of a file are a block, and the ``guard``
    images after it are in none. Images of runs whose own blocks are known may be dealt by several blocks together,
    which ``length`` then says; they need no guard.

    Raises
    ------
    InputError
        With length 0, for files that tell no blocks; with a length that cuts through blocks that files tell.
    """
    told = data.table["block"].to_numpy(np.int64)
    source, known = files_of(data), bool((told >= 0).all())
    if not known and not split.length:
        raise InputError(
            "split.length", "a number of images: the files tell no blocks", "0", "set length, such as 500"
        )
    if known and not (data.kind == "runs" and split.by == "blocks" and split.length):
        own, kept = told, np.ones(len(data), bool)
    else:
        step = split.length + (0 if known else split.guard)
        own, inside = np.divmod(data.table["position"].to_numpy(np.int64), step)
        kept = inside < split.length
        _check_uncut(source, told, own, split.length)
    _, number = np.unique(source * (int(own.max(initial=0)) + 1) + own, return_inverse=True)
    return np.where(kept, number, NO_SIDE)


def _check_uncut(source: Ints, told: Ints, own: Ints, length: int) -> None:
    """Raise where images that a file tells to be alike would be dealt apart."""
    table = pd.DataFrame({"source": source, "told": told, "own": own})[told >= 0]
    spans = table.groupby(["source", "told"])["own"].agg(["nunique", "size"])
    if len(spans) and spans["nunique"].max() > 1:
        size = int(spans["size"].max())
        raise InputError(
            "block length",
            f"{size}, the images that were simulated together, or a multiple of it",
            f"{length}, which deals some of them to different sides",
            f"use {max(round(length / size), 1) * size}",
        )


def settled_split(data: ImageData, split: ImageSplit) -> ImageSplit:
    """Return what a split by chunks is for these images: by the blocks that files tell, or stratified; others as is.

    Raises
    ------
    InputError
        Where some files tell their blocks and others do not, or there are too few for the sides.
    """
    if split.by != "chunks":
        return split
    told = data.table["block"].to_numpy(np.int64) >= 0
    if told.any() and not told.all():
        raise InputError(
            "split by chunks",
            "files that all tell the chunk of each image, or none",
            f"{int((~told).sum())} of {len(told)} images without",
            'learn from one kind of files, or write by = "stratified"',
        )
    if told.any():
        _check_chunks(data, split)
    by = "blocks" if told.any() else "stratified"
    return split.model_copy(update={"by": by, "length": 0, "guard": 0})


def _check_chunks(data: ImageData, split: ImageSplit) -> None:
    """Raise where a class has fewer chunks than there are sides to have one each."""
    wanted = sum(share > 0 for share in (split.train, split.validation, split.test))
    told = data.table["block"].to_numpy(np.int64) >= 0
    for label, name in enumerate(data.classes):
        mine = data.table[told & (data.labels == label)]
        sizes = mine.groupby(["source", "block"]).size()
        if not 0 < len(sizes) < wanted:
            continue
        raise InputError(
            ", ".join(mine["source"].unique()),
            f"at least {wanted} chunks of each class, since a chunk of generated images is on one side only",
            f"{len(sizes)} of {name}, with up to {sizes.max()} images",
            f"generate at least {wanted * sizes.max()} images of each class, or smaller chunks where the generator has "
            '--chunk, or write by = "stratified" in a recipe of your own',
        )


def independent_blocks(data: ImageData, split: ImageSplit) -> Ints:
    """Return which images must be drawn together for honest intervals, numbered over all files.

    Of runs, whose neighbours are alike, the files' own blocks where they tell them, else ``length`` neighbours. Of
    events, drawn one by one, each image alone.
    """
    if data.kind == "runs":
        return blocks_of(
            data, split.model_copy(update={"length": split.length or ImageSplit().length, "guard": 0})
        )
    return np.arange(len(data))


def deal_images(data: ImageData, split: ImageSplit, seed: int) -> ImageSides:
    """Deal images to the sides.

    Parameters
    ----------
    data
        The images.
    split
        How.
    seed
        Of the shuffle; one seed gives the same sides on every machine.

    Raises
    ------
    InputError
        When there are fewer images, blocks or files of a class than sides with a share.
    """
    rng, split = np.random.default_rng(seed), settled_split(data, split)
    if split.by in ("random", "stratified"):
        strata = data.labels if split.by == "stratified" else np.zeros(len(data), np.int64)
        side = _deal(np.arange(len(data)), strata, split, rng)
    else:
        by_file = split.by == "files"
        groups = files_of(data) if by_file else blocks_of(data, split)
        side = _deal_groups(groups, data.labels, split, rng)
    return ImageSides(*(np.flatnonzero(side == number) for number in range(len(SIDES))))


def _deal_groups(groups: Ints, labels: Ints, split: ImageSplit, rng: np.random.Generator) -> Ints:
    """Return the side of each image, whole groups dealt; groups of one class are dealt class by class."""
    kept = groups >= 0
    names, group = np.unique(groups[kept], return_inverse=True)
    lowest, highest = np.full(len(names), np.iinfo(np.int64).max), np.full(len(names), -1)
    np.minimum.at(lowest, group, labels[kept])
    np.maximum.at(highest, group, labels[kept])
    dealt = _deal(np.arange(len(names)), np.where(lowest == highest, lowest, -1), split, rng)
    side = np.full(len(groups), NO_SIDE)
    side[kept] = dealt[group]
    return side


def _deal(items: Ints, strata: Ints, split: ImageSplit, rng: np.random.Generator) -> Ints:
    """Return the side of each item, shares kept in each stratum as nearly as whole items allow."""
    shares = np.array([split.train, split.validation, split.test])
    side = np.full(len(items), NO_SIDE)
    for stratum in np.unique(strata).tolist():
        mine = rng.permutation(items[strata == stratum])
        wanted = int((shares > 0).sum())
        if len(mine) < wanted:
            what = {"blocks": "blocks", "files": "files"}.get(split.by, "images")
            raise InputError(
                f"split by {split.by}",
                f"at least {wanted} {what} of each class, one per side",
                f"{len(mine)}",
                "give more data, shorter blocks or another split",
            )
        ends = np.rint(np.cumsum(shares) * len(mine)).astype(int)
        ends = _at_least_one(ends, shares > 0)
        for number, (first, last) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            side[mine[first:last]] = number
    return side


def _at_least_one(ends: npt.NDArray[np.int_], wanted: npt.NDArray[np.bool_]) -> npt.NDArray[np.int_]:
    """Return ends of consecutive sides moved apart, so that each wanted one holds an item."""
    counts = np.diff(ends, prepend=0)
    for number in np.flatnonzero(wanted & (counts == 0)).tolist():
        counts[int(np.argmax(counts))] -= 1
        counts[number] += 1
    return np.cumsum(counts)


def prove_apart(
    data: ImageData, sides: ImageSides, split: ImageSplit, *, contents: bool = False
) -> SplitProof:
    """Count what is on which side, and what is on two: from the rows dealt, whatever dealt them.

    Parameters
    ----------
    data, sides, split
        The images and how they were dealt.
    contents
        Also look for images of equal content on two sides, which reads all of them.
    """
    split, rows = settled_split(data, split), {side: getattr(sides, side) for side in SIDES}
    images = {
        side: {name: int((data.labels[mine] == label).sum()) for label, name in enumerate(data.classes)}
        for side, mine in rows.items()
    }
    grouped = split.by == "blocks"
    blocks = {side: np.unique(blocks_of(data, split)[mine]) for side, mine in rows.items()} if grouped else {}
    dealt = np.concatenate(list(rows.values()))
    return SplitProof(
        images,
        {side: len(found) for side, found in blocks.items()},
        len(data) - len(np.unique(dealt)),
        len(dealt) - len(np.unique(dealt)),
        sum(map(len, blocks.values())) - len(np.unique(np.concatenate(list(blocks.values()))))
        if blocks
        else 0,
        _equal(data, sides) if contents else None,
    )


def _equal(data: ImageData, sides: ImageSides) -> int:
    hashes = image_hashes(data)
    blank = image_hashes(data.some(np.flatnonzero(_empty(data))[:1]))
    rest = np.concatenate([hashes[sides.validation], hashes[sides.test]])
    return int((np.isin(rest, hashes[sides.train]) & ~np.isin(rest, blank)).sum())


def _empty(data: ImageData) -> npt.NDArray[np.bool_]:
    return np.concatenate([~data.images.read(piece).any(axis=(1, 2, 3)) for piece in data.pieces()])
