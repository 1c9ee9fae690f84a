"""A run as xarray, pandas and hist objects: the same counts in each."""

import hist
import numpy as np
import pandas as pd
import pytest

import calowatch
from calowatch.core.schema import make_occupancy
from calowatch.io.run import Run
from calowatch.io.store import write_run


@pytest.fixture(scope="module")
def run(toy_run):
    return Run(toy_run(n_ls=4, subdets=("HE", "HO")).occupancy)


def test_repr_says_what_it_is(run):
    assert repr(run) == "<Run 362760, era run3: 4 LS (1-4), 8928 channels (HE HO)>"


def test_xarray_is_a_copy(run):
    copy = run.to_xarray()
    assert copy.identical(run.occupancy)
    copy["counts"][0, 0] += 1
    assert not copy.equals(run.occupancy)


def test_wide_table(run):
    table = run.to_pandas()
    counts = run.occupancy["counts"]
    np.testing.assert_array_equal(table.to_numpy(), counts)
    assert table.index.tolist() == [1, 2, 3, 4]
    one = run.occupancy["channel"].to_numpy().tolist().index(2073333)  # HE -27 33 3
    np.testing.assert_array_equal(table["HE", -27, 33, 3], counts[:, one])


def test_tidy_table_holds_the_same_counts(run):
    tidy = run.to_pandas(tidy=True)
    assert len(tidy) == run.occupancy["counts"].size
    wide = tidy.pivot(index="ls", columns="channel", values="counts")
    np.testing.assert_array_equal(wide[run.occupancy["channel"].to_numpy()], run.to_pandas())
    assert tidy.groupby("ls")["n_events"].first().tolist() == run.occupancy["n_events"].to_numpy().tolist()


def test_optional_columns_and_unknown_events(run):
    occupancy = run.occupancy.isel(ls=slice(0, 2), channel=slice(0, 3))
    occupancy = occupancy.assign(
        n_events=("ls", [-1, 1000]), pileup=("ls", [50.0, 51.0]), rechits=occupancy["counts"] * 2
    )
    tidy = Run(occupancy).to_pandas(tidy=True)
    assert tidy["n_events"].isna().tolist() == [True] * 3 + [False] * 3
    assert tidy["pileup"].tolist() == [50.0] * 3 + [51.0] * 3
    np.testing.assert_array_equal(tidy["rechits"], 2 * tidy["counts"])


def test_histogram_holds_each_count_in_its_bin(run):
    filled = run.to_hist()
    counts = run.occupancy["counts"].to_numpy()
    assert [axis.name for axis in filled.axes] == ["ls", "subdet", "ieta", "iphi", "depth"]
    assert filled.sum() == counts.sum(dtype=np.int64)
    np.testing.assert_array_equal(filled.project("ls").values(), counts.sum(axis=1))
    place = [run.occupancy[name].to_numpy() for name in ("subdet", "ieta", "iphi", "depth")]
    for column in (0, 4000, 8927):
        subdet, ieta, iphi, depth = (values[column].item() for values in place)
        at = [hist.loc(value) for value in (2, subdet, ieta, iphi, depth)]
        assert filled[tuple(at)] == counts[1, column]


def test_histogram_summed_over_lumisections(run):
    summed = run.to_hist(per_ls=False)
    np.testing.assert_array_equal(
        summed.values(), run.to_hist().project("subdet", "ieta", "iphi", "depth").values()
    )


def test_a_gap_in_lumisections_is_no_empty_bin(toy_run):
    occupancy = toy_run(n_ls=5, subdets=("HO",)).occupancy.isel(ls=[0, 1, 4])
    filled = Run(occupancy).to_hist()
    assert list(filled.axes["ls"]) == [1, 2, 5]
    assert filled[hist.loc(5), ...].sum() == occupancy["counts"].to_numpy()[2].sum()


def test_a_run_is_opened_from_a_store(toy_run, tmp_path):
    occupancy = toy_run(n_ls=3, subdets=("HO",)).occupancy
    again = make_occupancy(
        occupancy["counts"].to_numpy(),
        pd.DataFrame({name: occupancy[name] for name in ("channel", "subdet", "ieta", "iphi", "depth")}),
        occupancy["ls"],
        occupancy["n_events"],
        {**occupancy.attrs, "run": 362761},
    )
    for one in (occupancy, again):
        write_run(tmp_path / "s.zarr", one)
    run = calowatch.open_run(tmp_path / "s.zarr", run=362761)
    assert (run.number, run.era) == (362761, "run3")
    np.testing.assert_array_equal(run.to_xarray()["counts"], occupancy["counts"])
