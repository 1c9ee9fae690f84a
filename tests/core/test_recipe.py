"""A recipe is read whole or refused with the key at fault and the nearest that would do."""

import pytest

from calowatch.core.errors import FormatError, InputError, UnknownNameError
from calowatch.core.recipe import DataRecipe, Span, load_recipe, recipe_path, shipped_recipes

GOOD = """
seed = 3
[select]
runs = [355456, "355600-355700"]
ls = ["1-10", "12", "20-"]
[split]
by = "ls_range"
train = "1-500"
test = "501-"
[preparation]
steps = ["per_event", {step = "min_max", scope = "ring"}]
"""


def load(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return load_recipe(path, DataRecipe)


def test_a_recipe_is_read(tmp_path):
    recipe = load(tmp_path, GOOD)
    assert recipe.select.runs == (Span(355456, 355456), Span(355600, 355700))
    assert recipe.select.ls == (Span(1, 10), Span(12, 12), Span(20, None))
    assert (recipe.split.by, recipe.split.test) == ("ls_range", (Span(501, None),))
    assert [step.step for step in recipe.preparation.steps] == ["per_event", "min_max"]
    assert recipe.preparation.steps[1].scope == "ring"


def test_it_survives_the_manifest(tmp_path):
    recipe = load(tmp_path, GOOD)
    assert DataRecipe.model_validate(recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize(
    ("old", "new", "key", "hint"),
    [
        ("seed", "sead", "mine.toml", "did you mean seed?"),
        ("ls = [", "lss = [", "select", "unknown key 'lss'"),
        ('test = "501-"', 'tests = "501-"', "split", "did you mean test?"),
        ('"ls_range"', '"ls_ranges"', "split", "did you mean ls_range?"),
        ('"per_event"', '"per_events"', "preparation.steps.0", "did you mean per_event?"),
        ('scope = "ring"', 'scop = "ring"', "preparation.steps.1", "did you mean scope"),
        ('scope = "ring"', 'scope = "rbx"', "preparation.steps.1.scope", "'channel'"),
        ('"1-500"', '"500-1"', "split.train", "ends before it begins"),
        ('"1-500"', '"early"', "split.train", "no number or range"),
        ('"501-"', '"500-"', "split", "train 1-500 and test 500- overlap"),
        ("seed = 3", "seed = -3", "seed", "greater than or equal to 0"),
        ('train = "1-500"', "", "split.train", "Field required"),
        ('by = "ls_range"', "", "split", "by = None"),
        ('"per_event"', '"min_max", "per_event"', "preparation", "per_event must be the first"),
        ('scope = "ring"}', 'scope = "ring"}, "log1p"', "preparation", "log1p after min_max"),
    ],
)
def test_mistakes_are_named(tmp_path, old, new, key, hint):
    assert old in GOOD
    with pytest.raises(InputError) as caught:
        load(tmp_path, GOOD.replace(old, new, 1))
    assert key in caught.value.where
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_splits_know_their_mistakes(tmp_path):
    for split, hint in (
        ("by = 'blocks'\nshares = {train = 0.7}", "1"),
        ("by = 'blocks'\nshares = {train = 0.7, validation = 0.2, test = 0.2}", "1.1 together"),
        ("by = 'run'\ntrain = ['1-5', 7]\ntest = [4, 9]", "train 1-5 and test 4 overlap"),
        ("by = 'era'\ntrain = ['2018']\ntest = ['2018']", "2018 named twice"),
        ("by = 'blocks'\nlength = 0", "greater than or equal to 1"),
    ):
        if hint == "1":  # the shares left out have their defaults: 0.7 + 0.15 + 0.15
            assert load(tmp_path, f"[split]\n{split}").split.shares.test == 0.15
            continue
        with pytest.raises(InputError, match=hint):
            load(tmp_path, f"[split]\n{split}")


def test_no_toml(tmp_path):
    with pytest.raises(FormatError, match="recipe in TOML"):
        load(tmp_path, "[split\n")


def test_shipped_recipes_are_found_by_name_and_whole():
    assert set(shipped_recipes()) >= {"source-ls-split", "whole-runs", "blocks", "era"}
    assert recipe_path("blocks") == recipe_path("blocks.toml") == shipped_recipes()["blocks"]
    with pytest.raises(UnknownNameError, match="did you mean blocks") as told:
        recipe_path("block")
    assert len(str(told.value)) < 250


def test_a_file_comes_before_a_shipped_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "blocks.toml").write_text(GOOD)
    assert recipe_path("blocks.toml").resolve() == tmp_path / "blocks.toml"
    with pytest.raises(UnknownNameError, match="a recipe file"):
        recipe_path(tmp_path / "era.toml")
