"""The battery: what its cells hold, that it tells leaks and shortcuts in words, and that it goes on where it was."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from calowatch.cli import main
from calowatch.cli.evaluate_shortcuts import learner, recipes_of
from calowatch.core.errors import InputError, UnknownNameError
from calowatch.core.provenance import provenance
from calowatch.data.image_splits import blocks_of
from calowatch.data.images import labelled
from calowatch.evaluate.shortcuts import BatteryTask, evaluate_shortcuts
from calowatch.evaluate.shortcuts_cells import (
    VARIANTS,
    Battery,
    Cell,
    battery_split,
    cell_recipe,
    check_cells,
    deal_cell,
    names_of,
    plan,
)
from calowatch.evaluate.shortcuts_faith import read_explained
from calowatch.evaluate.shortcuts_words import Told, battery_frame, battery_words
from calowatch.present.shortcuts_page import battery_page
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


def test_what_is_wrong_is_named():
    with pytest.raises(UnknownNameError, match=r"--variants: .* found 'rigns'. Fix: did you mean rings"):
        Battery(("linear",), variants=("rigns",))
    with pytest.raises(InputError, match=r"--noise: .* found 1.5"):
        Battery(("linear",), noise=(0.1, 1.5))
    with pytest.raises(InputError, match=r"--blocks: .* found 0"):
        Battery(("linear",), blocks=(0,))


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


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            {"blocks": (1, 8)},
            "--blocks: expected 1 to 7 training blocks of each run, found 8. Fix: use --blocks 1",
        ),
        (
            {"images": (1, 999)},
            "--images: expected 2 to 70 training images, found 1 and 999. Fix: use --images none",
        ),
    ],
)
def test_cells_that_the_images_are_too_few_for_are_refused_before_training(wrong, words):
    battery = Battery(("linear",), **{"images": (), "blocks": (), **wrong})
    with pytest.raises(InputError, match=words):
        check_cells(some_data(), plan(battery, oracle=False), 5, 0)
    check_cells(some_data(), plan(replace(battery, images=(70,), blocks=(7,)), oracle=False), 5, 0)


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
    assert (result.document["block"], result.document["blocks_known"]) == (6, True)


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
    words = " ".join(result.verdict)
    assert "blocks of 10 consecutive images" in words
    assert "lumisection" not in words


def refuse(recipe, data, sides):
    raise AssertionError(recipe, data, sides)


def test_what_cannot_be_is_refused_before_training(simulated, tmp_path):
    task = small(simulated)
    with pytest.raises(InputError, match=r"block length: expected 6, .* Fix: use 6"):
        evaluate_shortcuts(replace(task, block=4), tmp_path / "out", refuse)
    with pytest.raises(InputError, match="--images"):
        evaluate_shortcuts(
            replace(task, battery=replace(task.battery, images=(999,))), tmp_path / "out", refuse
        )
    with pytest.raises(InputError, match="recipe egamma-trees: expected one for images of runs"):
        evaluate_shortcuts(replace(task, recipes=recipes_of("egamma-trees", None)), tmp_path / "out", refuse)
    assert not (tmp_path / "out").exists()


def test_intervals_of_earlier_cells_follow_the_rule_of_today(finished, simulated, tmp_path):
    out, _ = finished
    shutil.copytree(out / "cells", tmp_path / "cells")
    path = tmp_path / "cells" / "as-is_blocks_linear_r0.json"
    held = json.loads(path.read_text())
    held["accuracy"] = {"value": 0.99, "low": 0.98, "high": 1.0}
    path.write_text(json.dumps(held))
    frame = evaluate_shortcuts(small(simulated), tmp_path, refuse).frame
    row = frame.query("variant == 'as-is' and split == 'blocks' and noise == 0 and images.isna()")
    row = row.set_index("model").loc["linear"]
    assert row["accuracy"] == 0.99
    assert row["accuracy_low"] == pytest.approx(0.025 ** (1 / row["test_blocks"]))


def test_a_failed_write_leaves_the_table_of_before(finished, simulated, monkeypatch):
    out, _ = finished
    held = {path: path.read_bytes() for path in out.glob("shortcuts.*")}

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("calowatch.evaluate.shortcuts.write_battery_figure", fail)
    task = small(simulated)
    with pytest.raises(OSError, match="full"):
        evaluate_shortcuts(replace(task, command="other"), out, refuse)
    assert {path: path.read_bytes() for path in out.glob("shortcuts.*")} == held


def test_three_runs_are_refused(tmp_path):
    files = write_gsoc(tmp_path / "three", GsocSettings(n=6, block=2, runs=(355456, 357479, 356615))).images
    with pytest.raises(InputError, match="two"):
        evaluate_shortcuts(small(files), tmp_path / "out", learner("cpu"))


def figure(value, low=None, high=None):
    return {"value": value, "low": low, "high": high}


def row(variant, split, model, accuracy, **more):
    drawn = accuracy if isinstance(accuracy, dict) else figure(accuracy)
    return {
        "variant": variant,
        "split": split,
        "model": model,
        "repeat": 0,
        "noise": 0.0,
        "images": None,
        "blocks": None,
        "accuracy": drawn,
        "roc_auc": drawn,
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
    assert any("blocks of 500 consecutive images: near neighbours gave nothing" in each for each in words)
    frame = battery_frame(pd.DataFrame([rows[0], row("rings", "blocks", "cnn", 0.9999)]))
    words = battery_words(frame, ("a", "b"), Told(6, simulated=True))
    assert any("near-duplicates gave nothing away" in each for each in words)
    rows[1]["accuracy"] = {"value": 0.97, "low": 0.6, "high": 1.0}
    words = battery_words(battery_frame(pd.DataFrame(rows)), ("a", "b"))
    assert any("may leak, though 2 blocks are too few to be sure" in each for each in words)


def sentences(*rows):
    return battery_words(battery_frame(pd.DataFrame(rows)), ("a", "b"))


def test_intensity_that_does_not_settle_it_is_told():
    (sentence,) = sentences(row("as-is", "blocks", "one-ring", 0.7, ring=13))
    assert "row 13, ieta -19" in sentence
    assert "does not settle" in sentence
    (sentence,) = sentences(row("as-is", "blocks", "one-ring", 0.97, roc_auc=figure(1.0)))
    assert (
        "only the threshold, set on other blocks, sits a little off, so intensity alone does settle"
        in sentence
    )


def test_chance_is_named_where_the_interval_holds_it():
    best = row("rings", "blocks", "linear", 1.0)
    weak = row("rings", "blocks", "one-ring", figure(0.57, 0.54, 0.61))
    assert "more than chance (50 %) but little" in sentences(best, weak)[0]
    weak["accuracy"] = figure(0.57, 0.45, 0.61)
    assert "not to be told from chance (50 %)" in sentences(best, weak)[0]
    weak["accuracy"] = figure(0.9, 0.8, 0.95)
    assert "chance" not in sentences(best, weak)[0]


def test_networks_that_were_trained_too_briefly_are_named():
    best = row("rings", "blocks", "linear", 1.0)
    off = row("rings", "blocks", "cnn", figure(0.5, 0.1, 0.8), roc_auc=figure(0.91))
    words = sentences(best, off)
    assert "order images better than they decide about them: cnn on rings (50.0 %, AUC 0.910)" in words[1]
    off["roc_auc"] = figure(0.56)
    assert (
        "learned nothing in the epochs they had: cnn on rings (50.0 %, AUC 0.560)" in sentences(best, off)[1]
    )
    assert len(sentences(best, {**off, "accuracy": figure(0.95, 0.9, 1.0)})) == 1


def test_repeats_are_joined_with_their_range():
    rows = [row("rings", "blocks", "cnn", value, repeat=number) for number, value in enumerate((0.9, 1.0))]
    (joined,) = battery_frame(pd.DataFrame(rows)).to_dict("records")
    assert (joined["accuracy"], joined["accuracy_low"], joined["accuracy_high"]) == (0.95, 0.9, 1.0)
    assert joined["repeats"] == 2


def explained(**changed):
    areas = {"deletion": 0.2, "insertion": 0.8, "score": 0.6}
    over = {"score_over_random": 0.5, "score_over_random_low": 0.4, "score_over_random_high": 0.6}
    weak = {"score_over_random": 0.1, "score_over_random_low": -0.1, "score_over_random_high": 0.3}
    return {
        "model": "linear",
        "images": "runs",
        "classes": ["run 357479", "run 355456"],
        "methods": {"integrated": "integrated gradients", "occlusion": "occlusion"},
        "faithfulness": [
            {"method": "integrated", **areas, **over},
            {"method": "occlusion", **areas, **weak},
            {"method": "random", **areas},
        ],
        "provenance": {"sources": [{"name": "a.npy", "sha256": "00"}]},
        **changed,
    }


def test_faithfulness_is_told_beside(tmp_path):
    path = tmp_path / "explain.json"
    path.write_text(json.dumps(explained()))
    found = read_explained(path).to_json({"a.npy": "00"})
    assert found["same_images"]
    (sentence,) = battery_words(
        battery_frame(pd.DataFrame([row("masked", "blocks", "cnn", 1.0)])),
        ("a", "b"),
        Told(faithfulness=found),
    )
    assert "explanations of linear, by the area" in sentence
    assert (
        "integrated gradients (+0.500, +0.400 to +0.600) beat a random order; occlusion (+0.100" in sentence
    )
    assert sentence.endswith("did not.")
    page = battery_page(
        {
            "runs": ["a", "b"],
            "images": 2,
            "block": 1,
            "faithfulness": found,
            "provenance": provenance("x", seed=0),
        },
        battery_frame(pd.DataFrame([row("masked", "blocks", "cnn", 1.0)])),
        (),
    )
    assert "| integrated gradients | 0.200 | 0.800 | 0.600 | 0.500 (0.400 to 0.600) |" in page
    assert not read_explained(path).to_json({"a.npy": "11"})["same_images"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("no json", "as calowatch explain writes it"),
        ('{"schema": 1, "runs": [], "settings": {}}', "as calowatch explain writes it"),
        (json.dumps(explained(images="egamma")), "images of egamma"),
        (json.dumps(explained(faithfulness=[])), "0 methods"),
        (json.dumps(explained(classes=["run 1", "run 2"])), "run 355456 and run 357479"),
        (json.dumps(explained(model="vit")), "add its recipe"),
    ],
)
def test_faithfulness_of_anything_else_is_refused(simulated, tmp_path, given, message):
    (tmp_path / "bad.json").write_text(given)
    task = small(simulated, faithfulness=tmp_path / "bad.json")
    with pytest.raises(InputError, match=message):
        evaluate_shortcuts(task, tmp_path / "out", refuse)


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
    assert main([*words, "--images", "1.5"]) == 2
    assert "--images: expected whole numbers" in capsys.readouterr().err
    assert main([*words, "--noise", "much"]) == 2
    assert "--noise" in capsys.readouterr().err
