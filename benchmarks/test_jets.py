"""Jets: how fast they are made, and how fast their images are read."""

import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

from calowatch.io.jets import read_jets, write_jets

JETS = 400
LOOPED = 4


def sparse_images(n=JETS, seed=0):
    """Return images filled as those of the generator are: tracks 0.5 %, ECAL 0.4 %, HCAL towers 4 %."""
    rng = np.random.default_rng(seed)
    images = np.zeros((n, 3, 125, 125), np.float32)
    for channel, share in ((0, 0.005), (1, 0.004)):
        hit = rng.random((n, 125, 125)) < share
        images[:, channel][hit] = rng.exponential(0.01, int(hit.sum()))
    towers = np.where(rng.random((n, 25, 25)) < 0.04, rng.exponential(0.001, (n, 25, 25)), 0)
    images[:, 2] = np.repeat(np.repeat(towers, 5, axis=1), 5, axis=2)
    return images


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    images = sparse_images()
    columns = {"pt": np.full(JETS, 100.0), "m0": np.full(JETS, 15.0), "y": np.arange(JETS) % 2}
    file = tmp_path_factory.mktemp("jets") / "jets.parquet"
    write_jets(file, [(images, columns)], {})
    return file


def seconds(work, *args):
    """Return what work gives and the processor time that it takes, the better of two."""
    found, best = None, np.inf
    for _ in range(2):
        start = time.process_time()
        found = work(*args)
        best = min(best, time.process_time() - start)
    return found, best


def through_pandas(path):
    frame = pq.read_table(path, columns=["X_jets"]).to_pandas()
    return np.stack([np.stack([np.stack(list(channel)) for channel in jet]) for jet in frame["X_jets"]])


def through_loops(path):
    """Read as the published notebook does: four loops into a data frame of nested arrays; a few jets only."""
    frame = pq.read_table(path, columns=["X_jets"]).slice(0, LOOPED).to_pandas()
    found = np.zeros((LOOPED, 3, 125, 125))
    for jet in range(LOOPED):
        for channel in range(3):
            for row in range(125):
                for column in range(125):
                    found[jet, channel, row, column] = frame["X_jets"][jet][channel][row][column]
    return found


def test_reading(path, tmp_path, figure):
    start = time.process_time()
    first = read_jets([path], tmp_path / "cache")
    filling = (time.process_time() - start) / JETS
    every = np.arange(JETS)
    images, ours = seconds(lambda: read_jets([path], tmp_path / "cache").read(every))
    pandas, by_pandas = seconds(through_pandas, path)
    decoding = seconds(lambda: pq.read_table(path, columns=["X_jets"]))[1]
    looped, by_loops = seconds(through_loops, path)
    assert np.array_equal(images, pandas.astype(np.float32))
    assert np.array_equal(images[:LOOPED], looped.astype(np.float32))
    assert len(first) == JETS
    loops_each = (by_loops - decoding) / LOOPED + decoding / JETS
    figure("X_jets, pandas objects over ours", by_pandas / ours, "times", at_least=20)
    figure("X_jets, nested loops over ours", loops_each / (ours / JETS), "times", at_least=200)
    figure("X_jets, nested loops over our first reading", loops_each / filling, "times", at_least=200)
    figure("X_jets, pandas objects over our first reading", by_pandas / JETS / filling, "times")
    figure("X_jets, first reading", 1 / filling, "jets/s")
    figure("X_jets, from the cache", JETS / ours, "jets/s")


def test_memory_of_reading_does_not_grow(tmp_path, figure):
    """Read ten times as many jets in a process of its own: the largest memory stays."""
    images = sparse_images(100)
    peaks = []
    for times in (2, 20):
        file = tmp_path / f"{times}.parquet"
        columns = {"pt": np.full(100, 100.0), "m0": np.full(100, 15.0), "y": np.arange(100) % 2}
        write_jets(file, ((images, columns) for _ in range(times)), {})
        code = (
            "import sys; from pathlib import Path; from calowatch.io.jets import read_jets;"
            "read_jets([sys.argv[1]], Path(sys.argv[2]));"
            "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
        )
        command = [sys.executable, "-c", code, str(file), str(tmp_path / "cache")]
        peaks.append(int(subprocess.run(command, capture_output=True, check=True, text=True).stdout))
    figure("reading X_jets, memory for 2000 jets", peaks[1] / 1024, "MiB", at_most=1024)
    figure("reading X_jets, memory for 2000 over 200 jets", peaks[1] / peaks[0], "times", at_most=1.3)
    assert peaks[1] < 1.5 * peaks[0]


@pytest.mark.slow
def test_generation(tmp_path, figure):
    pytest.importorskip("pythia8mc")
    from calowatch.simulate.jets import JetSettings, jet_plan
    from calowatch.simulate.pileup import PileupRequest, ready_library

    library = ready_library(PileupRequest(1000, process="nonDiffractive"), tmp_path / "pileup")
    settings = JetSettings(n=1000)
    plan = jet_plan(settings, library)
    start = time.process_time()
    plan.task(plan.chunks[0])
    figure("jets, library apart", settings.n / (time.process_time() - start), "jets/s/core", at_least=40)
