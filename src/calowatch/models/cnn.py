"""The source system's convolutional autoencoders (CMS_HCAL_ML_OnlineDQM; arXiv 2311.04190), rebuilt.

Four blocks of convolution, batch normalisation, leaky rectifier and pooling, a bottleneck, and the way back, in which
the encoder's pooling indices say where values go. The published number of parameters, 470,412 for HE (64 x 72 x 7) with
LSTM, variational, L = 4, is met when the decoder's last block has one channel and its own batch normalisation.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import Tensor, nn

from calowatch.models.bottleneck import Bottleneck, Narrow, make_bottleneck
from calowatch.models.geometry import Geometry
from calowatch.models.layers import Network, Output, Shape, clipped_kernel, pooled_shape

if TYPE_CHECKING:
    from calowatch.models.graph import GraphBranch

__all__ = ["ConvAutoencoder", "ConvOptions"]

_ASKED = (3, 3, 2)
_BLOCKS = 4
_SLOPE = 0.5


@dataclass(frozen=True)
class ConvOptions:
    """Which of the source networks.

    Parameters
    ----------
    residual
        With skip connections around each convolution.
    variational
        With a Gaussian latent.
    bottleneck
        ``"fnn"`` (each lumisection by itself), or ``"rnn"``, ``"gru"``, ``"lstm"`` (a window as a whole).
    graph
        With the graph branch, which makes it GraphSTAD.
    latent
        L; 4 is the source's default, 32 was deployed.
    """

    residual: bool = False
    variational: bool = False
    bottleneck: str = "lstm"
    graph: bool = False
    latent: int = 4


class Block(nn.Module):
    """Convolution, batch normalisation, leaky rectifier; with ``residual`` the input is added before the last.

    Parameters
    ----------
    channels
        In and out.
    kernel
        Odd numbers for ieta, iphi, depth.
    transposed
        For the decoder.
    residual
        With a skip connection, a 1 x 1 x 1 convolution where the channels differ.
    """

    def __init__(
        self, channels: tuple[int, int], kernel: Shape, *, transposed: bool = False, residual: bool = False
    ) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        kind = nn.ConvTranspose3d if transposed else nn.Conv3d
        self.conv = kind(*channels, kernel, padding=padding, bias=False)
        self.norm = nn.BatchNorm3d(channels[1])
        self.act = nn.LeakyReLU(_SLOPE)
        self.skip: nn.Module | None = None
        if residual:
            same = channels[0] == channels[1]
            self.skip = nn.Identity() if same else nn.Conv3d(*channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return features [row, channel, ieta, iphi, depth] of the same grid."""
        found: Tensor = self.norm(self.conv(x))
        if self.skip is not None:
            found = found + self.skip(x)
        activated: Tensor = self.act(found)
        return activated


class ConvAutoencoder(Network):
    """CNN or residual CNN, as AE or VAE, with any bottleneck, with or without the graph branch.

    Parameters
    ----------
    geometry
        Grid, mask, and edges where ``options.graph``.
    options
        Which network.

    Raises
    ------
    InputError
        With ``graph``, when the geometry has no edges.
    """

    def __init__(self, geometry: Geometry, options: ConvOptions) -> None:
        super().__init__(geometry)
        width = 4 * options.latent
        self.shapes = [self.shape]
        for _ in range(_BLOCKS):
            self.shapes.append(pooled_shape(self.shapes[-1]))
        kernels = [clipped_kernel(_ASKED, shape) for shape in self.shapes[:-1]]
        self.encoder = nn.ModuleList(
            Block((width if n else 1, width), kernel, residual=options.residual)
            for n, kernel in enumerate(kernels)
        )
        self.pool = nn.MaxPool3d(2, ceil_mode=True, return_indices=True)
        self.width = width
        flat = width * _cells(self.shapes[-1])
        self.graph = _graph_branch(geometry, width) if options.graph else None
        request = Bottleneck(options.bottleneck, options.latent, options.variational, flat, flat)
        if options.graph:
            request = replace(request, features_in=flat + width)
        self.narrow = make_bottleneck(request)
        self.unpool = nn.MaxUnpool3d(2)
        self.decoder = nn.ModuleList(
            Block((width, width if n else 1), kernels[n], transposed=True, residual=options.residual)
            for n in reversed(range(_BLOCKS))
        )
        self.last = nn.Conv3d(1, 1, 1)

    def expect(self, x: Tensor, n_events: Tensor | None) -> Output:  # noqa: ARG002 - knows no statistics
        """Return the reconstruction; shapes as in `Network.forward`."""
        batch, time = x.shape[:2]
        features = x.reshape(batch * time, 1, *self.shape)
        places = []
        for block in self.encoder:
            features, indices = self.pool(block(features))
            places.append(indices)
        vectors = features.flatten(1).reshape(batch, time, -1)
        if self.graph is not None:
            vectors = self.graph.beside(vectors, x)
        narrow: Narrow = self.narrow(vectors)
        features = narrow.vectors.reshape(batch * time, self.width, *self.shapes[-1])
        for block, indices, shape in zip(
            self.decoder, reversed(places), reversed(self.shapes[:-1]), strict=True
        ):
            features = block(self.unpool(features, indices, output_size=list(shape)))
        # One channel in, one out: a product. As a convolution it would take a fifth of the training.
        weight, bias = self.last.parameters()
        values = (weight.reshape(1) * features + bias).reshape(batch, time, *self.shape)
        return Output(values, narrow.mean, narrow.log_variance)


def _cells(shape: Shape) -> int:
    return shape[0] * shape[1] * shape[2]


def _graph_branch(geometry: Geometry, width: int) -> "GraphBranch":
    # Loads torch_geometric, which other networks can do without.
    from calowatch.models.graph import GraphBranch  # noqa: PLC0415

    return GraphBranch(geometry, width)
