"""The two files of a generation: the same whoever makes them, gone on with, and read back."""

import json
import shutil
from contextlib import contextmanager

import h5py
import numpy as np
import pytest

from calowatch.cli import main
from calowatch.core.errors import ConflictError, InputError
from calowatch.core.progress import SilentProgress
from calowatch.io.egamma import read_egamma
from calowatch.simulate import egamma_files
from calowatch.simulate.chunks import Place, run_chunks
from calowatch.simulate.egamma import EgammaSettings
from calowatch.simulate.egamma_files import EgammaRequest, simulate_egamma


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(egamma_files, "CHUNK", 60)


def arrays(path):
    with h5py.File(path) as file:
        return file["X"][:], file["y"][:], file["truth/eta"][:], file["truth/chunk"][:]


def test_files_do_not_depend_on_workers(tmp_path):
    one = simulate_egamma(EgammaRequest(251, tmp_path / "one", seed=5))
    two = simulate_egamma(EgammaRequest(251, tmp_path / "two", seed=5, place=Place(workers=2)))
    assert [path.name for path in one.files] == [
        "SinglePhotonPt50_IMGCROPS_n126_RHv1.hdf5",
        "SingleElectronPt50_IMGCROPS_n125_RHv1.hdf5",
    ]
    for first, second in zip(one.files, two.files, strict=True):
        for left, right in zip(arrays(first), arrays(second), strict=True):
            np.testing.assert_array_equal(left, right)
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == sorted(
        path.name for path in one.files
    )


def test_other_seeds_and_classes_are_other_events(tmp_path):
    one = simulate_egamma(EgammaRequest(40, tmp_path / "one", seed=5))
    two = simulate_egamma(EgammaRequest(40, tmp_path / "two", seed=6))
    eta = [arrays(path)[2] for path in (*one.files, *two.files)]
    assert len({float(values[0]) for values in eta}) == 4


def test_unfinished_work_is_gone_on_with(tmp_path, monkeypatch):
    request = EgammaRequest(240, tmp_path, seed=1)
    whole = simulate_egamma(EgammaRequest(240, tmp_path / "whole", seed=1))

    @contextmanager
    def broken(plan, folder, place, progress):
        with run_chunks(plan, folder, place, progress):
            next(iter(sorted(folder.glob("chunk-*")))).unlink()
            raise KeyboardInterrupt
        yield

    with monkeypatch.context() as patched:
        patched.setattr(egamma_files, "run_chunks", broken)
        with pytest.raises(KeyboardInterrupt):
            simulate_egamma(request)
    with pytest.raises(ConflictError, match=r"\(seed 2\), found an unfinished generation with seed 1"):
        simulate_egamma(EgammaRequest(240, tmp_path, seed=2))
    progress = SilentProgress()
    again = simulate_egamma(request, progress)
    assert progress.notes == ["going on: 3 of 4 chunks are there"]
    for first, second in zip(again.files, whole.files, strict=True):
        np.testing.assert_array_equal(arrays(first)[0], arrays(second)[0])


def test_files_say_how_they_were_made(tmp_path):
    made = simulate_egamma(EgammaRequest(20, tmp_path, 9, EgammaSettings(empty_share=0.0)))
    with h5py.File(made.files[1]) as file:
        record = json.loads(file.attrs["provenance"])
        assert file["y"][:].tolist() == [1.0] * 10
        assert (file["X"].dtype, file["y"].dtype) == (np.float32, np.float32)
    assert (record["verb"], record["seed"], record["options"]["pt"]) == ("simulate egamma", 9, 50.0)
    assert {"n": 20, "version": 1, "chunk": 60}.items() <= record["options"].items()
    images = read_egamma(made.files)
    assert set(images.table["block"]) == {0, 1}
    assert {"eta", "phi", "pt", "charge", "conversions", "brems"} <= set(images.table)


def test_the_verb(tmp_path, capsys):
    words = ["simulate", "egamma", "--n", "30", "--out", str(tmp_path / "a"), "--no-empty", "--material", "0"]
    assert main([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["images"] == {"photon": 15, "electron": 15}
    assert said["empty"] == {"photon": 0, "electron": 0}
    assert main(words) == 0
    assert "15 images" in capsys.readouterr().out
    assert (
        main(["simulate", "egamma", "--out", str(tmp_path), "--workers", "2", "--cluster", "tcp://x:1"]) == 2
    )
    assert "drop one of them" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--material", "--field"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1"])
def test_what_is_no_number_is_refused_before_anything_is_made(tmp_path, capsys, option, value):
    assert main(["simulate", "egamma", "--out", str(tmp_path / "a"), option, value]) == 2
    assert f"{option}: expected a number, 0 or more, found {value}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_failed_start_does_not_block_the_next_one(tmp_path, capsys):
    words = ["simulate", "egamma", "--out", str(tmp_path), "--n", "4"]
    assert main([*words, "--workers", "0", "--seed", "5"]) == 2
    assert main([*words, "--seed", "6"]) == 0


def test_an_earlier_pair_is_replaced_and_one_of_another_number_is_not_joined(tmp_path):
    simulate_egamma(EgammaRequest(20, tmp_path, seed=3))
    made = simulate_egamma(EgammaRequest(20, tmp_path, seed=4))
    with h5py.File(made.files[0]) as file:
        assert json.loads(file.attrs["provenance"])["seed"] == 4
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    with pytest.raises(ConflictError, match=r"n10_RHv1\.hdf5.*remove them"):
        simulate_egamma(EgammaRequest(40, tmp_path, seed=4))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_published_files_are_not_written_over(tmp_path):
    made = simulate_egamma(EgammaRequest(20, tmp_path))
    with h5py.File(made.files[1], "a") as file:
        del file.attrs["provenance"]
    with pytest.raises(ConflictError, match="would be lost"):
        simulate_egamma(EgammaRequest(20, tmp_path))
    shutil.copy(made.files[0], made.files[1])
    made.files[0].write_bytes(b"no HDF5")
    with pytest.raises(ConflictError, match=r"SinglePhoton.*would be lost"):
        simulate_egamma(EgammaRequest(20, tmp_path))


def test_one_image_is_too_few(tmp_path):
    with pytest.raises(InputError, match="at least 2"):
        simulate_egamma(EgammaRequest(1, tmp_path))


@pytest.mark.slow
def test_a_cluster_makes_the_same_files(tmp_path):
    distributed = pytest.importorskip("distributed")
    here = simulate_egamma(EgammaRequest(240, tmp_path / "here", seed=5))
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        place = Place(scheduler=cluster.scheduler_address)
        there = simulate_egamma(EgammaRequest(240, tmp_path / "there", seed=5, place=place))
    for first, second in zip(here.files, there.files, strict=True):
        for left, right in zip(arrays(first), arrays(second), strict=True):
            np.testing.assert_array_equal(left, right)
