"""Recipes: TOML files that say how something is made, read through models that refuse what they do not know."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from calowatch.core.errors import FormatError, InputError, UnknownNameError, nearest

__all__ = [
    "SIDES",
    "Blocks",
    "DataRecipe",
    "Eras",
    "LsRanges",
    "MinMax",
    "Span",
    "Split",
    "Standard",
    "Step",
    "Strict",
    "WholeRuns",
    "in_spans",
    "load_recipe",
    "read_toml",
    "recipe_path",
    "shipped_recipes",
]

SIDES = ("train", "validation", "test")
"""The sides of a split; a lumisection is on one of them or on none."""

Model = TypeVar("Model", bound="Strict")
Positive = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    """Refuses unknown keys, naming the nearest that exists."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, given: Any) -> Any:
        if isinstance(given, Mapping):
            for key in given:
                if key not in cls.model_fields:
                    known = ", ".join(cls.model_fields)
                    raise ValueError(
                        f"unknown key {key!r}; {nearest(str(key), cls.model_fields)} (keys: {known})"
                    )
        return given


@dataclass(frozen=True)
class Span:
    """Numbers (runs or lumisections) from ``first`` to ``last``, both inclusive; open-ended when ``last`` is None.

    Examples
    --------
    >>> str(Span(501, None)), 700 in Span(501, None), 500 in Span(501, None)
    ('501-', True, False)
    """

    first: int
    last: int | None

    def __contains__(self, number: int) -> bool:
        return self.first <= number and (self.last is None or number <= self.last)

    def __str__(self) -> str:
        if self.last == self.first:
            return str(self.first)
        return f"{self.first}-{'' if self.last is None else self.last}"

    def overlaps(self, other: "Span") -> bool:
        """Return whether any number is in both."""
        return self.first in other or other.first in self


def _span(given: Any) -> Span:
    if isinstance(given, Span):
        return given
    first, dash, last = str(given).partition("-")
    try:
        span = Span(int(first), int(last) if last.strip() else None if dash else int(first))
    except ValueError:
        raise ValueError(f"{given!r} is no number or range such as 7, '1-500' or '501-'") from None
    if span.last is not None and span.last < span.first:
        raise ValueError(f"{given!r} ends before it begins")
    return span


def _spans(given: Any) -> tuple[Span, ...]:
    items = given if isinstance(given, list | tuple) else [given]
    if not items:
        raise ValueError("an empty list of ranges")
    return tuple(_span(item) for item in items)


Spans = Annotated[
    tuple[Span, ...],
    BeforeValidator(_spans),
    PlainSerializer(lambda spans: [str(span) for span in spans], return_type=list[str]),
]
"""One or several ranges: ``7``, ``"1-500"``, ``["1-100", "201-"]``."""


def in_spans(number: int, spans: Iterable[Span]) -> bool:
    """Return whether a number is in any of the ranges."""
    return any(number in span for span in spans)


class Select(Strict):
    """Which lumisections and channels take part.

    ``runs`` and ``ls`` are everything unless given; ``min_events`` also leaves out lumisections of unknown events
    unless it is 0.
    """

    runs: Spans | None = None
    subdets: Annotated[tuple[str, ...], Field(min_length=1)] = ("HB", "HE", "HF", "HO")
    ls: Spans | None = None
    min_events: Whole = 100


class Window(Strict):
    """Lumisections seen together: ``length`` of them, a new window every ``stride`` (default: ``length``).

    ``max_gap`` is how many lumisections may be missing between two neighbours of a window.
    """

    length: Positive = 1
    stride: Positive | None = None
    max_gap: Whole = 0


class PerEvent(Strict):
    """Divide by the events of the lumisection."""

    step: Literal["per_event"] = "per_event"


class MinMax(Strict):
    """Map the range seen on the training side to 0 .. 1, for all channels alike, per ring or per channel."""

    step: Literal["min_max"] = "min_max"
    scope: Literal["all", "ring", "channel"] = "all"


class Standard(Strict):
    """Subtract the mean of the training side and divide by its standard deviation; scopes as `MinMax`."""

    step: Literal["standard"] = "standard"
    scope: Literal["all", "ring", "channel"] = "all"


class Log1p(Strict):
    """Take ln(1 + x)."""

    step: Literal["log1p"] = "log1p"


class Ring(Strict):
    """Divide each ring by the mean of its cells that are not zero, per lumisection: undone exactly by the inverse."""

    step: Literal["ring"] = "ring"


STEPS = ("per_event", "min_max", "standard", "log1p", "ring")


def _step(given: Any) -> Any:
    given = {"step": given} if isinstance(given, str) else given
    name = given.get("step") if isinstance(given, Mapping) else None
    if isinstance(given, Mapping) and name not in STEPS:
        raise ValueError(f"unknown step {name!r}; {nearest(str(name), STEPS)} (steps: {', '.join(STEPS)})")
    return given


Step = Annotated[
    Annotated[PerEvent | MinMax | Standard | Log1p | Ring, Field(discriminator="step")],
    BeforeValidator(_step),
]


