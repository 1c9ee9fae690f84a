"""HDF5 files of the 2018 HCAL study: occupancy of all four subdetectors in the DQM grid.

``DigiTask_Occupancy_depth_depth1`` .. ``depth7`` (and ``depthHO`` in run3), each (LS, 72 iphi, 84 ieta) float32. Such
a file holds neither run nor lumisection numbers nor events. Ours add the attributes ``run``, ``era``, ``first_ls`` and
``subdets`` and the small data sets ``ls`` and ``n_events``, which readers of the original format pass over.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
from calowatch.core.schema import UNKNOWN_EVENTS, check_occupancy, make_occupancy
from calowatch.detector.index import channel_columns, dqm_cell, dqm_index, dqm_plane
from calowatch.detector.segmentation import SUBDETS
from calowatch.detector.table import channel_table
from calowatch.io.events import events_from_hf
from calowatch.io.origin import file_attrs, hashing, keep_filled, refuse_strays
from calowatch.io.request import ReadRequest, settle_era, settle_first_ls, settle_run

__all__ = ["StudyReader", "write_study"]

MAGIC = b"\x89HDF\r\n\x1a\n"
PREFIX = "DigiTask_Occupancy_depth_"
DEPTH_PLANES = tuple(f"depth{depth}" for depth in range(1, 8))
GRID = (72, 84)
EXACT_FLOAT = 2**24
"""Whole numbers up to here survive the format's 32-bit floats."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Place:
    """Where each channel of a table stands: its plane, and its row and column there."""

    planes: npt.NDArray[np.str_]
    iphi_bin: Ints
    ieta_bin: Ints

    def mask(self, plane: str) -> npt.NDArray[np.bool_]:
        """Return the cells of a plane that hold a channel, shape (72, 84)."""
        mask = np.zeros(GRID, dtype=np.bool_)
        here = self.planes == plane
        mask[self.iphi_bin[here], self.ieta_bin[here]] = True
        return mask


def _place(channels: pd.DataFrame, era: str) -> _Place:
    subdets = channels["subdet"].to_numpy(str)
    ieta_bin, iphi_bin = dqm_index(subdets, channels["ieta"], channels["iphi"])
    pairs = zip(subdets.tolist(), channels["depth"].tolist(), strict=True)
    planes = np.array([dqm_plane(subdet, depth, era) for subdet, depth in pairs])
    return _Place(planes, iphi_bin, ieta_bin)


def _planes_of(era: str) -> tuple[str, ...]:
    extra = dqm_plane("HO", 4, era)
    return DEPTH_PLANES if extra in DEPTH_PLANES else (*DEPTH_PLANES, extra)


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
                run = settle_run(path, _number(file, "run"), request, progress)
                era = settle_era(path, run, _text(file, "era"), request)
                first_ls = settle_first_ls(path, _number(file, "first_ls"), request, progress)
                channels = channel_table(era)
                counts = _read_planes(path, file, channels, era, progress)
                sections = _read_column(path, file, "ls", len(counts))
                events = _read_column(path, file, "n_events", len(counts))
                held = _text(file, "subdets")
            attrs = file_attrs(path, run, era, self.name, sha256())
        if held is None:
            kept = keep_filled(path, channels, np.asarray(counts.any(axis=0)), progress)
        else:
            kept = np.isin(channels["subdet"].to_numpy(str), held.split())
        counts, channels = counts[:, kept], channels[kept]
        if events is None:
            events = events_from_hf(counts, channels)
        if sections is None:
            sections = np.arange(first_ls, first_ls + len(counts))
        return make_occupancy(counts, channels, sections, events, attrs)


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


def _number(file: Any, name: str) -> int | None:
    return int(file.attrs[name]) if name in file.attrs else None


def _text(file: Any, name: str) -> str | None:
    return str(file.attrs[name]) if name in file.attrs else None


def _read_column(path: Path, file: Any, name: str, length: int) -> Ints | None:
    """Return one of the columns that our writer adds, or ``None``."""
    if name not in file:
        return None
    values = np.asarray(file[name][...])
    if values.shape != (length,) or values.dtype.kind not in "iu":
        raise FormatError(
            path,
            f"{name} as {length} whole numbers",
            f"shape {values.shape}, {values.dtype}",
            "take the original",
        )
    return values.astype(np.int64)


def _read_planes(
    path: Path, file: Any, channels: pd.DataFrame, era: str, progress: Progress
) -> npt.NDArray[np.float32]:
    """Return digis as (ls, channel), having refused cells that are filled where no channel is."""
    planes = _planes_of(era)
    _check_planes(path, file, planes)
    place = _place(channels, era)
    counts = np.zeros((file[PREFIX + planes[0]].shape[0], len(channels)), dtype=np.float32)
    filled: dict[str, npt.NDArray[np.bool_]] = {}
    for plane in progress.track(planes, f"reading {path.name}", len(planes)):
        values = file[PREFIX + plane][...]
        here = np.flatnonzero(place.planes == plane)
        counts[:, here] = values[:, place.iphi_bin[here], place.ieta_bin[here]]
        filled[plane] = values.any(axis=0)
        del values
    refuse_strays(path, _strays(filled, era), era, lambda other: not _strays(filled, other))
    return counts


def _check_planes(path: Path, file: Any, planes: tuple[str, ...]) -> None:
    missing = [plane for plane in planes if PREFIX + plane not in file]
    if missing:
        raise FormatError(
            path, f"{PREFIX}{planes[0]} .. {planes[-1]}", f"no {', '.join(missing)}", "take the whole file"
        )
    sections = file[PREFIX + planes[0]].shape[0]
    for plane in planes:
        data = file[PREFIX + plane]
        if data.shape != (sections, *GRID) or data.dtype.kind not in "fiu":
            raise FormatError(
                path,
                f"{PREFIX}{plane} with ({sections} LS, 72 iphi, 84 ieta) numbers",
                f"shape {data.shape} of {data.dtype}",
                "take a file in the layout of the study",
            )


def _strays(filled: dict[str, npt.NDArray[np.bool_]], era: str) -> list[tuple[int, int, int]]:
    """Return (ieta, iphi, depth) of the filled cells without a channel, read as HB and HE where both can be meant."""
    place = _place(channel_table(era), era)
    strays: list[tuple[int, int, int]] = []
    for plane, cells in filled.items():
        iphi_bin, ieta_bin = np.nonzero(cells & ~place.mask(plane))
        ieta, iphi = dqm_cell("HB", ieta_bin, iphi_bin)
        depth = int(plane.removeprefix("depth").replace("HO", "4"))
        strays += [(int(a), int(b), depth) for a, b in zip(ieta, iphi, strict=True)]
    return strays


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
    place = _place(channel_columns(occupancy["channel"].to_numpy()), era)
    planes = _planes_of(era)
    with atomic_file(path) as scratch, h5py.File(scratch, "w") as file:
        for plane in progress.track(planes, f"writing {Path(path).name}", len(planes)):
            grid = np.zeros((len(counts), *GRID), dtype=np.float32)
            here = np.flatnonzero(place.planes == plane)
            grid[:, place.iphi_bin[here], place.ieta_bin[here]] = counts[:, here]
            file.create_dataset(
                PREFIX + plane, data=grid, compression="gzip", compression_opts=1, shuffle=True
            )
        _write_extras(file, occupancy)


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
