"""HDF5 files of the 2018 HCAL study: occupancy of all four subdetectors in the DQM grid.

``DigiTask_Occupancy_depth_depth1`` .. ``depth7`` (and ``depthHO`` in run3), each (LS, 72 iphi, 84 ieta) float32, and
the same of ``RecHitTask_Occupancy_depth_``. Such a file holds neither run nor lumisection numbers nor events. Ours add
the attributes ``run``, ``era``, ``first_ls`` and ``subdets`` and the small data sets ``ls`` and ``n_events``, which
readers of the original format pass over.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from calowatch.core.errors import FormatError, InputError
from calowatch.core.files import atomic_file
from calowatch.core.progress import SILENT, Progress
from calowatch.core.schema import UNKNOWN_EVENTS, check_occupancy, make_occupancy, with_rechits
from calowatch.detector.index import dqm_plane
from calowatch.detector.segmentation import SUBDETS
from calowatch.detector.table import channel_table
from calowatch.io.dqm_grid import GRID, DqmGrid, place_channels
from calowatch.io.events import events_from_hf
from calowatch.io.origin import file_attrs, hashing, keep_filled
from calowatch.io.request import ReadRequest, settle_era, settle_first_ls, settle_run

__all__ = ["StudyReader", "write_study"]

MAGIC = b"\x89HDF\r\n\x1a\n"
PREFIX = "DigiTask_Occupancy_depth_"
RECHITS = "RecHitTask_Occupancy_depth_"
EXACT_FLOAT = 2**24
"""Whole numbers up to here survive the format's 32-bit floats."""

Ints = npt.NDArray[np.int64]


