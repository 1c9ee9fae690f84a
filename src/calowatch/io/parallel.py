"""Work handed out: done here, by processes of our own, or by a Dask cluster that is already there.

All three yield results in the order of completion. A worker that dies costs the job it was at, which is given to
another; a job on which `ATTEMPTS` workers died is given up, and the others go on.
"""

import asyncio
import importlib
import multiprocessing
import signal
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol, TypeVar

from calowatch.core.errors import InputError
from calowatch.core.progress import Progress, SilentProgress

__all__ = ["ATTEMPTS", "Lost", "Workers", "hire"]

ATTEMPTS = 3
CONNECT_SECONDS = 10.0
PARTING_SECONDS = 5.0

Job = TypeVar("Job")
Result = TypeVar("Result")
Task = Callable[[Job, Progress], Result]


@dataclass(frozen=True)
class Lost:
    """Instead of a result: every worker that was given the job died."""


@dataclass(frozen=True)
class _Broken:
    """Instead of a result from another process: the trace of an error that the task let through."""

    trace: str


class Workers(Protocol):
    """Whoever does the work."""

    def run(
        self, task: Callable[[Job, Progress], Result], jobs: Sequence[Job], progress: Progress
    ) -> Iterator[tuple[int, Result | Lost]]:
        """Yield the number of each job and its result, as they are done; notes of the task go to ``progress``."""
        ...


@contextmanager
def hire(workers: int = 1, scheduler: str | None = None) -> Iterator[Workers]:
    """Yield workers, who are sent home at the end, however it comes.

    Parameters
    ----------
    workers
        Processes on this machine; with 1 the work is done in this one.
    scheduler
        Address of the scheduler of a Dask cluster that is already there, instead of own processes.

    Raises
    ------
    InputError
        When there is no such scheduler or no Dask, or ``workers`` is below 1.

    Examples
    --------
    >>> from calowatch.core.progress import SILENT
    >>> with hire() as workers:
    ...     list(workers.run(lambda job, progress: 2 * job, [3, 4], SILENT))
    [(0, 6), (1, 8)]
    """
    if workers < 1:
        raise InputError("--workers", "at least 1", f"{workers}", "leave it out to work in one process")
    if scheduler is not None:
        dask = _dask()
        with _client_of(dask, scheduler) as client:
            yield _Cluster(dask, client, scheduler)
    elif workers == 1:
        yield _Here()
    else:
        processes = _Processes(workers)
        try:
            yield processes
        finally:
            processes.stop()


class _Here:
    """One job after the other in this process, with its own progress."""

    def run(
        self, task: Callable[[Job, Progress], Result], jobs: Sequence[Job], progress: Progress
    ) -> Iterator[tuple[int, Result | Lost]]:
        for index, job in enumerate(jobs):
            yield index, task(job, progress)


def _with_notes(task: Callable[[Job, Progress], Result], job: Job) -> tuple[Result, list[str]]:
    """Do a job elsewhere, where nobody watches: return its result and its notes."""
    progress = SilentProgress()
    return task(job, progress), progress.notes


def _serve(connection: Connection) -> None:
    """Do jobs until nobody is left who gives any: the life of a process of `_Processes`."""
    try:
        connection.send("ready")
        while True:
            task, job = connection.recv()
            try:
                answer: Any = _with_notes(task, job)
            except Exception:  # noqa: BLE001 - the parent raises it, where somebody sees it
                answer = _Broken(traceback.format_exc())
            connection.send(answer)
    except (EOFError, OSError):
        return


@dataclass
class _Process:
    """A process, our end of the pipe to it, and the job it is at."""

    process: BaseProcess
    connection: Connection
    ready: bool = False
    job: int = -1

    @classmethod
    def started(cls) -> "_Process":
        # Spawned, not forked: a fork would copy the locks of threads that it does not copy.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        # Ctrl-C goes to all processes, and the parent alone decides: not even one that starts may see it. The tracker
        # is what the library starts first, and would let it through again.
        resource_tracker.ensure_running()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
        return cls(process, ours)

    def stop(self, *, seconds: float = 0.0) -> None:
        """End the process: by itself, within some seconds, as nobody is left to give it jobs; else by force."""
        self.connection.close()
        self.process.join(seconds)
        self.process.kill()
        self.process.join()


