"""Whatever the counts: written, read, stored and loaded, they are the same integers."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calowatch.core.schema import make_occupancy
from calowatch.detector.table import channel_table
from calowatch.io.sources import read_source
from calowatch.io.store import open_run, write_run

SUBSETS = ("HB", "HE", "HB HE", "HB HE HF HO", "HF HO", "HO")
COMMON = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def runs(draw, subsets=SUBSETS):
    era = draw(st.sampled_from(["2017", "2018", "run3"]))
    ls = sorted(draw(st.sets(st.integers(1, 11), min_size=1, max_size=4)))
    table = channel_table(era)
    table = table[table["subdet"].isin(draw(st.sampled_from(subsets)).split())]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_events = rng.integers(1, draw(st.sampled_from([2, 60, 2000])), len(ls), endpoint=True)
    counts = rng.binomial(
        n_events[:, np.newaxis], draw(st.sampled_from([0.02, 0.5, 1.0])), (len(ls), len(table))
    )
    # A subdetector without any digi is taken as not in the file, and a file without any tells no layout.
    counts[0] = np.maximum(counts[0], 1)
    run = {"2017": 306138, "2018": 319077, "run3": 362760}[era]
    return make_occupancy(counts, table, ls, n_events, {"run": run, "era": era, "provenance": {}})


def assert_same(one, other):
    for name in ("counts", "n_events", "ls", "channel", "subdet", "ieta", "iphi", "depth"):
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    assert (one.attrs["run"], one.attrs["era"]) == (other.attrs["run"], other.attrs["era"])


def through_the_store(folder, occupancy):
    assert write_run(folder / "store", occupancy) == "converted"
    return open_run(folder / "store", occupancy.attrs["run"])


@given(run=runs(SUBSETS[:3]))
@COMMON
def test_analyzer_file_and_store(samples, run):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.root"
        samples.write_first(path, run)
        read = read_source(path)
        assert_same(read, run)
        assert_same(through_the_store(Path(folder), read), run)


@given(run=runs())
@COMMON
def test_study_file_and_store(samples, run):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5"
        samples.write_study(path, run)
        read = read_source(path)
        assert_same(read, run)
        assert_same(through_the_store(Path(folder), read), run)


def test_conditions_travel_through_the_store(samples, tmp_path):
    run = samples.sample_run("HO").assign(pileup=("ls", [50.0, np.nan, 48.5]), lumi=("ls", [1.0, 2.0, 3.0]))
    stored = through_the_store(tmp_path, run)
    np.testing.assert_array_equal(stored["pileup"], run["pileup"])
    np.testing.assert_array_equal(stored["lumi"], run["lumi"])
