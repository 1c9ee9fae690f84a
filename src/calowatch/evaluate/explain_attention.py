"""What tokens of a transformer attend to, over blocks: the last block's, rollout, weighted by gradients."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["gradient_attention", "is_constant", "last_block", "rollout"]

_EVEN = 1e-6
"""Spread of a row over its mean, below which attention prefers nothing: rounding of float32."""


def last_block(attention: Sequence[Tensor], first: int) -> Tensor:
    """Return the last block's attention to each token, mean of heads: [image, token].

    Parameters
    ----------
    attention
        Per block [image, head, query, key].
    first
        1 behind a class token, whose row is taken; 0 for the mean of all queries.
    """
    return _read(attention[-1].mean(1), first)


def rollout(attention: Sequence[Tensor], first: int) -> Tensor:
    """Return attention rollout (arXiv 2005.00928), [image, token]: 0.5 A + 0.5 I, rows to one, multiplied."""
    mixed = torch.eye(attention[0].shape[-1]).to(attention[0])
    for one in attention:
        step = 0.5 * one.mean(1) + 0.5 * torch.eye(one.shape[-1]).to(one)
        mixed = step / step.sum(-1, keepdim=True) @ mixed
    return _read(mixed, first)


def gradient_attention(attention: Sequence[Tensor], gradients: Sequence[Tensor], first: int) -> Tensor:
    """Return gradient-weighted attention (arXiv 2103.15679, equations 5 and 6), [image, token].

    Per block the mean over heads of the positive part of gradient times attention, added up as R <- R + A R from the
    identity, which is taken off at the end.
    """
    eye = torch.eye(attention[0].shape[-1]).to(attention[0])
    relevance = eye.expand(attention[0].shape[0], -1, -1)
    for one, gradient in zip(attention, gradients, strict=True):
        relevance = relevance + (one * gradient).clamp_min(0.0).mean(1) @ relevance
    return _read(relevance - eye, first)


def _read(mixed: Tensor, first: int) -> Tensor:
    return mixed[:, 0] if first else mixed.mean(1)


def is_constant(attention: Tensor) -> bool:
    """Return whether weights [.., key] are even; keys without any weight, which are no hits, do not count."""
    held = attention > 0
    mean = attention.sum(-1, keepdim=True) / held.sum(-1, keepdim=True).clamp_min(1)
    return bool((((attention - mean).abs() <= _EVEN * mean) | ~held).all())
