"""What transformers for images share: attention by two paths that agree, the MLP, the block, the head."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from calowatch.core.errors import InputError

__all__ = ["Attention", "Block", "Passed", "dense_head", "feed_forward"]

_EPS = 1e-6


class Passed(NamedTuple):
    """What leaves a block.

    Attributes
    ----------
    tokens
        [image, token, feature].
    attention
        [image, head, query token, key token]; None unless asked for.
    routing
        Share of each token given to each expert, [image, token, expert]; None for blocks without experts.
    losses
        Named terms of a router, unweighted.
    """

    tokens: Tensor
    attention: Tensor | None = None
    routing: Tensor | None = None
    losses: dict[str, Tensor] = {}  # noqa: RUF012 - a default that nobody writes to


class Attention(nn.Module):
    """Multi-head self-attention (arXiv 1706.03762), fused for speed or spelled out to be looked at.

    Parameters
    ----------
    dim
        Features of a token.
    heads
        Attention heads.

    Raises
    ------
    InputError
        When heads do not divide the features.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise InputError("dim", f"a multiple of {heads} heads", str(dim), "change either")
        self.heads = heads
        self.scale = (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, bias: Tensor | None, *, explicit: bool) -> tuple[Tensor, Tensor | None]:
        """Return attended tokens and, on the explicit path, the weights, which are part of the graph.

        Parameters
        ----------
        x
            [image, token, feature].
        bias
            Added to the logits before the softmax, broadcast to [image, head, query, key]; None for none.
        explicit
            Give the weights [image, head, query, key].
        """
        batch, tokens, dim = x.shape
        split = self.qkv(x).reshape(batch, tokens, 3, self.heads, dim // self.heads)
        q, k, v = split.permute(2, 0, 3, 1, 4).unbind(0)
        weights: Tensor | None = None
        if explicit:
            logits = self.scale * (q @ k.transpose(-1, -2))
            weights = torch.softmax(logits if bias is None else logits + bias, dim=-1)
            found = weights @ v
        else:
            found = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        attended: Tensor = self.out(found.transpose(1, 2).reshape(batch, tokens, dim))
        return attended, weights


def feed_forward(dim: int, hidden: int, dropout: float) -> nn.Sequential:
    """Return the MLP of a block: one hidden layer with GELU, dropout after it."""
    return nn.Sequential(
        nn.Linear(dim, hidden), nn.GELU(), *_dropped(dropout), nn.Linear(hidden, dim), *_dropped(dropout)
    )


def dense_head(features: int, hidden: Sequence[int], outputs: int, dropout: float) -> nn.Sequential:
    """Return dense layers with GELU, dropout after each, and the one that gives the logits."""
    sizes = (features, *hidden)
    inner = [
        layer
        for size, following in pairwise(sizes)
        for layer in (nn.Linear(size, following), nn.GELU(), *_dropped(dropout))
    ]
    return nn.Sequential(*inner, nn.Linear(sizes[-1], outputs))


def _dropped(share: float) -> list[nn.Module]:
    return [nn.Dropout(share)] if share else []


class Block(nn.Module):
    """Pre-norm block: attention, then features, each added to its input.

    Parameters
    ----------
    dim, heads
        Features of a token, attention heads.
    mix
        What mixes features: a module from tokens to tokens.
    dropout
        Share of what attention gives that is dropped while training.
    """

    def __init__(self, dim: int, heads: int, mix: nn.Module, dropout: float = 0.0) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(dim, eps=_EPS)
        self.attention = Attention(dim, heads)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.before_mix = nn.LayerNorm(dim, eps=_EPS)
        self.mix = mix

    def attend(self, x: Tensor, bias: Tensor | None, *, explicit: bool) -> tuple[Tensor, Tensor | None]:
        """Return tokens after attention, and its weights where ``explicit``."""
        attended, weights = self.attention(self.before_attention(x), bias, explicit=explicit)
        return x + self.dropout(attended), weights

    def forward(self, x: Tensor, bias: Tensor | None = None, *, explicit: bool = False) -> Passed:
        """Return tokens of the same shape; arguments as of `Attention.forward`."""
        x, weights = self.attend(x, bias, explicit=explicit)
        return Passed(x + self.mix(self.before_mix(x)), weights)
