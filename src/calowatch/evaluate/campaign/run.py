"""A campaign from beginning to end: resumable, in several processes, the same whatever the order."""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

from calowatch.core.progress import SILENT, Progress
from calowatch.evaluate.campaign.cells import cells_of
from calowatch.evaluate.campaign.data import CampaignData, RunFile, draw_run, pools_of
from calowatch.evaluate.campaign.folder import check_folder, claim_folder
from calowatch.evaluate.campaign.judging import cell_path, judge_cell
from calowatch.evaluate.campaign.models import TRUTH, Contestant, contestants, fit_baselines
from calowatch.evaluate.campaign.recipe import Campaign
from calowatch.evaluate.campaign.scoring import (
    CHUNK,
    Bench,
    Workbench,
    healthy_chunk,
    healthy_path,
    limits,
    shrink,
)

__all__ = ["CampaignOptions", "run_campaign"]


@dataclass(frozen=True)
class CampaignOptions:
    """How a campaign is run; none of it changes a figure.

    Parameters
    ----------
    out
        Folder of the results; work that an earlier call left there is gone on with.
    bundles
        Bundles of trained models, beside the campaign's own baselines.
    workers
        Processes; by default as many as there are processors to use.
    progress
        Shown by steps.
    """

    out: Path
    bundles: tuple[Path, ...] = ()
    workers: int | None = None
    progress: Progress = SILENT


@dataclass(frozen=True)
class _Piece:
    """A piece of work: fix limits, score a chunk of healthy windows, or judge a cell."""

    who: Contestant
    kind: str
    pool: str = ""
    chunk: int = 0
    cell: int = 0


@lru_cache(maxsize=1)
def _bench(bench_text: str, out: Path) -> Workbench:
    return Workbench(Bench(Campaign.model_validate_json(bench_text), out))


def _work(bench_text: str, out: Path, piece: _Piece) -> float:
    """Do a piece of work in whichever process, and return the seconds it took."""
    began = time.perf_counter()
    work = _bench(bench_text, out)
    if piece.kind == "limits":
        limits(work, piece.who)
    elif piece.kind == "healthy":
        healthy_chunk(work, piece.who, work.data.pools[piece.pool], piece.chunk)
    else:
        judge_cell(work, piece.who, work.cells[piece.cell])
    return time.perf_counter() - began


@contextmanager
def _executor(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Yield processes with one thread each: several with many threads each only hinder one another."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def run_campaign(campaign: Campaign, options: CampaignOptions) -> tuple[Contestant, ...]:
    """Score every model on every cell, and return who took part, the bound first.

    Every piece of work is a file under ``OUT/work``; a kill costs the pieces in hand. Figures come from seeds of their
    own, so that neither order nor number of processes changes them.

    Raises
    ------
    ConflictError
        When ``out`` holds something else, or work of a campaign with other settings.
    FormatError
        When a bundle is none, or a file of it is missing or damaged; nothing has been written then.
    InputError
        When a bundle does not fit the campaign, is called like a baseline, or has seen the runs it judges on.
    """
    out = Path(options.out)
    check_folder(campaign, out)
    given = contestants(options.bundles, campaign, options.progress)
    claim_folder(campaign, out)
    text = campaign.model_dump_json()
    bench = Bench(campaign, out)
    data = CampaignData(campaign, bench.data_folder)
    workers = options.workers or len(os.sched_getaffinity(0))
    with _executor(workers) as pool:
        _all(options.progress, "drawing runs", [pool.submit(draw_run, file) for file in _missing(data)])
        baselines = fit_baselines(data, out / "work" / "baselines", options.progress)
        everyone = (Contestant(TRUTH, "truth", None), *baselines, *given)
        for who in everyone:
            for stage in _stages(bench, who):
                label = f"{who.name}: {stage[0].kind}" if stage else ""
                _all(options.progress, label, [pool.submit(_work, text, out, piece) for piece in stage])
            _forget_healthy(bench, who)
    return everyone


def _missing(data: CampaignData) -> list[RunFile]:
    return [file for file in data.files if not file.events.is_file()]


def _all(progress: Progress, label: str, futures: Sequence[Future[object]]) -> None:
    """Wait for pieces of work; the first error ends it."""
    if not futures:
        return
    for future in progress.track(as_completed(futures), label, len(futures)):
        future.result()


def _stages(bench: Bench, who: Contestant) -> Iterator[list[_Piece]]:
    """Yield what is left to do, in stages of which each needs the one before."""
    folder = bench.folder(who)
    yield [] if (folder / "limits.json").is_file() else [_Piece(who, "limits")]
    work = Workbench(bench)
    left = [i for i, cell in enumerate(cells_of(bench.campaign)) if not cell_path(work, who, cell).is_file()]
    asked = {cells_of(bench.campaign)[i].conditions for i in left}
    chunks = list[_Piece]()
    for name, pool in pools_of(bench.campaign).items():
        if name in ("training", "validation"):
            continue
        for chunk in range(-(-pool.n_windows // CHUNK)):
            path = healthy_path(work, who, pool, chunk)
            if not path.is_file() and (name in asked or not path.with_suffix(".flags.npz").is_file()):
                chunks.append(_Piece(who, "healthy", name, chunk))
    yield chunks
    # The longest first, so that no process waits long for the last.
    left.sort(key=lambda i: -cells_of(bench.campaign)[i].duration)
    yield [_Piece(who, "cell", cell=i) for i in left]


def _forget_healthy(bench: Bench, who: Contestant) -> None:
    """Keep of the healthy windows what tables need, and drop the scores of all channels, which are large."""
    for path in sorted(bench.folder(who).glob("healthy-*.npz")):
        if not path.name.endswith(".flags.npz"):
            shrink(path)
