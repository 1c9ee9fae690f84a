"""What Lightning trains: a network that predicts occupancy, with its loss."""

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from calowatch.core.training import OccupancyTraining
from calowatch.models.layers import Network
from calowatch.models.loss import binomial_loss, reconstruction_loss
from calowatch.train.faults import FaultMaker
from calowatch.train.optimisers import configure

__all__ = ["OccupancyModule"]

Batch = tuple[Tensor, ...]
"""``x`` and ``n_events``, then ``counts`` where the loss or faults need them."""


class OccupancyModule(LightningModule):
    """A network of occupancy as Lightning trains it; logs ``train_loss`` and ``val_loss``.

    Parameters
    ----------
    network
        Any of `calowatch.models.api.MODELS`, wrapped or not.
    recipe
        Says loss, optimiser and schedule.
    faults
        Makes faults in what the network sees while training; its target and all of validation stay healthy.
    """

    def __init__(self, network: Network, recipe: OccupancyTraining, faults: FaultMaker | None = None) -> None:
        super().__init__()
        self.network = network
        self.recipe = recipe
        self.faults = faults

    def _loss(self, seen: Tensor, batch: Batch) -> Tensor:
        x, n_events = batch[:2]
        output = self.network(seen, n_events)
        if self.recipe.loss == "binomial":
            return binomial_loss(output, batch[2], n_events, self.network.mask)
        return reconstruction_loss(output, x, self.network.mask)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Return the loss of a batch."""
        seen = batch[0]
        if self.faults is not None:
            with torch.no_grad():
                seen = self.faults(*batch)
        loss = self._loss(seen, batch)
        self._tell("train_loss", loss.detach(), batch)
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Log the loss of a healthy batch."""
        self._tell("val_loss", self._loss(batch[0], batch), batch)

    def _tell(self, name: str, loss: Tensor, batch: Batch) -> None:
        self.log(name, loss, on_step=False, on_epoch=True, batch_size=len(batch[0]), sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return optimiser and schedule of the recipe."""
        recipe = self.recipe
        return configure(self.network.parameters(), recipe.optimiser, recipe.schedule, recipe.fit)
