"""The two files of electron and photon images, generated in chunks and written in the published layout."""

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from calowatch.core.errors import InputError
from calowatch.core.files import check_place
from calowatch.core.progress import SILENT, Progress
from calowatch.core.provenance import provenance
from calowatch.io.egamma import Block, EgammaHeader, write_egamma
from calowatch.simulate.chunks import ChunkPlan, Place, chunks_of, read_chunk, run_chunks
from calowatch.simulate.egamma import CLASSES, EgammaSettings, dense, make_chunk

__all__ = ["EgammaRequest", "EgammaSummary", "file_name", "simulate_egamma"]

CHUNK = 2000
"""Images per chunk: decides the random numbers, so that it is no option."""

_UNFINISHED = ".egamma-chunks"


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
    of workers.

    Parameters
    ----------
    request
        What, and where.
    progress
        Shows how far it is.

    Raises
    ------
    InputError
        For fewer than two images, or a folder that cannot be used or holds unfinished work of another request.
    """
    if request.n < 2:
        raise InputError("--n", "at least 2 images, one of each class", f"{request.n}", "give 500000, say")
    check_place(request.out)
    began = time.monotonic()
    numbers = {"photon": request.n - request.n // 2, "electron": request.n // 2}
    unfinished = request.out / _UNFINISHED
    paths = _generate(request, numbers, unfinished, progress)
    summary = _write(request, numbers, paths, progress)
    shutil.rmtree(unfinished, ignore_errors=True)
    return EgammaSummary(*summary, seconds=time.monotonic() - began)


def _generate(
    request: EgammaRequest, numbers: dict[str, int], folder: Path, progress: Progress
) -> dict[str, list[Path]]:
    chunks = {
        kind: chunks_of(numbers[kind], CHUNK, request.seed, stream=label)
        for label, kind in enumerate(CLASSES)
    }
    # In turns, so that work of both kinds is left until the end; numbered anew, so that none has another's file.
    first = len(chunks["photon"])
    chunks["electron"] = chunks_of(numbers["electron"], CHUNK, request.seed, stream=1, start=first)
    everything = [chunk for kind in CLASSES for chunk in chunks[kind]]
    plan = ChunkPlan(
        partial(make_chunk, request.settings),
        everything,
        {"task": "egamma", "settings": request.settings.document()},
        "generating",
    )
    paths = run_chunks(plan, folder, request.place, progress)
    return {"photon": paths[:first], "electron": paths[first:]}


def _write(
    request: EgammaRequest, numbers: dict[str, int], paths: dict[str, list[Path]], progress: Progress
) -> tuple[tuple[Path, ...], dict[str, int], dict[str, int], dict[str, float]]:
    made = provenance("simulate egamma", seed=request.seed, options=request.settings.document())
    files, empty, nonzero = list[Path](), dict[str, int](), dict[str, float]()
    for label, kind in enumerate(CLASSES):
        n = numbers[kind]
        target = request.out / file_name(kind, n, request.settings.pt)
        counted = _Counted()
        blocks = counted.blocks(progress.track(paths[kind], f"writing {target.name}", len(paths[kind])))
        write_egamma(target, EgammaHeader(label, n, made), blocks)
        files.append(target)
        empty[kind], nonzero[kind] = counted.empty, counted.nonzero / (2048 * n)
    return tuple(files), numbers, empty, nonzero


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
