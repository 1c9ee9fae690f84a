"""The transformer over hits, and what networks make of pixels before the first weight."""

import pytest
import torch

from calowatch.core.errors import InputError
from calowatch.models.classifiers import ImageGeometry, build_classifier
from calowatch.models.inputs import places, signed_log

SHAPE = ImageGeometry(2, 6, 7)


def network(**options):
    torch.manual_seed(0)
    return build_classifier("point-transformer", SHAPE, {"points": 5, "dim": 8, **options}).eval()


@torch.no_grad()
def test_hits_are_the_brightest_pixels():
    x = torch.zeros(1, 2, 6, 7)
    x[0, 0, 2, 3], x[0, 0, 4, 1], x[0, 1, 5, 6] = 0.5, 2.0, -9.0
    hits = network(bright=(0,)).hits(x)
    assert hits.real.tolist() == [[True, True, False, False, False]]
    assert (hits.row[0, :2].tolist(), hits.column[0, :2].tolist()) == ([4, 2], [1, 3])
    assert hits.values[0, 0].tolist() == [2.0, 0.0]
    of_all = network().hits(x)
    assert (of_all.row[0, 0], of_all.column[0, 0], int(of_all.real.sum())) == (5, 6, 3)


@torch.no_grad()
def test_what_is_no_hit_is_not_attended_to():
    x = torch.zeros(1, 2, 6, 7)
    x[0, 0, 2, 3], x[0, 0, 4, 1] = 0.5, 2.0
    for weights in network()(x, attention=True).attention:
        assert (weights[..., 3:] == 0).all()
        assert (weights[0, :, 0, 1:3] > 0).all()
    empty = network()(torch.zeros(1, 2, 6, 7), attention=True)
    assert (empty.attention[0][..., 0] == 1).all()


@torch.no_grad()
def test_places_matter_and_dim_pixels_beyond_the_number_of_points_do_not():
    x = torch.zeros(1, 2, 6, 7)
    x[0, 0, :5, 0] = torch.arange(1.0, 6.0)
    made = network()
    moved, fainter = x.roll(2, 3), x.clone()
    fainter[0, 0, 5, 5] = 0.5
    assert not torch.allclose(made(x).logits, made(moved).logits)
    assert torch.equal(made(x).logits, made(fainter).logits)


def test_more_points_than_pixels_are_as_many_as_there_are():
    assert network(points=100).points == 42
    with pytest.raises(InputError, match="bright channels below 2"):
        network(bright=(2,))
    with pytest.raises(InputError, match="one point or more"):
        network(points=0)


def test_signed_log_is_odd_and_linear_near_zero():
    x = torch.tensor([-3.0, 0.0, 1e-6, 3.0])
    found = signed_log(x, 0.01)
    assert found[1] == 0
    assert found[0] == -found[3] == -torch.log1p(torch.tensor(300.0))
    assert float(found[2]) == pytest.approx(1e-4, rel=1e-3)


def test_places_go_from_edge_to_edge():
    found = places(2, 4)
    assert found.shape == (2, 2, 4)
    assert found[0, :, 0].tolist() == [-0.5, 0.5]
    assert found[1, 0].tolist() == [-0.75, -0.25, 0.25, 0.75]
    with pytest.raises(InputError, match="one row"):
        places(0, 3)


@torch.no_grad()
def test_a_plain_network_may_wrap_round_iphi():
    """Columns lie in a ring, so an image turned by whole pooling cells gives the same answer."""
    torch.manual_seed(0)
    options = {"widths": (4, 8), "head": ()}
    shape = ImageGeometry(1, 8, 16)
    x = torch.rand(2, 1, 8, 16)
    wrapping = build_classifier("cnn", shape, {**options, "wrap": True}).eval()
    torch.testing.assert_close(wrapping(x).logits, wrapping(x.roll(4, 3)).logits, rtol=1e-5, atol=1e-6)
    plain = build_classifier("cnn", shape, options).eval()
    assert not torch.allclose(plain(x).logits, plain(x.roll(4, 3)).logits, rtol=1e-5, atol=1e-6)
