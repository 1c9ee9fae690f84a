"""The channel table: one row per channel of an era, with its number, its place and its electronics."""

import hashlib
from collections.abc import Iterable
from functools import cache

import pandas as pd

from calowatch.detector.electronics import COLUMNS, electronics
from calowatch.detector.index import channel_id
from calowatch.detector.segmentation import check_era, segmentation

__all__ = ["channel_table", "electronics_hash", "segmentation_hash", "wiring_hash"]

_SEGMENTATION_COLUMNS = ("subdet", "ieta", "iphi", "depth", "dphi", "technology")


@cache
def _channel_table(era: str) -> pd.DataFrame:
    table = segmentation(era)
    ids = channel_id(table["subdet"].to_numpy(str), table["ieta"], table["iphi"], table["depth"])
    table.insert(0, "channel", ids)
    return pd.concat([table, electronics(table, era)], axis="columns")


def channel_table(era: str) -> pd.DataFrame:
    """Return every channel of an era, in the order of every array of this package.

    Parameters
    ----------
    era
        ``"2017"``, ``"2018"`` or ``"run3"``.

    Returns
    -------
    DataFrame with ``channel`` (its number), ``subdet``, ``ieta``, ``iphi``, ``depth``, ``dphi`` (in units of 5
    degrees), ``technology``, and the electronics: names ``rbx`` and ``uhtr`` (``""`` where unknown), numbers ``rm``,
    ``card``, ``fibre``, ``crate``, ``slot``, ``fed`` (Int16, ``<NA>`` where unknown). A copy: change it freely.

    Raises
    ------
    UnknownNameError
        For an era that does not exist.

    Examples
    --------
    >>> len(channel_table("run3"))
    21456
    """
    return _channel_table(check_era(era)).copy()


def _hash(table: pd.DataFrame, columns: Iterable[str]) -> str:
    text = table[list(columns)].to_csv(index=False, na_rep="", lineterminator="\n")
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def segmentation_hash(era: str) -> str:
    """Return the SHA-256 of which channels exist in an era and in which order: what a trained bundle depends on."""
    return _hash(channel_table(era), _SEGMENTATION_COLUMNS)


def wiring_hash(table: pd.DataFrame) -> str:
    """Return the SHA-256 of the wiring that a channel table holds, the user's own maps included.

    Examples
    --------
    >>> wiring_hash(channel_table("run3")) == electronics_hash("run3")
    True
    """
    return _hash(table, ("channel", *COLUMNS))


@cache
def electronics_hash(era: str) -> str:
    """Return the SHA-256 of the wiring of an era: what a verdict depends on."""
    return wiring_hash(channel_table(era))
