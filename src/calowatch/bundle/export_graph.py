"""The graph branch without sparse products: dense ones over the connected parts of the graph."""

import numpy as np
import torch
from scipy import sparse
from scipy.sparse import csgraph
from torch import Tensor, nn

from calowatch.core.errors import InputError
from calowatch.models.graph import GraphBranch

__all__ = ["DenseGraph"]

_MOST = 256 * 1024**2
"""Numbers that the dense parts may have (1 GiB): boxes of hardware need a few millions."""


class DenseGraph(nn.Module):
    """What a `GraphBranch` answers, by operations that every format has.

    Channels that share a readout box are joined to each other and to nobody else, so the matrix of the graph is made
    of blocks. Each becomes one dense square of the size of the largest, filled up with nodes that nobody sees.

    Parameters
    ----------
    branch
        Trained.

    Raises
    ------
    InputError
        When the blocks are too large together.
    """

    cells: Tensor
    blocks: Tensor
    real: Tensor

    def __init__(self, branch: GraphBranch) -> None:
        super().__init__()
        nodes = len(branch.cells)
        edges, weights = branch.edges.numpy(), branch.weights.numpy()
        matrix = sparse.csr_array((weights, (edges[0], edges[1])), shape=(nodes, nodes))
        count, label = csgraph.connected_components(matrix, directed=False)
        size = int(np.bincount(label).max())
        if count * size**2 > _MOST:
            raise InputError(
                "graph", f"parts of the graph with {_MOST} numbers", str(count * size**2), "join by rbx"
            )
        order = np.argsort(label, kind="stable")
        first = np.r_[0, np.cumsum(np.bincount(label))[:-1]]
        place = np.empty(nodes, np.int64)
        place[order] = np.arange(nodes) - first[label[order]]
        cells = np.zeros((count, size), np.int64)
        cells[label, place] = branch.cells.numpy()
        real = np.zeros((count, size), bool)
        real[label, place] = True
        blocks = np.zeros((count, size, size), np.float32)
        blocks[label[edges[0]], place[edges[0]], place[edges[1]]] = weights
        self.register_buffer("cells", torch.from_numpy(cells.ravel()), persistent=False)
        self.register_buffer("blocks", torch.from_numpy(blocks), persistent=False)
        self.register_buffer("real", torch.from_numpy(real.ravel()), persistent=False)
        self.convolutions, self.gate = branch.convolutions, branch.gate

    def forward(self, x: Tensor) -> Tensor:
        """Return vectors [row, width] of grids [row, ieta, iphi, depth]."""
        count, size = self.blocks.shape[:2]
        features = x.flatten(1)[:, self.cells].reshape(-1, count, size, 1)
        for convolution in self.convolutions:
            # As einsum, which does not copy the blocks for every row.
            mixed = torch.einsum("cij,rcjf->rcif", self.blocks, convolution.get_submodule("lin")(features))
            features = torch.relu(mixed + convolution.get_parameter("bias"))
        features = features.flatten(1, 2)
        gate = self.gate(features).masked_fill(~self.real[:, None], -torch.inf)
        return (torch.softmax(gate, dim=1) * features).sum(dim=1)

    def beside(self, vectors: Tensor, x: Tensor) -> Tensor:
        """Return vectors [batch, time, features] with those of the graph appended."""
        own = self(x.flatten(0, 1)).reshape(*x.shape[:2], -1)
        return torch.cat([vectors, own], dim=-1)
