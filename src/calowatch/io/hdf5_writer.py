"""HDF5 files onto disks that may become full: the library itself cannot close a file that it could not write."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

import h5py

__all__ = ["writing_hdf5"]


class _Held(FileIO):
    """A file that remembers the first error of writing, and takes everything after it for written."""

    failure: OSError | None = None

    def write(self, data: object, /) -> int:
        """Write all of it, or remember why not."""
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        done = 0
        while self.failure is None and done < len(view):
            try:
                done += super().write(view[done:]) or 0
            except OSError as error:
                self.failure = error
        return len(view)

    def truncate(self, size: int | None = None, /) -> int:
        """Change the length, or remember why not."""
        try:
            return super().truncate(size) if self.failure is None else size or 0
        except OSError as error:
            self.failure = error
            return size or 0


@contextmanager
def writing_hdf5(path: Path | str) -> Iterator[h5py.File]:
    """Yield a new HDF5 file, and raise its first error of writing once it is closed.

    A full disk makes closing fail, and HDF5 then tries again, and crashes, when Python ends. Here it can always be
    closed: what could not be written is remembered, and raised whatever else the library made of it.

    Parameters
    ----------
    path
        The file; an earlier one is replaced.

    Raises
    ------
    OSError
        When the disk is full, or the file too large.
    """
    with _Held(os.fspath(path), "w+") as held:
        try:
            with h5py.File(held, "w") as file:
                yield file
        except Exception:
            if held.failure is None:
                raise
        if held.failure is not None:
            raise held.failure
