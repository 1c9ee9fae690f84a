"""The verb ``convert``: files of detectors into the store."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from calowatch.core.progress import SILENT, Progress
from calowatch.io.request import ReadRequest
from calowatch.io.sources import NO_REQUEST, Piece, expand, read_piece
from calowatch.io.store import find_source, open_run, run_attrs, write_run

__all__ = ["Conversion", "convert"]


@dataclass(frozen=True)
class Conversion:
    """What became of one file, or one run of another store.

    Parameters
    ----------
    source
        The file.
    run
        Its run.
    status
        ``"converted"``, ``"merged"`` or ``"already there"``.
    n_ls
        Lumisections that the store now holds of the run.
    subdets
        Subdetectors that the store now holds of the run.
    """

    source: str
    run: int
    status: str
    n_ls: int
    subdets: tuple[str, ...]


def convert(
    sources: Iterable[str | Path],
    store: str | Path,
    request: ReadRequest = NO_REQUEST,
    progress: Progress = SILENT,
    *,
    replace: bool = False,
) -> list[Conversion]:
    """Convert sources into a store, one file after the other, and say what became of each.

    A file that was converted before, by its content, is recognised without reading it; files of one run are merged.

    Parameters
    ----------
    sources
        Files, folders, stores or ``STORE::RUN``, as in `calowatch.io.sources.expand`.
    store
        Folder of the store, made if need be.
    request
        Run, era and first lumisection, where the sources do not say them themselves.
    progress
        Shows the conversion, and takes notes.
    replace
        Throw away what the store held of the converted runs before.

    Raises
    ------
    InputError
        When a source cannot be read or contradicts the store. What was converted before it stays.
    """
    pieces = [piece for source in sources for piece in expand(source, request)]
    done: list[Conversion] = []
    for piece in progress.track(pieces, "converting", len(pieces)):
        # Of several files of one run, only the first may throw away what was there before.
        fresh = replace and piece.stored_run is None
        run = None if fresh else _found(piece, store, request)
        status = "already there"
        if run is None:
            occupancy = read_piece(piece, request, progress)
            run = int(occupancy.attrs["run"])
            first = run not in {other.run for other in done}
            status = write_run(store, occupancy, replace=replace and first, progress=progress)
        attrs = run_attrs(store, run)
        done.append(Conversion(str(piece), run, status, int(attrs["n_ls"]), tuple(attrs["subdets"])))
    return done


def _found(piece: Piece, store: str | Path, request: ReadRequest) -> int | None:
    """Return the run that this file was converted into before, if the request does not ask for something else."""
    if piece.stored_run is not None or not piece.path.is_file():
        return None
    run = find_source(store, piece.path)
    if run is None or request == NO_REQUEST:
        return run
    held = open_run(store, run, lazy=True)
    asked = (
        (request.run, run),
        (request.era, held.attrs["era"]),
        (request.first_ls, int(held["ls"][0])),
    )
    return run if all(wanted in (None, have) for wanted, have in asked) else None
