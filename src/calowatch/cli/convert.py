"""``calowatch convert``: files of detectors into the store."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calowatch.core.errors import InputError

if TYPE_CHECKING:
    from calowatch.io.conversion import Conversion

__all__ = ["convert"]


def convert(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Files, folders (with subfolders), glob patterns, stores or STORE::RUN.",
            show_default=False,
        ),
    ],
    store: Annotated[
        Path, typer.Option("--store", metavar="STORE", help="Folder of the store, made if need be.")
    ],
    run: Annotated[int | None, typer.Option("--run", help="Run, where the file does not say.")] = None,
    era: Annotated[str | None, typer.Option("--era", help="run3, 2018 or 2017; else by the run.")] = None,
    first_ls: Annotated[
        int | None, typer.Option("--first-ls", help="First lumisection, where the file does not say.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Throw away what the store holds of these runs.")
    ] = False,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", help="Processes on this machine that convert at a time.")
    ] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler",
            metavar="ADDRESS",
            help="Scheduler of a running Dask cluster that converts instead, such as tcp://127.0.0.1:8786.",
        ),
    ] = None,
    stop: Annotated[
        bool, typer.Option("--stop", help="Stop at the first source that cannot be converted.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")] = False,
) -> None:
    """Convert detector files into the store, one group per run.

    A file converted before is recognised by its content, so that an interrupted conversion goes on where it was.
    Files of one run are merged: other subdetectors, or equal counts; different counts are refused unless --replace
    is given. What cannot be converted is listed with its reason, the rest goes on, and the exit code is 2.

    Examples
    --------
    \b
    calowatch convert Run355456__hehb_cut20fc__depth.root --store runs.zarr
    calowatch convert run306138_ls1-6.hdf5 --run 306138 --store runs.zarr
    calowatch convert nightly/ 'older/**/*.root' --store runs.zarr --workers 4
    calowatch convert nightly/ --store runs.zarr --scheduler tcp://127.0.0.1:8786 --json
    calowatch convert output.root --store runs.zarr --replace
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from calowatch.cli.terminal import print_json, terminal_progress
    from calowatch.io import conversion
    from calowatch.io.request import ReadRequest

    if scheduler is not None and workers != 1:
        raise InputError("--workers", "either --workers or --scheduler", "both", "drop one of them")
    work = conversion.Work(workers, scheduler, keep_going=not stop)
    done = conversion.convert(
        sources, store, ReadRequest(run, era, first_ls), terminal_progress(), replace=replace, work=work
    )
    summary = {status: sum(each.status == status for each in done) for status in conversion.STATUSES}
    if json:
        print_json({"store": str(store), "sources": [_as_json(each) for each in done], "summary": summary})
    else:
        for each in done:
            typer.echo(_line(each))
        typer.echo(_summary(done, summary))
    failed = [each.error for each in done if each.error is not None]
    if len(failed) == 1:
        raise failed[0]
    if failed:
        raise InputError(
            store,
            f"all of {len(done)} sources converted",
            f"{len(failed)} that failed, listed above",
            "mend or leave out those, and give the command again; what is converted is not done twice",
        )


def _line(each: "Conversion") -> str:
    run = "run ?" if each.run is None else f"run {each.run}"
    if each.error is not None:
        return f"{run}: {each.status:<13} {each.error}"
    return f"{run}: {each.status:<13} {each.n_ls:>5} LS  {' '.join(each.subdets):<12} {each.source}"


def _summary(done: Sequence["Conversion"], summary: dict[str, int]) -> str:
    runs = len({each.run for each in done if each.error is None})
    counted = ", ".join(f"{number} {status}" for status, number in summary.items() if number)
    return f"{len(done)} sources of {runs} runs: {counted}"


def _as_json(each: "Conversion") -> dict[str, object]:
    from dataclasses import asdict

    reason = None if each.error is None else str(each.error)
    return {name: reason if name == "error" else value for name, value in asdict(each).items()}
