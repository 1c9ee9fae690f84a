"""Write commands.md, the reference of all verbs, from the help of the verbs themselves."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from calowatch import cli
from calowatch.cli import frame

TARGET = Path(__file__).with_suffix(".md")

HEAD = """# Commands

Written by `make docs` from the help of each verb; a test fails when it is out of date.
"""


def walk(command: Any, path: tuple[str, ...] = ("calowatch",)) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every verb with the words that call it."""
    verbs = getattr(command, "commands", {})
    if not verbs:
        yield path, command
    for name, verb in verbs.items():
        yield from walk(verb, (*path, name))


def _text(text: str | None) -> str:
    return (text or "").replace("\\[", "[").strip()


def _code_blocks(text: str) -> Iterator[str]:
    """Yield help as Markdown: paragraphs, with examples fenced."""
    for paragraph in re.split(r"\n\s*\n", text):
        lines = paragraph.splitlines()
        code = [line.strip() for line in lines if line.strip().startswith(("calowatch ", "$ calowatch "))]
        prose = [line for line in lines if line.strip() not in code and line.strip() != "\b"]
        if prose:
            yield "\n".join(line.strip() for line in prose)
        if code:
            yield "\n".join(["```sh", *(line.removeprefix("$ ") for line in code), "```"])


def _row(parameter: Any) -> str:
    names = ", ".join((*parameter.opts, *parameter.secondary_opts))
    if parameter.param_type_name == "argument":
        names = str(parameter.metavar or parameter.name).upper()
    text = " ".join(_text(parameter.help).split()).replace("|", "\\|")
    if parameter.default is not None and not isinstance(parameter.default, bool):
        text = f"{text} Default: {parameter.default}."
    return f"| `{names}` | {text} |"


def section(path: tuple[str, ...], command: Any) -> str:
    """Return the section of one verb."""
    rows = [_row(parameter) for parameter in command.params if "--help" not in parameter.opts]
    table = "\n".join(["| option or argument | meaning |", "|---|---|", *rows])
    blocks = [
        f"## `{' '.join(path)}`",
        *_code_blocks(_text(command.help)),
        *_code_blocks(_text(command.epilog)),
    ]
    return "\n\n".join([*(block for block in blocks if block), table])


def reference() -> str:
    """Return the whole page."""
    sections = [section(path, command) for path, command in walk(frame.build(cli.app))]
    return "\n".join([HEAD, "\n\n".join(sections)]).rstrip() + "\n"


if __name__ == "__main__":
    TARGET.write_text(reference())
