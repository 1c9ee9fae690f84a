"""HcalAnalyzer files: the two producers, and every way in which a file can be wrong."""

import tracemalloc

import numpy as np
import pytest
import uproot

from calowatch.core.errors import AmbiguousLayoutError, CountsError, FormatError, InputError
from calowatch.core.progress import SilentProgress
from calowatch.io.analyzer import write_analyzer
from calowatch.io.analyzer_writer import FOLDER, HISTOGRAMS
from calowatch.io.request import ReadRequest
from calowatch.io.sources import read_source


@pytest.fixture
def spoil(samples, healthy, tmp_path):
    """Write a file of the first producer with something wrong, and return its path."""

    def write(*, change=None, sections=None, runs=samples.run, tree=True, run=healthy):
        histograms = samples.first_histograms(run)
        if change is not None:
            change(histograms)
        path = tmp_path / "spoilt.root"
        sections = samples.events_of(run) if sections is None else sections
        samples.write_root(path, histograms, sections, runs, tree=tree)
        return path

    return write


def bins_of(histogram):
    """The bins of a histogram, flow bins included, as (iphi, ieta, LS), open to change."""
    return np.asarray(histogram.bases[-1]).reshape(74, 66, -1)


def with_bins(histograms, depth, change):
    """Put a changed copy of the bins of a depth into its histogram."""
    name = f"hist3D_depth{depth}"
    array = histograms[name].bases[-1]
    bins = bins_of(histograms[name]).copy()
    change(bins)
    array._data = bins.reshape(-1)


def test_is_a_real_th3i_with_a_tree(samples, healthy, tmp_path):
    write_analyzer(tmp_path / "a.root", healthy, ls_bins=samples.ls_bins)
    with uproot.open(tmp_path / "a.root") as file:
        histogram = file[f"{FOLDER}/hist3D_depth2"]
        assert histogram.classname == "TH3I"
        assert histogram.axis("y").edges()[[0, -1]].tolist() == [-32, 32]
        inside = histogram.values()
        assert histogram.member("fTsumw") == inside.sum()
        centres = np.arange(-31.5, 32)
        assert histogram.member("fTsumwy") == pytest.approx((inside.sum(axis=(0, 2)) * centres).sum())
        assert histogram.member("fEntries") == histogram.values(flow=True).sum()
        tree = file[f"{FOLDER}/evttree"]
        assert tree.classname == "TTree"
        assert tree.num_entries == healthy["n_events"].sum()


def test_real_size_by_default(samples, tmp_path):
    run = samples.sample_run("HE", ls=(1999,))
    write_analyzer(tmp_path / "a.root", run)
    read = read_source(tmp_path / "a.root")
    assert read["ls"].values.tolist() == [1999]
    np.testing.assert_array_equal(read["counts"], run["counts"])


def test_iphi_72_lies_in_the_overflow(samples, healthy):
    bins = bins_of(samples.first_histograms(healthy)["hist3D_depth1"])
    assert (bins[73] > 0).sum() == 3 * (2 * 16 + 2 * 3)  # HB 1-16 and HE 18-20 in three LS
    assert not bins[:, 33].any()
    assert not bins[1].any()


def test_depths_may_end_at_different_lumisections(spoil, healthy):
    """Nothing in the file tells missing data from silence: zeros are read as they stand, and the user is told."""
    path = spoil(change=lambda made: with_bins(made, 7, lambda bins: bins[:, :, 3:].fill(0)))
    progress = SilentProgress()
    read = read_source(path, progress=progress)
    deep = (read["depth"] == 7).to_numpy()
    assert not read["counts"].to_numpy()[2:, deep].any()
    np.testing.assert_array_equal(read["counts"][:, ~deep], healthy["counts"][:, : len(deep)][:, ~deep])
    assert any("depth 7 holds no digi after LS 1" in note for note in progress.notes)


