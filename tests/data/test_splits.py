"""Whatever the recipe, no lumisection and no window over it is on two sides."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calowatch.core.errors import InputError, UnknownNameError
from calowatch.core.recipe import SIDES, Blocks, Eras, LsRanges, Shares, WholeRuns, Window
from calowatch.data.splits import assign_sides, find_windows, guard_of, require_sides, window_rows

RUNS = {319077: "2018", 355456: "run3", 355680: "run3"}


@st.composite
def indices(draw):
    parts = []
    for run, era in RUNS.items():
        ls = sorted(draw(st.sets(st.integers(1, 120), min_size=5, max_size=80)))
        parts.append(pd.DataFrame({"run": run, "era": era, "ls": ls, "row": range(len(ls))}))
    return pd.concat(parts, ignore_index=True)


@st.composite
def splits(draw):
    kind = draw(st.sampled_from(["ls_range", "blocks", "run", "era"]))
    if kind == "ls_range":
        a, b, c = sorted(draw(st.lists(st.integers(2, 118), min_size=3, max_size=3, unique=True)))
        train, test = (f"1-{a}", f"{b + 1}-{c}"), f"{a + 1}-{b}"
        return LsRanges(by="ls_range", train=[train[0], train[1]], test=test, validation=f"{c + 1}-")
    if kind == "blocks":
        share = draw(st.floats(0.1, 0.8))
        shares = Shares(train=share, validation=0.9 - share, test=0.1)
        return Blocks(
            by="blocks", length=draw(st.integers(1, 20)), guard=draw(st.integers(0, 9)), shares=shares
        )
    if kind == "run":
        return WholeRuns(by="run", train=["319077", "355600-355700"], test=355456)
    return Eras(by="era", train=["2018"], test=["run3"])


windows = st.builds(
    Window,
    length=st.integers(1, 6),
    stride=st.none() | st.integers(1, 6),
    max_gap=st.integers(0, 12),
)


@settings(deadline=None)
@given(indices(), splits(), windows, st.integers(0, 99))
def test_sides_share_nothing(index, split, window, seed):
    index["side"] = assign_sides(index, split, seed)
    used = index[index["side"] != ""].reset_index(drop=True)
    assert set(used["side"]) <= set(SIDES)
    try:
        table, rows = find_windows(used, window)
    except InputError:
        return
    held = {side: set() for side in SIDES}
    for run, side, at in zip(table["run"], table["side"], rows, strict=True):
        ls = used["ls"].to_numpy()[at]
        assert set(used["run"].to_numpy()[at]) == {run}
        assert set(used["side"].to_numpy(str)[at]) == {side}
        assert (np.diff(ls) >= 1).all()
        assert (np.diff(ls) <= 1 + window.max_gap).all()
        held[side] |= {(run, reached) for reached in range(ls[0], ls[-1] + 1)}
    members = {side: set(zip(part["run"], part["ls"], strict=True)) for side, part in used.groupby("side")}
    for side in SIDES:
        for other in set(SIDES) - {side}:
            assert not held[side] & members.get(other, set())


@settings(deadline=None)
@given(indices(), st.integers(1, 20), st.integers(0, 9), st.integers(0, 99))
def test_blocks_keep_their_guard(index, length, guard, seed):
    split = Blocks(by="blocks", length=length, guard=guard)
    index["side"] = assign_sides(index, split, seed)
    assert guard_of(split) == guard
    for _, part in index[index["side"] != ""].groupby("run"):
        changes = part["side"].to_numpy()[1:] != part["side"].to_numpy()[:-1]
        assert (np.diff(part["ls"])[changes] > guard).all()


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(0, 20))
def test_blocks_are_dealt_by_their_shares(n_blocks, seed):
    index = pd.DataFrame({"run": 355456, "era": "run3", "ls": np.arange(1, n_blocks + 1)})
    sides = assign_sides(index, Blocks(by="blocks", length=1, guard=0), seed)
    counts = {side: int((sides == side).sum()) for side in SIDES}
    assert sum(counts.values()) == n_blocks
    assert all(abs(counts[side] - share * n_blocks) < 2 for side, share in (("train", 0.7), ("test", 0.15)))
    assert n_blocks < 3 or min(counts.values()) >= 1


def test_blocks_follow_the_seed():
    index = pd.DataFrame({"run": 355456, "era": "run3", "ls": np.arange(1, 500)})
    split = Blocks(by="blocks", length=5, guard=1)
    first, again, other = (assign_sides(index, split, seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_the_published_windows():
    """Length 5 one after the other: LS 496-500 is the last of train, 501-505 the first of test."""
    ls = np.arange(1, 1001)
    sides = np.where(ls <= 500, "train", "test")
    rows = window_rows(ls, sides, Window(length=5))
    assert len(rows) == 200
    assert ls[rows[99]].tolist() == [496, 497, 498, 499, 500]
    assert ls[rows[100]].tolist() == [501, 502, 503, 504, 505]


def test_gaps_break_windows_unless_allowed():
    ls, sides = np.array([1, 2, 4, 5, 8]), np.repeat("train", 5)
    assert window_rows(ls, sides, Window(length=3, stride=1)).tolist() == []
    assert window_rows(ls, sides, Window(length=3, stride=1, max_gap=1)).tolist() == [[0, 1, 2], [1, 2, 3]]
    assert len(window_rows(ls, sides, Window(length=3, stride=1, max_gap=2))) == 3
    assert window_rows(ls, np.repeat("", 5), Window()).shape == (0, 1)


def test_what_cannot_be_split_is_refused():
    index = pd.DataFrame({"run": 355456, "era": "run3", "ls": [1, 2, 3], "side": "train"})
    with pytest.raises(UnknownNameError, match="run3"):
        assign_sides(index, Eras(by="era", train=["run4"]), 0)
    split = LsRanges(by="ls_range", train="1-3", test="4-")
    with pytest.raises(InputError, match=r"none on test \(train 3, test 0 LS\)"):
        require_sides(assign_sides(index, split, 0), split, "mine.toml")
    with pytest.raises(InputError, match=r"none on train: the longest has 3 \(run 355456\)"):
        find_windows(index, Window(length=4))
