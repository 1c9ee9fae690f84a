"""The library of ready collisions: pools are disjoint, draws are turned and mirrored, and a share is kept to."""

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest

from calowatch.core.errors import ConflictError, FormatError, InputError
from calowatch.core.progress import SilentProgress
from calowatch.simulate import pileup as module
from calowatch.simulate.chunks import Place
from calowatch.simulate.jets_events import CHARGED, PHOTON
from calowatch.simulate.pileup import (
    PT_MIN,
    PileupRequest,
    build_library,
    library_place,
    open_library,
    ready_library,
)

pytest.importorskip("pythia8mc")

REQUEST = PileupRequest(30, "one", process="nonDiffractive")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return ready_library(REQUEST, tmp_path_factory.mktemp("library") / "pileup")


def test_particles_are_those_a_detector_sees(library):
    found = library.particles(np.arange(len(library)))
    assert len(library) == len(found) == 30
    assert found.pt.min() > PT_MIN
    assert np.abs(found.eta).max() < 3.1
    assert {CHARGED, PHOTON} <= set(found.kind.tolist())
    assert ((found.charge != 0) == np.isin(found.kind, (CHARGED, 3, 4))).all()
    assert 10 < len(found.pt) / 30 < 200


def test_collisions_are_turned_and_mirrored_and_else_what_they_were(library):
    drawn = library.drawn(np.full(50, 4), (0, 30), np.random.default_rng(1))
    assert len(drawn) == 50
    assert np.isin(drawn.pt, library.columns["pt"]).all()
    assert np.isin(np.abs(drawn.eta), np.abs(library.columns["eta"])).all()
    assert not np.isin(drawn.phi, library.columns["phi"]).all()
    assert np.abs(drawn.phi).max() <= np.pi + 1e-6
    one = library.drawn(np.array([1]), (7, 8), np.random.default_rng(2))
    whole = library.particles(np.array([7]))
    turn = np.remainder(one.phi - whole.phi, 2 * np.pi)
    assert np.ptp(np.cos(turn)) < 1e-5


def test_only_a_share_is_drawn(library):
    drawn = library.drawn(np.full(20, 3), (4, 6), np.random.default_rng(3))
    allowed = library.particles(np.array([4, 5])).pt
    assert np.isin(drawn.pt, allowed).all()


def test_crossings_may_be_empty(library):
    drawn = library.drawn(np.array([0, 2, 0]), (0, 30), np.random.default_rng(4))
    assert np.diff(drawn.offsets)[[0, 2]].tolist() == [0, 0]


def test_pools_share_no_collision(library, tmp_path):
    other = ready_library(replace(REQUEST, pool="two"), tmp_path / "pileup")
    assert not np.isin(other.columns["pt"], library.columns["pt"]).any()


def test_a_library_does_not_depend_on_workers_and_comes_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CALOWATCH_CACHE", str(tmp_path))
    request = replace(REQUEST, n=4)
    first = ready_library(request)
    assert first.folder == library_place(request)
    assert tmp_path in first.folder.parents
    build_library(request, tmp_path / "again", Place(2))
    assert np.array_equal(open_library(tmp_path / "again").columns["pt"], first.columns["pt"])
    assert json.loads((first.folder / "pileup.json").read_text())["provenance"]["verb"] == "simulate jets"


def test_a_library_of_something_else_is_refused(library, tmp_path):
    with pytest.raises(InputError, match="pool"):
        ready_library(replace(REQUEST, pool="other"), library.folder)
    with pytest.raises(InputError, match="n 31"):
        ready_library(replace(REQUEST, n=31), library.folder)
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(ConflictError):
        build_library(replace(REQUEST, n=1), tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_a_damaged_library_is_named(tmp_path):
    library = ready_library(replace(REQUEST, n=2), tmp_path / "pileup")
    (library.folder / "eta.npy").write_bytes(b"cut")
    with pytest.raises(FormatError, match="library of pile-up"):
        open_library(library.folder)


@pytest.mark.parametrize("change", [{"n": 0}, {"process": "elastic"}, {"pool": "../../evil"}])
def test_requests_that_cannot_be_are_refused_before_anything_is_announced(change, tmp_path, monkeypatch):
    monkeypatch.setenv("CALOWATCH_CACHE", str(tmp_path / "cache"))
    progress = SilentProgress()
    with pytest.raises(InputError):
        ready_library(replace(REQUEST, **change), progress=progress)
    assert not progress.notes
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_is_told_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "run_chunks", None)
    folder, file = tmp_path / "foreign", tmp_path / "a.parquet"
    folder.mkdir()
    for path in (folder / "mine.txt", file):
        path.write_text("precious")
    for place in (folder, file):
        with pytest.raises(ConflictError, match="choose another --library"):
            ready_library(REQUEST, place)
    monkeypatch.setenv("CALOWATCH_CACHE", str(file))
    with pytest.raises(ConflictError, match="CALOWATCH_CACHE"):
        ready_library(REQUEST)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "foreign"]


def test_a_library_and_jets_of_one_name_have_unlike_chunks(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        module, "run_chunks", lambda plan, folder, *rest: asked.append(folder) or nullcontext([])
    )
    monkeypatch.setattr(module, "_join", lambda paths, folder: None)
    build_library(REQUEST, tmp_path / "a.parquet")
    assert asked[0].name != "a.parquet.chunks"


def test_libraries_of_another_generator_are_refused(library, tmp_path, monkeypatch):
    assert json.loads((library.folder / "pileup.json").read_text())["pythia8mc"] == version("pythia8mc")
    older = tmp_path / "older"
    shutil.copytree(library.folder, older)
    manifest = json.loads((older / "pileup.json").read_text())
    del manifest["pythia8mc"]  # as libraries were before they named it
    (older / "pileup.json").write_text(json.dumps(manifest))
    assert ready_library(REQUEST, older).manifest["pythia8mc"] == "8.317.2"
    monkeypatch.setattr(module, "versions", lambda *names: {"pythia8mc": "9.0"})
    for place in (older, library.folder):
        with pytest.raises(InputError, match=r"pythia8mc 9.0, found pythia8mc 8"):
            ready_library(REQUEST, place)
