"""Explainers on planted patterns: one patch decides, and every method must point at it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from calowatch.bundle.classifier import ClassifierBundle
from calowatch.core.errors import InputError, UnknownNameError
from calowatch.core.training import ImageTraining
from calowatch.data.image_preparation import ImagePreparation
from calowatch.evaluate.explain_attention import gradient_attention, last_block, rollout
from calowatch.evaluate.explain_faith import (
    Faith,
    faithfulness,
    map_correlation,
    probability_curves,
    randomisation_check,
)
from calowatch.evaluate.explain_maps import (
    METHODS,
    MapSettings,
    ToExplain,
    attention_of,
    expert_shares,
    explain_images,
    methods_of,
    seen_cells,
)
from calowatch.models.classical import Linear
from calowatch.models.classifiers import ImageGeometry, build_classifier

ROWS, COLUMNS, PATCH = 6, 14, (2, 3)  # the last two columns are not covered
PLANTED = (slice(2, 4), slice(6, 9))
VIT = {"patch": PATCH, "edge": "crop", "dim": 16, "layers": 1, "heads": 2, "mlp": 16}
MOE = VIT | {"pool": "class", "layers": 2, "dropout": 0.0}


def planted(n=64, seed=0):
    """Images of noise whose class is the sign of one patch."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    x = 0.3 * rng.normal(size=(n, 1, ROWS, COLUMNS))
    x[:, 0, *PLANTED] += (2.0 * y - 1.0)[:, None, None]
    return x.astype(np.float32), y


def in_memory(name, options, network=None, outputs=2):
    recipe = {
        "task": "images",
        "summary": "a test",
        "data": {"kind": "runs", "classes": ["a", "b"]},
        "network": {"name": name, "options": options},
    }
    geometry = ImageGeometry(1, ROWS, COLUMNS, outputs=outputs)
    manifest = {
        "model": name,
        "images": "runs",
        "classes": ["a", "b"],
        "channels": ["x"],
        "geometry": vars(geometry),
        "recipe": ImageTraining.model_validate(recipe).model_dump(mode="json"),
        "temperature": 1.0,
    }
    torch.manual_seed(0)
    built = build_classifier(name, geometry, options) if network is None else network
    return ClassifierBundle(built, ImagePreparation(), manifest)


def trained(name, options, steps=70):
    bundle = in_memory(name, options)
    network = bundle.network.train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.01)
    for step in range(steps):
        x, y = (torch.from_numpy(one) for one in planted(seed=step + 1))
        loss = nn.functional.cross_entropy(network(x).logits, y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    network.eval()
    return bundle


@pytest.fixture(scope="module")
def bundles():
    made = {
        "vit": trained("vit", VIT),
        "class token": trained("vit", VIT | {"pool": "class"}),
        "moe-vit": trained("moe-vit", MOE),
        "point-transformer": trained("point-transformer", {"points": 24, "dim": 16, "layers": 1, "heads": 2}),
        "cnn": trained("cnn", {}),
    }
    weights = np.zeros((1, ROWS * COLUMNS))
    weights.reshape(ROWS, COLUMNS)[PLANTED] = 1.0
    return made | {"linear": in_memory("linear", {}, Linear(weights, np.zeros(1)), outputs=1)}


@pytest.fixture(scope="module")
def given():
    x, y = planted(24, seed=999)
    return ToExplain(x, np.zeros((24, 0), np.float32), y)


SETTINGS = MapSettings(np.zeros((1, ROWS, COLUMNS), np.float32), window=PATCH)


def points_at(maps, target):
    """Return whether the mean map is largest in the planted patch, and the share of images whose map is.

    The share is that of the better class: a network may take one class for what is left when the other is not there,
    and then there is nothing to point at.
    """
    inside = np.zeros((ROWS, COLUMNS), bool)
    inside[PLANTED] = True
    largest = np.array([inside.ravel()[np.nanargmax(one)] for one in maps])
    known = np.nan_to_num(maps, nan=float(np.nanmin(maps)))
    return inside.ravel()[known.mean(axis=0).argmax()], max(largest[target == c].mean() for c in (0, 1))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["vit", "class token", "moe-vit", "point-transformer", "cnn", "linear"])
