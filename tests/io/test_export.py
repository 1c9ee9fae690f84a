"""Export: every format is read back with equal counts, and no source is written over."""

import json

import numpy as np
import pytest

from calowatch.cli import main
from calowatch.core.errors import ConflictError, UnknownNameError
from calowatch.io.export import FORMATS, export_run
from calowatch.io.request import ReadRequest
from calowatch.io.sources import read_source
from calowatch.io.store import write_run


@pytest.fixture
def stored(healthy, tmp_path):
    write_run(tmp_path / "store", healthy)
    return f"{tmp_path / 'store'}::{healthy.attrs['run']}"


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_written_is_read_back(samples, healthy, stored, tmp_path, name):
    out = tmp_path / "out"
    done = export_run(stored, out, name)
    held = samples.part_of(healthy, " ".join(done["subdets"]))
    read = read_source(out)
    for variable in ("counts", "n_events", "ls", "channel"):
        np.testing.assert_array_equal(read[variable], held[variable])
    assert done["digis"] == int(held["counts"].sum())
    assert sorted(done["subdets"] + done["left_out"]) == ["HB", "HE", "HF", "HO"]


def test_the_verb(stored, tmp_path, capsys):
    assert main(["export", stored, "--format", "master", "--out", str(tmp_path / "m"), "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["format"], done["n_ls"], done["left_out"]) == ("master", 3, ["HF", "HO"])
    assert main(["export", stored, "-o", str(tmp_path / "m")]) == 0
    assert "Not in this format: HF HO" in capsys.readouterr().out


def test_the_verb_takes_what_a_file_does_not_say(samples, healthy, tmp_path, capsys):
    objects = samples.dqm_objects(healthy, 1)
    samples.write_dqm(tmp_path / "a.root", objects)
    assert (
        main(["export", str(tmp_path / "a.root"), "--first-ls", "2", "-o", str(tmp_path / "m"), "--json"])
        == 0
    )
    assert read_source(tmp_path / "m")["ls"].values.tolist() == [2]


def test_an_unknown_format(stored, tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean master"):
        export_run(stored, tmp_path / "out", "maser")


@pytest.mark.parametrize("name", ["hdf5", "master"])
def test_the_source_is_not_written_over(samples, healthy, tmp_path, name):
    if name == "hdf5":
        source = out = tmp_path / "a.h5"
        samples.write_study(source, healthy)
    else:
        out = tmp_path / "m"
        samples.write_master(out, healthy)
        source = out / "output__depth.npy"
    before = source.read_bytes()
    with pytest.raises(ConflictError, match="choose another --out"):
        export_run(source, out, name)
    assert source.read_bytes() == before


def test_a_folder_is_not_replaced_by_a_file(stored, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(ConflictError, match="found a folder"):
        export_run(stored, tmp_path / "out", "hdf5", ReadRequest())


def test_a_store_in_the_output_folder_is_the_source(stored, tmp_path):
    with pytest.raises(ConflictError, match="choose another --out"):
        export_run(stored, tmp_path / "store")
    with pytest.raises(ConflictError, match="choose another --out"):
        export_run(stored, tmp_path)
