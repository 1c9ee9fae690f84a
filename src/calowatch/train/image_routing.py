"""How a mixture of experts shares its work, epoch by epoch, on the validation side."""

import numpy as np
import numpy.typing as npt
from torch import Tensor

from calowatch.metrics.routing import (
    balance,
    cka,
    cosine_similarity,
    dead_experts,
    load,
    mean_entropy,
    token_entropy,
)
from calowatch.models.classifier import Classifier, Scores
from calowatch.models.moe_vit import expert_answers, mixtures
from calowatch.models.vit import ViT

__all__ = ["RoutingWatch"]

_COMPARED = 32  # images on which experts are compared: some thousand tokens
Floats = npt.NDArray[np.float64]


class RoutingWatch:
    """Gathers the routing of an epoch.

    Tells, each the mean of all blocks: ``routing_token_entropy`` and ``routing_mean_entropy`` in nats,
    ``routing_balance`` (largest load over mean load), ``routing_dead`` (experts with next to no load), and of what
    experts make of the same tokens ``experts_cka`` and ``experts_cosine`` (mean of all pairs); per block and expert
    ``load_BLOCK_EXPERT``. Nothing for networks without experts.
    """

    def __init__(self) -> None:
        self._entropy: list[list[float]] = []
        self._work: list[Floats] = []
        self._alike: dict[str, float] = {}

    def see(self, network: Classifier, x: Tensor, scores: Scores) -> None:
        """Add a batch."""
        if not scores.routing:
            return
        if not self._work and isinstance(network, ViT) and mixtures(network):
            self._alike = _alike(network, x[:_COMPARED])
        routing = [block.detach().float().cpu().numpy() for block in scores.routing]
        self._entropy.append([token_entropy(block) for block in routing])
        self._work.append(np.stack([block.sum(axis=(0, 1), dtype=np.float64) for block in routing]))

    def tell(self) -> dict[str, float]:
        """Return the figures of the epoch, and begin anew."""
        if not self._work:
            return {}
        work = np.sum(self._work, axis=0)
        found = {
            "routing_token_entropy": float(np.nanmean(self._entropy)),
            "routing_mean_entropy": float(np.mean([mean_entropy(block[None]) for block in work])),
            "routing_balance": float(np.mean([balance(block[None]) for block in work])),
            "routing_dead": float(np.mean([len(dead_experts(block[None])) for block in work])),
        }
        for number, block in enumerate(work):
            found |= {
                f"load_{number}_{expert}": float(share) for expert, share in enumerate(load(block[None]))
            }
        found |= self._alike
        self._entropy, self._work, self._alike = [], [], {}
        return found


def _alike(network: ViT, x: Tensor) -> dict[str, float]:
    answers = [block.float().cpu().numpy() for block in expert_answers(network, x)]
    pairs = np.triu_indices(answers[0].shape[2], 1)
    return {
        "experts_cka": float(np.mean([cka(block)[pairs] for block in answers])),
        "experts_cosine": float(np.mean([cosine_similarity(block)[pairs] for block in answers])),
    }
