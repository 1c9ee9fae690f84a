"""``calowatch mask``: which cells of a grid are channels."""

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["mask"]


def mask(
    layout: Annotated[
        str, typer.Argument(metavar="LAYOUT", help="he, hb, hbhe (64 x 72 x 7), hf, ho or dqm (84 x 72 x 8).")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The .npy file to write.")],
    era: Annotated[str, typer.Option("--era", help="run3, 2018 or 2017.")] = "run3",
    json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")] = False,
) -> None:
    """Write which cells of a grid are channels, as booleans [ieta, iphi, depth], and say what the grid loses.

    he, hb and hbhe are cells of the canonical 64 x 72 x 7 grid. hf (26 x 36 x 4) and ho (30 x 72 x 1) hold all channels
    of theirs; dqm holds everything. What the mask is stands in FILE.json.

    Examples
    --------
    \b
    calowatch mask he --era run3 -o mask.npy
    calowatch mask hf -o hf.npy --json
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from calowatch.cli.terminal import print_json
    from calowatch.detector.grids import write_mask

    summary = write_mask(out, layout, era)
    if json:
        print_json(summary)
        return
    shape = " x ".join(map(str, summary["shape"]))
    typer.echo(
        f"{out}: {summary['channels']} channels of {' and '.join(summary['subdets'])}, {shape}, era {era}"
    )
    for line in _losses(summary):
        typer.echo(line)


def _losses(summary: dict[str, Any]) -> list[str]:
    """Return in words what the canonical grid does to the other subdetectors."""
    losses, said = summary["canonical_grid_loses"], []
    for subdet, loss in losses.items():
        fit = loss["channels"] - loss["outside"]
        if loss["outside"]:
            said.append(
                f"{subdet}: only {fit} of {loss['channels']} channels fit (layout {subdet.lower()} holds all)"
            )
        said += [
            f"{subdet} and {other}: {n} cells are claimed by both"
            for other, n in loss["shared"].items()
            if list(losses).index(subdet) < list(losses).index(other)
        ]
    return ["The 64 x 72 x 7 grid cannot hold the whole detector:", *(f"  {line}" for line in said)]
