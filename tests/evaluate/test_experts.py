"""The study of experts: its figures come from the network, its verdict from the figures."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from calowatch.cli import main
from calowatch.cli.evaluate_experts import _learner
from calowatch.cli.evaluate_shortcuts import recipes_of
from calowatch.core.errors import InputError
from calowatch.core.training import FitRecipe, NetworkRecipe
from calowatch.evaluate.experts import ExpertsTask, evaluate_experts
from calowatch.evaluate.experts_words import expert_words
from calowatch.present.experts import _draw_removed, _number
from calowatch.simulate.gsoc import GsocSettings
from calowatch.simulate.gsoc_files import write_gsoc


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_gsoc(tmp_path_factory.mktemp("experts") / "gsoc", GsocSettings(n=24, block=4)).images


def task(files, **changed):
    recipe = recipes_of("runs-moe-vit", None)["moe-vit"]
    options = {**recipe.network.options, "layers": 2, "dim": 8, "mlp": 8, "experts": 3}
    network = NetworkRecipe(name="moe-vit", options=options)
    recipe = recipe.model_copy(update={"network": network, "fit": FitRecipe(batch=16)})
    return replace(ExpertsTask(recipe, "moe-vit", files, seeds=2, epochs=2), **changed)


@pytest.fixture(scope="module")
def studied(files, tmp_path_factory):
    out = tmp_path_factory.mktemp("studied")
    return out, evaluate_experts(task(files), out, _learner("cpu"))


def test_each_seed_is_told(studied):
    out, result = studied
    seeds = result.seeds
    assert seeds["seed"].tolist() == [0, 1]
    assert seeds["side"].unique().tolist() == ["validation"]  # the published recipe has no test side
    loads = seeds[["load_0", "load_1", "load_2"]].to_numpy()
    np.testing.assert_allclose(loads.sum(axis=1), 1.0)
    assert (seeds["token_entropy"] <= seeds["mean_entropy"] + 1e-9).all()
    assert (seeds["mean_entropy"] <= np.log(3) + 1e-9).all()
    for place in ("ieta", "iphi"):
        assert (seeds[f"information_{place}"] <= seeds["information_patch"] + 1e-9).all()
    assert {"auc_drop_0", "auc_drop_1", "auc_drop_2"} <= set(seeds)
    assert {path.name for path in result.files} <= {path.name for path in out.iterdir()}
    assert len(pd.read_csv(out / "experts.csv")) == 2


def test_similarity_is_told_from_before_training_on(studied):
    _, result = studied
    assert result.epochs.groupby("seed")["epoch"].apply(list).tolist() == [[0, 1, 2], [0, 1, 2]]
    assert result.epochs["experts_cka"].between(0, 1 + 1e-9).all()
    assert result.epochs["experts_cosine"].between(-1 - 1e-9, 1 + 1e-9).all()


def test_finished_seeds_are_not_trained_again(studied, files):
    out, result = studied

    def refuse(recipe, data, sides):
        raise AssertionError(recipe, data, sides)

    again = evaluate_experts(task(files), out, refuse)
    assert again.verdict == result.verdict
    with pytest.raises(AssertionError):
        evaluate_experts(task(files, epochs=3), out, refuse)


def test_networks_without_experts_are_refused(files, tmp_path):
    with pytest.raises(InputError, match="runs-moe-vit"):
        evaluate_experts(task(files, recipe=recipes_of("runs-cnn", None)["cnn"]), tmp_path, _learner("cpu"))
    with pytest.raises(InputError, match="--seeds"):
        task(files, seeds=0)


def words(course, drops=((0.0, 0.0),) * 5, auc=(1.0,) * 5, cosine=None):
    """Return the verdict on seeds whose similarity takes a course by epoch."""
    numbers = {"dead": 0.0, "token_entropy": 0.6, "mean_entropy": 0.69}
    numbers |= {"information_patch": 0.1, "information_class": 0.01, "load_0": 0.5, "load_1": 0.5}
    seeds = pd.DataFrame(
        [
            {"seed": n, "auc": auc[n], **numbers, "auc_drop_0": a, "auc_drop_1": b}
            for n, (a, b) in enumerate(drops)
        ]
    )
    rows = [
        {"seed": seed, "epoch": epoch, "experts_cka": value, "experts_cosine": other}
        for seed in range(len(drops))
        for epoch, (value, other) in enumerate(zip(course, cosine or course, strict=True))
    ]
    return expert_words(seeds, pd.DataFrame(rows))


@pytest.mark.parametrize(
    ("cka", "cosine", "verdict"),
    [
        ((0.2, 0.3, 0.5), (0.0, 0.1, 0.3), "by both measures experts become alike; .* is borne out."),
        ((0.2, 0.3, 0.1), (0.0, 0.1, 0.0), "by both measures experts part; .* is refuted."),
        (
            (0.5, 0.3, 0.3),
            (0.0, 0.1, 0.1),
            "by both measures they take no common course; .* is not borne out.",
        ),
        ((0.2, 0.3, 0.5), (0.0, 0.1, 0.1), "without coming to give the same answers; .* one measure of two"),
        ((0.2, 0.3, 0.1), (0.0, 0.1, 0.1), "by CKA experts part, by cosine they take no .* by neither"),
        ((0.2, 0.3, 0.5), (0.2, 0.3, 0.1), "become alike, by cosine experts part; .* no confirmation"),
    ],
)
def test_both_measures_give_one_verdict(cka, cosine, verdict):
    told = words(cka, cosine=cosine)
    assert re.search(f"^Together: .*{verdict}", told[2])
    assert (
        f"{cka[0]:.3f} before training, {cka[1]:.3f} after the first epoch, {cka[2]:.3f} after 2" in told[0]
    )


def test_one_epoch_says_nothing_of_longer_training():
    told = words((0.2, 0.3))
    assert told[2].startswith("After one epoch nothing can be said")
    assert "not borne out" not in " ".join(told)


def test_networks_that_learned_nothing_say_nothing_of_experts():
    (sentence,) = words((0.2, 0.3, 0.5), auc=(0.0, 0.5, 0.5, 0.5, 0.6))
    assert "seeds 0 (0.0000), 1 (0.5000)" in sentence
    assert "says nothing" in sentence
    told = words((0.2, 0.3, 0.5), auc=(1.0, 0.5, 1.0, 1.0, 1.0))
    assert told[0].endswith("the networks of seeds 1 (0.5000).")
    assert "(means of 4 seeds)" in told[1]
    assert "AUC 1.0000 (lowest 1.0000)" in told[-1]


def test_experts_that_nobody_misses_are_told():
    assert "at its ceiling" in words((0.1, 0.1))[-1]
    assert words((0.1, 0.1), auc=(0.95,) * 5)[-1].endswith("so no expert is needed.")
    assert "some experts matter" in words((0.1, 0.1), ((0.2, 0.0), (0.0, 0.1)))[-1]


def test_the_verb_tells_and_keeps_a_page(files, tmp_path, capsys):
    command = [
        "evaluate",
        "experts",
        "runs-moe-vit",
        "--data",
        str(files[0].parent),
        "--out",
        str(tmp_path / "out"),
    ]
    command += [
        "--seeds",
        "1",
        "--epochs",
        "1",
        "--at-most",
        "10",
        "--page",
        str(tmp_path / "kept.md"),
        "--json",
    ]
    assert main(command) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["seeds"]) == 1
    assert document["provenance"]["verb"] == "evaluate experts"
    page = (tmp_path / "kept.md").read_text()
    assert "![Experts by epoch](kept.png)" in page
    assert "| seed | AUC |" in page
    assert (tmp_path / "kept.png").exists()


def test_rounding_errors_are_no_signal():
    drops = {"seed": [0], "auc_drop_0": [-1e-16], "auc_drop_1": [1e-16]}
    axes = Figure().subplots()
    _draw_removed(axes, pd.DataFrame(drops), 2)
    low, high = axes.get_ylim()
    assert low <= -0.005
    assert high >= 0.005
    assert "-0.0000" not in words((0.1, 0.1), ((-1e-9, -1e-9),))[-1]
    assert _number(-1e-16) == "0.0000"
    assert _number(-0.25) == "-0.2500"
