"""The runs that the models of a campaign learn from, as a store for ``calowatch prepare``."""

from pathlib import Path

from calowatch.core.progress import SILENT, Progress
from calowatch.evaluate.campaign.recipe import Campaign
from calowatch.io.store import write_run
from calowatch.simulate.occupancy import occupancy

__all__ = ["write_training_store"]


def write_training_store(
    campaign: Campaign, store: Path, progress: Progress = SILENT
) -> dict[str, list[int]]:
    """Write a campaign's training and validation runs into a store, and return their numbers by side.

    Training runs end where training ends: what comes later is judged on.

    Raises
    ------
    ConflictError
        When the store holds other counts of these runs, or the folder is something else.
    """
    sides = {"train": campaign.runs(campaign.training), "validation": campaign.runs(campaign.validation)}
    wanted = [(side, run) for side, runs in sides.items() for run in runs]
    for side, run in progress.track(wanted, "drawing runs", len(wanted)):
        data, _ = occupancy(run)
        last = campaign.train_ls if side == "train" else data.sizes["ls"]
        write_run(store, data.isel(ls=slice(0, last)), replace=True)
    return {side: [run.run for run in runs] for side, runs in sides.items()}
