"""Jets simulated into a Parquet file of the published layout."""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from calowatch.core.errors import ConflictError, InputError
from calowatch.core.files import check_place
from calowatch.core.progress import SILENT, Progress
from calowatch.core.provenance import provenance
from calowatch.io.jets import write_jets
from calowatch.io.jets_report import JetReport, JetTally
from calowatch.simulate.chunks import Place, read_chunk, run_chunks
from calowatch.simulate.jets import JetSettings, collisions_each, jet_plan
from calowatch.simulate.jets_images import PIXELS, full_image
from calowatch.simulate.pileup import PileupRequest, ready_library

__all__ = ["JetRequest", "simulate_jets"]

Singles = npt.NDArray[np.float32]

_VERB = "simulate jets"
_AT_ONCE = 200
_OFTEN = 100  # times that a collision of pile-up is drawn by one chunk: told from here on
_TRUTH = ("eta", "phi", "gen_pt", "gen_m0", "gen_eta", "gen_phi", "pileup", "chunk")


@dataclass(frozen=True)
class JetRequest:
    """What to simulate, from what, and who does it.

    Parameters
    ----------
    settings
        The jets.
    library
        Ready collisions for pile-up.
    library_folder
        Where they are, or shall be; by default in the user's cache.
    place
        Processes of this machine, or a Dask cluster whose workers see the same files.
    """

    settings: JetSettings
    library: PileupRequest = field(default_factory=PileupRequest)
    library_folder: Path | None = None
    place: Place = field(default_factory=Place)


def simulate_jets(out: Path, request: JetRequest, progress: Progress = SILENT) -> JetReport:
    """Simulate jets, and write them into a file; one that was broken off goes on where it stopped.

    Parameters
    ----------
    out
        The Parquet file; an earlier one of calowatch is replaced. The chunks lie in a folder beside it until all of
        them are there.
    request
        What, and who.
    progress
        Watches.

    Raises
    ------
    InputError
        For settings that cannot be, or a library of pile-up that does not fit or is too small.
    ConflictError
        When ``out`` is a folder or a file that was not generated, or the folder beside it holds chunks of other
        settings.
    """
    settings = request.settings
    _check(settings)
    _check_free(out, request.library_folder)
    library = None
    if settings.pileup > 0:
        _check_share(settings, request.library.n, progress)
        library = ready_library(request.library, request.library_folder, request.place, progress)
    plan = jet_plan(settings, library)
    with run_chunks(plan, out.with_name(f"{out.name}.chunks"), request.place, progress) as paths:
        origin = provenance(_VERB, seed=settings.seed, options=plan.fingerprint)
        tally = JetTally()
        write_jets(out, _blocks(progress.track(paths, f"writing {out.name}", len(paths)), tally), origin)
    quarks = sum((chunk.size + 1) // 2 for chunk in plan.chunks)
    return tally.report(out.name, (settings.n, quarks), 0, 0)


def _check_free(out: Path, library: Path | None) -> None:
    check_place(out.parent)
    if out.is_dir():
        raise ConflictError(out, "a file to write", "a folder", "add a file name, such as jets.parquet")
    if library is not None and library.resolve() == out.resolve():
        raise ConflictError(library, "a folder beside the jets", "their file", "choose another --library")
    if out.exists() and not _generated(out):
        raise ConflictError(
            out,
            f"a file to write, or one of calowatch {_VERB}",
            "something else, which would be lost",
            "choose another --out",
        )


def _generated(path: Path) -> bool:
    try:
        metadata = pq.read_schema(path).metadata or {}
        return bool(json.loads(metadata[b"provenance"])["verb"] == _VERB)
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
        return False


def _check_share(settings: JetSettings, collisions: int, progress: Progress) -> None:
    each = collisions_each(settings, collisions)
    jets = min(settings.n, settings.chunk)
    often = settings.pileup * jets / each
    if often > _OFTEN:
        progress.note(
            f"{jets} jets of a chunk share {each} collisions of pile-up, each drawn {often:.0f} times and more: "
            "a larger --library-size repeats them less"
        )


def _check(settings: JetSettings) -> None:
    low, high = settings.pt
    wrong = [
        ("--n", "at least 2 jets, one of each class", settings.n, settings.n < 2),
        ("--chunk", "at least 2 jets", settings.chunk, settings.chunk < 2),
        ("--pileup", "a number, 0 or more", settings.pileup, not 0 <= settings.pileup < math.inf),
        ("pt", "a range of GeV above 0", f"{low:g} to {high:g}", not 0 < low < high),
    ]
    for where, expected, found, is_wrong in wrong:
        if is_wrong:
            raise InputError(where, expected, str(found), "give another value")


def _blocks(paths: Iterable[Path], tally: JetTally) -> Iterator[tuple[Singles, dict[str, Any]]]:
    """Yield images and columns of chunks, and count them."""
    for path in paths:
        chunk = read_chunk(path)
        ends = np.concatenate([[0], np.cumsum(chunk["lengths"])])
        for first in range(0, len(chunk["y"]), _AT_ONCE):
            rows = slice(first, min(first + _AT_ONCE, len(chunk["y"])))
            images = _dense(chunk, rows, ends)
            tally.add(path, images.reshape(len(images), -1), 0)
            yield images, {name: chunk[name][rows] for name in ("pt", "m0", "y", *_TRUTH)}


def _dense(chunk: dict[str, npt.NDArray[Any]], rows: slice, ends: npt.NDArray[Any]) -> Singles:
    """Return images of some jets of a chunk, (jet, 3, 125, 125)."""
    n = rows.stop - rows.start
    fine = np.zeros((n, 2 * PIXELS**2), np.float32)
    jet = np.repeat(np.arange(n), chunk["lengths"][rows])
    hits = slice(int(ends[rows.start]), int(ends[rows.stop]))
    fine[jet, chunk["index"][hits]] = chunk["value"][hits]
    return full_image(fine.reshape(n, 2, PIXELS, PIXELS), chunk["towers"][rows])
