"""``calowatch simulate campaign``: the runs that the models of a fault campaign learn from."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["campaign"]


def campaign(
    name: Annotated[
        str, typer.Argument(metavar="CAMPAIGN", help="published, reduced, tiny, or a TOML file of your own.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="STORE", help="Store to write the runs into, made where missing."
        ),
    ],
    json: Annotated[
        bool, typer.Option("--json", help="Print the run numbers of each side on stdout and nothing else.")
    ] = False,
) -> None:
    """Write a campaign's training and validation runs into a store, to be prepared and trained on.

    Examples
    --------
    \b
    calowatch simulate campaign published --out campaign.zarr
    calowatch prepare campaign --store campaign.zarr --out dataset
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from calowatch.cli.terminal import print_json, results_console, terminal_progress
    from calowatch.evaluate.campaign.recipe import load_campaign
    from calowatch.evaluate.campaign.training import write_training_store

    sides = write_training_store(load_campaign(name), out, terminal_progress())
    if json:
        print_json(sides)
        return
    for side, runs in sides.items():
        results_console().print(f"{side}: runs {', '.join(map(str, runs))}", soft_wrap=True)
