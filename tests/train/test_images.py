"""Training of image classifiers: losses, batches, classical models, every shipped recipe."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from calowatch.bundle.classifier import classify, classify_data, load_classifier
from calowatch.bundle.classifier_onnx import multiplies_bytes
from calowatch.bundle.engines import TRUSTED
from calowatch.core.errors import ConflictError, InputError
from calowatch.core.recipe import shipped_recipes
from calowatch.core.training import ImageSplit, ImageTraining, LossRecipe, load_training
from calowatch.data.image_preparation import fit_preparation
from calowatch.data.image_splits import deal_images
from calowatch.data.images import labelled, pick_channels
from calowatch.io.egamma import CHANNELS as CROP_CHANNELS
from calowatch.io.jets import CHANNELS as JET_CHANNELS
from calowatch.io.jets import SCALARS
from calowatch.metrics.ranking import roc_auc
from calowatch.models.classical import CLASSICAL, Trees
from calowatch.train import classical
from calowatch.train.image_batches import ImageBatches, NearShuffle
from calowatch.train.image_fit import _validated
from calowatch.train.image_module import classification_loss, macro_auc
from calowatch.train.images import ImageRun, train_classifier, train_images
from calowatch.train.request import TrainRequest, training_folder

IMAGE_RECIPES = sorted(
    name for name, path in shipped_recipes().items() if 'task = "images"' in path.read_text()
)


def toy(n=200, *, kind="runs", shape=(1, 8, 12), strength=0.5, seed=0, classes=("a", "b")):
    """Images whose row 2 tells the classes apart, one image in ten not."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % len(classes)
    images = rng.random((n, *shape)).astype(np.float32)
    images[:, :, 2] += strength * (labels * rng.choice([0, 1], n, p=[0.1, 0.9]))[:, None, None]
    return labelled(images, labels, classes, kind=kind)


def recipe(**changes):
    given = {
        "task": "images",
        "summary": "a test",
        "data": {"kind": "runs", "split": {"by": "stratified"}, "steps": ["standard"]},
        "network": {"name": "vit", "options": {"patch": [4, 4], "dim": 8, "layers": 1, "heads": 2, "mlp": 8}},
        "optimiser": {"name": "adamw", "lr": 1e-2},
        "fit": {"batch": 32, "epochs": 3},
    }
    return ImageTraining.model_validate(given | changes)


# -- losses and batches -------------------------------------------------------------------------------------------


def test_binary_loss_is_cross_entropy_of_two_logits():
    z, y = torch.randn(50), (torch.arange(50) % 3 == 0).long()
    weights = torch.tensor([0.5, 2.0])
    two = torch.stack([torch.zeros(50), z], dim=1)
    for smooth in (0.0, 0.2):
        for weight in (None, weights if not smooth else None):
            one = LossRecipe(kind="binary", label_smoothing=smooth)
            both = LossRecipe(kind="cross_entropy", label_smoothing=smooth)
            torch.testing.assert_close(
                classification_loss(z[:, None], y, one, weight), classification_loss(two, y, both, weight)
            )


def test_the_monitored_auc_is_that_of_the_metrics():
    y, z = torch.arange(60) % 2, torch.randn(60)
    expected = roc_auc(y.numpy() == 1, z.numpy())
    assert macro_auc(y, z[:, None]) == pytest.approx(expected)
    assert macro_auc(y, torch.stack([-z, z], 1)) == pytest.approx(expected)
    assert np.isnan(macro_auc(torch.zeros(4), torch.randn(4, 1)))
    three = torch.nn.functional.one_hot(torch.arange(9) % 3).float()
    assert macro_auc(torch.arange(9) % 3, three) == 1.0


@pytest.mark.parametrize("kept", [True, False])
def test_batches_are_the_same_kept_or_read(monkeypatch, kept):
    monkeypatch.setattr("calowatch.train.image_batches.KEPT_AT_MOST", 10**9 if kept else 0)
    data, rows = toy(40), np.array([3, 9, 1])
    preparation = fit_preparation(data, rows, recipe().data.steps)
    batches = ImageBatches(data, rows, preparation)
    assert batches.kept is kept
    x, scalars, y = batches.__getitems__([2, 0]).batch
    expected = preparation.transform(data.images.read(np.array([1, 3])))
    np.testing.assert_array_equal(x.numpy(), expected)
    assert (scalars.shape, y.tolist()) == ((2, 0), [1, 1])
    torch.testing.assert_close(batches[2][0], x[0])