def test_every_method_points_at_the_planted_patch(bundles, given, name, method):
    if method not in methods_of(bundles[name]):
        assert name in ("cnn", "linear")
        with pytest.raises(InputError, match="no attention"):
            explain_images(bundles[name], method, given, SETTINGS)
        return
    maps = explain_images(bundles[name], method, given, SETTINGS)
    assert maps.shape == (24, ROWS, COLUMNS)
    mean, share = points_at(maps, given.target)
    assert mean
    # Hits are single pixels, some of noise as bright as the planted ones.
    assert share > (0.75 if name == "point-transformer" else 0.9)


def test_rows_sum_to_one_and_what_is_not_covered_is_not_seen(bundles, given):
    for name in ("vit", "class token", "moe-vit", "point-transformer"):
        x, s = (torch.from_numpy(one) for one in (given.images, given.scalars))
        for one in attention_of(bundles[name], x, s).attention:
            torch.testing.assert_close(one.sum(-1), torch.ones(one.shape[:-1]))
    for method in METHODS:
        assert np.isnan(explain_images(bundles["vit"], method, given, SETTINGS)[:, :, 12:]).all()
    assert seen_cells(bundles["vit"]).sum() == ROWS * 12
    assert seen_cells(bundles["cnn"]).all()
    cls = explain_images(bundles["vit"], "cls", given, SETTINGS)
    np.testing.assert_allclose(np.nansum(cls, axis=(1, 2)), 6.0, rtol=1e-5)  # cells of a patch


def test_attention_over_blocks_by_hand():
    a = torch.tensor([[0.8, 0.2], [0.4, 0.6]])[None, None]
    b = torch.tensor([[0.5, 0.5], [0.1, 0.9]])[None, None]
    eye = torch.eye(2)
    mixed = (0.5 * b[0, 0] + 0.5 * eye) @ (0.5 * a[0, 0] + 0.5 * eye)
    torch.testing.assert_close(rollout((a, b), 1)[0], mixed[0])
    torch.testing.assert_close(rollout((a, b), 0)[0], mixed.mean(0))
    torch.testing.assert_close(rollout((a, b), 0).sum(), torch.tensor(1.0))
    torch.testing.assert_close(last_block((a, b), 1)[0], b[0, 0, 0])
    ga, gb = torch.tensor([[1.0, -1.0], [2.0, 0.0]])[None, None], torch.ones(1, 1, 2, 2)
    one = (a * ga).clamp_min(0)[0, 0]
    expected = (eye + b[0, 0]) @ (eye + one) - eye
    torch.testing.assert_close(gradient_attention((a, b), (ga, gb), 1)[0], expected[0])


def test_constant_and_empty_attention_are_refused(given):
    bundle = in_memory("vit", VIT)
    nn.init.zeros_(bundle.network.blocks[0].attention.qkv.weight)
    nn.init.zeros_(bundle.network.blocks[0].attention.qkv.bias)
    for method in ("cls", "rollout", "gradient"):
        with pytest.raises(InputError, match=r"vit: .*constant attention"):
            explain_images(bundle, method, given, SETTINGS)
    none = in_memory("vit", VIT | {"layers": 0})
    with pytest.raises(InputError, match=r"vit: .*empty attention"):
        explain_images(none, "cls", given, SETTINGS)
    nn.init.zeros_(bundle.network.head[-1].weight)
    with pytest.raises(InputError, match="constant integrated gradients"):
        explain_images(bundle, "integrated", given, SETTINGS)