@dataclass
class _Processes:
    """Processes of our own. Unlike in the standard library's pool, one that is killed takes no other with it."""

    count: int
    idle: list[_Process] = field(default_factory=list)
    busy: list[_Process] = field(default_factory=list)

    def run(
        self, task: Callable[[Job, Progress], Result], jobs: Sequence[Job], progress: Progress
    ) -> Iterator[tuple[int, Result | Lost]]:
        waiting, died = deque(range(len(jobs))), Counter[int]()
        while waiting or self.busy:
            while waiting and len(self.busy) < self.count:
                self._give(task, jobs, waiting.popleft())
            for worker in self._spoken():
                answer = self._answer(worker)
                if isinstance(answer, Lost):
                    died[worker.job] += 1
                    if died[worker.job] < ATTEMPTS:
                        waiting.appendleft(worker.job)
                    else:
                        yield worker.job, answer
                elif answer is not None:
                    result, notes = answer
                    for note in notes:
                        progress.note(note)
                    yield worker.job, result

    def _give(self, task: Callable[[Job, Progress], Result], jobs: Sequence[Job], index: int) -> None:
        """Give a job to a worker who is free, or to a new one where none is."""
        worker = self.idle.pop() if self.idle else _Process.started()
        worker.job = index
        self.busy.append(worker)
        try:
            worker.connection.send((task, jobs[index]))
        except OSError:  # died while idle: shows as its end of the pipe being closed
            return

    def _spoken(self) -> list[_Process]:
        heard = wait([worker.connection for worker in self.busy])
        return [worker for worker in self.busy if worker.connection in heard]

    def _answer(self, worker: _Process) -> Any:
        """Return what a worker has to say: result and notes, that it is lost, or nothing but that it has started."""
        try:
            answer = worker.connection.recv()
        except (EOFError, OSError):
            self.busy.remove(worker)
            worker.stop()
            if worker.ready:
                return Lost()
            raise InputError(
                "--workers",
                "processes that start",
                "one that ended at once",
                "in a script, call it below: if __name__ == '__main__'",
            ) from None
        if not worker.ready:
            worker.ready = True
            return None
        self.busy.remove(worker)
        self.idle.append(worker)
        if isinstance(answer, _Broken):
            raise RuntimeError(f"in a worker process:\n{answer.trace}")  # noqa: TRY004 - a bug, not a type
        return answer

    def stop(self) -> None:
        for worker in self.busy:
            worker.stop()
        for worker in self.idle:
            worker.stop(seconds=PARTING_SECONDS)


@dataclass(frozen=True)
class _Cluster:
    """A Dask cluster; its scheduler gives the job of a worker that died to another, up to its own limit."""

    dask: Any
    client: Any
    address: str

    def run(
        self, task: Callable[[Job, Progress], Result], jobs: Sequence[Job], progress: Progress
    ) -> Iterator[tuple[int, Result | Lost]]:
        if not self.client.scheduler_info(n_workers=-1)["workers"]:
            progress.note(f"{self.address}: no workers yet, waiting for some")
        futures = {
            # Not pure: equal jobs of two conversions are two jobs.
            self.client.submit(_with_notes, task, job, pure=False, retries=0): index
            for index, job in enumerate(jobs)
        }
        try:
            for future in self.dask.as_completed(list(futures), loop=self.client.loop):
                index = futures.pop(future)
                answer = self._answer(future)
                future.release()
                if isinstance(answer, Lost):
                    yield index, answer
                    continue
                for note in answer[1]:
                    progress.note(note)
                yield index, answer[0]
        finally:
            for future in futures:
                future.cancel()

    def _answer(self, future: Any) -> Any:
        try:
            return future.result()
        except self.dask.KilledWorker:
            return Lost()
        except CancelledError as error:
            raise InputError(
                self.address,
                "a scheduler that stays",
                "that it went away",
                "start it again and give the same command: what is done is not done again",
            ) from error
        except ImportError as error:
            raise InputError(
                self.address,
                "workers with the same calowatch",
                f"one without ({error})",
                "install the same version on every worker",
            ) from error


def _dask() -> Any:
    """Return the library, which is loaded only where a scheduler is named."""
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        raise InputError(
            "--scheduler", "Dask", "that it is not installed", "pip install 'calowatch[scale]'"
        ) from error


@contextmanager
def _client_of(dask: Any, address: str) -> Iterator[Any]:
    try:
        # In a thread, since a notebook has an event loop of its own running in this one.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, _greet(dask, address)).result()
        client = dask.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"--scheduler {address}",
            "the address of a running Dask scheduler, such as tcp://127.0.0.1:8786",
            str(error).strip() or "no answer",
            "check the address, or use --workers for processes on this machine",
        ) from error
    with client:
        yield client


async def _greet(dask: Any, address: str) -> None:
    """Raise unless a scheduler answers: a client that failed to connect would linger, and complain as it goes."""
    arguments = dask.Security().get_connection_args("client")
    other = dask.rpc(address, timeout=CONNECT_SECONDS, connection_args=arguments)
    try:
        found = (await asyncio.wait_for(other.identity(), CONNECT_SECONDS))["type"]
    finally:
        await other.close_rpc()
    if found != "Scheduler":
        raise ValueError(f"a {found.lower()}")
