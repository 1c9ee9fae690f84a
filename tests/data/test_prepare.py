"""The verb ``prepare``: what it makes, what it refuses, and that the training side is all it learns from."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from calowatch.cli import main
from calowatch.core.errors import ConflictError, InputError
from calowatch.core.progress import SilentProgress
from calowatch.data import cache as caches
from calowatch.data.check import check_dataset
from calowatch.data.dataset import open_dataset
from calowatch.data.prepare import PrepareOptions, prepare
from calowatch.io.store import open_run, write_run

SOURCE_RUNS = (355456, 355680, 356077, 356381, 356615, 357112, 357271, 357329, 357442, 360820, 361240, 361957)
SOURCE_RUNS += (362091, 362696, 362760)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory, small_run):
    """A store that every shipped recipe can be made from: all the source's runs, and two of 2018."""
    store = tmp_path_factory.mktemp("shipped") / "runs.zarr"
    for run in SOURCE_RUNS:
        ls = [*range(491, 511)] if run == 355456 else [*range(496, 506)]
        write_run(store, small_run(run, ls, ("HB", "HE", "HF", "HO")))
    for run in (319077, 319337):
        write_run(store, small_run(run, range(1, 7), ("HE", "HF", "HO")))
    return store


@pytest.mark.parametrize("name", ["source-ls-split", "whole-runs", "era"])
def test_shipped_recipes(shipped, tmp_path, name):
    manifest = prepare(name, tmp_path / "data", PrepareOptions(shipped))
    proof = check_dataset(tmp_path / "data")
    assert all(proof.n_windows.values())
    assert len(proof.runs_on_two_sides) == (15 if name == "source-ls-split" else 0)
    if name == "source-ls-split":
        assert proof.n_ls == {"train": 10 + 14 * 5, "test": 10 + 14 * 5}
        assert proof.n_windows == {"train": 2 + 14, "test": 2 + 14}
        assert manifest["n_channels"] == 6768
    if name == "era":
        assert manifest["n_channels"] == 6768
        assert manifest["splits"]["train"]["runs"] == [319077, 319337]
        assert set(manifest["segmentation"]) == {"2018", "run3"}


def test_the_recipe_of_blocks(tmp_path, small_run):
    store = tmp_path / "runs.zarr"
    for run in (355456, 355680):
        write_run(store, small_run(run, range(1, 121), ("HB", "HE", "HF", "HO")))
    manifest = prepare("blocks", tmp_path / "data", PrepareOptions(store, seed=3))
    proof = check_dataset(tmp_path / "data")
    assert list(proof.n_ls) == ["train", "validation", "test"]
    assert proof.guard == 5
    assert proof.nearest >= 5
    assert manifest["seed"] == 3
    assert manifest["left_out"]["on_no_side"] == 2 * 10


def test_what_is_on_disk(session_store, write_recipe, tmp_path):
    manifest = prepare(write_recipe(), tmp_path / "data", PrepareOptions(session_store))
    assert json.loads((tmp_path / "data" / "manifest.json").read_text()) == manifest
    assert {side: told["n_ls"] for side, told in manifest["splits"].items()} == {
        "train": 40 + 39,
        "validation": 20,
        "test": 20,
    }
    assert manifest["splits"]["train"]["n_windows"] == 36 + (29 - 4) + (10 - 4)
    assert str(tmp_path) not in (tmp_path / "data" / "manifest.json").read_text()
    data = open_dataset(tmp_path / "data")
    run = open_run(session_store, 355680)
    columns = data.columns(data.run(355680))
    counts = data.run(355680).counts
    assert isinstance(counts, np.memmap)
    assert counts.dtype == np.uint16
    for row, ls in data.index.query("run == 355680")[["row", "ls"]].itertuples(index=False):
        assert np.array_equal(counts[row][columns], run["counts"].sel(ls=ls).to_numpy())


def test_the_same_again_and_in_place_of_it(session_store, write_recipe, tmp_path):
    options = PrepareOptions(session_store, seed=5)
    recipe = write_recipe(
        (
            'by = "ls_range"\ntrain = "1-40"\nvalidation = "41-50"\ntest = "51-"',
            'by = "blocks"\nlength = 10\nguard = 2',
        )
    )
    prepare(recipe, tmp_path / "one", options)
    prepare(recipe, tmp_path / "two", options)
    first, second = open_dataset(tmp_path / "one"), open_dataset(tmp_path / "two")
    pd.testing.assert_frame_equal(first.index, second.index)
    assert first.preparation.difference(second.preparation, rtol=0) == ""
    prepare(recipe, tmp_path / "two", PrepareOptions(session_store, seed=6))
    assert not first.index["side"].equals(open_dataset(tmp_path / "two").index["side"])


