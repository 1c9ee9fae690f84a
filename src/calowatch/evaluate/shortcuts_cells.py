"""The cells of the battery: which variant of the images, which split, which model, how spoilt the training side."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from calowatch.core.errors import InputError, UnknownNameError, nearest
from calowatch.core.training import ImageDataRecipe, ImageSplit, ImageStep, ImageStepName, ImageTraining
from calowatch.data.image_splits import ImageSides, blocks_of, deal_images
from calowatch.data.images import ImageData

__all__ = [
    "MASK_AT",
    "ORACLE",
    "VARIANTS",
    "Battery",
    "Cell",
    "Variant",
    "battery_split",
    "cell_recipe",
    "check_cells",
    "deal_cell",
    "plan",
]

Ints = npt.NDArray[np.int64]

ORACLE = "oracle"
"""Name of the exact likelihood ratio among the models."""

MASK_AT = 4.0
"""Robust standard deviations of its ring beyond which a cell is masked."""

_HARDER: frozenset[ImageStepName] = frozenset({"unit_sum", "unit_ring", "mask_deviating"})
_SCALES: frozenset[ImageStepName] = frozenset({"standard", "min_max", "channel_scale"})


@dataclass(frozen=True)
class Variant:
    """One way to make the task harder.

    Parameters
    ----------
    words
        For people.
    steps
        What is done to images before anything of the model's own.
    scale
        What the images no longer tell, as the oracle names it.
    """

    words: str
    steps: tuple[ImageStep, ...]
    scale: Literal["none", "image", "ring"]

    @property
    def masked(self) -> bool:
        """Whether deviating cells are left out."""
        return any(step.step == "mask_deviating" for step in self.steps)


_MASK = ImageStep(step="mask_deviating", at=MASK_AT)
_RING = ImageStep(step="unit_ring")

VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "as-is": Variant("as published", (), "none"),
        "unit-sum": Variant("each image scaled to unit sum", (ImageStep(step="unit_sum"),), "image"),
        "rings": Variant("each ring scaled to unit mean", (_RING,), "ring"),
        "masked": Variant("deviating cells masked", (_MASK,), "none"),
        "rings-masked": Variant(
            "deviating cells masked, then each ring scaled to unit mean", (_MASK, _RING), "ring"
        ),
    }
)
"""Variants by name, in the order of tables."""

SPLITS: tuple[Literal["random", "blocks"], ...] = ("random", "blocks")


@dataclass(frozen=True)
class Cell:
    """One training and what it is judged on.

    Parameters
    ----------
    variant, split, model
        Names.
    repeat
        Number; deals and trains anew.
    noise
        Share of the labels of training and validation that are wrong.
    images, blocks
        How many are left to train on, of all classes together and of each class; None for all.
    """

    variant: str
    split: Literal["random", "blocks"]
    model: str
    repeat: int = 0
    noise: float = 0.0
    images: int | None = None
    blocks: int | None = None

    @property
    def key(self) -> str:
        """Name of the cell's file."""
        spoilt = [f"noise{self.noise:g}" if self.noise else "", f"images{self.images}" if self.images else ""]
        spoilt.append(f"blocks{self.blocks}" if self.blocks else "")
        model = re.sub(r"[^\w.-]", "-", self.model)
        return "_".join(
            part for part in (self.variant, self.split, model, *spoilt, f"r{self.repeat}") if part
        )

    @property
    def plain(self) -> bool:
        """Whether the training side is whole and its labels are right."""
        return not self.noise and self.images is None and self.blocks is None


