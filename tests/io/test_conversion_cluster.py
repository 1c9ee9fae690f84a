"""Fifty runs through a Dask cluster of two processes, one of which is killed: part of ``make verify``.

The figures are printed: ``pytest -m slow tests/io/test_conversion_cluster.py``.
"""

import os
import re
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest

from calowatch.core.progress import SilentProgress
from calowatch.io.conversion import Work, convert
from calowatch.io.store import runs
from calowatch.io.study_hdf5 import PREFIX

FIRST, RUNS, FEW, N_LS = 355100, 50, 5, 500
STATUS = Path("/proc/self/status")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not STATUS.exists(), reason="peak memory is read from /proc"),
]


@pytest.fixture(scope="module")
def folder(samples, tmp_path_factory):
    """Fifty runs of HB and HE, cheaply: copies of one, of which one depth is turned by a lumisection per run."""
    folder = tmp_path_factory.mktemp("fifty")
    whole = samples.sample_run("HB HE", ls=range(1, N_LS + 1), run=FIRST)
    level = whole.assign(n_events=("ls", np.full(N_LS, int(whole["n_events"].max()))))
    first = folder / f"{FIRST}.h5"
    samples.write_study(first, level)
    with h5py.File(first) as file:
        depth1 = file[f"{PREFIX}depth1"][:]

    def turned(number):
        path = shutil.copy(first, folder / f"{FIRST + number}.h5")
        with h5py.File(path, "r+") as file:
            file.attrs["run"] = FIRST + number
            del file[f"{PREFIX}depth1"]
            turned = np.roll(depth1, number, axis=0)
            file.create_dataset(f"{PREFIX}depth1", data=turned, compression="gzip", compression_opts=1)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(turned, range(1, RUNS)))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def say(request):
    """Print a line for people, past pytest's capture."""
    plugins = request.config.pluginmanager
    reporter, capture = (plugins.get_plugin(name) for name in ("terminalreporter", "capturemanager"))

    def line(text):
        if reporter and capture:
            with capture.global_and_fixture_disabled():
                reporter.write_line(f"\n{text}")

    return line


@pytest.fixture(scope="module")
def serial(folder, tmp_path_factory, say):
    store = tmp_path_factory.mktemp("serial") / "s"
    start = time.perf_counter()
    convert([folder], store)
    say(f"serial: {RUNS} runs of {N_LS} LS in {time.perf_counter() - start:.0f} s")
    return store


def peak_memory():
    """Peak resident memory of this process in MB."""
    import re
    from pathlib import Path

    return int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024


@contextmanager
def cluster_of_two():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


class KillInTheMiddle(SilentProgress):
    """Kills one of the workers after some runs, and remembers how the runs that were there lay on the disk."""

    def __init__(self, store, victim):
        super().__init__()
        self.store, self.victim, self.before = store, victim, {}

    def track(self, items, label, total=None):
        for number, item in enumerate(items):
            if label == "converting" and number == RUNS // 3:
                os.kill(self.victim, signal.SIGKILL)
                self.before = lying(self.store)
            yield item


def lying(store):
    """The inode of each run's folder: another one when the run was written again."""
    return {run: (store / str(run)).stat().st_ino for run in runs(store)}


def test_fifty_runs_and_a_killed_worker(folder, serial, tmp_path, content, say):
    few = sorted(folder.iterdir())[:FEW]
    with cluster_of_two() as client:
        convert(few, tmp_path / "few", work=Work(scheduler=client.scheduler.address))
        peak_of_few = max(client.run(peak_memory).values())

    with cluster_of_two() as client:
        pids = client.run(os.getpid).values()
        watch = KillInTheMiddle(tmp_path / "s", next(iter(pids)))
        start = time.perf_counter()
        done = convert(
            [folder], tmp_path / "s", progress=watch, work=Work(scheduler=client.scheduler.address)
        )
        seconds = time.perf_counter() - start
        client.wait_for_workers(2, timeout=60)
        alive = set(client.run(os.getpid).values())
        peak = max(client.run(peak_memory).values())

    say(
        f"cluster of two, one killed: {RUNS} runs in {seconds:.0f} s; "
        f"peak memory of a worker {peak_of_few:.0f} MB after {FEW} runs, {peak:.0f} MB after {RUNS}"
    )
    assert watch.victim not in alive
    assert [each.status for each in done] == ["converted"] * RUNS
    assert [each.run for each in done] == list(range(FIRST, FIRST + RUNS))
    # What was done stayed as it was: the worker's death cost no other task.
    after = lying(tmp_path / "s")
    assert RUNS // 3 <= len(watch.before) < RUNS
    assert {run: after[run] for run in watch.before} == watch.before
    # A tenth and 50 MB: what an allocator keeps differs from one life of a process to the next.
    assert peak < 1.1 * peak_of_few + 50

    one, other = content(serial), content(tmp_path / "s")
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == []
    counts = {name: data for name, data in one.items() if re.search(r"counts/c/0/0$", name)}
    assert len(set(counts.values())) == RUNS, "the runs differ, so that a mix-up would show"
