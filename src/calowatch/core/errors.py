"""Every error a user can cause, on one page.

::

    InputError               a file, folder or option the user gave cannot be used (exit code 2)
      FormatError            not a file of a format we read, or a broken one
      AmbiguousLayoutError   fits two layouts: refused rather than guessed
      CountsError            the numbers inside break the rules of occupancy
      ConflictError          two sources disagree, or something stands in the way of a write
      UnknownNameError       an era, unit, channel or column that does not exist

The message is built from four parts, so that none can be forgotten: where, what was expected, what was found,
and the nearest fix.
"""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "AmbiguousLayoutError",
    "ConflictError",
    "CountsError",
    "FormatError",
    "InputError",
    "UnknownNameError",
    "nearest",
]


class InputError(Exception):
    """Something the user gave cannot be used.

    Parameters
    ----------
    where
        The file, folder, option or name at fault.
    expected
        What would have been accepted.
    found
        What was there instead.
    fix
        The nearest thing the user can do about it.

    Examples
    --------
    >>> print(InputError("run.root", "a ROOT file", "an empty file", "copy it again"))
    run.root: expected a ROOT file, found an empty file. Fix: copy it again.
    """

    def __init__(self, where: object, expected: str, found: str, fix: str) -> None:
        self.where = str(where)
        self.expected = expected
        self.found = found
        self.fix = fix
        super().__init__(f"{self.where}: expected {expected}, found {_ended(found)} Fix: {_ended(fix)}")

    def __reduce__(self) -> tuple[type, tuple[str, str, str, str]]:
        """Survive the trip between processes (an exception's own pickling forgets keyword-built messages)."""
        return type(self), (self.where, self.expected, self.found, self.fix)


def _ended(words: str) -> str:
    """Return words with a point at the end, unless they end in one or in a question."""
    return words if words.endswith((".", "?", "!")) else f"{words}."


class FormatError(InputError):
    """The file is not of a format that calowatch reads, or it is broken."""


class AmbiguousLayoutError(InputError):
    """The file fits two layouts, and nothing in it tells which: refused rather than guessed."""


class CountsError(InputError):
    """The numbers break the rules of occupancy: negative, not whole, or above the number of events."""


class ConflictError(InputError):
    """Two sources disagree, or something that must not be lost stands where a result should go."""


class UnknownNameError(InputError):
    """An era, unit, channel or column name that does not exist."""


def nearest(name: str, candidates: Iterable[str], most: int = 3) -> str:
    """Return the closest candidates as words for an error message.

    Parameters
    ----------
    name
        What the user wrote.
    candidates
        What exists.
    most
        How many to name.

    Examples
    --------
    >>> nearest("HEP7", ["HEP07", "HEM07", "HBP01"])
    'did you mean HEP07 or HEM07?'
    """
    close = get_close_matches(name, list(candidates), n=most, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else "no similar name exists"
