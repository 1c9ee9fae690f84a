"""The two files of electron and photon images, generated in chunks and written in the published layout."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from calowatch.core.errors import ConflictError, InputError
from calowatch.core.files import check_place
from calowatch.core.progress import SILENT, Progress
from calowatch.core.provenance import provenance
from calowatch.io.egamma import CLASSES, Block, EgammaHeader, write_egamma
from calowatch.simulate.chunks import ChunkPlan, Place, chunks_of, read_chunk, run_chunks
from calowatch.simulate.egamma import EgammaSettings, dense, make_chunk

__all__ = ["EgammaRequest", "EgammaSummary", "file_name", "simulate_egamma"]

CHUNK = 2000
"""Images per chunk: decides the random numbers, so that it is no option."""

_UNFINISHED = ".egamma-chunks"
_VERB = "simulate egamma"
_PATTERNS = ("SinglePhotonPt*_IMGCROPS_n*_RHv1.hdf5", "SingleElectronPt*_IMGCROPS_n*_RHv1.hdf5")


@dataclass(frozen=True)
class EgammaRequest:
    """What to generate, and where.

    Parameters
    ----------
    n
        Images, half of each class; an odd one is a photon's.
    out
        Folder of the two files.
    seed
        Of everything.
    settings
        Physics and read-out.
    place
        Who works.
    """

    n: int
    out: Path
    seed: int = 0
    settings: EgammaSettings = field(default_factory=EgammaSettings)
    place: Place = field(default_factory=Place)


@dataclass(frozen=True)
class EgammaSummary:
    """What was generated.

    Parameters
    ----------
    files
        Written files.
    images, empty, nonzero
        By class: images, empty ones, and share of values that are not zero.
    seconds
        Of generation and writing, without what was there already.
    """

    files: tuple[Path, ...]
    images: dict[str, int]
    empty: dict[str, int]
    nonzero: dict[str, float]
    seconds: float


def file_name(kind: str, n: int, pt: float) -> str:
    """Return the published name of a file.

    Examples
    --------
    >>> file_name("electron", 249000, 50.0)
    'SingleElectronPt50_IMGCROPS_n249k_RHv1.hdf5'
    """
    count = f"{n // 1000}k" if n and n % 1000 == 0 else str(n)
    return f"Single{kind.capitalize()}Pt{pt:g}_IMGCROPS_n{count}_RHv1.hdf5"


def simulate_egamma(request: EgammaRequest, progress: Progress = SILENT) -> EgammaSummary:
    """Generate electrons and photons, and write one HDF5 file of each.

    Broken off, it goes on where it was when called again with the same request. The files do not depend on the number
    of workers. An earlier pair of the same names is replaced.

    Parameters
    ----------
    request
        What, and where.
    progress
        Shows how far it is.

    Raises
    ------
    InputError
        For fewer than two images, or a folder that cannot be used, holds unfinished work of another request, images
        of other names, or files of these names that were not generated.
    """
    if request.n < 2:
        raise InputError("--n", "at least 2 images, one of each class", f"{request.n}", "give 500000, say")
    check_place(request.out)
    began = time.monotonic()
    numbers = {"photon": request.n - request.n // 2, "electron": request.n // 2}
    targets = {kind: request.out / file_name(kind, n, request.settings.pt) for kind, n in numbers.items()}
    _check_free(request.out, targets)
    plan = _plan(request, numbers)
    with run_chunks(plan, request.out / _UNFINISHED, request.place, progress) as paths:
        first = sum(chunk.stream == 0 for chunk in plan.chunks)
        found = {"photon": paths[:first], "electron": paths[first:]}
        made = provenance(_VERB, seed=request.seed, options=plan.fingerprint)
        counted = {
            kind: _write(kind, targets[kind], (numbers[kind], made), found[kind], progress)
            for kind in CLASSES
        }
    return EgammaSummary(
        tuple(targets[kind] for kind in CLASSES),
        numbers,
        {kind: each.empty for kind, each in counted.items()},
        {kind: each.nonzero / (2048 * numbers[kind]) for kind, each in counted.items()},
        seconds=time.monotonic() - began,
    )


def _check_free(out: Path, targets: Mapping[str, Path]) -> None:
    """Raise where images would be lost, or would be read together with these by whoever names the folder."""
    there = {path for pattern in _PATTERNS for path in out.glob(pattern)}
    others = sorted(there - set(targets.values()))
    if others:
        raise ConflictError(
            out,
            f"a folder without other images than {' and '.join(path.name for path in targets.values())}",
            ", ".join(path.name for path in others),
            "choose another --out, or remove them",
        )
    for path in sorted(there):
        if not _generated(path):
            raise ConflictError(
                path,
                f"a file to write, or one of calowatch {_VERB}",
                "something else, which would be lost",
                "choose another --out",
            )


def _generated(path: Path) -> bool:
    try:
        with h5py.File(path) as file:
            return bool(json.loads(file.attrs["provenance"])["verb"] == _VERB)
    except (OSError, KeyError, TypeError, ValueError):
        return False


def _plan(request: EgammaRequest, numbers: Mapping[str, int]) -> ChunkPlan:
    photons = chunks_of(numbers["photon"], CHUNK, request.seed, stream=CLASSES.index("photon"))
    # Numbered on, so that none has a file of the other class.
    electrons = chunks_of(
        numbers["electron"], CHUNK, request.seed, stream=CLASSES.index("electron"), start=len(photons)
    )
    document = {"n": request.n, "seed": request.seed, "chunk": CHUNK, **request.settings.document()}
    task = partial(make_chunk, request.settings)
    return ChunkPlan(task, [*photons, *electrons], {"task": "egamma", **document})


def _write(
    kind: str, target: Path, header: tuple[int, dict[str, Any]], paths: Sequence[Path], progress: Progress
) -> "_Counted":
    counted = _Counted()
    blocks = counted.blocks(progress.track(paths, f"writing {target.name}", len(paths)))
    write_egamma(target, EgammaHeader(CLASSES.index(kind), *header), blocks)
    return counted


@dataclass
class _Counted:
    """Counts what passes on its way from the chunks to the file."""

    empty: int = 0
    nonzero: int = 0

    def blocks(self, paths: Iterator[Path] | Sequence[Path]) -> Iterator[Block]:
        for path in paths:
            arrays = read_chunk(path)
            images = dense(arrays)
            truth: dict[str, Any] = {
                name.removeprefix("truth_"): values
                for name, values in arrays.items()
                if name.startswith("truth_")
            }
            truth["chunk"] = np.full(len(images), int(path.stem.split("-")[1]), np.int32)
            self.empty += int(truth.pop("empty").sum())
            self.nonzero += int(np.count_nonzero(images))
            yield images, truth
