"""Every shipped training recipe of occupancy: it trains, its size is the published one, it names data that fit it."""

import numpy as np
import pytest

from calowatch.cli.models import models
from calowatch.core.errors import InputError
from calowatch.core.recipe import DataRecipe, load_recipe, read_toml, recipe_path, shipped_recipes
from calowatch.core.training import ImageTraining, OccupancyTraining, load_training
from calowatch.detector.grids import find_layout, layout_mask
from calowatch.models.api import MODELS, NetworkRequest, build, find_model
from calowatch.models.classifiers import CLASSIFIERS, ImageGeometry, build_classifier
from calowatch.models.geometry import Geometry
from calowatch.models.sizes import SIZES
from calowatch.train.catalogue import catalogue
from calowatch.train.occupancy import train_occupancy
from calowatch.train.request import TrainRequest

TRAINING = {name: read_toml(path) for name, path in shipped_recipes().items()}
OCCUPANCY = sorted(name for name, told in TRAINING.items() if told.get("task") == "occupancy")
NETWORKS = sorted(
    name
    for name, told in TRAINING.items()
    if name in OCCUPANCY or told.get("network", {}).get("name") in CLASSIFIERS
)
IMAGES = {"runs": (1, 64, 72), "egamma": (2, 32, 32), "jets": (3, 125, 125)}
"""Channels, rows and columns as published."""


def recipe_of(name):
    return load_training(recipe_path(name))


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    for module in ("trainer", "occupancy"):
        monkeypatch.setattr(f"calowatch.train.{module}.write_curves", lambda path, *_: path.write_bytes(b""))


def small(recipe):
    """Return a recipe on the smallest layout; all else is as shipped, but for the largest network and batches."""
    options = dict(recipe.network.options)
    if options.get("latent") == 32:
        options["latent"] = 8
    layout = recipe.layout if recipe.layout == "dqm" else "ho"
    network = recipe.network.model_copy(update={"options": options})
    fit = recipe.fit.model_copy(update={"batch": min(recipe.fit.batch, 2 if layout == "dqm" else 4)})
    return recipe.model_copy(update={"layout": layout, "network": network, "fit": fit, "prepare": None})


@pytest.mark.parametrize("name", OCCUPANCY)
def test_it_trains_two_steps(name, prepared, tmp_path, monkeypatch):
    # What comes after the training is the same for all, and tested once.
    for step in ("_with_sigma", "finish_bundle"):
        monkeypatch.setattr(f"calowatch.train.occupancy.{step}", lambda parts, *_: parts)
    recipe = small(recipe_of(name))
    how = "rates" if find_model(recipe.network.name).predicts == "logit" else "source"
    data = prepared("ho", recipe.window, how)
    found = train_occupancy(recipe, TrainRequest(tmp_path / "out", (data,), max_steps=2))
    assert found.history["step"].iloc[-1] == 2
    figures = found.history[["train_loss", "val_loss"]].to_numpy()
    assert np.isfinite(figures).all()
    assert found.summary["model"] == "+".join([recipe.network.name, *recipe.network.wrappers])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in OCCUPANCY if recipe_of(name).layout != "dqm"])
def test_it_trains_two_steps_on_its_own_layout(name, prepared, tmp_path):
    recipe = recipe_of(name)
    how = "rates" if find_model(recipe.network.name).predicts == "logit" else "source"
    data = prepared(recipe.layout, recipe.window, how)
    found = train_occupancy(recipe, TrainRequest(tmp_path / "out", (data,), max_steps=2))
    assert np.isfinite(found.history["val_loss"]).all()
    assert found.summary["n_parameters"] == SIZES[name]


def test_there_is_one_for_every_network():
    assert {TRAINING[name]["network"]["name"] for name in OCCUPANCY} == set(MODELS)
    wrappers = {tuple(TRAINING[name]["network"].get("wrappers", ())) for name in OCCUPANCY}
    assert wrappers == {(), ("rin",), ("dc",), ("rin", "dc")}
    assert {TRAINING[name]["layout"] for name in OCCUPANCY} == {"he", "hb", "hf", "ho", "dqm"}


def n_parameters(name):
    recipe = recipe_of(name)
    if isinstance(recipe, ImageTraining):
        outputs = 1 if recipe.loss.kind == "binary" else 2
        shape = ImageGeometry(*IMAGES[recipe.data.kind], len(recipe.data.scalars), outputs)
        network = build_classifier(recipe.network.name, shape, recipe.network.options)
    else:
        mask = layout_mask(recipe.layout, "run3")
        pair = np.flatnonzero(mask)[:2]  # a graph's edges change no size
        geometry = Geometry(mask, np.stack([pair, pair[::-1]]).astype(np.int64))
        told = recipe.network
        network = build(NetworkRequest(told.name, told.wrappers, dict(told.options)), geometry)
    return sum(values.numel() for values in network.parameters())


def test_sizes_are_told_as_they_are():
    assert {name: n_parameters(name) for name in NETWORKS} == dict(SIZES)


