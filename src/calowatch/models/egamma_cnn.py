"""The source's two convolutional networks for electrons against photons, rebuilt from their description.

Layers and sizes are given (for the first, the number of parameters too: 12,992 of two channels of 32 x 32 and two
classes, which needs ``same`` padding); the rectifiers between them are our reading.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from calowatch.models.classifier import Classifier, Scores
from calowatch.models.classifiers import ImageGeometry

__all__ = ["NoOptions", "TwoBranchCNN", "TwoChannelCNN"]


@dataclass(frozen=True)
class NoOptions:
    """Nothing to choose."""


class TwoBranchCNN(Classifier):
    """A branch per channel (3 convolutions of 4 x 4, max-pooling by 4, 32 dense), joined by 8 dense.

    Parameters
    ----------
    geometry
        Of its input and answer; numbers beside the image are joined with the branches.
    """

    def __init__(self, geometry: ImageGeometry, options: NoOptions) -> None:  # noqa: ARG002 - all builders take some
        super().__init__(geometry)
        seen = 3 * (geometry.rows // 4) * (geometry.columns // 4)
        self.convs = nn.ModuleList(nn.Conv2d(1, 3, 4) for _ in range(geometry.channels))
        self.dense = nn.ModuleList(nn.Linear(seen, 32) for _ in range(geometry.channels))
        self.join = nn.Linear(32 * geometry.channels + geometry.scalars, 8)
        self.last = nn.Linear(8, geometry.outputs)

    def judge(self, images: Tensor, scalars: Tensor, *, attention: bool = False) -> Scores:  # noqa: ARG002 - has none
        """Return the scores; arguments as of `Classifier.forward`."""
        padded = F.pad(images, (1, 2, 1, 2))  # same size behind an even kernel: one before, two behind
        branches = [
            F.relu(dense(F.max_pool2d(F.relu(conv(padded[:, n : n + 1])), 4).flatten(1)))
            for n, (conv, dense) in enumerate(zip(self.convs, self.dense, strict=True))
        ]
        return Scores(self.last(F.relu(self.join(torch.cat([*branches, scalars], dim=1)))))


class TwoChannelCNN(Classifier):
    """All channels together: 16 convolutions of 2 x 2, max-pooling by 2, 64 dense.

    The source has two bugs that are not repeated here. It takes the softmax before a loss that takes it again, which
    flattens the gradient: this network, as all of ours, answers with logits. And its "AUC" of 0.71 is computed on hard
    predictions, which makes it balanced accuracy: ours is computed on scores.

    Parameters
    ----------
    geometry
        Of its input and answer; numbers beside the image are joined with the dense layer's input.
    """

    def __init__(self, geometry: ImageGeometry, options: NoOptions) -> None:  # noqa: ARG002 - all builders take some
        super().__init__(geometry)
        seen = 16 * ((geometry.rows - 1) // 2) * ((geometry.columns - 1) // 2)
        self.conv = nn.Conv2d(geometry.channels, 16, 2)
        self.dense = nn.Linear(seen + geometry.scalars, 64)
        self.last = nn.Linear(64, geometry.outputs)

    def judge(self, images: Tensor, scalars: Tensor, *, attention: bool = False) -> Scores:  # noqa: ARG002 - has none
        """Return the scores; arguments as of `Classifier.forward`."""
        seen = F.max_pool2d(F.relu(self.conv(images)), 2).flatten(1)
        return Scores(self.last(F.relu(self.dense(torch.cat([seen, scalars], dim=1)))))
