"""The verb ``detector``: what there is in an era, as counts and as a list."""

from pathlib import Path
from typing import Any

import pandas as pd

from calowatch.core.files import atomic_file
from calowatch.detector.segmentation import SUBDETS
from calowatch.detector.units import UNIT_TYPES, find_unit, unit_names
from calowatch.detector.user_conditions import table_for

__all__ = ["CSV_COLUMNS", "detector", "write_channels"]

CSV_COLUMNS = (
    *("subdet", "ieta", "iphi", "depth", "dphi"),
    *("rbx", "rm", "card", "fibre", "crate", "slot", "uhtr", "fed"),
)
"""Columns of the channel list, in order; an empty field where the wiring is unknown."""


def detector(era: str = "run3", run: int | None = None) -> dict[str, Any]:
    """Return how many channels and units an era has.

    Parameters
    ----------
    era
        ``"2017"``, ``"2018"`` or ``"run3"``.
    run
        In which run, where the user has maps of their own; by default the newest of them count.

    Returns
    -------
    ``era``; ``channels`` by subdetector; ``units`` by subdetector and unit type, leaving out types whose wiring is
    unknown. A unit that two subdetectors share is counted in both.

    Raises
    ------
    UnknownNameError
        For an era that does not exist.

    Examples
    --------
    >>> detector("run3")["units"]["HE"]
    {'fibre': 1152, 'card': 576, 'rm': 144, 'rbx': 36, 'uhtr': 72, 'fed': 18, 'ring': 148}
    """
    table = table_for(era, run)
    names = unit_names(table)
    units: dict[str, dict[str, int]] = {}
    for subdet in SUBDETS:
        rows = names[(table["subdet"] == subdet).to_numpy(bool)]
        counts = {
            kind: int(rows[kind][rows[kind] != ""].nunique()) for kind in UNIT_TYPES if kind != "channel"
        }
        units[subdet] = {kind: n for kind, n in counts.items() if n}
    channels = {subdet: int((table["subdet"] == subdet).sum()) for subdet in SUBDETS}
    return {"era": era, "channels": channels, "units": units}


def write_channels(
    path: Path | str, era: str = "run3", unit: str | None = None, run: int | None = None
) -> int:
    """Write the channels of an era, or of one unit, as CSV with the columns `CSV_COLUMNS`; return how many.

    Parameters
    ----------
    path
        The file to create or replace, atomically.
    era
        ``"2017"``, ``"2018"`` or ``"run3"``.
    unit
        A name as `calowatch.detector.units.find_unit` takes it; by default everything.
    run
        As for `detector`. Where a map of the user's tells the cards' serial numbers, they stand in a last column,
        ``qie_id``.

    Raises
    ------
    UnknownNameError
        When the era or the unit does not exist.
    """
    table: pd.DataFrame = table_for(era, run)
    if unit is not None:
        table = table[find_unit(unit, table)[1]]
    serials = ["qie_id"] if (table["qie_id"] != "").any() else []
    with atomic_file(path) as scratch:
        table[[*CSV_COLUMNS, *serials]].to_csv(scratch, index=False, na_rep="", lineterminator="\n")
    return len(table)
