"""Our network: periodic in iphi, convolving across depths, and answering with the probability of a digi.

What it does otherwise than the source's: iphi 72 lies beside 1; kernels reach over depths; nothing passes from input
to output beside the bottleneck (no pooling indices); it knows how many events stand behind each number; its answer is a
probability, to be trained by the binomial likelihood of the counts, so that evidence follows without a fitted error.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from calowatch.core.errors import InputError
from calowatch.models.geometry import Geometry
from calowatch.models.layers import CircularConv3d, Network, Output, Predicts

__all__ = ["BinomialNetwork", "BinomialOptions"]

_RATES = (1e-7, 16.0)  # hits per event; beyond, p is 0 or 1 to the last digit of float32
_FEATURES = 4
_LEVELS = 2
_MOST = 4.0  # of a response that a training begins with, either way: a dead channel has no finite one
_SMALL = 0.1


@dataclass(frozen=True)
class BinomialOptions:
    """Which of our networks.

    Parameters
    ----------
    latent
        L: numbers kept of each tile of 4 ieta by one sector, all depths together; the layers have 4 L features.
    sector
        Columns of one readout box: 4 in grids of 5 degrees, 2 in HF's, 1 to pool no columns.
    response
        Learn one number for each channel besides. It then knows what healthy channels do beside their ring, as a
        per-channel reference does, and no longer treats all sectors alike.
    """

    latent: int = 4
    sector: int = 4
    response: bool = False


class BinomialNetwork(Network):
    """ln(lambda) = rate of the ring in each lumisection + deviation over the window; p = 1 - exp(-lambda).

    The rate is the median over sectors, so that a dead readout box moves no other; it comes from the window itself, so
    conditions are followed without training. The network predicts the deviation from the window's summed counts.

    Parameters
    ----------
    geometry
        Grid and mask; columns must be a multiple of the sector.
    options
        Which network.

    Raises
    ------
    InputError
        When sectors do not fit the columns.
    """

    predicts: Predicts = "logit"

    def __init__(self, geometry: Geometry, options: BinomialOptions) -> None:
        super().__init__(geometry)
        if options.sector not in (1, 2, 4) or self.shape[1] % options.sector:
            raise InputError(
                "sector", f"1, 2 or 4, a divisor of {self.shape[1]} columns", str(options.sector), "change it"
            )
        self.sector = options.sector
        width, size, depth = 4 * options.latent, options.latent, self.shape[2]
        self.pools = [(2, 2 if options.sector >> n > 1 else 1, 1) for n in range(_LEVELS)]
        self.encoder = nn.ModuleList(_block(width if n else _FEATURES, width) for n in range(_LEVELS))
        self.narrow = nn.Conv3d(width, size, (1, 1, depth))
        self.widen = nn.ConvTranspose3d(2 * size, width, (1, 1, depth))
        self.decoder = nn.ModuleList(_block(width, width) for _ in range(_LEVELS))
        self.last = nn.Conv3d(width, 1, 1)
        self.response = nn.Parameter(torch.zeros(self.shape)) if options.response else None

    @torch.no_grad()
    def start_from(self, hits: Tensor, trials: Tensor) -> None:
        """Begin as a per-channel reference: each channel's response is what summed healthy counts show.

        What else the network predicts begins near zero. Networks without a response stay as they are.

        Parameters
        ----------
        hits
            Digis of all healthy lumisections together, [ieta, iphi, depth].
        trials
            Their events, a single number.
        """
        if self.response is None:
            return
        rate = self._ring_log_rate(hits[None], trials.reshape(1, 1, 1, 1))[0]
        own = torch.log(-torch.log1p(-(hits + 0.5) / (trials + 1.0))) - rate
        self.response.copy_(torch.where(self.mask, own, torch.zeros_like(own)).clamp(-_MOST, _MOST))
        self.last.weight.mul_(_SMALL)
        if self.last.bias is not None:
            self.last.bias.zero_()

    def expect(self, x: Tensor, n_events: Tensor | None) -> Output:
        """Return logits of the probability of a digi.

        Parameters
        ----------
        x
            Occupancy, digis per event, not scaled otherwise: [batch, time, ieta, iphi, depth].
        n_events
            [batch, time]; lumisections of unknown or no events tell nothing and are told the window's rate.
        """
        if n_events is None:
            raise InputError("input of the network", "events of each lumisection", "none", "give n_events")
        trials = n_events.clamp(min=0).to(x.dtype)[:, :, None, None, None]
        hits = torch.where(
            trials > 0, x * trials, torch.zeros_like(x)
        )  # x may be NaN where it was divided by 0
        window = trials.sum(dim=1)
        seen = hits.sum(dim=1)
        rate = self._ring_log_rate(seen, window)
        deviation = self._deviation(self._features(seen, window, rate))
        if self.response is not None:
            deviation = deviation + self.response
        steps = self._ring_log_rate(hits, trials)
        steps = torch.where(trials > 0, steps, rate[:, None])
        return Output(_logit(steps + deviation[:, None]))

    def _ring_log_rate(self, seen: Tensor, trials: Tensor) -> Tensor:
        """Return ln(lambda) [..., ieta, 1, depth] of counts [..., ieta, iphi, depth], 0.5 added to hits and misses."""
        sectors = (self.shape[1] // self.sector, self.sector)
        hits = torch.unflatten(seen, -2, sectors).sum(dim=-2)
        channels = torch.unflatten(self.mask, -2, sectors).sum(dim=-2)
        p = (hits + 0.5) / (channels * trials + 1.0)
        p = p.masked_fill(channels == 0, torch.nan)
        middle = p.nanquantile(0.5, dim=-2, keepdim=True).nan_to_num(0.5)
        return torch.log(-torch.log1p(-middle))

    def _features(self, seen: Tensor, trials: Tensor, rate: Tensor) -> Tensor:
        """Return what the network sees: deviation, its information, rate, mask; [row, 4, ieta, iphi, depth]."""
        p = (seen + 0.5) / (trials + 1.0)
        deviation = torch.log(-torch.log1p(-p)) - rate
        information = torch.log1p(trials * p * (1.0 - p))
        rates = rate.expand_as(deviation)
        lit = self.mask.to(seen.dtype)
        # Statistics shrink what is seen: a channel with next to no hits expected tells next to nothing.
        known = information.expm1() / (1.0 + information.expm1())
        return torch.stack([deviation * known, information, rates, lit.expand_as(deviation)], dim=1) * lit

    def _deviation(self, features: Tensor) -> Tensor:
        shapes = []
        for block, pool in zip(self.encoder, self.pools, strict=True):
            shapes.append(features.shape[2:])
            features = F.avg_pool3d(block(features), pool, ceil_mode=True)
        latent = self.narrow(features)
        around = latent.mean(dim=3, keepdim=True).expand_as(latent)
        features = self.widen(torch.cat([latent, around], dim=1))
        for block, shape in zip(self.decoder, reversed(shapes), strict=True):
            features = block(F.interpolate(features, size=shape))
        found: Tensor = self.last(features)[:, 0]
        return found


def _block(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        CircularConv3d(channels_in, channels_out), nn.BatchNorm3d(channels_out), nn.LeakyReLU(0.1)
    )


def _logit(log_rate: Tensor) -> Tensor:
    """Return ln(p / (1 - p)) of p = 1 - exp(-lambda), which is ln(exp(lambda) - 1), without overflow."""
    low, high = (torch.tensor(rate).log().item() for rate in _RATES)
    rate = log_rate.clamp(low, high).exp()
    return rate + torch.log(-torch.expm1(-rate))
