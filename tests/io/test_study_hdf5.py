"""The HDF5 files of the 2018 study: the real one, ours, and broken ones."""

import h5py
import numpy as np
import pytest

from calowatch.core.errors import ConflictError, CountsError, FormatError, InputError, UnknownNameError
from calowatch.core.progress import SilentProgress
from calowatch.core.schema import UNKNOWN_EVENTS
from calowatch.io.request import ReadRequest
from calowatch.io.sources import read_source

PLANE = "DigiTask_Occupancy_depth_depth"


@pytest.fixture
def spoil(samples, healthy, tmp_path):
    """Write a file with something changed, and return its path."""

    def write(change, run=healthy):
        path = tmp_path / "spoilt.h5"
        samples.write_study(path, run)
        with h5py.File(path, "r+") as file:
            change(file)
        return path

    return write


def strip(file):
    """Take away what the original format does not have."""
    for name in list(file.attrs):
        del file.attrs[name]
    for name in ("ls", "n_events"):
        file.pop(name, None)


def test_real_file(real_file):
    progress = SilentProgress()
    run = read_source(real_file, ReadRequest(run=306138), progress)
    assert (run.attrs["run"], run.attrs["era"]) == (306138, "2017")
    assert run.sizes == {"ls": 6, "channel": 10916}
    assert run["n_events"].values.tolist() == [1350, 1379, 1366, 1332, 1422, 1930]
    assert run["counts"].values.any(axis=0).sum() == 10916 - 28 - 4
    assert [note for note in progress.notes if "--first-ls" in note]


def test_real_file_takes_the_run_from_its_name_and_says_so(real_file):
    progress = SilentProgress()
    assert read_source(real_file, progress=progress).attrs["run"] == 306138
    assert progress.notes[0] == "run306138_ls1-6.hdf5: run 306138, taken from the name"


def test_real_file_in_another_era(real_file):
    with pytest.raises(CountsError, match="--era 2017"):
        read_source(real_file, ReadRequest(era="2018"))


def test_original_format_takes_everything_from_the_request(spoil, samples, healthy):
    read = read_source(spoil(strip), ReadRequest(samples.run, None, 41))
    assert read["ls"].values.tolist() == [41, 42, 43]
    np.testing.assert_array_equal(read["counts"], healthy["counts"])
    np.testing.assert_array_equal(read["n_events"], healthy["n_events"])  # the HF tells


def test_no_run_anywhere(spoil):
    with pytest.raises(InputError, match="give it with --run"):
        read_source(spoil(strip))


def test_events_are_unknown_where_hf_cells_differ(spoil, samples, healthy):
    run = healthy.copy(deep=True)
    run["counts"][1, np.flatnonzero(run["subdet"] == "HF")[5]] = 0
    read = read_source(spoil(strip, run), ReadRequest(samples.run))
    events = healthy["n_events"].values
    assert read["n_events"].values.tolist() == [events[0], UNKNOWN_EVENTS, events[2]]


def test_a_subdetector_without_digis_is_not_in_the_original_format(spoil, samples):
    progress = SilentProgress()
    path = spoil(strip, samples.sample_run("HB HF"))
    read = read_source(path, ReadRequest(samples.run), progress)
    assert set(read["subdet"].values) == {"HB", "HF"}
    assert sum("not in the file" in note for note in progress.notes) == 2


def test_era_in_the_file_is_not_overruled(spoil):
    with pytest.raises(ConflictError, match="era 2018 as requested"):
        read_source(spoil(lambda _: None), ReadRequest(era="2018"))


def test_rechits_are_passed_over(spoil, healthy):
    path = spoil(lambda file: file.create_dataset("RecHitTask_Occupancy_depth_depth1", data=np.full(3, 0.5)))
    np.testing.assert_array_equal(read_source(path)["counts"], healthy["counts"])


def put(name, index, value):
    def change(file):
        file[name][index] = value

    return change


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-3.0, "zero or more"),
        (2.5, "whole numbers"),
        (np.nan, "whole"),
        (900, "more digis"),
        (2.0**32, "counts from 0 to 2147483647, found 4294967296"),
        (np.inf, "whole numbers"),
    ],
)
def test_impossible_counts(spoil, value, message):
    with pytest.raises(CountsError, match=message):
        read_source(spoil(put(f"{PLANE}1", (1, 20, 45), value)))


