"""Runs written in the file formats of other programs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from calowatch.core.errors import ConflictError, UnknownNameError, nearest
from calowatch.core.progress import SILENT, Progress
from calowatch.io.analyzer import write_analyzer
from calowatch.io.master import write_master
from calowatch.io.merge import subdets_of
from calowatch.io.request import ReadRequest
from calowatch.io.sources import NO_REQUEST, expand, read_source
from calowatch.io.study_hdf5 import write_study

__all__ = ["FORMATS", "export_run"]


@dataclass(frozen=True)
class _Format:
    """How a format is written, which subdetectors it holds, and whether it is a folder."""

    write: Callable[[Path, xr.Dataset, Progress], object]
    subdets: tuple[str, ...]
    is_folder: bool = False


FORMATS: Mapping[str, _Format] = {
    "master": _Format(
        lambda path, run, shown: write_master(path, run, progress=shown), ("HB", "HE"), is_folder=True
    ),
    "analyzer": _Format(lambda path, run, shown: write_analyzer(path, run, progress=shown), ("HB", "HE")),
    "hdf5": _Format(
        lambda path, run, shown: write_study(path, run, progress=shown), ("HB", "HE", "HF", "HO")
    ),
}
"""Formats by the names that the command line takes."""


def export_run(
    source: str | Path,
    out: Path | str,
    to: str = "master",
    request: ReadRequest = NO_REQUEST,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Write the one run of a source in the format of another program.

    Parameters
    ----------
    source
        As in `calowatch.io.sources.read_source`.
    out
        The file or folder to write, whole or not at all.
    to
        One of `FORMATS`.
    request
        Run, era and first lumisection, where the source does not say them itself.
    progress
        Shows reading and writing.

    Returns
    -------
    ``format``, ``out``, ``run``, ``era``, ``n_ls``, ``digis``, ``subdets`` and ``left_out``: the subdetectors of the
    run that the format holds, and those that it does not.

    Raises
    ------
    UnknownNameError
        For a format that is not written.
    ConflictError
        When the output would replace the source.
    InputError
        As reading and writing do.
    """
    if to not in FORMATS:
        raise UnknownNameError(
            f"format {to!r}", f"one of {', '.join(FORMATS)}", "no such format", nearest(to, FORMATS)
        )
    chosen, out = FORMATS[to], Path(out)
    _spare(source, out, chosen, request)
    run = read_source(source, request, progress)
    chosen.write(out, run, progress)
    held = np.isin(run["subdet"].to_numpy(), chosen.subdets)
    return {
        "format": to,
        "out": str(out),
        "run": int(run.attrs["run"]),
        "era": str(run.attrs["era"]),
        "n_ls": int(run.sizes["ls"]),
        "digis": int(run["counts"].to_numpy()[:, held].sum(dtype=np.int64)),
        "subdets": [name for name in subdets_of(run) if name in chosen.subdets],
        "left_out": [name for name in subdets_of(run) if name not in chosen.subdets],
    }


def _spare(source: str | Path, out: Path, chosen: _Format, request: ReadRequest) -> None:
    """Raise if writing would replace what is read, or a folder by a file."""
    if not chosen.is_folder and out.is_dir():
        raise ConflictError(out, "a file to write", "a folder", "name a file in it with --out")
    target = out.resolve()
    for piece in expand(source, request):
        read = piece.path.resolve()
        if target == read or (chosen.is_folder and target in read.parents):
            raise ConflictError(
                out, "a place apart from the source", f"the source {piece}", "choose another --out"
            )