def test_methods_are_those_that_the_classifier_offers(bundles):
    assert methods_of(bundles["vit"]) == tuple(METHODS)
    assert methods_of(bundles["cnn"]) == methods_of(bundles["linear"]) == ("integrated", "occlusion")
    with pytest.raises(InputError, match="integrated or occlusion"):
        methods_of(bundles["cnn"], ("rollout",))
    with pytest.raises(UnknownNameError, match="rollout"):
        methods_of(bundles["vit"], ("rolout",))


def test_integrated_gradients_are_complete(bundles, given):
    bundle = bundles["linear"]
    maps = explain_images(bundle, "integrated", given, SETTINGS)
    logit = given.images[:, 0, *PLANTED].sum(axis=(1, 2)) * (2 * given.target - 1)
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), logit, rtol=1e-4, atol=1e-5)
    occluded = explain_images(bundle, "occlusion", given, SETTINGS)
    np.testing.assert_allclose(occluded[:, *PLANTED].mean(axis=(1, 2)), logit, rtol=1e-4, atol=1e-5)


def test_faithful_maps_beat_random_order(bundles, given):
    cells = np.ones((24, ROWS, COLUMNS), bool)
    faith = Faith(given, cells, SETTINGS.baseline, np.arange(24), steps=10)
    maps = {name: explain_images(bundles["vit"], name, given, SETTINGS) for name in METHODS}
    curves, rows = faithfulness(bundles["vit"], maps, faith)
    assert [row["method"] for row in rows] == [*METHODS, "random", "size"]
    for row in rows[:-2]:
        assert row["score_over_random_low"] > 0, row
        assert row["deletion_low"] <= row["deletion"] <= row["deletion_high"]
    for (
        each
    ) in curves.values():  # all of the image is there before any deletion, and after all of the insertion
        np.testing.assert_allclose(each.deletion[:, 0], each.insertion[:, -1], rtol=1e-5)
        np.testing.assert_allclose(each.deletion[:, -1], each.insertion[:, 0], rtol=1e-5)
    alone = faithfulness(bundles["vit"], maps, replace(faith, blocks=np.zeros(24, np.int64)))[1][0]
    assert alone["score_low"] is None
    random = randomisation_check(bundles["vit"], maps, SETTINGS, faith, ("cls", "gradient"))
    assert all(abs(each["correlation"]) < 0.9 for each in random.values())
    assert randomisation_check(bundles["linear"], maps, SETTINGS, faith, ("occlusion",)) == {}


def test_only_cells_that_take_part_are_changed(bundles, given):
    cells = np.zeros((24, ROWS, COLUMNS), bool)
    cells[:, *PLANTED] = True
    faith = Faith(given, cells, SETTINGS.baseline, np.arange(24), steps=6)
    found = probability_curves(bundles["linear"], np.full(cells.shape, np.nan), faith)
    np.testing.assert_allclose(found.deletion[:, -1], 0.5, atol=1e-6)
    assert (np.diff(found.deletion, axis=1).mean(axis=0) < 0).all()


def test_correlation_of_maps():
    one, cells = np.arange(12.0).reshape(1, 3, 4), np.ones((1, 3, 4), bool)
    assert map_correlation(one, one**3, cells) == pytest.approx(1.0)
    assert map_correlation(one, -one, cells) == pytest.approx(-1.0)
    assert map_correlation(one, np.ones_like(one), cells) == 0.0


def test_each_patch_goes_to_experts(bundles, given):
    shares = expert_shares(bundles["moe-vit"], given.images, given.scalars)
    assert shares.shape == (24, 2, 2, ROWS, COLUMNS)
    np.testing.assert_allclose(shares[..., :12].sum(axis=2), 1.0, rtol=1e-5)
    assert np.isnan(shares[..., 12:]).all()
    assert np.ptp(shares[0, 0, 0, :2, :3]) == 0
    assert expert_shares(bundles["vit"], given.images, given.scalars) is None
