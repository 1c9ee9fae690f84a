"""Small runs, and files of every format made from them."""

from pathlib import Path

import numpy as np
import pytest
import uproot

from calowatch.core.schema import UNKNOWN_EVENTS, make_occupancy
from calowatch.detector.index import channel_columns
from calowatch.detector.table import channel_table
from calowatch.io.analyzer import write_analyzer
from calowatch.io.analyzer_layout import Layout, cells_of
from calowatch.io.analyzer_writer import FOLDER, HISTOGRAMS, TREE, depth_histograms
from calowatch.io.study_hdf5 import write_study

RUN = 362760
LS_BINS = 12  # real files have 2000, which only costs time here

RUN_OF_ERA = {"2017": 306138, "2018": 319077, "run3": RUN}


def sample_run(subdets="HB HE HF HO", *, era="run3", ls=(1, 2, 3), seed=1, run=None, events=30):
    """A healthy run: binomial digis, HF in every event."""
    rng = np.random.default_rng(seed)
    table = channel_table(era)
    table = table[table["subdet"].isin(subdets.split())].reset_index(drop=True)
    n_events = events + np.asarray(ls) % 10
    # The seed of a channel's probability is its number, so that files of one run agree however they are split.
    p = np.where(table["subdet"] == "HF", 1.0, 0.2 + 0.6 * (table["channel"] * 7919 % 997) / 997)
    counts = rng.binomial(n_events[:, np.newaxis], p).astype(np.int32)
    attrs = {"run": run or RUN_OF_ERA[era], "era": era, "provenance": {}, "source": "sample"}
    return make_occupancy(counts, table, ls, n_events, attrs)


def part_of(occupancy, subdets):
    return occupancy.isel(channel=np.isin(occupancy["subdet"], subdets.split()))


def write_second(path, occupancy, *, ls_bins=LS_BINS, tree_ls=None):
    """Write HB and HE as the second producer does: canonical grid, one tree entry per lumisection."""
    held = part_of(occupancy, "HB HE")
    cells = cells_of(Layout.CANONICAL, channel_columns(held["channel"]))
    order = np.arange(held.sizes["ls"])
    made = depth_histograms(held["counts"].to_numpy(), cells, order, ls_bins)
    sections = held["ls"].to_numpy() if tree_ls is None else tree_ls
    write_root(path, dict(zip(HISTOGRAMS, made, strict=True)), sections, occupancy.attrs["run"])


def write_root(path, histograms, sections, runs, *, tree=True):
    """Write whatever histograms and tree a test wants."""
    with uproot.recreate(path) as file:
        folder = file.mkdir(FOLDER)
        for name, histogram in histograms.items():
            folder[name] = histogram
        if tree:
            sections = np.asarray(sections, dtype=np.int32)
            events = folder.mktree(TREE, {"RunNum": np.int32, "LumiSec": np.int32})
            events.extend({"RunNum": np.broadcast_to(np.int32(runs), sections.shape), "LumiSec": sections})


def first_histograms(occupancy, ls_bins=LS_BINS):
    """The seven histograms of the first producer, to be spoilt."""
    held = part_of(occupancy, "HB HE")
    cells = cells_of(Layout.GAPPED, channel_columns(held["channel"]))
    made = depth_histograms(held["counts"].to_numpy(), cells, held["ls"].to_numpy(), ls_bins)
    return dict(zip(HISTOGRAMS, made, strict=True))


def events_of(occupancy):
    """The tree of the first producer: each lumisection as often as it has events."""
    return np.repeat(occupancy["ls"].to_numpy(), occupancy["n_events"].to_numpy())


def without_events(occupancy):
    return occupancy.assign(n_events=("ls", np.full(occupancy.sizes["ls"], UNKNOWN_EVENTS)))


class Samples:
    """What the tests of this room share."""

    run, ls_bins = RUN, LS_BINS
    sample_run = staticmethod(sample_run)
    part_of = staticmethod(part_of)
    write_second = staticmethod(write_second)
    write_root = staticmethod(write_root)
    first_histograms = staticmethod(first_histograms)
    events_of = staticmethod(events_of)
    without_events = staticmethod(without_events)

    @staticmethod
    def write_first(path, occupancy):
        write_analyzer(path, occupancy, ls_bins=LS_BINS)

    write_study = staticmethod(write_study)


@pytest.fixture(scope="session")
def samples():
    return Samples


@pytest.fixture(scope="session")
def healthy():
    """One run of three lumisections, all subdetectors."""
    return sample_run()


@pytest.fixture(scope="session")
def real_file():
    path = Path(__file__).parents[3] / "shared/data/hcal/run306138_ls1-6.hdf5"
    if not path.exists():
        pytest.skip("the real occupancy of run 306138 is not beside this repository")
    return path