class PreparationRecipe(Strict):
    """Steps from counts to what a network sees, in order."""

    steps: tuple[Step, ...] = (PerEvent(),)

    @model_validator(mode="after")
    def _order(self) -> Self:
        """Logarithm and ring mean need values of zero or more."""
        signed = ""
        for step in self.steps:
            if signed and (step.step == "log1p" or (step.step == "ring" and signed == "standard")):
                raise ValueError(f"{step.step} after {signed}, which gives negative values: put it before")
            if step.step == "per_event" and step is not self.steps[0]:
                raise ValueError("per_event must be the first step: only counts can be divided by events")
            signed = step.step if step.step in ("standard", "min_max") else signed
        return self


def _disjoint(sides: Mapping[str, tuple[Span, ...] | None]) -> None:
    placed = [(side, span) for side, spans in sides.items() for span in spans or ()]
    for i, (side, span) in enumerate(placed):
        for other_side, other in placed[:i]:
            if other_side != side and span.overlaps(other):
                raise ValueError(f"{other_side} {other} and {side} {span} overlap")


class LsRanges(Strict):
    """By lumisection number: the same runs are on all sides."""

    by: Literal["ls_range"]
    train: Spans
    validation: Spans | None = None
    test: Spans | None = None

    @model_validator(mode="after")
    def _apart(self) -> Self:
        _disjoint({side: getattr(self, side) for side in SIDES})
        return self


class Shares(Strict):
    """Shares of the blocks; together 1."""

    train: Share = 0.7
    validation: Share = 0.15
    test: Share = 0.15

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if abs(self.train + self.validation + self.test - 1) > 1e-6:
            raise ValueError(f"shares are {self.train + self.validation + self.test:g} together, not 1")
        return self


class Blocks(Strict):
    """By blocks of ``length`` lumisection numbers, dealt to the sides at random, ``guard`` left out between two."""

    by: Literal["blocks"]
    length: Positive = 50
    guard: Whole = 5
    shares: Shares = Shares()


class WholeRuns(Strict):
    """By run: a run is on one side with all its lumisections."""

    by: Literal["run"]
    train: Spans
    validation: Spans | None = None
    test: Spans | None = None

    @model_validator(mode="after")
    def _apart(self) -> Self:
        _disjoint({side: getattr(self, side) for side in SIDES})
        return self


class Eras(Strict):
    """By era of the detector, such as training on 2018 and testing on Run 3."""

    by: Literal["era"]
    train: tuple[str, ...]
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _apart(self) -> Self:
        named = [*self.train, *self.validation, *self.test]
        twice = sorted({era for era in named if named.count(era) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} named twice")
        return self


SPLITS = ("ls_range", "blocks", "run", "era")


def _split(given: Any) -> Any:
    by = given.get("by") if isinstance(given, Mapping) else None
    if isinstance(given, Mapping) and by not in SPLITS:
        raise ValueError(f"by = {by!r}; {nearest(str(by), SPLITS)} (one of {', '.join(SPLITS)})")
    return given


Split = Annotated[
    Annotated[LsRanges | Blocks | WholeRuns | Eras, Field(discriminator="by")], BeforeValidator(_split)
]


class DataRecipe(Strict):
    """How a data set of occupancy is made: what is taken, how it is split, windowed and prepared.

    ``store`` is relative to the recipe's folder; ``seed`` deals blocks to the sides.
    """

    store: str | None = None
    seed: Whole = 0
    select: Select = Select()
    split: Split
    window: Window = Window()
    preparation: PreparationRecipe = PreparationRecipe()


def shipped_recipes() -> dict[str, Path]:
    """Return the recipes that come with calowatch, by name.

    Examples
    --------
    >>> "source-ls-split" in shipped_recipes()
    True
    """
    folder = Path(str(files("calowatch") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def recipe_path(name: str | Path) -> Path:
    """Return the file of a recipe: a path, or one that comes with calowatch, as ``NAME`` or ``recipes/NAME.toml``.

    Raises
    ------
    UnknownNameError
        When there is neither.
    """
    path, shipped = Path(name), shipped_recipes()
    if path.is_file():
        return path
    if str(path.parent) in (".", "recipes") and path.name.removesuffix(".toml") in shipped:
        return shipped[path.name.removesuffix(".toml")]
    raise UnknownNameError(
        name,
        f"a recipe file, or one of the {len(shipped)} recipes that come along",
        "neither",
        f"{nearest(path.stem, shipped)} (calowatch models --recipes lists those of trainings)",
    )


def read_toml(path: Path) -> dict[str, Any]:
    """Return a recipe as it stands in its TOML file.

    Raises
    ------
    FormatError
        When the file is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(path, "a recipe in TOML", str(error), "mend the line named") from error


def load_recipe(path: Path, model: type[Model]) -> Model:
    """Return a recipe read from a TOML file.

    Raises
    ------
    FormatError
        When the file is no TOML.
    InputError
        For unknown or missing keys and for values that cannot be, naming the key.
    """
    given = read_toml(path)
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise _as_input_error(path, error) from error


def _as_input_error(path: Path, error: ValidationError) -> InputError:
    first = error.errors()[0]
    # Tags of the union are part of pydantic's location, but no key of the file.
    keys = [str(part) for part in first["loc"] if part not in (*SPLITS, *STEPS)]
    where = f"{path}: {'.'.join(keys)}" if keys else str(path)
    message = first["msg"].removeprefix("Value error, ")
    more = f" (and {len(error.errors()) - 1} more)" if len(error.errors()) > 1 else ""
    return InputError(where, "keys and values of a recipe", f"{message}{more}", "mend this key of the recipe")
