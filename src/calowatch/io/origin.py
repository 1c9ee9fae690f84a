"""What every reader says about a file: where it came from, and which of its cells no channel can have filled."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.core.errors import CountsError
from calowatch.core.files import file_hash
from calowatch.core.progress import Progress
from calowatch.core.provenance import provenance
from calowatch.detector.segmentation import ERAS

__all__ = ["NAMED_CELLS", "file_attrs", "hashing", "keep_filled", "refuse_strays", "source_hashes"]

NAMED_CELLS = 5
"""How many cells at fault an error names."""

Cell = tuple[int, int, int]


@contextmanager
def hashing(path: Path) -> Iterator[Callable[[], str]]:
    """Hash a file in a thread of its own while it is read; yield what waits for its SHA-256."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(file_hash, path).result


def file_attrs(
    path: Path, run: int, era: str, reader: str, sha256: str, more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the attributes of an occupancy read from one file; the name in it carries no folder.

    Parameters
    ----------
    path, run, era, sha256
        The file, its run, the era it was read with, and its SHA-256.
    reader
        Name of the format.
    more
        What else was chosen when it was read.
    """
    source = {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256}
    options = {"reader": reader, "era": era, **(more or {})}
    return {
        "run": run,
        "era": era,
        "source": str(path),
        "provenance": provenance("read", sources=[source], options=options),
    }


def source_hashes(attrs: Mapping[str, Any]) -> frozenset[str]:
    """Return the SHA-256 of every file that an occupancy was read from.

    Examples
    --------
    >>> sorted(source_hashes({"provenance": {"sources": [{"name": "a.root", "sha256": "0af3"}]}}))
    ['0af3']
    """
    sources: Iterable[Mapping[str, Any]] = attrs.get("provenance", {}).get("sources", [])
    return frozenset(str(source["sha256"]) for source in sources if "sha256" in source)


def refuse_strays(path: Path, strays: Sequence[Cell], era: str, fits: Callable[[str], bool]) -> None:
    """Raise if cells are filled where ``era`` has no channel.

    Parameters
    ----------
    path
        The file.
    strays
        (ieta, iphi, depth) of the filled cells outside the segmentation.
    era
        The era it was read with.
    fits
        Whether another era has a channel in every filled cell.

    Raises
    ------
    CountsError
        Naming some of the cells, and the eras that would fit.
    """
    if not strays:
        return
    named = " ".join(f"({ieta},{iphi},{depth})" for ieta, iphi, depth in strays[:NAMED_CELLS])
    more = f" and {len(strays) - NAMED_CELLS} more" if len(strays) > NAMED_CELLS else ""
    others = [other for other in ERAS if other != era and fits(other)]
    fix = f"give --era {' or --era '.join(others)}" if others else "check --era; no era has all filled cells"
    raise CountsError(
        path,
        f"digis only where era {era} has channels",
        f"digis outside, at (ieta,iphi,depth) {named}{more}",
        fix,
    )


def keep_filled(
    path: Path, channels: pd.DataFrame, filled: npt.NDArray[np.bool_], progress: Progress
) -> npt.NDArray[np.bool_]:
    """Return which channels belong to a subdetector with any digi, noting those without: they were not in the file.

    Parameters
    ----------
    path
        The file.
    channels
        One row per channel, with the column ``subdet``.
    filled
        Whether a channel has any digi, shape (channel,).
    progress
        Takes the notes.

    Raises
    ------
    CountsError
        For a file without any digi.
    """
    if not filled.any():
        raise CountsError(path, "digis", "none in any channel", "check the job that made the file")
    subdets = channels["subdet"].to_numpy(str)
    held = sorted(set(subdets[filled].tolist()))
    for name in sorted(set(subdets.tolist()) - set(held)):
        progress.note(f"{path.name}: no digi in all of {name}, taken as not in the file")
    return np.isin(subdets, held)