def test_sizes_are_the_published_ones():
    assert SIZES["cnn-vae-lstm"] == 470_412
    assert SIZES["cnn-vae-lstm-l32"] == 29_917_508
    assert SIZES["cnn-vae-lstm-dc"] == SIZES["cnn-vae-lstm-rin-dc"] == 50_700
    assert SIZES["cnn-vae-lstm-rin-dc-l32"] == 3_163_460


@pytest.mark.parametrize("name", OCCUPANCY)
def test_configurations_are_the_source_systems(name):
    recipe = recipe_of(name)
    if recipe.paper != "arXiv 2311.04190":
        return
    optimiser = recipe.optimiser
    rate = 1e-2 if "graphstad" in recipe.network.name else 1e-3
    assert (optimiser.name, optimiser.amsgrad, optimiser.weight_decay, optimiser.lr) == (
        "adam",
        True,
        1e-7,
        rate,
    )
    assert (recipe.fit.batch, recipe.fit.epochs, recipe.fit.patience) == (4, 10, None)
    assert recipe.window == (1 if recipe.network.name.endswith("fnn") else 5)
    assert recipe.loss == "reconstruction"
    assert (recipe.layout, recipe.paper) == ("he", find_model(recipe.network.name).paper)


@pytest.mark.parametrize("name", OCCUPANCY)
def test_the_data_recipe_that_it_names_fits(name):
    recipe = recipe_of(name)
    data = load_recipe(recipe_path(recipe.prepare), DataRecipe)
    steps = [step.step for step in data.preparation.steps]
    assert data.window.length == recipe.window
    assert set(find_layout(recipe.layout).subdets) <= set(data.select.subdets)
    assert steps == (["per_event"] if recipe.loss == "binomial" else ["per_event", "min_max"])


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("cnn-vae-lstm", ("ho", 1, "source"), "windows of 5 lumisections.*found single.*prepare he-source"),
        ("cnn-vae-lstm", ("ho", 5, "rates"), r"per_event, min_max \(all\).*by per_event\. Fix.*he-source"),
        (
            "binomial-response-ho",
            ("ho", 5, "source"),
            r"prepared by per_event: .*ho-rates --store STORE --out DATA\.$",
        ),
        (
            "cnn-ae-fnn",
            ("ho", 5, "source"),
            "prepare he-source-iid .* or for a campaign campaign-iid in place of it",
        ),
        ("depthvit", ("ho", 5, "source"), "prepare all-source-iid .* campaign campaign-iid"),
        ("binomial-response-he", ("ho", 5, "source"), "prepare he-rates .* campaign campaign-rates"),
    ],
)
def test_data_that_do_not_fit_are_refused(name, given, told, prepared, tmp_path):
    recipe = recipe_of(name).model_copy(update={"layout": "ho"})
    with pytest.raises(InputError, match=told):
        train_occupancy(recipe, TrainRequest(tmp_path / "out", (prepared(*given),)))
    assert list(tmp_path.iterdir()) == []


WRAPPED = ("cnn-vae-lstm", "graphstad-cnn-vae-lstm")
"""What recipes come along for within RIN, DC and both."""


def test_the_catalogue_lists_every_model_once():
    lines = catalogue()
    names = [(line.group, line.name) for line in lines]
    assert len(set(names)) == len(names)
    networks = {name for group, name in names if group == "occupancy"}
    wrapped = {f"{name}-{how}" for name in WRAPPED for how in ("rin", "dc", "rin-dc")}
    assert networks == set(MODELS) | wrapped
    assert {"ring", "reference", "pca", "ewma"} == {name for group, name in names if group == "baseline"}
    assert set(CLASSIFIERS) <= {name for group, name in names if group == "images"}
    assert all(line.summary and "\n" not in line.summary for line in lines)
    # Whoever trains a row by its name gets that row; only ours have no paper.
    assert all(name in line.recipes for name in wrapped for line in lines if line.name == name)
    assert all(line.paper for line in lines if line.group == "occupancy" and "ours" not in line.summary)
    listed = {recipe for line in lines for recipe in line.recipes}
    assert listed == {name for name, told in TRAINING.items() if "task" in told}
    sizes = {line.name: line.parameters for line in lines if line.group == "occupancy"}
    assert (sizes["cnn-vae-lstm"], sizes["binomial-response"]) == (470_412, SIZES["binomial-response-he"])
    assert (sizes["cnn-vae-lstm-rin"], sizes["cnn-vae-lstm-rin-dc"]) == (470_412, 50_700)


def test_the_list_of_models_has_a_line_for_each(capsys):
    models()
    told = capsys.readouterr().out.splitlines()
    for line in catalogue():
        (row,) = [each for each in told if each.split()[:1] == [line.name]]
        number = "-" if line.parameters is None else f"{line.parameters:,}"
        assert row.split()[1] == number
        assert row.endswith(f"({line.paper})" if line.paper else line.summary)


def test_all_load():
    assert all(isinstance(recipe_of(name), OccupancyTraining) for name in OCCUPANCY)
