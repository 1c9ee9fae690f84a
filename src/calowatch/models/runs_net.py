"""Our network for run against run: channels stay in their place, so each cell has a mean and weight of its own."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from calowatch.models.classifier import Classifier, Scores
from calowatch.models.classifiers import ImageGeometry

__all__ = ["RunsNet", "RunsNetOptions"]


@dataclass(frozen=True)
class RunsNetOptions:
    """Which network.

    Parameters
    ----------
    dropout
        Share of the cells left out of the sum while training.
    """

    dropout: float = 0.0


class RunsNet(Classifier):
    """A weighted sum of cells, each standardised by itself as batches pass.

    Images of one lumisection share its fluctuations, which are directions among the cells that tell nothing of the run.
    A loss that pulls all images of a class to one value (cross-entropy with much label smoothing, which is then near
    least squares) makes the sum blind to them: Fisher's discriminant (1936, Annals of Eugenics 7, 179), learned step by
    step. Cells that never change stay 0. Numbers beside the image join the sum.

    Parameters
    ----------
    geometry
        Of its input and answer.
    options
        Which.
    """

    def __init__(self, geometry: ImageGeometry, options: RunsNetOptions) -> None:
        super().__init__(geometry)
        cells = geometry.channels * geometry.rows * geometry.columns
        # The plain mean over all batches: a running one would begin far from cells that spread by a few per cent.
        self.standard = nn.BatchNorm1d(cells, affine=False, momentum=None)
        self.dropout = nn.Dropout(options.dropout) if options.dropout else nn.Identity()
        self.sum = nn.Linear(cells + geometry.scalars, geometry.outputs)
        nn.init.zeros_(self.sum.weight)  # so that the first step goes along the difference of the classes

    def judge(self, images: Tensor, scalars: Tensor, *, attention: bool = False) -> Scores:  # noqa: ARG002 - has none
        """Return the scores; arguments as of `Classifier.forward`."""
        cells = self.dropout(self.standard(images.flatten(1)))
        return Scores(self.sum(torch.cat([cells, scalars], dim=1)))