class StudyReader:
    """Reader of the HDF5 files of the 2018 HCAL study."""

    name = "HCAL study HDF5"
    suffixes = (".hdf5", ".h5")

    def matches(self, path: Path) -> bool:
        """Return whether the file is HDF5 with DigiTask occupancy, or one too broken to tell."""
        with path.open("rb") as stream:
            if stream.read(len(MAGIC)) != MAGIC:
                return False
        try:
            with h5py.File(path, "r") as file:
                return any(str(name).startswith(PREFIX) for name in file)
        except OSError:
            return True

    def run_of(self, path: Path, request: ReadRequest) -> int:
        """Return the run, from the attributes, the request or the name."""
        with _opened(path) as file:
            return settle_run(path, _number(path, file, "run"), request, SILENT)

    def read(self, path: Path, request: ReadRequest, progress: Progress = SILENT) -> xr.Dataset:
        """Return the run in the file.

        Parameters
        ----------
        path
            The file.
        request
            ``run``, ``era`` and ``first_ls`` where the file lacks them; elsewhere they must agree with it.
        progress
            Shown one step per depth.

        Raises
        ------
        FormatError
            For a file that is no HDF5 file or is damaged, a missing depth or a grid of another shape.
        CountsError
            For negative or non-integer counts, counts above events, or digis outside the segmentation.
        ConflictError
            When the request contradicts the file.
        InputError
            When no run number is to be had.
        """
        with hashing(path) as sha256:
            with _opened(path) as file:
                run = settle_run(path, _number(path, file, "run"), request, progress)
                era = settle_era(path, run, _text(file, "era"), request)
                first_ls = settle_first_ls(path, _number(path, file, "first_ls"), request, progress)
                channels = channel_table(era)
                grid = place_channels(era, dqm_plane("HO", 4, era))
                counts = _read_planes(path, file, PREFIX, grid, progress)
                rechits = _read_rechits(path, file, grid, progress)
                sections = _read_column(path, file, "ls", len(counts))
                events = _read_column(path, file, "n_events", len(counts))
                held = _subdets(path, file)
            attrs = file_attrs(path, run, era, self.name, sha256())
        if held is None:
            kept = keep_filled(path, channels, np.asarray(counts.any(axis=0)), progress)
        else:
            kept = np.isin(channels["subdet"].to_numpy(str), held)
        counts, channels = counts[:, kept], channels[kept]
        if events is None:
            events = events_from_hf(counts, channels)
        if sections is None:
            sections = np.arange(first_ls, first_ls + len(counts))
        occupancy = make_occupancy(counts, channels, sections, events, attrs)
        return occupancy if rechits is None else with_rechits(occupancy, rechits[:, kept])


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open an HDF5 file; whatever goes wrong in its bytes, here or while it is read, is one clear error."""
    with path.open("rb") as stream:
        head = stream.read(len(MAGIC))
    if head != MAGIC:
        found = "an empty file" if not head else "something else"
        raise FormatError(path, "an HDF5 file", found, "check that it is the file you meant")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:  # h5py's errors for broken bytes
        reason = str(error).strip("'\" ").splitlines()[0]
        raise FormatError(path, "a whole HDF5 file", f"a damaged one ({reason})", "copy it again") from error


def _number(path: Path, file: Any, name: str) -> int | None:
    text = _text(file, name)
    if text is None:
        return None
    if not re.fullmatch(r"-?\d{1,10}", text):
        raise FormatError(path, f"the attribute {name} as a whole number", _short(text), "take the original")
    return int(text)


def _text(file: Any, name: str) -> str | None:
    value = file.attrs.get(name)
    return (
        value.decode(errors="replace") if isinstance(value, bytes) else None if value is None else str(value)
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}...")


def _subdets(path: Path, file: Any) -> list[str] | None:
    """Return the subdetectors that our writer names, or ``None``."""
    text = _text(file, "subdets")
    if text is None:
        return None
    held = text.split()
    if not held or set(held) - set(SUBDETS):
        raise FormatError(
            path,
            f"the attribute subdets with names among {' '.join(SUBDETS)}",
            _short(text),
            "take the original",
        )
    return held


def _data_set(path: Path, file: Any, name: str) -> Any:
    data = file[name]
    if not isinstance(data, h5py.Dataset):
        raise FormatError(
            path,
            f"{name} as a data set",
            f"a {type(data).__name__.lower()} of that name",
            "take the original",
        )
    return data


def _read_column(path: Path, file: Any, name: str, length: int) -> Ints | None:
    """Return one of the columns that our writer adds, or ``None``."""
    if name not in file:
        return None
    values = np.asarray(_data_set(path, file, name)[...])
    if values.shape != (length,) or values.dtype.kind not in "iu":
        raise FormatError(
            path,
            f"{name} as {length} whole numbers",
            f"shape {values.shape}, {values.dtype}",
            "take the original",
        )
    return values.astype(np.int64)


def _read_planes(
    path: Path, file: Any, prefix: str, grid: DqmGrid, progress: Progress
) -> npt.NDArray[np.float32]:
    """Return what is in the planes as (ls, channel), having refused cells that are filled where no channel is."""
    planes = grid.all_planes
    sections = _check_planes(path, file, prefix, planes)
    counts = np.zeros((sections, grid.planes.size), dtype=np.float32)
    filled: dict[str, npt.NDArray[np.bool_]] = {}
    for plane in progress.track(planes, f"reading {path.name}", len(planes)):
        values = file[prefix + plane][...]
        counts[:, grid.channels_in(plane)] = grid.gather(plane, values)
        filled[plane] = values.any(axis=0)
        del values
    grid.refuse_strays(path, filled, planes)
    return counts


def _read_rechits(path: Path, file: Any, grid: DqmGrid, progress: Progress) -> npt.NDArray[np.float32] | None:
    """Return the reconstructed hits, or ``None`` where the file does not have all of them."""
    wanted = grid.all_planes
    held = [plane for plane in wanted if RECHITS + plane in file]
    if len(held) == len(wanted):
        return _read_planes(path, file, RECHITS, grid, progress)
    if held:
        progress.note(f"{path.name}: RecHits of {len(held)} of {len(wanted)} depths only, left out")
    return None


def _check_planes(path: Path, file: Any, prefix: str, planes: tuple[str, ...]) -> int:
    """Return the number of lumisections, having checked that every plane is there and has as many."""
    missing = [plane for plane in planes if prefix + plane not in file]
    if missing:
        raise FormatError(
            path, f"{prefix}{planes[0]} .. {planes[-1]}", f"no {', '.join(missing)}", "take the whole file"
        )
    sections = (_data_set(path, file, PREFIX + planes[0]).shape or (0,))[0]
    for plane in planes:
        data = _data_set(path, file, prefix + plane)
        if data.shape != (sections, *GRID) or data.dtype.kind not in "fiu":
            raise FormatError(
                path,
                f"{prefix}{plane} with ({sections} LS, 72 iphi, 84 ieta) numbers",
                f"shape {data.shape} of {data.dtype}",
                "take a file in the layout of the study",
            )
    return int(sections)


def write_study(path: Path | str, occupancy: xr.Dataset, *, progress: Progress = SILENT) -> None:
    """Write a run as the 2018 HCAL study did, with what it left out added beside.

    Parameters
    ----------
    path
        The file to write, atomically.
    occupancy
        The run, of any of the four subdetectors.
    progress
        Shown one step per depth.

    Raises
    ------
    InputError
        When a count is too large for the format's 32-bit floats.
    """
    check_occupancy(occupancy)
    counts = occupancy["counts"].to_numpy()
    if counts.max() > EXACT_FLOAT:
        raise InputError(path, f"counts up to {EXACT_FLOAT}", f"{counts.max()}", "sum fewer events per LS")
    era = str(occupancy.attrs["era"])
    grid = place_channels(era, dqm_plane("HO", 4, era))
    column = pd.Index(occupancy["channel"].to_numpy()).get_indexer(channel_table(era)["channel"])
    with atomic_file(path) as scratch, h5py.File(scratch, "w") as file:
        _write_planes(file, PREFIX, counts, column, grid, progress)
        if "rechits" in occupancy:
            _write_planes(file, RECHITS, occupancy["rechits"].to_numpy(), column, grid, progress)
        _write_extras(file, occupancy)


def _write_planes(
    file: Any, prefix: str, values: npt.NDArray[Any], column: Ints, grid: DqmGrid, progress: Progress
) -> None:
    """Write values (ls, column) as planes; ``column`` is that of each channel of the grid, or -1."""
    planes = grid.all_planes
    for plane in progress.track(planes, "writing depths", len(planes)):
        cells = np.zeros((len(values), *GRID), dtype=np.float32)
        here = grid.channels_in(plane)
        here = here[column[here] >= 0]
        cells[:, grid.iphi_bin[here], grid.ieta_bin[here]] = values[:, column[here]]
        file.create_dataset(prefix + plane, data=cells, compression="gzip", compression_opts=1, shuffle=True)


def _write_extras(file: Any, occupancy: xr.Dataset) -> None:
    sections = occupancy["ls"].to_numpy()
    held = set(np.unique(occupancy["subdet"].to_numpy()).tolist())
    file.attrs["run"] = int(occupancy.attrs["run"])
    file.attrs["era"] = str(occupancy.attrs["era"])
    file.attrs["first_ls"] = int(sections[0])
    file.attrs["subdets"] = " ".join(name for name in SUBDETS if name in held)
    file["ls"] = sections
    events = occupancy["n_events"].to_numpy()
    if (events != UNKNOWN_EVENTS).any():
        file["n_events"] = events
