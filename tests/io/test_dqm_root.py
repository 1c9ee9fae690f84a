"""DQM ROOT files: both subsystems, both histograms, HO where each era has it, one lumisection or many, broken ones."""

import numpy as np
import pytest
import uproot

from calowatch.core.errors import AmbiguousLayoutError, ConflictError, CountsError, FormatError, InputError
from calowatch.core.progress import SilentProgress
from calowatch.core.schema import UNKNOWN_EVENTS, with_rechits
from calowatch.io.dqm_root import ls_from_name
from calowatch.io.request import ReadRequest
from calowatch.io.sources import read_source

FOLDER = "Hcal/Run summary"
DEPTHS = f"{FOLDER}/DigiTask/Occupancy/depth"


@pytest.fixture
def spoil(samples, healthy, tmp_path):
    """Write the first lumisection with something changed, and return the file."""

    def write(
        change=lambda objects: None, run=healthy, name="DQM_V0001_Hcal_R000362760_L0001.root", **options
    ):
        objects = samples.dqm_objects(run, 0, **options)
        change(objects)
        samples.write_dqm(tmp_path / name, objects, run.attrs["run"])
        return tmp_path / name

    return write


def cell(plane, iphi, x, value):
    """A change that puts a value into one bin."""

    def change(objects):
        values = objects[f"{DEPTHS}/{plane}"].values().T.copy()
        values[iphi - 1, x] = value
        objects[f"{DEPTHS}/{plane}"] = remake(values)

    def remake(values):
        from uproot.writing.identify import to_TAxis, to_TH2x

        data = np.zeros((74, 86), dtype=np.float32)
        data[1:-1, 1:-1] = values
        axes = [to_TAxis("xaxis", "", 84, 0.0, 84.0), to_TAxis("yaxis", "", 72, 0.5, 72.5)]
        return to_TH2x("depth", "", data.reshape(-1), 0.0, *[0.0] * 7, None, *axes)

    return change


@pytest.mark.parametrize(
    ("era", "subsystem", "ho"),
    [
        ("2017", "Hcal", "depth4"),
        ("2017", "HcalAll", "depth4"),
        ("2018", "Hcal", "depth4"),
        ("2018", "Hcal", "depthHO"),
        ("run3", "Hcal", "depth7"),
        ("run3", "Hcal", "depthHO"),
    ],
)
def test_ho_where_the_time_has_it(samples, spoil, era, subsystem, ho):
    run = samples.sample_run(era=era, ls=(1,))
    read = read_source(spoil(run=run, folder=f"{subsystem}/Run summary", ho=ho))
    np.testing.assert_array_equal(read["counts"], run["counts"])
    np.testing.assert_array_equal(read["channel"], run["channel"])
    options = read.attrs["provenance"]["options"]
    assert (options["histograms"], options["ho"]) == (f"{subsystem}/DigiTask/Occupancy", ho)


def test_hf_lies_one_bin_further_out(samples, spoil):
    """HF at 29 in bin 71, HE at 29 in bin 70, counted from 0."""
    run = samples.sample_run(ls=(1,))
    path = spoil(run=run)
    read = read_source(path).set_index(channel=("subdet", "ieta", "iphi", "depth"))
    with uproot.open(path) as file:
        bins = file[f"DQMData/Run 362760/{DEPTHS}/depth1"].values()
    assert bins[71, 0] == read["counts"].sel(subdet="HF", ieta=29, iphi=1, depth=1).item()
    assert bins[70, 0] == read["counts"].sel(subdet="HE", ieta=29, iphi=1, depth=1).item()
    assert bins[0, 2] == read["counts"].sel(subdet="HF", ieta=-41, iphi=3, depth=1).item()


