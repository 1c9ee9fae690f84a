"""Electron and photon images: HDF5 files of one class each, crops of 32 x 32 crystals round the seed crystal.

Layout of the published files: ``X`` (n, 32, 32, 2) float32, rows ieta, columns iphi, then energy and time; ``y`` (n,),
1 for electrons. Files of ours hold the truth beside it, in the group ``truth``, which the published ones do not have.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.core.errors import CountsError, FormatError, InputError
from calowatch.core.files import atomic_file
from calowatch.core.progress import SILENT, Progress
from calowatch.io.hdf5_writer import writing_hdf5
from calowatch.io.same_files import same_files

__all__ = [
    "CHANNELS",
    "CLASSES",
    "SHAPE",
    "EgammaFiles",
    "EgammaReport",
    "find_egamma",
    "looks_like_egamma",
    "read_egamma",
    "write_egamma",
]

Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

SHAPE = (32, 32, 2)
"""Of one image in the files: ieta, iphi, channel."""
CHANNELS = ("energy", "time")
CLASSES = ("photon", "electron")
"""In order of their labels."""

_SEED = 15
_CHUNK = 32  # images per chunk of a file of ours: 256 kB
_AT_ONCE = 1024  # images looked at together: 8 MB
_TRUTH = "truth"
_FOUND = ("source", "position", "block")  # columns of the reader, which the truth of a file must not replace
_MOST_HITS = 400  # mean hits per image above which they are not held in memory


@dataclass(frozen=True)
class EgammaReport:
    """What is in a file, counted image by image.

    Parameters
    ----------
    source
        Name of the file.
    images
        All of them.
    electrons
        With label 1.
    empty
        Without any hit.
    broken
        With NaN or infinity.
    negative
        With an energy below 0.
    off_seed
        Whose largest energy is not at [15, 15].
    nonzero
        Share of the values that are not zero.
    energy, time
        Smallest and largest value.
    spread
        Mean share of energy two to four crystals from the seed along (ieta, iphi): electrons smear along iphi.
    """

    source: str
    images: int
    electrons: int
    empty: int
    broken: int
    negative: int
    off_seed: int
    nonzero: float
    energy: tuple[float, float]
    time: tuple[float, float]
    spread: tuple[float, float]

    def notes(self) -> list[str]:
        """Return what is worth telling: everything that a sound file does not have."""
        told = [
            (self.empty, f"{self.empty} empty images, left out: they show nothing but their class"),
            (self.broken, f"{self.broken} images with NaN or infinity, left out"),
            (self.negative, f"{self.negative} images with negative energies"),
            (
                self.off_seed > 0.01 * self.images,
                f"{self.off_seed} images whose largest energy is not at [{_SEED}, {_SEED}]",
            ),
            (
                self.spread[0] > 1.2 * self.spread[1] > 0,
                "energy smears along rows more than along columns: axes may be swapped (rows are ieta)",
            ),
        ]
        return [f"{self.source}: {text}" for wrong, text in told if wrong]


@dataclass(frozen=True, eq=False)
class _Hits:
    """Images without zeros: of image i, hits first[i] to first[i + 1]."""

    first: Ints
    pixel: npt.NDArray[np.uint16]
    values: Singles

    def read(self, rows: Ints) -> Singles:
        begin, count = self.first[rows], np.diff(self.first)[rows]
        image = np.repeat(np.arange(len(rows)), count)
        hit = np.arange(len(image)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(begin, count)
        images = np.zeros((len(rows), 2, SHAPE[0] * SHAPE[1]), np.float32)
        images[image, :, self.pixel[hit]] = self.values[hit]
        return images.reshape(len(rows), 2, *SHAPE[:2])


@dataclass(frozen=True, eq=False)
class EgammaFiles:
    """Labelled images of some files, an image source: sound images only, in the order of the files.

    Hits are held in memory (some 600 bytes per image), so that images are read in any order at once; files with more of
    them than calorimeter images have are read from the disk.

    Parameters
    ----------
    labels
        1 for electrons, shape (images,).
    table
        One row per image: ``source``, ``position`` (in the file), ``block`` (chunk of generation, -1 where unknown),
        and the truth that all files have: eta, phi, pt, charge, conversions, brems.
    reports
        One per file.
    """

    labels: Ints
    table: pd.DataFrame
    reports: tuple[EgammaReport, ...]
    hits: _Hits | None = field(repr=False)
    paths: tuple[Path, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Return (images, channels, rows, columns)."""
        return len(self), 2, SHAPE[0], SHAPE[1]

    def read(self, rows: Ints) -> Singles:
        """Return some images, in the order of ``rows``: [row, (energy, time), ieta, iphi]."""
        rows = np.asarray(rows, np.int64)
        return self.hits.read(rows) if self.hits is not None else self._read_disk(rows)

    def _read_disk(self, rows: Ints) -> Singles:
        found = np.empty((len(rows), *SHAPE), np.float32)
        source = self.table["source"].to_numpy()[rows]
        position = self.table["position"].to_numpy()[rows]
        for path in self.paths:
            here = np.flatnonzero(source == path.name)
            if here.size:
                asked, back = np.unique(position[here], return_inverse=True)
                with h5py.File(path, "r") as file:
                    found[here] = file["X"][asked][back]
        return np.ascontiguousarray(found.transpose(0, 3, 1, 2))


