"""ResNet-15 of end-to-end jet and photon classification (arXiv 1807.11916, 1902.08276)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from calowatch.models.classifier import Classifier, Scores
from calowatch.models.classifiers import ImageGeometry

__all__ = ["ResNet15", "ResNet15Options"]


@dataclass(frozen=True)
class ResNet15Options:
    """Which network.

    Parameters
    ----------
    widths
        Features of the first and of the second half.
    blocks
        Residual blocks of two convolutions in each half, beside the one between them; 3 makes 15 convolutions.
    stride
        Of the first convolution: 2 for images of jets (125 x 125), 1 for crops (32 x 32).
    """

    widths: Sequence[int] = (16, 32)
    blocks: int = 3
    stride: int = 2


class _Residual(nn.Module):
    """Two convolutions of 3 x 3 beside the identity, or beside a convolution of 1 x 1 where features double."""

    def __init__(self, features_in: int, features_out: int) -> None:
        super().__init__()
        stride = 1 if features_in == features_out else 2
        self.first = nn.Conv2d(features_in, features_out, 3, stride=stride, padding=1)
        self.second = nn.Conv2d(features_out, features_out, 3, padding=1)
        self.skip = nn.Identity() if stride == 1 else nn.Conv2d(features_in, features_out, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return features, of half the rows and columns where they double."""
        return F.relu(self.second(F.relu(self.first(x))) + self.skip(x))


class ResNet15(Classifier):
    """A convolution of 7 x 7, pooling by two, 3 + 1 + 3 residual blocks, the maximum over the image, one dense layer.

    As in the papers there is no batch normalisation. Numbers beside the image join the maximum.

    Parameters
    ----------
    geometry
        Of its input and answer.
    options
        Which.
    """

    def __init__(self, geometry: ImageGeometry, options: ResNet15Options) -> None:
        super().__init__(geometry)
        narrow, wide = options.widths
        self.stem = nn.Conv2d(geometry.channels, narrow, 7, stride=options.stride, padding=1)
        pairs = [(narrow, narrow)] * options.blocks + [(narrow, wide)] + [(wide, wide)] * options.blocks
        self.body = nn.Sequential(*(_Residual(*pair) for pair in pairs))
        self.last = nn.Linear(wide + geometry.scalars, geometry.outputs)

    def judge(self, images: Tensor, scalars: Tensor, *, attention: bool = False) -> Scores:  # noqa: ARG002 - has none
        """Return the scores; arguments as of `Classifier.forward`."""
        found = self.body(F.max_pool2d(F.relu(self.stem(images)), 2))
        return Scores(self.last(torch.cat([found.amax((2, 3)), scalars], dim=1)))