def test_a_folder_of_files_of_single_lumisections_is_one_run(samples, healthy, tmp_path):
    for row, ls in enumerate(healthy["ls"].values):
        samples.write_dqm(tmp_path / f"DQM_R000362760_LS{ls:04d}.root", samples.dqm_objects(healthy, row))
    progress = SilentProgress()
    read = read_source(tmp_path, progress=progress)
    np.testing.assert_array_equal(read["counts"], healthy["counts"])
    np.testing.assert_array_equal(read["n_events"], healthy["n_events"])
    assert "DQM_R000362760_LS0002.root: lumisection 2, taken from the name" in progress.notes


def test_a_file_of_a_whole_run_is_one_row_and_says_so(spoil, healthy):
    progress = SilentProgress()
    read = read_source(spoil(name="DQM_V0001_Hcal_R000362760.root"), progress=progress)
    assert read["ls"].values.tolist() == [1]
    assert [note for note in progress.notes if "sums a whole run" in note]
    assert read.attrs["provenance"]["options"]["span"] == "the whole run"
    assert read["n_events"].values.tolist() == [int(healthy["n_events"][0])]


def test_the_user_numbers_a_row(spoil):
    read = read_source(spoil(name="a.root"), ReadRequest(first_ls=41))
    assert read["ls"].values.tolist() == [41]


@pytest.mark.parametrize(
    ("name", "ls"),
    [
        ("DQM_V0001_Hcal_R000306138_L0012.root", 12),
        ("run306138_ls7.root", 7),
        ("run306138_lumi-007.root", 7),
        ("run306138_ls1-6.root", None),
        ("hcal_l1t_run306138.root", None),
        ("DQM_V0001_Hcal_R000306138.root", None),
    ],
)
def test_lumisections_in_names(tmp_path, name, ls):
    assert ls_from_name(tmp_path / name) == ls


