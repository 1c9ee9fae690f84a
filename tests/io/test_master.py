"""Master folders: ours, those of the source system with both of its axes, and broken ones."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from calowatch.core.errors import ConflictError, CountsError, FormatError, InputError
from calowatch.core.progress import SilentProgress
from calowatch.core.schema import UNKNOWN_EVENTS, make_occupancy
from calowatch.detector.table import channel_table
from calowatch.io.export import export_run
from calowatch.io.master import write_master
from calowatch.io.request import ReadRequest
from calowatch.io.sources import read_source

ARRAY, TABLE, META = "output__depth.npy", "run_ls_lumi_df.npy", "meta_data.json"


def source_arrays(path):
    """What the source system makes of an analyzer file: histograms without flow bins, cut after the last filled LS."""
    with uproot.open(path) as file:
        depths = [file[f"Hcal4DQMAnalyzer/hist3D_depth{depth}"].values() for depth in range(1, 8)]
        sections = file["Hcal4DQMAnalyzer/evttree/LumiSec"].array(library="np")
    stacked = np.stack(depths, axis=3)
    last = int(np.flatnonzero(stacked.any(axis=(1, 2, 3)))[-1])
    ls, events = np.unique(sections, return_counts=True)
    table = pd.DataFrame({"ls": ls, "NumEvents": events}).to_records(index=False)
    return stacked[: last + 1, ..., np.newaxis], table


def loader_steps(array):
    """Drop ieta 0, shift iphi: the source system's loader, which leaves the last column empty."""
    adjusted = array.copy()
    adjusted[:, 32:-1] = array[:, 33:]
    adjusted[:, :, :-1] = adjusted[:, :, 1:].copy()
    adjusted[:, :, -1] = 0
    return adjusted


def save_source(folder, array, table, run):
    folder.mkdir(parents=True)
    np.save(folder / ARRAY, array)
    np.save(folder / TABLE, table)
    axes = {"xaxis": {"label": "ls", "valued_range": [1, len(array) - 1]}, "dqm_variable": "QIEDigiOccupancy"}
    (folder / META).write_text(json.dumps({**axes, "RunId": run}, indent=4))
    return folder


@pytest.fixture(scope="module")
def made(samples, healthy, tmp_path_factory):
    """An analyzer file, and what the source system makes of it."""
    path = tmp_path_factory.mktemp("made") / "output.root"
    samples.write_first(path, healthy)
    return path, *source_arrays(path)


@pytest.fixture
def ours(healthy, tmp_path):
    write_master(tmp_path / "ours", healthy)
    return tmp_path / "ours"


def without_72(samples, run, subdets="HB HE"):
    held = samples.part_of(run, subdets)
    return held.isel(channel=held["iphi"].values != 72)


def test_export_is_what_the_loader_would_have_made(made, tmp_path):
    """Cell by cell, but for iphi 72, which the loader cannot have."""
    path, array, table = made
    export_run(path, tmp_path / "out")
    own, own_table = np.load(tmp_path / "out" / ARRAY), np.load(tmp_path / "out" / TABLE)
    expected = loader_steps(array)
    assert own.shape == expected.shape == (4, 64, 72, 7, 1)
    np.testing.assert_array_equal(own[:, :, :71], expected[:, :, :71])
    assert not expected[:, :, 71].any()
    assert (own[:, :, 71] > 0).any(axis=0).sum() == 126 + 40
    np.testing.assert_array_equal(
        pd.DataFrame.from_records(own_table).set_index("ls")["NumEvents"], table["NumEvents"]
    )
    assert own.dtype == array.dtype == np.int32


def test_export_bin_by_bin(ours, healthy):
    """Row ieta + 32 or ieta + 31, column iphi - 1, layer depth - 1, first axis the lumisection itself."""
    array = np.load(ours / ARRAY)
    assert not array[0].any()
    run = healthy.set_index(channel=("subdet", "ieta", "iphi", "depth"))["counts"]
    for subdet, ieta, iphi, depth in [
        ("HE", -29, 71, 3),
        ("HB", -1, 72, 4),
        ("HB", 1, 1, 1),
        ("HE", 29, 1, 2),
    ]:
        row = ieta + 32 if ieta < 0 else ieta + 31
        cell = array[1:, row, iphi - 1, depth - 1, 0]
        np.testing.assert_array_equal(cell, run.sel(subdet=subdet, ieta=ieta, iphi=iphi, depth=depth))


def test_the_description_is_the_one_of_the_source_system(ours, samples):
    meta = json.loads((ours / META).read_text())
    assert (meta["RunId"], meta["xaxis"]["valued_range"]) == (samples.run, [1, 3])
    assert meta["yaxis"]["values"] == [*range(-32, 0), *range(1, 33)]
    assert meta["zaxis"]["values"] == list(range(1, 73))


