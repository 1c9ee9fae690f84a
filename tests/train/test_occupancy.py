"""Training of occupancy networks from a data set to a bundle, killed in between too."""

import json
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from calowatch.bundle.calibrating import DatasetWindows
from calowatch.bundle.calibration_files import load_calibration
from calowatch.bundle.expecting import load_window_model, training_sigma
from calowatch.bundle.network import load_network
from calowatch.core.errors import ConflictError, InputError
from calowatch.core.progress import SilentProgress
from calowatch.core.recipe import recipe_path
from calowatch.core.training import load_training
from calowatch.train.occupancy import train_occupancy
from calowatch.train.request import TrainRequest
from calowatch.train.verb import train

RECIPE = """
task = "occupancy"
summary = "a trial"
layout = "ho"
window = 5
loss = "binomial"
seed = 4
[network]
name = "binomial-response"
options = {latent = 2}
[faults]
share = 0.5
units = 2
[optimiser]
lr = 1e-2
[schedule]
kind = "cosine"
[fit]
batch = 4
epochs = 4
"""


@pytest.fixture
def recipe_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("calowatch.train.trainer.write_curves", lambda path, *_: path.write_bytes(b""))


def test_from_data_to_a_bundle(recipe_file, prepared, tmp_path, quick):
    data, out = prepared("ho", 5, "rates"), tmp_path / "models" / "ours"
    progress = SilentProgress()
    found = train(recipe_file, TrainRequest(out, (data,), progress=progress))
    assert [note.partition(":")[0] for note in progress.notes] == [f"epoch {n} of 4" for n in range(1, 5)]
    files = {path.name for path in out.iterdir()}
    assert files >= {"manifest.json", "weights.safetensors", "card.md", "curves.png", "metrics.csv"}
    assert files >= {"calibration.json", "preparation.json", "score_sigma.npz"}
    assert {path.name for path in out.parent.iterdir()} == {"ours", "ours.training"}
    logs = {path.name for path in (out.parent / "ours.training").iterdir()}
    assert logs == {"metrics.csv", "curves.png", "tensorboard"}
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["model"], manifest["loss"], manifest["window"]) == ("binomial-response", "binomial", 5)
    assert manifest["training"]["best_value"] == found.history["val_loss"].min()
    assert [run["n_ls"] for run in manifest["runs"]] == [30, 30]
    for side, (first, last) in {"runs": (1, 30), "validated_on": (31, 40)}.items():
        assert [(run["first_ls"], run["last_ls"]) for run in manifest[side]] == [(first, last)] * 2
    assert manifest["provenance"]["seed"] == 4
    text = (out / "manifest.json").read_text() + (out / "card.md").read_text()
    assert str(tmp_path) not in text and str(data) not in text
    assert json.loads(json.dumps(found.summary)) == found.summary
    assert (out / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert f"{manifest['n_parameters']:,} learned numbers" in (out / "card.md").read_text()
    assert load_calibration(out).n_windows == 4


def test_the_bundle_expects_and_its_sigma_is_that_of_training(recipe_file, prepared, tmp_path, quick):
    data, out = prepared("ho", 5, "rates"), tmp_path / "ours"
    train(recipe_file, TrainRequest(out, (data,)))
    model = load_window_model(out)
    windows = DatasetWindows(data, "train", model.channel)
    sigma = training_sigma(model, windows)
    np.testing.assert_allclose(sigma, load_network(out).frame.score_sigma, rtol=1e-5)
    counts, n_events = next(iter(windows))
    p = model.predict_windows(counts, n_events).p
    rate = counts.sum(axis=(0, 1)) / n_events.sum()
    assert np.corrcoef(p.mean(axis=(0, 1)), rate)[0, 1] > 0.5


def test_a_recipe_names_its_data_relative_to_itself(prepared, tmp_path, quick):
    data = prepared("ho", 5, "rates")
    (tmp_path / "data").symlink_to(data, target_is_directory=True)
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE.replace('layout = "ho"', 'layout = "ho"\ndataset = "data"'))
    found = train(path, TrainRequest(tmp_path / "out", epochs=1, seed=9))
    assert (found.summary["training"]["epochs"], found.summary["training"]["seed"]) == (1, 9)


