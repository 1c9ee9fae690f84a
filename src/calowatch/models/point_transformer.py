"""A transformer over hits: the brightest pixels of an image, each a token (after arXiv 1902.08570, 2202.03772)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from calowatch.core.errors import InputError
from calowatch.models.attention import Block, dense_head, feed_forward
from calowatch.models.classifier import Classifier, Scores
from calowatch.models.classifiers import ImageGeometry
from calowatch.models.inputs import signed_log

__all__ = ["Hits", "PointTransformer", "PointTransformerOptions"]

_PAIR = 3


@dataclass(frozen=True)
class PointTransformerOptions:
    """Which network.

    Parameters
    ----------
    points
        Hits at most.
    bright
        Channels whose sum of magnitudes says how bright a pixel is; all, when empty.
    dim, layers, heads, mlp
        Features of a token, blocks, attention heads, hidden features of the MLP of a block.
    log_at
        Where the logarithm of a pixel begins to bend, in units of the prepared image.
    head
        Hidden layers of the head.
    dropout
        Share dropped while training, of what attention gives, and in the MLPs.
    """

    points: int = 48
    bright: Sequence[int] = ()
    dim: int = 64
    layers: int = 2
    heads: int = 4
    mlp: int = 128
    log_at: float = 0.01
    head: Sequence[int] = (64,)
    dropout: float = 0.0


class Hits(NamedTuple):
    """The brightest pixels of images, the brightest first.

    Attributes
    ----------
    row, column
        Where, [image, hit].
    values
        [image, hit, channel].
    real
        False where an image has fewer pixels that are not zero, [image, hit].
    """

    row: Tensor
    column: Tensor
    values: Tensor
    real: Tensor


class PointTransformer(Classifier):
    """A class token attends to hits, and hits to each other, knowing how far apart they lie.

    Zeros have to stay zeros in preparation (divide, but do not shift): what is zero is no hit. Attention is between
    the class token, which is token 0, and hits in the order of `hits`.

    Parameters
    ----------
    geometry
        Of its input and answer.
    options
        Which.

    Raises
    ------
    InputError
        For a channel that the image does not have, or heads that do not divide the features.
    """

    def __init__(self, geometry: ImageGeometry, options: PointTransformerOptions) -> None:
        super().__init__(geometry)
        self.bright = list(options.bright or range(geometry.channels))
        if not set(self.bright) <= set(range(geometry.channels)) or options.points < 1:
            raise InputError(
                "options",
                f"one point or more; bright channels below {geometry.channels}",
                f"points {options.points}, bright {list(options.bright)}",
                "correct them",
            )
        self.points = min(options.points, geometry.rows * geometry.columns)
        self.log_at, dim = options.log_at, options.dim
        self.embed = nn.Sequential(nn.Linear(3 + 2 * geometry.channels, dim), nn.GELU(), nn.Linear(dim, dim))
        self.class_token = nn.Parameter(0.02 * torch.randn(1, 1, dim))
        self.pair = nn.Linear(_PAIR, options.heads, bias=False)
        self.blocks = nn.ModuleList(
            Block(dim, options.heads, feed_forward(dim, options.mlp, options.dropout), options.dropout)
            for _ in range(options.layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.head = dense_head(dim + geometry.scalars, options.head, geometry.outputs, options.dropout)

    def hits(self, images: Tensor) -> Hits:
        """Return the brightest pixels of [image, channel, row, column]."""
        flat = images.flatten(2)
        found, index = flat[:, self.bright].abs().sum(1).topk(self.points, dim=1)
        values = flat.gather(2, index[:, None].expand(-1, flat.shape[1], -1)).transpose(1, 2)
        return Hits(index // images.shape[3], index % images.shape[3], values, found > 0)

    def judge(self, images: Tensor, scalars: Tensor, *, attention: bool = False) -> Scores:
        """Return the scores; arguments as of `Classifier.forward`."""
        hits = self.hits(images)
        place = torch.stack([hits.row, hits.column], dim=2).to(images.dtype)
        middle = place.new_tensor([(self.geometry.rows - 1) / 2, (self.geometry.columns - 1) / 2])
        away = (place - middle) / max(self.geometry.rows, self.geometry.columns)
        x = self.embed(
            torch.cat(
                [
                    away,
                    away.square().sum(2, keepdim=True).sqrt(),
                    hits.values,
                    signed_log(hits.values, self.log_at),
                ],
                dim=2,
            )
        )
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1)
        bias, weights = self._bias(away, hits.real), []
        for block in self.blocks:
            passed = block(x, bias, explicit=attention)
            x = passed.tokens
            weights.append(passed.attention)
        seen = torch.cat([self.norm(x[:, 0]), scalars], dim=1)
        return Scores(self.head(seen), tuple(one for one in weights if one is not None))

    def _bias(self, away: Tensor, real: Tensor) -> Tensor:
        """Return what is added to attention logits [image, head, query, key]: distance, and never to what is no hit."""
        apart = (away[:, :, None] - away[:, None]).abs()
        near = torch.exp(-8.0 * apart.square().sum(3, keepdim=True).clamp_min(0.0).sqrt())
        between = self.pair(torch.cat([apart, near], dim=3)).permute(0, 3, 1, 2)
        bias = F.pad(between, (1, 0, 1, 0))
        hidden = ~F.pad(real, (1, 0), value=True)
        return bias.masked_fill(hidden[:, None, None], -torch.inf)
