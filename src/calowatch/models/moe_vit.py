"""A vision transformer whose MLPs are mixtures of experts."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Self

import torch
from torch import Tensor

from calowatch.core.errors import InputError
from calowatch.models.classifiers import ImageGeometry
from calowatch.models.experts import MixOptions, Mixture, MixtureBlock, Router
from calowatch.models.vit import ViT, ViTOptions

__all__ = ["MoEViT", "MoEViTOptions"]


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


class MoEViT(ViT):
    """A vision transformer with experts; the routing of each block is in its scores.

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

    def __init__(self, geometry: ImageGeometry, options: MoEViTOptions) -> None:
        mix = MixOptions(
            options.dim,
            options.mlp,
            options.experts,
            options.router,
            options.k,
            options.capacity,
            options.dropout,
        )
        super().__init__(geometry, options, partial(MixtureBlock, options.heads, mix))
        self.experts = options.experts

    def without_expert(self, expert: int, block: int | None = None) -> Self:
        """Return a copy in which an expert takes no part, of one block or of all; the others share its tokens.

        Raises
        ------
        InputError
            When there is no such expert or block, or no other one is left.
        """
        blocks = range(len(self.blocks)) if block is None else (block,)
        if not 0 <= expert < self.experts or not set(blocks) <= set(range(len(self.blocks))):
            raise InputError(
                "expert",
                f"below {self.experts}, of a block below {len(self.blocks)}",
                f"expert {expert}, block {block}",
                "count from 0",
            )
        lesser = copy.deepcopy(self)
        for n in blocks:
            mixture = lesser.mixture(n)
            mixture.kept = tuple(kept and e != expert for e, kept in enumerate(mixture.kept))
            if not any(mixture.kept):
                raise InputError("expert", "one that is not the last", str(expert), "leave one expert in")
        return lesser

    def mixture(self, block: int) -> Mixture:
        """Return the mixture of a block."""
        found = self.blocks[block].mix
        assert isinstance(found, Mixture)
        return found

    @torch.no_grad()
    def expert_answers(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return per block what each expert makes of each token, whether it was routed there or not.

        Parameters
        ----------
        images
            Prepared, [image, channel, row, column].

        Returns
        -------
        tuple
            [image, token, expert, feature] per block: compare experts by `calowatch.metrics.routing.cka`.
        """
        x, answers = self.tokens(images), []
        for n, block in enumerate(self.blocks):
            assert isinstance(block, MixtureBlock)
            attended, _ = block.attend(x, None, explicit=False)
            answers.append(self.mixture(n).answers(block.before_mix(attended)))
            x = block(x).tokens
        return tuple(answers)
