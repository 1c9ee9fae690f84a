"""What Lightning trains: an image classifier with its loss and the figures of each epoch."""

from typing import Any

import lightning as L  # noqa: N812 - the library's own name for itself
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from calowatch.core.errors import InputError
from calowatch.core.training import ImageTraining, LossRecipe
from calowatch.metrics.ranking import roc_auc
from calowatch.models.classifier import Classifier, Scores
from calowatch.train.image_routing import RoutingWatch
from calowatch.train.optimisers import configure

__all__ = ["ImageModule", "classification_loss", "macro_auc"]


def classification_loss(logits: Tensor, y: Tensor, recipe: LossRecipe, weights: Tensor | None) -> Tensor:
    """Return the mean loss of some images.

    Parameters
    ----------
    logits
        [image, output].
    y
        Classes, [image].
    recipe
        Which loss.
    weights
        Of each class; None for equal ones. As in torch's cross-entropy, the mean is weighted too.
    """
    smooth = recipe.label_smoothing
    if recipe.kind == "cross_entropy":
        return F.cross_entropy(logits, y, weights, label_smoothing=smooth)
    target = y.to(logits.dtype) * (1.0 - smooth) + smooth / 2.0
    each = F.binary_cross_entropy_with_logits(logits[:, 0], target, reduction="none")
    if weights is None:
        return each.mean()
    weight = weights[y]
    return (weight * each).sum() / weight.sum()


def macro_auc(y: Tensor, logits: Tensor) -> float:
    """Return the area under the ROC curve, of class 1, or the mean of each class against the rest; NaN if undefined."""
    labels, scores = y.cpu().numpy(), logits.double().cpu().numpy()
    if scores.shape[1] == 1:
        scores = scores[:, 0]
    elif scores.shape[1] == 2:
        scores = scores[:, 1] - scores[:, 0]
    try:
        if scores.ndim == 1:
            return roc_auc(labels == 1, scores)
        ahead = torch.log_softmax(torch.from_numpy(scores), dim=1).numpy()
        found = [roc_auc(labels == c, ahead[:, c]) for c in range(ahead.shape[1])]
        return sum(found) / len(found)
    except InputError:  # a class is not there
        return float("nan")


class ImageModule(L.LightningModule):
    """An image classifier as Lightning trains it.

    Logs ``train_loss`` and ``train_accuracy`` per epoch, ``val_loss``, ``val_accuracy`` and ``val_auc``, and for
    mixtures of experts what `calowatch.train.image_routing` says.

    Parameters
    ----------
    network
        The classifier.
    recipe
        Says loss, optimiser and schedule.
    weights
        Of each class in the loss; None for equal ones.
    """

    def __init__(self, network: Classifier, recipe: ImageTraining, weights: Tensor | None = None) -> None:
        super().__init__()
        self.network = network
        self.recipe = recipe
        self.register_buffer("class_weights", weights, persistent=False)
        self.class_weights: Tensor | None
        self._seen: list[tuple[Tensor, Tensor]] = []
        self._routing = RoutingWatch()

    def _loss(self, scores: Scores, y: Tensor) -> Tensor:
        loss = classification_loss(scores.logits, y, self.recipe.loss, self.class_weights)
        for name, weight in (("balance", self.recipe.loss.balance), ("z", self.recipe.loss.z)):
            if weight and name in scores.losses:
                loss = loss + weight * scores.losses[name]
        return loss

    def training_step(self, batch: tuple[Tensor, ...], _: int) -> Tensor:
        """Return the loss of a batch."""
        x, scalars, y = batch
        scores = self.network(x, scalars)
        loss = self._loss(scores, y)
        share = (_classes(scores.logits) == y).float().mean()
        self.log("train_loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(y), sync_dist=True)
        self.log("train_accuracy", share, on_step=False, on_epoch=True, batch_size=len(y), sync_dist=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, ...], _: int) -> None:
        """Keep a batch's answers."""
        x, scalars, y = batch
        scores = self.network(x, scalars)
        loss = classification_loss(scores.logits.float(), y, self.recipe.loss, self.class_weights)
        self.log("val_loss", loss, on_step=False, on_epoch=True, batch_size=len(y), sync_dist=True)
        self._seen.append((scores.logits.float(), y))
        self._routing.see(self.network, x, scores)

    def on_validation_epoch_end(self) -> None:
        """Log what can be told of all validation images together."""
        logits, y = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        if self.trainer.world_size > 1:
            # Every process holds the same number: Lightning's sampler repeats some images to make it so.
            logits, y = (self.all_gather(each).flatten(0, 1) for each in (logits, y))  # type: ignore[union-attr]
        share = float((_classes(logits) == y).float().mean())
        for name, value in {"val_accuracy": share, "val_auc": macro_auc(y, logits)}.items():
            self.log(name, value, rank_zero_only=False)
        for name, value in self._routing.tell().items():
            self.log(name, value, sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return optimiser and schedule of the recipe."""
        recipe = self.recipe
        return configure(self.network.parameters(), recipe.optimiser, recipe.schedule, recipe.fit)

    def forward(self, *given: Any) -> Scores:
        """Return the scores of a batch."""
        scores: Scores = self.network(*given)
        return scores


def _classes(logits: Tensor) -> Tensor:
    return (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(dim=1)
