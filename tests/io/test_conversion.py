"""The verb convert, as a function and on the command line."""

import json

import numpy as np
import pytest

from calowatch.cli import main
from calowatch.core.errors import ConflictError
from calowatch.io.conversion import convert
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
        (samples.run, "converted", 3, "HB HE"),
        (samples.run, "merged", 3, "HB HE HF HO"),
    ]
    np.testing.assert_array_equal(open_run(tmp_path / "s", samples.run)["counts"], healthy["counts"])


def test_twice_is_recognised_without_reading(files, tmp_path, monkeypatch):
    convert(files, tmp_path / "s")
    monkeypatch.setattr("calowatch.io.conversion.read_piece", lambda *_: pytest.fail("was read again"))
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
            }
        ],
    }
    assert main(["convert", str(files[0]), "--store", store]) == 0
    assert "already there" in capsys.readouterr().out


def test_command_line_with_bad_input(tmp_path, capsys):
    (tmp_path / "a.root").write_text("text")
    assert main(["convert", str(tmp_path / "a.root"), "--store", str(tmp_path / "s")]) == 2
    shown = capsys.readouterr()
    assert "expected a ROOT file, found something else" in shown.err.splitlines()[-1]
    assert not (tmp_path / "s").exists()


def test_what_was_converted_before_a_bad_file_stays(files, samples, tmp_path):
    (tmp_path / "z.root").write_text("text")
    assert main(["convert", str(files[0]), str(tmp_path / "z.root"), "--store", str(tmp_path / "s")]) == 2
    assert runs(tmp_path / "s") == [samples.run]
