"""RIN, reversible normalisation: a network sees the shape of each ring over iphi, never how bright the ring is."""

import torch
from torch import Tensor

from calowatch.core.errors import InputError
from calowatch.models.geometry import Geometry
from calowatch.models.layers import Network, Output

__all__ = ["ReversibleNormalisation"]


class ReversibleNormalisation(Network):
    """Divide each ring by its mean over iphi, run a network, multiply back.

    Parameters
    ----------
    geometry
        The network's own.
    network
        What it wraps; one that predicts occupancy.

    Raises
    ------
    InputError
        For a network that predicts logits, which are not multiplied back; it has a ring's brightness as input anyway.
    """

    def __init__(self, geometry: Geometry, network: Network) -> None:
        super().__init__(geometry)
        if network.predicts != "occupancy":
            raise InputError("rin", "a network that predicts occupancy", "logits", "leave rin out")
        self.network = network

    def expect(self, x: Tensor, n_events: Tensor | None) -> Output:
        """Return the prediction; shapes as in `Network.forward`."""
        scale = ring_mean(x)
        found: Output = self.network(x / scale, n_events)
        return found._replace(values=found.values * scale)


def ring_mean(x: Tensor) -> Tensor:
    """Return the mean over the non-zero iphi, 1 where there is none: [batch, time, ieta, 1, depth]."""
    lit = (x != 0).sum(dim=3, keepdim=True)
    mean = x.sum(dim=3, keepdim=True) / lit.clamp(min=1)
    return torch.where(mean == 0, torch.ones((), dtype=x.dtype, device=x.device), mean)
