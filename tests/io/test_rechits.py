"""RecHits beside the digis: read, stored, merged, and never taken for digis."""

import h5py
import numpy as np
import pytest
import zarr

from calowatch.core.errors import ConflictError, CountsError, FormatError
from calowatch.core.progress import SilentProgress
from calowatch.core.schema import with_rechits
from calowatch.io.merge import merge_runs
from calowatch.io.request import ReadRequest
from calowatch.io.sources import read_source
from calowatch.io.store import open_run, write_run

PLANE = "RecHitTask_Occupancy_depth_depth"


def hits_of(run, lost=7):
    """RecHits as real files have them: the digis, some lost."""
    counts = run["counts"].to_numpy()
    return np.maximum(counts - (np.arange(counts.size).reshape(counts.shape) % lost == 0), 0)


@pytest.fixture(scope="module")
def both(samples):
    run = samples.sample_run("HE HO", run=362760)
    return with_rechits(run, hits_of(run))


@pytest.fixture
def spoil(samples, both, tmp_path):
    def write(change):
        path = tmp_path / "a.h5"
        samples.write_study(path, both)
        with h5py.File(path, "r+") as file:
            change(file)
        return path

    return write


def test_real_file(real_file):
    run = read_source(real_file, ReadRequest(run=306138))
    assert run["rechits"].dims == ("ls", "channel")
    assert (run["rechits"] <= run["counts"]).all()
    sums = run[["counts", "rechits"]].sum("ls").to_dataframe().groupby(["subdet", "depth"])
    table = sums[["counts", "rechits"]].sum()
    assert table.loc[("HO", 4)].tolist() == [6160595, 6154791]
    assert table.loc[("HE", 7)].tolist() == [36412, 36402]
    # The reconstruction joins the two anodes of an HF cell, so that depths 3 and 4 have no hits of their own.
    assert table.loc[("HF", 3), "rechits"] == table.loc[("HF", 4), "rechits"] == 0


def test_file_and_store(samples, both, tmp_path):
    samples.write_study(tmp_path / "a.h5", both)
    read = read_source(tmp_path / "a.h5")
    write_run(tmp_path / "store", read)
    stored = open_run(tmp_path / "store", 362760)
    for run in (read, stored):
        np.testing.assert_array_equal(run["rechits"], both["rechits"])
        np.testing.assert_array_equal(run["counts"], both["counts"])
        assert run["rechits"].dtype.kind == "i"


def test_a_lost_chunk_is_no_hit(both, tmp_path):
    write_run(tmp_path / "store", both)
    chunk = next((tmp_path / "store" / "362760" / "rechits" / "c").rglob("0"))
    assert zarr.open_array(tmp_path / "store" / "362760" / "rechits", mode="r").shape == both["rechits"].shape
    (chunk if chunk.is_file() else next(path for path in chunk.rglob("*") if path.is_file())).unlink()
    with pytest.raises(CountsError, match=r"RecHits.*-1"):
        open_run(tmp_path / "store", 362760)


def test_a_run_without_has_none(samples, tmp_path):
    samples.write_study(tmp_path / "a.h5", samples.sample_run("HO"))
    assert "rechits" not in read_source(tmp_path / "a.h5")


def test_merging_subdetectors_and_lumisections(samples):
    whole = samples.sample_run(ls=(1, 2, 3, 4))
    whole = with_rechits(whole, hits_of(whole))
    parts = [samples.part_of(whole, "HB HF"), samples.part_of(whole, "HE HO")]
    quarters = [part.isel(ls=rows) for part in parts for rows in (slice(0, 3), slice(2, 4))]
    merged = merge_runs(quarters)
    np.testing.assert_array_equal(merged["rechits"], whole["rechits"])
    np.testing.assert_array_equal(merged["counts"], whole["counts"])


def test_a_piece_that_does_not_know_takes_nothing_away(both):
    merged = merge_runs([both.drop_vars("rechits"), both])
    np.testing.assert_array_equal(merged["rechits"], both["rechits"])


@pytest.mark.parametrize("lacking", ["subdetector", "lumisection"])
def test_hits_known_in_part_are_left_out_and_it_is_said(samples, both, lacking):
    if lacking == "subdetector":
        pieces = [samples.part_of(both, "HE"), samples.part_of(both, "HO").drop_vars("rechits")]
    else:
        pieces = [both.isel(ls=slice(0, 2)), both.isel(ls=slice(2, 3)).drop_vars("rechits")]
    progress = SilentProgress()
    merged = merge_runs(pieces, progress)
    assert "rechits" not in merged
    assert merged["counts"].shape == both["counts"].shape
    assert any("RecHits of" in note for note in progress.notes)


def test_hits_that_disagree(both):
    other = both.assign(rechits=both["rechits"] + 1)
    with pytest.raises(ConflictError, match=r"HE \(rechits\)"):
        merge_runs([both, other])


def test_some_depths_only(spoil):
    progress = SilentProgress()
    read = read_source(spoil(lambda file: file.pop(f"{PLANE}4")), progress=progress)
    assert "rechits" not in read
    assert [note for note in progress.notes if "RecHits of 7 of 8 depths" in note]


def put(value, index=(1, 20, 71)):
    def change(file):
        file[f"{PLANE}1"][index] = value

    return change


@pytest.mark.parametrize(
    ("value", "message"), [(-2.0, "zero or more"), (0.5, "whole numbers"), (np.nan, "whole numbers")]
)
def test_impossible_hits(spoil, value, message):
    ieta_18 = 42 + 17
    with pytest.raises(CountsError, match=message):
        read_source(spoil(put(value, (1, 20, ieta_18))))


def test_hits_where_no_channel_is(spoil):
    with pytest.raises(CountsError, match=r"\(17,21,1\)"):
        read_source(spoil(put(3.0, (1, 20, 41 + 17))))


def test_hits_of_another_length(spoil):
    def change(file):
        del file[f"{PLANE}2"]
        file[f"{PLANE}2"] = np.zeros((2, 72, 84), dtype=np.float32)

    with pytest.raises(FormatError, match=r"RecHitTask_Occupancy_depth_depth2 with \(3 LS"):
        read_source(spoil(change))
