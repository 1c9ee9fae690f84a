"""Files that hold the same, byte by byte, under two names: their images would count twice."""

from collections.abc import Sequence
from pathlib import Path

from calowatch.core.files import file_hash

__all__ = ["same_files"]


def same_files(paths: Sequence[Path]) -> list[str]:
    """Return a note for each file that holds the same as one before it; only files of one size are read."""
    sizes = [path.stat().st_size for path in paths]
    seen: dict[str, str] = {}
    notes = []
    for path, size in zip(paths, sizes, strict=True):
        if sizes.count(size) > 1:
            first = seen.setdefault(file_hash(path), path.name)
            if first != path.name:
                notes.append(f"{path.name} holds the same as {first}: each of its images counts twice")
    return notes
