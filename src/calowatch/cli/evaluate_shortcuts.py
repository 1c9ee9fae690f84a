"""``calowatch evaluate shortcuts``: what telling two runs apart is worth."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from calowatch.core.training import ImageTraining
    from calowatch.evaluate.shortcuts import Learn

__all__ = ["learner", "recipes_of", "shortcuts", "whole_numbers"]

_CHEAP = "runs-one-ring,runs-linear,runs-cnn"


def shortcuts(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="The image sets of two runs, or their folder.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for table, picture and finished cells.")
    ] = Path("shortcuts"),
    recipes: Annotated[
        str,
        typer.Option(
            "--recipes",
            help="Recipes of the models, with commas; such as runs-vit-keras and runs-ours beside the cheap ones.",
        ),
    ] = _CHEAP,
    variants: Annotated[
        str, typer.Option("--variants", help="Variants of the images, with commas.")
    ] = "as-is,unit-sum,rings,masked,rings-masked",
    repeats: Annotated[
        int, typer.Option("--repeats", help="Times to deal and train anew; each costs as much again.")
    ] = 1,
    noise: Annotated[
        str, typer.Option("--noise", help="Shares of wrong training labels, with commas, or none.")
    ] = "0.1,0.2,0.3,0.4",
    images: Annotated[
        str, typer.Option("--images", help="Numbers of training images, with commas, or none.")
    ] = "64,256,1024",
    blocks: Annotated[
        str, typer.Option("--blocks", help="Numbers of training blocks of each run, with commas, or none.")
    ] = "1,2,4,8",
    block: Annotated[
        int | None,
        typer.Option(
            "--block", help="Neighbours dealt together; by default what a simulation says, else 500."
        ),
    ] = None,
    at_most: Annotated[
        int | None, typer.Option("--at-most", help="Take the first images of each run only.")
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="In place of the recipes'.")] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or one GPU as cuda:1.")] = "auto",
    faithfulness: Annotated[
        Path | None, typer.Option("--faithfulness", help="An explain.json of calowatch explain, told beside.")
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option("--page", help="Also write the page there, with command, seed and commit, to be kept."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of dealing, spoiling and training.")] = 0,
    json: Annotated[
        bool, typer.Option("--json", help="Print shortcuts.json on stdout and nothing else.")
    ] = False,
) -> None:
    """Say what telling two runs apart is worth: harder variants, honest splits, the simplest rules beside.

    Every model is trained on every variant, split at random and by blocks of neighbours; then with wrong labels and
    with ever fewer images or blocks. Finished cells are kept in DIR/cells: an interrupted call goes on where it was.

    Examples
    --------
    \b
    calowatch evaluate shortcuts gsoc --out shortcuts
    calowatch evaluate shortcuts gsoc --recipes runs-one-ring,runs-linear,runs-ours --repeats 5 --noise none
    calowatch evaluate shortcuts Run355456_Dataset_iphi.npy Run357479_Dataset_iphi.npy --at-most 2000 --json
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from calowatch.cli.kept_page import keep_page, typed_command
    from calowatch.cli.terminal import print_json, terminal_progress
    from calowatch.evaluate.shortcuts import BatteryTask, evaluate_shortcuts
    from calowatch.evaluate.shortcuts_cells import Battery
    from calowatch.present.shortcuts_page import battery_page

    progress = terminal_progress()
    named = recipes_of(recipes, epochs)
    battery = Battery(
        tuple(named),
        _words(variants),
        repeats=repeats,
        noise=_numbers("--noise", noise),
        images=whole_numbers("--images", images),
        blocks=whole_numbers("--blocks", blocks),
    )
    task = BatteryTask(tuple(files), named, battery, block, at_most, seed, faithfulness, typed_command())
    result = evaluate_shortcuts(task, out, learner(device), progress)
    if page is not None:
        picture = next(path for path in result.files if path.suffix == ".png")
        keep_page(
            page,
            picture,
            result.document,
            lambda told, name: battery_page(told, result.frame, result.verdict, name),
        )
    if json:
        print_json(result.document)
        return
    for sentence in result.verdict:
        typer.echo(f"- {sentence}")
    for path in (*result.files, *([page] if page else [])):
        typer.echo(path)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _numbers(option: str, text: str) -> tuple[float, ...]:
    from calowatch.core.errors import InputError

    if text.strip() == "none":
        return ()
    try:
        return tuple(float(word) for word in _words(text))
    except ValueError:
        raise InputError(option, "numbers with commas, or none", repr(text), "such as 64,256") from None


def whole_numbers(option: str, text: str) -> tuple[int, ...]:
    """Return whole numbers with commas between them, none for ``none``."""
    from calowatch.core.errors import InputError

    given = _numbers(option, text)
    for each in given:
        if not each.is_integer():
            raise InputError(option, "whole numbers with commas, or none", f"{each:g}", "such as 64,256")
    return tuple(int(each) for each in given)


def recipes_of(recipes: str, epochs: int | None) -> "dict[str, ImageTraining]":
    """Return training recipes of images by short name, for as many epochs as wanted."""
    from calowatch.core.errors import InputError
    from calowatch.core.recipe import recipe_path
    from calowatch.core.training import ImageTraining, load_training
    from calowatch.evaluate.shortcuts_cells import names_of

    found = {}
    given = _words(recipes)
    for name, short in zip(given, names_of(given), strict=True):
        recipe = load_training(recipe_path(name))
        if not isinstance(recipe, ImageTraining):
            raise InputError(
                name,
                "a recipe for images",
                "one for occupancy",
                "choose a recipe for images: calowatch models lists them",
            )
        if epochs is not None:
            recipe = recipe.model_copy(update={"fit": recipe.fit.model_copy(update={"epochs": epochs})})
        found[short] = recipe
    return found


def learner(device: str) -> "Learn":
    """Return what trains a recipe on given sides; evaluation itself knows no training."""
    from calowatch.core.training import ImageTraining
    from calowatch.data.image_splits import ImageSides
    from calowatch.data.images import ImageData
    from calowatch.evaluate.shortcuts import Learned
    from calowatch.train.images import ImageRun, train_classifier

    def learn(recipe: ImageTraining, data: ImageData, sides: ImageSides) -> Learned:
        run = ImageRun(device=device, novelty=False)
        trained = train_classifier(recipe, data, run, sides)
        return Learned(trained.bundle, trained.seconds)

    return learn
