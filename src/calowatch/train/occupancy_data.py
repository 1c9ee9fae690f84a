"""The data set that a recipe trains on: does it fit, and what follows from it for the network."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from calowatch.core.errors import InputError
from calowatch.core.recipe import DataRecipe, PerEvent, load_recipe, recipe_path, shipped_recipes
from calowatch.core.training import OccupancyTraining
from calowatch.data.dataset import DataSet, open_dataset
from calowatch.data.torch_datasets import OccupancyDataset, make_loader
from calowatch.detector.graph import GraphRequest, graph
from calowatch.detector.grids import cell_index, find_layout
from calowatch.models.api import find_model
from calowatch.models.geometry import Geometry
from calowatch.train.faults import FaultMaker, units_of

__all__ = ["TrainingData", "check_fits"]

EDGES = "rbx"
"""What joins channels in the graph of the published networks."""

_AT_ONCE = 16  # windows
_WHOLE = "dqm"
"""The grid of all subdetectors: it may be filled by some of them."""


@dataclass(frozen=True)
class TrainingData:
    """A data set for a recipe, checked.

    Parameters
    ----------
    folder
        Made by ``calowatch prepare``.
    recipe
        What is trained.

    Raises
    ------
    InputError
        When windows, preparation or subdetectors are not those that the recipe's network takes.
    """

    folder: Path
    recipe: OccupancyTraining

    def __post_init__(self) -> None:
        check_fits(self.data, self.recipe)

    @cached_property
    def data(self) -> DataSet:
        """The data set on disk."""
        return open_dataset(self.folder)

    @property
    def with_counts(self) -> bool:
        """Whether batches need the counts too."""
        return self.recipe.loss == "binomial" or self.recipe.faults is not None

    @cached_property
    def train(self) -> OccupancyDataset:
        """The training side."""
        return self._side("train")

    @cached_property
    def validation(self) -> OccupancyDataset | None:
        """The validation side, None where the data set has none or no window on it."""
        if "validation" not in self.data.sides or not len(self.data.windows.of("validation")):
            return None
        return self._side("validation")

    def _side(self, side: str) -> OccupancyDataset:
        partial = self.recipe.layout == _WHOLE
        return OccupancyDataset(
            self.folder, side, self.recipe.layout, counts=self.with_counts, partial=partial
        )

    @cached_property
    def era(self) -> str:
        """The era that the training side is of."""
        index = self.data.index
        eras = sorted(index["era"][index["side"] == "train"].unique().tolist())
        if len(eras) != 1:
            raise InputError(self.folder, "one era to train on", ", ".join(eras), "split it by era")
        return str(eras[0])

    @property
    def runs(self) -> list[dict[str, Any]]:
        """Runs of the training side with their lumisections."""
        return self._runs("train")

    @property
    def validation_runs(self) -> list[dict[str, Any]]:
        """Runs of the validation side with their lumisections."""
        return self._runs("validation")

    def _runs(self, side: str) -> list[dict[str, Any]]:
        index = self.data.index[self.data.index["side"] == side]
        found = index.groupby("run")["ls"].agg(["size", "min", "max"])
        return [
            {"run": int(str(run)), "n_ls": int(n), "first_ls": int(first), "last_ls": int(last)}
            for run, n, first, last in found.itertuples()
        ]

    @cached_property
    def geometry(self) -> Geometry:
        """Grid, good channels, and the edges between them where the network has a graph."""
        mask = self.train.mask.numpy().astype(np.bool_)
        if not find_model(self.recipe.network.name).graph:
            return Geometry(mask)
        edges, _ = graph(GraphRequest(self.recipe.layout, EDGES, "grid", self.era))
        return Geometry(mask, edges[:, mask.ravel()[edges].all(axis=0)])

    def totals(self) -> tuple[Tensor, Tensor]:
        """Return the digis of the training windows together, [ieta, iphi, depth], and their events."""
        loader = make_loader(self.train, _AT_ONCE)
        hits, trials = (
            torch.zeros(self.train.shape, dtype=torch.float64),
            torch.zeros((), dtype=torch.float64),
        )
        for _, n_events, counts in loader:
            known = (n_events > 0)[..., None, None, None]
            hits += torch.where(known, counts, 0.0).sum(dim=(0, 1), dtype=torch.float64)
            trials += n_events.clamp(min=0).sum(dtype=torch.float64)
        return hits, trials

    @property
    def cells(self) -> npt.NDArray[np.int64]:
        """Place of each channel in the flattened grid."""
        return cell_index(self.train.channels, self.recipe.layout)

    def fault_maker(self) -> FaultMaker | None:
        """Return what makes the recipe's faults, None where it asks for none."""
        if self.recipe.faults is None:
            return None
        slope = np.zeros(int(np.prod(find_layout(self.recipe.layout).shape)))
        slope[self.cells] = self._slope() * self.train.preparation.mask
        return FaultMaker.of(self.recipe.faults, units_of(self.train.channels, self.era), self.cells, slope)

    def _slope(self) -> npt.NDArray[np.float64]:
        """Return by how much prepared values change with digis per event, shape (channel,)."""
        preparation = self.train.preparation
        slope = np.ones(len(preparation.channel))
        for number, step in enumerate(preparation.steps):
            if step.step in ("min_max", "standard"):
                slope = slope / preparation.scale_[number]
            elif number or step.step != "per_event":
                raise InputError(
                    "faults",
                    "a preparation of per_event, min_max and standard, which faults can be added to",
                    step.step,
                    "prepare the data otherwise, or leave faults out",
                )
        return slope

    @property
    def identity(self) -> dict[str, Any]:
        """What tells this data set from others, ready for JSON."""
        manifest = self.data.manifest
        recipe = {key: value for key, value in manifest["recipe"].items() if key != "store"}
        return {
            "name": manifest["name"],
            "store": manifest["store"]["sha256"],
            "recipe": recipe,
            "n_known_bad": manifest["n_known_bad"],
        }


