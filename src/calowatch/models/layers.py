"""What all networks share: the interface, the mask, and convolutions over (ieta, iphi, depth)."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from calowatch.core.errors import InputError
from calowatch.models.geometry import Geometry

__all__ = ["CircularConv3d", "Network", "Output", "Predicts", "clipped_kernel", "pooled_shape"]

Predicts = Literal["occupancy", "logit"]
Shape = tuple[int, int, int]


class Output(NamedTuple):
    """What a network answers.

    Attributes
    ----------
    values
        Shape of the input, 0 in masked cells: the prepared occupancy as reconstructed, or the logit of the probability
        of a digi (`Network.predicts` says which).
    mean, log_variance
        Of the latent Gaussians of a variational network, shape (row, latent); None for others.
    """

    values: Tensor
    mean: Tensor | None = None
    log_variance: Tensor | None = None


class Network(nn.Module):
    """A network that predicts the occupancy of windows, blind to masked cells.

    Parameters
    ----------
    geometry
        Grid and mask; subclasses that build a graph take its edges too.
    """

    predicts: Predicts = "occupancy"
    mask: Tensor

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        self.shape = geometry.shape
        self.register_buffer("mask", torch.tensor(geometry.mask))

    def expect(self, x: Tensor, n_events: Tensor | None) -> Output:
        """Return the prediction for input whose masked cells are 0; shapes as in `forward`."""
        raise TypeError(f"{type(self).__name__} predicts nothing: {x.shape} {n_events is None}")

    def forward(self, x: Tensor, n_events: Tensor | None = None) -> Output:
        """Return the prediction.

        Parameters
        ----------
        x
            Prepared occupancy, [batch, time, ieta, iphi, depth]. Masked cells may hold anything, NaN too.
        n_events
            Events per lumisection, [batch, time]; only networks that know counting statistics need it.

        Raises
        ------
        InputError
            For another grid than the network's.
        """
        if x.dim() != 5 or tuple(x.shape[2:]) != self.shape:
            raise InputError(
                "input of the network",
                f"[batch, time, {', '.join(map(str, self.shape))}]",
                str(list(x.shape)),
                "prepare the data in the layout that the network was made for",
            )
        blind = torch.where(self.mask, x, torch.zeros((), dtype=x.dtype, device=x.device))
        found = self.expect(blind, n_events)
        return found._replace(values=found.values * self.mask)


def clipped_kernel(asked: Sequence[int], shape: Sequence[int]) -> Shape:
    """Return per axis the largest odd number <= min(asked, shape), the source system's rule.

    Examples
    --------
    >>> clipped_kernel((3, 3, 2), (8, 9, 1))
    (3, 3, 1)
    """
    ieta, iphi, depth = ((least := min(a, n)) - (least + 1) % 2 for a, n in zip(asked, shape, strict=True))
    return ieta, iphi, depth


def pooled_shape(shape: Sequence[int]) -> Shape:
    """Return the shape after pooling by two on every axis, rounded up.

    Examples
    --------
    >>> pooled_shape((64, 72, 7))
    (32, 36, 4)
    """
    ieta, iphi, depth = (-(-n // 2) for n in shape)
    return ieta, iphi, depth


class CircularConv3d(nn.Module):
    """Convolution that knows that iphi 72 lies beside 1; ieta and depth are padded with zeros.

    Parameters
    ----------
    channels_in, channels_out
        Features.
    kernel
        Odd numbers for ieta, iphi, depth.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: Shape = (3, 3, 3)) -> None:
        super().__init__()
        self.around = kernel[1] // 2
        padding = (kernel[0] // 2, 0, kernel[2] // 2)
        self.conv = nn.Conv3d(channels_in, channels_out, kernel, padding=padding, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return features [row, channel, ieta, iphi, depth] of the same grid."""
        wrapped = F.pad(x, (0, 0, self.around, self.around, 0, 0), mode="circular")
        found: Tensor = self.conv(wrapped)
        return found
