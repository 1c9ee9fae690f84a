"""Our network for run against run: what each cell's own standardisation gives, and that it learns what it should."""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it

from calowatch.models.classifiers import ImageGeometry, build_classifier

GEOMETRY = ImageGeometry(1, 4, 6, outputs=1)


def network(**options):
    torch.manual_seed(0)
    return build_classifier("runs-net", GEOMETRY, options)


def test_it_has_a_weight_per_cell_and_a_bias():
    full = build_classifier("runs-net", ImageGeometry(1, 64, 72, outputs=1), {})
    assert sum(each.numel() for each in full.parameters()) == 4609


def test_scale_and_offset_of_a_cell_do_not_matter():
    x = torch.randn(64, 1, 4, 6)
    plain, moved = network(), network()
    for each in (plain, moved):
        torch.nn.init.normal_(each.sum.weight, generator=torch.Generator().manual_seed(1))
    scale = torch.linspace(1.0, 900.0, 24).reshape(4, 6)
    plain(x)
    moved(3.0 + scale * x)
    torch.testing.assert_close(
        plain.eval()(x).logits, moved.eval()(3.0 + scale * x).logits, rtol=1e-3, atol=1e-3
    )


def test_few_batches_are_enough_to_know_the_cells():
    """A running mean would still be far from cells that lie at 100 and spread by 1."""
    net = network()
    for _ in range(4):
        net(100.0 + torch.randn(64, 1, 4, 6))
    assert (net.standard.running_mean - 100.0).abs().max() < 0.3


def test_cells_that_never_change_are_left_out():
    net = network()
    x = torch.randn(32, 1, 4, 6)
    x[:, :, 0] = 0.0
    net(x)
    F.binary_cross_entropy_with_logits(net(x).logits[:, 0], (torch.arange(32) < 9).float()).backward()
    assert (net.sum.weight.grad[0, :6] == 0).all()
    assert (net.sum.weight.grad[0, 6:] != 0).all()


def test_label_smoothing_makes_it_blind_to_what_a_block_shares():
    """Near least squares, the weight goes to the cell that is the same in all images of a class."""
    rng = torch.Generator().manual_seed(3)
    y = torch.arange(400) % 2
    x = 0.1 * torch.randn(400, 1, 4, 6, generator=rng)
    x[:, 0, 0, 0] += y
    shared = torch.randn(400, generator=rng)
    x[:, 0, 1, 1] += y + shared  # tells the class as well, but moves with the block
    x[:, 0, 1, 2] -= shared
    net = network()
    optimiser = torch.optim.Adam(net.parameters(), lr=0.03)
    for _ in range(300):
        logits = net(x).logits[:, 0]
        loss = F.binary_cross_entropy_with_logits(logits, y * 0.7 + 0.15)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    z = net.eval()(x).logits[:, 0].detach()
    # What a block shares moves the difference of the means, as a rule, by more than half of what separates them.
    assert max(z[y == 0].std(), z[y == 1].std()) < 0.2 * (z[y == 1].mean() - z[y == 0].mean()) / 2
    assert ((z > 0) == (y == 1)).all()
