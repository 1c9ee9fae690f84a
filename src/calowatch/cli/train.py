"""``calowatch train``: a network, from a recipe and data to a bundle."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["train"]


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", help="TOML file, or the name of a recipe that comes along (calowatch models)."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="BUNDLE", help="Folder of the bundle; logs go to BUNDLE.training."
        ),
    ],
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            metavar="DATA",
            help="What to learn from: a data set of calowatch prepare, or files of images (may be repeated).",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a training was broken off; else begin.")
    ] = False,
    device: Annotated[
        str, typer.Option("--device", help="auto (CUDA where there is any), cpu, cuda, or cuda:N.")
    ] = "auto",
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="In place of the recipe's.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="In place of the recipe's.")] = None,
    max_steps: Annotated[
        int | None, typer.Option("--max-steps", min=1, help="Stop after so many steps: to try a recipe.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print what was trained as JSON and nothing else.")
    ] = False,
) -> None:
    """Train a network as a recipe says, and write it as a bundle.

    Losses appear while it works, one line per epoch on stderr. The best epoch is kept. BUNDLE.training holds
    metrics.csv, curves.png and the TensorBoard logs; a training that was killed goes on with --resume and ends as if it
    had not been.

    Examples
    --------
    \b
    calowatch prepare he-source --store occupancy.zarr --out dataset
    calowatch train cnn-vae-lstm-rin-dc --data dataset --out deployed
    calowatch train cnn-vae-lstm-rin-dc --data dataset --out deployed --resume
    calowatch train runs-vit-keras --data Run355456_Dataset_iphi.npy --data Run357479_Dataset_iphi.npy --out vit
    calowatch train my-recipe.toml --out mine --epochs 5 --seed 1 --json
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from calowatch.cli.terminal import print_json, terminal_progress
    from calowatch.train.request import TrainRequest
    from calowatch.train.verb import train as learn

    request = TrainRequest(
        out, tuple(data or ()), resume, device, seed, epochs, max_steps, terminal_progress()
    )
    summary = learn(recipe, request).summary
    if summary["training"].get("primary") is False:
        return  # one of several processes, of which another one tells
    if json:
        print_json(summary)
    else:
        _show(summary)


def _show(summary: Mapping[str, Any]) -> None:
    told = summary["training"]
    typer.echo(f"{summary['model']}: {summary['n_parameters']:,} parameters")
    if "epochs" in told:
        epochs = f"{told['epochs']} epoch{'s' if told['epochs'] > 1 else ''}"
        typer.echo(
            f"{epochs} in {told['seconds']:.1f} s on {told['device']}; "
            f"epoch {told['best_epoch']} is the best ({told['best_value']:.6g})"
        )
    sides = summary.get("split", {}).get("images", {})
    if sides:
        counts = (f"{name} {sum(each.values()):,}" for name, each in sides.items() if sum(each.values()))
        typer.echo(f"Images: {', '.join(counts)}")
    for name, figure in summary.get("figures", {}).items():
        value = figure["value"] if isinstance(figure, Mapping) else figure
        if value is not None:
            typer.echo(f"{summary['side']} {name.replace('_', ' ')}: {value:.4f}")
    typer.echo(f"Written to {summary['bundle']}")
