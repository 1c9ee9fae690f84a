"""``calowatch models``: all networks, baselines and classifiers."""

from typing import Annotated

import typer

__all__ = ["models"]


def models(
    recipes: Annotated[
        bool, typer.Option("--recipes", help="List the recipes that come along, with their sizes.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the list as JSON and nothing else.")] = False,
) -> None:
    """List all models: what each is, how many numbers it learns, which paper it comes from.

    Numbers are those of the first recipe that comes along for it; the data decide where none is given.

    Examples
    --------
    \b
    calowatch models
    calowatch models --recipes
    calowatch models --json
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from dataclasses import asdict

    from calowatch.cli.terminal import print_json
    from calowatch.train.catalogue import GROUPS, catalogue

    lines = catalogue()
    if json:
        print_json([asdict(line) for line in lines])
        return
    for group, title in GROUPS.items():
        mine = [line for line in lines if line.group == group]
        if recipes and group == "baseline":
            continue  # fitted by options, not by recipes
        typer.echo(f"{title}\n")
        typer.echo(
            f"  {'recipe' if recipes else 'model':29} {'parameters':>10}  {'model' if recipes else 'what'}"
        )
        for line in mine:
            rows = line.recipes.items() if recipes else [(line.name, line.parameters)]
            for name, parameters in rows:
                number = "-" if parameters is None else f"{parameters:,}"
                paper = f" ({line.paper})" if line.paper else ""
                what = line.name if recipes else f"{line.summary}{paper}"
                typer.echo(f"  {name:29} {number:>10}  {what}")
        typer.echo("")
