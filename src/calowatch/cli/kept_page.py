"""Result pages that are kept in the documentation: command and commit told, picture beside."""

import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from calowatch.core.errors import InputError
from calowatch.core.files import atomic_file
from calowatch.core.provenance import commit

__all__ = ["keep_page", "keep_part", "typed_command"]


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
        scratch.write_text(render({**document, "commit": commit()}, beside.name), encoding="utf-8")
    with atomic_file(beside) as scratch:
        shutil.copyfile(picture, scratch)


def keep_part(page: Path, name: str, text: str, pictures: Mapping[str, Path]) -> None:
    """Write a part of a Markdown page between two marks, and pictures beside the page; the rest of it stays.

    Parameters
    ----------
    page
        The page. A part without a place in it goes to its end.
    name
        Of the part: it stands between ``<!-- NAME -->`` and ``<!-- end NAME -->``.
    text
        What goes there.
    pictures
        Names beside the page, and the files to copy there.

    Raises
    ------
    InputError
        When the page holds only one of the two marks.
    """
    begin, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    old = page.read_text(encoding="utf-8") if page.is_file() else "# Results\n"
    if (begin in old) != (end in old) or old.find(end) < old.find(begin):
        raise InputError(
            page, f"both {begin} and {end}, in this order, or none", "not so", "add the other mark"
        )
    if begin not in old:
        old = f"{old.rstrip()}\n\n{begin}\n{end}\n"
    before, rest = old.split(begin, 1)
    after = rest.split(end, 1)[1]
    with atomic_file(page) as scratch:
        scratch.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")
    for beside, picture in pictures.items():
        with atomic_file(page.with_name(beside)) as scratch:
            shutil.copyfile(picture, scratch)
