"""ROOT files opened with care: whatever is wrong with their bytes becomes one clear error."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uproot

from calowatch.core.errors import FormatError, InputError

__all__ = ["holds", "is_root", "open_root"]

MAGIC = b"root"
HEADER = struct.Struct(">4sii")  # magic, version, where the first record begins; then the end of the file
BIG_FILE = 1_000_000  # added to the version of files beyond 2 GB, whose header holds 64-bit addresses


def is_root(path: Path) -> bool:
    """Return whether a file begins as ROOT files do."""
    with path.open("rb") as stream:
        return stream.read(len(MAGIC)) == MAGIC


def holds(path: Path, name: str) -> bool:
    """Return whether a ROOT file holds an object, or is too broken to tell."""
    try:
        with uproot.open({str(path): None}, handler=uproot.MemmapSource) as file:
            return name in file
    except Exception:  # noqa: BLE001 - whatever is broken, reading says what
        return True


@contextmanager
def open_root(path: Path) -> Iterator[Any]:
    """Open a ROOT file; whatever goes wrong in its bytes, here or while it is read, is one clear error."""
    _check_header(path)
    try:
        # A mapping and a source that is given, or uproot takes colons in a name for objects inside and chained URLs;
        # no caches, which would keep the histograms.
        with uproot.open(
            {str(path): None}, handler=uproot.MemmapSource, object_cache=None, array_cache=None
        ) as file:
            yield file
    except (InputError, MemoryError):
        raise
    except Exception as error:
        # uproot meets damage wherever it happens to read: struct, zlib, index and decoding errors alike.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise FormatError(path, "a whole ROOT file", f"a damaged one ({reason})", "copy it again") from error


def _check_header(path: Path) -> None:
    """Raise unless the file begins as a ROOT file and is as long as it says."""
    with path.open("rb") as stream:
        head = stream.read(HEADER.size + 8)
    if not head.startswith(b"root"):
        found = "an empty file" if not head else "something else"
        raise FormatError(path, "a ROOT file", found, "check that it is the file you meant")
    size, end = path.stat().st_size, _size_in_header(head)
    if end is None or size < end:
        whole = "with a whole header" if end is None else f"of {end} bytes"
        raise FormatError(path, f"a ROOT file {whole}", f"a truncated one of {size} bytes", "copy it again")


def _size_in_header(head: bytes) -> int | None:
    """Return the length of a ROOT file in bytes, as its header has it; ``None`` where the header is cut."""
    if len(head) < HEADER.size + 8:
        return None
    _, version, _ = HEADER.unpack_from(head)
    end: int = struct.unpack_from(">q" if version >= BIG_FILE else ">i", head, HEADER.size)[0]
    return end
