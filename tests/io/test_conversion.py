"""The verb convert, as a function and on the command line."""

import json
import shutil

import numpy as np
import pytest

from calowatch.cli import main
from calowatch.core.errors import ConflictError
from calowatch.core.progress import SilentProgress
from calowatch.io.conversion import Work, convert
from calowatch.io.request import ReadRequest
from calowatch.io.store import open_run, runs


@pytest.fixture
def files(samples, healthy, tmp_path):
    samples.write_first(tmp_path / "hbhe.root", healthy)
    samples.write_study(tmp_path / "hfho.h5", samples.part_of(healthy, "HF HO"))
    return tmp_path / "hbhe.root", tmp_path / "hfho.h5"


def test_files_of_a_run_end_in_one_group(files, samples, healthy, tmp_path):
    done = convert(files, tmp_path / "s")
    assert [(each.run, each.status, each.n_ls, " ".join(each.subdets)) for each in done] == [
        (samples.run, "converted", 3, "HB HE HF HO"),
        (samples.run, "merged", 3, "HB HE HF HO"),
    ]
    np.testing.assert_array_equal(open_run(tmp_path / "s", samples.run)["counts"], healthy["counts"])


def test_twice_is_recognised_without_reading(files, tmp_path, monkeypatch):
    convert(files, tmp_path / "s")
    monkeypatch.setattr("calowatch.io.conversion_tasks.read_piece", lambda *_: pytest.fail("was read again"))
    assert {each.status for each in convert(files, tmp_path / "s")} == {"already there"}
    assert convert(files[:1], tmp_path / "s", ReadRequest(era="run3"))[0].status == "already there"


def test_replace_throws_away_what_was_there_once(files, samples, healthy, tmp_path):
    convert(files, tmp_path / "s")
    done = convert(files, tmp_path / "s", replace=True)
    assert [each.status for each in done] == ["converted", "merged"]
    assert open_run(tmp_path / "s", samples.run).sizes["channel"] == healthy.sizes["channel"]


def test_the_same_content_asked_for_differently_is_read_again(files, tmp_path):
    convert(files[:1], tmp_path / "s")
    with pytest.raises(ConflictError, match="run 1 as requested"):
        convert(files[:1], tmp_path / "s", ReadRequest(run=1))


def test_a_store_into_another(files, samples, tmp_path):
    convert(files, tmp_path / "s")
    done = convert([tmp_path / "s"], tmp_path / "t")
    assert [each.status for each in done] == ["converted"]
    assert convert([f"{tmp_path}/s::{samples.run}"], tmp_path / "t")[0].status == "already there"