@dataclass(frozen=True)
class Battery:
    """What the battery holds.

    Parameters
    ----------
    models
        Names of the recipes' models, in the order of tables.
    variants
        Names of `VARIANTS`.
    splits
        ``random`` and ``blocks``.
    repeats
        Times that everything is dealt and trained anew.
    noise
        Shares of wrong labels.
    images, blocks
        Sizes of the training side: images together, blocks of each class.
    spoilt
        Variants on which wrong labels and small training sides are tried, always split by blocks.
    """

    models: tuple[str, ...]
    variants: tuple[str, ...] = tuple(VARIANTS)
    splits: tuple[Literal["random", "blocks"], ...] = SPLITS
    repeats: int = 1
    noise: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4)
    images: tuple[int, ...] = (64, 256, 1024)
    blocks: tuple[int, ...] = (1, 2, 4, 8)
    spoilt: tuple[str, ...] = ("as-is", "rings-masked")

    def __post_init__(self) -> None:
        for name in (*self.variants, *self.spoilt):
            if name not in VARIANTS:
                raise UnknownNameError(
                    "--variants", f"some of {', '.join(VARIANTS)}", repr(name), nearest(name, VARIANTS)
                )
        if self.repeats < 1:
            raise InputError("--repeats", "1 or more", str(self.repeats), "raise it")
        if not self.models or not self.variants:
            raise InputError("battery", "some model and some variant", "none", "name one of each")
        for share in self.noise:
            if not 0 < share < 1:
                raise InputError(
                    "--noise", "shares between 0 and 1", f"{share:g}", "such as 0.1,0.3, or none"
                )
        for option, sizes in (("--images", self.images), ("--blocks", self.blocks)):
            if min(sizes, default=1) < 1:
                raise InputError(option, "numbers of 1 or more", str(min(sizes)), "correct it, or none")

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON takes them."""
        return asdict(self)


def plan(battery: Battery, *, oracle: bool) -> list[Cell]:
    """Return all cells of a battery, cheap questions first.

    Parameters
    ----------
    battery
        What it holds.
    oracle
        Whether the exact likelihood ratio is known.
    """
    models = (*battery.models, ORACLE) if oracle else battery.models
    cells = [
        Cell(variant, split, model, repeat)
        for repeat in range(battery.repeats)
        for model in models
        for variant in battery.variants
        for split in battery.splits
    ]
    whole = [
        Cell(variant, "blocks", model, repeat)
        for repeat in range(battery.repeats)
        for model in battery.models
        for variant in battery.spoilt
        if variant in battery.variants
    ]
    for cell in whole:
        cells += [replace(cell, noise=share) for share in battery.noise]
        cells += [replace(cell, images=size) for size in battery.images]
        cells += [replace(cell, blocks=size) for size in battery.blocks]
    return cells


def battery_split(by: Literal["random", "blocks"], length: int) -> ImageSplit:
    """Return the split of a cell: 60 % to train, 20 % to validate, 20 % to test."""
    return ImageSplit(by=by, train=0.6, validation=0.2, test=0.2, length=length)


def check_cells(data: ImageData, cells: Sequence[Cell], length: int, seed: int) -> None:
    """Raise before anything is trained if the images are too few for a cell.

    Parameters
    ----------
    data
        The images.
    cells
        What `plan` returned.
    length
        Images in a block.
    seed
        Of the battery.

    Raises
    ------
    InputError
        Naming the option, and what of it fits.
    """
    split = battery_split("blocks", length)
    blocks = blocks_of(data, split)
    fewest = {"images": len(data), "blocks": len(data)}
    for repeat in sorted({cell.repeat for cell in cells}):
        for by in sorted({cell.split for cell in cells if cell.repeat == repeat}):
            rows = deal_images(data, battery_split(by, length), seed + repeat).train
            if by == "blocks":
                each = [
                    len(np.unique(blocks[rows[data.labels[rows] == y]])) for y in range(len(data.classes))
                ]
                fewest = {
                    "images": min(len(rows), fewest["images"]),
                    "blocks": min(*each, fewest["blocks"]),
                }
    least = {"images": len(data.classes), "blocks": 1}
    words = {"images": "training images", "blocks": "training blocks of each run"}
    for name, most in fewest.items():
        sizes = sorted({size for cell in cells if (size := getattr(cell, name)) is not None})
        wrong = [size for size in sizes if not least[name] <= size <= most]
        if wrong:
            fit = ",".join(str(size) for size in sizes if size not in wrong) or "none"
            found = " and ".join(map(str, wrong))
            raise InputError(
                f"--{name}", f"{least[name]} to {most} {words[name]}", found, f"use --{name} {fit}"
            )


def cell_recipe(recipe: ImageTraining, cell: Cell, length: int, seed: int) -> ImageTraining:
    """Return a model's recipe for a cell: the variant's steps, then what the recipe does to scales.

    Where intensity stays, the recipe's own steps follow. Where it is taken away, a logarithm of its own would mean
    another thing than in the recipe, so only its scaling follows; ``standard`` where it has none.

    Parameters
    ----------
    recipe
        Of the model.
    cell
        The cell.
    length
        Images in a block.
    seed
        Of the battery.
    """
    variant = VARIANTS[cell.variant]
    own = [step for step in recipe.data.steps if step.step not in _HARDER]
    if variant.scale != "none":
        own = [step for step in own if step.step in _SCALES]
    if not own:
        own = [ImageStep(step="standard")]
    data = ImageDataRecipe(
        kind="runs",
        split=battery_split(cell.split, length),
        steps=(*variant.steps, *own),
        augment=recipe.data.augment,
    )
    return recipe.model_copy(update={"data": data, "seed": seed + cell.repeat})


def deal_cell(data: ImageData, cell: Cell, split: ImageSplit, seed: int) -> tuple[ImageData, ImageSides]:
    """Return the images of a cell, some labels of training and validation wrong where it says so, and the sides.

    Parameters
    ----------
    data
        The images, rightly labelled.
    cell, split
        The cell, and how its images are dealt.
    seed
        Of the battery: one repeat deals alike for all models and variants.

    Raises
    ------
    InputError
        When fewer images or blocks are left to train on than the cell wants.
    """
    sides = deal_images(data, split, seed + cell.repeat)
    rng = np.random.default_rng([seed, cell.repeat, 1])
    if cell.blocks is not None:
        sides = replace(sides, train=_some_blocks(data, sides.train, split, cell.blocks, rng))
    if cell.images is not None:
        sides = replace(sides, train=_some_images(data.labels, sides.train, cell.images, rng))
    if cell.noise:
        data = replace(data, labels=_spoil(data, sides, cell.noise, rng))
    return data, sides


def _some_blocks(
    data: ImageData, rows: Ints, split: ImageSplit, wanted: int, rng: np.random.Generator
) -> Ints:
    blocks = blocks_of(data, split)
    chosen: list[int] = []
    for label in range(len(data.classes)):
        mine = np.unique(blocks[rows[data.labels[rows] == label]])
        if len(mine) < wanted:
            raise InputError("blocks", f"{len(mine)} of each class at most", f"{wanted}", "lower --blocks")
        chosen += rng.permutation(mine)[:wanted].tolist()
    return rows[np.isin(blocks[rows], chosen)]


def _some_images(labels: Ints, rows: Ints, wanted: int, rng: np.random.Generator) -> Ints:
    """Return as many rows of each class, or one more."""
    classes = np.unique(labels[rows])
    if wanted < len(classes) or wanted > len(rows):
        raise InputError(
            "images", f"{len(classes)} to {len(rows)} to train on", f"{wanted}", "change --images"
        )
    parts = [rng.permutation(rows[labels[rows] == label])[: -(-wanted // len(classes))] for label in classes]
    return np.sort(np.concatenate(parts))


def _spoil(data: ImageData, sides: ImageSides, share: float, rng: np.random.Generator) -> Ints:
    labels = data.labels.copy()
    rows = np.concatenate([sides.train, sides.validation])
    wrong = rows[rng.random(len(rows)) < share]
    labels[wrong] = (labels[wrong] + rng.integers(1, len(data.classes), len(wrong))) % len(data.classes)
    return labels


def names_of(recipes: Sequence[str]) -> tuple[str, ...]:
    """Return short names of recipes: of files, without folder and ending, of shipped ones, without ``runs-``."""
    names = tuple(name.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".toml") for name in recipes)
    short = tuple(name.removeprefix("runs-") for name in names)
    if len(set(short)) < len(short):
        raise InputError("--recipes", "each recipe once", ", ".join(names), "leave out one of them")
    return short
