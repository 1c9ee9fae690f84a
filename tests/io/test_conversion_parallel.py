"""Conversion by several processes and by a Dask cluster: the same store, whoever dies on the way."""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from calowatch.cli import main
from calowatch.core.errors import InputError
from calowatch.core.progress import SILENT, SilentProgress
from calowatch.io import parallel
from calowatch.io.conversion import Work, convert
from calowatch.io.store import runs

# Written to a file, since processes that are started anew cannot import tests.
TASKS = """
import os
from pathlib import Path

def die_once(path, progress):
    if path and not Path(path).exists():
        Path(path).touch()
        os._exit(9)
    progress.note(f"did {path}")
    return os.getpid()

def die(job, progress):
    if job:
        os._exit(9)
    return job

def stumble(job, progress):
    raise ZeroDivisionError("odd")
"""


@pytest.fixture(scope="module")
def folder(samples, tmp_path_factory):
    """Four runs, one of them in two files, and a file that is none."""
    folder = tmp_path_factory.mktemp("runs")
    for run in (355456, 355457, 355458):
        samples.write_study(folder / f"{run}.h5", samples.sample_run("HO", run=run, seed=run))
    whole = samples.sample_run("HE HF", ls=(1, 2))
    samples.write_study(folder / "z_he.h5", samples.part_of(whole, "HE"))
    samples.write_study(folder / "a_hf.h5", samples.part_of(whole, "HF"))
    (folder / "broken.h5").write_text("text")
    return folder


@pytest.fixture(scope="module")
def serial(folder, tmp_path_factory, content):
    store = tmp_path_factory.mktemp("serial") / "s"
    done = convert([folder], store, work=Work(keep_going=True))
    assert [each.status for each in done if each.source.endswith("broken.h5")] == ["failed"]
    return done, content(store)


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    (tmp_path / "deadly_tasks.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    import deadly_tasks

    yield deadly_tasks
    del sys.modules["deadly_tasks"]


def told(done):
    return [(each.source, each.run, each.status, each.n_ls, each.subdets, str(each.error)) for each in done]


class KillOne(SilentProgress):
    """Kills a worker process when the first file has been looked at."""

    killed = 0

    def track(self, items, label, total=None):
        for item in items:
            if not self.killed:
                self.killed = multiprocessing.active_children()[0].pid
                os.kill(self.killed, signal.SIGKILL)
            yield item


def test_processes_and_a_killed_one_make_the_same_store(folder, serial, tmp_path, content):
    watch = KillOne()
    done = convert([folder], tmp_path / "s", progress=watch, work=Work(workers=2, keep_going=True))
    assert watch.killed
    assert told(done) == told(serial[0])
    assert content(tmp_path / "s") == serial[1]
    assert multiprocessing.active_children() == []


def test_a_job_is_given_to_another_when_its_worker_dies(tasks, tmp_path):
    progress = SilentProgress()
    with parallel.hire(2) as workers:
        done = dict(workers.run(tasks.die_once, ["", str(tmp_path / "mark")], progress))
    assert set(done) == {0, 1}
    assert os.getpid() not in done.values()
    assert sorted(progress.notes) == ["did ", f"did {tmp_path}/mark"]


def test_a_job_that_kills_all_is_given_up_and_the_others_are_done(tasks):
    with parallel.hire(2) as workers:
        assert dict(workers.run(tasks.die, [0, 1, 0], SILENT)) == {0: 0, 1: parallel.Lost(), 2: 0}


def test_a_bug_in_a_process_is_seen(tasks):
    with parallel.hire(2) as workers, pytest.raises(RuntimeError, match="ZeroDivisionError: odd"):
        list(workers.run(tasks.stumble, [1, 2], SILENT))


def test_a_lost_job_is_a_failed_file(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(parallel._Here, "run", lambda self, task, jobs, progress: [(0, parallel.Lost())])
    source = folder / "355456.h5"
    done = convert([source], tmp_path / "s", work=Work(keep_going=True))
    assert (done[0].status, done[0].source) == ("failed", str(source))
    assert "found that 3 died one after the other" in str(done[0].error)


@pytest.mark.slow
def test_a_script_without_a_guard_is_told(folder, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"import calowatch\nfrom calowatch.io.conversion import Work\n"
        f"calowatch.convert([{str(folder)!r}], {str(tmp_path / 's')!r}, work=Work(workers=2, keep_going=True))"
    )
    ended = subprocess.run([sys.executable, script], check=False, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert "call it below: if __name__ == '__main__'" in ended.stderr.splitlines()[-1]


@pytest.mark.slow
def test_an_interrupt_leaves_a_store(folder, tmp_path):
    """The interrupt goes to the whole group, as Ctrl-C does."""
    store = tmp_path / "s"
    command = [sys.executable, "-m", "calowatch.cli", "convert", str(folder), "--store", str(store)]
    process = subprocess.Popen(
        [*command, "--workers", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    while not (store / "zarr.json").exists() and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    shown = process.communicate(timeout=120)[1]
    assert process.returncode in (130, 2), shown  # 2 where it was done before the interrupt came
    assert "Traceback" not in shown
    assert set(runs(store)) <= {355456, 355457, 355458, 362760}
    assert [item.name for item in store.iterdir() if item.name.startswith(".")] == []


def test_command_line(folder, serial, tmp_path, capsys):
    given = [f"{folder}/*.h5", "--store", str(tmp_path / "s"), "--workers", "2", "--json"]
    assert main(["convert", *given]) == 2
    shown = capsys.readouterr()
    assert json.loads(shown.out)["summary"] == {"converted": 4, "merged": 1, "already there": 0, "failed": 1}
    assert "broken.h5: expected" in shown.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "0"], "expected at least 1, found 0"),
        (["--workers", "2", "--scheduler", "tcp://127.0.0.1:1"], "either --workers or --scheduler"),
        (["--scheduler", "nonsense"], "such as tcp://127.0.0.1:8786, found missing port number"),
        (
            ["--scheduler", "tcp://127.0.0.1:1"],
            "a running Dask scheduler, such as tcp://127.0.0.1:8786, found",
        ),
    ],
)
def test_workers_that_cannot_be_had(folder, tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.setattr(parallel, "CONNECT_SECONDS", 0.5)
    assert main(["convert", str(folder), "--store", str(tmp_path / "s"), *options]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "s").exists()


def test_whoever_answers_is_not_always_a_scheduler(monkeypatch):
    monkeypatch.setattr(parallel, "CONNECT_SECONDS", 0.5)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(InputError, match="running Dask scheduler"), parallel.hire(scheduler=address):
            pass


def test_no_dask(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"not installed. Fix: pip install 'calowatch\[scale\]'"):
        convert([folder], tmp_path / "s", work=Work(scheduler="tcp://127.0.0.1:1", keep_going=True))


def test_a_cluster_makes_the_same_store(folder, serial, tmp_path, content, monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.chdir(folder)
    with distributed.LocalCluster(
        n_workers=1, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        address = cluster.scheduler_address
        done = convert(["*.h5"], tmp_path / "s", work=Work(scheduler=address, keep_going=True))
        worker = next(iter(cluster.workers.values())).address
        with pytest.raises(InputError, match="found a worker"), parallel.hire(scheduler=worker):
            pass
    assert [each.source for each in done] == sorted(path.name for path in folder.glob("*.h5"))
    assert [each.status for each in done] == [each.status for each in serial[0]]
    assert content(tmp_path / "s") == serial[1]
