"""``calowatch graph``: edges between channels, for graph networks."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["graph"]


def graph(
    layout: Annotated[
        str, typer.Argument(metavar="LAYOUT", help="Which channels: he, hb, hbhe, hf, ho or dqm (all).")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The .npy file to write.")],
    edges: Annotated[
        str,
        typer.Option("--edges", help="neighbour, or hardware they share: fibre, card, rm, rbx, uhtr, fed."),
    ] = "neighbour",
    numbering: Annotated[
        str,
        typer.Option(
            "--numbering",
            help="channel: position among the layout's channels; grid: position in its flattened grid.",
        ),
    ] = "channel",
    era: Annotated[
        str | None, typer.Option("--era", help="run3, 2018 or 2017; that of --run, or run3, unless given.")
    ] = None,
    run: Annotated[
        int | None,
        typer.Option("--run", help="Wiring in this run, by your own maps; by default their newest."),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Give each pair once instead of in both directions.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")] = False,
) -> None:
    """Write which channels are connected, as int64 [2, edges], and what they are into FILE.json.

    Examples
    --------
    \b
    calowatch graph he --edges rbx -o edges.npy
    calowatch graph hbhe --edges neighbour --numbering grid -o edges.npy
    calowatch graph hf --edges fibre --once -o edges.npy --json
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from calowatch.cli.terminal import print_json
    from calowatch.detector.conditions import era_or_default
    from calowatch.detector.graph import GraphRequest, write_graph

    summary = write_graph(out, GraphRequest(layout, edges, numbering, era_or_default(era, run), run, once))
    if json:
        print_json(summary)
        return
    ways = "in both directions" if summary["both_directions"] else "each once"
    typer.echo(
        f"{out}: {summary['nodes']} channels, {summary['pairs']} pairs ({summary['edges_of']}) {ways}, "
        f"{summary['edges']} edges, {numbering} numbering"
    )
    typer.echo(
        f"{summary['components']} connected parts, the largest of {summary['largest_component']} channels; "
        f"{summary['isolated']} channels without an edge"
    )
