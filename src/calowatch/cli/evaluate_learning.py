"""``calowatch evaluate learning-curve``: what more training images are worth."""

from pathlib import Path
from typing import Annotated

import typer

from calowatch.cli.evaluate_shortcuts import learner, recipes_of, whole_numbers

__all__ = ["learning_curve"]


def learning_curve(
    recipes: Annotated[
        list[str],
        typer.Argument(metavar="RECIPE...", help="Recipes for images: one or several of the same task."),
    ],
    data: Annotated[
        list[Path],
        typer.Option("--data", metavar="FILE", help="Labelled images, once per file or folder."),
    ],
    sizes: Annotated[
        str, typer.Option("--sizes", help="Numbers of training images, with commas; the side's own at most.")
    ] = "1000,3000,10000,30000,100000",
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Folder for page, table, figure and finished points."
        ),
    ] = Path("learning-curve"),
    epochs: Annotated[
        int | None, typer.Option("--epochs", help="Of the whole training side, in place of the recipes'.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or one GPU as cuda:1.")] = "auto",
    draws: Annotated[int, typer.Option("--draws", min=0, help="Of the bootstrap; 0: no intervals.")] = 200,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Of dealing and training, in place of the recipes'.")
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(
            "--markdown",
            metavar="FILE",
            help="Also put table and figure, with command, seed and commit, into this page, in the place of its kind "
            "of images.",
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print learning_curve.json on stdout and nothing else.")
    ] = False,
) -> None:
    """Train with ever more images and judge each time by the same test side: ROC-AUC by training images.

    Smaller training sides lie within larger ones. Finished points are kept in DIR/points: an interrupted call goes on
    where it was, and a call with more recipes or sizes trains only those. Page, table and figure hold what the call
    names: name earlier recipes and sizes again to keep them. Trees take seconds: put them beside networks.

    Examples
    --------
    \b
    calowatch evaluate learning-curve egamma-trees egamma-convnet --data egamma --out curve
    calowatch evaluate learning-curve jets-trees --data jets.parquet --sizes 1000,3000,10000 --out curve --json
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from calowatch.cli.kept_page import check_part, keep_part, typed_command
    from calowatch.cli.terminal import print_json, terminal_progress
    from calowatch.core.provenance import commit
    from calowatch.evaluate.learning_curve import CurveTask, evaluate_learning
    from calowatch.present.learning_curve import learning_markdown

    named = recipes_of(",".join(recipes), epochs)
    task = CurveTask(named, tuple(data), whole_numbers("--sizes", sizes), seed, draws, typed_command())
    part = f"learning-curve {next(iter(named.values())).data.kind}"
    if markdown:
        check_part(markdown, part)
    found = evaluate_learning(task, out, learner(device), terminal_progress())
    if markdown:
        kind, used = found.curve.kind, found.curve.provenance["seed"]
        told = {"command": task.command, "commit": commit(), "seed": used}
        name = f"{markdown.stem}-{kind}-curve.png"
        picture = next(path for path in found.files if path.suffix == ".png")
        text = learning_markdown(found.curve, name, told)
        keep_part(markdown, part, text, {name: picture})
    if json:
        print_json(found.document)
        return
    for row in found.document["points"]:
        auc = row["figures"]["roc_auc"]["value"]
        typer.echo(f"{row['recipe']:<28} {row['images']:>9,} training images  ROC-AUC {auc:.4f}")
    typer.echo(f"Report: {found.files[0]}")