def poisoned(occupancy, first, last):
    """Return the run with absurd counts and events in some lumisections."""
    wild = occupancy.copy(deep=True)
    rows = (wild["ls"] >= first).to_numpy() & (wild["ls"] <= last).to_numpy()
    wild["n_events"][rows] = 60_000
    wild["counts"][rows] = np.random.default_rng(0).choice(
        [0, 1, 1, 1, 1, 1, 1, 60_000], (rows.sum(), wild.sizes["channel"])
    )
    return wild


@pytest.mark.parametrize(
    "steps", ['"per_event", {step = "standard", scope = "ring"}', '"log1p", "min_max"', '"ring", "min_max"']
)
def test_the_other_sides_teach_nothing(tmp_path, write_recipe, small_run, steps):
    run = small_run(355456, range(1, 61))
    recipe = write_recipe(('"per_event", {step = "standard", scope = "ring"}', steps))
    stored = []
    for name, occupancy in (("sane", run), ("test", poisoned(run, 41, 60)), ("train", poisoned(run, 40, 40))):
        write_run(tmp_path / f"{name}.zarr", occupancy)
        prepare(recipe, tmp_path / name, PrepareOptions(tmp_path / f"{name}.zarr"))
        stored.append(open_dataset(tmp_path / name).preparation)
    assert stored[0].difference(stored[1]) == ""
    assert stored[0].difference(stored[2]) != ""


def test_lumisections_are_left_out_and_counted(tmp_path, write_recipe, small_run):
    run = small_run(355456, range(1, 61))
    run["n_events"][4] = -1
    run["counts"][5], run["n_events"][5] = 0, 3
    write_run(tmp_path / "s.zarr", run)
    recipe = write_recipe(('test = "51-"', 'test = "51-58"'), ("[split]", 'ls = "2-"\n[split]'))
    manifest = prepare(recipe, tmp_path / "data", PrepareOptions(tmp_path / "s.zarr"))
    assert manifest["left_out"] == {
        "outside_ls_ranges": 1,
        "unknown_events": 1,
        "few_events": 1,
        "on_no_side": 2,
    }
    assert not set(open_dataset(tmp_path / "data").index["ls"]) & {1, 5, 6, 59, 60}


def test_known_bad_channels(session_store, write_recipe, tmp_path):
    known = tmp_path / "known.csv"
    known.write_text("subdet,ieta,iphi,depth\nHO,-15,1,4\nHB,1,1,1\n")
    manifest = prepare(write_recipe(), tmp_path / "data", PrepareOptions(session_store, known=known))
    assert manifest["n_known_bad"] == 1
    assert np.flatnonzero(~open_dataset(tmp_path / "data").preparation.mask).tolist() == [0]
    assert check_dataset(tmp_path / "data").preparation == "equal"


def test_channels_that_not_all_runs_have(tmp_path, write_recipe, small_run):
    for run in (319077, 355456):
        write_run(tmp_path / "s.zarr", small_run(run, range(1, 61), ("HB",)))
    progress = SilentProgress()
    recipe = write_recipe(('"HO"', '"HB"'))
    manifest = prepare(recipe, tmp_path / "data", PrepareOptions(tmp_path / "s.zarr"), progress)
    assert manifest["n_channels"] == 2592
    assert progress.notes == ["6480 channels are not in all runs and are left out; 2592 remain"]


def test_the_cache_is_shared_resumed_and_made_again(tmp_path, write_recipe, session_store, monkeypatch):
    store = tmp_path / "copy.zarr"
    shutil.copytree(session_store, store)
    opened = []

    def failing(path, run, *, lazy=False):
        opened.append(run)
        if run == 355680:
            raise KeyboardInterrupt
        return open_run(path, run, lazy=lazy)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(caches, "open_run", failing)
        prepare(write_recipe(), tmp_path / "one", PrepareOptions(store))
    assert not (tmp_path / "one").exists()
    assert opened == [355456, 355680]
    monkeypatch.setattr(caches, "open_run", lambda path, run: opened.append(-run) or open_run(path, run))
    prepare(write_recipe(), tmp_path / "one", PrepareOptions(store))
    prepare(write_recipe(), tmp_path / "two", PrepareOptions(store))
    assert opened[2:] == [-355680]
    cached = tmp_path / "copy.zarr.cache"
    assert [path.name[:7] for path in sorted(cached.iterdir())] == ["355456-", "355680-"]
    next(cached.glob("355456-*/counts.npy")).write_bytes(b"half")
    open_dataset(tmp_path / "one").run(355456)
    assert opened[3:] == [-355456]


