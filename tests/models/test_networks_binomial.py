"""Our network: does it follow conditions, know its statistics, keep to the bottleneck?"""

import numpy as np
import pytest
import torch

from calowatch.core.errors import InputError
from calowatch.models.api import NetworkRequest, build
from calowatch.models.geometry import Geometry
from calowatch.models.layers import CircularConv3d, Output
from calowatch.models.loss import binomial_loss


def still(network):
    """Make the network predict no deviation, so that only the rate of the ring is left."""
    with torch.no_grad():
        network.last.weight.zero_()
        network.last.bias.zero_()
    return network.eval()


@torch.no_grad()
def test_rate_of_the_ring_follows_each_lumisection(tiny, toy):
    x, n_events, counts = toy
    network = still(tiny("binomial"))
    p = torch.sigmoid(network(x, n_events).values)
    pull = (counts - n_events[..., None, None, None] * p)[..., network.mask]
    sigma = (n_events[..., None, None, None] * p * (1 - p))[..., network.mask].sqrt()
    assert (pull / sigma).std().item() == pytest.approx(1.0, abs=0.06)


@torch.no_grad()
def test_a_dead_box_moves_no_other(tiny, toy):
    x, n_events, _ = toy
    network = still(tiny("binomial"))
    dead = x.clone()
    dead[:, :, :, 4:8] = 0.0
    change = (network(dead, n_events).values - network(x, n_events).values)[..., network.mask]
    assert change.abs().mean() < 0.1


@torch.no_grad()
def test_lumisections_without_events_are_told_the_rate_of_the_window(tiny, toy):
    x, n_events, _ = toy
    events = n_events.clone()
    events[:, 1] = -1.0
    x = x.clone()
    x[:, 1] = torch.nan
    values = tiny("binomial").eval()(x, events).values
    assert torch.isfinite(values).all()
    network = tiny("binomial").eval()
    others = network(x[:, [0, 2]], n_events[:, [0, 2]]).values
    torch.testing.assert_close(values[:, [0, 2]], others)
    torch.testing.assert_close(values[:, 1], others.mean(1), rtol=0, atol=0.05)


@torch.no_grad()
def test_more_events_behind_the_same_occupancy_change_the_answer(tiny, toy):
    network = tiny("binomial").eval()
    x, n_events, _ = toy
    assert not torch.allclose(network(x, n_events).values, network(x, 100 * n_events).values, atol=1e-3)


def test_events_are_needed_and_sectors_must_fit(tiny, toy, geometry):
    with pytest.raises(InputError, match="give n_events"):
        tiny("binomial")(toy[0])
    with pytest.raises(InputError, match="sector"):
        build(NetworkRequest("binomial", (), {"sector": 3}), geometry)


@torch.no_grad()
@pytest.mark.parametrize("shape", [(7, 36, 4), (30, 8, 1)])
def test_odd_grids_and_single_depths_fit(shape):
    sector = 2 if shape[1] == 36 else 4
    network = build(
        NetworkRequest("binomial", (), {"latent": 1, "sector": sector}), Geometry(np.ones(shape, bool))
    )
    x, events = torch.rand(1, 2, *shape), torch.full((1, 2), 200.0)
    assert network(x, events).values.shape == x.shape


@torch.no_grad()
def test_convolution_wraps_in_iphi_only():
    convolution = CircularConv3d(1, 1)
    convolution.conv.weight.fill_(1.0)
    x = torch.zeros(1, 1, 5, 6, 4)
    x[0, 0, 2, 0, 1] = 1.0
    touched = convolution(x)[0, 0, 2].nonzero().tolist()
    assert {iphi for iphi, _ in touched} == {5, 0, 1}
    x = x.roll((-2, -1), (2, 4))
    assert {tuple(where) for where in convolution(x)[0, 0, :, 0].nonzero().tolist()} == {
        (ieta, depth) for ieta in (0, 1) for depth in (0, 1)
    }


def test_loss_is_the_binomial_likelihood_and_least_at_the_truth():
    n, events = torch.tensor([30.0, 60.0]).view(1, 1, 2, 1, 1), torch.tensor([[100.0]])
    mask = torch.ones(2, 1, 1, dtype=torch.bool)

    def loss(p):
        return binomial_loss(Output(torch.logit(p)), n, events, mask)

    p = torch.tensor([0.2, 0.7]).view_as(n)
    whole = torch.distributions.Binomial(100, p).log_prob(n) - torch.distributions.Binomial(
        100, n / 100
    ).log_prob(n)
    torch.testing.assert_close(loss(n / 100) - loss(p), whole.sum() / 200.0)
    assert loss(n / 100) < loss(p)


def test_lumisections_without_events_are_not_in_the_loss(toy):
    _, n_events, counts = toy
    mask = torch.ones(counts.shape[2:], dtype=torch.bool)
    values = torch.randn_like(counts)
    events = n_events.clone()
    events[:, 1] = -1.0
    some = binomial_loss(Output(values[:, [0, 2]]), counts[:, [0, 2]], n_events[:, [0, 2]], mask)
    torch.testing.assert_close(binomial_loss(Output(values), counts, events, mask), some)


@torch.no_grad()
def test_hidden_patches_are_predicted_from_others_only(tiny, toy):
    """The answer in a patch does not depend on that patch."""
    network = tiny("depthvit").eval()
    other = toy[0].clone()
    patch = (slice(None), slice(None), slice(0, 4), slice(4, 8), 0)
    other[patch] = 0.9
    before, after = network(toy[0]).values, network(other).values
    torch.testing.assert_close(before[patch], after[patch], rtol=0, atol=1e-6)
    assert not torch.equal(before, after)


def test_vision_transformer_takes_the_grid_of_all_subdetectors(geometry):
    with torch.device("meta"):
        network = build(NetworkRequest("depthvit"), Geometry.of_layout("dqm"))
    assert network.tiles == (7, 6)
    with pytest.raises(InputError, match="dqm"):
        build(NetworkRequest("depthvit"), geometry)


@torch.no_grad()
def test_a_response_begins_as_healthy_counts_show_it(tiny, toy):
    """Beside its ring a weak channel begins weak, and what it expects is what was counted."""
    _, n_events, counts = toy
    counts = counts.clone()
    counts[..., 4, 5, 0] = (0.5 * counts[..., 4, 5, 0]).round()
    network = tiny("binomial-response").eval()
    hits, trials = counts.double().sum(dim=(0, 1)), n_events.double().sum()
    network.start_from(hits, trials)
    assert network.response[4, 5, 0] < -0.5
    assert network.response[~network.mask].abs().max() == 0
    p = torch.sigmoid(network(counts / n_events[..., None, None, None], n_events).values)
    expected = (p * n_events[..., None, None, None]).sum(dim=(0, 1))[network.mask]
    z = (expected - hits[network.mask]) / hits[network.mask].sqrt()
    assert z.abs().mean() < 1.5
    plain = tiny("binomial")
    before = {name: values.clone() for name, values in plain.state_dict().items()}
    plain.start_from(hits, trials)
    assert all(torch.equal(values, before[name]) for name, values in plain.state_dict().items())
