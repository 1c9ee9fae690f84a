"""``calowatch fit``: learn a per-channel reference from healthy runs."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["fit"]


def fit(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", help="Healthy runs: files, folders, stores or STORE::RUN."),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="REFERENCE", help="Folder of the reference bundle.")
    ],
    era: Annotated[str | None, typer.Option("--era", help="Era, where the files do not tell.")] = None,
    run: Annotated[int | None, typer.Option("--run", help="Run number, where the files do not tell.")] = None,
    first_ls: Annotated[
        int | None, typer.Option("--first-ls", help="First lumisection, where the files do not tell.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the manifest as JSON and nothing else.")
    ] = False,
) -> None:
    """Learn what every channel does in healthy runs, and write it as a reference bundle.

    Luminosity and pile-up of the runs may differ: each phi ring's brightness is taken out per lumisection. Events per
    lumisection must be known.

    Examples
    --------
    \b
    calowatch fit STORE --out reference
    calowatch fit STORE::362758 STORE::362759 --out reference
    calowatch fit healthy-files --era run3 --out reference --json
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from calowatch.cli.terminal import print_json, terminal_progress
    from calowatch.io.request import ReadRequest
    from calowatch.train.fit import fit as learn

    manifest = learn(sources, out, ReadRequest(run=run, era=era, first_ls=first_ls), terminal_progress())
    if json:
        print_json(manifest)
        return
    used = ", ".join(f"{entry['run']} ({entry['n_ls_used']} LS)" for entry in manifest["runs"])
    typer.echo(f"Reference of era {manifest['era']}: {manifest['n_channels']} channels, from runs {used}")
    typer.echo(f"Written to {out}")
