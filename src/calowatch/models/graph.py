"""The graph branch of GraphSTAD (arXiv 2311.04190): channels are nodes, edges join what shares hardware."""

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from scipy.sparse import csgraph
from torch import Tensor, nn
from torch_geometric.nn import GCNConv
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from calowatch.core.errors import InputError
from calowatch.models.geometry import Geometry

__all__ = ["BatchedGCNConv", "GraphBranch"]

_LAYERS = 4


class BatchedGCNConv(GCNConv):  # type: ignore[misc] # torch_geometric has no types
    """`GCNConv` for many samples on one graph: a sample is a block of columns of one sparse product.

    The library's own takes copies of the graph, or a message for each edge and sample: far too much for complete graphs
    of the 188 channels of a readout box.
    """

    def message_and_aggregate(self, adj_t: Tensor, x: Tensor) -> Tensor:
        """Return the weighted sums over neighbours of features [row, node, channel]."""
        rows, nodes, channels = x.shape
        columns = x.transpose(0, 1).reshape(nodes, rows * channels)
        return (adj_t @ columns).reshape(nodes, rows, channels).transpose(0, 1)


class GraphBranch(nn.Module):
    """Four graph convolutions 1 -> width .. width, then attention pooling to one vector per lumisection.

    Convolutions have symmetric normalisation with self-loops (Kipf and Welling, arXiv 1609.02907), each followed by a
    rectifier. Pooling is the sum over nodes weighted by the softmax of a linear gate (Li et al., arXiv 1511.05493).

    Where all nodes of a part of the graph are joined with each other, as channels of a readout box are, the normalised
    sum over neighbours is the mean over the part: after the first convolution its nodes are alike, and one stands for
    all. That is the same function, computed on 36 parts instead of 6768 nodes; `by_edges` computes it on any graph.

    Parameters
    ----------
    geometry
        Nodes are the cells of its mask.
    width
        Features, 4 L in the source.
    """

    cells: Tensor
    edges: Tensor
    weights: Tensor
    shares: Tensor | None

    def __init__(self, geometry: Geometry, width: int) -> None:
        super().__init__()
        if geometry.edges is None or not geometry.edges.size:
            raise InputError("graph network", "edges between channels", "none", "give the geometry edges")
        cells = np.flatnonzero(geometry.mask)
        edges, weights = gcn_norm(
            torch.from_numpy(np.searchsorted(cells, geometry.edges)), num_nodes=len(cells)
        )
        # In plain parts, since a sparse tensor is no buffer that every format keeps; none is learned or saved.
        order = torch.argsort(edges[1] * len(cells) + edges[0])
        for name, values in (
            ("cells", torch.from_numpy(cells)),
            ("edges", edges.flip(0)[:, order]),
            ("weights", weights[order]),
        ):
            self.register_buffer(name, values, persistent=False)
        shares = _shares(self.edges.numpy(), len(cells))
        self.register_buffer("shares", shares, persistent=False)
        self.convolutions = nn.ModuleList(
            BatchedGCNConv(width if n else 1, width, normalize=False, node_dim=-2) for n in range(_LAYERS)
        )
        # A constant added to every gate changes no softmax, so the gate has none.
        self.gate = nn.Linear(width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return vectors [row, width] of grids [row, ieta, iphi, depth]."""
        return self.by_edges(x) if self.shares is None else self._by_parts(x, self.shares)

    def _by_parts(self, x: Tensor, shares: Tensor) -> Tensor:
        features = (x.flatten(1)[:, self.cells] @ shares)[..., None]
        for convolution in self.convolutions:
            mixed = convolution.get_submodule("lin")(features)
            features = torch.relu(mixed + convolution.get_parameter("bias"))
        # A part of n nodes has n equal terms in the softmax.
        sizes = (shares > 0).sum(dim=0).to(features.dtype)
        attention = torch.softmax(self.gate(features) + sizes.log()[:, None], dim=1)
        return (attention * features).sum(dim=1)

    def by_edges(self, x: Tensor) -> Tensor:
        """Return what `forward` returns, node by node: the definition."""
        nodes = len(self.cells)
        adjacency = torch.sparse_coo_tensor(
            self.edges, self.weights, (nodes, nodes), is_coalesced=True, check_invariants=False
        )
        features = x.flatten(1)[:, self.cells, None]
        for convolution in self.convolutions:
            features = torch.relu(convolution(features, adjacency))
        attention = torch.softmax(self.gate(features), dim=1)
        return (attention * features).sum(dim=1)

    def beside(self, vectors: Tensor, x: Tensor) -> Tensor:
        """Return vectors [batch, time, features] with those of the graph appended."""
        own = self(x.flatten(0, 1)).reshape(*x.shape[:2], -1)
        return torch.cat([vectors, own], dim=-1)


def _shares(edges: npt.NDArray[np.int64], nodes: int) -> Tensor | None:
    """Return what each node [node, part] adds to its part's mean; None unless all parts are complete."""
    matrix = sparse.csr_array((np.ones(edges.shape[1], np.int8), (edges[0], edges[1])), shape=(nodes, nodes))
    count, label = csgraph.connected_components(matrix, directed=False)
    sizes = np.bincount(label)
    # With self-loops, and each pair once in either direction.
    if np.bincount(label[edges[0]]).tolist() != (sizes**2).tolist() or matrix.nnz != edges.shape[1]:
        return None
    shares = np.zeros((nodes, count), np.float32)
    shares[np.arange(nodes), label] = 1.0 / sizes[label]
    return torch.from_numpy(shares)