def test_lumisections_with_gaps_and_out_of_order(samples, tmp_path):
    run = samples.sample_run("HB HE", ls=(2, 5, 9))
    shuffled = np.random.default_rng(0).permutation(samples.events_of(run))
    samples.write_root(tmp_path / "a.root", samples.first_histograms(run), shuffled, samples.run)
    read = read_source(tmp_path / "a.root")
    np.testing.assert_array_equal(read["counts"], run["counts"])
    np.testing.assert_array_equal(read["n_events"], run["n_events"])


def test_second_producer_takes_lumisections_from_the_tree(samples, healthy, tmp_path):
    samples.write_second(tmp_path / "a.root", healthy, tree_ls=[700, 20, 1500])
    read = read_source(tmp_path / "a.root")
    assert read["ls"].values.tolist() == [20, 700, 1500]
    expected = samples.part_of(healthy, "HB HE")["counts"].to_numpy()[[1, 0, 2]]
    np.testing.assert_array_equal(read["counts"], expected)


def test_one_digi_at_iphi_72_is_enough_to_tell_the_producer(samples, healthy, tmp_path):
    run = healthy.copy(deep=True)
    run["counts"][:, ~((run["iphi"] == 72) & (run["ieta"] == 5)).to_numpy()] = 0
    samples.write_first(tmp_path / "a.root", run)
    progress = SilentProgress()
    assert read_source(tmp_path / "a.root", progress=progress)["counts"].sum() > 0
    assert any("HE" in note and "not in the file" in note for note in progress.notes)


@pytest.mark.parametrize("fill", ["nothing", "either", "both"])
def test_neither_or_both_producers_is_refused(spoil, fill):
    def change(bins):
        kept = bins[21, 40].copy()
        if fill == "both":
            bins[1, 33] = kept  # ieta 0 at iphi 0 of the first producer
            return
        bins.fill(0)
        if fill == "either":
            bins[21, 40] = kept

    def change_all(made):
        for depth in range(1, 8):
            with_bins(made, depth, change)

    with pytest.raises(AmbiguousLayoutError, match="exactly one of the two"):
        read_source(spoil(change=change_all))


def test_digis_outside_the_segmentation_name_cells_and_the_era_that_fits(spoil):
    with pytest.raises(CountsError, match=r"outside, at \(ieta,iphi,depth\) \(-14,1,2\).*--era run3"):
        read_source(spoil(), ReadRequest(era="2018"))


def test_digis_that_fit_no_era(spoil):
    def change(bins):
        bins[40, 33 + 31, 2] = 1  # ieta 31 in LS 1

    with pytest.raises(CountsError, match=r"\(31,39,1\).*no era"):
        read_source(spoil(change=lambda made: with_bins(made, 1, change)))


def test_a_missing_depth(spoil):
    with pytest.raises(FormatError, match="no hist3D_depth4"):
        read_source(spoil(change=lambda made: made.pop("hist3D_depth4")))


@pytest.mark.parametrize("depths", [(5,), (1, 7), (2, 3, 4, 5, 6, 7)])
def test_a_depth_ends_where_its_axis_does(spoil, samples, healthy, depths):
    """Lumisections beyond the shortest axis lie in its overflow; the longer axes keep theirs, none is needed."""
    run = samples.sample_run("HB HE", ls=(1, 2, 3))
    short = samples.first_histograms(run.isel(ls=[0, 1]), 3)

    def change(made):
        made.update({f"hist3D_depth{depth}": short[f"hist3D_depth{depth}"] for depth in depths})

    progress = SilentProgress()
    read = read_source(spoil(change=change, run=run), progress=progress)
    assert read["ls"].to_numpy().tolist() == [1, 2]
    np.testing.assert_array_equal(read["counts"], run["counts"][:2])
    notes = [note for note in progress.notes if "other depths later" in note]
    assert len(notes) == 1
    assert f"depth {depths[0]} ends at LS 2" in notes[0]
    assert "1 lumisections" in notes[0]


