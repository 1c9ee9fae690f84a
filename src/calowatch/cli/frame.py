"""What all verbs share: how their help is shown, how negative numbers are read, how wrong use is answered."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

__all__ = ["BrokenOutput", "VerbGroup", "VerbWithNumbers", "build", "plain_help", "show_usage_error"]


class BrokenOutput(Exception):  # noqa: N818 - not an error of ours: the reader has seen enough
    """Whoever read the output stopped reading, as ``head`` does."""


class VerbGroup(TyperGroup):
    """The program itself: turns a closed pipe into `BrokenOutput`, before Typer makes an exit code 1 of it."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise BrokenOutput from error


class VerbWithNumbers(TyperCommand):
    """A verb whose arguments may be negative numbers, such as ``HE -27 33 3``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take what looks like an option but is a number as an argument; refuse any other unknown option."""
        ctx.ignore_unknown_options = True
        rest: list[str] = super().parse_args(ctx, list(args))
        for value in _words(ctx.params.values()):
            if value.startswith("-") and not re.fullmatch(r"-(\d+)?", value) and value in args:
                ctx.fail(f"No such option: {value}")
        return rest


def _words(values: Any) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _words(value)


def plain_help(text: str) -> str:
    r"""Return a docstring as help: no reST marks, and brackets that stay brackets (rich would read a style).

    Examples
    --------
    >>> print(plain_help("Like ``fit A [B]``::\n\n    calowatch fit one.root"))
    Like fit A \[B]:
    <BLANKLINE>
        calowatch fit one.root
    """
    text = text.replace("\b\n", "").replace("``", "").replace("::\n", ":\n")
    text = re.sub(r"(?m)^( *\w[\w ]*)\n *-{4,}$", r"\1:", text)
    return re.sub(r"\\*\[", r"\\[", text)


def _texts_plain(command: Any) -> None:
    for owner in (command, *command.params):
        for name in ("help", "epilog"):
            text = getattr(owner, name, None)
            if text:
                setattr(owner, name, plain_help(text))
    for verb in getattr(command, "commands", {}).values():
        _texts_plain(verb)


def build(app: typer.Typer) -> Any:
    """Return the program as a tree of commands, ready to run or to be looked through."""
    command = get_command(app)
    _texts_plain(command)
    return command


def show_usage_error(error: typer.TyperException, show: Callable[[str], None]) -> None:
    """Print a wrong use of the command line as one line; where nothing was asked, Typer has shown the help."""
    message = error.format_message().strip().rstrip(".")
    context = getattr(error, "ctx", None)
    if message:
        end = "" if message.endswith("?") else "."
        show(f"{message}{end} Fix: see {context.command_path} --help" if context else message)
