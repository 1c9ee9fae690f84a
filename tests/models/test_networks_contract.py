"""What holds for every network of the dict, in its tiniest variant."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from calowatch.models.api import MODELS, find_model
from calowatch.models.loss import binomial_loss, reconstruction_loss, window_error

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())


def loss_of(network, x, n_events, counts):
    found = network(x, n_events)
    if network.predicts == "logit":
        return binomial_loss(found, counts, n_events, network.mask)
    return reconstruction_loss(found, x, network.mask)


def test_answer_has_the_shape_of_the_input_and_a_gradient_everywhere(name, tiny, toy):
    network = tiny(name).train()
    found = network(toy[0], toy[1])
    assert found.values.shape == toy[0].shape
    assert torch.isfinite(found.values).all()
    assert (found.mean is not None) == ("-vae-" in name)
    loss_of(network, *toy).backward()
    for parameter, values in network.named_parameters():
        assert values.grad is not None, parameter
        assert torch.isfinite(values.grad).all(), parameter
        assert (values.grad != 0).any(), parameter


def test_wrapped_networks_answer_and_learn(name, tiny, toy):
    wrappers = ("rin", "dc") if find_model(name).predicts == "occupancy" else ("dc",)
    network = tiny(name, wrappers).train()
    assert network(toy[0], toy[1]).values.shape == toy[0].shape
    loss_of(network, *toy).backward()
    for parameter, values in network.named_parameters():
        assert values.grad is not None, parameter
        assert torch.isfinite(values.grad).all(), parameter


def test_masked_cells_are_in_nothing(name, tiny, toy):
    x, n_events, counts = toy
    mask = tiny(name).mask
    dirty, dirty_counts = x.clone(), counts.clone()
    dirty[..., ~mask] = torch.nan
    dirty_counts[..., ~mask] = 1e6
    network = tiny(name).eval()
    found, again = network(x, n_events).values, network(dirty, n_events).values
    assert torch.equal(found, again)
    assert (found[..., ~mask] == 0).all()
    assert torch.equal(loss_of(network, x, n_events, counts), loss_of(network, dirty, n_events, dirty_counts))
    error = window_error(network(dirty, n_events), dirty, mask)
    assert error[:, ~mask].isnan().all()
    assert torch.isfinite(error[:, mask]).all()


@torch.no_grad()
def test_batch_equals_one_by_one(name, tiny, toy):
    x, n_events, _ = toy
    network = tiny(name).eval()
    together = network(x, n_events).values
    alone = torch.cat([network(x[i : i + 1], n_events[i : i + 1]).values for i in range(x.shape[0])])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_saved_and_loaded_equals_to_the_bit(name, tiny, toy):
    network, other = tiny(name).eval(), tiny(name, seed=1).eval()
    before = network(toy[0], toy[1]).values
    assert not torch.equal(other(toy[0], toy[1]).values, before)
    other.load_state_dict(load(save(network.state_dict())))
    assert torch.equal(other(toy[0], toy[1]).values, before)


def fixed_weights(network):
    """Give weights the size that keeps features alive through all layers, seeded."""
    draw = torch.Generator().manual_seed(1)
    gain = 0.5 if network.predicts == "logit" else 2.0  # probabilities of neither 0 nor 1
    for values in network.parameters():
        if values.dim() > 1:
            fan_in = values[0].numel()
            values.copy_(gain * torch.randn(values.shape, generator=draw) / fan_in**0.5)
        else:
            values.copy_(torch.randn(values.shape, generator=draw).abs() * gain / 2.0)


@torch.no_grad()
def test_golden_numbers(name, tiny, toy):
    """Mean, spread and three cells of the answer. They change only together with the weights' version."""
    network = tiny(name).eval()
    fixed_weights(network)
    values = network(toy[0], toy[1]).values.double()
    found = [values.mean(), values.std(), *values[0, -1, [1, 4, 6], [0, 7, 14], 0]]
    found = [float(f"{number.item():.6g}") for number in found]
    expected = GOLDEN.get(name, [9.0] * 5)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5, err_msg=json.dumps({name: found}))


@torch.no_grad()
@pytest.mark.parametrize("rotated", [name for name, entry in MODELS.items() if entry.rotation])
@pytest.mark.parametrize("wrappers", [(), ("dc",)])
def test_rotation_by_readout_boxes_rotates_the_answer(rotated, wrappers, tiny, toy):
    network = tiny(rotated, wrappers).eval()
    x, n_events, _ = toy
    for columns in (4, 8, 12):
        turned = network(x.roll(columns, 3), n_events).values
        torch.testing.assert_close(turned, network(x, n_events).values.roll(columns, 3), rtol=1e-4, atol=1e-5)


def test_dict_says_what_networks_predict(name, tiny):
    assert tiny(name).predicts == find_model(name).predicts