def test_a_store_that_changes(tmp_path, write_recipe, small_run):
    store = tmp_path / "s.zarr"
    write_run(store, small_run(355456, range(1, 61)))
    prepare(write_recipe(), tmp_path / "old", PrepareOptions(store))
    before = open_dataset(tmp_path / "old").run(355456).counts[:].copy()
    write_run(store, small_run(355456, range(1, 61), seed=9), replace=True)
    assert np.array_equal(open_dataset(tmp_path / "old").run(355456).counts, before)
    prepare(write_recipe(), tmp_path / "new", PrepareOptions(store))
    assert not np.array_equal(open_dataset(tmp_path / "new").run(355456).counts, before)
    shutil.rmtree(tmp_path / "s.zarr.cache")
    assert open_dataset(tmp_path / "new").run(355456).counts.shape == before.shape
    with pytest.raises(InputError, match="prepare the data set again"):
        open_dataset(tmp_path / "old").run(355456)


def test_everything_can_be_moved_together(tmp_path, write_recipe, session_store):
    old = tmp_path / "old"
    shutil.copytree(session_store, old / "s.zarr")
    prepare(write_recipe(), old / "sets" / "data", PrepareOptions(old / "s.zarr"))
    old.rename(tmp_path / "new")
    assert check_dataset(tmp_path / "new" / "sets" / "data").preparation == "equal"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('subdets = ["HO"]', 'subdets = ["H0"]'), "did you mean HO"),
        (('subdets = ["HO"]', 'subdets = ["HO", "HE"]'), "none of HE"),
        (("[split]", "runs = [355456, 355700, 355701]\n[split]"), "a store without 355700, 355701"),
        (("[split]", 'runs = "1-9"\n[split]'), "widen select.runs"),
        (('test = "51-"', 'test = "100-"'), "none on test"),
        (("length = 5", "length = 11"), "none on test and validation: the longest has 10"),
        (("[split]", "min_events = 9999\n[split]"), "none on train and validation and test"),
        (("stride", "strid"), "did you mean stride"),
        (
            (
                'by = "ls_range"\ntrain = "1-40"\nvalidation = "41-50"\ntest = "51-"',
                'by = "run"\ntrain = 355456\ntest = 7',
            ),
            "a store without 7",
        ),
        (
            (
                'by = "ls_range"\ntrain = "1-40"\nvalidation = "41-50"\ntest = "51-"',
                'by = "era"\ntrain = ["run4"]',
            ),
            "did you mean run3",
        ),
    ],
)
def test_what_cannot_be_is_one_line(session_store, write_recipe, tmp_path, capsys, change, message):
    recipe, out = str(write_recipe(change)), tmp_path / "data"
    assert main(["prepare", recipe, "--store", str(session_store), "--out", str(out)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len([line for line in captured.err.splitlines() if "error" in line]) == 1
    assert captured.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.toml"]


def test_stores_and_folders_that_will_not_do(session_store, write_recipe, tmp_path):
    with pytest.raises(InputError, match="give --store"):
        prepare(write_recipe(), tmp_path / "data")
    with pytest.raises(InputError, match="no such folder"):
        prepare(write_recipe(), tmp_path / "data", PrepareOptions(tmp_path / "none.zarr"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "manifest.json").write_text("precious")
    with pytest.raises(ConflictError):
        prepare(write_recipe(), tmp_path / "mine", PrepareOptions(session_store))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["manifest.json"]
    with pytest.raises(InputError, match="calowatch prepare RECIPE"):
        open_dataset(tmp_path / "mine")


def test_the_recipe_may_name_the_store(session_store, write_recipe, tmp_path):
    shutil.copytree(session_store, tmp_path / "s.zarr")
    recipe = write_recipe(("\n[select]", 'store = "s.zarr"\n[select]'))
    assert prepare(recipe, tmp_path / "data")["store"]["path"] == "../s.zarr"


def test_the_command(session_store, write_recipe, tmp_path, capsys):
    out = str(tmp_path / "data")
    assert main(["prepare", str(write_recipe()), "--store", str(session_store), "--out", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "recipe"
    assert main(["prepare", "--check", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["windows_over_two_sides"] == 0
    assert main(["prepare", str(write_recipe()), "--store", str(session_store), "--out", out]) == 0
    assert "validation" in capsys.readouterr().out
    assert main(["prepare", "--check", out]) == 0
    assert "LS on two sides: 0" in capsys.readouterr().out
    assert main(["prepare", "blocks", "--check", out]) == 2
    assert main(["prepare", "blocks"]) == 2
