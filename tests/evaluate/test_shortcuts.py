"""The battery: what its cells hold, that it tells leaks and shortcuts in words, and that it goes on where it was."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from calowatch.cli import main
from calowatch.cli.evaluate_shortcuts import learner, recipes_of
from calowatch.core.errors import FormatError, InputError, UnknownNameError
from calowatch.data.image_splits import blocks_of
from calowatch.data.images import labelled
from calowatch.evaluate.shortcuts import BatteryTask, evaluate_shortcuts
from calowatch.evaluate.shortcuts_cells import (
    VARIANTS,
    Battery,
    Cell,
    battery_split,
    cell_recipe,
    deal_cell,
    names_of,
    plan,
)
from calowatch.evaluate.shortcuts_words import battery_frame, battery_words
from calowatch.present.shortcuts_page import faithfulness_rows
from calowatch.simulate.gsoc import GsocSettings
from calowatch.simulate.gsoc_files import write_gsoc

CHEAP = "runs-one-ring,runs-linear"


def some_data(n=120):
    labels = np.repeat([0, 1], n // 2)
    images = np.random.default_rng(0).uniform(1, 2, (n, 8, 9)) + labels[:, None, None]
    return labelled(images, labels, ("run 1", "run 2"))


SPLIT = battery_split("blocks", 5)


def test_every_cell_has_a_name_of_its_own():
    battery = Battery(("one-ring", "cnn"), repeats=2)
    cells = plan(battery, oracle=True)
    assert len({cell.key for cell in cells}) == len(cells)
    plain = [cell for cell in cells if cell.plain]
    assert len(plain) == 5 * 2 * 3 * 2
    assert len(cells) - len(plain) == 2 * 2 * 2 * (4 + 3 + 4)
    assert not [cell for cell in cells if cell.model == "oracle" and not cell.plain]
    assert {cell.split for cell in cells if not cell.plain} == {"blocks"}


@pytest.mark.parametrize(
    "wrong", [{"variants": ("rigns",)}, {"noise": (1.5,)}, {"images": (0,)}, {"repeats": 0}, {"models": ()}]
)
def test_batteries_that_cannot_be_are_refused(wrong):
    with pytest.raises(InputError):
        Battery(**{"models": ("linear",), **wrong})


def test_unknown_variants_name_the_nearest():
    with pytest.raises(UnknownNameError, match="rings"):
        Battery(("linear",), variants=("rigns",))


def test_wrong_labels_are_never_on_the_test_side():
    data = some_data()
    spoilt, sides = deal_cell(data, Cell("as-is", "blocks", "linear", noise=0.4), SPLIT, 0)
    wrong = spoilt.labels != data.labels
    assert 0.2 < wrong[sides.train].mean() < 0.6
    assert not wrong[sides.test].any()
    np.testing.assert_array_equal(data.labels, some_data().labels)


def test_small_training_sides():
    data = some_data()
    whole = deal_cell(data, Cell("as-is", "blocks", "linear"), SPLIT, 0)[1]
    few = deal_cell(data, Cell("as-is", "blocks", "linear", images=10), SPLIT, 0)[1]
    assert np.bincount(data.labels[few.train]).tolist() == [5, 5]
    two = deal_cell(data, Cell("as-is", "blocks", "linear", blocks=2), SPLIT, 0)[1]
    assert len(np.unique(blocks_of(data, SPLIT)[two.train])) == 4
    for sides in (few, two):
        np.testing.assert_array_equal(sides.test, whole.test)
        assert set(sides.train) < set(whole.train)
    for cell in (
        Cell("as-is", "blocks", "linear", images=1000),
        Cell("as-is", "blocks", "linear", blocks=99),
    ):
        with pytest.raises(InputError, match="--"):
            deal_cell(data, cell, SPLIT, 0)


def test_all_models_of_a_repeat_see_the_same_sides():
    data = some_data()
    first = deal_cell(data, Cell("as-is", "blocks", "linear"), SPLIT, 3)[1]
    second = deal_cell(data, Cell("rings", "blocks", "cnn", noise=0.1), SPLIT, 3)[1]
    other = deal_cell(data, Cell("as-is", "blocks", "linear", repeat=1), SPLIT, 3)[1]
    np.testing.assert_array_equal(first.test, second.test)
    assert not np.array_equal(first.test, other.test)


def steps(recipe, variant):
    cell = Cell(variant, "blocks", "x")
    return [step.step for step in cell_recipe(recipe, cell, 5, 0).data.steps]


def test_steps_of_variants():
    recipes = recipes_of("runs-vit-keras,runs-vit-torch,runs-ours,runs-linear", None)
    assert steps(recipes["vit-keras"], "as-is") == ["min_max"]
    assert steps(recipes["vit-torch"], "as-is") == ["log1p"]
    assert steps(recipes["vit-torch"], "rings") == ["unit_ring", "standard"]
    assert steps(recipes["vit-keras"], "rings-masked") == ["mask_deviating", "unit_ring", "min_max"]
    assert steps(recipes["linear"], "unit-sum") == ["unit_sum", "standard"]
    assert steps(recipes["ours"], "as-is") == ["standard"]
    assert steps(recipes["ours"], "masked") == ["mask_deviating", "standard"]
    assert cell_recipe(recipes["ours"], Cell("rings", "random", "ours", 2), 5, 7).seed == 9
    assert {name for name, variant in VARIANTS.items() if variant.masked} == {"masked", "rings-masked"}


def test_short_names_of_recipes():
    assert names_of(("runs-cnn", "mine/other.toml")) == ("cnn", "other")
    with pytest.raises(InputError, match="once"):
        names_of(("runs-cnn", "cnn.toml"))
    with pytest.raises(UnknownNameError, match="runs-ours"):
        recipes_of("runs-our", None)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    out = tmp_path_factory.mktemp("battery") / "gsoc"
    return write_gsoc(out, GsocSettings(n=60, block=6, seed=1)).images


def small(files, **changed):
    battery = Battery(
        ("one-ring", "linear"),
        ("as-is", "rings-masked"),
        noise=(0.3,),
        images=(20,),
        blocks=(),
        spoilt=("as-is",),
    )
    return replace(BatteryTask(files, recipes_of(CHEAP, None), battery), **changed)


@pytest.fixture(scope="module")
def finished(simulated, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished")
    return out, evaluate_shortcuts(small(simulated), out, learner("cpu"))


def test_the_verdict_tells_shortcut_and_limit(finished):
    _, result = finished
    words = " ".join(result.verdict)
    assert "One threshold on the mean of one ring (row" in words
    assert "right in 100 %" in words
    assert "blocks of lumisections never seen" in words
    assert "the exact likelihood ratio of the simulation reaches 100 %" in words
    assert "30 % of the training labels wrong" in words
    frame = result.frame.set_index(["variant", "split", "model"])
    assert frame.loc[("as-is", "blocks", "oracle"), "accuracy"].max() == 1.0
    assert frame.loc[("rings-masked", "blocks", "one-ring"), "accuracy"].max() < 0.8
    assert result.document["block"] == 6


def test_everything_is_written(finished):
    out, result = finished
    assert {path.name for path in result.files} == {
        f"shortcuts.{end}" for end in ("json", "csv", "md", "png")
    }
    assert json.loads((out / "shortcuts.json").read_text())["verdict"] == list(result.verdict)
    table = pd.read_csv(out / "shortcuts.csv")
    assert len(table) == len(result.frame)
    page = (out / "shortcuts.md").read_text()
    for part in ("| as-is | one-ring |", "## Verdict", "wrong labels", "number of training images", "Seed 0"):
        assert part in page
    assert (out / "shortcuts.png").read_bytes()[:4] == b"\x89PNG"


def test_finished_cells_are_not_run_again(finished, simulated):
    out, result = finished
    asked = []

    def learn(recipe, data, sides):
        asked.append(recipe.network.name)
        return learner("cpu")(recipe, data, sides)

    again = evaluate_shortcuts(small(simulated), out, learn)
    assert asked == []
    assert again.document["cells"] == result.document["cells"]
    (out / "cells" / "as-is_blocks_one-ring_r0.json").write_text("{")
    evaluate_shortcuts(small(simulated), out, learn)
    assert asked == ["one-ring"]


def test_cells_of_another_seed_are_run_again(simulated, tmp_path):
    battery = Battery(("one-ring",), ("as-is",), ("blocks",), noise=(), images=(), blocks=())
    task = small(simulated, battery=battery)
    first = evaluate_shortcuts(task, tmp_path, learner("cpu"))
    other = evaluate_shortcuts(replace(task, seed=5), tmp_path, learner("cpu"))
    assert first.document["cells"][0]["mark"] != other.document["cells"][0]["mark"]


def test_files_without_truth_have_no_oracle(simulated, tmp_path):
    for path in simulated:
        (tmp_path / path.name).symlink_to(path)
    battery = Battery(("one-ring",), ("as-is",), noise=(), images=(), blocks=())
    task = small((tmp_path,), battery=battery, block=10)
    result = evaluate_shortcuts(task, tmp_path / "out", learner("cpu"))
    assert set(result.frame["model"]) == {"one-ring"}
    assert result.document["block"] == 10


def test_three_runs_are_refused(tmp_path):
    files = write_gsoc(tmp_path / "three", GsocSettings(n=6, block=2, runs=(355456, 357479, 356615))).images
    with pytest.raises(InputError, match="two"):
        evaluate_shortcuts(small(files), tmp_path / "out", learner("cpu"))


def row(variant, split, model, accuracy, **more):
    figure = {"value": accuracy, "low": None, "high": None}
    return {
        "variant": variant,
        "split": split,
        "model": model,
        "repeat": 0,
        "noise": 0.0,
        "images": None,
        "blocks": None,
        "accuracy": figure,
        "roc_auc": figure,
        "n_train": 10,
        "n_test": 10,
        "test_blocks": 2,
        "n_parameters": 5,
        "seconds": 1.0,
        "ring": None,
        **more,
    }


def test_a_leak_is_told_with_its_size():
    rows = [row("rings", "random", "cnn", 1.0), row("rings", "blocks", "cnn", 0.8)]
    words = battery_words(battery_frame(pd.DataFrame(rows)), ("a", "b"))
    assert any("A random split leaks: cnn" in each and "80.0 %" in each for each in words)
    rows[1]["accuracy"]["value"] = 0.9999
    words = battery_words(
        battery_frame(pd.DataFrame([rows[0], row("rings", "blocks", "cnn", 0.9999)])), ("a", "b")
    )
    assert any("near-duplicates gave nothing away" in each for each in words)


def test_intensity_that_does_not_settle_it_is_told():
    frame = battery_frame(pd.DataFrame([row("as-is", "blocks", "one-ring", 0.7, ring=13)]))
    (sentence,) = battery_words(frame, ("a", "b"))
    assert "row 13, ieta -19" in sentence
    assert "does not settle" in sentence


def test_repeats_are_joined_with_their_range():
    rows = [row("rings", "blocks", "cnn", value, repeat=number) for number, value in enumerate((0.9, 1.0))]
    (joined,) = battery_frame(pd.DataFrame(rows)).to_dict("records")
    assert (joined["accuracy"], joined["accuracy_low"], joined["accuracy_high"]) == (0.95, 0.9, 1.0)
    assert joined["repeats"] == 2


def test_faithfulness_is_told_beside(simulated, tmp_path):
    given = {"faithfulness": {"rollout": {"deletion": 0.25, "insertion": 0.75, "note": "x"}}}
    assert faithfulness_rows(given) == [{"method": "rollout", "deletion": 0.25, "insertion": 0.75}]
    assert faithfulness_rows(None) == []
    words = battery_words(
        battery_frame(pd.DataFrame([row("rings", "blocks", "cnn", 1.0)])), ("a", "b"), given
    )
    assert "rollout: deletion 0.250, insertion 0.750" in words[-1]
    (tmp_path / "bad.json").write_text("no json")
    with pytest.raises(FormatError, match="explain"):
        evaluate_shortcuts(small(simulated, faithfulness=tmp_path / "bad.json"), tmp_path, learner("cpu"))


def test_the_verb_keeps_a_page(simulated, tmp_path, capsys):
    words = [
        "evaluate",
        "shortcuts",
        *map(str, simulated),
        "--out",
        str(tmp_path / "out"),
        "--recipes",
        "runs-one-ring",
    ]
    words += ["--variants", "as-is", "--noise", "none", "--images", "none", "--blocks", "none"]
    assert main([*words, "--page", str(tmp_path / "kept.md"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"][0].startswith("One threshold")
    page = (tmp_path / "kept.md").read_text()
    assert "![Accuracy by variant and model](kept.png)" in page
    assert (tmp_path / "kept.png").exists()
    assert main([*words, "--noise", "much"]) == 2
    assert "--noise" in capsys.readouterr().err