@pytest.mark.parametrize("adjusted", [False, True], ids=["hbhe, as the analyzer", "he, after the loader"])
def test_folders_of_the_source_system(samples, made, healthy, tmp_path, adjusted):
    _, array, table = made
    folder = save_source(
        tmp_path / "Run362760", loader_steps(array) if adjusted else array, table, samples.run
    )
    progress = SilentProgress()
    read = read_source(folder, progress=progress)
    wanted = without_72(samples, healthy)
    np.testing.assert_array_equal(read["channel"], wanted["channel"])
    np.testing.assert_array_equal(read["counts"], wanted["counts"])
    np.testing.assert_array_equal(read["n_events"], wanted["n_events"])
    assert [note for note in progress.notes if "iphi 72 was lost" in note]
    layout = "canonical" if adjusted else "gapped"
    assert read.attrs["provenance"]["options"]["layout"] == layout


def test_one_subdetector_after_its_mask(samples, made, healthy, tmp_path):
    _, array, table = made
    canonical = loader_steps(array)
    table_of = channel_table("run3")
    he = table_of[table_of["subdet"] == "HE"]
    mask = np.zeros((64, 72, 7), dtype=bool)
    mask[np.where(he["ieta"] < 0, he["ieta"] + 32, he["ieta"] + 31), he["iphi"] - 1, he["depth"] - 1] = True
    canonical[:, ~mask] = 0
    progress = SilentProgress()
    read = read_source(save_source(tmp_path / "he", canonical, table, samples.run), progress=progress)
    np.testing.assert_array_equal(read["counts"], without_72(samples, healthy, "HE")["counts"])
    assert [note for note in progress.notes if "no digi in all of HB" in note]


def test_files_beside_are_sources_too(ours):
    assert {source["name"] for source in read_source(ours).attrs["provenance"]["sources"]} == {
        ARRAY,
        TABLE,
        META,
    }


def test_conditions_travel(samples, tmp_path):
    run = samples.sample_run("HE").assign(pileup=("ls", [50.0, 49.0, 48.5]), lumi=("ls", [1.0, np.nan, 3.0]))
    write_master(tmp_path / "a", run)
    read = read_source(tmp_path / "a")
    for name in ("pileup", "lumi"):
        np.testing.assert_array_equal(read[name], run[name])


@st.composite
def runs(draw):
    era = draw(st.sampled_from(["2017", "2018", "run3"]))
    ls = sorted(draw(st.sets(st.integers(0, 11), min_size=1, max_size=4)))
    table = channel_table(era)
    table = table[table["subdet"].isin(draw(st.sampled_from(["HB", "HE", "HB HE", "HB HE HF HO"])).split())]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_events = rng.integers(1, draw(st.sampled_from([2, 2000])), len(ls), endpoint=True)
    counts = rng.binomial(n_events[:, np.newaxis], draw(st.sampled_from([0.02, 1.0])), (len(ls), len(table)))
    counts[0] = np.maximum(counts[0], 1)
    run = {"2017": 306138, "2018": 319077, "run3": 362760}[era]
    return make_occupancy(counts, table, ls, n_events, {"run": run, "era": era, "provenance": {}})


@given(run=runs())
@settings(max_examples=12, deadline=None)
def test_round_trip(samples, run):
    with tempfile.TemporaryDirectory() as folder:
        write_master(Path(folder) / "a", run)
        read = read_source(Path(folder) / "a")
    held = samples.part_of(run, "HB HE")
    for name in ("counts", "n_events", "ls", "channel"):
        np.testing.assert_array_equal(read[name], held[name], err_msg=name)
    assert (read.attrs["run"], read.attrs["era"]) == (run.attrs["run"], run.attrs["era"])


def test_rows_of_the_second_producer_are_no_lumisections(samples, healthy, tmp_path):
    """Its tree has one entry per LS, so that the source system takes the position for the lumisection."""
    samples.write_second(tmp_path / "b.root", healthy)
    folder = save_source(tmp_path / "b", *source_arrays(tmp_path / "b.root"), samples.run)
    with pytest.raises(FormatError, match="convert the ROOT file itself"):
        read_source(folder)


def test_a_table_without_events(ours, healthy):
    np.save(ours / TABLE, np.load(ours / TABLE)[["ls"]])
    assert (read_source(ours)["n_events"] == UNKNOWN_EVENTS).all()


def test_lumisections_behind_the_end_of_the_array_were_empty(samples, made, tmp_path):
    """The source system cuts the array after the last lumisection with digis."""
    _, array, table = made
    longer = pd.DataFrame({"ls": [*table["ls"], 4, 2000], "NumEvents": [*table["NumEvents"], 7, 9]})
    folder = save_source(tmp_path / "a", array, longer.to_records(index=False), samples.run)
    progress = SilentProgress()
    read = read_source(folder, progress=progress)
    assert read["ls"].values.tolist() == [1, 2, 3, 4]
    assert not read["counts"][3].any()
    assert [note for note in progress.notes if "1 lumisections from 2000 on" in note]


