"""A plain convolutional network: what a vision transformer has to be better than."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from calowatch.models.attention import dense_head
from calowatch.models.classifier import Classifier, Scores
from calowatch.models.classifiers import ImageGeometry

__all__ = ["ImageCNN", "ImageCNNOptions"]


@dataclass(frozen=True)
class ImageCNNOptions:
    """Which network.

    Parameters
    ----------
    widths
        Features after each block of convolution, batch normalisation, rectifier and pooling by two.
    head
        Hidden layers behind the mean over the image.
    wrap
        The last column lies beside the first, as in iphi of a whole detector.
    dropout
        Share dropped in the head while training.
    """

    widths: Sequence[int] = (16, 32, 64)
    head: Sequence[int] = (64,)
    wrap: bool = False
    dropout: float = 0.0


class ImageCNN(Classifier):
    """Blocks of 3 x 3 convolution and pooling, the mean over what is left of the image, a head.

    Numbers beside the image join what the head sees.

    Parameters
    ----------
    geometry
        Of its input and answer.
    options
        Which.
    """

    def __init__(self, geometry: ImageGeometry, options: ImageCNNOptions) -> None:
        super().__init__(geometry)
        sizes = (geometry.channels, *options.widths)
        self.wrap = options.wrap
        self.convs = nn.ModuleList(
            nn.Conv2d(sizes[n], sizes[n + 1], 3, padding=(1, 0), bias=False) for n in range(len(sizes) - 1)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in options.widths)
        self.head = dense_head(sizes[-1] + geometry.scalars, options.head, geometry.outputs, options.dropout)

    def judge(self, images: Tensor, scalars: Tensor, *, attention: bool = False) -> Scores:  # noqa: ARG002 - has none
        """Return the scores; arguments as of `Classifier.forward`."""
        x = images
        for conv, norm in zip(self.convs, self.norms, strict=True):
            beside = F.pad(x, (1, 1, 0, 0), mode="circular" if self.wrap else "constant")
            x = F.max_pool2d(F.relu(norm(conv(beside))), 2, ceil_mode=True)
        return Scores(self.head(torch.cat([x.mean((2, 3)), scalars], dim=1)))
