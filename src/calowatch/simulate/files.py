"""A simulated run as detector files, with its truth and conditions beside them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import xarray as xr

from calowatch.core.errors import InputError, UnknownNameError, nearest
from calowatch.core.files import atomic_directory, write_json
from calowatch.core.progress import SILENT, Progress
from calowatch.detector.conditions import ERA_CONDITIONS
from calowatch.io.analyzer_writer import LS_BINS, write_analyzer
from calowatch.io.study_hdf5 import write_study
from calowatch.simulate.truth import Truth, write_truth

__all__ = ["FORMATS", "check_formats", "write_run"]

CONDITIONS_FILE = "conditions.csv"
PROVENANCE_FILE = "provenance.json"
TRUTH_FILE = "truth.json"


def _analyzer(folder: Path, occupancy: xr.Dataset, progress: Progress) -> Path:
    path = folder / f"Run{occupancy.attrs['run']}__hehb_cut20fc__depth.root"
    write_analyzer(path, occupancy, progress=progress)
    return path


def _study(folder: Path, occupancy: xr.Dataset, progress: Progress) -> Path:
    ls = occupancy["ls"].to_numpy()
    path = folder / f"run{occupancy.attrs['run']}_ls{ls[0]}-{ls[-1]}.hdf5"
    write_study(path, occupancy, progress=progress)
    return path


FORMATS: Mapping[str, Callable[[Path, xr.Dataset, Progress], Path]] = MappingProxyType(
    {"analyzer": _analyzer, "hdf5": _study}
)
"""Formats of detector files: HcalAnalyzer ROOT holds HB and HE, the HDF5 of the 2018 study all four."""


def check_formats(formats: Sequence[str], subdets: Sequence[str], last_ls: int) -> None:
    """Raise before a long simulation for formats that could not be written after it.

    Raises
    ------
    UnknownNameError
        For a format that does not exist.
    InputError
        For none at all, or an analyzer file of neither HB nor HE or of lumisections beyond its axis.
    """
    for name in formats:
        if name not in FORMATS:
            raise UnknownNameError("--format", " or ".join(FORMATS), repr(name), nearest(name, FORMATS))
    if not formats:
        raise InputError("--format", " or ".join(FORMATS), "none", "give one")
    if "analyzer" in formats and not {"HB", "HE"} & set(subdets):
        raise InputError("--format analyzer", "HB or HE among --subdets", ",".join(subdets), "use hdf5")
    if "analyzer" in formats and last_ls >= LS_BINS:
        raise InputError(
            "--n-ls",
            f"lumisections 0 to {LS_BINS - 1} in the analyzer format",
            f"lumisection {last_ls}",
            "lower it (or --first-ls), or use --format hdf5",
        )


def write_run(
    out: Path | str,
    occupancy: xr.Dataset,
    truth: Truth,
    formats: Sequence[str] = ("analyzer",),
    progress: Progress = SILENT,
) -> list[Path]:
    """Write a run into a folder of its own, all or nothing, and return the files.

    Parameters
    ----------
    out
        The folder. One that an earlier call wrote is replaced; anything else in the way is left alone.
    occupancy, truth
        What `calowatch.simulate.occupancy.occupancy` returned.
    formats
        Names in `FORMATS`.
    progress
        Shown while files are written; takes a note when they will not be readable without ``--era``.

    Returns
    -------
    The detector files, then ``truth.json`` (see `calowatch.simulate.truth.FaultTruth`), ``conditions.csv`` (ls,
    n_events, pileup, lumi in inverse picobarn, segment between prescale steps) and ``provenance.json``.

    Raises
    ------
    ConflictError
        When ``out`` holds something that this did not write.
    InputError
        As `check_formats`, or for a lumisection that does not fit a format.
    """
    check_formats(formats, np.unique(occupancy["subdet"].to_numpy()).tolist(), int(occupancy["ls"][-1]))
    if "analyzer" in formats:
        _note_other_era(occupancy, progress)
    with atomic_directory(out, marker=TRUTH_FILE) as scratch:
        written = [FORMATS[name](scratch, occupancy, progress) for name in dict.fromkeys(formats)]
        write_truth(scratch / TRUTH_FILE, truth.faults)
        truth.conditions.frame().to_csv(scratch / CONDITIONS_FILE, index=False, float_format="%.6g")
        write_json(scratch / PROVENANCE_FILE, occupancy.attrs["provenance"])
    names = [path.name for path in written] + [TRUTH_FILE, CONDITIONS_FILE, PROVENANCE_FILE]
    return [Path(out) / name for name in names]


def _note_other_era(occupancy: xr.Dataset, progress: Progress) -> None:
    """Tell when whoever reads an analyzer file, which holds no era, will take it for another one or none."""
    run, era = int(occupancy.attrs["run"]), str(occupancy.attrs["era"])
    other = ERA_CONDITIONS.get(run)
    if other != era:
        known = "no known era" if other is None else f"era {other}"
        progress.note(f"run {run} is of {known}: reading the ROOT file back needs --era {era}")
