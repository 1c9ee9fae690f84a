"""Converting a full-size analyzer file against the bare cost of reading its histograms.

``pytest benchmarks/test_conversion.py --benchmark-enable -s`` times a file of 1999 lumisections; without the option the
same code runs once, on a file of fifty. Peak memory is that of a process of its own.
"""

import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import uproot

from calowatch.core.schema import make_occupancy
from calowatch.io.analyzer import write_analyzer
from calowatch.io.analyzer_layout import analyzer_channels
from calowatch.io.conversion import convert
from calowatch.io.store import open_run

RUN = 362760
ROUNDS = 7
# Not getrusage, whose peak is inherited from the process that started this one.
PEAK = r"""
import re, sys
from pathlib import Path
from calowatch.io.conversion import convert
convert([sys.argv[1]], sys.argv[2])
print(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.fixture(scope="module")
def timed(request):
    return request.config.getoption("benchmark_enable")


@pytest.fixture(scope="module")
def analyzer_file(tmp_path_factory, timed):
    rng = np.random.default_rng(1)
    channels, ls = analyzer_channels("run3"), np.arange(1, 2000 if timed else 51)
    n_events = rng.integers(700, 2000, ls.size)
    counts = rng.binomial(n_events[:, np.newaxis], rng.uniform(0.15, 0.9, len(channels)))
    attrs = {"run": RUN, "era": "run3", "provenance": {}, "source": "benchmark"}
    path = tmp_path_factory.mktemp("conversion") / "a.root"
    run = make_occupancy(counts.astype(np.int32), channels, ls, n_events, attrs)
    write_analyzer(path, run, ls_bins=ls.size + 1)
    return path


def read_bare(path):
    """What anybody pays who looks at these histograms: each read whole, as an array."""
    with uproot.open(path, object_cache=None, array_cache=None) as file:
        for depth in range(1, 8):
            file[f"Hcal4DQMAnalyzer/hist3D_depth{depth}"].values(flow=True)


def convert_afresh(path, store):
    shutil.rmtree(store, ignore_errors=True)
    convert([path], store)


def test_bare_reading(benchmark, analyzer_file):
    benchmark.pedantic(read_bare, args=(analyzer_file,), rounds=3)


def test_conversion(benchmark, analyzer_file, tmp_path):
    benchmark.pedantic(convert_afresh, args=(analyzer_file, tmp_path / "s"), rounds=3)
    assert open_run(tmp_path / "s", RUN)["counts"].any()


def test_ratio(analyzer_file, tmp_path, timed, figure):
    """In turns, so that whatever else the machine does weighs on both; the fastest of each, so that it weighs less."""
    bare, whole = [], []
    for _ in range(ROUNDS if timed else 1):
        for times, work in (
            (bare, lambda: read_bare(analyzer_file)),
            (whole, lambda: convert_afresh(analyzer_file, tmp_path / "s")),
        ):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
    if timed:
        figure("conversion against bare reading", min(whole) / min(bare), "times", 1.3)


def test_peak_memory(analyzer_file, tmp_path, timed, figure):
    command = [sys.executable, "-c", PEAK, str(analyzer_file), str(tmp_path / "s")]
    peak = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if timed:
        figure("peak memory of a conversion", peak / 1024**2, "GB", 1.2)