def test_a_file_without_any_digi(spoil, samples):
    def change(file):
        strip(file)
        for plane in file:
            file[plane][...] = 0

    with pytest.raises(CountsError, match=r"spoilt\.h5: expected digis, found none in any channel"):
        read_source(spoil(change), ReadRequest(samples.run))


@pytest.mark.parametrize(
    ("request_", "attrs", "message"),
    [
        (ReadRequest(), {"era": "2031"}, r"spoilt.h5: expected one of 2017, 2018, run3, found era '2031'"),
        (ReadRequest(1), {}, r"spoilt.h5: expected a run with a known era: .*, found run 1\. Fix: .*--era"),
    ],
)
def test_an_era_that_is_not_known_names_the_file(spoil, request_, attrs, message):
    def change(file):
        strip(file)
        file.attrs.update(attrs or {}, **({"run": 362760} if attrs else {}))

    with pytest.raises(UnknownNameError, match=message):
        read_source(spoil(change), request_)


def test_digis_where_no_channel_is(spoil):
    with pytest.raises(CountsError, match=r"\(17,21,1\)"):
        read_source(spoil(put(f"{PLANE}1", (1, 20, 41 + 17), 4)))


@pytest.mark.parametrize("plane", ["4", "7", "HO"])
def test_a_missing_depth(spoil, plane):
    with pytest.raises(FormatError, match=f"no depth{plane}"):
        read_source(spoil(lambda file: file.pop(PLANE + plane)))


@pytest.mark.parametrize("shape", [(3, 84, 72), (4, 72, 84), (3, 72)])
def test_a_grid_of_another_shape(spoil, shape):
    def change(file):
        del file[f"{PLANE}3"]
        file[f"{PLANE}3"] = np.zeros(shape, dtype=np.float32)

    with pytest.raises(FormatError, match="72 iphi, 84 ieta"):
        read_source(spoil(change))


def test_columns_of_another_length(spoil):
    def change(file):
        del file["ls"]
        file["ls"] = [1, 2]

    with pytest.raises(FormatError, match="ls as 3 whole numbers"):
        read_source(spoil(change))


def test_attributes_that_are_no_number_and_subdetectors_that_are_none(spoil):
    path = spoil(lambda _: None)
    cases = [(name, value) for name in ("run", "first_ls") for value in ("abc", [1, 2], 2.5, 10**15)]
    cases += [("run", h5py.Empty("f")), *(("subdets", value) for value in ("XX", "", 5, ["HB", "HE"]))]
    for name, value in cases:
        with h5py.File(path, "r+") as file:
            before = file.attrs[name]
            file.attrs[name] = value
        with pytest.raises(FormatError, match=f"spoilt.h5: expected the attribute {name} "):
            read_source(path)
        with h5py.File(path, "r+") as file:
            file.attrs[name] = before


def test_attributes_of_bytes_are_text(spoil, healthy):
    read = read_source(spoil(lambda file: file.attrs.update(era=np.bytes_("run3"), run=np.bytes_("362760"))))
    np.testing.assert_array_equal(read["counts"], healthy["counts"])


@pytest.mark.parametrize("name", [f"{PLANE}1", f"{PLANE}3", "ls", "n_events"])
def test_a_group_in_place_of_a_data_set(spoil, name):
    def change(file):
        file.pop(name, None)
        file.create_group(name)

    with pytest.raises(FormatError, match=f"{name} as a data set, found a group"):
        read_source(spoil(change))


@pytest.mark.parametrize("value", [5.0, h5py.Empty("f")])
def test_a_plane_without_dimensions(spoil, value):
    def change(file):
        del file[f"{PLANE}1"]
        file[f"{PLANE}1"] = value

    with pytest.raises(FormatError, match="72 iphi, 84 ieta"):
        read_source(spoil(change))


def test_another_hdf5_file(tmp_path):
    with h5py.File(tmp_path / "run362760.h5", "w") as file:
        file["jets"] = [1, 2]
    with pytest.raises(FormatError, match="no depth1"):
        read_source(tmp_path / "run362760.h5")


def test_counts_too_large_for_the_format(samples, tmp_path):
    run = samples.without_events(samples.sample_run("HO")).copy(deep=True)
    run["counts"][0, 0] = 2**24 + 1
    with pytest.raises(InputError, match="16777216"):
        samples.write_study(tmp_path / "a.h5", run)
    assert not list(tmp_path.iterdir())
