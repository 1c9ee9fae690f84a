"""Bundles of classifiers: in memory, reloaded and in every mode the same; broken ones are refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from calowatch.bundle.classifier import (
    class_logits,
    classify,
    classify_data,
    load_classifier,
    save_classifier,
)
from calowatch.bundle.dealt import deal_again, dealt_rows, load_dealt
from calowatch.bundle.manifest import bundle_kind
from calowatch.bundle.novelty import energy, fit_cloud
from calowatch.bundle.strangeness import novelty_scores, penultimate
from calowatch.core.errors import ConflictError, FormatError, InputError
from calowatch.core.training import ImageSplit, ImageTraining
from calowatch.data.image_splits import deal_images
from calowatch.data.images import image_hashes, labelled
from calowatch.metrics.ranking import roc_auc
from calowatch.models.classical import Trees, tabulate
from calowatch.train.images import ImageRun, train_classifier

MODELS = {
    "vit": {"patch": [4, 4], "dim": 8, "layers": 1, "heads": 2, "mlp": 8},
    "cnn": {"widths": [4], "head": [6]},
    "linear": {},
    "one-ring": {},
    "trees": {"iterations": 5},
}


def toy(n=120, seed=0, at=2):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    images = rng.random((n, 1, 8, 12)).astype(np.float32)
    images[:, 0, at] += labels[:, None]
    return labelled(images, labels, ["a", "b"])


def trained(name, loss="cross_entropy"):
    recipe = ImageTraining.model_validate(
        {
            "task": "images",
            "summary": "a test",
            "data": {"kind": "runs", "steps": ["standard"] if name != "trees" else []},
            "network": {"name": name, "options": MODELS[name]},
            "loss": {"kind": loss},
            "optimiser": {"lr": 1e-2},
            "fit": {"batch": 16, "epochs": 2},
        }
    )
    return train_classifier(recipe, toy(), ImageRun(device="cpu"))


@pytest.fixture(scope="module", params=[*MODELS, "vit binary"])
def bundle(request):
    name, _, binary = request.param.partition(" ")
    return trained(name, "binary" if binary else "cross_entropy").bundle


def test_a_bundle_comes_back_as_it_was(bundle, tmp_path):
    save_classifier(tmp_path / "b", bundle, lambda folder: (folder / "card.md").write_text("card"))
    again = load_classifier(tmp_path / "b")
    images = toy(20, 5).images.read(np.arange(20))
    np.testing.assert_array_equal(classify(again, images), classify(bundle, images))
    assert bundle_kind(tmp_path / "b") == "classifier"
    assert (again.classes, again.name, again.geometry) == (bundle.classes, bundle.name, bundle.geometry)
    assert "card.md" in again.manifest["sha256"]
    for score, values in novelty_scores(bundle, toy(20, 5)).items():
        np.testing.assert_array_equal(novelty_scores(again, toy(20, 5))[score], values)
    save_classifier(tmp_path / "b", bundle)


def test_batches_change_nothing(bundle):
    data = toy(30, 1)
    images = data.images.read(np.arange(30))
    whole = classify(bundle, images)
    np.testing.assert_allclose(classify(bundle, images, batch=7), whole, atol=1e-6)
    np.testing.assert_allclose(classify_data(bundle, data, np.arange(30)), whole, atol=1e-6)
    np.testing.assert_allclose(whole.sum(axis=1), 1, rtol=1e-5)
    assert classify(bundle, images[:0]).shape == (0, 2)


def test_probabilities_are_those_of_the_calibrated_logits(bundle):
    images = toy(10, 1).images.read(np.arange(10))
    logits = class_logits(bundle, images).astype(np.float64) / bundle.temperature
    expected = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    np.testing.assert_allclose(classify(bundle, images)[:, 1], expected, rtol=1e-4, atol=1e-6)


def test_input_of_another_shape_is_refused(bundle):
    images = toy(4).images.read(np.arange(4))
    with pytest.raises(InputError, match="with the channels"):
        classify(bundle, images[:, :, :-1])
    with pytest.raises(InputError, match="with 2"):
        classify(bundle, images, np.zeros((4, 2)))
    images[1, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="finite"):
        classify(bundle, images)


def test_half_precision_is_near():
    found = trained("vit").bundle
    images = toy(50, 3).images.read(np.arange(50))
    assert (
        np.abs(classify(found, images, mode="bfloat16") - classify(found, images, mode="float32")).max()
        < 0.05
    )
    with pytest.raises(InputError, match="classical"):
        classify(trained("linear").bundle, images, mode="bfloat16")


def test_broken_bundles_are_refused(tmp_path):
    folder = tmp_path / "b"
    with pytest.raises(FormatError, match="calowatch train"):
        load_classifier(folder)
    save_classifier(folder, trained("linear").bundle)
    manifest = (folder / "manifest.json").read_text()
    (folder / "model.npz").write_bytes(b"x")
    with pytest.raises(FormatError, match="manifest names"):
        load_classifier(folder)
    for change in ({"schema": 2}, {"kind": "network"}, {"geometry": {}}, {"recipe": {}}):
        (folder / "manifest.json").write_text(json.dumps({**json.loads(manifest), **change}))
        with pytest.raises(FormatError):
            load_classifier(folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("x")
    with pytest.raises(ConflictError):
        save_classifier(tmp_path / "other", trained("linear").bundle)


EDITS = {
    "n_parameters: Field required": {"n_parameters": ...},
    "n_parameters: Input should be a valid integer": {"n_parameters": "many"},
    "sha256: Input should be a valid": {"sha256": []},
    "sources: Input should be a valid": {"sources": "x"},
    "temperature: Input should be a valid number": {"temperature": "warm"},
    "temperature: Input should be greater than 0": {"temperature": 0},
    "training: Field required": {"training": ...},
    "model trees, but a recipe of linear": {"model": "trees"},
    "geometry that does not fit": {"channels": ["a", "b"]},
    "classes b, a, but a, b": {"classes": ["b", "a"], "split": {"images": {"train": {"a": 1, "b": 1}}}},
    "sha256 without split.npz": {"split": {"images": {}}},
    "but no split": {"sources": [{"name": "a.npy", "sha256": "0"}]},
}


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edited") / "b"
    save_classifier(folder, trained("linear").bundle)
    return folder


@pytest.mark.parametrize("words", EDITS)
def test_edited_manifests_are_refused(linear, words):
    path = linear / "manifest.json"
    whole = path.read_text()
    edited = {key: value for key, value in {**json.loads(whole), **EDITS[words]}.items() if value is not ...}
    path.write_text(json.dumps(edited))
    try:
        with pytest.raises(FormatError, match=words) as told:
            load_classifier(linear)
    finally:
        path.write_text(whole)
    assert "manifest.json" in str(told.value)
    load_classifier(linear)


def test_weights_of_another_network_are_named(tmp_path):
    for name, network, words in (
        ("linear", "one-ring", "without the array"),
        ("cnn", "vit", "Missing key|size mismatch"),
    ):
        folder = tmp_path / name
        save_classifier(folder, trained(name).bundle)
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["model"] = manifest["recipe"]["network"]["name"] = network
        manifest["recipe"]["network"]["options"] = MODELS[network]
        (folder / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(FormatError, match=words) as told:
            load_classifier(folder)
        assert told.value.where == str(folder)


# -- strangers ----------------------------------------------------------------------------------------------------


def test_strangers_are_told_by_image_and_features():
    found = trained("cnn").bundle
    own, other = toy(100, 7), toy(100, 8)
    far = labelled(other.images.read(np.arange(100)) * 3.0, np.zeros(100, int), ["a", "b"])
    mine, theirs = novelty_scores(found, own), novelty_scores(found, far)
    truth = np.repeat([False, True], 100)
    for score in ("image", "features"):
        assert roc_auc(truth, np.concatenate([mine[score], theirs[score]])) > 0.95
        assert (theirs[score] > found.novelty.thresholds[score]).mean() > 0.8
        assert (mine[score] > found.novelty.thresholds[score]).mean() < 0.2
    assert set(mine) == {"energy", "image", "features"}


@pytest.mark.parametrize("d", [5, 300])
def test_distances_in_clouds_are_mahalanobis(d):
    rng = np.random.default_rng(0)
    n = 200
    labels = np.arange(n) % 2
    spread = np.linspace(1, 3, d)
    values = rng.normal(0, spread, (n, d)) + 10 * labels[:, None]
    cloud = fit_cloud(values, labels, components=d)
    away = values - np.stack([values[labels == c].mean(0) for c in (0, 1)])[labels]
    covariance = away.T @ away / (n - 2)
    if d < n:
        expected = np.einsum("ij,jk,ik->i", away, np.linalg.inv(covariance), away) / d
        np.testing.assert_allclose(cloud.distance(values), expected, rtol=1e-6)
    assert cloud.distance(values).mean() < 1.1
    assert cloud.distance(values + 50).min() > cloud.distance(values).max()


def test_energy_is_minus_the_log_sum_exp():
    logits = np.array([[1.0, 2.0], [800.0, 800.0]])
    np.testing.assert_allclose(energy(logits), [-np.log(np.exp(1) + np.exp(2)), -800 - np.log(2)])


def test_what_the_last_layer_sees():
    images = toy(6).images.read(np.arange(6))
    made = trained("cnn").bundle
    assert penultimate(made, *made.prepared(images)).shape == (6, 6)
    assert penultimate(trained("linear").bundle, images, np.zeros((6, 0), np.float32)) is None


# -- who learned from what ----------------------------------------------------------------------------------------


def test_sides_are_dealt_again_whatever_the_order_of_the_files(tmp_path):
    data = toy(60)
    sides = deal_images(data, ImageSplit(), 0)
    sources = [{"name": name, "sha256": name * 3} for name in ("a", "b")]
    dealt_rows(data, sides, sources).save(tmp_path)
    dealt = load_dealt(tmp_path)
    order = np.argsort(data.table["source"] == "a", kind="stable")
    turned = data.some(order)
    again = deal_again(dealt, turned, {"a": "aaa", "b": "bbb"}, sources)
    for side in ("train", "validation", "test"):
        np.testing.assert_array_equal(np.sort(order[again.of(side)]), sides.of(side))
    assert np.isin(image_hashes(data, sides.train), dealt.learned).all()
    assert not np.isin(image_hashes(data, sides.test), dealt.learned).any()
    assert deal_again(dealt, turned, {"a": "other", "b": "another"}, sources) is None
    with pytest.raises(InputError, match="some of both"):
        deal_again(dealt, turned, {"a": "aaa", "b": "another"}, sources)
    (tmp_path / "split.npz").write_bytes(b"x")
    with pytest.raises(FormatError, match="sides of a split"):
        load_dealt(tmp_path)


def test_the_folder_of_logs_is_told_from_a_bundle(tmp_path):
    (tmp_path / "vit.training").mkdir()
    with pytest.raises(FormatError, match=r"found the logs of a training. Fix: give vit, or finish it"):
        load_classifier(tmp_path / "vit.training")
    with pytest.raises(FormatError, match="found nothing of that name"):
        load_classifier(tmp_path / "none")


def jet_trees():
    """Return one tree of one leaf on observables of jets, with names as they are kept now."""
    nodes = {name: np.zeros(1, np.int64) for name in ("root", "feature", "left", "right")}
    names = np.array(tabulate("jets", np.zeros((0, 3, 125, 125)), np.zeros((0, 2)))[0])
    numbers = {"baseline": np.zeros(()), "threshold": np.zeros(1), "value": np.ones(1)}
    return Trees(observables=np.array("jets"), names=names, **nodes, **numbers)


def test_trees_on_observables_of_jets_that_are_no_more_are_refused(tmp_path):
    made = trained("trees").bundle
    save_classifier(tmp_path / "now", replace(made, network=jet_trees()))
    assert load_classifier(tmp_path / "now").network.names.tolist() == jet_trees().names.tolist()

    def without_names(folder):
        arrays = jet_trees().arrays()
        del arrays["names"]
        np.savez_compressed(folder / "model.npz", **arrays)

    save_classifier(tmp_path / "before", replace(made, network=jet_trees()), without_names)
    with pytest.raises(
        ConflictError, match=r"before: .* those of an earlier version. Fix: train these trees again"
    ):
        load_classifier(tmp_path / "before")


def test_trees_judge_only_by_the_observables_they_were_grown_on():
    trees = jet_trees()
    images = np.zeros((2, 3, 125, 125), np.float32)
    assert trees.logits(images, np.zeros((2, 2), np.float32)).tolist() == [[1.0], [1.0]]
    with pytest.raises(ConflictError, match="scalar 1"):
        trees.logits(images, np.zeros((2, 1), np.float32))


def test_trees_on_other_observables_are_read_without_names():
    arrays = trained("trees").bundle.network.arrays()
    assert arrays.pop("names").tolist()[0] == "channel 0 row 0"
    assert Trees.of(arrays).logits(toy().images.read(np.arange(3)), np.zeros((3, 0))).shape == (3, 1)
