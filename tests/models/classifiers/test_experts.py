"""Mixtures of experts: what each router promises, its losses, and life without an expert."""

import copy

import pytest
import torch

from calowatch.core.errors import InputError
from calowatch.models.classifiers import ImageGeometry, build_classifier
from calowatch.models.experts import MixOptions, Mixture
from calowatch.models.moe_vit import expert_answers, without_expert

ROUTERS = ("dense", "top-k", "expert-choice", "soft")


def mixture(router, tokens=9, **options):
    torch.manual_seed(0)
    made = Mixture(MixOptions(6, 10, router=router, **{"experts": 3, **options}), tokens).eval()
    with torch.no_grad():
        made.inner_bias.normal_()
        made.outer_bias.normal_()
        made.router.weight.mul_(4.0)
    return made


def tokens(images=4, n=9):
    return torch.randn(images, n, 6, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
@pytest.mark.parametrize("router", ["dense", "top-k", "expert-choice"])
def test_answer_is_the_sum_of_experts_by_their_shares(router):
    made, x = mixture(router, k=2), tokens()
    found = made(x)
    expected = (found.routing[..., None] * made.answers(x)).sum(2)
    torch.testing.assert_close(found.tokens, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_soft_slots_by_hand():
    """Dispatch, experts and combination written out with loops over slots."""
    made, x = mixture("soft"), tokens(1)
    logits = made.router(x)[0]
    combined = torch.zeros(9, 6)
    for slot in range(9):
        mixed = torch.softmax(logits[:, slot], 0) @ x[0]
        answer = made.answers(mixed.reshape(1, 1, 6))[0, 0, slot // 3]
        combined += torch.softmax(logits, 1)[:, slot, None] * answer
    torch.testing.assert_close(made(x).tokens[0], combined, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_shares():
    x = tokens()
    for router in ("dense", "soft"):
        torch.testing.assert_close(mixture(router)(x).routing.sum(-1), torch.ones(4, 9))
    chosen = mixture("top-k", k=2)(x).routing
    assert ((chosen > 0).sum(-1) == 2).all()
    assert (chosen.sum(-1) < 1).all()
    picked = mixture("expert-choice", capacity=1.0)(x).routing
    assert ((picked > 0).sum(1) == 3).all()


@torch.no_grad()
def test_losses_of_an_even_and_of_a_lopsided_router():
    x = tokens(50)
    even, lopsided = mixture("dense"), mixture("top-k", k=1)
    even.router.weight.zero_()
    torch.testing.assert_close(even(x).losses["z"], torch.log(torch.tensor(3.0)) ** 2)
    lopsided.router.weight.zero_()
    lopsided.router.weight[1] = 50.0
    assert lopsided(x.abs()).losses["balance"] == pytest.approx(3.0)
    assert mixture("soft")(x).losses == {}
    assert set(mixture("expert-choice")(x).losses) == {"z"}


@pytest.mark.parametrize("router", ROUTERS)
def test_experts_begin_apart_and_the_router_learns(router):
    made = mixture(router)
    made.train()(tokens()).tokens.square().sum().backward()
    assert (made.router.weight.grad != 0).any()
    assert not torch.equal(made.inner[0], made.inner[1])


@torch.no_grad()
@pytest.mark.parametrize("router", ROUTERS)
def test_without_an_expert(router):
    options = {"patch": (16, 24), "dim": 8, "mlp": 12, "experts": 3, "router": router, "k": 2}
    torch.manual_seed(0)
    network = build_classifier("moe-vit", ImageGeometry(1, 64, 72), options).eval()
    x = torch.rand(2, 1, 64, 72)
    before, state = network(x), copy.deepcopy(network.state_dict())
    lesser = without_expert(network, 1)
    found = lesser(x)
    assert all((routing[..., 1] == 0).all() for routing in found.routing)
    assert not torch.equal(found.logits, before.logits)
    assert torch.isfinite(found.logits).all()
    assert torch.equal(network(x).logits, before.logits)
    assert all(torch.equal(values, state[name]) for name, values in lesser.state_dict().items())
    only = without_expert(network, 1, block=2)(x)
    assert [torch.equal(a, b) for a, b in zip(only.routing[:2], before.routing[:2], strict=True)] == [
        True,
        True,
    ]
    assert (only.routing[2][..., 1] == 0).all()
    if router in ("dense", "soft"):
        torch.testing.assert_close(found.routing[0].sum(-1), torch.ones_like(found.routing[0][..., 0]))


@torch.no_grad()
def test_answers_of_experts_are_those_that_are_mixed():
    torch.manual_seed(0)
    network = build_classifier("moe-vit", ImageGeometry(1, 64, 72), {"layers": 2}).eval()
    x = torch.rand(3, 1, 64, 72)
    answers = expert_answers(network, x)
    assert [one.shape for one in answers] == [(3, 5, 2, 32)] * 2
    first = network.blocks[0]
    attended, _ = first.attend(network.tokens(x), None, explicit=False)
    mixed = (network(x).routing[0][..., None] * answers[0]).sum(2)
    torch.testing.assert_close(attended + mixed, first(network.tokens(x)).tokens, rtol=1e-5, atol=1e-5)


def test_what_cannot_be_is_refused():
    network = build_classifier("moe-vit", ImageGeometry(1, 64, 72), {})
    with pytest.raises(InputError, match="below 2"):
        without_expert(network, 2)
    with pytest.raises(InputError, match="not the last"):
        without_expert(without_expert(network, 0), 1)
    for options, said in (
        ({"experts": 1}, "two experts or more"),
        ({"k": 3}, "k and capacity"),
        ({"router": "hash"}, "dense or top-k"),
    ):
        with pytest.raises(InputError, match=said):
            build_classifier("moe-vit", ImageGeometry(1, 64, 72), options)
