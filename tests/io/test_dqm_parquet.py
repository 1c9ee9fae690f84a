"""Per-LS Parquet files: whatever order and types their rows have, and broken ones."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from calowatch.core.errors import AmbiguousLayoutError, ConflictError, CountsError, FormatError
from calowatch.core.progress import SilentProgress
from calowatch.core.schema import UNKNOWN_EVENTS
from calowatch.io.request import ReadRequest
from calowatch.io.sources import read_source

NAME = "Hcal/DigiTask/OccupancyCut/depth/depth"


@pytest.fixture(scope="module")
def rows(samples, healthy):
    return samples.parquet_table(healthy)


@pytest.fixture
def save(samples, tmp_path):
    def write(table):
        samples.write_parquet(tmp_path / "a.parquet", table)
        return tmp_path / "a.parquet"

    return write


def put(table, column, row, value):
    """The table with one value changed."""
    values = table[column].to_pylist()
    values[row] = value
    kind = table.schema.field(column).type
    return table.set_column(table.schema.get_field_index(column), column, pa.array(values, kind))


def put_bin(table, row, iphi_bin, ieta_bin, value):
    grid = [list(line) for line in table["data"][row].as_py()]
    grid[iphi_bin][ieta_bin] = value
    return put(table, "data", row, grid)


def test_rows_in_any_order_beside_other_histograms(rows, save, healthy):
    other = rows.slice(0, 2).set_column(0, "me", pa.array(["Hcal/DigiTask/Timing", "Ecal/Occupancy"]))
    order = np.random.default_rng(3).permutation(rows.num_rows + 2)
    mixed = pa.concat_tables([other, rows]).take(order).append_column("dataset", pa.array(["x"] * len(order)))
    read = read_source(save(mixed))
    np.testing.assert_array_equal(read["counts"], healthy["counts"])
    np.testing.assert_array_equal(read["ls"], healthy["ls"])


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.list_(pa.float32())),
        pa.large_list(pa.list_(pa.int64())),
        pa.list_(pa.list_(pa.int16(), 84), 72),
    ],
    ids=str,
)
def test_lists_of_any_type(rows, save, healthy, kind):
    table = rows.set_column(3, "data", pa.array(rows["data"].to_pylist(), kind))
    np.testing.assert_array_equal(read_source(save(table))["counts"], healthy["counts"])


@pytest.mark.parametrize("ho", ["depth7", None])
def test_without_a_plane_of_its_own_ho_is_in_depth_7(samples, save, healthy, ho):
    """DIALS lists of depths 1 to 7 lack HO since September 2020; before, it was in depth 7."""
    table = samples.parquet_table(healthy, ho="depth7")
    if ho is None:
        table = samples.parquet_table(samples.part_of(healthy, "HB HE HF"), ho="depth7")
    progress = SilentProgress()
    read = read_source(save(table), progress=progress)
    wanted = healthy if ho else samples.part_of(healthy, "HB HE HF")
    np.testing.assert_array_equal(read["counts"], wanted["counts"])
    assert bool([note for note in progress.notes if "no digi in all of HO" in note]) == (ho is None)


def test_events_are_unknown_where_hf_cells_differ(samples, save, healthy):
    run = healthy.copy(deep=True)
    run["counts"][1, np.flatnonzero(run["subdet"] == "HF")[5]] = 0
    read = read_source(save(samples.parquet_table(run)))
    assert read["n_events"].values.tolist() == [30 + 1, UNKNOWN_EVENTS, 30 + 3]


def test_several_runs_need_a_choice(samples, rows, save, healthy):
    other = samples.parquet_table(samples.sample_run(run=362759, seed=4))
    path = save(pa.concat_tables([other, rows]))
    with pytest.raises(FormatError, match=r"mixture of runs 362759, 362760.*--run"):
        read_source(path)
    np.testing.assert_array_equal(read_source(path, ReadRequest(362760))["counts"], healthy["counts"])


def test_occupancy_goes_before_occupancy_cut_and_it_is_said(samples, rows, save, healthy):
    whole = samples.parquet_table(healthy.assign(counts=healthy["counts"] * 1), "Occupancy")
    less = samples.parquet_table(healthy.assign(counts=healthy["counts"] // 2))
    progress = SilentProgress()
    read = read_source(save(pa.concat_tables([less, whole])), progress=progress)
    np.testing.assert_array_equal(read["counts"], healthy["counts"])
    assert read.attrs["provenance"]["options"]["histograms"] == "Hcal/DigiTask/Occupancy"
    assert [note for note in progress.notes if "OccupancyCut left aside" in note]


def test_two_subsystems_are_ambiguous(rows, save):
    names = [name.replace("Hcal/", "HcalAll/") for name in rows["me"].to_pylist()]
    both = pa.concat_tables([rows, rows.set_column(0, "me", pa.array(names))])
    with pytest.raises(AmbiguousLayoutError, match="Hcal/DigiTask/OccupancyCut and HcalAll"):
        read_source(save(both))


@pytest.mark.parametrize("column", ["me", "run_number", "ls_number", "data"])
def test_a_missing_column(rows, save, column):
    with pytest.raises(FormatError, match=f"no {column}"):
        read_source(save(rows.drop_columns([column])))


def test_no_histogram_of_the_digi_task(rows, save):
    with pytest.raises(FormatError, match="none in 24 rows"):
        read_source(save(rows.set_column(0, "me", pa.array(["Hcal/DigiTask/Timing"] * 24))))


@pytest.mark.parametrize("value", [None, 1.5])
def test_lumisections_that_are_no_numbers(rows, save, value):
    numbers = pa.array([value, *rows["ls_number"].to_pylist()[1:]], pa.float64())
    with pytest.raises(FormatError, match="whole run and lumisection numbers"):
        read_source(save(rows.set_column(2, "ls_number", numbers)))


def test_a_missing_depth(rows, save):
    keep = np.array([not name.endswith("depth5") for name in rows["me"].to_pylist()])
    with pytest.raises(FormatError, match="no depth5"):
        read_source(save(rows.filter(pa.array(keep))))


def test_a_depth_missing_in_one_lumisection(rows, save):
    with pytest.raises(FormatError, match=r"no depth1 in LS 2 \(1 such gaps\)"):
        read_source(save(pa.concat_tables([rows.slice(0, 1), rows.slice(2)])))


def test_a_histogram_that_stands_there_twice(rows, save):
    with pytest.raises(ConflictError, match="depth1 of LS 3 2 times"):
        read_source(save(pa.concat_tables([rows, rows.slice(2, 1)])))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-3.0, r"-3\.0 in LS 2, depth1, row 20, column 45"),
        (2.5, r"2\.5"),
        (np.nan, "nan"),
        (None, "nan"),
        (1e12, "1000000000000"),
    ],
)
def test_impossible_counts(rows, save, value, message):
    with pytest.raises(CountsError, match=message):
        read_source(save(put_bin(rows, 1, 20, 45, value)))


def test_digis_where_no_channel_is(rows, save):
    with pytest.raises(CountsError, match=r"\(17,21,1\)"):
        read_source(save(put_bin(rows, 1, 20, 41 + 17, 4)))


@pytest.mark.parametrize(
    "grid",
    [np.zeros((84, 72)).tolist(), np.zeros((72, 83)).tolist(), [], None],
    ids=["turned", "short", "empty", "null"],
)
def test_a_grid_of_another_shape(rows, save, grid):
    with pytest.raises(FormatError, match="72 lists"):
        read_source(save(put(rows, "data", 5, grid)))


def test_one_short_line(rows, save):
    grid = [list(line) for line in rows["data"][4].as_py()]
    grid[3], grid[4] = grid[3][:-1], [*grid[4], 0.0]
    with pytest.raises(FormatError, match="a list of 83 where 84 should be"):
        read_source(save(put(rows, "data", 4, grid)))


@pytest.mark.parametrize(
    "values", [["x"] * 24, [1.0] * 24, [["x"] * 72] * 24], ids=["text", "numbers", "lists"]
)
def test_bins_that_are_no_lists_of_numbers(rows, save, values):
    with pytest.raises(FormatError, match="72 lists"):
        read_source(save(rows.set_column(3, "data", pa.array(values))))


def test_damage_without_checksums_is_an_error_too(rows, tmp_path):
    path = tmp_path / "run362760.parquet"
    pq.write_table(rows, path)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(FormatError, match="damaged"):
        read_source(path)
