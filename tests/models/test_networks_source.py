"""The source system's configurations: their published sizes, and the rules that give them."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch_geometric.nn import GCNConv
from torch_geometric.nn.aggr import AttentionalAggregation

from calowatch.core.errors import InputError
from calowatch.models.api import NetworkRequest, build
from calowatch.models.bottleneck import CELLS
from calowatch.models.dc import DimensionCompression
from calowatch.models.geometry import Geometry
from calowatch.models.graph import GraphBranch
from calowatch.models.layers import Network, Output, clipped_kernel
from calowatch.models.loss import reconstruction_loss
from calowatch.models.rin import ring_mean
from calowatch.models.vae import kl_divergence


@pytest.fixture(scope="module")
def endcap():
    return Geometry.of_layout("he")


def parameters(network):
    return sum(values.numel() for values in network.parameters())


@pytest.mark.parametrize(
    ("wrappers", "latent", "published"),
    [((), 4, 470_412), ((), 32, 29_917_508), (("dc",), 4, 50_700), (("rin", "dc"), 32, 3_163_460)],
)
def test_published_numbers_of_parameters(endcap, wrappers, latent, published):
    with torch.device("meta"):
        network = build(NetworkRequest("cnn-vae-lstm", wrappers, {"latent": latent}), endcap)
    assert parameters(network) == published


def test_share_of_the_last_decoder_layer(endcap):
    """Published: 62 to 92 % of all parameters."""
    for wrappers, share in (((), 0.92), (("dc",), 0.62)):
        with torch.device("meta"):
            network = build(NetworkRequest("cnn-vae-lstm", wrappers), endcap)
        inner = network.network if wrappers else network
        assert parameters(inner.narrow.decode[1]) / parameters(network) == pytest.approx(share, abs=0.005)


@pytest.mark.parametrize(
    ("shape", "kernel"),
    [((64, 72, 7), (3, 3, 1)), ((2, 9, 1), (1, 3, 1)), ((14, 1, 7), (3, 1, 1)), ((3, 4, 2), (3, 3, 1))],
)
def test_kernels_are_clipped_and_never_mix_depths(shape, kernel):
    assert clipped_kernel((3, 3, 2), shape) == kernel


@pytest.mark.parametrize(("layout", "rows"), [("he", 14), ("hb", 16), ("hf", 13), ("ho", 15)])
def test_dimension_compression_keeps_the_rows_of_a_subdetector(layout, rows):
    geometry = Geometry.of_layout(layout)
    assert geometry.folded().shape == (rows, *geometry.shape[1:])


class Ramp(Network):
    """Answers with its input times the number of its row, from 1."""

    def expect(self, x, n_events):
        return Output(x * torch.arange(1.0, x.shape[2] + 1)[:, None, None])


def test_dimension_compression_mirrors_the_minus_side(geometry):
    """Rows count from the middle of the detector, on both sides."""
    x = torch.rand(2, 3, *geometry.shape)
    found = DimensionCompression(geometry, Ramp(geometry.folded()))(x).values
    weights = torch.tensor([4.0, 3.0, 2.0, 1.0, 1.0, 2.0, 3.0, 4.0])[:, None, None]
    torch.testing.assert_close(found, x * weights * torch.tensor(geometry.mask))


def test_dimension_compression_wants_a_network_of_one_side(geometry):
    with pytest.raises(InputError, match="fold the geometry first"):
        DimensionCompression(geometry, Ramp(geometry))


@torch.no_grad()
def test_rin_and_dc_commute(tiny, toy):
    one, other = (tiny("cnn-vae-lstm", order).eval() for order in (("rin", "dc"), ("dc", "rin")))
    torch.testing.assert_close(one(toy[0]).values, other(toy[0]).values)


@torch.no_grad()
def test_rin_makes_a_network_blind_to_brightness(tiny, toy):
    network = tiny("cnn-ae-gru", ("rin",)).eval()
    rings = torch.linspace(0.5, 3.0, toy[0].shape[2])[:, None, None]
    torch.testing.assert_close(
        network(toy[0] * rings).values, network(toy[0]).values * rings, atol=1e-4, rtol=1e-4
    )


def test_ring_mean_leaves_out_zeros_and_is_one_for_empty_rings():
    x = torch.zeros(1, 1, 2, 4, 1)
    x[0, 0, 0, :2, 0] = torch.tensor([1.0, 3.0])
    assert ring_mean(x).flatten().tolist() == [2.0, 1.0]


def test_rin_refuses_logits(tiny):
    with pytest.raises(InputError, match="leave rin out"):
        tiny("binomial", ("rin",))


def test_folding_keeps_edges_within_a_side(geometry):
    """The toy's boxes are alike on both sides, so one side's graph is half of all."""
    folded = geometry.folded()
    assert 2 * folded.edges.shape[1] == geometry.edges.shape[1]
    assert 2 * folded.mask.sum() == geometry.mask.sum()


def test_folding_the_endcap_keeps_what_joins_its_cells():
    geometry = Geometry.of_layout("he", edges="neighbour")
    folded = geometry.folded()
    assert 2 * folded.edges.shape[1] == geometry.edges.shape[1]


@torch.no_grad()
def test_graph_branch_equals_the_library_on_one_grid(geometry):
    torch.manual_seed(0)
    branch = GraphBranch(geometry, 6)
    x = torch.rand(2, *geometry.shape)
    cells = torch.from_numpy(np.flatnonzero(geometry.mask))
    edges = torch.from_numpy(np.searchsorted(cells.numpy(), geometry.edges))
    pool = AttentionalAggregation(branch.gate)
    for row in range(2):
        features = x[row].flatten()[cells, None]
        for convolution in branch.convolutions:
            plain = GCNConv(*convolution.lin.weight.shape[::-1])
            plain.load_state_dict(convolution.state_dict())
            features = torch.relu(plain(features, edges))
        torch.testing.assert_close(branch(x)[row], pool(features)[0])


def test_graph_network_wants_edges(geometry):
    with pytest.raises(InputError, match="give the geometry edges"):
        build(NetworkRequest("graphstad-cnn-vae-lstm"), Geometry(geometry.mask))


@torch.no_grad()
@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_networks_use_the_window_and_dense_ones_do_not(cell, tiny, toy):
    changed = toy[0].clone()
    changed[:, 0] *= 2.0
    for name, same in ((f"cnn-ae-{cell}", False), ("cnn-ae-fnn", True)):
        network = tiny(name).eval()
        now, then = (network(x).values[:, -1] for x in (toy[0], changed))
        assert torch.equal(now, then) == same


def test_variational_networks_draw_while_training_only(tiny, toy):
    network = tiny("cnn-vae-fnn")
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    draws = [network.train()(toy[0]).values for _ in range(2)]
    assert not torch.equal(*draws)
    assert torch.equal(*[network.eval()(toy[0]).values for _ in range(2)])


def test_divergence_is_that_of_two_normals():
    mean, log_variance = torch.randn(5, 3), torch.randn(5, 3)
    normal = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    expected = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(kl_divergence(mean, log_variance), expected.sum(dim=1).mean())


def test_loss_is_a_hundred_times_larger_without_a_latent_distribution():
    x, mask = torch.zeros(1, 1, 2, 2, 1), torch.ones(2, 2, 1, dtype=torch.bool)
    values, flat = x + 0.5, torch.zeros(1, 2)
    assert reconstruction_loss(Output(values), x, mask).item() == pytest.approx(25.0)
    assert reconstruction_loss(Output(values, flat, flat), x, mask).item() == pytest.approx(0.25)


def test_other_grids_and_options_are_refused(tiny, geometry):
    with pytest.raises(InputError, match="made for"):
        tiny("cnn-ae-fnn")(torch.zeros(1, 1, 4, 4, 4))
    with pytest.raises(InputError, match="latent"):
        build(NetworkRequest("cnn-ae-fnn", (), {"latnt": 3}), geometry)
    for request in (NetworkRequest("cnn-vae-lstn"), NetworkRequest("cnn-vae-lstm", ("rim",))):
        with pytest.raises(InputError, match=r"cnn-vae-lstm|rin"):
            build(request, geometry)


def test_names_are_known_without_torch():
    """`None` in ``sys.modules`` makes an import fail as if the library were not installed."""
    code = (
        "import sys; sys.modules['torch'] = None\nfrom calowatch.models.api import MODELS; print(len(MODELS))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120
    )
    assert int(done.stdout) == 35


def test_parts_that_are_complete_equal_the_graph_node_by_node(geometry):
    """The fast way and the definition: values and gradients, on boxes of unequal size too."""
    mask = geometry.mask.copy()
    mask[3, :3, 0] = False
    kept = mask.ravel()[geometry.edges].all(axis=0)
    for there in (geometry, Geometry(mask, geometry.edges[:, kept])):
        torch.manual_seed(1)
        branch = GraphBranch(there, 8)
        assert branch.shares is not None
        x = torch.rand(3, *there.shape) * torch.tensor(there.mask)
        found, wanted = branch(x), branch.by_edges(x)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-7)
        weights = list(branch.parameters())
        for mine, theirs in zip(
            torch.autograd.grad(found.square().sum(), weights),
            torch.autograd.grad(wanted.square().sum(), weights),
            strict=True,
        ):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-7)


def test_other_graphs_go_node_by_node(geometry):
    start, end = geometry.edges
    first = (start[0], end[0])
    gone = ((start == first[0]) & (end == first[1])) | ((start == first[1]) & (end == first[0]))
    branch = GraphBranch(Geometry(geometry.mask, geometry.edges[:, ~gone]), 8)
    assert branch.shares is None
    x = torch.rand(2, *geometry.shape)
    assert torch.equal(branch(x), branch.by_edges(x))


@pytest.mark.slow
def test_readout_boxes_are_complete_parts_folded_too():
    whole = Geometry.of_layout("he", edges="rbx")
    shapes = [GraphBranch(there, 4).shares.shape for there in (whole, whole.folded())]
    assert shapes == [(6768, 36), (3384, 18)]
