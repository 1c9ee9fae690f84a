"""The list of all models: networks of occupancy, baselines, image classifiers. Loads no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from calowatch.core.recipe import read_toml, shipped_recipes
from calowatch.models.api import MODELS
from calowatch.models.classical import CLASSICAL
from calowatch.models.classifiers import CLASSIFIERS
from calowatch.models.sizes import SIZES

__all__ = ["GROUPS", "ModelLine", "catalogue"]

Group = Literal["occupancy", "baseline", "images"]
GROUPS: Mapping[Group, str] = {
    "occupancy": "Occupancy networks (calowatch train)",
    "baseline": "Occupancy baselines (calowatch fit --method)",
    "images": "Image classifiers (calowatch train)",
}


@dataclass(frozen=True)
class ModelLine:
    """What is told of a model.

    Parameters
    ----------
    name
        As recipes, or ``fit --method``, take it; with RIN or DC round a network, as the shipped recipe is called.
    group
        What it is for.
    summary
        One line.
    parameters
        Learned numbers, with the first of its recipes (baselines: for HE of Run 3); None where the data decide.
    paper
        Where it comes from; empty for our own and for common knowledge.
    recipes
        Shipped recipes with it, and the learned numbers of each.
    """

    name: str
    group: Group
    summary: str
    parameters: int | None
    paper: str = ""
    recipes: Mapping[str, int | None] = field(default_factory=dict)


_N_HE = 6768
_BASELINES = (
    ModelLine("ring", "baseline", "each channel does what its ring does; learns nothing", 0),
    ModelLine(
        "reference", "baseline", "a number per channel beside its ring: what it did in healthy runs", _N_HE
    ),
    ModelLine(
        "pca", "baseline", "reference with principal components over channels", None, "arXiv 2501.13789"
    ),
    ModelLine("ewma", "baseline", "reference that follows healthy lumisections", _N_HE, "arXiv 2501.19237"),
)

_OURS = {
    "binomial": "ours: probability of a digi by binomial likelihood, periodic in iphi",
    "binomial-response": "ours too: the same, with one learned number per channel",
}


def catalogue() -> tuple[ModelLine, ...]:
    """Return all models, group by group; networks within RIN and DC follow the plain one.

    Examples
    --------
    >>> next(line.parameters for line in catalogue() if line.name == "cnn-vae-lstm")
    470412
    """
    recipes = _recipes()
    networks = [line for name in MODELS for line in _networks(name, recipes)]
    images = [_classifier(name, recipes.get((name, ()), {})) for name in (*CLASSIFIERS, *CLASSICAL)]
    return (*networks, *_BASELINES, *images)


Variant = tuple[str, tuple[str, ...]]
"""A network and what goes round it."""


def _recipes() -> dict[Variant, dict[str, str]]:
    """Return summaries of the shipped recipes by what each trains; the plain one comes first."""
    found: dict[Variant, dict[str, str]] = {}
    for recipe, path in shipped_recipes().items():
        told = read_toml(path)
        if "network" in told:
            variant = str(told["network"]["name"]), tuple(told["network"].get("wrappers", ()))
            found.setdefault(variant, {})[recipe] = str(told["summary"])
    return {
        variant: dict(sorted(mine.items(), key=lambda one: _place(one[0], _joined(variant))))
        for variant, mine in found.items()
    }


def _joined(variant: Variant) -> str:
    """Return what a network within others is called."""
    return "-".join((variant[0], *variant[1]))


def _place(recipe: str, network: str) -> tuple[bool, bool]:
    """Return what sorts a network's recipes: the plain one first, or the one for HE."""
    return recipe != network, recipe != f"{network}-he"


def _networks(name: str, recipes: Mapping[Variant, Mapping[str, str]]) -> list[ModelLine]:
    """Return the line of a network, and of each way to wrap it that a recipe comes along for."""
    plain: Variant = (name, ())
    wrapped = sorted((variant for variant in recipes if variant[0] == name and variant[1]), key=_order)
    return [_network(variant, recipes.get(variant, {})) for variant in (plain, *wrapped)]


def _order(variant: Variant) -> tuple[int, tuple[str, ...]]:
    return len(variant[1]), tuple(reversed(variant[1]))


def _network(variant: Variant, recipes: Mapping[str, str]) -> ModelLine:
    name = variant[0]
    summary = _OURS.get(name) or next(iter(recipes.values()), "")
    return _line(ModelLine(_joined(variant), "occupancy", summary, None, MODELS[name].paper), recipes)


def _classifier(name: str, recipes: Mapping[str, str]) -> ModelLine:
    if name in CLASSIFIERS:
        entry = CLASSIFIERS[name]
        return _line(ModelLine(name, "images", entry.summary, None, entry.paper), recipes)
    summary = (CLASSICAL[name].__doc__ or name).splitlines()[0].rstrip(".")
    return _line(ModelLine(name, "images", summary[:1].lower() + summary[1:], None), recipes)


def _line(line: ModelLine, recipes: Mapping[str, str]) -> ModelLine:
    sizes = {recipe: SIZES.get(recipe) for recipe in recipes}
    first = next(iter(sizes.values()), None)
    return ModelLine(line.name, line.group, line.summary, first, line.paper, sizes)
