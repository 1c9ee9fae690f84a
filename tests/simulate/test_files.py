"""A simulated run on disk: what is written reads back, and nothing is half-written."""

import json

import numpy as np
import pandas as pd
import pytest

from calowatch.cli import main
from calowatch.core.errors import ConflictError, FormatError, InputError
from calowatch.core.progress import SilentProgress
from calowatch.io.request import ReadRequest
from calowatch.io.sources import read_source
from calowatch.simulate.conditions import ConditionsSettings
from calowatch.simulate.faults import parse_fault
from calowatch.simulate.files import write_run
from calowatch.simulate.occupancy import OccupancySettings, occupancy
from calowatch.simulate.truth import read_truth

FAULTS = ("HEM15+HEM16 dead 2-", "HEP07-RM3-F4 sporadic duty=0.5 burst=1")


@pytest.fixture(scope="module")
def run():
    conditions = ConditionsSettings(levels=(60.0,), low_share=0.0)
    faults = tuple(parse_fault(text) for text in FAULTS)
    return occupancy(OccupancySettings(n_ls=4, conditions=conditions, faults=faults))


def test_both_formats_hold_the_run(tmp_path, run):
    data, truth = run
    files = write_run(tmp_path / "run", data, truth, ("analyzer", "hdf5"))
    assert sorted(path.name for path in files) == sorted(path.name for path in (tmp_path / "run").iterdir())
    back = read_source(tmp_path / "run")
    assert np.array_equal(back["counts"], data["counts"])
    assert np.array_equal(back["n_events"], data["n_events"])
    assert (back.attrs["run"], back.attrs["era"]) == (362760, "run3")


def test_truth_and_conditions_come_back(tmp_path, run):
    data, truth = run
    write_run(tmp_path / "run", data, truth, ("hdf5",))
    assert read_truth(tmp_path / "run" / "truth.json") == truth.faults
    conditions = pd.read_csv(tmp_path / "run" / "conditions.csv")
    assert conditions["ls"].tolist() == [1, 2, 3, 4]
    assert conditions["n_events"].tolist() == data["n_events"].to_numpy().tolist()
    assert conditions["pileup"].to_numpy() == pytest.approx(data["pileup"].to_numpy(), rel=1e-5)
    made = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert made["options"]["faults"][0]["unit"] == "HEM15+HEM16"


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", '[{"unit": "HEM15"}]', '[{"bursts": [], "channels": []}]']
)
def test_a_broken_truth_is_refused(tmp_path, content):
    path = tmp_path / "truth.json"
    path.write_text(content)
    with pytest.raises(FormatError, match="simulate the run again"):
        read_truth(path)


def test_somebody_elses_folder_is_left_alone(tmp_path, run):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(ConflictError):
        write_run(tmp_path, *run, ("hdf5",))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_formats_that_cannot_be(tmp_path, run):
    for formats, message in ((("npy",), "analyzer or hdf5"), ((), "give one")):
        with pytest.raises(InputError, match=message):
            write_run(tmp_path / "run", *run, formats)
    assert not (tmp_path / "run").exists()


def test_a_failed_format_leaves_nothing(tmp_path, run):
    data, truth = run
    unknown = data.assign(n_events=data["n_events"] * 0 - 1)
    with pytest.raises(InputError, match="the number of events"):
        write_run(tmp_path / "run", unknown, truth, ("hdf5", "analyzer"))
    assert list(tmp_path.iterdir()) == []


def test_lumisections_that_fit_no_analyzer_file_are_named_by_their_option(tmp_path, run):
    data, truth = run
    late = data.assign_coords(ls=data["ls"] + 5000)
    with pytest.raises(
        InputError, match=r"--n-ls: expected lumisections 0 to 1999 .* found lumisection 5004"
    ):
        write_run(tmp_path / "run", late, truth, ("hdf5", "analyzer"))
    assert list(tmp_path.iterdir()) == []
    assert write_run(tmp_path / "run", late, truth, ("hdf5",))


@pytest.mark.parametrize(
    ("number", "formats", "told"),
    [
        (5, ("analyzer",), "run 5 is of no known era"),
        (319000, ("analyzer", "hdf5"), "run 319000 is of era 2018"),
        (319000, ("hdf5",), ""),
        (362760, ("analyzer",), ""),
    ],
)
def test_a_run_of_another_era_is_told(tmp_path, run, number, formats, told):
    data, truth = run
    data = data.assign_attrs(run=number)
    progress = SilentProgress()
    write_run(tmp_path / "run", data, truth, formats, progress)
    assert [note for note in progress.notes if "--era run3" in note] == progress.notes
    assert told in " ".join(progress.notes)
    assert len(progress.notes) == bool(told)
    read = read_source(tmp_path / "run", ReadRequest(era="run3"))
    assert read.sizes["ls"] == 4


def test_what_fits_no_format_is_refused_before_anything_is_drawn(tmp_path, capsys, monkeypatch):
    def drawn(*_):
        pytest.fail("drew the conditions")

    (tmp_path / "long.csv").write_text("pileup\n" + "50\n" * 3000)
    monkeypatch.setattr("calowatch.simulate.occupancy.draw_conditions", drawn)
    for given in (["--n-ls", "3000"], ["--profile", str(tmp_path / "long.csv")]):
        assert main(["simulate", "occupancy", "--out", str(tmp_path / "run"), *given]) == 2
        assert "--n-ls: expected lumisections 0 to 1999" in capsys.readouterr().err


BASE = ("simulate", "occupancy", "--n-ls", "3", "--subdets", "HE")


def test_command(tmp_path, capsys):
    code = main(
        [*BASE, "--out", str(tmp_path / "run"), "--fault", "HEM15 dead 2-", "--format", "hdf5", "--json"]
    )
    summary = json.loads(capsys.readouterr().out)
    assert code == 0
    assert summary["channels"] == {"HE": 6768}
    assert summary["faults"][0]["n_channels"] == 188
    assert [pathname.rsplit(".", 1)[1] for pathname in summary["files"]] == ["hdf5", "json", "csv", "json"]


def test_command_prints_the_truth(tmp_path, capsys):
    assert main([*BASE, "--out", str(tmp_path / "run"), "--fault", "HEM15 dead 2-", "--format", "hdf5"]) == 0
    assert "HEM15" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fault", "HEM15 ded"], "did you mean dead"),
        (["--era", "2017"], "2018, run3"),
        (["--profile", "flt"], "flat, decaying, levelled"),
        (["--format", "root"], "analyzer or hdf5"),
        (["--subdets", "HO"], "use hdf5"),
        (["--numbers", "nothing"], "occupancy-v1"),
        (["--n-ls", "1999", "--first-ls", "2"], "--n-ls: expected lumisections 0 to 1999"),
        (["--n-ls", "0"], "at least one lumisection"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(tmp_path, capsys, arguments, message):
    assert main([*BASE, "--out", str(tmp_path / "run"), *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("error:") == 1
    assert captured.out == ""
    assert not (tmp_path / "run").exists()
