"""Rankings on the same images, and the parts of pages that are made of them."""

import json
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest

from calowatch import cli
from calowatch.bundle.classifier import load_classifier
from calowatch.cli.kept_page import keep_part
from calowatch.core.errors import InputError
from calowatch.core.training import ImageTraining
from calowatch.data.image_splits import ImageSides
from calowatch.evaluate.classify import EvaluateRequest, evaluate_run
from calowatch.evaluate.compare import compare
from calowatch.evaluate.compare_published import PUBLISHED
from calowatch.evaluate.compare_ranked import RankRequest, rank_bundles
from calowatch.evaluate.learning_curve import CurveTask, evaluate_learning, nested_sides
from calowatch.evaluate.shortcuts import Learned
from calowatch.present.compare_ranked import ranking_markdown, ranking_panel, ranking_sections
from calowatch.simulate.egamma_files import EgammaRequest, simulate_egamma
from calowatch.train.images import train_images
from calowatch.train.request import TrainRequest

TOLD = {"command": "calowatch compare", "commit": None, "seed": 0}
SPLIT = {"by": "stratified", "train": 0.5, "validation": 0.2, "test": 0.3}


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """A few electrons and photons, and three classifiers that have learned from the same half of them."""
    folder = tmp_path_factory.mktemp("crops")
    simulate_egamma(EgammaRequest(600, folder / "data", 3))
    for name, network, channels in (
        (
            "trees",
            {"name": "trees", "options": {"observables": "showers", "iterations": 30, "least": 10}},
            None,
        ),
        ("few", {"name": "trees", "options": {"observables": "showers", "iterations": 1, "least": 10}}, None),
        ("ring", {"name": "one-ring"}, ["energy"]),
    ):
        data = {"kind": "egamma", "split": SPLIT} | ({"channels": channels} if channels else {})
        recipe = {"task": "images", "summary": "a test", "data": data, "network": network, "export": False}
        train_images(ImageTraining.model_validate(recipe), TrainRequest(folder / name, (folder / "data",)))
    return folder


@pytest.fixture(scope="module")
def ranked(crops):
    bundles = [load_classifier(crops / name) for name in ("ring", "few", "trees")]
    return rank_bundles(bundles, ["ring", "few", "trees"], RankRequest(draws=40))


def test_the_ranking_is_by_figures_of_the_same_images(ranked, crops, tmp_path):
    aucs = [row.figures["roc_auc"].value for row in ranked.rows]
    assert aucs == sorted(aucs, reverse=True)
    found = evaluate_run(crops / "trees", EvaluateRequest(tmp_path / "out", draws=0, png=False)).document
    own = next(row for row in ranked.rows if row.name == "trees")
    assert own.figures["roc_auc"].value == found["figures"]["roc_auc"]["value"]
    assert ranked.n == found["n"] == 180
    assert ranked.generated


def test_differences_are_paired_and_add_up(ranked):
    for i, one in enumerate(ranked.rows):
        for j, other in enumerate(ranked.rows):
            figure = ranked.differences[i][j]
            expected = one.figures["roc_auc"].value - other.figures["roc_auc"].value
            assert figure.value == pytest.approx(expected, abs=1e-12)
            assert figure.low <= figure.value <= figure.high
    assert ranked.rows[0].behind is None
    assert ranked.rows[-1].behind.value == ranked.differences[-1][0].value < 0