def test_axes_that_all_hold_the_run_may_differ(spoil, samples, healthy):
    longer = samples.first_histograms(healthy, samples.ls_bins + 1)
    progress = SilentProgress()
    path = spoil(change=lambda made: made.update(hist3D_depth5=longer["hist3D_depth5"]))
    held = samples.part_of(healthy, "HB HE")
    np.testing.assert_array_equal(read_source(path, progress=progress)["counts"], held["counts"])
    assert not any("left out" in note for note in progress.notes)


def test_an_empty_depth_ends_where_its_axis_does(spoil, samples, healthy):
    def change(made):
        made["hist3D_depth7"] = samples.first_histograms(healthy.isel(ls=[0]), 3)["hist3D_depth7"]
        with_bins(made, 7, lambda bins: bins.fill(0))

    assert read_source(spoil(change=change))["ls"].to_numpy().tolist() == [1, 2]


@pytest.mark.parametrize(("member", "letter"), [("fXaxis", "X"), ("fYaxis", "Y"), ("fZaxis", "Z")])
def test_axes_with_other_edges(spoil, member, letter):
    def change(made):
        made["hist3D_depth2"].member(member)._members["fXmin"] += 1

    with pytest.raises(FormatError, match=f"{letter} axis"):
        read_source(spoil(change=change))


def test_another_class_of_histogram(spoil):
    flat = uproot.to_writable(np.histogram([1, 2, 3]))
    with pytest.raises(FormatError, match="not TH3I"):
        read_source(spoil(change=lambda made: made.update(hist3D_depth3=flat)))


def test_no_tree(spoil):
    with pytest.raises(FormatError, match="the tree evttree"):
        read_source(spoil(tree=False))


def test_a_tree_without_entries(spoil):
    with pytest.raises(FormatError, match="a tree without entries"):
        read_source(spoil(sections=[]))


def test_mixed_runs(spoil, samples, healthy):
    runs = np.full(int(healthy["n_events"].sum()), samples.run)
    runs[-1] += 1
    with pytest.raises(FormatError, match="a mixture of runs 362760, 362761"):
        read_source(spoil(runs=runs))


def test_negative_lumisections(spoil):
    with pytest.raises(FormatError, match="whole lumisection numbers"):
        read_source(spoil(sections=[1, 2, -3]))


def test_negative_counts(spoil):
    with pytest.raises(CountsError, match="counts of zero or more"):
        read_source(spoil(change=lambda made: with_bins(made, 1, lambda bins: np.negative(bins, out=bins))))


def test_counts_above_events(spoil):
    with pytest.raises(CountsError, match="no more digis in a channel than events"):
        read_source(spoil(sections=[1, 2, 3]))


def test_digis_in_lumisections_without_events(spoil):
    with pytest.raises(CountsError, match="X bin 3"):
        read_source(spoil(sections=np.repeat([1, 2], 100)))


def test_digis_below_the_first_lumisection(spoil):
    def change(bins):
        bins[21, 40, 0] = 1

    with pytest.raises(FormatError, match="X underflow"):
        read_source(spoil(change=lambda made: with_bins(made, 1, change)))


def test_lumisections_beyond_the_histograms_are_left_out_with_a_note(spoil, samples, healthy):
    sections = np.concatenate([samples.events_of(healthy), [2100, 2100]])
    progress = SilentProgress()
    read = read_source(spoil(sections=sections), progress=progress)
    assert read["ls"].values.tolist() == [1, 2, 3]
    assert "1 lumisections lie beyond" in progress.notes[-1]


def test_one_damaged_entry_costs_no_memory(spoil, samples, healthy):
    sections = np.append(samples.events_of(healthy), 2_000_000_000)
    tracemalloc.start()
    read = read_source(spoil(sections=sections))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert read["ls"].values.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(read["n_events"], healthy["n_events"])
    assert peak < 2e9


def test_second_producer_with_a_tree_of_events(samples, healthy, tmp_path):
    samples.write_second(tmp_path / "a.root", healthy, tree_ls=[1, 1, 2, 3])
    with pytest.raises(FormatError, match="one tree entry per lumisection"):
        read_source(tmp_path / "a.root")


