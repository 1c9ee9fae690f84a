"""Arrays for other programs: one ``.npy`` file, and beside it what it is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from calowatch.core.files import atomic_file, file_hash, write_json

__all__ = ["write_array"]


def write_array(path: Path | str, array: npt.NDArray[Any], record: Mapping[str, Any]) -> None:
    """Write an array as ``.npy``, and ``record`` with its shape, type and SHA-256 as ``PATH.json``, each atomically.

    The record comes last, so that where it is, its array is whole; the SHA-256 tells whether the two belong together.

    Examples
    --------
    >>> import json, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_array(Path(folder) / "a.npy", np.arange(3), {"what": "numbers"})
    ...     json.loads((Path(folder) / "a.npy.json").read_text())["shape"]
    [3]
    """
    path = Path(path)
    with atomic_file(path) as scratch, scratch.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)
    shape = [int(length) for length in array.shape]
    whole = {**record, "shape": shape, "dtype": str(array.dtype), "sha256": file_hash(path)}
    write_json(path.with_name(f"{path.name}.json"), whole)
