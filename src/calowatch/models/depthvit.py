"""DepthViT: a masked autoencoder over patches, with attention across depths (after arXiv 2603.02369)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from calowatch.core.errors import InputError
from calowatch.models.geometry import Geometry
from calowatch.models.layers import Network, Output

__all__ = ["DepthViT", "DepthViTOptions"]


@dataclass(frozen=True)
class DepthViTOptions:
    """Which DepthViT.

    Parameters
    ----------
    latent
        Length of a token.
    patch
        Cells of a square patch along ieta and iphi; 12 divides the 84 x 72 grid.
    layers, heads
        Of attention.
    """

    latent: int = 56
    patch: int = 12
    layers: int = 5
    heads: int = 4


class DepthViT(Network):
    """Predict each patch of each depth from others that are visible.

    Half of the patches are hidden and predicted, then the other half, so that no prediction has seen its own patch.
    While training, the half is drawn for each sample anew; in evaluation it is the black fields of a chess board,
    shifted by one from depth to depth, so that answers are the same each time. (The reference that we have says only
    that half is masked.)

    Each layer attends over the patches of a depth, then over the depths of a patch, then mixes features, each time
    added to its input after layer normalisation. Lumisections are taken one by one.

    Parameters
    ----------
    geometry
        A grid that patches divide, and its mask.
    options
        Which network.

    Raises
    ------
    InputError
        When patches do not divide the grid, or heads the latent.
    """

    chess: Tensor

    def __init__(self, geometry: Geometry, options: DepthViTOptions) -> None:
        super().__init__(geometry)
        ieta, iphi, depth = self.shape
        side, size = options.patch, options.latent
        if ieta % side or iphi % side:
            raise InputError("patch", f"a divisor of {ieta} and {iphi}", str(side), "use the dqm layout")
        if size % options.heads:
            raise InputError("latent", f"a multiple of {options.heads} heads", str(size), "change either")
        self.tiles, self.side = (ieta // side, iphi // side), side
        self.embed = nn.Linear(side * side, size)
        self.place = nn.Parameter(0.02 * torch.randn(self.tiles[0] * self.tiles[1], size))
        self.layer = nn.Parameter(0.02 * torch.randn(depth, 1, size))
        self.hidden = nn.Parameter(0.02 * torch.randn(size))
        self.blocks = nn.ModuleList(_Layer(size, options.heads) for _ in range(options.layers))
        self.norm = nn.LayerNorm(size)
        self.last = nn.Linear(size, side * side)
        rows, columns, depths = torch.meshgrid(
            torch.arange(self.tiles[0]), torch.arange(self.tiles[1]), torch.arange(depth), indexing="ij"
        )
        black = ((rows + columns + depths) % 2 == 0).flatten(0, 1).T
        self.register_buffer("chess", black.contiguous(), persistent=False)

    def expect(self, x: Tensor, n_events: Tensor | None) -> Output:  # noqa: ARG002 - knows no statistics
        """Return the reconstruction; shapes as in `Network.forward`."""
        patches = self._patches(x.flatten(0, 1))
        tokens = self.embed(patches)
        hide = self._hide(tokens)[..., None]
        values = torch.where(hide, self._predict(tokens, hide), self._predict(tokens, ~hide))
        return Output(self._grid(values).reshape(x.shape))

    def _hide(self, tokens: Tensor) -> Tensor:
        """Return which tokens the first pass hides, bool [row, depth, patch]."""
        if not self.training:
            return self.chess.expand(tokens.shape[:-1])
        draw = torch.rand(tokens.shape[:-1], device=tokens.device).flatten(1)
        half = draw.argsort(dim=1).argsort(dim=1) < draw.shape[1] // 2
        return half.reshape(tokens.shape[:-1])

    def _predict(self, tokens: Tensor, hide: Tensor) -> Tensor:
        tokens = torch.where(hide, self.hidden, tokens) + self.place + self.layer
        for block in self.blocks:
            tokens = block(tokens)
        found: Tensor = self.last(self.norm(tokens))
        return found

    def _patches(self, x: Tensor) -> Tensor:
        """Return cells [row, depth, patch, cell] of grids [row, ieta, iphi, depth]."""
        split = x.reshape(-1, self.tiles[0], self.side, self.tiles[1], self.side, self.shape[2])
        return split.permute(0, 5, 1, 3, 2, 4).reshape(
            -1, self.shape[2], self.tiles[0] * self.tiles[1], self.side**2
        )

    def _grid(self, patches: Tensor) -> Tensor:
        """Return grids of patches: inverse of `_patches`."""
        split = patches.reshape(-1, self.shape[2], *self.tiles, self.side, self.side)
        return split.permute(0, 2, 4, 3, 5, 1).reshape(-1, *self.shape)


class _Layer(nn.Module):
    """Attention over patches, attention over depths, then features; tokens [row, depth, patch, feature]."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(3))
        self.over_patches = nn.MultiheadAttention(size, heads, batch_first=True)
        self.over_depths = nn.MultiheadAttention(size, heads, batch_first=True)
        self.mix = nn.Sequential(nn.Linear(size, 4 * size), nn.GELU(), nn.Linear(4 * size, size))

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens of the same shape."""
        x = x + _attend(self.over_patches, self.norms[0](x))
        x = x + _attend(self.over_depths, self.norms[1](x).transpose(1, 2)).transpose(1, 2)
        mixed: Tensor = self.mix(self.norms[2](x))
        return x + mixed


def _attend(attention: nn.Module, x: Tensor) -> Tensor:
    """Return attention over the last axis but one of [row, group, token, feature]."""
    tokens = x.flatten(0, 1)
    found: Tensor = attention(tokens, tokens, tokens, need_weights=False)[0]
    return found.reshape(x.shape)