def looks_like_egamma(path: Path | str) -> bool:
    """Return whether a file is HDF5 with images ``X`` or labels ``y``: `read_egamma` tells what is wrong with them."""
    path = Path(path)
    try:
        # Resolved: is_hdf5 takes "link/.." for the folder that holds the link.
        if not path.is_file() or not h5py.is_hdf5(path.resolve()):
            return False
        with h5py.File(path, "r") as file:
            return "X" in file or "y" in file
    except (OSError, RuntimeError):
        return False


def find_egamma(source: Path | str) -> list[Path]:
    """Return the files that a source names: a file itself, or those directly in a folder."""
    path = Path(source)
    if path.is_dir():
        return [file for file in sorted(path.iterdir()) if looks_like_egamma(file)]
    return [path] if looks_like_egamma(path) else []


def read_egamma(paths: Sequence[Path | str], progress: Progress = SILENT) -> EgammaFiles:
    """Read files of electron and photon images, some megabytes at a time, and check every value.

    Empty images and those with NaN or infinity are left out; they and all else that is odd are counted and noted.

    Parameters
    ----------
    paths
        HDF5 files.
    progress
        Shows how far it is, and takes notes.

    Raises
    ------
    FormatError
        When a file is no HDF5, lacks ``X`` or ``y``, or holds another shape or type; an order of axes that can be told
        is named.
    CountsError
        When channels are swapped (the first is negative in many images), or labels are not 0 and 1.
    InputError
        When there is no such file, two have one name, or no image is sound.
    """
    files = [Path(path) for path in paths]
    names = [path.name for path in files]
    if len(set(names)) < len(names):
        raise InputError("files", "files of different names", "one name twice", "leave out one, or rename it")
    parts = [_read_file(path, progress) for path in files]
    for note in [*(note for part in parts for note in part.report.notes()), *same_files(files)]:
        progress.note(note)
    if not any(len(part.labels) for part in parts):
        raise InputError(", ".join(names) or "files", "images", "none that is sound", "give other files")
    shared = set.intersection(*(set(part.table.columns) for part in parts))
    columns = [name for name in parts[0].table.columns if name in shared]
    table = pd.concat([part.table[columns] for part in parts], ignore_index=True)
    if "block" not in table:
        table.insert(2, "block", -1)
    held = [part.hits for part in parts if part.hits is not None]
    return EgammaFiles(
        labels=np.concatenate([part.labels for part in parts]),
        table=table,
        reports=tuple(part.report for part in parts),
        hits=_joined(held) if len(held) == len(parts) else None,
        paths=tuple(files),
    )


@dataclass(frozen=True, eq=False)
class _Part:
    labels: Ints
    table: pd.DataFrame
    report: EgammaReport
    hits: _Hits | None


def _joined(parts: Sequence[_Hits]) -> _Hits:
    counts = np.concatenate([np.diff(part.first) for part in parts])
    return _Hits(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.concatenate([part.pixel for part in parts]),
        np.concatenate([part.values for part in parts]),
    )


def _read_file(path: Path, progress: Progress) -> _Part:
    with _opened(path) as file:
        labels, n = _labels(path, file), len(file["X"])
        tally, hits, good = _Tally(), list[_Hits](), list[Ints]()
        blocks = range(0, n, _AT_ONCE)
        dense = False
        for first in progress.track(blocks, f"reading {path.name}", len(blocks)):
            block = _block(path, file["X"], first)
            sound = tally.add(block)
            good.append(first + np.flatnonzero(sound))
            dense = dense or tally.hits > _MOST_HITS * tally.images
            if not dense:
                hits.append(_without_zeros(block[sound]))
        tally.check(path)
        rows = np.concatenate(good) if good else np.empty(0, np.int64)
        table = pd.DataFrame({"source": path.name, "position": rows, **_truth(path, file, rows)})
    report = tally.report(path.name, int(labels.sum()))
    none = _Hits(np.zeros(1, np.int64), np.empty(0, np.uint16), np.empty((0, 2), np.float32))
    return _Part(labels[rows], table, report, None if dense else _joined(hits or [none]))


