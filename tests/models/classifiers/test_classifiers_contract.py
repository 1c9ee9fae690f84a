"""What holds for every image classifier of the dict, in its tiniest variants."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load, save

from calowatch.bundle.classifier_onnx import export_classifier
from calowatch.bundle.classifier_rewriting import quantisable, simplified
from calowatch.core.errors import InputError
from calowatch.models.classifier import probabilities
from calowatch.models.classifiers import CLASSIFIERS

GOLDEN = json.loads((Path(__file__).parent / "golden_classifiers.json").read_text())


def test_every_classifier_of_the_dict_is_tried(variants):
    assert {made.name for made in variants.values()} == set(CLASSIFIERS)


def test_answer_has_its_shape_and_every_parameter_a_gradient(variant, tiny, batch, variants):
    network = tiny(variant).train()
    x, scalars = batch(variant)
    found = network(x, scalars)
    assert found.logits.shape == (5, variants[variant].geometry.outputs)
    assert torch.isfinite(found.logits).all()
    torch.testing.assert_close(probabilities(found.logits).sum(1), torch.ones(5))
    weights = torch.linspace(-1.0, 1.0, found.logits.numel()).reshape(found.logits.shape)
    loss = (found.logits.square() * weights).sum() + sum(found.losses.values())
    loss.backward()
    for parameter, values in network.named_parameters():
        assert values.grad is not None, parameter
        assert torch.isfinite(values.grad).all(), parameter
        assert (values.grad != 0).any(), parameter


def test_empty_images_give_finite_answers(variant, tiny, batch):
    network = tiny(variant).train()
    x, scalars = batch(variant)
    x[1:3] = 0.0
    for empty in (x, torch.zeros_like(x)):
        logits = network(empty, scalars).logits
        assert torch.isfinite(logits).all()
        network.zero_grad()
        logits.square().sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
    assert torch.isfinite(network.eval()(torch.zeros_like(x), scalars).logits).all()


@torch.no_grad()
def test_batch_equals_one_by_one(variant, tiny, batch):
    network = tiny(variant).eval()
    x, scalars = batch(variant)
    together = network(x, scalars).logits
    alone = torch.cat([network(x[n : n + 1], scalars[n : n + 1]).logits for n in range(5)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_input_is_left_as_it_is(variant, tiny, batch):
    x, scalars = batch(variant)
    before = x.clone(), scalars.clone()
    tiny(variant).eval()(x, scalars)
    assert torch.equal(x, before[0])
    assert torch.equal(scalars, before[1])


@torch.no_grad()
def test_saved_and_loaded_equals_to_the_bit(variant, tiny, batch):
    network, other = tiny(variant).eval(), tiny(variant, seed=7).eval()
    given = batch(variant)
    before = network(*given).logits
    assert not torch.equal(other(*given).logits, before)
    other.load_state_dict(load(save(network.state_dict())))
    assert torch.equal(other(*given).logits, before)


@torch.no_grad()
def test_golden_numbers(variant, tiny, batch):
    """Logits of two images. They change only together with the weights' version."""
    found = [float(f"{number:.6g}") for number in tiny(variant).eval()(*batch(variant, 2)).logits.flatten()]
    expected = GOLDEN.get(variant, [9.0])
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5, err_msg=json.dumps({variant: found}))


def test_another_shape_is_refused(variant, tiny, batch):
    network = tiny(variant)
    x, scalars = batch(variant)
    with pytest.raises(InputError, match="input of the network"):
        network(x[..., :-1], scalars)
    with pytest.raises(InputError, match="numbers beside"):
        network(x, torch.zeros(5, scalars.shape[1] + 1))


def test_attention_is_asked_for_and_agrees_with_the_fused_path(attentive, tiny, batch):
    network = tiny(attentive).eval()
    given = batch(attentive)
    found = network(*given, attention=True)
    assert network(*given).attention == ()
    torch.testing.assert_close(found.logits, network(*given).logits, rtol=0.0, atol=1e-5)
    assert len(found.attention) == len(network.blocks)
    for weights in found.attention:
        assert weights.shape[0] == 5
        assert weights.shape[2] == weights.shape[3] > 1
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:3]))
        assert weights.std(-1).max() > 1e-3
    for gradient in torch.autograd.grad(found.logits[:, 0].sum(), found.attention):
        assert (gradient != 0).any()


@torch.no_grad()
def test_tokens_without_their_mean_compute_the_same(variant, tiny, batch):
    network = tiny(variant).train()
    given = batch(variant)
    torch.testing.assert_close(
        simplified(network)(*given).logits, network.eval()(*given).logits, rtol=1e-5, atol=1e-5
    )


def exported_agrees(network, given, folder):
    """ONNX Runtime answers as torch does, in batches of any size, and in 8 bits nearly so."""
    x, scalars = given
    files = export_classifier(network, folder, x.numpy(), scalars.numpy())
    assert [one.mode for one in files] == (["onnx", "int8"] if quantisable(network) else ["onnx"])
    assert files[0].largest_logit_difference < 1e-4
    assert files[-1].largest_difference < 0.08
    plain = onnxruntime.InferenceSession(files[0].path, providers=["CPUExecutionProvider"])
    names = [one.name for one in plain.get_inputs()]
    some = dict(zip(names, (x[:3].numpy(), scalars[:3].numpy()), strict=False))
    with torch.no_grad():
        expected = network.eval()(x[:3], scalars[:3]).logits.numpy()
    np.testing.assert_allclose(plain.run(None, some)[0], expected, atol=1e-4)


@pytest.mark.slow
def test_exported_agrees(variant, tiny, batch, tmp_path):
    exported_agrees(tiny(variant), batch(variant, 21), tmp_path)


def test_one_exported_agrees(tiny, batch, tmp_path):
    """The others take seconds each; tests of the exporter use a transformer."""
    exported_agrees(tiny("convnet"), batch("convnet", 21), tmp_path)