def test_data_larger_than_the_memory_are_shuffled_by_stretches():
    order = NearShuffle(1000, 3, stretch=10, together=5)
    first, again = list(order), list(order)
    assert sorted(first) == list(range(1000))
    assert first == again
    order.set_epoch(1)
    assert list(order) != first
    assert all(len({item // 10 for item in first[k : k + 50]}) == 5 for k in range(0, 1000, 50))


@pytest.mark.parametrize(
    ("kind", "shape", "centre"), [("egamma", (2, 32, 32), (15, 15)), ("jets", (3, 125, 125), (62, 62))]
)
def test_mirrors_keep_the_centre_and_are_their_own_inverse(kind, shape, centre):
    data = toy(16, kind=kind, shape=shape)
    preparation = fit_preparation(data, np.arange(16), ())
    plain = ImageBatches(data, np.arange(16), preparation)
    mirrored = ImageBatches(data, np.arange(16), preparation, ("mirror_iphi", "mirror_ieta"))
    x, z = (each.__getitems__(list(range(16))).batch[0] for each in (plain, mirrored))
    torch.testing.assert_close(x[..., centre[0], centre[1]], z[..., centre[0], centre[1]])
    assert not torch.equal(x, z)
    torch.testing.assert_close(x.sum(dim=(1, 2, 3)), z.sum(dim=(1, 2, 3)))
    torch.testing.assert_close(z, mirrored.__getitems__(list(range(16))).batch[0])


def test_mirrors_of_a_whole_detector_keep_wide_cells_on_even_columns():
    images = np.zeros((64, 1, 64, 72), np.float32)
    images[:, 0, 5, 10] = 1.0
    data = labelled(images, np.zeros(64, int), ["a"])
    batches = ImageBatches(data, np.arange(64), fit_preparation(data, np.arange(64), ()), ("mirror_iphi",))
    columns = {int(c) for c in batches.__getitems__(list(range(64))).batch[0].nonzero()[:, 3]}
    assert columns == {10, 60}


# -- networks -----------------------------------------------------------------------------------------------------


def test_training_learns_and_is_repeatable():
    data = toy(400, strength=1.0)
    run = ImageRun(device="cpu")
    first, second = (train_classifier(recipe(), data, run) for _ in range(2))
    assert first.figures(data)["roc_auc"] > 0.8
    assert first.history["val_auc"].iloc[-1] > 0.8
    assert {"train_loss", "val_loss", "val_accuracy", "train_accuracy"} <= set(first.history)
    np.testing.assert_array_equal(classify_data(first.bundle, data), classify_data(second.bundle, data))


def test_sides_may_be_given():
    data = toy(100)
    sides = deal_images(data, ImageSplit(by="random"), 5)
    trained = train_classifier(recipe(), data, ImageRun(device="cpu", max_steps=2, novelty=False), sides)
    assert trained.sides is sides
    assert trained.bundle.novelty is None


def test_a_mixture_of_experts_tells_how_it_routes():
    options = {"patch": [4, 4], "edge": "error", "dim": 8, "layers": 2, "heads": 2, "mlp": 8, "experts": 3}
    made = recipe(
        network={"name": "moe-vit", "options": {**options, "router": "top-k"}},
        loss={"balance": 0.01, "z": 0.001},
    )
    history = train_classifier(made, toy(100), ImageRun(device="cpu", max_steps=2)).history
    last = history.iloc[-1]
    assert last[[f"load_1_{expert}" for expert in range(3)]].sum() == pytest.approx(1.0)
    assert 0 <= last["routing_mean_entropy"] <= np.log(3) + 1e-6
    assert {"routing_balance", "routing_dead", "routing_token_entropy", "experts_cka"} <= set(history)


def test_three_classes_and_class_weights():
    data = toy(150, classes=("a", "b", "c"))
    made = recipe(loss={"class_weights": True})
    trained = train_classifier(made, data, ImageRun(device="cpu", max_steps=3))
    p = classify_data(trained.bundle, data)
    assert p.shape == (150, 3)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    with pytest.raises(InputError, match=r"set loss\.kind to cross_entropy"):
        train_classifier(recipe(loss={"kind": "binary"}), data)


# -- classical models ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(CLASSICAL))
def test_classical_models_learn(name):
    data = toy(400, strength=1.0)
    trained = train_classifier(recipe(network={"name": name}), data)
    assert trained.figures(data)["roc_auc"] > 0.85
    assert trained.history.empty


def test_one_ring_finds_the_ring():
    trained = train_classifier(recipe(network={"name": "one-ring"}), toy(300, strength=1.0))
    assert int(trained.bundle.network.row) == 2
    given = train_classifier(recipe(network={"name": "one-ring", "options": {"row": 5}}), toy(300))
    assert int(given.bundle.network.row) == 5


@pytest.mark.parametrize("n", [300, 3000])
def test_trees_as_arrays_answer_as_scikit_learn_does(monkeypatch, n):
    kept = []
    fit = HistGradientBoostingClassifier.fit
    monkeypatch.setattr(
        HistGradientBoostingClassifier, "fit", lambda model, x, y: kept.append((fit(model, x, y), x))
    )
    data = toy(n, seed=2)
    made = recipe(network={"name": "trees", "options": {"iterations": 30}}, data={"kind": "runs"})
    trained = train_classifier(made, data, ImageRun(novelty=False))
    model, table = kept[0]
    rows = trained.sides.train
    assert isinstance(trained.bundle.network, Trees)
    logits = trained.bundle.network.logits(data.images.read(rows), data.scalars[rows])
    np.testing.assert_allclose(logits[:, 0], model.decision_function(table), rtol=1e-5, atol=1e-6)


def test_unknown_options_of_classical_models_are_refused():
    with pytest.raises(InputError, match="strength"):
        train_classifier(recipe(network={"name": "linear", "options": {"strenght": 1}}), toy(50))
    with pytest.raises(InputError, match="count rows"):
        train_classifier(recipe(network={"name": "one-ring", "options": {"row": 99}}), toy(50))
    with pytest.raises(InputError, match="two"):
        train_classifier(recipe(network={"name": "trees"}), toy(60, classes=("a", "b", "c")))


def test_linear_models_that_would_not_fit_the_memory_are_refused(monkeypatch):
    monkeypatch.setattr(classical, "_MOST_BYTES", 1000)
    with pytest.raises(InputError, match="fewer of each class"):
        train_classifier(recipe(network={"name": "linear"}), toy(50))


# -- shipped recipes ----------------------------------------------------------------------------------------------

SHAPES = {"runs": (1, 64, 72), "egamma": (2, 32, 32), "jets": (3, 125, 125)}
PUBLISHED = {"runs-vit-keras": 556_033, "egamma-two-branch": 12_992, "jets-three-input": 22_798}
CHANNELS = {"runs": ("occupancy",), "egamma": CROP_CHANNELS, "jets": JET_CHANNELS}


def like(made: ImageTraining):
    """Images of the recipe's kind, two in three of their pixels empty, with the scalars it wants."""
    kind, n = made.data.kind, 30
    data = toy(n, kind=kind, shape=SHAPES[kind])
    rng = np.random.default_rng(0)
    images = data.images.read(np.arange(n)) * (rng.random((n, *SHAPES[kind])) < 0.3)
    scalars = rng.random((n, len(made.data.scalars))).astype(np.float32)
    whole = replace(
        labelled(images, data.labels, data.classes, kind=kind),
        channels=CHANNELS[kind],
        scalars=scalars,
        scalar_names=made.data.scalars,
    )
    assert set(made.data.scalars) <= set(SCALARS) or kind != "jets" or made.network.name == "trees"
    return pick_channels(whole, made.data.channels)


@pytest.mark.parametrize("name", IMAGE_RECIPES)
def test_every_shipped_recipe_trains(name):
    made = load_training(shipped_recipes()[name])
    assert isinstance(made, ImageTraining)
    split = ImageSplit(by="stratified", train=0.6, validation=0.2, test=0.2)
    fit = made.fit.model_copy(update={"batch": min(made.fit.batch, 8)})
    made = made.model_copy(update={"data": made.data.model_copy(update={"split": split}), "fit": fit})
    data = like(made)
    trained = train_classifier(made, data, ImageRun(device="cpu", max_steps=2, novelty=False))
    p = classify_data(trained.bundle, data, trained.sides.test)
    assert np.isfinite(p).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-4)
    n_parameters = trained.bundle.manifest["n_parameters"]
    assert n_parameters == PUBLISHED.get(name, n_parameters)


# -- the verb -----------------------------------------------------------------------------------------------------


def test_the_verb_writes_a_bundle(two_runs, tmp_path):
    out = tmp_path / "models" / "vit"
    options = {"patch": [32, 36], "dim": 8, "layers": 1, "heads": 2, "mlp": 8}
    made = recipe(network={"name": "vit", "options": options}, fit={"batch": 16, "epochs": 2})
    found = train_images(made, TrainRequest(out, two_runs, device="cpu", seed=3))
    assert {path.name for path in out.iterdir()} == {
        "card.md",
        "classifier-int8.onnx",
        "classifier.onnx",
        "curves.png",
        "exported.json",
        "figures.json",
        "manifest.json",
        "metrics.csv",
        "novelty.npz",
        "preparation.json",
        "preparation.npz",
        "split.npz",
        "weights.safetensors",
    }
    assert len(pd.read_csv(out / "metrics.csv")) == 2
    assert not list(training_folder(out).glob("*.ckpt"))
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["recipe"]["seed"] == 3
    assert manifest["split"]["shared_rows"] == 0
    assert [each["images"] for each in manifest["sources"]] == [60, 60]
    assert str(tmp_path) not in (out / "manifest.json").read_text() + (out / "card.md").read_text()
    assert json.loads((out / "figures.json").read_text())["side"] == "test"
    images = np.load(two_runs[0])[:5, None]
    again = load_classifier(out)
    exact = classify(found.bundle, images, mode="float32")
    np.testing.assert_array_equal(classify(again, images, mode="float32"), exact)
    modes = {"auto": TRUSTED, "onnx": 1e-5, "bfloat16": 0.05} | ({"int8": 0.1} if multiplies_bytes() else {})
    for mode, near in modes.items():
        assert np.abs(classify(again, images, mode=mode) - exact).max() < near
    assert found.summary["figures"]["accuracy"]["value"] == found.figures["accuracy"].value
    plain = made.model_copy(update={"export": False})
    train_images(plain, TrainRequest(out, two_runs, device="cpu", epochs=1))
    with pytest.raises(InputError, match="one without"):
        classify(load_classifier(out), images, mode="onnx")
    assert len(pd.read_csv(out / "metrics.csv")) == 1


def test_a_trial_is_not_exported_and_still_classifies(two_runs, tmp_path):
    options = {"patch": [32, 36], "dim": 8, "layers": 1, "heads": 2, "mlp": 8}
    made = recipe(network={"name": "vit", "options": options}, fit={"batch": 16, "epochs": 2})
    out = tmp_path / "vit"
    train_images(made, TrainRequest(out, two_runs, device="cpu", max_steps=1))
    assert not [path.name for path in out.iterdir() if "onnx" in path.name or "exported" in path.name]
    found = load_classifier(out)
    assert "max_steps = 1" in found.manifest["not_exported"]
    images = np.load(two_runs[0])[:5, None]
    np.testing.assert_array_equal(classify(found, images), classify(found, images, mode="float32"))


def test_wrong_classes_are_told_with_the_files(two_runs, tmp_path):
    request = TrainRequest(tmp_path / "a", two_runs[:1], device="cpu")
    with pytest.raises(InputError, match=rf"{two_runs[0].name}.*alone"):
        train_images(recipe(), request)
    named = {"kind": "runs", "classes": ["355456", "357479"]}
    with pytest.raises(InputError, match=rf"{two_runs[0].name}.*none of run 35"):
        train_images(recipe(data=named), request)
    three = toy(30, classes=("a", "b", "c"))
    with pytest.raises(InputError, match=r"toy\.npy.*3: a, b, c"):
        train_classifier(
            recipe(loss={"kind": "binary"}), replace(three, table=three.table.assign(source="toy.npy"))
        )


def test_a_recipe_may_name_its_files(two_runs, tmp_path):
    made = recipe(network={"name": "one-ring"})
    named = made.model_copy(
        update={"data": made.data.model_copy(update={"files": tuple(map(str, two_runs))})}
    )
    assert train_images(named, TrainRequest(tmp_path / "a")).figures["accuracy"].value == 1.0
    with pytest.raises(InputError, match="--data"):
        train_images(made, TrainRequest(tmp_path / "b"))


def test_something_else_in_the_way_is_left_alone(two_runs, tmp_path):
    (tmp_path / "precious.txt").write_text("x")
    with pytest.raises(ConflictError, match="choose another"):
        train_images(recipe(), TrainRequest(tmp_path, two_runs))


def test_a_trial_is_validated_by_images_from_everywhere():
    rows = np.arange(100, 5100)
    seen = _validated(rows, 256, 5)
    assert len(seen) <= 5 * 256
    assert seen[0] == 100
    assert seen[-1] > 5000
    assert (_validated(rows, 256, None) == rows).all()
    assert (_validated(rows[:40], 256, 1) == rows[:40]).all()
