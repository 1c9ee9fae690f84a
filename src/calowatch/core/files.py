"""Write beside, then rename: a crash leaves either the old state or the new one, never half of one."""

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from calowatch.core.errors import ConflictError

__all__ = [
    "atomic_directory",
    "atomic_file",
    "check_place",
    "check_replaceable",
    "file_hash",
    "staged_files",
    "write_json",
]


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Of disks, quotas and files that take no more."""


def _beside(path: Path) -> Path:
    """Return a hidden, unused name in the same folder (a rename is atomic only within one file system)."""
    return path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.partial"


def _sync(path: Path) -> None:
    """Push a file's content to the disk, so that a full disk is noticed before the rename."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Give errors of writing the name of what was written: the system names no file when a disk is full."""
    try:
        yield
    except OSError as error:
        if (
            error.errno is None and type(error) is OSError
        ):  # numpy tells no number, and then no name would be shown
            raise OSError(errno.EIO, str(error), str(path)) from error
        if error.errno in _FULL and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Yield a scratch path beside ``path``; on success it becomes ``path``, on any error it is removed.

    Parameters
    ----------
    path
        The file to create or replace. Missing parent folders are made.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_file(Path(folder) / "a.txt") as scratch:
    ...         _ = scratch.write_text("whole")
    ...     (Path(folder) / "a.txt").read_text()
    'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = _beside(path)
    try:
        with _naming(path):
            yield scratch
            _sync(scratch)
            scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def check_replaceable(path: Path | str, marker: str) -> None:
    """Raise where a folder of ours could not go, which `atomic_directory` would refuse after all the work.

    Parameters
    ----------
    path
        Where the folder shall be.
    marker
        Name of the file by which a folder of ours is recognised.

    Raises
    ------
    ConflictError
        When ``path`` exists, is not empty and holds no ``marker``, or cannot be a folder.
    """
    path = Path(path)
    check_place(path)
    if path.exists() and not (path / marker).is_file() and any(path.iterdir()):
        raise ConflictError(
            path,
            f"a new folder, or one written by calowatch (with {marker} in it)",
            "something else, which would be lost",
            "choose another --out",
        )


@contextmanager
def atomic_directory(path: Path | str, *, marker: str) -> Iterator[Path]:
    """Yield a scratch folder that becomes ``path`` on success.

    An existing folder is replaced only when it holds ``marker`` (a file this program writes into every such
    folder), so that a slip of the pen never deletes somebody's data.

    Parameters
    ----------
    path
        The folder to create or replace.
    marker
        Name of the file by which a folder of ours is recognised.

    Raises
    ------
    ConflictError
        When ``path`` exists and is not a folder of ours.
    """
    path = Path(path)
    check_replaceable(path, marker)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch, old = _beside(path), _beside(path)
    scratch.mkdir()
    try:
        with _naming(path):
            yield scratch
        if path.exists():
            path.rename(old)
        try:
            scratch.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def check_place(folder: Path | str) -> None:
    """Raise before long work if its results could not be put into ``folder``, which need not exist yet.

    Raises
    ------
    ConflictError
        When a file stands where a folder is needed, or the place may not be written.
    """
    folder = Path(folder).absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise ConflictError(folder, "a folder", f"the file {there.name}", "choose another --out")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConflictError(folder, "a place that can be written", "no permission", "choose another --out")


@contextmanager
def staged_files(folder: Path | str, owned: Iterable[str] = ()) -> Iterator[Path]:
    """Yield a scratch folder whose files move into ``folder`` once all of them are written.

    Other files in ``folder`` stay. On an error nothing moves, and a folder that was not there is not made.

    Parameters
    ----------
    folder
        Where the files shall lie.
    owned
        Patterns of files that an earlier call may have left there: those not written anew are removed, since they
        would tell of something else than the rest.

    Raises
    ------
    ConflictError
        When ``folder`` is a file.
    """
    folder = Path(folder)
    check_place(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = _beside(folder.absolute())
    scratch.mkdir()
    try:
        with _naming(folder):
            yield scratch
        items = sorted(path for path in scratch.rglob("*") if path.is_file())
        targets = {folder / item.relative_to(scratch) for item in items}
        for stale in {path for pattern in owned for path in folder.glob(pattern)} - targets:
            stale.unlink()
        for item in items:
            target = folder / item.relative_to(scratch)
            target.parent.mkdir(parents=True, exist_ok=True)
            with _naming(target):
                _sync(item)
            item.replace(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_json(path: Path | str, content: Any) -> None:
    """Write ``content`` as indented JSON, atomically; NaN and infinity are refused, since JSON has none."""
    with atomic_file(path) as scratch:
        scratch.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


def file_hash(path: Path | str) -> str:
    """Return the SHA-256 of a file as hexadecimal text."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
