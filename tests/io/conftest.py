"""Small runs, and files of every format made from them."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from uproot.writing.identify import to_TAxis, to_TH2x

from calowatch.core.schema import UNKNOWN_EVENTS, make_occupancy
from calowatch.detector.index import channel_columns
from calowatch.detector.table import channel_table
from calowatch.io.analyzer import write_analyzer
from calowatch.io.analyzer_layout import Layout, cells_of
from calowatch.io.analyzer_writer import FOLDER, HISTOGRAMS, TREE, depth_histograms
from calowatch.io.master import write_master
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


def dqm_planes(values, channels, era, ho):
    """Counts (ls, channel) as {plane: (ls, 72, 84)}, written out longhand, apart from the code that reads them."""
    made = {
        name: np.zeros((len(values), 72, 84)) for name in [f"depth{d}" for d in range(1, 8)] + ["depthHO"]
    }
    names = zip(*(channels[name].tolist() for name in ("subdet", "ieta", "iphi", "depth")), strict=True)
    for column, (subdet, ieta, iphi, depth) in enumerate(names):
        outwards = 1 if subdet == "HF" else 0
        x = ieta + 42 - outwards if ieta < 0 else ieta + 41 + outwards
        made[ho if subdet == "HO" else f"depth{depth}"][:, iphi - 1, x] += values[:, column]
    if ho != "depthHO":
        del made["depthHO"]
    return made


HO_OF = {"2017": "depth4", "2018": "depth4", "run3": "depthHO"}


def planes_of(occupancy, variable="counts", ho=None):
    era = occupancy.attrs["era"]
    channels = channel_columns(occupancy["channel"])
    return dqm_planes(occupancy[variable].to_numpy(), channels, era, ho or HO_OF[era])


def th2(values, kind=np.float32, bins=None):
    """A TH2 as DQM books it: X = ieta, Y = iphi."""
    values = np.asarray(values, dtype=kind)
    data = np.zeros((values.shape[0] + 2, values.shape[1] + 2), dtype=kind)
    data[1:-1, 1:-1] = values
    axes = [
        to_TAxis("xaxis", "ieta", values.shape[1], 0.0, float(values.shape[1])),
        to_TAxis("yaxis", "iphi", values.shape[0], 0.5, values.shape[0] + 0.5),
    ]
    return to_TH2x("depth", "", data.reshape(-1), float(values.sum()), *[0.0] * 7, None, *axes)


def write_dqm(path, objects, run=RUN):
    """Write a DQM file from {path below the run's folder: histogram}."""
    with uproot.recreate(path) as file:
        for name, content in objects.items():
            file[f"DQMData/Run {run}/{name}"] = content


def dqm_objects(
    occupancy,
    row,
    folder="Hcal/Run summary",
    task="DigiTask/Occupancy",
    *,
    variable="counts",
    ho=None,
    events=True,
):
    """The histograms of one lumisection, to be spoilt."""
    planes = planes_of(occupancy.isel(ls=[row]), variable, ho)
    made = {f"{folder}/{task}/depth/{name}": th2(cells[0]) for name, cells in planes.items()}
    if events:
        n_events = np.array([float(occupancy["n_events"][row])])
        made[f"{folder}/RunInfo/NumberOfEvents"] = (n_events, np.array([0.0, 1.0]))
    return made


def write_dqm_sections(path, occupancy):
    """Write a DQM file with a folder per lumisection."""
    objects = {}
    for row, ls in enumerate(occupancy["ls"].to_numpy()):
        objects |= dqm_objects(occupancy, row, f"Hcal/By Lumi Section {ls}-{ls}")
    write_dqm(path, objects, occupancy.attrs["run"])


def parquet_table(occupancy, kind="OccupancyCut", ho=None):
    """The rows of a per-LS file, to be spoilt."""
    rows = {"me": [], "run_number": [], "ls_number": [], "data": []}
    for name, cells in planes_of(occupancy, ho=ho).items():
        for ls, values in zip(occupancy["ls"].to_numpy(), cells, strict=True):
            rows["me"].append(f"Hcal/DigiTask/{kind}/depth/{name}")
            rows["run_number"].append(occupancy.attrs["run"])
            rows["ls_number"].append(int(ls))
            rows["data"].append(values.tolist())
    return pa.table(rows)


def write_parquet(path, table):
    pq.write_table(table, path, row_group_size=10, write_page_checksum=True)


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
    write_master = staticmethod(write_master)
    planes_of = staticmethod(planes_of)
    th2 = staticmethod(th2)
    write_dqm = staticmethod(write_dqm)
    dqm_objects = staticmethod(dqm_objects)
    write_dqm_sections = staticmethod(write_dqm_sections)
    parquet_table = staticmethod(parquet_table)
    write_parquet = staticmethod(write_parquet)


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


def store_content(folder):
    """Every file of a store byte for byte, but for when it was written."""
    found = {}
    for item in sorted(folder.rglob("*")):
        if item.is_file():
            text = item.read_bytes()
            found[str(item.relative_to(folder))] = re.sub(rb'"created": "[^"]*"', b"", text)
    return found


@pytest.fixture(scope="session")
def content():
    return store_content
