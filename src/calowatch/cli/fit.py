"""``calowatch fit``: learn what every channel does in healthy runs, without a network."""

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
    method: Annotated[
        str,
        typer.Option(
            "--method",
            help="reference (per channel), ewma (a reference that follows), pca (with principal components), "
            "ring (learns nothing).",
        ),
    ] = "reference",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of what pca draws to choose its size.")] = 0,
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
    lumisection must be known. Methods other than reference keep the last run (or the last fifth of a single one) back
    for their calibration.

    Examples
    --------
    \b
    calowatch fit STORE --out reference
    calowatch fit STORE::362758 STORE::362759 --out reference
    calowatch fit healthy-files --era run3 --out reference --json
    calowatch fit STORE --method ewma --out follows
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from calowatch.cli.terminal import print_json, terminal_progress
    from calowatch.io.request import ReadRequest
    from calowatch.train.fit import fit as learn

    request = ReadRequest(run=run, era=era, first_ls=first_ls)
    manifest = learn(sources, out, request, terminal_progress(), method=method, seed=seed)
    if json:
        print_json(manifest)
        return
    used = ", ".join(f"{entry['run']} ({entry['n_ls_used']} LS)" for entry in manifest["runs"])
    name = "Reference" if method == "reference" else f"Reference ({method})"
    typer.echo(f"{name} of era {manifest['era']}: {manifest['n_channels']} channels, from runs {used}")
    typer.echo(f"Written to {out}")
