"""``calowatch explain``: what an image classifier looks at."""

from pathlib import Path
from typing import Annotated

import typer

from calowatch.cli.options import Side

__all__ = ["explain"]


def explain(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of a trained classifier.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the results.")],
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            metavar="FILE",
            help="Labelled images, once per file: the training's own, or others. Default: the training's own.",
        ),
    ] = None,
    samples: Annotated[
        str,
        typer.Option(
            "--samples", metavar="N|NAMES", help="How many images, or which: FILE:POSITION, joined by commas."
        ),
    ] = "24",
    side: Side = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            help="cls, rollout, gradient, integrated or occlusion; may be repeated. Default: all that it offers.",
        ),
    ] = None,
    baseline: Annotated[
        str,
        typer.Option("--baseline", help="What 'nothing there' is: mean, zero or auto (mean for runs)."),
    ] = "auto",
    figures: Annotated[int, typer.Option("--figures", min=0, help="How many images are drawn.")] = 6,
    steps: Annotated[int, typer.Option("--steps", min=2, help="Of a faithfulness curve.")] = 20,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of drawing, random orders and weights.")] = 0,
    json: Annotated[
        bool, typer.Option("--json", help="Print explain.json on stdout and nothing else.")
    ] = False,
) -> None:
    """Show what a classifier looks at, and measure how far such maps may be trusted.

    Writes a figure per image, mean maps per class, which expert each patch goes to, deletion and insertion curves
    against random order and cell size, maps.npz and explain.json.

    Examples
    --------
    \b
    calowatch explain models/vit --out explained
    calowatch explain models/vit --samples Run355456:17,Run357479:3 --method rollout --method integrated --out explained
    calowatch explain models/moe --samples 64 --side validation --out explained --json
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from typing import cast

    from calowatch.cli.terminal import print_json, terminal_progress
    from calowatch.evaluate.explain import Baseline, ExplainRequest
    from calowatch.evaluate.explain import explain as explain_bundle

    request = ExplainRequest(
        out,
        tuple(data or ()),
        samples,
        side,
        tuple(method or ()),
        cast("Baseline", baseline),
        figures,
        steps,
        seed,
        terminal_progress(),
    )
    found = explain_bundle(bundle, request)
    if json:
        print_json(found.document)
        return
    for row in found.document["faithfulness"]:
        typer.echo(f"  {row['method']:<11} deletion {row['deletion']:.3f}  insertion {row['insertion']:.3f}")
    for name, told in found.document["random_weights"].items():
        typer.echo(f"  {name:<11} correlation with random weights {told['correlation']:.2f}")
    for note in found.document["notes"]:
        typer.echo(f"  note: {note}")
    for path in found.files:
        typer.echo(path)
