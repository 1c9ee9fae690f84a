"""Options that several verbs share word by word."""

from typing import Annotated

import typer

__all__ = ["Side"]

Side = Annotated[
    str | None,
    typer.Option(
        "--side",
        help="Side of the training's split: test, validation or train. Default: test, or validation where the split "
        "has no test side.",
    ),
]
