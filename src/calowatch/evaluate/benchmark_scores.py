"""Anybody's predictions from files: refused unless it is plain which score belongs to which window and channel."""

import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.core.errors import FormatError, InputError

__all__ = ["BROKEN", "read_scores"]

_KINDS = "fiub"
_LONG = ("window", "channel", "score")
_ORDER = "give one score per window of test.npz and channel of channels.csv, in their order"
BROKEN = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    SyntaxError,
    RuntimeError,
    MemoryError,
    TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What readers raise on files that are cut or changed."""


def read_scores(path: Path | str, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return predictions: one score per test window and channel, larger for more suspicious.

    Parameters
    ----------
    path
        ``.npy``; ``.npz`` or HDF5 with one array or one called ``scores``; Parquet with a row per window and columns
        ``0``, ``1``... in the order of channels.csv, or with columns ``window``, ``channel`` (their rows in test.npz
        and channels.csv, from 0) and ``score``, each pair once.
    shape
        Windows and channels.

    Raises
    ------
    FormatError
        When the file is none of these, or broken.
    InputError
        When there is no such file, the shape, the type or the numbering is another, or a score is not finite.
    """
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise InputError(path, "a file of scores", found, "give the path of your predictions")
    try:
        raw = _read(path)
    except BROKEN as error:
        fix = "write it again with numpy.savez(FILE, scores=scores)"
        raise FormatError(
            path, "scores as npy, npz, HDF5 or Parquet", f"something else ({_words(error)})", fix
        ) from error
    if isinstance(raw, pd.DataFrame):
        raw = _of_long(path, raw, shape) if set(_LONG) <= set(raw.columns) else _of_wide(path, raw, shape)
    return _checked(path, raw, shape)


def _words(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _read(path: Path) -> npt.NDArray[np.generic] | pd.DataFrame:
    if path.suffix == ".npy":
        return np.asarray(np.load(path, allow_pickle=False))
    if path.suffix == ".npz":
        if not zipfile.is_zipfile(path):
            raise ValueError("no zip archive, or one cut short")
        # numpy leaves a broken archive open that it opened itself.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return np.asarray(arrays[_only(list(arrays.files))])
    if path.suffix in (".h5", ".hdf5"):
        with h5py.File(path) as file:
            return np.asarray(file[_only(list(file))][()])
    if path.suffix in (".parquet", ".pq"):
        return pd.read_parquet(path)
    raise ValueError(f"{path.suffix or 'no'} ending")


def _only(names: list[str]) -> str:
    if "scores" in names:
        return "scores"
    if len(names) != 1:
        raise KeyError(f"one array, or one called scores, among {', '.join(names) or 'nothing'}")
    return names[0]


def _checked(path: Path, values: npt.NDArray[np.generic], shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    if values.dtype.kind not in _KINDS:
        raise InputError(path, "real numbers", f"scores of type {values.dtype}", "write them as float32")
    if values.shape != shape:
        raise InputError(path, f"scores of shape {shape}: windows, channels", str(values.shape), _ORDER)
    numbers = values.astype(np.float64)
    wrong = ~np.isfinite(numbers)
    if wrong.any():
        missing = int(np.isnan(numbers).sum())
        infinite = int(wrong.sum()) - missing
        found = " and ".join(f"{n} {name}" for n, name in ((missing, "NaN"), (infinite, "infinite")) if n)
        fix = "give your lowest score where you have no verdict, and a large number for infinity"
        raise InputError(path, "a finite number everywhere", found, fix)
    return numbers


def _of_wide(path: Path, table: pd.DataFrame, shape: tuple[int, int]) -> npt.NDArray[np.generic]:
    """Return the scores of a table with a row per window and a column per channel."""
    _numeric(path, table)
    if table.shape != shape:
        expected = f"{shape[0]} rows and {shape[1]} columns, or columns {', '.join(_LONG)}"
        found = f"{table.shape[0]} rows and {table.shape[1]} columns"
        raise InputError(path, expected, found, _ORDER)
    names = [str(name) for name in table.columns]
    other = next((i for i, name in enumerate(names) if name != str(i)), None)
    if other is not None:
        expected = f"columns 0 to {shape[1] - 1} in the order of channels.csv"
        fix = "name each column by its row in channels.csv, counted from 0"
        raise InputError(path, expected, f"{names[other]!r} as column {other}", fix)
    if not np.array_equal(table.index, np.arange(shape[0])):
        found = f"rows called {table.index[0]!r} to {table.index[-1]!r}, or in another order"
        raise InputError(
            path, f"windows 0 to {shape[0] - 1} in order", found, "sort them and reset the index"
        )
    return _plain(table)


def _of_long(path: Path, table: pd.DataFrame, shape: tuple[int, int]) -> npt.NDArray[np.generic]:
    """Return the scores of a table with a row per window and channel, in any order."""
    table = table[list(_LONG)]
    _numeric(path, table)
    place = []
    for name, n in zip(_LONG[:2], shape, strict=True):
        if table[name].dtype.kind not in "iu" or table[name].isna().any():
            found = f"{table[name].dtype}, {int(table[name].isna().sum())} missing"
            raise InputError(path, f"whole numbers as {name}", found, "write them as int64")
        ids = table[name].to_numpy(np.int64)
        if len(ids) and not (ids.min() == 0 and ids.max() == n - 1):
            fix = f"number each {name} by its row, counted from 0"
            raise InputError(path, f"{name} 0 to {n - 1}", f"{ids.min()} to {ids.max()}", fix)
        place.append(ids)
    times = np.bincount(place[0] * shape[1] + place[1], minlength=shape[0] * shape[1])
    if (times != 1).any():
        window, channel = np.unravel_index(np.flatnonzero(times != 1)[0], shape)
        found = f"{int((times == 0).sum())} without a row and {int((times > 1).sum())} with more"
        found += f", the first at window {window}, channel {channel}"
        raise InputError(path, "one row for each window and channel", found, _ORDER)
    scores = np.empty(shape, np.float64)
    scores[place[0], place[1]] = _plain(table[["score"]])[:, 0]
    return scores


def _numeric(path: Path, table: pd.DataFrame) -> None:
    for name, kind in table.dtypes.items():
        if kind.kind not in _KINDS:
            fix = "write numbers, and nothing but the scores"
            raise InputError(path, "columns of real numbers", f"{kind} in column {name!r}", fix)


def _plain(table: pd.DataFrame) -> npt.NDArray[np.generic]:
    return np.asarray(table.to_numpy(np.float64, na_value=np.nan))
