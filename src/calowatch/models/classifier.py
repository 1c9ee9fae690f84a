"""What all image classifiers share."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from calowatch.core.errors import InputError
from calowatch.models.classifiers import ImageGeometry

__all__ = ["Classifier", "Scores", "probabilities"]


class Scores(NamedTuple):
    """What a classifier answers.

    Attributes
    ----------
    logits
        [image, outputs]; one output is the logit of class 1.
    attention
        Per block [image, head, query token, key token], rows sum to one; empty unless asked for.
    routing
        Per block of a mixture of experts: share of each token given to each expert, [image, token, expert]; empty for
        others.
    losses
        Named terms that the router wants made small besides, unweighted (``balance``, ``z``); empty for others.
    """

    logits: Tensor
    attention: tuple[Tensor, ...] = ()
    routing: tuple[Tensor, ...] = ()
    losses: dict[str, Tensor] = {}  # noqa: RUF012 - a default that nobody writes to


class Classifier(nn.Module):
    """A network from images, and numbers beside them, to logits.

    Parameters
    ----------
    geometry
        Of its input and answer.
    """

    def __init__(self, geometry: ImageGeometry) -> None:
        super().__init__()
        self.geometry = geometry

    def judge(self, images: Tensor, scalars: Tensor, *, attention: bool = False) -> Scores:
        """Return the scores of checked input; shapes as in `forward`."""
        raise TypeError(f"{type(self).__name__} judges nothing: {images.shape} {scalars.shape} {attention}")

    def forward(self, images: Tensor, scalars: Tensor | None = None, *, attention: bool = False) -> Scores:
        """Return the scores.

        Parameters
        ----------
        images
            Prepared images, [image, channel, row, column].
        scalars
            Prepared numbers beside them, [image, scalar]; None where the geometry has none.
        attention
            Give attention too, by the explicit path; an error for networks that have none.

        Raises
        ------
        InputError
            For another shape than the network's.
        """
        want = (self.geometry.channels, self.geometry.rows, self.geometry.columns)
        beside = images.new_zeros(images.shape[0], 0) if scalars is None else scalars
        if tuple(images.shape[1:]) != want or beside.shape[1:] != (self.geometry.scalars,):
            raise InputError(
                "input of the network",
                f"images {list(want)} and {self.geometry.scalars} numbers beside each",
                f"images {list(images.shape[1:])} and {list(beside.shape[1:])} numbers",
                "give the data that the network was made for",
            )
        return self.judge(images, beside, attention=attention)


def probabilities(logits: Tensor) -> Tensor:
    """Return class probabilities [image, class] of logits; one output is the logit of class 1 of two."""
    if logits.shape[1] == 1:
        p = torch.sigmoid(logits)
        return torch.cat([1.0 - p, p], dim=1)
    return torch.softmax(logits, dim=1)
