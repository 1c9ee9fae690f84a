"""Result pages that are kept in the documentation: command and commit told, picture beside."""

import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from calowatch.core.errors import InputError
from calowatch.core.files import atomic_file, check_place
from calowatch.core.provenance import commit

__all__ = ["check_part", "keep_page", "keep_part", "typed_command"]


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


def check_part(page: Path, name: str) -> None:
    """Raise before long work if a part could not be put into a page, which need not exist yet.

    Parameters
    ----------
    page, name
        As `keep_part` takes them.

    Raises
    ------
    InputError
        When the page is a folder, lies where nothing can be written, is no UTF-8 text, or holds the marks of the part
        otherwise than once and in order.
    """
    _page_text(page, name)


def _page_text(page: Path, name: str) -> str:
    """Return the text of a page in which a part has its place, at most once."""
    if page.is_dir():
        raise InputError(page, "a Markdown page", "a folder", "name a file in it")
    place = next((each for each in page.absolute().parents if each.exists()), page)
    if not place.is_dir():
        raise InputError(page, "a page in a folder", f"{place.name}, which is a file", "choose another page")
    check_place(page.parent)
    try:
        text = page.read_text(encoding="utf-8") if page.is_file() else "# Results\n"
    except UnicodeDecodeError as error:
        raise InputError(page, "text in UTF-8", f"byte {error.start} is none", "save it as UTF-8") from error
    begin, end = _marks(name)
    held = (text.count(begin), text.count(end))
    if held not in ((0, 0), (1, 1)) or text.find(end) < text.find(begin):
        found = "the second before the first" if held == (1, 1) else f"{held[0]} and {held[1]}"
        fix = "leave both once, in order" if max(held) > 1 or min(held) else "add the other mark"
        raise InputError(page, f"one {begin} with one {end} after it, or neither", found, fix)
    return text


def _marks(name: str) -> tuple[str, str]:
    return f"<!-- {name} -->", f"<!-- end {name} -->"


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
        As `check_part`.
    """
    begin, end = _marks(name)
    old = _page_text(page, name)
    if begin not in old:
        old = f"{old.rstrip()}\n\n{begin}\n{end}\n"
    before, rest = old.split(begin, 1)
    after = rest.split(end, 1)[1]
    with atomic_file(page) as scratch:
        scratch.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")
    for beside, picture in pictures.items():
        with atomic_file(page.with_name(beside)) as scratch:
            shutil.copyfile(picture, scratch)
