"""A data set that was tampered with does not pass, and the error names run and lumisection."""

import json

import numpy as np
import pandas as pd
import pytest

from calowatch.cli import main
from calowatch.core.errors import ConflictError, InputError
from calowatch.data.check import check_dataset
from calowatch.data.dataset import WINDOWS_FILE, open_dataset, write_windows
from calowatch.data.prepare import PrepareOptions, prepare
from calowatch.io.store import open_run, write_run


@pytest.fixture
def folder(session_store, write_recipe, tmp_path):
    prepare(write_recipe(), tmp_path / "data", PrepareOptions(session_store))
    return tmp_path / "data"


def change_index(folder, change):
    index = pd.read_parquet(folder / "index.parquet")
    change(index).to_parquet(folder / "index.parquet", index=False)


def change_windows(folder, change):
    windows = open_dataset(folder).windows
    change(windows)
    write_windows(folder / WINDOWS_FILE, windows)


def test_the_proof(folder):
    proof = check_dataset(folder)
    assert proof.n_ls == {"train": 79, "validation": 20, "test": 20}
    assert (proof.ls_on_two_sides, proof.windows_over_two_sides, proof.equal_counts) == (0, 0, 0)
    assert (proof.guard, proof.nearest, proof.runs_on_two_sides) == (0, 0, [355456, 355680])


def test_a_lumisection_on_two_sides(folder, capsys):
    def twice(index):
        one = index.query("run == 355680 and ls == 51").assign(side="train")
        return pd.concat([index, one], ignore_index=True)

    change_index(folder, twice)
    assert main(["prepare", "--check", str(folder)]) == 2
    captured = capsys.readouterr()
    assert "run 355680 LS 51" in captured.err
    assert "test and train" in captured.err
    assert captured.out == ""


def test_a_lumisection_moved_to_another_side(folder):
    def moved(index):
        return index.assign(
            side=np.where((index["run"] == 355456) & (index["ls"] == 45), "train", index["side"])
        )

    change_index(folder, moved)
    with pytest.raises(ConflictError, match="run 355456 LS 45"):
        check_dataset(folder)


def test_a_lumisection_of_no_side(folder):
    change_index(folder, lambda index: index.assign(side=index["side"].replace("test", "exam")))
    with pytest.raises(ConflictError, match="a side among train, validation, test"):
        check_dataset(folder)


def test_a_window_with_another_sides_lumisection(folder):
    def slip(windows):
        at = np.flatnonzero((windows.run == 355456) & (windows.side == "train"))[-1]
        windows.ls[at] += 1  # LS 36-40 of the training side become 37-41
        windows.rows[at] += 1

    change_windows(folder, slip)
    with pytest.raises(ConflictError, match=r"run 355456 LS 41: .* LS 37 38 39 40 41"):
        check_dataset(folder)


def test_a_window_of_the_wrong_rows(folder):
    change_windows(folder, lambda windows: np.add(windows.rows[0], 40, out=windows.rows[0]))
    with pytest.raises(ConflictError, match="run 355456 LS 1: expected the row of this LS, found row 40"):
        check_dataset(folder)


def test_a_window_over_another_side(folder):
    def exchange(index):
        """LS 20 of the first run changes sides: windows around it have left it out, and reach over it."""
        chosen = (index["run"] == 355456) & (index["ls"] == 20)
        return index.assign(side=np.where(chosen, "validation", index["side"]))

    def leave_out(windows):
        touched = (windows.run == 355456) & (windows.ls == 20).any(axis=1)
        windows.ls[touched] = windows.ls[touched][:, [0, 0, 0, 0, 0]] + np.array([-5, -4, -3, -2, 0])
        for name in ("ls", "rows"):
            getattr(windows, name)[touched] = np.array([17, 18, 19, 21, 22]) - (name == "rows")

    change_index(folder, exchange)
    change_windows(folder, leave_out)
    with pytest.raises(ConflictError, match="windows that reach over no other side"):
        check_dataset(folder)


def test_a_guard_that_is_not_kept(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "guard": 3}))
    with pytest.raises(
        ConflictError, match=r"run 355456 LS 40: .*train with 0 between it and LS 41 of validation"
    ):
        check_dataset(folder)


def test_counts_that_are_not_the_manifests(folder):
    change_index(folder, lambda index: index.drop(index.index[index["ls"] == 59]))
    change_windows(folder, lambda windows: None)
    with pytest.raises(ConflictError, match="LS 59"):
        check_dataset(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["splits"]["test"]["n_windows"] += 1
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_preparation_fitted_on_something_else(folder):
    preparation = open_dataset(folder).preparation
    preparation.scale_[1] = preparation.scale_[1] * 1.001
    preparation.save(folder)
    with pytest.raises(InputError, match="another scale of step standard in 2160 channels"):
        check_dataset(folder)


def test_a_run_that_was_converted_under_two_numbers(session_store, write_recipe, tmp_path):
    store = tmp_path / "s.zarr"
    for run in (355456, 355999):
        twin = open_run(session_store, 355456)
        twin.attrs["run"] = run
        write_run(store, twin)
    recipe = write_recipe(
        (
            'by = "ls_range"\ntrain = "1-40"\nvalidation = "41-50"\ntest = "51-"',
            'by = "run"\ntrain = 355456\ntest = 355999',
        )
    )
    prepare(recipe, tmp_path / "data", PrepareOptions(store))
    with pytest.raises(ConflictError, match=r"run 355999 LS 1: .* same counts as run 355456 LS 1 on train"):
        check_dataset(tmp_path / "data")


@pytest.mark.parametrize("name", ["manifest.json", "windows.parquet", "preparation.json", "index.parquet"])
def test_damaged_files(folder, name, capsys):
    (folder / name).write_text("{}" if name.endswith("json") else "PAR1")
    assert main(["prepare", "--check", str(folder)]) == 2
    assert "error" in capsys.readouterr().err


def test_another_segmentation(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["segmentation"]["run3"] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="segmentation of run3"):
        check_dataset(folder)
