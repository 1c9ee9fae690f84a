"""The channel table: one row per channel of an era, with its number, its place and its electronics."""

import pandas as pd

from calowatch.detector.index import channel_id
from calowatch.detector.segmentation import segmentation

__all__ = ["channel_table"]


def channel_table(era: str) -> pd.DataFrame:
    """Return every channel of an era, in the order of every array of this package.

    Parameters
    ----------
    era
        ``"2017"``, ``"2018"`` or ``"run3"``.

    Examples
    --------
    >>> len(channel_table("run3"))
    21456
    """
    table = segmentation(era)
    ids = channel_id(table["subdet"].to_numpy(str), table["ieta"], table["iphi"], table["depth"])
    table.insert(0, "channel", ids)
    return table