def test_the_mean_is_of_the_two_that_the_validation_side_finds_best(ranked, crops, tmp_path):
    worth = {}
    for name in ("ring", "few", "trees"):
        request = EvaluateRequest(tmp_path / name, side="validation", draws=0, png=False)
        worth[name] = evaluate_run(crops / name, request).document["figures"]["roc_auc"]["value"]
    assert ranked.mean_of == tuple(sorted(worth, key=lambda name: -worth[name])[:2])
    partners = (crops / ranked.mean_of[1],)
    request = EvaluateRequest(tmp_path / "mean", partners=partners, draws=0, png=False)
    both = evaluate_run(crops / ranked.mean_of[0], request).document["figures"]["roc_auc"]["value"]
    (mean,) = (row for row in ranked.rows if row.mean)
    assert mean.figures["roc_auc"].value == pytest.approx(both, abs=1e-9)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Another generation of electrons and photons."""
    folder = tmp_path_factory.mktemp("elsewhere")
    simulate_egamma(EgammaRequest(300, folder / "data", 77))
    return folder / "data"


def test_the_mean_by_other_files_is_still_chosen_by_the_validation_side(ranked, crops, elsewhere, tmp_path):
    bundles = [load_classifier(crops / name) for name in ("ring", "few", "trees")]
    found = rank_bundles(bundles, ["ring", "few", "trees"], RankRequest((elsewhere,), draws=0))
    assert found.words == "images of other files"
    assert found.mean_of == ranked.mean_of
    assert not any("No mean" in note for note in found.notes)
    for name in ("ring", "few", "trees"):
        shutil.copytree(crops / name, tmp_path / name)
    bundles = [load_classifier(tmp_path / name) for name in ("ring", "few", "trees")]
    alone = rank_bundles(bundles, ["ring", "few", "trees"], RankRequest((elsewhere,), draws=0))
    assert (alone.mean_of, len(alone.rows)) == ((), 3)
    assert any(
        "No mean of the two best: no validation images of the training" in note for note in alone.notes
    )
    assert "validation side" not in ranking_markdown(alone, "a.png", TOLD)


def test_nobody_is_chosen_by_the_images_that_judge_the_mean(crops):
    bundles = [load_classifier(crops / name) for name in ("ring", "few", "trees")]
    found = rank_bundles(bundles, ["ring", "few", "trees"], RankRequest(side="validation", draws=0))
    assert (found.mean_of, len(found.rows)) == ((), 3)
    assert any("are those judged by" in note for note in found.notes)


def test_a_copy_of_the_training_files_is_judged_by_what_nobody_has_chosen_by(ranked, crops, tmp_path):
    shutil.copytree(crops / "data", tmp_path / "copy")
    for path in (tmp_path / "copy").glob("*.hdf5"):
        with h5py.File(path, "r+") as file:
            file.attrs["copied"] = 1
    bundles = [load_classifier(crops / name) for name in ("ring", "few", "trees")]
    found = rank_bundles(bundles, ["ring", "few", "trees"], RankRequest((tmp_path / "copy",), draws=0))
    assert (found.n, found.mean_of) == (ranked.n, ranked.mean_of)


def test_without_draws_nothing_is_said_of_intervals(crops):
    bundles = [load_classifier(crops / name) for name in ("ring", "few", "trees")]
    found = rank_bundles(bundles, ["ring", "few", "trees"], RankRequest(draws=0))
    text = ranking_markdown(found, "a.png", TOLD)
    assert "Not told apart" not in text
    assert "nterval" not in text
    panel = ranking_panel(found)
    assert panel.y == "ROC-AUC"
    assert all(each.low is None for each in panel.series)
    (section,) = (each for each in ranking_sections(found) if each.heading == "Differences")
    assert "interval" not in section.note


def test_the_figure_says_what_the_mean_is_of(ranked):
    panel = ranking_panel(ranked)
    assert any(all(name in each.label for name in ranked.mean_of) for each in panel.series)
    assert "mean of two" in panel.ticks
    assert panel.y == "ROC-AUC, 95 %"


def test_published_figures_are_marked_as_of_other_data(ranked):
    text = ranking_markdown(ranked, "a.png", TOLD)
    ours, theirs = text.split("OTHER DATA")
    assert "0.8158" in theirs
    assert "0.8158" not in ours
    assert "do not compare" in theirs
    assert "rank highest on the validation side" in ours
    assert ranked.to_json()["published_on_other_data"][0]["roc_auc"] == "0.8158"
    assert {each.roc_auc for each in PUBLISHED["jets"]} >= {"0.8077", "0.8146"}


def test_the_command_line_keeps_a_page(crops, tmp_path, capsys):
    page = tmp_path / "images.md"
    page.write_text("# Mine\n\n<!-- ranking egamma -->\nOutdated.\n<!-- end ranking egamma -->\n\nAfter.\n")
    folders = [str(crops / name) for name in ("trees", "few")]
    words = ["compare", *folders, "--out", str(tmp_path / "out"), "--draws", "20", "--json"]
    assert cli.main([*words, "--markdown", str(page)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["rank"] for row in told["ranked"]["ranking"]] == [1, 2]
    assert told["ranked"]["mean_of"] == []
    text = page.read_text()
    assert text.startswith("# Mine")
    assert text.endswith("After.\n")
    assert "Outdated" not in text
    assert str(tmp_path) not in text
    assert (tmp_path / "images-egamma.png").is_file()
    assert cli.main([*words, "--no-rank"]) == 0
    assert json.loads(capsys.readouterr().out)["ranked"] is None
    assert cli.main([*words, "--no-rank", "--markdown", str(page)]) == 2


def test_what_cannot_be_ranked_is_a_note_unless_asked_for(crops, tmp_path):
    for name in ("a", "b"):
        shutil.copytree(crops / "few", tmp_path / name)
        path = tmp_path / name / "manifest.json"
        manifest = json.loads(path.read_text())
        manifest["sources"][0]["path"] = "gone.hdf5"
        path.write_text(json.dumps(manifest))
    both = [tmp_path / "a", tmp_path / "b"]
    found = compare(both, tmp_path / "out", RankRequest(draws=0))
    assert found.ranked is None
    assert any(note.startswith("Not ranked on the same images") for note in found.document["notes"])
    with pytest.raises(InputError, match="--data"):
        compare(both, tmp_path / "out", RankRequest(draws=0, must=True))
    given = RankRequest((crops / "data",), draws=0, must=True)
    assert compare(both, tmp_path / "out", given).ranked.n == 180


def test_parts_of_a_page_are_replaced_alone(tmp_path):
    page, picture = tmp_path / "page.md", tmp_path / "a.png"
    picture.write_bytes(b"png")
    keep_part(page, "one", "first", {"beside.png": picture})
    keep_part(page, "two", "second", {})
    keep_part(page, "one", "changed", {})
    text = page.read_text()
    assert "first" not in text
    assert text.index("changed") < text.index("second")
    assert (tmp_path / "beside.png").read_bytes() == b"png"
    page.write_text("<!-- one -->\n")
    with pytest.raises(InputError, match="add the other mark"):
        keep_part(page, "one", "again", {})


def spoilt_pages(folder, name):
    """Return pages that a part cannot be put into, and what is said of them."""
    begin, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    contents = {
        "half.md": (begin, "found 1 and 0"),
        "turned.md": (f"{end}\n{begin}", "the second before the first"),
        "twice.md": (f"{begin}\n{end}\n" * 2, "found 2 and 2"),
        "latin.md": ("caf\u00e9".encode("latin-1"), "byte 3 is none"),
    }
    for file, (content, _) in contents.items():
        (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "folder.md").mkdir()
    found = {folder / file: words for file, (_, words) in contents.items()}
    return found | {
        folder / "folder.md": "found a folder",
        folder / "half.md" / "page.md": "half.md, which is a file",
    }


def test_a_page_is_checked_before_any_work(crops, tmp_path, capsys, monkeypatch):
    def work(*_, **__):
        raise AssertionError("there was work")

    monkeypatch.setattr("calowatch.evaluate.compare.compare", work)
    monkeypatch.setattr("calowatch.evaluate.learning_curve.evaluate_learning", work)
    bundles = [str(crops / name) for name in ("trees", "few")]
    curve = ["evaluate", "learning-curve", "egamma-trees", "--data", str(crops / "data")]
    for part, words in (("ranking", ["compare", *bundles]), ("learning-curve", curve)):
        (tmp_path / part).mkdir()
        for page, said in spoilt_pages(tmp_path / part, f"{part} egamma").items():
            assert cli.main([*words, "--out", str(tmp_path / "out"), "--markdown", str(page)]) == 2
            assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_negative_seed_is_refused(crops, tmp_path, capsys):
    out = ["--out", str(tmp_path / "out"), "--seed", "-1"]
    for words in (
        ["compare", str(crops / "trees"), str(crops / "few")],
        ["evaluate", "run", str(crops / "trees")],
        ["evaluate", "learning-curve", "egamma-trees", "--data", str(crops / "data")],
    ):
        assert cli.main([*words, *out]) == 2
        assert "--seed" in capsys.readouterr().err


# -- learning curve -----------------------------------------------------------------------------------------------


def test_sides_are_nested_and_classes_keep_their_shares():
    labels = (np.arange(1000) % 4 == 0).astype(np.int64)
    rows = np.arange(1000)
    whole = ImageSides(rows[:700], rows[700:800], rows[800:])
    small, middle, large = (nested_sides(labels, whole, size, 5) for size in (40, 200, 10_000))
    assert set(small.train) < set(middle.train) < set(large.train) == set(whole.train)
    assert set(small.validation) < set(whole.validation)
    assert (len(small.train), len(small.validation), len(middle.validation)) == (40, 40, 100)
    assert labels[small.train].mean() == pytest.approx(0.25, abs=0.03)
    assert (middle.test == whole.test).all()


def test_the_whole_side_is_learned_for_as_long_as_the_recipe_says(crops, tmp_path, monkeypatch):
    rows = np.arange(600)
    # Whole chunks may leave less than the share asked for.
    sides = ImageSides(rows[:150], rows[150:200], rows[200:])
    monkeypatch.setattr("calowatch.evaluate.learning_curve.deal_images", lambda *_: sides)
    epochs = {}

    def learn(recipe, data, sides):
        epochs[len(sides.train)] = recipe.fit.epochs
        return Learned(load_classifier(crops / "trees"), 0.0)

    recipe = ImageTraining.model_validate(
        {
            "task": "images",
            "summary": "a test",
            "data": {"kind": "egamma", "split": SPLIT},
            "network": {"name": "trees"},
            "fit": {"epochs": 7},
        }
    )
    task = CurveTask({"mine": recipe}, (crops / "data",), (50, 9000), draws=0)
    found = evaluate_learning(task, tmp_path / "out", learn)
    assert epochs == {50: 21, 150: 7}
    page = found.files[0].read_text()
    assert "ROC-AUC, 95" not in page
    assert "Intervals of 95" not in page


def test_a_learning_curve_goes_on_where_it_was(crops, tmp_path, capsys, monkeypatch):
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        'task = "images"\nsummary = "a test"\n[data]\nkind = "egamma"\n'
        'split = { by = "stratified", train = 0.5, validation = 0.2, test = 0.3 }\n'
        '[network]\nname = "trees"\noptions = { observables = "showers", iterations = 20, least = 5 }\n'
    )
    words = ["evaluate", "learning-curve", str(recipe), "--data", str(crops / "data"), "--draws", "20"]
    words += ["--out", str(tmp_path / "out")]
    assert cli.main([*words, "--sizes", "40,120", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert [(point["recipe"], point["images"], point["test"]) for point in first["points"]] == [
        ("mine", 40, 180),
        ("mine", 120, 180),
    ]
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "points").iterdir()}
    page = tmp_path / "page.md"
    assert cli.main([*words, "--sizes", "40,120,9000", "--markdown", str(page)]) == 0
    assert "mine" in capsys.readouterr().out
    now = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "points").iterdir()}
    assert {name: now[name] for name in times} == times
    assert len(now) == 3
    table = pd.read_csv(tmp_path / "out" / "learning_curve.csv")
    assert table["images"].max() < 600
    assert (table["roc_auc_low"] <= table["roc_auc"]).all()
    assert "<!-- learning-curve egamma -->" in page.read_text()
    assert (tmp_path / "page-egamma-curve.png").is_file()
    assert cli.main([*words, "--sizes", "5"]) == 2
    assert cli.main([*words, "--sizes", "a"]) == 2
    assert "expected numbers with commas" in capsys.readouterr().err
