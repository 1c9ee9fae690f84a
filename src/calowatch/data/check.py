"""Proof, from what is stored and not from the recipe, that the sides of a data set share nothing."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.core.errors import ConflictError, InputError
from calowatch.core.progress import SILENT, Progress
from calowatch.data.cache import CachedRun
from calowatch.data.dataset import DataSet, SideCounts, Windows, open_dataset
from calowatch.data.preparation import Preparation

__all__ = ["Proof", "check_dataset"]

Ints = npt.NDArray[np.int64]

FIX = "prepare the data set again"

FEW_VALUES = 10
"""With fewer different counts, two lumisections may be equal by chance: all cells of HF count every event."""


@dataclass(frozen=True)
class Proof:
    """What was counted; every number of violations is zero, or `check_dataset` had raised.

    Parameters
    ----------
    n_ls, n_windows
        Per side.
    ls_on_two_sides
        Lumisections that are on two sides.
    windows_over_two_sides
        Windows that hold, or reach over, a lumisection of another side.
    guard, nearest
        Lumisection numbers that must lie between two sides of one run, and the fewest that do; ``None`` where no run
        is on two sides.
    runs_on_two_sides
        Runs that have lumisections on two sides. No violation, but such sides are alike: for an honest figure of how
        a model does on new data, split by whole runs.
    equal_counts
        Lumisections whose counts are found again, number for number, on another side.
    preparation
        ``"equal"``: refitted on the training side, it is what is stored.
    """

    n_ls: dict[str, int]
    n_windows: dict[str, int]
    ls_on_two_sides: int
    windows_over_two_sides: int
    guard: int
    nearest: int | None
    runs_on_two_sides: list[int]
    equal_counts: int
    preparation: str


def check_dataset(folder: Path | str, progress: Progress = SILENT) -> Proof:
    """Prove from the stored index that no lumisection, and no window over it, is on two sides.

    Also: every row number leads to the lumisection it stands for, the guard gap is kept, no lumisection's counts are
    found again on another side, and the stored preparation is what a fit on the training side alone gives.

    Parameters
    ----------
    folder
        The data set.
    progress
        Shows the reading of the runs.

    Raises
    ------
    ConflictError
        Naming the first offending run and lumisection.
    InputError
        When there is no data set, or its counts are gone.
    """
    data = open_dataset(folder)
    _check_ls(data)
    distance = _check_distance(data)
    _check_windows(data)
    used = sorted({*data.index["run"].tolist(), *data.windows.run.tolist()})
    runs = {run: data.run(run) for run in used if str(run) in data.manifest["store"]["runs"]}
    _check_rows(data, runs)
    _check_counts(data)
    equal = _check_twins(data, runs, progress)
    _check_preparation(data, runs)
    both = data.index.groupby("run")["side"].nunique()
    return Proof(
        n_ls={side: int((data.index["side"] == side).sum()) for side in data.sides},
        n_windows={side: len(data.windows.of(side)) for side in data.sides},
        ls_on_two_sides=0,
        windows_over_two_sides=0,
        guard=int(data.manifest["guard"]),
        nearest=distance,
        runs_on_two_sides=[int(run) for run in both.index[both > 1]],
        equal_counts=equal,
        preparation="equal",
    )


def _violation(data: DataSet, run: int, ls: int, found: str, expected: str) -> ConflictError:
    return ConflictError(f"{data.folder}: run {run} LS {ls}", expected, found, FIX)


def _check_ls(data: DataSet) -> None:
    twice = data.index[data.index.duplicated(["run", "ls"], keep=False)]
    if len(twice):
        one = twice.sort_values(["run", "ls"]).iloc[0]
        same = (twice["run"] == one["run"]) & (twice["ls"] == one["ls"])
        sides = " and ".join(twice.loc[same, "side"].tolist())
        raise _violation(data, one["run"], one["ls"], f"it on {sides}", "each lumisection on one side")
    strange = sorted(set(data.index["side"]) - set(data.sides))
    if strange:
        one = data.index[data.index["side"] == strange[0]].iloc[0]
        raise _violation(
            data, one["run"], one["ls"], repr(strange[0]), f"a side among {', '.join(data.sides)}"
        )


def _check_distance(data: DataSet) -> int | None:
    """Check the guard gap; return the fewest lumisection numbers between two sides of one run."""
    ordered = data.index.sort_values(["run", "ls"], kind="stable")
    run, ls = ordered["run"].to_numpy(), ordered["ls"].to_numpy()
    side = ordered["side"].to_numpy(str)
    # Neighbours in order are enough: lumisections of two sides are never closer than such a pair between them.
    pair = (run[1:] == run[:-1]) & (side[1:] != side[:-1])
    if not pair.any():
        return None
    between = np.where(pair, np.diff(ls) - 1, np.iinfo(np.int64).max)
    at, guard = int(between.argmin()), int(data.manifest["guard"])
    if between[at] < guard:
        raise _violation(
            data,
            run[at],
            ls[at],
            f"{side[at]} with {between[at]} between it and LS {ls[at + 1]} of {side[at + 1]}",
            f"a guard of {guard} lumisections between two sides",
        )
    return int(between[at])


def _check_windows(data: DataSet) -> None:
    """Check that every window holds lumisections of its side only and reaches over none of another."""
    windows = data.windows
    index = data.index.sort_values(["run", "ls"])
    place = pd.MultiIndex.from_frame(index[["run", "ls"]])
    length = windows.ls.shape[1]
    flat = pd.MultiIndex.from_arrays([np.repeat(windows.run, length), windows.ls.ravel()])
    at = place.get_indexer(flat).reshape(-1, length)
    sides = index["side"].to_numpy(str)
    wrong = (at < 0) | (sides[at] != windows.side[:, None])
    _refuse_window(data, windows, wrong, "lumisections of the window's own side")
    order = np.zeros_like(wrong)
    order[:, 1:] = np.diff(at, axis=1) <= 0
    _refuse_window(data, windows, order, "lumisections of a window in order")
    # Cumulative changes of side along the index: equal at both ends when nothing of another side lies between.
    changes = np.cumsum(np.r_[0, sides[1:] != sides[:-1]])
    over = np.zeros_like(wrong)
    over[:, -1] = changes[at[:, 0]] != changes[at[:, -1]]
    _refuse_window(data, windows, over, "windows that reach over no other side")


def _refuse_window(data: DataSet, windows: Windows, wrong: npt.NDArray[np.bool_], expected: str) -> None:
    if wrong.any():
        window, place = np.argwhere(wrong)[0]
        raise _violation(
            data,
            windows.run[window],
            windows.ls[window, place],
            f"another in window {window} ({windows.side[window]}), LS {' '.join(map(str, windows.ls[window]))}",
            expected,
        )


def _check_rows(data: DataSet, runs: dict[int, CachedRun]) -> None:
    """Check that the rows, which is what is read, are the lumisections they are said to be."""
    windows = data.windows
    for run in sorted({*data.index["run"].tolist(), *windows.run.tolist()}):
        part = data.index[data.index["run"] == run]
        mine = windows.run == run
        rows = np.concatenate([part["row"].to_numpy(np.int64), windows.rows[mine].ravel()])
        ls = np.concatenate([part["ls"].to_numpy(np.int64), windows.ls[mine].ravel()])
        held = runs[run].ls if run in runs else np.empty(0, np.int64)
        inside = (rows >= 0) & (rows < len(held))
        wrong = ~inside
        wrong[inside] = held[rows[inside]] != ls[inside]
        if wrong.any():
            at = int(wrong.argmax())
            raise _violation(
                data, run, int(ls[at]), f"row {rows[at]}, which is another", "the row of this LS"
            )


def _check_counts(data: DataSet) -> None:
    for side, told in data.manifest["splits"].items():
        found = (int((data.index["side"] == side).sum()), len(data.windows.of(side)))
        if found != (told["n_ls"], told["n_windows"]):
            raise ConflictError(
                f"{data.folder}: {side}",
                f"{told['n_ls']} LS and {told['n_windows']} windows, as the manifest says",
                f"{found[0]} and {found[1]}",
                FIX,
            )


def _check_twins(data: DataSet, runs: dict[int, CachedRun], progress: Progress) -> int:
    """Check that no counts are found again on another side, as after a run converted under two numbers."""
    seen: dict[bytes, tuple[str, int, int]] = {}
    groups = list(data.index.groupby("run"))
    for key, part in progress.track(groups, "comparing counts", len(groups)):
        run = int(str(key))
        cached = runs[run]
        columns = data.columns(cached)
        for row, ls, side in zip(part["row"], part["ls"], part["side"], strict=True):
            counts = cached.counts[row][columns].astype(np.int32)
            if len(np.unique(counts)) < FEW_VALUES:
                continue
            first = seen.setdefault(
                hashlib.blake2b(counts.tobytes(), digest_size=16).digest(), (side, run, ls)
            )
            if first[0] != side:
                raise _violation(
                    data,
                    run,
                    ls,
                    f"it on {side} and the same counts as run {first[1]} LS {first[2]} on {first[0]}",
                    "counts that are on one side only",
                )
    return 0


def _check_preparation(data: DataSet, runs: dict[int, CachedRun]) -> None:
    stored = data.preparation
    train = SideCounts(data.index[data.index["side"] == "train"], runs, stored.channel)
    difference = stored.difference(Preparation(stored.steps, stored.channel, stored.mask).fit(train))
    if difference:
        raise InputError(
            f"{data.folder}: preparation", "what a fit on the training side gives", difference, FIX
        )
