"""Sources as a user names them, and the merging of a run's files."""

import numpy as np
import pytest

from calowatch.core.errors import ConflictError, FormatError, InputError
from calowatch.core.progress import SilentProgress
from calowatch.core.schema import UNKNOWN_EVENTS
from calowatch.io.merge import merge_runs
from calowatch.io.request import ReadRequest
from calowatch.io.sources import Piece, expand, read_source, read_sources, run_of_piece
from calowatch.io.store import write_run


@pytest.fixture
def folder(samples, healthy, tmp_path):
    """A run as the demo leaves it: two detector files and what else lies about."""
    folder = tmp_path / "run"
    (folder / "sub").mkdir(parents=True)
    samples.write_first(folder / "hbhe.root", healthy)
    samples.write_study(folder / "sub/hfho.h5", samples.without_events(samples.part_of(healthy, "HO")))
    (folder / "truth.json").write_text("{}")
    (folder / "report.html").write_text("<p>")
    (folder / ".cache.root").write_text("hidden")
    return folder


def test_a_folder_is_one_run(folder, samples, healthy):
    read = read_source(folder)
    expected = samples.part_of(healthy, "HB HE HO")
    np.testing.assert_array_equal(read["counts"], expected["counts"])
    np.testing.assert_array_equal(read["channel"], expected["channel"])
    np.testing.assert_array_equal(read["n_events"], healthy["n_events"])
    assert {each["name"] for each in read.attrs["provenance"]["sources"]} == {"hbhe.root", "hfho.h5"}


def test_a_detector_file_that_cannot_be_read_is_not_passed_over(folder):
    (folder / "sub/other.hdf5").write_text("not HDF5")
    with pytest.raises(FormatError, match=r"other\.hdf5: expected an HDF5 file"):
        read_source(folder)


def test_a_folder_of_several_runs(folder, samples):
    samples.write_study(folder / "other.h5", samples.sample_run("HO", run=355456))
    with pytest.raises(ConflictError, match=r"run 362760 in .*hbhe\.root and run 355456 in .*other\.h5"):
        read_source(folder)
    assert [run.attrs["run"] for run in read_sources([folder, folder])] == [355456, 362760]


def test_a_store_is_a_source(samples, healthy, tmp_path):
    write_run(tmp_path / "s", healthy)
    assert read_source(tmp_path / "s").equals(read_source(f"{tmp_path}/s::{samples.run}"))
    write_run(tmp_path / "s", samples.sample_run("HO", run=355456))
    with pytest.raises(ConflictError, match=r"runs 355456, 362760. Fix: give one of them, as .*::355456"):
        read_source(tmp_path / "s")
    assert read_source(tmp_path / "s", ReadRequest(run=355456)).attrs["run"] == 355456
    assert [run.attrs["run"] for run in read_sources([tmp_path / "s"])] == [355456, 362760]


def test_an_empty_store(samples, tmp_path):
    store = tmp_path / "s"
    write_run(store, samples.sample_run("HO"))
    (store / str(samples.run)).rename(tmp_path / "away")
    with pytest.raises(InputError, match="an empty store"):
        read_source(store)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.root", ["hbhe.root"]),
        ("*", ["hbhe.root", "hfho.h5"]),
        ("**", ["hbhe.root", "hfho.h5"]),
        ("**/hf?o.h5", ["hfho.h5"]),
        ("s[tu]b", ["hfho.h5"]),
    ],
)
def test_patterns(folder, pattern, names):
    assert [piece.path.name for piece in expand(f"{folder}/{pattern}")] == names


def test_a_pattern_finds_stores_and_a_folder_does_not(folder, healthy, samples):
    write_run(folder / "runs.zarr", healthy)
    assert [str(piece) for piece in expand(f"{folder}/*.zarr")] == [f"{folder}/runs.zarr::{samples.run}"]
    assert [piece.path.name for piece in expand(folder)] == ["hbhe.root", "hfho.h5"]


def test_a_link_back_is_not_followed(folder):
    (folder / "sub/up").symlink_to(folder)
    assert [piece.path.name for piece in expand(folder)] == ["hbhe.root", "hfho.h5"]


def test_the_run_of_a_file_without_its_counts(folder, samples, real_file):
    assert {run_of_piece(piece) for piece in expand(folder)} == {samples.run}
    assert run_of_piece(Piece(real_file)) == 306138
    with pytest.raises(ConflictError, match="run 1 as requested"):
        run_of_piece(Piece(folder / "hbhe.root"), ReadRequest(run=1))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("*.dat", "files ending in .* found none that match"),
        ("missing.root", "nothing of that name"),
        ("", "files ending in"),
        ("a::b", "run number"),
        ("a::7", "no such"),
    ],
)
def test_names_of_nothing(tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        read_source(f"{tmp_path}/{name}")


def test_a_file_of_an_unknown_format(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(FormatError, match=r"HcalAnalyzer ROOT \(\.root\), .*HCAL study HDF5"):
        read_source(tmp_path / "a.txt")


def test_a_name_with_colons_is_still_a_file(samples, healthy, tmp_path):
    path = tmp_path / "a::b:c.root"
    samples.write_first(path, healthy)
    assert [piece.path for piece in expand(path)] == [path]
    assert read_source(path).sizes["ls"] == 3


def test_files_of_one_subdetector_in_a_row_are_joined(samples):
    whole = samples.sample_run("HB", ls=(1, 2, 3, 4))
    merged = merge_runs([whole.isel(ls=[2, 3]), whole.isel(ls=[0, 1, 2])])
    assert merged["counts"].equals(whole["counts"])
    assert merged["n_events"].equals(whole["n_events"])


def test_lumisections_missing_for_a_subdetector_are_left_out(samples, healthy):
    progress = SilentProgress()
    pieces = [samples.part_of(healthy, "HB HE"), samples.part_of(healthy, "HF").isel(ls=[0, 2])]
    assert merge_runs(pieces, progress)["ls"].values.tolist() == [1, 3]
    assert progress.notes == [
        "run 362760: 1 of 3 lumisections are missing for some subdetectors and left out"
    ]


def test_events_from_whoever_knows(samples, healthy):
    one = samples.part_of(healthy, "HB").copy(deep=True)
    one["n_events"][:2] = UNKNOWN_EVENTS
    other = samples.part_of(healthy, "HO").copy(deep=True)
    other["n_events"][1:] = UNKNOWN_EVENTS
    events = healthy["n_events"].values
    assert merge_runs([one, other])["n_events"].values.tolist() == [events[0], UNKNOWN_EVENTS, events[2]]


def more_events(run):
    return run.assign(n_events=run["n_events"] + 1)


def of_era(run):
    other = run.copy()
    other.attrs = {**run.attrs, "era": "2018"}
    return other


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (more_events, "n_events 31 in LS 1.*found 32"),
        (of_era, "era run3.*found era 2018"),
        (lambda run: run.assign_coords(ls=run["ls"] + 100), "lumisections in common"),
    ],
)
def test_files_that_disagree(samples, healthy, change, message):
    with pytest.raises(ConflictError, match=message):
        merge_runs([samples.part_of(healthy, "HB"), change(samples.part_of(healthy, "HO"))])


def test_nothing_is_changed_in_place(samples, healthy):
    pieces = [samples.part_of(healthy, "HB").copy(deep=True), samples.part_of(healthy, "HO").copy(deep=True)]
    before = [piece.copy(deep=True) for piece in pieces]
    merge_runs(pieces)
    assert all(one.identical(other) for one, other in zip(pieces, before, strict=True))
