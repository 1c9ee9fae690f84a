"""The two files of a generation: the same whoever makes them, gone on with, and read back."""

import json

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

    def broken(plan, folder, place, progress):
        run_chunks(plan, folder, place, progress)
        next(iter(sorted(folder.glob("chunk-*")))).unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(egamma_files, "run_chunks", broken)
    with pytest.raises(KeyboardInterrupt):
        simulate_egamma(request)
    monkeypatch.undo()
    monkeypatch.setattr(egamma_files, "CHUNK", 60)
    with pytest.raises(ConflictError, match="earlier settings"):
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
