"""Events per lumisection, read off the HF."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.core.schema import UNKNOWN_EVENTS

__all__ = ["events_from_hf"]


def events_from_hf(counts: npt.NDArray[Any], channels: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return events per lumisection where the HF tells them, else `UNKNOWN_EVENTS`.

    HF is read out without zero suppression, so each of its cells counts every event: where all HF cells of a
    lumisection are equal, that is the number of events. An HF that reads zero while others do not was out of the
    run, and tells nothing.

    Parameters
    ----------
    counts
        Digis, shape (ls, channel).
    channels
        One row per channel, with the column ``subdet``.

    Examples
    --------
    >>> table = pd.DataFrame({"subdet": ["HB", "HF", "HF"]})
    >>> events_from_hf(np.array([[3, 9, 9], [3, 9, 8], [3, 0, 0]]), table).tolist()
    [9, -1, -1]
    """
    forward = channels["subdet"].to_numpy(str) == "HF"
    unknown = np.full(counts.shape[0], UNKNOWN_EVENTS, dtype=np.int64)
    if not forward.any():
        return unknown
    cells = counts[:, forward]
    level = cells[:, 0]
    silent = (level == 0) & counts.any(axis=1)
    told = (cells == level[:, np.newaxis]).all(axis=1) & ~silent
    # A level that is no number of events (NaN, a fraction) is the business of the checks on counts.
    told &= np.isfinite(level) & (level == np.floor(level)) & (level >= 0)
    unknown[told] = level[told].astype(np.int64)
    return unknown
