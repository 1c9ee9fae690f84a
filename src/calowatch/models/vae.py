"""The variational latent: two linear layers, a draw while training, the mean afterwards."""

import torch
from torch import Tensor, nn

__all__ = ["Latent", "kl_divergence"]


class Latent(nn.Module):
    """Gaussian latent of a variational autoencoder (Kingma and Welling, arXiv 1312.6114).

    Parameters
    ----------
    size
        Length L of the latent vector; the layers are two Linear(L, L).
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.mean = nn.Linear(size, size)
        self.log_variance = nn.Linear(size, size)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the latent vector, its mean and the logarithm of its variance, each (row, L).

        The vector is drawn while training and is the mean in evaluation, so that a score is the same each time.
        """
        mean: Tensor = self.mean(x)
        log_variance: Tensor = self.log_variance(x)
        if not self.training:
            return mean, mean, log_variance
        return mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean), mean, log_variance


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the divergence of N(mean, variance) from N(0, 1), summed over the latent, mean over rows.

    -1/2 sum (1 + ln s^2 - m^2 - s^2), equation 10 of arXiv 1312.6114.
    """
    each = 1.0 + log_variance - mean.square() - log_variance.exp()
    return -0.5 * each.sum(dim=-1).mean()
