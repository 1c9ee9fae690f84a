"""``calowatch evaluate experts``: how a mixture of experts shares the work, and whether experts become alike."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from calowatch.evaluate.experts import LearnLong

__all__ = ["experts"]


def experts(
    recipe: Annotated[str, typer.Argument(help="A recipe of a mixture of experts, such as runs-moe-vit.")],
    data: Annotated[
        list[Path], typer.Option("--data", help="Files of images, or their folder; may be repeated.")
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", help="Folder for tables, picture and finished seeds."),
    ] = Path("experts"),
    seeds: Annotated[int, typer.Option("--seeds", help="How many trainings.")] = 5,
    epochs: Annotated[int, typer.Option("--epochs", help="Of each training.")] = 20,
    at_most: Annotated[
        int | None, typer.Option("--at-most", help="Take the first images of each class only.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or one GPU as cuda:1.")] = "auto",
    page: Annotated[
        Path | None,
        typer.Option("--page", help="Also write the page there, with command, seed and commit, to be kept."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The first seed; the others follow.")] = 0,
    json: Annotated[
        bool, typer.Option("--json", help="Print experts.json on stdout and nothing else.")
    ] = False,
) -> None:
    """Train a mixture of experts from several seeds, and tell whether experts specialise or become alike.

    Tells load, dead experts, entropies, what an expert says about class and place, similarity of experts epoch by
    epoch, and the AUC lost without each. Finished seeds are kept in DIR/seeds: an interrupted call goes on.

    Examples
    --------
    \b
    calowatch evaluate experts runs-moe-vit --data gsoc --seeds 5 --epochs 20 --out experts
    calowatch evaluate experts runs-moe-vit --data gsoc --seeds 2 --epochs 3 --at-most 1000 --json
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from calowatch.cli.evaluate_shortcuts import recipes_of
    from calowatch.cli.kept_page import keep_page, typed_command
    from calowatch.cli.terminal import print_json, terminal_progress
    from calowatch.evaluate.experts import ExpertsTask, evaluate_experts
    from calowatch.present.experts import experts_page

    ((name, loaded),) = recipes_of(recipe, None).items()
    task = ExpertsTask(loaded, name, tuple(data), seeds, epochs, seed, at_most, typed_command())
    result = evaluate_experts(task, out, _learner(device), terminal_progress())
    if page is not None:
        picture = next(path for path in result.files if path.suffix == ".png")
        keep_page(page, picture, result.document, lambda told, name: experts_page(told, result.seeds, name))
    if json:
        print_json(result.document)
        return
    for sentence in result.verdict:
        typer.echo(f"- {sentence}")
    for path in (*result.files, *([page] if page else [])):
        typer.echo(path)


def _learner(device: str) -> "LearnLong":
    """Return what trains a recipe on given sides; evaluation itself knows no training."""
    from calowatch.core.training import ImageTraining
    from calowatch.data.image_splits import ImageSides
    from calowatch.data.images import ImageData
    from calowatch.evaluate.experts import LearnedLong
    from calowatch.train.images import ImageRun, train_classifier

    def learn(recipe: ImageTraining, data: ImageData, sides: ImageSides) -> LearnedLong:
        trained = train_classifier(recipe, data, ImageRun(device=device, novelty=False), sides)
        return LearnedLong(trained.bundle, trained.history)

    return learn
