"""Parquet files of jet images, a few jets at a time: every column is of the type that it should be, or is refused."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from calowatch.core.errors import CountsError, FormatError
from calowatch.io.jets_lists import flat_images

__all__ = ["COLUMNS", "EXPECTED", "ROWS_AT_ONCE", "image_blocks", "jet_labels", "jet_table", "open_parquet"]

Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

COLUMNS = ("X_jets", "pt", "m0", "y")
EXPECTED = "a Parquet file with columns X_jets, pt, m0 and y"
ROWS_AT_ONCE = 16
"""6 MB of 64-bit floats, three times that while they are decoded."""

_FIX = "give files such as QCDToGGQQ_IMGjet_RH1all_jet0_run0_n36272.test.snappy.parquet"
_BLOCK = "chunk"
_OURS = ("source", "position", "block", "__index_level_0__")
"""Columns that the reader fills itself; a file's own ones of these names are left out."""


def open_parquet(path: Path) -> pq.ParquetFile:
    """Open a file of jet images, and check which columns it has and of what types.

    Raises
    ------
    FormatError
        When it is no Parquet, or a column is missing, there twice, or not of numbers.
    """
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise FormatError(path, EXPECTED, f"something else ({error})", _FIX) from error
    names = file.schema_arrow.names
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise FormatError(path, EXPECTED, f"no column {', '.join(missing)}", _FIX)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FormatError(path, "each column once", f"{', '.join(twice)} more than once", "drop one of them")
    for name in (*COLUMNS[1:], *({_BLOCK} & set(names))):
        _check_type(path, file.schema_arrow.field(name))
    return file


def _check_type(path: Path, column: Any) -> None:
    kind = column.type
    flag = column.name == "y" and pa.types.is_boolean(kind)
    if not (flag or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise FormatError(
            path,
            f"one number per jet in the column {column.name}",
            f"{kind}",
            f"write {column.name} as plain numbers",
        )


def image_blocks(path: Path, file: pq.ParquetFile) -> Iterator[tuple[Singles, int]]:
    """Yield images, flattened to (jet, pixel), and how many of them were turned.

    Raises
    ------
    FormatError
        For images of another shape, of more than one orientation, and damage.
    """
    row, axis = 0, None
    try:
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=["X_jets"], use_threads=False):
            images, found = flat_images(path, batch.column(0), row)
            if axis is not None and found != axis:
                raise FormatError(
                    path,
                    f"the channel as axis {axis} of all images, as in the first of them",
                    f"it as axis {found} from jet {row} on",
                    "give files of one orientation each",
                )
            axis = found
            yield images, len(images) if found else 0
            row += len(batch)
    except (OSError, pa.ArrowException) as error:
        raise FormatError(
            path, "a whole file", f"damage after jet {row} ({error})", "copy it again"
        ) from error


def _columns(path: Path, file: pq.ParquetFile, names: Sequence[str]) -> Any:
    try:
        return file.read(columns=list(names))
    except (OSError, pa.ArrowException) as error:
        found = f"damage in one of the columns {', '.join(names)} ({error})"
        raise FormatError(path, "a whole file", found, "copy it again") from error


def jet_labels(path: Path, file: pq.ParquetFile) -> Ints:
    """Return the labels of all jets.

    Raises
    ------
    CountsError
        When they are not 0 and 1.
    """
    labels = np.asarray(_columns(path, file, ["y"]).column(0).cast(pa.float64(), safe=False), np.float64)
    if not np.isin(labels, (0, 1)).all():
        found = ", ".join(f"{value:g}" for value in np.unique(labels)[:4])
        raise CountsError(path, "labels 0 (gluon) and 1 (quark) in y", found, "correct y")
    return labels.astype(np.int64)


def jet_table(path: Path, file: pq.ParquetFile, rows: Ints) -> pd.DataFrame:
    """Return all plain columns of some jets, with ``position`` and ``block`` in front.

    Raises
    ------
    FormatError
        When chunks of generation are not whole numbers.
    """
    plain = [
        field.name
        for field in file.schema_arrow
        if not pa.types.is_nested(field.type) and field.name not in _OURS
    ]
    columns: pd.DataFrame = _columns(path, file, plain).to_pandas(ignore_metadata=True).iloc[rows]
    table = columns.assign(y=jet_labels(path, file)[rows]).reset_index(drop=True)
    block = _chunks(path, table.pop(_BLOCK).to_numpy(np.float64)) if _BLOCK in table else -1
    table.insert(0, "position", rows)
    table.insert(1, "block", block)
    return table


def _chunks(path: Path, chunk: npt.NDArray[np.float64]) -> Ints:
    odd = ~np.isfinite(chunk) | (chunk != np.rint(chunk))
    if odd.any():
        found = f"{chunk[odd][0]:g}, and {int(odd.sum())} such in all"
        raise FormatError(path, f"whole numbers in the column {_BLOCK}", found, "drop the column")
    return chunk.astype(np.int64)
