"""Where what can be made again lies on the user's machine."""

import os
from pathlib import Path

__all__ = ["cache_place"]


def cache_place(name: str) -> Path:
    """Return the folder for one kind of things that can be made again; it need not exist, and can be deleted any time.

    ``$CALOWATCH_CACHE/NAME``, or else ``~/.cache/calowatch/NAME`` (or under ``$XDG_CACHE_HOME``).
    """
    given = os.environ.get("CALOWATCH_CACHE")
    if given:
        return Path(given) / name
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "calowatch" / name
