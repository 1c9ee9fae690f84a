"""Mixtures of expert MLPs in place of the MLP of a transformer block, with four kinds of router."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from calowatch.core.errors import InputError
from calowatch.models.attention import Block, Passed

__all__ = ["MixOptions", "Mixed", "Mixture", "MixtureBlock", "Router"]

Router = Literal["dense", "top-k", "expert-choice", "soft"]
_ROUTERS = ("dense", "top-k", "expert-choice", "soft")


@dataclass(frozen=True)
class MixOptions:
    """Which mixture.

    Parameters
    ----------
    dim, hidden
        Features of a token, hidden features of each expert.
    experts
        How many.
    router
        ``"dense"``: each token is answered by all experts, weighed by a softmax. ``"top-k"``: by its k best, weighed
        by their softmax over all, not made to sum to one, so that the router learns with k = 1 too (arXiv 2101.03961,
        2106.05974). ``"expert-choice"``: each expert picks its best tokens of an image (arXiv 2202.09368; of an image
        rather than a batch, so that an answer does not depend on its neighbours). ``"soft"``: experts see mixtures of
        tokens, as many as there are tokens (Soft MoE, arXiv 2308.00951).
    k
        Experts per token of ``"top-k"``.
    capacity
        Mean experts per token of ``"expert-choice"``.
    dropout
        Share dropped while training, of hidden features and of the answer.

    Raises
    ------
    InputError
        For less than two experts, an unknown router, ``k`` or ``capacity`` that cannot be.
    """

    dim: int
    hidden: int
    experts: int = 2
    router: Router = "dense"
    k: int = 1
    capacity: float = 1.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.router not in _ROUTERS:
            raise InputError("options.router", " or ".join(_ROUTERS), str(self.router), "choose one of them")
        if self.experts < 2 or not 1 <= self.k <= self.experts or not 0 < self.capacity <= self.experts:
            raise InputError(
                "options",
                "two experts or more, k and capacity at most their number",
                f"experts {self.experts}, k {self.k}, capacity {self.capacity}",
                "correct them",
            )


class Mixed(NamedTuple):
    """What a mixture answers.

    Attributes
    ----------
    tokens
        [image, token, feature].
    routing
        Share of each token given to each expert, [image, token, expert]; rows sum to one for ``dense`` and ``soft``.
    losses
        ``balance``: E sum_e f_e P_e over the batch, with f the share of tokens that have e among their k best (of all
        assignments) and P the mean softmax, 1 when even (arXiv 2101.03961); ``z``: mean squared logsumexp of the
        router's logits (arXiv 2202.08906). Unweighted; none for ``soft``, and no ``balance`` for ``expert-choice``,
        which is even by construction.
    """

    tokens: Tensor
    routing: Tensor
    losses: dict[str, Tensor]


class Mixture(nn.Module):
    """Expert MLPs and their router.

    Parameters
    ----------
    options
        Which.
    tokens
        Of an image.

    Attributes
    ----------
    kept
        Experts that take part; others get no share of any token.
    """

    def __init__(self, options: MixOptions, tokens: int) -> None:
        super().__init__()
        self.options = options
        n, dim, hidden = options.experts, options.dim, options.hidden
        self.kept = (True,) * n
        self.slots = -(-tokens // n)
        self.chosen = min(tokens, max(1, round(tokens * options.capacity / n)))
        self.router = nn.Linear(dim, n * self.slots if options.router == "soft" else n, bias=False)
        self.inner = nn.Parameter(_drawn(n, dim, hidden))
        self.inner_bias = nn.Parameter(torch.zeros(n, hidden))
        self.outer = nn.Parameter(_drawn(n, hidden, dim))
        self.outer_bias = nn.Parameter(torch.zeros(n, dim))
        self.dropout = nn.Dropout(options.dropout) if options.dropout else nn.Identity()

    def forward(self, x: Tensor) -> Mixed:
        """Return the mixture of [image, token, feature]."""
        logits = self.router(x)
        if self.options.router == "soft":
            return self._soft(x, logits)
        shares = torch.softmax(self._without_removed(logits), dim=-1)
        if self.options.router == "expert-choice":
            best = shares.topk(self.chosen, dim=1).indices
            gates = shares * torch.zeros_like(shares).scatter(1, best, 1.0)
            return Mixed(self._gated(x, gates), gates, {"z": _z_loss(logits)})
        best = shares.topk(self.options.k, dim=-1).indices
        among = torch.zeros_like(shares).scatter(-1, best, 1.0)
        gates = shares if self.options.router == "dense" else shares * among
        assigned = among.mean((0, 1)) / self.options.k
        balance = self.options.experts * (assigned * shares.mean((0, 1))).sum()
        return Mixed(self._gated(x, gates), gates, {"balance": balance, "z": _z_loss(logits)})

    def answers(self, x: Tensor) -> Tensor:
        """Return what every expert makes of every token: [image, token, expert, feature]."""
        return torch.einsum("bteh,ehd->bted", self._hidden(x), self.outer) + self.outer_bias

    def _hidden(self, x: Tensor) -> Tensor:
        hidden = torch.einsum("btd,edh->bteh", x, self.inner) + self.inner_bias
        dropped: Tensor = self.dropout(F.gelu(hidden))
        return dropped

    def _gated(self, x: Tensor, gates: Tensor) -> Tensor:
        # The last layer is linear: sharing out before it needs one product, not one answer per expert.
        hidden = (self._hidden(x) * gates[..., None]).flatten(2)
        mixed: Tensor = self.dropout(hidden @ self.outer.flatten(0, 1) + gates @ self.outer_bias)
        return mixed

    def _soft(self, x: Tensor, logits: Tensor) -> Mixed:
        n = self.options.experts
        dispatch = torch.softmax(logits, dim=1).transpose(1, 2)
        combine = torch.softmax(self._without_removed(logits), dim=2)
        seen = (dispatch @ x).reshape(x.shape[0], n, self.slots, x.shape[2])
        hidden = torch.einsum("besd,edh->besh", seen, self.inner) + self.inner_bias[:, None]
        answers = torch.einsum("besh,ehd->besd", self.dropout(F.gelu(hidden)), self.outer)
        answers = (answers + self.outer_bias[:, None]).flatten(1, 2)
        return Mixed(self.dropout(combine @ answers), combine.reshape(*x.shape[:2], n, self.slots).sum(3), {})

    def _without_removed(self, logits: Tensor) -> Tensor:
        if all(self.kept):
            return logits
        removed = ~torch.tensor(self.kept, device=logits.device)
        each = logits.shape[-1] // len(self.kept)
        return logits.masked_fill(removed.repeat_interleave(each), -torch.inf)


def _drawn(experts: int, inputs: int, outputs: int) -> Tensor:
    """Return weights of the size that `torch.nn.Linear` draws, other ones for each expert."""
    return torch.empty(experts, inputs, outputs).uniform_(-(inputs**-0.5), inputs**-0.5)


def _z_loss(logits: Tensor) -> Tensor:
    return torch.logsumexp(logits, dim=-1).square().mean()


class MixtureBlock(Block):
    """A block whose MLP is a mixture of experts.

    Parameters
    ----------
    heads
        Attention heads.
    options
        Of the mixture; its dropout holds for the block.
    tokens
        Of an image.
    """

    def __init__(self, heads: int, options: MixOptions, tokens: int) -> None:
        super().__init__(options.dim, heads, Mixture(options, tokens), options.dropout)

    def forward(self, x: Tensor, bias: Tensor | None = None, *, explicit: bool = False) -> Passed:
        """Return tokens of the same shape, with routing; arguments as of `Attention.forward`."""
        x, weights = self.attend(x, bias, explicit=explicit)
        mixed: Mixed = self.mix(self.before_mix(x))
        return Passed(x + mixed.tokens, weights, mixed.routing, mixed.losses)
