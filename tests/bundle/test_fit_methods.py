"""``fit --method`` and ``monitor --reference`` through the command line."""

import json

import pytest
from typer.testing import CliRunner

from calowatch.bundle.calibration_files import load_calibration
from calowatch.bundle.expecting import load_window_model
from calowatch.cli import app
from calowatch.io.store import write_run

FAULTS = [("HO012", 0.5, 21, 40), ("HO-7-33-4", 0.0, 1, 40)]


@pytest.fixture(scope="module")
def store(toy_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "occupancy.zarr"
    for run, faults in ((1, []), (2, []), (3, FAULTS)):
        toy = toy_run(run, n_ls=60 if run < 3 else 40, run=362757 + run, faults=faults, subdets=("HO",))
        write_run(folder, toy.occupancy)
    return folder


def run_json(*arguments):
    found = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


@pytest.mark.parametrize("method", ["reference", "pca", "ewma", "ring"])
def test_fitted_by_any_method_a_bundle_serves_to_monitor(method, store, tmp_path):
    runs = [f"{store}::362758", f"{store}::362759"]
    manifest = run_json("fit", *runs, "--method", method, "--out", tmp_path / "b")
    assert manifest["kind"] == method
    assert manifest["n_parameters"] == load_window_model(tmp_path / "b").n_parameters
    if method == "reference":
        assert [entry["run"] for entry in manifest["runs"]] == [362758, 362759]
    else:
        assert [entry["run"] for entry in manifest["runs"]] == [362758]
        assert [entry["run"] for entry in manifest["calibrated_on"]] == [362759]
        assert load_calibration(tmp_path / "b").n_windows == 12
    document = run_json(
        "monitor", f"{store}::362760", "-r", tmp_path / "b", "--no-report", "--out", tmp_path / "out"
    )
    assert {verdict["unit"] for verdict in document["verdicts"]} == {"HO012", "HO-7-33-4"}


def test_a_single_run_keeps_its_last_fifth_back(store, tmp_path):
    manifest = run_json("fit", f"{store}::362758", "--method", "ewma", "--out", tmp_path / "b")
    assert manifest["runs"][0] | {"n_ls_used": 48, "n_ls": 48} == manifest["runs"][0]
    kept = {"run": 362758, "n_ls": 12, "n_ls_used": 12, "first_ls": 49, "last_ls": 60}
    assert manifest["calibrated_on"] == [kept]


def test_a_method_that_does_not_exist_names_the_nearest(store, tmp_path):
    from calowatch.cli import main

    assert main(["fit", str(store), "--method", "ewna", "--out", str(tmp_path / "b")]) == 2
    assert not (tmp_path / "b").exists()