def check_fits(data: DataSet, recipe: OccupancyTraining) -> None:
    """Raise where a recipe's network cannot learn from a data set.

    Raises
    ------
    InputError
        Naming the windows and the preparation that it takes, and the data recipe that gives them.
    """
    find_layout(recipe.layout)
    length = int(data.manifest["recipe"]["window"]["length"])
    given = tuple(data.preparation.steps)
    wanted, fix = given, f"prepare the data with window.length = {recipe.window}"
    if recipe.prepare is not None:
        wanted = load_recipe(recipe_path(recipe.prepare), DataRecipe).preparation.steps
        fix = f"calowatch prepare {recipe.prepare} --store STORE --out DATA"
        if same := _of_campaigns(recipe.prepare):
            fix += f", or for a campaign {' or '.join(same)} in place of it"
    elif find_model(recipe.network.name).predicts == "logit":
        wanted, fix = (PerEvent(),), 'prepare the data with steps = ["per_event"]'
    if length != recipe.window or given != wanted:
        raise InputError(
            data.folder,
            f"{_windows(recipe.window)}, prepared by {_told(wanted)}: what this recipe's network learns from",
            f"{_windows(length)}, prepared by {_told(given)}",
            fix,
        )


def _of_campaigns(prepare: str) -> list[str]:
    """Return the shipped recipes of a campaign's runs that give a network the same as another recipe."""
    mine = load_recipe(recipe_path(prepare), DataRecipe)
    found = []
    for name, path in shipped_recipes().items():
        if name.startswith("campaign") and name != prepare:
            other = load_recipe(path, DataRecipe)
            same = (other.window.length, other.preparation) == (mine.window.length, mine.preparation)
            found += [name] if same and set(other.select.subdets) <= set(mine.select.subdets) else []
    return found


def _windows(length: int) -> str:
    return "single lumisections" if length == 1 else f"windows of {length} lumisections"


def _told(steps: Any) -> str:
    parts = [step.step + (f" ({step.scope})" if hasattr(step, "scope") else "") for step in steps]
    return ", ".join(parts) or "no step"
