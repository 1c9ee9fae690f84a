"""What the manifest of a classifier must hold, checked before anything else of its bundle is opened."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError, model_validator

from calowatch.bundle.manifest import MANIFEST, read_manifest
from calowatch.core.errors import FormatError
from calowatch.core.training import ImageTraining

__all__ = ["KIND", "SCHEMA", "read_classifier_manifest"]

KIND = "classifier"
SCHEMA = 1

Whole = Annotated[StrictInt, Field(ge=0)]
Count = Annotated[StrictInt, Field(ge=1)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class _Geometry(BaseModel, extra="forbid"):
    channels: Count
    rows: Count
    columns: Count
    scalars: Whole = 0
    outputs: Count = 2


class _Source(BaseModel, extra="allow"):
    name: str
    sha256: str
    path: str = ""


class _Training(BaseModel, extra="allow"):
    seconds: Annotated[Number, Field(ge=0)]
    device: str


class _Split(BaseModel, extra="allow"):
    images: Mapping[str, Mapping[str, Whole]]
    equal_images: Whole | None = None


class _Manifest(BaseModel):
    """The entries, and what each says of the others: an edit of one alone is found."""

    model_config = ConfigDict(extra="allow", frozen=True)

    model: str
    images: Literal["runs", "egamma", "jets"]
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    channels: Annotated[tuple[str, ...], Field(min_length=1)]
    scalar_names: tuple[str, ...]
    geometry: _Geometry
    n_parameters: Whole
    temperature: Annotated[Number, Field(gt=0)]
    recipe: ImageTraining
    training: _Training
    sources: tuple[_Source, ...]
    split: _Split | None = None
    sha256: Mapping[str, str]

    @model_validator(mode="after")
    def _one_story(self) -> Self:
        g, name = self.geometry, self.recipe.network.name
        outputs = (1, 2) if len(self.classes) == 2 else (len(self.classes),)
        held = (len(self.channels), len(self.scalar_names))
        if self.model != name:
            raise ValueError(f"model {self.model}, but a recipe of {name}")
        if (g.channels, g.scalars) != held or g.outputs not in outputs:
            raise ValueError("a geometry that does not fit channels, scalar_names and classes")
        if self.sources and self.split is None:
            raise ValueError("files that it was trained with, but no split")
        self._check_classes()
        lost = sorted({"preparation.json", "preparation.npz", *self._of_split()} - set(self.sha256))
        if lost or not {"weights.safetensors", "model.npz"} & set(self.sha256):
            raise ValueError(f"sha256 without {', '.join(lost) or 'weights'}")
        return self

    def _of_split(self) -> tuple[str, ...]:
        # Without it, images that were learned from would be judged as new ones.
        return () if self.split is None else ("split.npz",)

    def _check_classes(self) -> None:
        """Hold the order of the classes, which is that of the answers, against where else it stands."""
        orders = [] if self.split is None else [tuple(side) for side in self.split.images.values()]
        named = self.recipe.data.classes
        if self.sources and self.images == "runs" and named:
            orders.append(tuple(f"run {int(each)}" if each.isdigit() else each for each in named))
        for order in orders:
            if order != self.classes:
                raise ValueError(f"classes {', '.join(self.classes)}, but {', '.join(order)} elsewhere in it")


def read_classifier_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a classifier, every entry that is used checked.

    Raises
    ------
    FormatError
        When the folder holds no bundle of a classifier, one of a newer schema, or a manifest that is damaged or does
        not fit itself.
    """
    fix = "make one with: calowatch train RECIPE --data FILE... --out BUNDLE"
    manifest = read_manifest(folder)
    found = f"{manifest.get('kind') or manifest.get('model')} of schema {manifest.get('schema')}"
    if found != f"{KIND} of schema {SCHEMA}":
        raise FormatError(folder, f"a bundle of kind {KIND} of schema {SCHEMA}", f"one of kind {found}", fix)
    try:
        _Manifest.model_validate(manifest)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        reason = f"{where}: {first['msg']}" if where else str(first["msg"])
        raise FormatError(
            folder / MANIFEST,
            "the entries of a classifier",
            reason.removeprefix("Value error, "),
            "copy the bundle again, or train it anew",
        ) from error
    return manifest
