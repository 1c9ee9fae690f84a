"""Writer of the source system's master folders, as its loader's steps would have made them, with iphi 72 kept."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from calowatch.core.errors import ConflictError, InputError
from calowatch.core.files import atomic_directory, file_hash, write_json
from calowatch.core.progress import SILENT, Progress
from calowatch.core.provenance import provenance
from calowatch.core.schema import check_occupancy, events_known
from calowatch.detector.index import canonical_cell, canonical_index

__all__ = ["ARRAY", "META", "SHAPE", "TABLE", "write_master"]

ARRAY = "output__depth.npy"
TABLE = "run_ls_lumi_df.npy"
META = "meta_data.json"
SHAPE = (64, 72, 7)
"""ieta, iphi, depth: the canonical grid."""
SUBDETS_HELD = ("HB", "HE")
CONDITIONS = ("lumi", "pileup")


def write_master(folder: Path | str, occupancy: xr.Dataset, *, progress: Progress = SILENT) -> None:
    """Write the HB and HE of a run as a master folder.

    Parameters
    ----------
    folder
        The folder to make, whole or not at all; one that was written before is replaced.
    occupancy
        The run. Its HF and HO have no place on the canonical grid and are left out, RecHits too.
    progress
        Shown one step per lumisection.

    Raises
    ------
    InputError
        When neither HB nor HE is there, or the events are unknown (the source system divides by them).
    ConflictError
        When the folder holds something else.
    """
    check_occupancy(occupancy)
    _refuse_others(Path(folder))
    held = np.flatnonzero(np.isin(occupancy["subdet"].to_numpy(), SUBDETS_HELD))
    _check_writable(folder, occupancy, held)
    sections = occupancy["ls"].to_numpy()
    shape = (int(sections[-1]) + 1, *SHAPE, 1)
    with atomic_directory(folder, marker=META) as scratch:
        array = np.lib.format.open_memmap(scratch / ARRAY, mode="w+", dtype=np.int32, shape=shape)
        _fill(array, occupancy, held, progress)
        used = np.flatnonzero(array.any(axis=(1, 2, 3, 4)))
        array.flush()
        np.save(scratch / TABLE, _records(occupancy), allow_pickle=False)
        sha256 = file_hash(scratch / ARRAY)
        write_json(scratch / META, _description(occupancy, shape, used, sha256))


def _refuse_others(folder: Path) -> None:
    """Raise if the folder is a master folder of the source system itself, which looks like ours but is no copy."""
    description = folder / META
    if description.is_file() and '"provenance"' not in description.read_text():
        raise ConflictError(
            folder,
            "a new folder, or one written by calowatch",
            "a master folder of the source system, which would be lost",
            "choose another --out",
        )


def _check_writable(folder: Path | str, occupancy: xr.Dataset, held: npt.NDArray[np.int64]) -> None:
    if not held.size:
        raise InputError(
            folder, "HB or HE to write", "neither in the run", "HF and HO have no place in this format"
        )
    if int(occupancy["ls"][0]) < 0:
        raise InputError(folder, "lumisections from 0 up", f"{int(occupancy['ls'][0])}", "check --first-ls")
    if not events_known(occupancy).all():
        raise InputError(
            folder,
            "the number of events of every lumisection, which the source system divides by",
            "an unknown one",
            "take a source that tells it, such as the HcalAnalyzer file",
        )


def _fill(
    array: npt.NDArray[np.int32], occupancy: xr.Dataset, held: npt.NDArray[np.int64], progress: Progress
) -> None:
    numbers = (occupancy[name].to_numpy()[held] for name in ("ieta", "iphi", "depth"))
    place = canonical_index(*numbers)
    counts, sections = occupancy["counts"].to_numpy(), occupancy["ls"].to_numpy().tolist()
    for row, section in progress.track(enumerate(sections), "writing lumisections", len(sections)):
        array[section, :, :, :, 0][place] = counts[row, held]


def _records(occupancy: xr.Dataset) -> npt.NDArray[Any]:
    """Return the table of lumisections as the source system names its columns; conditions where they are known."""
    columns = {"ls": occupancy["ls"].to_numpy(), "NumEvents": occupancy["n_events"].to_numpy()}
    columns |= {name: occupancy[name].to_numpy() for name in CONDITIONS if name in occupancy}
    records = np.zeros(
        occupancy.sizes["ls"], dtype=[(name, values.dtype) for name, values in columns.items()]
    )
    for name, values in columns.items():
        records[name] = values
    return records


def _description(
    occupancy: xr.Dataset, shape: tuple[int, ...], used: npt.NDArray[np.int64], sha256: str
) -> dict[str, Any]:
    """Return what the source system writes, as far as it is true here, and what it leaves out."""
    ieta = canonical_cell(np.arange(SHAPE[0]), 0, 0)[0].tolist()
    filled = [int(used[0]), int(used[-1])] if used.size else [0, 0]
    return {
        "RunId": int(occupancy.attrs["run"]),
        "dqm_variable": "QIEDigiOccupancy",
        "xaxis": {"label": "ls", "values": list(range(shape[0])), "valued_range": filled},
        "yaxis": {"label": "ieta", "values": ieta, "valued_range": [0, SHAPE[0] - 1]},
        "zaxis": {"label": "iphi", "values": list(range(1, SHAPE[1] + 1)), "valued_range": [0, SHAPE[1] - 1]},
        "era": str(occupancy.attrs["era"]),
        "layout": "canonical",
        "sha256": sha256,
        "provenance": provenance(
            "export",
            sources=occupancy.attrs.get("provenance", {}).get("sources", []),
            options={"format": "master", "era": str(occupancy.attrs["era"])},
        ),
    }
