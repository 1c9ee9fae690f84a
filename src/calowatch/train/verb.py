"""The verb ``train``: whatever a recipe's task is."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from calowatch.core.recipe import recipe_path
from calowatch.core.training import OccupancyTraining, load_training
from calowatch.train.request import TrainRequest

if TYPE_CHECKING:
    from calowatch.train.images import TrainedImages
    from calowatch.train.occupancy import TrainedOccupancy

__all__ = ["train"]


def train(recipe: str | Path, request: TrainRequest) -> "TrainedOccupancy | TrainedImages":
    """Train what a recipe says, and write its bundle.

    Parameters
    ----------
    recipe
        TOML file, or the name of a recipe that comes with calowatch.
    request
        Where to, from what if not what the recipe names, and for how long.

    Returns
    -------
    What was trained; its ``summary`` is ready for JSON.

    Raises
    ------
    InputError
        When recipe, data, device and folder do not go together, naming what is at fault.
    """
    path = recipe_path(recipe)
    plan = load_training(path)
    if isinstance(plan, OccupancyTraining):
        # Each task loads torch, and libraries that the other does without.
        from calowatch.train.occupancy import train_occupancy  # noqa: PLC0415

        if not request.data and plan.dataset is not None:
            request = replace(request, data=(path.parent / plan.dataset,))
        return train_occupancy(plan, request)
    from calowatch.train.images import train_images  # noqa: PLC0415

    return train_images(plan, request)
