"""``calowatch convert``: files of detectors into the store."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["convert"]


def convert(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Files, folders (with subfolders), stores or STORE::RUN.",
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
    json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")] = False,
) -> None:
    """Convert detector files into the store, one group per run.

    A file converted before is recognised by its content. Files of one run are merged: other subdetectors, or equal
    counts; different counts are refused unless --replace is given.

    Examples
    --------
    \b
    calowatch convert Run355456__hehb_cut20fc__depth.root --store runs.zarr
    calowatch convert run306138_ls1-6.hdf5 --run 306138 --store runs.zarr
    calowatch convert nightly/ --store runs.zarr --json
    calowatch convert output.root --store runs.zarr --replace
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from dataclasses import asdict

    from calowatch.cli.terminal import print_json, terminal_progress
    from calowatch.io import conversion
    from calowatch.io.request import ReadRequest

    done = conversion.convert(
        sources, store, ReadRequest(run, era, first_ls), terminal_progress(), replace=replace
    )
    if json:
        print_json({"store": str(store), "sources": [asdict(each) for each in done]})
        return
    for each in done:
        typer.echo(
            f"run {each.run}: {each.status:<13} {each.n_ls:>5} LS  {' '.join(each.subdets):<12} {each.source}"
        )
