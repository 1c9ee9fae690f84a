"""Where an artefact came from: what made it, from what, when, with which versions and seed."""

import platform
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["commit", "provenance", "versions"]

_LIBRARIES = (
    *("numpy", "scipy", "xarray", "zarr", "uproot", "awkward", "h5py", "pyarrow", "torch"),
    *("pythia8mc", "fastjet"),
)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def versions(*names: str) -> dict[str, str]:
    """Return the versions of those libraries that are installed.

    Examples
    --------
    >>> list(versions("numpy", "no-such-library"))
    ['numpy']
    """
    return {name: found for name in names if (found := _version(name))}


def provenance(
    verb: str,
    *,
    sources: Iterable[Mapping[str, Any]] = (),
    seed: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a record, ready for JSON, of how an artefact was made.

    Parameters
    ----------
    verb
        The verb that made it, such as ``"fit"``.
    sources
        One mapping per input, usually with ``name`` and ``sha256``; names without folders, so that no path of a
        machine travels with the artefact.
    seed
        Seed of the random numbers, where there were any.
    options
        Whatever else decides the result.

    Examples
    --------
    >>> record = provenance("simulate occupancy", seed=7)
    >>> record["verb"], record["seed"]
    ('simulate occupancy', 7)
    """
    return {
        "verb": verb,
        "calowatch": _version("calowatch"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "libraries": versions(*_LIBRARIES),
        "sources": [dict(source) for source in sources],
        "seed": seed,
        "options": dict(options or {}),
    }


def commit() -> str | None:
    """Return the commit of the checkout that the program runs from, if it does."""
    git = shutil.which("git")
    if git is None:
        return None
    asked, here = [git, "rev-parse", "--short=12", "HEAD"], Path(__file__).parent
    found = subprocess.run(asked, cwd=here, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    return found.stdout.strip() or None
