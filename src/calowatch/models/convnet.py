"""Our convolutional network for crops and jets: logarithms, places, residual blocks, mean and maximum."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from calowatch.models.attention import dense_head
from calowatch.models.classifier import Classifier, Scores
from calowatch.models.classifiers import ImageGeometry
from calowatch.models.inputs import places, signed_log

__all__ = ["ConvNet", "ConvNetOptions"]


@dataclass(frozen=True)
class ConvNetOptions:
    """Which network.

    Parameters
    ----------
    widths
        Features of each stage; the grid is halved between stages.
    blocks
        Residual blocks of each stage.
    stem
        Step of the first convolution, whose kernel is twice that: 2 for crops, 5 (a tower) for jets.
    log_at
        Where the logarithm of a pixel begins to bend, in units of the prepared image.
    head
        Hidden layers of the head.
    dropout
        Share dropped in the head while training.
    """

    widths: Sequence[int] = (24, 48, 96)
    blocks: int = 2
    stem: int = 2
    log_at: float = 0.01
    head: Sequence[int] = (64,)
    dropout: float = 0.0


class _Residual(nn.Module):
    """Two convolutions of 3 x 3 with batch normalisation beside the identity (arXiv 1512.03385)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the same shape."""
        inner = F.relu(self.first_norm(self.first(x)))
        return F.relu(x + self.second_norm(self.second(inner)))


class ConvNet(Classifier):
    """Residual stages over pixels, their logarithms and their places; mean and maximum with numbers beside the image.

    Zeros have to stay zeros in preparation (divide, but do not shift), so that the logarithm means something.

    Parameters
    ----------
    geometry
        Of its input and answer.
    options
        Which.
    """

    places: Tensor

    def __init__(self, geometry: ImageGeometry, options: ConvNetOptions) -> None:
        super().__init__(geometry)
        self.log_at = options.log_at
        self.register_buffer("places", places(geometry.rows, geometry.columns)[None], persistent=False)
        step, first = options.stem, options.widths[0]
        stages: list[nn.Module] = [
            nn.Conv2d(2 * geometry.channels + 2, first, 2 * step, stride=step, padding=step // 2, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
        ]
        for n, width in enumerate(options.widths):
            if n:
                stages += [
                    nn.Conv2d(options.widths[n - 1], width, 2, stride=2, bias=False),
                    nn.BatchNorm2d(width),
                ]
            stages += [_Residual(width) for _ in range(options.blocks)]
        self.stages = nn.Sequential(*stages)
        seen = 2 * options.widths[-1] + geometry.scalars
        self.head = dense_head(seen, options.head, geometry.outputs, options.dropout)

    def judge(self, images: Tensor, scalars: Tensor, *, attention: bool = False) -> Scores:  # noqa: ARG002 - has none
        """Return the scores; arguments as of `Classifier.forward`."""
        where = self.places.expand(images.shape[0], -1, -1, -1)
        x = self.stages(torch.cat([images, signed_log(images, self.log_at), where], dim=1))
        return Scores(self.head(torch.cat([x.mean((2, 3)), x.amax((2, 3)), scalars], dim=1)))