def test_occupancy_goes_before_occupancy_cut_and_it_is_said(samples, spoil, healthy):
    def add(objects):
        less = healthy.assign(counts=healthy["counts"] // 2)
        objects |= samples.dqm_objects(less, 0, task="DigiTask/OccupancyCut", events=False)

    progress = SilentProgress()
    read = read_source(spoil(add), progress=progress)
    np.testing.assert_array_equal(read["counts"][0], healthy["counts"][0])
    assert [note for note in progress.notes if "DigiTask/OccupancyCut left aside" in note]


def test_occupancy_cut_alone(spoil, healthy):
    read = read_source(spoil(task="DigiTask/OccupancyCut"))
    np.testing.assert_array_equal(read["counts"][0], healthy["counts"][0])
    assert read.attrs["provenance"]["options"]["histograms"] == "Hcal/DigiTask/OccupancyCut"


def test_events_from_the_histogram_then_from_hf_then_unknown(samples, spoil, healthy):
    def more_events(objects):
        objects[f"{FOLDER}/RunInfo/NumberOfEvents"] = (np.array([77.0]), np.array([0.0, 1.0]))

    assert read_source(spoil(more_events))["n_events"].item() == 77
    assert read_source(spoil(events=False))["n_events"].item() == healthy["n_events"][0]
    uneven = samples.part_of(samples.sample_run(ls=(1,)), "HB HE HO")
    assert read_source(spoil(run=uneven, events=False))["n_events"].item() == UNKNOWN_EVENTS


def test_rechits(samples, spoil, healthy):
    run = with_rechits(healthy, healthy["counts"].to_numpy() // 3)

    def add(objects):
        objects |= samples.dqm_objects(run, 0, task="RecHitTask/Occupancy", variable="rechits", events=False)

    read = read_source(spoil(add))
    np.testing.assert_array_equal(read["rechits"][0], run["rechits"][0])
    np.testing.assert_array_equal(read["counts"][0], run["counts"][0])


def test_several_runs_need_a_choice(samples, healthy, tmp_path):
    path = tmp_path / "a.root"
    with uproot.recreate(path) as file:
        for number in (362759, 362760):
            for name, content in samples.dqm_objects(healthy, number - 362759).items():
                file[f"DQMData/Run {number}/{name}"] = content
    with pytest.raises(FormatError, match=r"mixture of runs 362759, 362760.*--run"):
        read_source(path)
    read = read_source(path, ReadRequest(run=362760, first_ls=2))
    np.testing.assert_array_equal(read["counts"][0], healthy["counts"][1])


def test_two_subsystems_are_ambiguous(samples, spoil, healthy):
    def add(objects):
        objects |= samples.dqm_objects(healthy, 1, "HcalAll/Run summary")

    with pytest.raises(AmbiguousLayoutError, match="Hcal and HcalAll"):
        read_source(spoil(add))


@pytest.mark.parametrize("plane", ["depth1", "depth7"])
def test_a_missing_depth(spoil, plane):
    with pytest.raises(FormatError, match=f"no {plane}"):
        read_source(spoil(lambda objects: objects.pop(f"{DEPTHS}/{plane}")))


def test_a_depth_missing_in_one_lumisection(samples, healthy, tmp_path):
    objects = samples.dqm_objects(healthy, 0, "Hcal/By Lumi Section 1-1")
    objects |= samples.dqm_objects(healthy, 1, "Hcal/By Lumi Section 2-2")
    objects.pop("Hcal/By Lumi Section 2-2/DigiTask/Occupancy/depth/depth3")
    samples.write_dqm(tmp_path / "a.root", objects)
    with pytest.raises(FormatError, match="depth3 in some"):
        read_source(tmp_path / "a.root")


def test_folders_of_several_lumisections(spoil):
    with pytest.raises(FormatError, match="By Lumi Section 1-6"):
        read_source(spoil(folder="Hcal/By Lumi Section 1-6"))


def test_the_folder_is_not_overruled(spoil):
    with pytest.raises(ConflictError, match="lumisection 5 in the file"):
        read_source(spoil(folder="Hcal/By Lumi Section 5-5"), ReadRequest(first_ls=3))


def test_no_occupancy(samples, tmp_path):
    samples.write_dqm(tmp_path / "a.root", {f"{FOLDER}/RunInfo/NumberOfEvents": (np.ones(1), np.arange(2.0))})
    with pytest.raises(FormatError, match="the file of the HCAL subsystem"):
        read_source(tmp_path / "a.root")


@pytest.mark.parametrize("shape", [(84, 72), (72, 82)])
def test_axes_of_another_shape(samples, spoil, shape):
    def change(objects):
        objects[f"{DEPTHS}/depth2"] = samples.th2(np.zeros(shape))

    with pytest.raises(FormatError, match="84 ieta x 72 iphi"):
        read_source(spoil(change))


def test_another_kind_of_histogram(spoil):
    def change(objects):
        objects[f"{DEPTHS}/depth2"] = (np.ones(3), np.arange(4.0))

    with pytest.raises(FormatError, match="found a TH1D"):
        read_source(spoil(change))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-3, "zero or more"),
        (2.5, "whole numbers"),
        (np.nan, "whole"),
        (900, "more digis"),
        (2**24, "stop counting"),
    ],
)
def test_impossible_counts(spoil, value, message):
    with pytest.raises(CountsError, match=message):
        read_source(spoil(cell("depth1", 21, 45, value)))


def test_digis_where_no_channel_is(spoil):
    with pytest.raises(CountsError, match=r"\(17,21,1\)"):
        read_source(spoil(cell("depth1", 21, 41 + 17, 4)))


def test_the_wrong_era_names_the_right_one(samples, spoil):
    run = samples.sample_run(era="2017", ls=(1,))
    with pytest.raises(CountsError, match="give --era 2017"):
        read_source(spoil(run=run), ReadRequest(era="2018"))


def test_a_run_without_an_era(samples, spoil):
    """2019 and 2020: HO in depth 7, no era of ours; the user says which segmentation holds."""
    run = samples.sample_run(ls=(1,), run=335000)
    path = spoil(run=run, ho="depth7")
    with pytest.raises(InputError, match="era"):
        read_source(path)
    np.testing.assert_array_equal(read_source(path, ReadRequest(era="run3"))["counts"], run["counts"])
