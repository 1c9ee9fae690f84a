"""Where a map and the built-in channel table disagree."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from calowatch.detector.electronics import COLUMNS
from calowatch.detector.segmentation import SUBDETS
from calowatch.detector.table import channel_table
from calowatch.detector.units import unit_names

__all__ = ["ColumnComparison", "Example", "MapComparison", "SubdetComparison", "compare_map"]

SHOWN = 3


@dataclass(frozen=True)
class Example:
    """One cell that differs: the channel's name, what the table says and what the map says."""

    channel: str
    table: str
    map: str


@dataclass(frozen=True)
class ColumnComparison:
    """One column: how many channels both know, on how many they differ, and the first of these."""

    compared: int
    different: int
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class SubdetComparison:
    """One subdetector of a map.

    Parameters
    ----------
    channels
        How many channels the map has.
    missing, extra
        Names of channels that only the table, or only the map, has.
    columns
        By column that the map has: ``dphi`` and the electronics.
    """

    channels: int
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    columns: Mapping[str, ColumnComparison]

    @property
    def same_channels(self) -> bool:
        """Whether map and table hold the same channels, of the same width."""
        width = self.columns.get("dphi")
        return not (self.missing or self.extra or (width and width.different))

    @property
    def different_cells(self) -> int:
        """How many cells of the electronics differ."""
        return sum(column.different for name, column in self.columns.items() if name != "dphi")


@dataclass(frozen=True)
class MapComparison:
    """A map beside the built-in table of an era, by subdetector."""

    era: str
    subdets: Mapping[str, SubdetComparison]

    @property
    def same_channels(self) -> bool:
        """Whether the map leaves the segmentation as it is."""
        return all(part.same_channels for part in self.subdets.values())


def compare_map(channels: pd.DataFrame, era: str) -> MapComparison:
    """Compare a map with the built-in channel table, cell by cell; a blank agrees with anything.

    Only subdetectors that the map holds take part.

    Parameters
    ----------
    channels
        One row per channel, each once, with ``channel``, ``subdet``, ``ieta``, ``iphi``, ``depth`` and any of ``dphi``
        and the electronics columns; others are passed over.
    era
        ``"2017"``, ``"2018"`` or ``"run3"``.

    Raises
    ------
    UnknownNameError
        For an era that does not exist.

    Examples
    --------
    >>> table = channel_table("run3").query("subdet == 'HE'")
    >>> found = compare_map(table.assign(crate=table["crate"] + 1), "run3").subdets["HE"]
    >>> found.different_cells, found.columns["crate"].examples[0]
    (6768, Example(channel='HE-29-1-1', table='30', map='31'))
    """
    table = channel_table(era)
    present = set(channels["subdet"])
    return MapComparison(
        era,
        {
            subdet: _compare(table[table["subdet"] == subdet], channels[channels["subdet"] == subdet])
            for subdet in SUBDETS
            if subdet in present
        },
    )


def _names(rows: pd.DataFrame) -> tuple[str, ...]:
    blank = pd.DataFrame(
        {
            name: "" if name in ("rbx", "uhtr") else pd.array([pd.NA] * len(rows), dtype="Int16")
            for name in COLUMNS
        },
        index=rows.index,
    )
    whole = rows[["subdet", "ieta", "iphi", "depth"]].join(blank)
    return tuple(str(name) for name in unit_names(whole)["channel_name"])


def _compare(table: pd.DataFrame, own: pd.DataFrame) -> SubdetComparison:
    missing = table[~table["channel"].isin(own["channel"])]
    extra = own[~own["channel"].isin(table["channel"])]
    both = table[table["channel"].isin(own["channel"])].set_index("channel", drop=False)
    theirs = own.set_index("channel").loc[both["channel"]]
    columns = {name: _column(both, theirs, name) for name in ("dphi", *COLUMNS) if name in own}
    return SubdetComparison(len(own), _names(missing), _names(extra), columns)


def _column(table: pd.DataFrame, own: pd.DataFrame, name: str) -> ColumnComparison:
    ours, theirs = (frame[name].astype("string").fillna("") for frame in (table, own))
    filled = ((ours != "") & (theirs != "")).to_numpy(bool)
    different = filled & (ours != theirs).to_numpy(bool)
    first = np.flatnonzero(different)[:SHOWN]
    names = _names(table.iloc[first])
    examples = tuple(
        Example(channel, str(ours.iloc[i]), str(theirs.iloc[i]))
        for channel, i in zip(names, first, strict=True)
    )
    return ColumnComparison(int(filled.sum()), int(different.sum()), examples)