def test_another_root_file(tmp_path):
    with uproot.recreate(tmp_path / "a.root") as file:
        file["other"] = np.histogram([1, 2, 3])
    with pytest.raises(FormatError, match=f"the folder {FOLDER}, found other"):
        read_source(tmp_path / "a.root")


def test_a_file_cut_in_its_header(tmp_path):
    (tmp_path / "a.root").write_bytes(b"root")
    with pytest.raises(
        FormatError, match="a ROOT file with a whole header, found a truncated one of 4 bytes"
    ):
        read_source(tmp_path / "a.root")


def test_not_a_root_file(tmp_path):
    (tmp_path / "a.root").write_text("a page of text")
    with pytest.raises(FormatError, match="a ROOT file, found something else"):
        read_source(tmp_path / "a.root")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda s: s.sample_run("HF HO"), "HB or HE"),
        (lambda s: s.sample_run(ls=(11, 12)), "lumisections 0 to 11"),
        (lambda s: s.without_events(s.sample_run()), "number of events"),
    ],
)
def test_what_cannot_be_written_leaves_no_file(samples, tmp_path, make, message):
    with pytest.raises(InputError, match=message):
        samples.write_first(tmp_path / "a.root", make(samples))
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_old_file(samples, healthy, tmp_path, monkeypatch):
    path = tmp_path / "a.root"
    samples.write_first(path, healthy)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("calowatch.io.analyzer_writer._statistics", full)
    with pytest.raises(OSError, match="No space left"):
        samples.write_first(path, healthy)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["a.root"]
    assert len(HISTOGRAMS) == 7


def test_digis_without_depth_belong_to_no_channel(samples, healthy, tmp_path):
    """The older analyzer, and the newer one's own sum."""
    made = samples.first_histograms(healthy)["hist3D_depth1"]
    for folder in ("HcalDigiAnalyzer", "Hcal4DQMAnalyzer"):
        path = tmp_path / f"{folder}.root"
        with uproot.recreate(path) as file:
            file[f"{folder}/hist3D"] = made
        with pytest.raises(FormatError, match=f"{folder}/hist3D, which sums the depths.*DQM file"):
            read_source(path)


def test_a_sum_beside_the_depths_does_no_harm(samples, healthy, tmp_path):
    made = samples.first_histograms(healthy)
    path = tmp_path / "a.root"
    samples.write_root(
        path, {**made, "hist3D": made["hist3D_depth1"]}, samples.events_of(healthy), samples.run
    )
    held = samples.part_of(healthy, "HB HE")
    np.testing.assert_array_equal(read_source(path)["counts"], held["counts"])


def test_hf_at_the_edge_of_a_cut_dqm_grid_is_left_out(samples, healthy, tmp_path):
    """The second producer cuts ten bins off either side of the DQM grid, and leaves in HF at abs(ieta) 29 to 31."""
    import hist

    planes = samples.planes_of(healthy)
    axes = [
        hist.axis.Regular(samples.ls_bins, 0, samples.ls_bins),
        hist.axis.Regular(64, -32, 32),
        hist.axis.Regular(72, 0, 72),
    ]
    histograms = {}
    for depth in range(1, 8):
        filled = hist.Hist(*axes, storage=hist.storage.Double())
        filled.view()[:3] = planes[f"depth{depth}"][:, :, 10:-10].transpose(0, 2, 1)
        histograms[f"hist3D_depth{depth}"] = filled
    samples.write_root(tmp_path / "a.root", histograms, healthy["ls"].values, samples.run)
    progress = SilentProgress()
    read = read_source(tmp_path / "a.root", progress=progress)
    np.testing.assert_array_equal(read["counts"], samples.part_of(healthy, "HB HE")["counts"])
    assert [note for note in progress.notes if "HF of abs(ieta) 29 to 31" in note]
