"""Progress of long work, handed in by the caller: the library is silent unless somebody wants to look."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

__all__ = ["SILENT", "Progress", "SilentProgress"]

T = TypeVar("T")


class Progress(Protocol):
    """What long work needs of whoever watches it."""

    def track(self, items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        """Yield the items, showing how many of ``total`` are done."""
        ...

    def note(self, message: str) -> None:
        """Tell the user one thing worth knowing, such as a run number taken from a file name."""
        ...


class SilentProgress:
    """Shows nothing, and remembers the notes (tests and libraries read them).

    Examples
    --------
    >>> progress = SilentProgress()
    >>> list(progress.track([1, 2], "adding"))
    [1, 2]
    """

    def __init__(self) -> None:
        self.notes: list[str] = []

    def track(self, items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:  # noqa: ARG002
        """Yield the items."""
        yield from items

    def note(self, message: str) -> None:
        """Remember the message."""
        self.notes.append(message)


class _Silent(SilentProgress):
    """The shared default: it must not remember, or it would grow for ever."""

    def note(self, message: str) -> None:
        """Drop the message."""


SILENT: Progress = _Silent()
