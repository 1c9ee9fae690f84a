"""What the command line shows while it works (on stderr) and hands to other programs (on stdout)."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import typer

from calowatch.core.progress import Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars

__all__ = ["BarProgress", "LineProgress", "print_json", "results_console", "terminal_progress"]

T = TypeVar("T")

MOMENT = 0.5  # seconds: work shorter than this leaves no trace on the screen
QUARTERS = 4


def results_console(*, highlight: bool = True) -> "Console":
    """Return the console that prints results on stdout.

    Rich leaves with exit code 1 when whoever read the output stopped reading, which would be taken for an alarm; this
    one lets the program say so itself.
    """
    from rich.console import Console

    class Results(Console):
        def on_broken_pipe(self) -> None:
            """Raise what other writes to a closed pipe raise."""
            raise BrokenPipeError

    return Results(highlight=highlight)


def _length(items: Iterable[Any], total: int | None) -> int | None:
    if total is not None:
        return total
    return len(items) if isinstance(items, Sized) else None


class BarProgress:
    """Bars that move, for a person at a terminal; nested work gets a bar each.

    Parameters
    ----------
    quiet
        Show no bars; notes still appear.
    clock
        Seconds, for tests.
    """

    def __init__(self, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._quiet = quiet
        self._clock = clock
        self._bars: Bars | None = None
        self._running = 0

    def _open(self) -> "Bars":
        """Return the one live display, started with the outermost work: a terminal can show no second."""
        from rich import progress as parts

        if self._bars is None:
            self._bars = parts.Progress(
                parts.TextColumn("{task.description}", markup=False),
                parts.BarColumn(),
                parts.TaskProgressColumn(show_speed=True),
                parts.TimeElapsedColumn(),
                parts.TimeRemainingColumn(),
                console=self._console,
            )
            self._bars.start()
        self._running += 1
        return self._bars

    def _close(self) -> None:
        self._running -= 1
        if self._running == 0 and self._bars is not None:
            self._bars.stop()
            self._bars = None

    def track(self, items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        """Yield the items and move a bar."""
        if self._quiet:
            yield from items
            return
        bars, began = self._open(), self._clock()
        task = bars.add_task(label, total=_length(items, total))
        try:
            for item in items:
                yield item
                bars.advance(task)
        finally:
            if self._clock() - began < MOMENT:
                bars.remove_task(task)
            self._close()

    def note(self, message: str) -> None:
        """Print the message above the bars."""
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)


class LineProgress:
    """Plain lines at start, at each quarter and at the end, for logs: no control characters.

    Parameters
    ----------
    quiet
        Print no progress; notes still appear.
    stream
        Where to print; by default stderr as it is when a line is printed.
    clock
        Seconds, for tests.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quiet = quiet
        self._stream = stream
        self._clock = clock

    def track(self, items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        """Yield the items and print a line per quarter; quarters that pass within a moment share one line."""
        if self._quiet:
            yield from items
            return
        length = _length(items, total)
        self.note(f"{label} ...")
        began = printed = self._clock()
        quarter = 0
        for done, item in enumerate(items, start=1):
            yield item
            reached = QUARTERS * done // length if length else 0
            now = self._clock()
            if quarter < reached < QUARTERS and now - printed >= MOMENT:
                self.note(f"{label}: {100 * reached // QUARTERS} %")
                quarter, printed = reached, now
        self.note(f"{label}: 100 % ({self._clock() - began:.1f} s)")

    def note(self, message: str) -> None:
        """Print the message as one line."""
        print(message, file=self._stream or sys.stderr, flush=True)


def terminal_progress(quiet: bool = False) -> Progress:
    """Return what shows progress and notes on stderr: bars on a terminal, plain lines in a log.

    Parameters
    ----------
    quiet
        Show no progress; notes still appear.
    """
    return BarProgress(quiet=quiet) if sys.stderr.isatty() else LineProgress(quiet=quiet)


def _plain(value: object) -> object:
    """Turn what JSON does not know (numpy scalars and arrays, paths) into what it does."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def print_json(content: object) -> None:
    """Print ``content`` on stdout as JSON, for another program to read.

    Raises
    ------
    ValueError
        For NaN or infinity, which JSON does not have.

    Examples
    --------
    >>> print_json({"run": 362760, "verdicts": []})
    {
     "run": 362760,
     "verdicts": []
    }
    """
    typer.echo(json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False, default=_plain))