def test_nothing_is_left_where_something_is_wrong(recipe_file, prepared, tmp_path):
    data = prepared("ho", 5, "rates")
    wrong = [
        (RECIPE, (), "one prepared data set.*found 0"),
        (RECIPE.replace('"binomial"\n', '"reconstruction"\n', 1), (data,), "binomial for a network"),
        (RECIPE.replace('"ho"', '"he"'), (data,), "the channels of layout he"),
        (RECIPE.replace("latent", "latnt"), (data,), "did you mean latent"),
    ]
    for text, given, told in wrong:
        recipe_file.write_text(text)
        with pytest.raises(InputError, match=told):
            train(recipe_file, TrainRequest(tmp_path / "out", given))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").write_text("mine")
    recipe_file.write_text(RECIPE)
    with pytest.raises(ConflictError):
        train(recipe_file, TrainRequest(tmp_path / "taken", (data,)))
    assert {path.name for path in tmp_path.iterdir()} == {"mine.toml", "taken"}


def test_several_eras_are_refused(prepared, monkeypatch):
    from calowatch.train.occupancy_data import TrainingData

    recipe = load_training(recipe_path("binomial-response-ho"))
    data = TrainingData(prepared("ho", 5, "rates"), recipe)
    data.data.index.loc[0, "era"] = "2018"
    with pytest.raises(InputError, match=r"one era to train on.*2018, run3"):
        _ = data.era


def test_killed_and_resumed_it_ends_as_unbroken(recipe_file, prepared, tmp_path, quick):
    """The program itself, killed by the system in its third epoch, against a training that nothing disturbed."""
    recipe_file.write_text(RECIPE.replace("epochs = 4", "epochs = 15"))
    data, out = prepared("ho", 5, "rates"), tmp_path / "broken"
    words = ["train", str(recipe_file), "--data", str(data), "--out", str(out), "--device", "cpu"]
    with subprocess.Popen(
        [sys.executable, "-m", "calowatch.cli", *words], stderr=subprocess.PIPE, text=True
    ) as running:
        for line in running.stderr:
            if line.startswith("epoch 2 of 15"):
                running.send_signal(signal.SIGKILL)
                break
        else:
            pytest.fail("it ended before it was killed")
    assert not out.exists()
    recipe = load_training(recipe_file)
    progress = SilentProgress()
    again = train_occupancy(recipe, TrainRequest(out, (data,), resume=True, progress=progress))
    assert progress.notes[0].startswith("going on after epoch")
    whole = train_occupancy(recipe, TrainRequest(tmp_path / "whole", (data,)))
    pd.testing.assert_frame_equal(
        again.history.drop(columns="seconds"), whole.history.drop(columns="seconds"), check_exact=True
    )
    weights = [(folder / "weights.safetensors").read_bytes() for folder in (out, tmp_path / "whole")]
    assert weights[0] == weights[1]


def test_a_training_may_start_from_the_response(recipe_file, prepared, tmp_path, quick):
    data = prepared("ho", 5, "rates")
    losses = []
    for start in ("random", "response"):
        recipe_file.write_text(RECIPE.replace("window = 5", f'window = 5\nstart = "{start}"'))
        found = train(recipe_file, TrainRequest(tmp_path / start, (data,), max_steps=1))
        losses.append(found.history["val_loss"].iloc[0])
    assert losses[1] < losses[0]
    recipe_file.write_text(
        RECIPE.replace("window = 5", 'window = 5\nstart = "response"').replace(
            "binomial-response", "binomial"
        )
    )
    with pytest.raises(InputError, match="random for this network"):
        train(recipe_file, TrainRequest(tmp_path / "no", (data,)))
