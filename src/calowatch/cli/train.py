"""``calowatch train``: what a recipe says, to a bundle."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["train"]


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", help="A training recipe (TOML), or one that comes with calowatch by its name."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="BUNDLE", help="Folder of the bundle; an earlier bundle is replaced."
        ),
    ],
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            metavar="PATH",
            help="What to learn from, in place of what the recipe names: image files, or a folder made by "
            "calowatch prepare. May be repeated.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a training for --out was broken off.")
    ] = False,
    device: Annotated[
        str, typer.Option("--device", help="auto (a GPU where there is one), cpu, cuda, or one as cuda:1.")
    ] = "auto",
    seed: Annotated[int | None, typer.Option("--seed", help="In place of the recipe's.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="In place of the recipe's.")] = None,
    max_steps: Annotated[
        int | None, typer.Option("--max-steps", help="Stop after so many steps: to try a recipe.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON and nothing else.")] = False,
) -> None:
    """Train a network, or a classical model, as a recipe says, and write it as a bundle with its card.

    Logs (CSV and TensorBoard), learning curves and, until the end, checkpoints lie in BUNDLE.training.

    Examples
    --------
    \b
    calowatch train runs-vit-keras --data Run355456_Dataset_iphi.npy --data Run357479_Dataset_iphi.npy --out vit
    calowatch train recipes/runs-linear.toml --data gsoc --out linear --json
    calowatch train mine.toml --out mine --resume
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from calowatch.cli.terminal import print_json, terminal_progress
    from calowatch.core.recipe import recipe_path
    from calowatch.core.training import ImageTraining, load_training
    from calowatch.train.request import TrainRequest

    asked = load_training(recipe_path(recipe))
    request = TrainRequest(
        out, tuple(data or ()), resume, device, seed, epochs, max_steps, terminal_progress()
    )
    if isinstance(asked, ImageTraining):
        from calowatch.train.images import train_images

        summary = train_images(asked, request).summary
    else:
        from calowatch.train.occupancy import train_occupancy

        summary = train_occupancy(asked, request).summary
    if json:
        print_json(summary)
        return
    for name, value in summary.items():
        if isinstance(value, (str, int, float)):
            typer.echo(
                f"{name.replace('_', ' ')}: {value:.6g}" if isinstance(value, float) else f"{name}: {value}"
            )
    typer.echo(f"Written to {out}")
