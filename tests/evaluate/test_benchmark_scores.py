"""Predictions from files: every format says the same, and whatever is not plain is refused with words."""

import h5py
import numpy as np
import pandas as pd
import pytest

from calowatch.core.errors import FormatError, InputError
from calowatch.evaluate.benchmark_scores import read_scores

SHAPE = (40, 50)


@pytest.fixture
def scores():
    return np.random.default_rng(1).random(SHAPE)


@pytest.fixture
def long(scores):
    window, channel = np.indices(SHAPE)
    return pd.DataFrame({"window": window.ravel(), "channel": channel.ravel(), "score": scores.ravel()})


@pytest.fixture
def wide(scores):
    return pd.DataFrame(scores, columns=[str(i) for i in range(SHAPE[1])])


def test_every_format_says_the_same(scores, long, wide, tmp_path):
    np.save(tmp_path / "a.npy", scores)
    np.savez(tmp_path / "b.npz", anything=scores)
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["scores"] = scores
        file["notes"] = [1, 2]
    wide.to_parquet(tmp_path / "d.parquet")
    long.assign(note="x").sample(frac=1.0, random_state=1).to_parquet(tmp_path / "e.parquet")
    for path in sorted(tmp_path.iterdir()):
        np.testing.assert_array_equal(read_scores(path, SHAPE), scores)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.int8, np.uint64, np.bool_])
def test_every_real_type_will_do(kind, tmp_path):
    np.save(tmp_path / "x.npy", np.ones(SHAPE, kind))
    assert read_scores(tmp_path / "x.npy", SHAPE).sum() == np.prod(SHAPE)


def _refused(path, words, error=InputError):
    with pytest.raises(error, match=words) as caught:
        read_scores(path, SHAPE)
    assert path.name in str(caught.value)
    assert "Fix:" in str(caught.value)


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    _refused(tmp_path / "x.npz", "no such file")
    _refused(tmp_path, "a folder")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_broken_archive_is_refused(scores, tmp_path, save):
    path = tmp_path / "x.npz"
    save(path, scores=scores)
    whole = path.read_bytes()
    for broken in (b"", b"no zip" * 20, whole[: len(whole) // 2], whole[:-30]):
        path.write_bytes(broken)
        _refused(path, "numpy.savez", FormatError)
    # Wherever bytes are flipped the file is refused, or they were of no consequence.
    for at in [
        *range(0, 400, 7),
        *range(400, len(whole) - 8, 997),
        *range(len(whole) - 200, len(whole) - 8, 7),
    ]:
        path.write_bytes(whole[:at] + bytes(255 - byte for byte in whole[at : at + 8]) + whole[at + 8 :])
        try:
            found = read_scores(path, SHAPE)
        except InputError:
            continue
        np.testing.assert_array_equal(found, scores)


@pytest.mark.parametrize("name", ["x.npy", "x.h5", "x.parquet"])
def test_a_broken_file_is_refused(scores, wide, tmp_path, name):
    path = tmp_path / name
    if name == "x.npy":
        np.save(path, scores)
    elif name == "x.h5":
        with h5py.File(path, "w") as file:
            file["scores"] = scores
    else:
        wide.to_parquet(path)
    whole = path.read_bytes()
    for broken in (b"", b"nothing of the kind", whole[: len(whole) // 2]):
        path.write_bytes(broken)
        _refused(path, "something else", FormatError)


def test_what_holds_no_scores_is_refused(scores, tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, a=scores, b=scores)
    _refused(path, "one called scores", FormatError)
    np.savez(path)
    _refused(path, "nothing", FormatError)
    np.savez(path, scores=scores.astype(object))
    _refused(path, "allow_pickle", FormatError)
    (tmp_path / "x.csv").write_text("1,2")
    _refused(tmp_path / "x.csv", "csv", FormatError)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_group("scores")
    _refused(tmp_path / "x.h5", "something else", FormatError)


def test_other_shapes_and_numbers_that_are_none_are_refused(scores, tmp_path):
    path = tmp_path / "x.npy"
    for other in (scores.T, scores[:, None], scores[:-1]):
        np.save(path, other)
        _refused(path, "windows, channels")
    holes = scores.copy()
    holes[0, :2] = np.nan
    np.save(path, holes)
    _refused(path, "2 NaN")
    holes[1, 0] = np.inf
    np.save(path, holes)
    _refused(path, "2 NaN and 1 infinite")


@pytest.mark.parametrize(
    "values",
    [
        np.ones(SHAPE, np.complex128),
        np.zeros(SHAPE, "M8[s]"),
        np.zeros(SHAPE, "m8[s]"),
        np.zeros(SHAPE, [("a", "f8")]),
        np.full(SHAPE, "1"),
        np.full(SHAPE, b"1"),
    ],
    ids=lambda values: str(values.dtype),
)
def test_other_types_are_refused(values, tmp_path):
    np.save(tmp_path / "x.npy", values)
    _refused(tmp_path / "x.npy", "type")


def test_rows_that_say_not_what_is_where_are_refused(long, tmp_path):
    path = tmp_path / "x.parquet"
    cases = {
        "0 without a row and 2000 with more": pd.concat([long, long.assign(score=9.0)]),
        "1 without a row and 1 with more, the first at window 39, channel 48": long.assign(
            channel=[*long["channel"][:-1], 48]
        ),
        "1 without a row and 0 with more, the first at window 0, channel 3": long.drop(index=3),
        "window 0 to 39, found 1 to 40": long.assign(window=long["window"] + 1),
        "channel 0 to 49, found 1 to 50": long.assign(channel=long["channel"] + 1),
        "channel 0 to 49, found 0 to 490": long.assign(channel=long["channel"] * 10),
        "whole numbers as window": long.assign(window=long["window"].astype(float)),
        "column 'channel'": long.assign(channel=long["channel"].astype(str)),
        "column 'score'": long.assign(score="x"),
        "1 NaN": long.assign(score=long["score"].mask(long.index == 7).astype("Float64")),
        "2000 without a row": long.iloc[:0],
    }
    for words, table in cases.items():
        table.to_parquet(path)
        _refused(path, words)


def test_columns_that_say_not_what_is_where_are_refused(wide, tmp_path):
    path = tmp_path / "x.parquet"
    swapped = ["1", "0", *wide.columns[2:]]
    cases = {
        "'1' as column 0": wide[swapped],
        "'HE' as column 0": wide.set_axis(["HE", *wide.columns[1:]], axis=1),
        "51 columns": wide.assign(window=range(SHAPE[0])),
        "39 rows": wide.iloc[:-1],
        "another order": wide.sample(frac=1.0, random_state=2),
        "column '4'": wide.assign(**{"4": "x"}),
    }
    for words, table in cases.items():
        table.to_parquet(path)
        _refused(path, words)
