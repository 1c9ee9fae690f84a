"""The narrow middle of the source networks: dense per lumisection, or recurrent over a window."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from calowatch.models.vae import Latent

__all__ = ["CELLS", "Bottleneck", "Dense", "Narrow", "Recurrent", "make_bottleneck"]

CELLS: Mapping[str, type[nn.RNN] | type[nn.GRU] | type[nn.LSTM]] = MappingProxyType(
    {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
)
"""Recurrent cells by name."""

_SLOPE = 0.5  # of the leaky rectifier, as in the convolutions
_DROPOUT = 0.2


@dataclass(frozen=True)
class Bottleneck:
    """Which bottleneck.

    Parameters
    ----------
    kind
        ``"fnn"``, or one of `CELLS`.
    latent
        Length L of the latent vector; the layer before it has 4 L.
    variational
        With a Gaussian latent.
    features_in, features_out
        Length of the vector of a lumisection that goes in, and of the one that comes out.
    """

    kind: str
    latent: int
    variational: bool
    features_in: int
    features_out: int


class Narrow(NamedTuple):
    """Vectors [batch, time, features_out], and the latent Gaussians (None without) as in `Output`."""

    vectors: Tensor
    mean: Tensor | None
    log_variance: Tensor | None


def _draw(latent: Latent | None, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
    if latent is None:
        return x, None, None
    found: tuple[Tensor, Tensor, Tensor] = latent(x)
    return found


class Dense(nn.Module):
    """Each lumisection by itself: features -> 4 L -> L -> 4 L -> features."""

    def __init__(self, request: Bottleneck) -> None:
        super().__init__()
        size = request.latent
        act = nn.LeakyReLU(_SLOPE)
        self.encode = nn.Sequential(
            nn.Linear(request.features_in, 4 * size), act, nn.Dropout(_DROPOUT), nn.Linear(4 * size, size)
        )
        self.latent = Latent(size) if request.variational else None
        self.decode = nn.Sequential(
            nn.Linear(size, 4 * size), act, nn.Dropout(_DROPOUT), nn.Linear(4 * size, request.features_out)
        )

    def forward(self, x: Tensor) -> Narrow:
        """Return what is left of [batch, time, features_in]."""
        latent, mean, log_variance = _draw(self.latent, self.encode(x.flatten(0, 1)))
        return Narrow(torch.unflatten(self.decode(latent), 0, x.shape[:2]), mean, log_variance)


class Recurrent(nn.Module):
    """A window as a whole: features -> 4 L -> L, the last step kept and repeated, L -> 4 L -> features.

    Each arrow is a recurrent layer of its own, with dropout between two. No state outlives a window, so windows may
    come in any order.
    """

    def __init__(self, request: Bottleneck) -> None:
        super().__init__()
        cell, size = CELLS[request.kind], request.latent
        self.encode = nn.ModuleList(
            [cell(request.features_in, 4 * size, batch_first=True), cell(4 * size, size, batch_first=True)]
        )
        self.latent = Latent(size) if request.variational else None
        self.decode = nn.ModuleList(
            [cell(size, 4 * size, batch_first=True), cell(4 * size, request.features_out, batch_first=True)]
        )
        self.dropout = nn.Dropout(_DROPOUT)

    def _through(self, layers: nn.ModuleList, x: Tensor) -> Tensor:
        hidden, _ = layers[0](x)
        found: Tensor = layers[1](self.dropout(hidden))[0]
        return found

    def forward(self, x: Tensor) -> Narrow:
        """Return what is left of [batch, time, features_in]."""
        last = self._through(self.encode, x)[:, -1]
        latent, mean, log_variance = _draw(self.latent, last)
        repeated = latent[:, None].expand(-1, x.shape[1], -1)
        return Narrow(self._through(self.decode, repeated), mean, log_variance)


def make_bottleneck(request: Bottleneck) -> Dense | Recurrent:
    """Return the bottleneck asked for."""
    return Dense(request) if request.kind == "fnn" else Recurrent(request)
