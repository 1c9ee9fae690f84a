"""A vision transformer for calorimeter images (arXiv 2010.11929), small, with any rectangular patch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from calowatch.core.errors import InputError
from calowatch.models.attention import Block, dense_head, feed_forward
from calowatch.models.classifier import Classifier, Scores
from calowatch.models.classifiers import ImageGeometry

__all__ = ["Patches", "ViT", "ViTOptions"]

_EPS = 1e-6


@dataclass(frozen=True)
class ViTOptions:
    """Which vision transformer.

    Parameters
    ----------
    patch
        Rows and columns of a patch.
    edge
        What becomes of rows and columns that whole patches do not cover: ``"error"`` refuses such images, ``"crop"``
        never looks at them, ``"pad"`` completes the last patches with zeros.
    dim, layers, heads
        Features of a token, blocks, attention heads.
    mlp
        Hidden features of the MLP of a block.
    pool
        What the head sees: the ``"mean"`` of all tokens, a ``"class"`` token, or all tokens in a row (``"flatten"``).
    head
        Hidden layers of the head.
    dropout
        Share dropped while training, of embedded tokens, of what attention gives, and in the MLPs.
    """

    patch: Sequence[int] = (8, 9)
    edge: Literal["error", "crop", "pad"] = "error"
    dim: int = 128
    layers: int = 4
    heads: int = 4
    mlp: int = 256
    pool: Literal["mean", "class", "flatten"] = "mean"
    head: Sequence[int] = ()
    dropout: float = 0.0


class Patches(nn.Module):
    """Images cut into patches, row by row.

    Parameters
    ----------
    geometry
        Of the images.
    patch
        Rows and columns of a patch.
    edge
        As in `ViTOptions`.

    Attributes
    ----------
    tiles
        Rows and columns of patches.
    features
        Values of a patch: channels x rows x columns, in this order.

    Raises
    ------
    InputError
        When patches do not divide the image, and ``edge`` does not say what to do; or for images smaller than a patch.
    """

    def __init__(self, geometry: ImageGeometry, patch: Sequence[int], edge: str) -> None:
        super().__init__()
        if len(patch) != 2 or min(patch) < 1 or edge not in {"error", "crop", "pad"}:
            raise InputError(
                "options",
                "a patch of rows and columns; edge error, crop or pad",
                f"{patch}, {edge}",
                "correct it",
            )
        rows, columns = patch
        left = (-geometry.rows % rows, -geometry.columns % columns)
        if any(left) and edge == "error":
            raise InputError(
                "options.patch",
                f"a divisor of {geometry.rows} rows and {geometry.columns} columns",
                f"{rows} x {columns}",
                'choose another, or edge = "crop" or "pad"',
            )
        self.patch = (rows, columns)
        self.pad = left if edge == "pad" else (0, 0)
        self.tiles = ((geometry.rows + self.pad[0]) // rows, (geometry.columns + self.pad[1]) // columns)
        if not all(self.tiles):
            raise InputError(
                "options.patch", "one smaller than the image", f"{rows} x {columns}", "choose another"
            )
        self.features = geometry.channels * rows * columns

    def forward(self, images: Tensor) -> Tensor:
        """Return [image, patch, value] of [image, channel, row, column]."""
        if any(self.pad):
            images = F.pad(images, (0, self.pad[1], 0, self.pad[0]))
        (high, wide), (rows, columns) = self.tiles, self.patch
        seen = images[..., : high * rows, : wide * columns]
        split = seen.reshape(images.shape[0], images.shape[1], high, rows, wide, columns)
        return split.permute(0, 2, 4, 1, 3, 5).reshape(images.shape[0], high * wide, self.features)


class ViT(Classifier):
    """A vision transformer: patches, learned places, pre-norm blocks, a head.

    Numbers beside the image join what the head sees.

    Parameters
    ----------
    geometry
        Of its input and answer.
    options
        Which.
    block
        What makes a block for a number of tokens; None for plain ones.

    Attributes
    ----------
    patches
        How images are cut: ``tiles`` and ``patch`` say where patch n lies.
    first_patch
        Token of the first patch: 1 behind a class token, else 0.

    Raises
    ------
    InputError
        When patches do not divide the image, heads the features, or for an unknown pooling.
    """

    def __init__(
        self, geometry: ImageGeometry, options: ViTOptions, block: Callable[[int], nn.Module] | None = None
    ) -> None:
        super().__init__(geometry)
        if options.pool not in {"mean", "class", "flatten"}:
            raise InputError(
                "options.pool", "mean, class or flatten", str(options.pool), "choose one of them"
            )
        dim = options.dim
        self.pool = options.pool
        self.patches = Patches(geometry, options.patch, options.edge)
        self.embed = nn.Linear(self.patches.features, dim)
        self.first_patch = int(options.pool == "class")
        tokens = self.patches.tiles[0] * self.patches.tiles[1] + self.first_patch
        self.class_token = nn.Parameter(0.02 * torch.randn(1, 1, dim)) if self.first_patch else None
        self.place = nn.Parameter(0.02 * torch.randn(1, tokens, dim))
        self.dropout = nn.Dropout(options.dropout) if options.dropout else nn.Identity()
        make = partial(_plain_block, options) if block is None else block
        self.blocks = nn.ModuleList(make(tokens) for _ in range(options.layers))
        self.norm = nn.LayerNorm(dim, eps=_EPS)
        seen = dim * tokens if options.pool == "flatten" else dim
        self.head = dense_head(seen + geometry.scalars, options.head, geometry.outputs, options.dropout)

    def tokens(self, images: Tensor) -> Tensor:
        """Return what the first block sees: [image, token, feature]."""
        x: Tensor = self.embed(self.patches(images))
        if self.class_token is not None:
            x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1)
        placed: Tensor = self.dropout(x + self.place)
        return placed

    def judge(self, images: Tensor, scalars: Tensor, *, attention: bool = False) -> Scores:
        """Return the scores; arguments as of `Classifier.forward`."""
        x, passed = self.tokens(images), []
        for block in self.blocks:
            passed.append(block(x, explicit=attention))
            x = passed[-1].tokens
        names = passed[0].losses if passed else {}
        return Scores(
            self.head(torch.cat([self._pooled(x), scalars], dim=1)),
            tuple(one.attention for one in passed if one.attention is not None),
            tuple(one.routing for one in passed if one.routing is not None),
            {name: torch.stack([one.losses[name] for one in passed]).mean() for name in names},
        )

    def _pooled(self, x: Tensor) -> Tensor:
        if self.pool == "class":
            x = x[:, :1]
        x = self.norm(x)
        return x.mean(1) if self.pool == "mean" else x.flatten(1)


def _plain_block(options: ViTOptions, _tokens: int) -> Block:
    mix = feed_forward(options.dim, options.mlp, options.dropout)
    return Block(options.dim, options.heads, mix, options.dropout)
