"""DC, dimension compression: one side of the detector as the network's grid, both sides as its samples."""

import torch
from torch import Tensor

from calowatch.core.errors import InputError
from calowatch.models.geometry import Geometry
from calowatch.models.layers import Network, Output

__all__ = ["DimensionCompression"]


class DimensionCompression(Network):
    """Cut to the rows with channels, mirror the minus side, stack both sides on the batch axis, and back.

    The rows follow from the mask: 14 of 64 for HE, 16 for HB. A graph is folded with the grid (`Geometry.folded`), so
    that graph networks work too.

    Parameters
    ----------
    geometry
        Of both sides.
    network
        What it wraps, made for ``geometry.folded()``.
    """

    def __init__(self, geometry: Geometry, network: Network) -> None:
        super().__init__(geometry)
        self.predicts = network.predicts
        self.first, self.last = geometry.half()
        folded = (self.last - self.first, *geometry.shape[1:])
        if network.shape != folded:
            raise InputError("dc", f"a network for {folded}", str(network.shape), "fold the geometry first")
        self.network = network

    def expect(self, x: Tensor, n_events: Tensor | None) -> Output:
        """Return the prediction; shapes as in `Network.forward`."""
        rows = slice(self.first, self.last)
        both = torch.cat([x[:, :, rows], x.flip(2)[:, :, rows]])
        found: Output = self.network(both, None if n_events is None else n_events.repeat(2, 1))
        plus, minus = torch.unflatten(
            found.values, 0, (2, -1)
        )  # a split by x.shape[0] would fix it when exported
        values = x.new_zeros(x.shape)
        values[:, :, rows] = plus
        values = values.flip(2)
        values[:, :, rows] = minus
        return found._replace(values=values.flip(2))