def _opened(path: Path) -> Any:
    expected = "an HDF5 file with X (n, 32, 32, 2) and y (n,)"
    if not path.is_file():
        raise InputError(path, expected, "no such file", "check the path")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise FormatError(path, expected, f"something else ({error})", "copy it again") from error
    problem = _problem(file)
    if problem:
        file.close()
        raise FormatError(path, expected, *problem)
    return file


def _problem(file: h5py.File) -> tuple[str, str] | None:
    """Return what is found and the fix, where the file is not of the layout."""
    x, y = file.get("X"), file.get("y")
    fix = "give files such as SingleElectronPt50_IMGCROPS_n249k_RHv1.hdf5"
    if not isinstance(x, h5py.Dataset) or not isinstance(y, h5py.Dataset):
        held = (
            f"{name} (a group)" if isinstance(file.get(name), h5py.Group) else name for name in sorted(file)
        )
        return f"members {', '.join(held) or 'none'}", fix
    if x.ndim != 4 or tuple(x.shape[1:]) != SHAPE:
        if x.ndim == 4 and sorted(x.shape[1:]) == sorted(SHAPE):
            order = "(0, 2, 3, 1)" if x.shape[1] == 2 else "(0, 1, 3, 2)"
            fix = f"the channel is not the last axis: transpose X by {order}"
        elif x.ndim == 4 and tuple(x.shape[:3]) == (*SHAPE[:2], 2):
            fix = "images are the last axis: transpose X by (3, 0, 1, 2)"
        return f"X of shape {tuple(x.shape)}", fix
    if not np.issubdtype(x.dtype, np.floating):
        return f"X of {x.dtype} values", fix
    if y.shape != (len(x),) and y.shape != (len(x), 1):
        return f"y of shape {tuple(y.shape)} for {len(x)} images", fix
    return None


def _labels(path: Path, file: h5py.File) -> Ints:
    labels = np.asarray(file["y"][:]).reshape(-1)
    if not np.isin(labels, (0, 1)).all():
        found = ", ".join(str(value) for value in np.unique(labels)[:4])
        raise CountsError(path, "labels 0 (photon) and 1 (electron)", found, "correct y")
    return labels.astype(np.int64)


def _block(path: Path, x: h5py.Dataset, first: int) -> Singles:
    try:
        with np.errstate(over="ignore"):  # what 32 bits cannot hold is infinite, and left out as such
            return np.asarray(x[first : first + _AT_ONCE], np.float32)
    except OSError as error:
        raise FormatError(
            path, "a whole file", f"damage at image {first} ({error})", "copy it again"
        ) from error


def _without_zeros(block: Singles) -> _Hits:
    flat = block.reshape(len(block), SHAPE[0] * SHAPE[1], 2)
    image, pixel = np.nonzero((flat[..., 0] != 0) | (flat[..., 1] != 0))
    first = np.searchsorted(image, np.arange(len(block) + 1))
    return _Hits(first.astype(np.int64), pixel.astype(np.uint16), flat[image, pixel])


def _truth(path: Path, file: h5py.File, rows: Ints) -> dict[str, npt.NDArray[Any]]:
    """Return columns that only files of ours have, but for names of what the reader finds itself."""
    group = file.get(_TRUTH)
    if not isinstance(group, h5py.Group):
        return {}
    columns = {
        name: data[:][rows]
        for name, data in group.items()
        if name not in _FOUND and isinstance(data, h5py.Dataset) and data.shape == (len(file["X"]),)
    }
    chunk = columns.pop("chunk", None)
    if chunk is None:
        return columns
    if chunk.dtype.kind not in "iuf" or not (chunk == np.rint(chunk)).all() or not np.isfinite(chunk).all():
        expected = f"whole numbers in {_TRUTH}/chunk"
        raise FormatError(path, expected, f"{chunk.dtype} values that are not", "remove this member")
    return {"block": chunk.astype(np.int64), **columns}


