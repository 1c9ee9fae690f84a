"""Result pages that are kept in the documentation: command and commit told, picture beside."""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from calowatch.core.files import atomic_file

__all__ = ["keep_page", "typed_command"]


def typed_command() -> str:
    """Return what was typed, files without their folders: no path of a machine goes into a page."""
    words = [
        Path(word).name if Path(word).is_absolute() or word.endswith(".npy") else word
        for word in sys.argv[1:]
    ]
    return shlex.join(["calowatch", *words])


def keep_page(
    page: Path, picture: Path, document: Mapping[str, Any], render: Callable[[Mapping[str, Any], str], str]
) -> None:
    """Write a page with the commit of the program, where it runs from a checkout, and its picture beside it.

    Parameters
    ----------
    page
        The Markdown file; the picture gets its name.
    picture
        The PNG.
    document
        What the page tells; ``commit`` is added.
    render
        Makes the page of the document and the name of its picture.
    """
    beside = page.with_suffix(".png")
    with atomic_file(page) as scratch:
        scratch.write_text(render({**document, "commit": _commit()}, beside.name), encoding="utf-8")
    with atomic_file(beside) as scratch:
        shutil.copyfile(picture, scratch)


def _commit() -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    asked, here = [git, "rev-parse", "--short", "HEAD"], Path(__file__).parent
    found = subprocess.run(asked, cwd=here, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    return found.stdout.strip() or None
