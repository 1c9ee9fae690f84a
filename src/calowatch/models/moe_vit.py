"""A vision transformer whose MLPs are mixtures of experts."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from calowatch.core.errors import InputError
from calowatch.models.classifier import Classifier
from calowatch.models.classifiers import ImageGeometry
from calowatch.models.experts import MixOptions, Mixture, MixtureBlock, Router
from calowatch.models.vit import ViT, ViTOptions

__all__ = ["MoEViTOptions", "expert_answers", "mixtures", "moe_vit", "without_expert"]


@dataclass(frozen=True)
class MoEViTOptions(ViTOptions):
    """Which mixture: options of `ViTOptions`, with the source's defaults, and of `MixOptions`."""

    patch: Sequence[int] = (32, 32)
    edge: Literal["error", "crop", "pad"] = "crop"
    dim: int = 32
    layers: int = 4
    heads: int = 2
    mlp: int = 128
    pool: Literal["mean", "class", "flatten"] = "class"
    dropout: float = 0.1
    experts: int = 2
    router: Router = "dense"
    k: int = 1
    capacity: float = 1.0


def moe_vit(geometry: ImageGeometry, options: MoEViTOptions) -> ViT:
    """Return a vision transformer with experts; the routing of each block is in its scores.

    Parameters
    ----------
    geometry
        Of its input and answer.
    options
        Which.

    Raises
    ------
    InputError
        As `ViT`, and for a mixture that cannot be.
    """
    mix = MixOptions(
        options.dim,
        options.mlp,
        options.experts,
        options.router,
        options.k,
        options.capacity,
        options.dropout,
    )
    return ViT(geometry, options, partial(MixtureBlock, options.heads, mix))


def mixtures(network: Classifier) -> tuple[Mixture, ...]:
    """Return the mixture of each block; none for networks without experts."""
    if not isinstance(network, ViT):
        return ()
    return tuple(block.mix for block in network.blocks if isinstance(block.mix, Mixture))


def without_expert(network: ViT, expert: int, block: int | None = None) -> ViT:
    """Return a copy in which an expert takes no part, of one block or of all; the others share its tokens.

    Raises
    ------
    InputError
        When there is no such expert or block, or no other one is left.
    """
    lesser = copy.deepcopy(network)
    found = mixtures(lesser)
    experts = found[0].options.experts if found else 0
    blocks = range(len(found)) if block is None else (block,)
    if not 0 <= expert < experts or not set(blocks) <= set(range(len(found))):
        raise InputError(
            "expert",
            f"below {experts}, of a block below {len(found)}",
            f"expert {expert}, block {block}",
            "count from 0",
        )
    for n in blocks:
        found[n].kept = tuple(kept and e != expert for e, kept in enumerate(found[n].kept))
        if not any(found[n].kept):
            raise InputError("expert", "one that is not the last", str(expert), "leave one expert in")
    return lesser


@torch.no_grad()
def expert_answers(network: ViT, images: Tensor) -> tuple[Tensor, ...]:
    """Return per block what each expert makes of each token, whether it was routed there or not.

    Parameters
    ----------
    network
        One with experts.
    images
        Prepared, [image, channel, row, column].

    Returns
    -------
    tuple
        [image, token, expert, feature] per block: compare experts by `calowatch.metrics.routing.cka`.
    """
    x, answers = network.tokens(images), []
    for block, mixture in zip(network.blocks, mixtures(network), strict=True):
        assert isinstance(block, MixtureBlock)
        attended, _ = block.attend(x, None, explicit=False)
        answers.append(mixture.answers(block.before_mix(attended)))
        x = block(x).tokens
    return tuple(answers)
