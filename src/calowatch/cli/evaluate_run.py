"""``calowatch evaluate run``: what an image classifier is worth."""

from pathlib import Path
from typing import Annotated

import typer

from calowatch.cli.options import Side

__all__ = ["run"]


def run(
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
    other: Annotated[
        list[Path] | None,
        typer.Option("--other", metavar="FILE", help="Images of no class it knows, such as a third run."),
    ] = None,
    partner: Annotated[
        list[Path] | None,
        typer.Option(
            "--with", metavar="BUNDLE", help="Judge the mean with this classifier of the same classes."
        ),
    ] = None,
    side: Side = None,
    mode: Annotated[
        str,
        typer.Option("--mode", help="How the network is computed: auto, float32, bfloat16, onnx or int8."),
    ] = "float32",
    draws: Annotated[int, typer.Option("--draws", min=0, help="Of the bootstrap; 0: no intervals.")] = 200,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the bootstrap.")] = 0,
    png: Annotated[bool, typer.Option("--png/--no-png", help="Draw PNG figures beside the page.")] = True,
    json: Annotated[
        bool, typer.Option("--json", help="Print evaluation.json on stdout and nothing else.")
    ] = False,
) -> None:
    """Judge a classifier by images that it has not learned from: figures with intervals, curves, errors.

    Which images it has learned from stands in the bundle. Of its own files the test side is taken; of others, images
    equal to learned ones are left out. Writes evaluation.html, evaluation.json, errors.csv, scores.csv and PNG figures.

    Examples
    --------
    \b
    calowatch evaluate run models/vit --out judged
    calowatch evaluate run models/vit --data Run355456_Dataset_b.npy --data Run357479_Dataset_b.npy --out judged
    calowatch evaluate run models/vit --other Run356615_Dataset_a.npy --out judged
    calowatch evaluate run models/torch --side validation --out judged --json
    calowatch evaluate run models/convnet --with models/trees --out together
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from typing import cast, get_args

    from calowatch.bundle.engines import ClassifyMode
    from calowatch.cli.terminal import print_json, terminal_progress
    from calowatch.core.errors import UnknownNameError, nearest
    from calowatch.evaluate.classify import EvaluateRequest, evaluate_run
    from calowatch.present.classify import figure_text

    modes = get_args(ClassifyMode)
    if mode not in modes:
        raise UnknownNameError("--mode", f"one of {', '.join(modes)}", mode, nearest(mode, modes))
    request = EvaluateRequest(
        out,
        tuple(data or ()),
        tuple(other or ()),
        tuple(partner or ()),
        side,
        cast("ClassifyMode", mode),
        draws,
        seed,
        png,
        terminal_progress(),
    )
    found = evaluate_run(bundle, request)
    if json:
        print_json(found.document)
        return
    typer.echo(f"{found.report.title}\n{found.report.subtitle}")
    for name, figure in found.report.figures.items():
        typer.echo(f"  {name:<13} {figure_text(name, figure)}")
    if found.report.strangers is not None:
        for score, row in found.report.strangers.table.iterrows():
            typer.echo(
                f"  strangeness by {score}: AUC {row.auc:.4f}; beyond the threshold {100 * row.other_beyond:.1f} % of "
                f"these, {100 * row.own_beyond:.1f} % of its own"
            )
    for note in found.report.notes:
        typer.echo(f"  note: {note}")
    typer.echo(f"Report: {found.files[0]}")