def spoil_array(folder, change):
    array = np.load(folder / ARRAY)
    np.save(folder / ARRAY, change(array))
    meta = json.loads((folder / META).read_text())
    del meta["sha256"]
    (folder / META).write_text(json.dumps(meta))


def set_cell(value, where=(1, 40, 10, 0)):
    def change(array):
        changed = array.astype(type(value) if isinstance(value, float) else array.dtype)
        changed[where] = value
        return changed

    return change


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (set_cell(-3), CountsError, "zero or more"),
        (set_cell(2.5), CountsError, "whole numbers"),
        (set_cell(float("nan")), CountsError, "whole numbers"),
        (set_cell(900), CountsError, "more digis"),
        (set_cell(4, (1, 31 + 17, 20, 0)), CountsError, r"\(17,21,1\)"),
        (set_cell(4, (0, 40, 10, 0)), CountsError, "digis in row 0"),
        (lambda array: array.swapaxes(1, 2), FormatError, r"shape \(4, 72, 64, 7, 1\)"),
        (lambda array: array[..., :6, :], FormatError, r"shape \(4, 64, 72, 6, 1\)"),
        (lambda array: array[:0], FormatError, r"shape \(0, 64"),
        (lambda array: array > 0, FormatError, "of bool"),
    ],
)
def test_broken_arrays(ours, change, error, message):
    spoil_array(ours, change)
    with pytest.raises(error, match=message):
        read_source(ours)


def test_an_array_that_is_not_the_described_one(ours):
    np.save(ours / ARRAY, np.load(ours / ARRAY) // 2)
    with pytest.raises(FormatError, match="a damaged or another one"):
        read_source(ours)


@pytest.mark.parametrize("name", [ARRAY, TABLE])
def test_pickles_are_never_opened(ours, name):
    np.save(ours / name, np.array([{"ls": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(FormatError, match="pickled objects, which could run anything"):
        read_source(ours / ARRAY)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (np.arange(3), r"shape \(3,\) of int64"),
        (np.zeros(3, dtype=[("NumEvents", int)]), "the columns NumEvents"),
        (np.zeros(2, dtype=[("ls", int)]), "repeated"),
        (np.array([(-1,), (2,)], dtype=[("ls", int)]), "negative"),
        (np.array([(1.5,), (2,)], dtype=[("ls", float)]), "column ls"),
        (np.array([(1, -7)], dtype=[("ls", int), ("NumEvents", int)]), "zero or more"),
    ],
)
def test_broken_tables(ours, table, message):
    np.save(ours / TABLE, table)
    with pytest.raises(FormatError, match=message):
        read_source(ours)


def test_a_folder_without_its_table(ours):
    (ours / TABLE).unlink()
    with pytest.raises(InputError, match=f"{TABLE} beside it"):
        read_source(ours)


def test_a_folder_without_its_description(ours, healthy):
    (ours / META).unlink()
    with pytest.raises(InputError, match="--run"):
        read_source(ours)
    assert read_source(ours, ReadRequest(healthy.attrs["run"])).attrs["era"] == "run3"


@pytest.mark.parametrize("content", ["[1]", "{", '{"RunId": "many"}'])
def test_a_broken_description(ours, content):
    (ours / META).write_text(content)
    with pytest.raises(FormatError, match="RunId"):
        read_source(ours)


def test_image_sets_are_no_occupancy(tmp_path):
    images = np.random.default_rng(1).uniform(0, 900, (5, 64, 72))
    np.save(tmp_path / "Run355456_Dataset_iphi.npy", images)
    with pytest.raises(FormatError, match="image set"):
        read_source(tmp_path / "Run355456_Dataset_iphi.npy")


def test_events_must_be_known(samples, healthy, tmp_path):
    with pytest.raises(InputError, match="divides by"):
        write_master(tmp_path / "a", samples.without_events(healthy))
    assert not list(tmp_path.iterdir())


def test_a_run_without_hb_and_he(samples, healthy, tmp_path):
    with pytest.raises(InputError, match="HB or HE"):
        write_master(tmp_path / "a", samples.part_of(healthy, "HF HO"))


def test_ours_is_replaced_and_nobody_elses(samples, made, ours, healthy, tmp_path):
    write_master(ours, healthy.isel(ls=[0]))
    assert np.load(ours / ARRAY).shape[0] == 2
    theirs = save_source(tmp_path / "theirs", *made[1:], samples.run)
    before = (theirs / ARRAY).read_bytes()
    with pytest.raises(ConflictError, match="would be lost"):
        write_master(theirs, healthy)
    assert (theirs / ARRAY).read_bytes() == before
