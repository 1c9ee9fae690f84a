"""The verbs ``evaluate run`` and ``compare``: figures, refusals, files."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from calowatch import cli
from calowatch.core.errors import ConflictError, FormatError, InputError
from calowatch.core.training import ImageTraining
from calowatch.data.images import labelled
from calowatch.evaluate.classify import EvaluateRequest, evaluate_run
from calowatch.evaluate.classify_numbers import bins_of, course_of, errors_of
from calowatch.evaluate.compare import compare
from calowatch.evaluate.explain import ExplainRequest, explain
from calowatch.io.images import write_images
from calowatch.metrics.classification import Figure, Judged
from calowatch.metrics.ranking import roc_auc
from calowatch.present.classify import figure_text
from calowatch.present.classify_compare import Compared, comparison_page
from calowatch.train.images import train_images
from calowatch.train.request import TrainRequest

BLOCKS = {"by": "blocks", "length": 6}


def make(out, files, name="linear", split=BLOCKS, **options):
    recipe = ImageTraining.model_validate(
        {
            "task": "images",
            "summary": "a test",
            "data": {
                "kind": "runs",
                "classes": ["355456", "357479"],
                "split": split,
                "steps": ["log1p", "standard"],
            },
            "network": {"name": name, "options": options},
            "fit": {"batch": 16, "epochs": 2},
            "export": False,
        }
    )
    return train_images(recipe, TrainRequest(out, tuple(files), device="cpu"))


@pytest.fixture(scope="module")
def linear(two_runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "linear"
    make(out, two_runs)
    return out


@pytest.fixture(scope="module")
def third(two_runs, tmp_path_factory):
    """A run that lies between the two."""
    path = tmp_path_factory.mktemp("third") / "Run356615_Dataset_test.npy"
    a, b = (np.load(file) for file in two_runs)
    write_images(path, 0.5 * (a + b[::-1]))
    return path


def test_the_test_side_of_its_own_files_is_judged(linear, two_runs, tmp_path):
    found = evaluate_run(linear, EvaluateRequest(tmp_path / "out"))
    told = found.document
    assert (told["side"], told["n"], told["errors"]) == ("test", 24, 0)
    assert told["figures"]["accuracy"]["value"] == 1.0
    assert told["confusion"] == [[12, 0], [0, 12]]
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text()) == told
    scores = pd.read_csv(tmp_path / "out" / "scores.csv")
    truth = scores["true"] == "run 357479"
    assert roc_auc(truth, scores["p run 357479"]) == told["figures"]["roc_auc"]["value"]
    assert {path.name for path in found.files} == {path.name for path in (tmp_path / "out").iterdir()}
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert "AUC 1.0000" in page
    assert "background efficiency" in page
    assert "Intervals of 95" in page
    assert "run 355456 against run 357479" in page
    assert "http" not in page.split("<script>")[0]
    given = evaluate_run(linear, EvaluateRequest(tmp_path / "again", two_runs[::-1], png=False))
    for name, figure in told["figures"].items():
        assert given.document["figures"][name] == pytest.approx(figure, nan_ok=True)


def test_each_side_has_its_own_images(linear, tmp_path):
    numbers = {}
    for side in ("train", "validation", "test"):
        found = evaluate_run(linear, EvaluateRequest(tmp_path / side, side=side, draws=0, png=False))
        numbers[side] = found.document["n"]
        assert any("learned from" in note for note in found.document["notes"]) is (side == "train")
    assert numbers == {"train": 72, "validation": 24, "test": 24}
    with pytest.raises(InputError, match="one of train"):
        evaluate_run(linear, EvaluateRequest(tmp_path / "x", side="all"))


def test_other_files_are_judged_whole(linear, make_runs, tmp_path):
    files = make_runs(tmp_path, 20, seed=9)
    found = evaluate_run(linear, EvaluateRequest(tmp_path / "out", files, png=False))
    assert (found.document["side"], found.document["n"]) == (None, 40)
    assert found.document["figures"]["accuracy"]["value"] == 1.0
    result = evaluate_run(linear, EvaluateRequest(tmp_path / "alone", files[:1], png=False))
    alone = result.document
    assert figure_text("rejection_50", result.report.figures["rejection_50"]) == "undefined"
    assert alone["figures"]["roc_auc"]["value"] is None
    assert any("No images of run 357479" in note for note in alone["notes"])


def test_images_learned_from_are_not_scored_under_another_name(linear, two_runs, tmp_path):
    copy = tmp_path / "Run355456_Dataset_copy.npy"
    write_images(copy, np.load(two_runs[0])[::-1])
    found = evaluate_run(linear, EvaluateRequest(tmp_path / "out", (copy,), png=False))
    assert found.document["n"] == 12
    assert "48 images were left out" in " ".join(found.document["notes"])
    split = np.load(linear / "split.npz")
    learned = split["position"][(split["side"] < 2) & (split["source"] == 0)]
    write_images(copy, np.load(two_runs[0])[learned])
    with pytest.raises(InputError, match="not learned from"):
        evaluate_run(linear, EvaluateRequest(tmp_path / "out", (copy,), png=False))
    with pytest.raises(InputError, match="some of both"):
        evaluate_run(linear, EvaluateRequest(tmp_path / "out", (copy, two_runs[1])))


def test_files_that_are_gone_are_asked_for(make_runs, tmp_path):
    files = make_runs(tmp_path / "data", 60)
    make(tmp_path / "b", files)
    files[0].rename(tmp_path / "moved.npy")
    with pytest.raises(InputError, match="--data"):
        evaluate_run(tmp_path / "b", EvaluateRequest(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_files_changed_since_the_training_are_refused(make_runs, tmp_path):
    files = make_runs(tmp_path / "data", 60)
    make(tmp_path / "b", files)
    images = np.load(files[0])
    write_images(files[0], images * np.where(np.arange(60) < 5, 1.01, 1.0)[:, None, None])
    with pytest.raises(InputError, match="changed since"):
        evaluate_run(tmp_path / "b", EvaluateRequest(tmp_path / "out"))
    named = evaluate_run(tmp_path / "b", EvaluateRequest(tmp_path / "out", files[:1], draws=0, png=False))
    assert any("changed copies" in note for note in named.document["notes"])


def test_what_can_be_checked_is_checked_before_images_are_read(linear, tmp_path, monkeypatch):
    def read(*_, **__):
        raise AssertionError("images were read")

    monkeypatch.setattr("calowatch.evaluate.chosen.file_hash", read)
    monkeypatch.setattr("calowatch.evaluate.chosen.open_images", read)
    gone = tmp_path / "Run1_gone.npy"
    for change, words in (
        ({"side": "tset"}, "did you mean test"),
        ({"other": (gone,)}, "gone"),
        ({"partners": (tmp_path / "nothing",)}, "nothing"),
        ({"data": (gone,)}, "gone"),
    ):
        with pytest.raises(InputError, match=words):
            evaluate_run(linear, EvaluateRequest(tmp_path / "out", **change))
    for change in ({"side": "tset"}, {"samples": "0"}, {"samples": "a:b"}, {"baseline": "meen"}):
        with pytest.raises(InputError):
            explain(linear, ExplainRequest(tmp_path / "out", **change))


def test_without_a_test_side_the_validation_side_is_judged(two_runs, tmp_path):
    shares = {"train": 0.8, "validation": 0.2, "test": 0.0}
    make(tmp_path / "b", two_runs, split=BLOCKS | shares)
    found = evaluate_run(tmp_path / "b", EvaluateRequest(tmp_path / "out", draws=0, png=False)).document
    assert (found["side"], found["n"]) == ("validation", 24)
    assert any("flatter" in note for note in found["notes"])
    with pytest.raises(InputError, match="Fix: choose --side validation"):
        evaluate_run(tmp_path / "b", EvaluateRequest(tmp_path / "out", side="test"))


def test_a_third_run_is_strange(linear, third, tmp_path):
    found = evaluate_run(linear, EvaluateRequest(tmp_path / "out", other=(third,)))
    scores = found.document["strangers"]["scores"]
    assert set(scores) == {"energy", "image"}
    assert max(each["auc"] for each in scores.values()) > 0.95
    assert sum(found.document["strangers"]["taken_for"].values()) == 60
    assert (tmp_path / "out" / "novelty_image.png").is_file()


def test_known_classes_are_no_strangers(linear, two_runs, make_runs, tmp_path):
    copy = tmp_path / "Run356615_renamed.npy"
    copy.write_bytes(two_runs[0].read_bytes())
    for other in (two_runs[0], copy, make_runs(tmp_path, 10, seed=4)[1]):
        with pytest.raises(InputError, match="none of the classes"):
            evaluate_run(linear, EvaluateRequest(tmp_path / "out", other=(other,)))


def test_thresholds_that_do_not_hold_are_told(linear, third, make_runs, tmp_path, capsys):
    files = make_runs(tmp_path, 20, seed=9)
    for path in files:
        write_images(path, 3 * np.load(path))
    request = EvaluateRequest(tmp_path / "out", files, (third,), draws=0, png=False)
    found = evaluate_run(linear, request).document
    assert found["strangers"]["scores"]["image"]["own_beyond"] > 0.9
    assert any("they were set for: " in note and "image (" in note for note in found["notes"])


def test_a_split_that_leaks_says_so(two_runs, tmp_path):
    make(tmp_path / "b", two_runs, split={"by": "stratified"})
    found = evaluate_run(tmp_path / "b", EvaluateRequest(tmp_path / "out", draws=0, png=False))
    assert any("near-duplicates" in note for note in found.document["notes"])
    assert "near-duplicates" in (tmp_path / "b" / "card.md").read_text()


def test_the_mean_of_two_is_judged_where_neither_has_learned(linear, two_runs, tmp_path):
    make(tmp_path / "trees", two_runs, "trees", split={"by": "random"})
    found = evaluate_run(
        linear, EvaluateRequest(tmp_path / "out", partners=(tmp_path / "trees",), draws=0, png=False)
    )
    tables = []
    for number, each in enumerate((linear, tmp_path / "trees")):
        evaluate_run(each, EvaluateRequest(tmp_path / str(number), draws=0, png=False))
        tables.append(pd.read_csv(tmp_path / str(number) / "scores.csv").set_index(["source", "position"]))
    both = pd.read_csv(tmp_path / "out" / "scores.csv").set_index(["source", "position"])
    assert set(both.index) == set(tables[0].index) & set(tables[1].index)
    mean = (tables[0].loc[both.index, "p run 357479"] + tables[1].loc[both.index, "p run 357479"]) / 2
    np.testing.assert_allclose(both["p run 357479"], mean, rtol=1e-4)
    assert found.document["model"] == "mean of linear, trees"


def test_a_partner_trained_on_other_files_judges_the_same_images(linear, make_runs, third, tmp_path):
    files = make_runs(tmp_path / "others", 60, seed=5)
    make(tmp_path / "trees", files, "trees")
    partners = (tmp_path / "trees",)
    found = evaluate_run(
        linear, EvaluateRequest(tmp_path / "out", other=(third,), partners=partners, draws=0, png=False)
    )
    assert (found.document["n"], found.document["figures"]["accuracy"]["value"]) == (24, 1.0)
    assert any("to it these are images of other files" in note for note in found.document["notes"])
    strangers = found.document["strangers"]
    assert (strangers["scored_by"], sum(strangers["taken_for"].values())) == ("linear", 60)
    assert "those of linear alone" in found.files[0].read_text()
    # What the partner has learned from is left out, even where it is the first one's test side.
    own = tmp_path / "Run355456_Dataset_c.npy"
    write_images(own, np.load(files[0])[::-1])
    learned = evaluate_run(
        linear, EvaluateRequest(tmp_path / "c", (own,), partners=partners, draws=0, png=False)
    )
    assert learned.document["n"] == 12


# -- tables -------------------------------------------------------------------------------------------------------


def judged(n=200, kind="egamma"):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    data = labelled(np.zeros((n, 2, 2)), labels, ["a", "b"], kind=kind)
    data.table["pt"] = rng.uniform(20, 100, n)
    data.table["eta"] = rng.uniform(-1, 1, n)
    score = np.clip(0.5 + 0.4 * (labels - 0.5) + rng.normal(0, 0.2, n), 0, 1)
    return data, Judged(labels, np.stack([1 - score, score], 1), np.arange(n))


def test_errors_are_listed_the_surest_first():
    data, given = judged()
    errors = errors_of(data, given, ["a", "b"])
    assert len(errors) == int((given.predicted != given.labels).sum())
    assert (np.diff(errors["probability"]) <= 0).all()
    assert (errors["is"] != errors["taken_for"]).all()
    first = errors.iloc[0]
    row = np.flatnonzero(
        (data.table["source"] == first["source"]) & (data.table["position"] == first["position"])
    )[0]
    assert given.probabilities[row].max() == first["probability"]
    course = course_of(data, given)
    assert (course["images"].sum(), course["errors"].sum()) == (200, len(errors))


def test_bins_hold_equal_shares():
    data, given = judged()
    bins = bins_of(data, given, draws=20, seed=0)
    assert list(dict.fromkeys(bins["quantity"])) == ["pt", "abs(eta)"]
    assert bins.groupby("quantity")["images"].sum().tolist() == [200, 200]
    assert (bins["roc_auc_low"] <= bins["roc_auc"]).all()
    inside = (data.table["pt"] >= bins["low"][0]) & (data.table["pt"] < bins["high"][0])
    expected = roc_auc(given.labels[inside] == 1, given.probabilities[inside, 1])
    assert bins["roc_auc"][0] == pytest.approx(expected)


def test_figures_in_words():
    assert figure_text("rejection_50", Figure(12.34, 10.0, None)) == "12.3 (at least 10.0)"
    assert figure_text("roc_auc", Figure(None)) == "undefined"
    assert figure_text("rejection_50", Figure(None, 20.0)) == "none passed (at least 20)"
    assert figure_text("rejection_50", Figure(None)) == "undefined"


def test_stretches_are_of_one_length_in_all_files():
    data, given = judged()
    data.table["source"] = np.where(np.arange(200) < 160, "long", "short")
    data.table["position"] = np.where(np.arange(200) < 160, np.arange(200), np.arange(200) - 160)
    course = course_of(data, given)
    assert course["images"].unique().tolist() == [4]
    assert course.groupby("source")["images"].sum().tolist() == [160, 40]


def test_losses_of_less_than_a_decade_are_drawn_evenly(linear):
    def panel(last):
        history = pd.DataFrame({"epoch": [0, 1], "train_loss": [0.69, last], "val_loss": [0.68, 0.6]})
        told = Compared("a", "a", 1, "a", "a", "a", 1.0, "cpu", {}, history)
        sections = comparison_page([told], (), {}).sections
        return next(each.panels["curves_loss"] for each in sections if "curves_loss" in each.panels)

    assert (panel(0.4).y_log, panel(0.4).y) == (False, "loss")
    assert (panel(0.001).y_log, panel(0.001).y) == (True, "loss (log)")


# -- compare ------------------------------------------------------------------------------------------------------


def test_classifiers_are_compared(linear, two_runs, tmp_path):
    options = {"patch": [32, 36], "dim": 8, "layers": 1, "heads": 2, "mlp": 8}
    make(tmp_path / "vit", two_runs, "vit", **options)
    make(tmp_path / "one" / "linear", two_runs, split={"by": "stratified"})
    found = compare([linear, tmp_path / "vit", tmp_path / "one" / "linear"], tmp_path / "out")
    assert [each.name for each in found.bundles] == ["models0/linear", "vit", "one/linear"]
    assert [len(each["history"]) for each in found.document["bundles"]] == [0, 2, 0]
    assert len(found.document["notes"]) == 2
    assert {"curves_loss.png", "curves_accuracy.png", "worth.png"} <= {path.name for path in found.files}
    assert all(path.is_file() for path in found.files)
    same = compare([linear, tmp_path / "vit"], tmp_path / "out")
    assert same.document["notes"] == []


def test_names_and_losses_are_told_apart(linear, tmp_path):
    for place, smoothing in (("a/x", 0.0), ("b/x", 0.1)):
        shutil.copytree(linear, tmp_path / place / "m")
        path = tmp_path / place / "m" / "manifest.json"
        manifest = json.loads(path.read_text())
        manifest["recipe"]["loss"]["label_smoothing"] = smoothing
        path.write_text(json.dumps(manifest))
        lines = "epoch,train_loss,val_loss\n0,0.5,0.6\n"
        (path.parent / "metrics.csv").write_text(lines)
    found = compare([tmp_path / "a" / "x" / "m", tmp_path / "b" / "x" / "m"], tmp_path / "out")
    assert [each.name for each in found.bundles] == ["a/x/m", "b/x/m"]
    assert any("b/x/m: cross entropy, label smoothing 0.1" in note for note in found.document["notes"])
    page = found.files[0].read_text()
    assert "circle-open" in page
    assert "accuracy, ROC-AUC" in page


def test_what_cannot_be_compared(linear, tmp_path):
    with pytest.raises(InputError, match="two or more"):
        compare([linear], tmp_path / "out")
    with pytest.raises(InputError, match=r"each once.*linear and .*linear: the same"):
        compare([linear, linear], tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "comparison.html").write_text("mine")
    with pytest.raises(ConflictError, match="would be lost"):
        compare([linear, tmp_path], tmp_path / "mine")
    with pytest.raises(FormatError):
        compare([linear, tmp_path], tmp_path / "out")


# -- command line -------------------------------------------------------------------------------------------------


def test_the_command_line(linear, third, tmp_path, capsys):
    arguments = [
        "evaluate",
        "run",
        str(linear),
        "--out",
        str(tmp_path / "a"),
        "--draws",
        "20",
        "--no-png",
        "--json",
    ]
    assert cli.main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "linear"
    assert cli.main([*arguments[:-1], "--other", str(third)]) == 0
    assert "strangeness by image" in capsys.readouterr().out
    assert cli.main([*arguments, "--mode", "floaty"]) == 2
    assert "did you mean float32" in capsys.readouterr().err
    make_two = ["compare", str(linear), str(linear), "--out", str(tmp_path / "b")]
    assert cli.main(make_two) == 2
