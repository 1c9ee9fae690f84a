"""Which lumisection is on which side of a split, and which of them make a window."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.core.errors import InputError, UnknownNameError, nearest
from calowatch.core.recipe import SIDES, Blocks, Eras, LsRanges, Shares, Split, WholeRuns, Window, in_spans
from calowatch.detector.segmentation import ERAS

__all__ = ["assign_sides", "find_windows", "guard_of", "require_sides", "window_rows"]

Ints = npt.NDArray[np.int64]
Names = npt.NDArray[np.str_]

NO_SIDE = ""


def guard_of(split: Split) -> int:
    """Return how many lumisection numbers must lie between two sides of one run."""
    return split.guard if isinstance(split, Blocks) else 0


def wanted_sides(split: Split) -> list[str]:
    """Return the sides that a split names, in order."""
    if isinstance(split, Blocks):
        return [side for side in SIDES if getattr(split.shares, side) > 0]
    return [side for side in SIDES if getattr(split, side)]


def assign_sides(index: pd.DataFrame, split: Split, seed: int) -> Names:
    """Return the side of each lumisection, ``""`` for those on none.

    Parameters
    ----------
    index
        One row per lumisection, with ``run``, ``era`` and ``ls``.
    split
        The recipe's split.
    seed
        Deals blocks to the sides.

    Raises
    ------
    UnknownNameError
        When the split names an era that does not exist.
    """
    if isinstance(split, LsRanges | WholeRuns):
        column = "ls" if isinstance(split, LsRanges) else "run"
        return _by_spans(index[column].to_numpy(), split)
    if isinstance(split, Eras):
        return _by_era(index["era"].to_numpy(str), split)
    return _by_blocks(index, split, seed)


def _blank(length: int) -> Names:
    return np.full(length, NO_SIDE, dtype="U10")


def _by_spans(numbers: Ints, split: LsRanges | WholeRuns) -> Names:
    sides = _blank(len(numbers))
    for side in wanted_sides(split):
        sides[[in_spans(int(number), getattr(split, side)) for number in numbers]] = side
    return sides


def _by_era(eras: Names, split: Eras) -> Names:
    sides = _blank(len(eras))
    for side in wanted_sides(split):
        for era in getattr(split, side):
            if era not in ERAS:
                raise UnknownNameError(
                    f"split.{side}", f"eras among {', '.join(ERAS)}", repr(era), nearest(era, ERAS)
                )
            sides[eras == era] = side
    return sides


def _by_blocks(index: pd.DataFrame, split: Blocks, seed: int) -> Names:
    """Deal blocks of all runs together, so that short runs do not starve a side."""
    first = index.groupby("run")["ls"].transform("min").to_numpy()
    place = index["ls"].to_numpy() - first
    block, inside = np.divmod(place, split.length + split.guard)
    kept = inside < split.length
    pairs = pd.MultiIndex.from_arrays([index["run"].to_numpy()[kept], block[kept]])
    codes, blocks = pairs.factorize(sort=True)
    sides = _blank(len(index))
    sides[kept] = _deal(len(blocks), split.shares, seed)[codes]
    return sides


def _deal(n_blocks: int, shares: Shares, seed: int) -> Names:
    """Return the side of each block: nearest to the shares, at least one per side where there are enough."""
    named = [side for side in SIDES if getattr(shares, side) > 0]
    exact = np.array([getattr(shares, side) for side in named]) * n_blocks
    n_each = np.floor(exact).astype(int)
    if n_blocks >= len(named):
        n_each = np.maximum(n_each, 1)
    while n_each.sum() != n_blocks:
        short = exact - n_each
        step = 1 if n_each.sum() < n_blocks else -1
        n_each[np.argmax(np.where((n_each > 1) | (step > 0), step * short, -np.inf))] += step
    dealt = _blank(n_blocks)
    dealt[np.random.default_rng(seed).permutation(n_blocks)] = np.repeat(named, n_each)
    return dealt


def require_sides(sides: Sequence[str] | Names, split: Split, where: str) -> None:
    """Raise if a side that the split names has no lumisection.

    Raises
    ------
    InputError
        Naming the side.
    """
    counts = {side: int((np.asarray(sides) == side).sum()) for side in wanted_sides(split)}
    empty = [side for side, count in counts.items() if not count]
    if empty:
        have = ", ".join(f"{side} {count}" for side, count in counts.items())
        raise InputError(
            f"{where}: split",
            "lumisections on every side it names",
            f"none on {' and '.join(empty)} ({have} LS)",
            "widen its ranges or select.runs, or lower select.min_events",
        )


def window_rows(ls: Ints, sides: Names, window: Window) -> Ints:
    """Return the windows of one run as positions in its lumisections; shape (window, length).

    A window holds lumisections of one side only, none of another side lies between its first and last, and no more
    than ``window.max_gap`` are missing between two neighbours.

    Parameters
    ----------
    ls
        Increasing numbers of the lumisections that are used, shape (ls,).
    sides
        Side of each, shape (ls,); those on none break no window.
    window
        Length and stride.

    Examples
    --------
    >>> window_rows(np.array([1, 2, 3, 5, 6]), np.repeat("train", 5), Window(length=2, stride=1)).tolist()
    [[0, 1], [1, 2], [3, 4]]
    """
    used = np.flatnonzero(sides != NO_SIDE)
    if not used.size:
        return np.empty((0, window.length), dtype=np.int64)
    apart = np.diff(ls[used]) > 1 + window.max_gap
    breaks = np.flatnonzero(apart | (sides[used][1:] != sides[used][:-1])) + 1
    stride = window.stride or window.length
    starts = [
        np.arange(first, last - window.length + 1, stride)
        for first, last in zip([0, *breaks], [*breaks, len(used)], strict=True)
    ]
    rows: Ints = used[np.concatenate(starts)[:, None] + np.arange(window.length)]
    return rows


def find_windows(index: pd.DataFrame, window: Window) -> tuple[pd.DataFrame, Ints]:
    """Return all windows: their ``run`` and ``side``, and their positions in ``index``, shape (window, length).

    Raises
    ------
    InputError
        When a side has no stretch of lumisections as long as a window.
    """
    sides = index["side"].to_numpy(str)
    ls, runs = index["ls"].to_numpy(np.int64), index["run"].to_numpy(np.int64)
    pieces = [np.empty((0, window.length), dtype=np.int64)]
    for run in np.unique(runs):
        positions = np.flatnonzero(runs == run)
        pieces.append(positions[window_rows(ls[positions], sides[positions], window)])
    rows = np.concatenate(pieces)
    table = pd.DataFrame({"run": runs[rows[:, 0]], "side": sides[rows[:, 0]]})
    empty = sorted(set(sides.tolist()) - {NO_SIDE} - set(table["side"]))
    if empty:
        raise InputError(
            "window.length",
            f"a stretch of {window.length} lumisections on every side",
            f"none on {' and '.join(empty)}: {_longest(index, empty[0], window)}",
            "take shorter windows, or allow more window.max_gap",
        )
    return table, rows


def _longest(index: pd.DataFrame, side: str, window: Window) -> str:
    longest: tuple[int, Any] = (0, 0)
    for run, part in index[index["side"] == side].groupby("run"):
        breaks = np.flatnonzero(np.diff(part["ls"].to_numpy()) > 1 + window.max_gap) + 1
        longest = max(longest, (int(np.diff([0, *breaks, len(part)]).max()), run))
    return f"the longest has {longest[0]} (run {longest[1]})"