@dataclass
class _Tally:
    """Counts over blocks of images."""

    images: int = 0
    empty: int = 0
    broken: int = 0
    negative: int = 0
    off_seed: int = 0
    hits: int = 0
    values: int = 0
    energy: tuple[float, float] = (0.0, 0.0)
    time: tuple[float, float] = (0.0, 0.0)
    spread: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))

    def add(self, block: Singles) -> npt.NDArray[np.bool_]:
        """Count a block, and return which of its images are sound."""
        flat = block.reshape(len(block), -1)
        with np.errstate(invalid="ignore", over="ignore"):
            finite = np.isfinite(flat.sum(axis=1))
        nonzero = np.count_nonzero(flat, axis=1)
        filled = nonzero > 0
        sound = np.asarray(finite & filled, np.bool_)
        energy, time = (np.ascontiguousarray(block[sound, ..., channel]) for channel in (0, 1))
        self.images += len(block)
        self.empty += int((finite & ~filled).sum())
        self.broken += int((~finite).sum())
        self.hits += int(np.count_nonzero((energy != 0) | (time != 0)))
        self.values += int(nonzero[finite].sum())
        if not len(energy):
            return sound
        self.negative += int((energy.reshape(len(energy), -1).min(axis=1) < 0).sum())
        largest = energy.reshape(len(energy), -1).argmax(axis=1)
        self.off_seed += int((largest != _SEED * SHAPE[1] + _SEED).sum())
        self.energy = _range(self.energy, energy)
        self.time = _range(self.time, time)
        near, far = slice(_SEED - 1, _SEED + 2), [*range(_SEED - 4, _SEED - 1), *range(_SEED + 2, _SEED + 5)]
        self.spread += [float(energy[:, far, near].sum()), float(energy[:, near, :][:, :, far].sum())]
        return sound

    def check(self, path: Path) -> None:
        """Raise where the channels are swapped: times are negative as often as not, energies are not."""
        if self.negative > 0.5 * max(self.images, 1) and self.time[0] >= 0:
            raise CountsError(
                path,
                "energy, then time, in the last axis",
                "negative values in the first, none in the second: channels are swapped",
                "swap the last axis of X",
            )

    def report(self, source: str, electrons: int) -> EgammaReport:
        """Return what was counted."""
        whole = max(self.energy[1], 1e-30) * max(self.images, 1)
        return EgammaReport(
            source,
            self.images,
            electrons,
            self.empty,
            self.broken,
            self.negative,
            self.off_seed,
            self.values / max(self.images * int(np.prod(SHAPE)), 1),
            self.energy,
            self.time,
            (float(self.spread[0] / whole), float(self.spread[1] / whole)),
        )


def _range(held: tuple[float, float], values: Singles) -> tuple[float, float]:
    return min(held[0], float(values.min())), max(held[1], float(values.max()))


@dataclass(frozen=True)
class EgammaHeader:
    """What a file of ours tells besides its images.

    Parameters
    ----------
    label
        Class of all its images.
    images
        How many there will be.
    provenance
        Record of `calowatch.core.provenance`, kept as JSON in the attribute ``provenance``.
    """

    label: int
    images: int
    provenance: Mapping[str, Any]


__all__ += ["EgammaHeader"]

Block = tuple[Singles, Mapping[str, npt.NDArray[Any]]]


def write_egamma(path: Path | str, header: EgammaHeader, blocks: Iterator[Block]) -> None:
    """Write images of one class in the published layout, whole or not at all.

    Parameters
    ----------
    path
        The file.
    header
        Label, number and provenance.
    blocks
        Images [image, ieta, iphi, (energy, time)] and truth columns, some at a time.

    Raises
    ------
    ValueError
        When blocks do not hold as many images as the header says, or truth columns differ between them.
    """
    with atomic_file(path) as scratch, writing_hdf5(scratch) as file:
        chunks = (min(_CHUNK, header.images), *SHAPE)
        shape = (header.images, *SHAPE)
        x = file.create_dataset("X", shape, np.float32, chunks=chunks, compression="gzip", compression_opts=1)
        file.create_dataset("y", data=np.full(header.images, header.label, np.float32))
        file.attrs["provenance"] = json.dumps(header.provenance)
        file.attrs["channels"] = list(CHANNELS)
        first, columns = 0, list[Mapping[str, npt.NDArray[Any]]]()
        for images, truth in blocks:
            if first + len(images) > header.images or (columns and set(truth) != set(columns[0])):
                raise ValueError("blocks do not fit the file")
            x[first : first + len(images)] = images
            columns.append(truth)
            first += len(images)
        if first != header.images:
            raise ValueError(f"{first} images instead of {header.images}")
        for name in columns[0] if columns else ():
            file.create_dataset(f"{_TRUTH}/{name}", data=np.concatenate([part[name] for part in columns]))
