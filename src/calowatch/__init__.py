"""Watch a calorimeter: read occupancy, learn what normal is, name what fails.

Importing this package loads nothing heavy; the verbs of the command line are resolved on first use:

>>> import calowatch
>>> callable(calowatch.monitor)
True
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from calowatch.data.prepare import prepare
    from calowatch.evaluate.explore import explore
    from calowatch.evaluate.monitor import monitor
    from calowatch.io.conversion import convert
    from calowatch.io.run import open_run
    from calowatch.train.fit import fit

__version__ = "0.1.0"

__all__ = ["__version__", "convert", "explore", "fit", "monitor", "open_run", "prepare"]

_VERBS = {
    "convert": "calowatch.io.conversion",
    "explore": "calowatch.evaluate.explore",
    "fit": "calowatch.train.fit",
    "monitor": "calowatch.evaluate.monitor",
    "open_run": "calowatch.io.run",
    "prepare": "calowatch.data.prepare",
}


def __getattr__(name: str) -> Any:
    """Import a verb on first use, so that ``import calowatch`` stays cheap."""
    if name in _VERBS:
        return getattr(import_module(_VERBS[name]), name)
    raise AttributeError(f"module 'calowatch' has no attribute {name!r}")