def test_command_line(files, samples, tmp_path, capsys):
    store = str(tmp_path / "s")
    assert main(["convert", str(files[0]), "--store", store, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "store": store,
        "sources": [
            {
                "source": str(files[0]),
                "run": samples.run,
                "status": "converted",
                "n_ls": 3,
                "subdets": ["HB", "HE"],
                "error": None,
            }
        ],
        "summary": {"converted": 1, "merged": 0, "already there": 0, "failed": 0},
    }
    assert main(["convert", str(files[0]), "--store", store]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert "already there" in shown[0]
    assert shown[1] == "1 sources of 1 runs: 1 already there"


def test_command_line_with_bad_input(tmp_path, capsys):
    (tmp_path / "a.root").write_text("text")
    assert main(["convert", str(tmp_path / "a.root"), "--store", str(tmp_path / "s")]) == 2
    shown = capsys.readouterr()
    assert "expected a ROOT file, found something else" in shown.err.splitlines()[-1]
    assert not (tmp_path / "s").exists()


def test_a_bad_file_costs_no_other(files, samples, tmp_path, capsys):
    (tmp_path / "a.root").write_text("text")
    given = [str(tmp_path / "a.root"), str(files[0]), str(tmp_path / "nothing.root"), str(files[1])]
    assert main(["convert", *given, "--store", str(tmp_path / "s"), "--json"]) == 2
    shown = capsys.readouterr()
    result = json.loads(shown.out)
    assert [each["status"] for each in result["sources"]] == ["failed", "converted", "failed", "merged"]
    assert "found something else" in result["sources"][0]["error"]
    assert "found nothing of that name" in result["sources"][2]["error"]
    assert "all of 4 sources converted, found 2 that failed" in shown.err.splitlines()[-1]
    assert runs(tmp_path / "s") == [samples.run]
    assert main(["convert", *given, "--store", str(tmp_path / "s")]) == 2
    assert "4 sources of 1 runs: 2 already there, 2 failed" in capsys.readouterr().out


def test_stopping_at_the_first(files, tmp_path, capsys):
    (tmp_path / "a.root").write_text("text")
    given = [str(tmp_path / "a.root"), str(files[0]), "--stop"]
    assert main(["convert", *given, "--store", str(tmp_path / "s")]) == 2
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "s").exists()


def test_files_that_disagree_cost_themselves_only(samples, tmp_path):
    run = samples.sample_run("HO HF")
    other = samples.part_of(run, "HO").copy(deep=True)
    other["counts"][1, 7] = 0 if other["counts"][1, 7] else 1
    third = samples.sample_run("HB")
    for name, piece in (("a.h5", run), ("b.h5", other), ("c.h5", third)):
        samples.write_study(tmp_path / name, piece)
    named = [tmp_path / "c.h5", tmp_path / "b.h5", tmp_path / "a.h5"]
    done = convert(named, tmp_path / "s", work=Work(keep_going=True))
    assert [each.status for each in done] == ["converted", "failed", "merged"]
    assert isinstance(done[1].error, ConflictError)
    assert done[0].subdets == ("HB", "HF", "HO")


def test_the_order_of_naming_decides_nothing(files, tmp_path, content):
    convert(files, tmp_path / "s")
    convert(files[::-1], tmp_path / "t")
    assert content(tmp_path / "s") == content(tmp_path / "t")


def test_a_copy_is_recognised(files, tmp_path):
    shutil.copy(files[0], tmp_path / "copy.root")
    done = convert([files[0], tmp_path / "copy.root"], tmp_path / "s")
    assert sorted(each.status for each in done) == ["already there", "converted"]


def test_a_reader_that_stumbles_costs_its_file_only(files, tmp_path, monkeypatch):
    def stumble(*_):
        raise ZeroDivisionError("odd bytes")

    monkeypatch.setattr("calowatch.io.study_hdf5.StudyReader.read", stumble)
    progress = SilentProgress()
    done = convert(files, tmp_path / "s", progress=progress, work=Work(keep_going=True))
    assert [each.status for each in done] == ["converted", "failed"]
    assert "ZeroDivisionError: odd bytes. Fix: report this" in str(done[1].error)
    assert any("Traceback" in note for note in progress.notes)
    with pytest.raises(ZeroDivisionError):
        convert(files, tmp_path / "s", replace=True)


def test_a_place_that_is_taken_is_refused_before_reading(files, tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s/thesis.tex").write_text("years of work")
    with pytest.raises(ConflictError, match="something else"):
        convert(files, tmp_path / "s", work=Work(keep_going=True))


def test_an_interrupted_conversion_goes_on(samples, tmp_path, monkeypatch, content):
    paths = []
    for run in (355456, 355457, 355458):
        paths.append(tmp_path / f"{run}.h5")
        samples.write_study(paths[-1], samples.sample_run("HO", run=run))
    convert(paths, tmp_path / "whole")

    from calowatch.io.store import _write

    def interrupted(store, run, occupancy):
        if run == 355457:
            (store / f".{run}.new-0123abcd").mkdir()  # what a writer that is killed leaves
            raise KeyboardInterrupt
        _write(store, run, occupancy)

    with monkeypatch.context() as patch:
        patch.setattr("calowatch.io.store._write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            convert(paths, tmp_path / "s")
    assert runs(tmp_path / "s") == [355456]
    done = convert(paths, tmp_path / "s")
    assert [each.status for each in done] == ["already there", "converted", "converted"]
    assert content(tmp_path / "s") == content(tmp_path / "whole")
