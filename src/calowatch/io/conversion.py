"""The verb ``convert``: files of detectors into the store, by one worker or many, with the same result.

First the run of every file is found out, then the files of each run are one job: no two workers write the same run,
and the order in which jobs are done decides nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

from calowatch.core.errors import InputError
from calowatch.core.progress import SILENT, Progress
from calowatch.io.conversion_tasks import COPY, FileJob, Goal, RunDone, RunJob, convert_run, look, stored
from calowatch.io.parallel import ATTEMPTS, Lost, Workers, hire
from calowatch.io.request import ReadRequest
from calowatch.io.sources import NO_REQUEST, Piece, expand
from calowatch.io.store import check_place, held_runs

__all__ = ["SERIAL", "STATUSES", "Conversion", "Work", "convert"]

STATUSES = ("converted", "merged", "already there", "failed")


@dataclass(frozen=True)
class Conversion:
    """What became of one file, or one run of another store.

    Parameters
    ----------
    source
        The file.
    run
        Its run; ``None`` where that is not known.
    status
        ``"converted"``, ``"merged"``, ``"already there"`` or ``"failed"``.
    n_ls
        Lumisections that the store now holds of the run; 0 where it failed.
    subdets
        Subdetectors that the store now holds of the run; none where it failed.
    error
        Why it failed.
    """

    source: str
    run: int | None
    status: str
    n_ls: int
    subdets: tuple[str, ...]
    error: InputError | None = None


@dataclass(frozen=True)
class Work:
    """Who converts, and what happens when a file cannot be converted. It does not change what ends in the store.

    Parameters
    ----------
    workers
        Processes on this machine; with 1 the work is done in this one.
    scheduler
        Address of the scheduler of a Dask cluster instead. Its workers need the same version of calowatch, and see
        the sources and the store under the same paths.
    keep_going
        List what cannot be converted as ``"failed"`` and go on, instead of raising the first error.
    """

    workers: int = 1
    scheduler: str | None = None
    keep_going: bool = False


SERIAL = Work()


def convert(
    sources: Iterable[str | Path],
    store: str | Path,
    request: ReadRequest = NO_REQUEST,
    progress: Progress = SILENT,
    *,
    replace: bool = False,
    work: Work = SERIAL,
) -> list[Conversion]:
    """Convert sources into a store, and say what became of each file, in the order in which they were named.

    A file that was converted before, by its content, is recognised without reading its counts, so that a conversion
    that was interrupted goes on where it was. Files of one run are merged, in the order of their paths.

    Parameters
    ----------
    sources
        Files, folders, patterns, stores or ``STORE::RUN``, as in `calowatch.io.sources.expand`.
    store
        Folder of the store, made if need be.
    request
        Run, era and first lumisection, where the sources do not say them themselves.
    progress
        Shows the conversion, and takes notes.
    replace
        Throw away what the store held of the converted runs before.
    work
        Who does it, and whether one bad file stops it.

    Raises
    ------
    InputError
        When a source cannot be read or contradicts the store, unless ``work.keep_going``; what was converted before
        it stays. When there is no such scheduler.
    """
    check_place(store)
    # The workers of a cluster may stand in another folder.
    away = work.scheduler is not None
    place = Path(store).absolute() if away else Path(store)
    ledger = _Ledger(Goal(place, request, replace, work.keep_going), held_runs(store))
    for source in sources:
        ledger.enter(source, away)
    try:
        with hire(work.workers, work.scheduler) as workers:
            groups = _group(ledger, workers, progress)
            _convert_groups(ledger, groups, workers, progress)
    finally:
        held_runs(store)  # clears up after workers that were stopped in the middle
    return [ledger.fates[number] for number in range(len(ledger.names))]


@dataclass
class _Ledger:
    """What is to be converted, in the order in which it was named, and what became of it."""

    goal: Goal
    held: dict[int, dict[str, Any]]
    names: list[str] = field(default_factory=list)
    pieces: dict[int, Piece] = field(default_factory=dict)
    fates: dict[int, Conversion] = field(default_factory=dict)
    entered: set[Piece] = field(default_factory=set)

    def enter(self, source: str | Path, away: bool) -> None:
        """Note the pieces of a source, each once; away from here they need their whole paths."""
        try:
            pieces = expand(source, self.goal.request)
        except InputError as error:
            self.names.append(str(source))
            self.fail(len(self.names) - 1, error)
            return
        for piece in pieces:
            whole = changed(piece, path=piece.path.absolute()) if away else piece
            if whole not in self.entered:
                self.entered.add(whole)
                self.pieces[len(self.names)] = whole
                self.names.append(str(piece))

    def settle(self, number: int, run: RunDone, status: str) -> None:
        self.fates[number] = Conversion(self.names[number], run.run, status, run.n_ls, run.subdets)

    def fail(self, number: int, error: InputError, run: int | None = None) -> None:
        if not self.goal.keep_going:
            raise error
        self.fates[number] = Conversion(self.names[number], run, "failed", 0, (), error)

    def lost(self, number: int) -> InputError:
        return InputError(
            self.names[number],
            "a worker that gets through it",
            f"that {ATTEMPTS} died one after the other",
            "give the workers more memory, or take fewer",
        )


Groups = dict[int | None, list[int]]


def _group(ledger: _Ledger, workers: Workers, progress: Progress) -> Groups:
    """Return the pieces to convert by their run, settling those that the store holds."""
    groups: Groups = {}
    known = _by_length(ledger.held)
    jobs: dict[int, FileJob] = {}
    for number, piece in ledger.pieces.items():
        candidates = known.get(_length(piece), {})
        if piece.stored_run is not None:
            groups.setdefault(piece.stored_run, []).append(number)
        elif not candidates and (ledger.goal.request.run is not None or len(ledger.pieces) == 1):
            # What else it might be shows when it is read.
            groups.setdefault(ledger.goal.request.run, []).append(number)
        else:
            jobs[number] = FileJob(ledger.goal, piece, candidates)
    numbers = list(jobs)
    seen = workers.run(look, list(jobs.values()), progress)
    for index, found in progress.track(seen, "looking at files", len(jobs)) if jobs else ():
        number = numbers[index]
        if isinstance(found, Lost):
            ledger.fail(number, ledger.lost(number))
        elif isinstance(found, InputError):
            ledger.fail(number, found)
        elif found.there:
            ledger.settle(number, stored(found.run, ledger.held[found.run]), "already there")
        else:
            groups.setdefault(found.run, []).append(number)
    return groups


def _by_length(held: Mapping[int, Mapping[str, Any]]) -> dict[int, dict[str, int]]:
    """Return the runs of a store by length and SHA-256 of the files that they were converted from."""
    known: dict[int, dict[str, int]] = {}
    for run, attrs in held.items():
        for source in attrs.get("provenance", {}).get("sources", []):
            if "bytes" in source and "sha256" in source:
                known.setdefault(int(source["bytes"]), {})[str(source["sha256"])] = run
    return known


def _length(piece: Piece) -> int:
    """Return the length of a file; -1 where there is none, or none that can be seen."""
    try:
        return piece.path.stat().st_size if piece.stored_run is None and piece.path.is_file() else -1
    except OSError:
        return -1


def _convert_groups(ledger: _Ledger, groups: Groups, workers: Workers, progress: Progress) -> None:
    """Convert run after run; within one, pieces are merged in the order of their paths, however they were named."""
    by_path = [
        (run, sorted(numbers, key=lambda number: str(ledger.pieces[number])))
        for run, numbers in sorted(groups.items(), key=lambda group: group[0] or 0)
    ]
    jobs = [
        RunJob(ledger.goal, run, tuple(ledger.pieces[number] for number in numbers))
        for run, numbers in by_path
    ]
    if not jobs:
        return
    done = workers.run(convert_run, jobs, progress)
    for index, found in progress.track(done, "converting", len(jobs)):
        run, numbers = by_path[index]
        if isinstance(found, Lost):
            for number in numbers:
                ledger.fail(number, ledger.lost(number), run)
        else:
            _settle_run(ledger, numbers, found)


def _settle_run(ledger: _Ledger, numbers: list[int], done: RunDone) -> None:
    """Enter what became of the pieces of a run.

    A job that was done twice, since its worker died just after it, finds its own work: what the store held before the
    conversion decides what is new.
    """
    before = done.run in ledger.held and not ledger.goal.replace
    new = True
    for number, fate in sorted(zip(numbers, done.fates, strict=True), key=lambda pair: pair[0]):
        if isinstance(fate, InputError):
            ledger.fail(number, fate, done.run)
            continue
        status = "already there" if fate == COPY else fate
        if not before and fate != COPY:
            status, new = ("converted" if new else "merged"), False
        ledger.settle(number, done, status)
