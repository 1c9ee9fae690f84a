"""What networks are trained by, and the source system's error; masked cells take no part in any of it."""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from calowatch.models.layers import Output
from calowatch.models.vae import kl_divergence

__all__ = ["KL_WEIGHT", "binomial_loss", "reconstruction_loss", "window_error"]

KL_WEIGHT = 1e-4
"""Of the source's variational networks."""

_PLAIN_SCALE = 100.0  # the source's, for networks without a Gaussian latent


def reconstruction_loss(output: Output, x: Tensor, mask: Tensor, kl_weight: float = KL_WEIGHT) -> Tensor:
    """Return the source's loss: mean squared error over channels, plus the weighted KL divergence of a variational one.

    Without a Gaussian latent it is 100 times the mean squared error.

    Parameters
    ----------
    output
        Of a network that predicts occupancy.
    x
        Prepared occupancy, [batch, time, ieta, iphi, depth].
    mask
        Which cells are channels, bool, [ieta, iphi, depth].
    kl_weight
        Of the divergence.
    """
    error = (output.values - x)[..., mask].square().mean()
    if output.mean is None or output.log_variance is None:
        return _PLAIN_SCALE * error
    return error + kl_weight * kl_divergence(output.mean, output.log_variance)


def binomial_loss(output: Output, counts: Tensor, n_events: Tensor, mask: Tensor) -> Tensor:
    """Return the negative binomial log-likelihood per channel and event.

    -[n ln p + (N - n) ln(1 - p)] / sum N, with p the logistic function of the network's logit; the binomial
    coefficient depends on no weight and is left out. Each event counts alike, so a lumisection of unknown or no events
    tells nothing.

    Parameters
    ----------
    output
        Of a network that predicts logits.
    counts
        Digis, [batch, time, ieta, iphi, depth].
    n_events
        Events, [batch, time].
    mask
        Which cells are channels, bool, [ieta, iphi, depth].
    """
    logits, hits = output.values[..., mask], counts[..., mask].to(output.values.dtype)
    trials = n_events.clamp(min=0).to(logits.dtype)[..., None].expand_as(logits)
    hits = torch.where(trials > 0, hits, torch.zeros_like(hits))
    likelihood = hits * F.softplus(-logits) + (trials - hits) * F.softplus(logits)
    return likelihood.sum() / trials.sum().clamp(min=1.0)


def window_error(output: Output, x: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the window of abs(prediction - input), NaN in masked cells: [batch, ieta, iphi, depth].

    Divided by its standard deviation on training data it is the source's score.
    """
    error = (output.values - x).abs().mean(dim=1)
    return error.masked_fill(~mask, torch.nan)
