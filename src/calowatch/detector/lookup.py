"""Where a channel or unit sits, and what fails with it."""

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from calowatch.detector.index import analyzer_index, canonical_index, dqm_index, dqm_plane
from calowatch.detector.units import UNIT_TYPES, find_unit, unit_names
from calowatch.detector.user_conditions import maps_for, table_for

__all__ = ["ETA_EDGES", "Description", "describe"]

# Towers of HB and of HE up to abs(ieta) 20 are 0.087 wide.
ETA_EDGES = np.concatenate(
    [
        np.round(0.087 * np.arange(21), 3),
        [1.830, 1.930, 2.043, 2.172, 2.322, 2.500, 2.650, 2.868, 3.000],
    ]
)
"""Edges in abs(eta) of abs(ieta) 1..29 of HB, HE and HO; HF has towers of its own. Source: public CMSSW geometry."""

_ELECTRONICS = ("rbx", "rm", "card", "fibre", "crate", "slot", "uhtr", "fed")
_HARDWARE = ("fibre", "card", "rm", "rbx", "uhtr", "fed")


@dataclass(frozen=True)
class Description:
    """What is known of one channel or unit.

    Parameters
    ----------
    name, unit_type, era
        What it is, in the spelling of `calowatch.detector.units`.
    channels
        Number of channels by subdetector.
    ieta, depth
        Lowest and highest value, inclusive.
    iphi
        First and last 5-degree step covered, in the direction of growing iphi; ``(71, 2)`` runs over 72 and 1.
        ``None`` where the steps are not in one piece.
    eta
        Lowest and highest pseudorapidity, ``None`` for HF.
    phi
        From where to where, in degrees; ``None`` as for ``iphi``.
    electronics
        Address where it is one and the same for all channels: rbx, rm, card, fibre, crate, slot, uhtr, fed.
    units
        By unit type, the units it belongs to or is made of.
    shares
        By unit type, what else of its own kind sits on the units of that type it uses.
    indices
        For a channel: its number and its place in the grids of `calowatch.detector.index` that have room for it.
    card_serials
        Serial numbers of the cards it sits on or is made of, by card, where a map of the user's tells them.
    maps
        The user's own maps that were laid over the built-in wiring, in words.
    """

    name: str
    unit_type: str
    era: str
    channels: dict[str, int]
    ieta: tuple[int, int]
    depth: tuple[int, int]
    iphi: tuple[int, int] | None
    eta: tuple[float, float] | None
    phi: tuple[float, float] | None
    electronics: dict[str, str | int]
    units: dict[str, list[str]]
    shares: dict[str, list[str]]
    indices: dict[str, Any]
    card_serials: dict[str, str] = field(default_factory=dict)
    maps: list[str] = field(default_factory=list)


def _iphi_arc(rows: pd.DataFrame) -> tuple[int, int] | None:
    """Return the first and last step of 5 degrees covered, if they lie in one piece."""
    covered = np.zeros(72, dtype=bool)
    for step in range(4):
        wide = rows["dphi"] > step
        covered[(rows["iphi"][wide].to_numpy(np.int64) - 1 + step) % 72] = True
    if covered.all():
        return 1, 72
    starts = np.flatnonzero(covered & ~np.roll(covered, 1))
    if len(starts) != 1:
        return None
    first = int(starts[0])
    return first + 1, (first + int(covered.sum()) - 1) % 72 + 1


def _eta_range(rows: pd.DataFrame) -> tuple[float, float] | None:
    if (rows["subdet"] == "HF").any():
        return None
    ieta = rows["ieta"].to_numpy(np.int64)
    inner, outer = ETA_EDGES[np.abs(ieta) - 1], ETA_EDGES[np.abs(ieta)]
    low, high = np.where(ieta > 0, inner, -outer), np.where(ieta > 0, outer, -inner)
    return float(low.min()) + 0.0, float(high.max()) + 0.0  # no minus zero


def _indices(row: "pd.Series[Any]", era: str) -> dict[str, Any]:
    subdet, ieta, iphi, depth = (row[name] for name in ("subdet", "ieta", "iphi", "depth"))
    found: dict[str, Any] = {"channel": int(row["channel"])}
    if subdet in ("HB", "HE"):
        found["canonical"] = [int(i) for i in canonical_index(ieta, iphi, depth)]
        found["analyzer"] = [f"depth{depth}", *(int(i) for i in analyzer_index(ieta, iphi))]
    plane = dqm_plane(str(subdet), int(depth), era)
    found["dqm"] = [plane, *(int(i) for i in dqm_index(subdet, ieta, iphi))]
    return found


def _address(rows: pd.DataFrame) -> dict[str, str | int]:
    """Return the electronics columns that hold one and the same known value in all rows."""
    address: dict[str, str | int] = {}
    for column in _ELECTRONICS:
        values = rows[column].unique()
        if len(values) == 1 and not pd.isna(values[0]) and values[0] != "":
            address[column] = str(values[0]) if column in ("rbx", "uhtr") else int(values[0])
    return address


def _known(names: "pd.Series[Any]") -> list[str]:
    """Return the different names, with the numbers inside them in order (C3 before C10), rings by place."""
    known = [str(name) for name in names.unique() if name]
    return known if names.name in ("ring", "channel") else sorted(known, key=_natural)


def _natural(name: str) -> list[tuple[str, int]]:
    return [(word, int(number or 0)) for word, number in re.findall(r"(\D+)(\d*)", name)]


def _shares(names: pd.DataFrame, rows: Any, unit_type: str) -> dict[str, list[str]]:
    """Return, by type of hardware, the other units of ``unit_type`` on the hardware that ``rows`` use."""
    if unit_type == "ring":
        return {}
    own = set(names[unit_type][rows])
    shares = {}
    for hardware in _HARDWARE:
        used = _known(names[hardware][rows])
        others = [name for name in _known(names[unit_type][names[hardware].isin(used)]) if name not in own]
        if others:
            shares[hardware] = others
    return shares


def _serials(cards: "pd.Series[Any]", serials: "pd.Series[Any]") -> dict[str, str]:
    pairs = {(str(card), str(serial)) for card, serial in zip(cards, serials, strict=True) if card and serial}
    return dict(sorted(pairs, key=lambda pair: _natural(pair[0])))


def describe(name: str, era: str = "run3", run: int | None = None) -> Description:
    """Return where a channel or unit sits, its size, and what shares its electronics.

    Parameters
    ----------
    name
        As `calowatch.detector.units.find_unit` takes it.
    era
        ``"2017"``, ``"2018"`` or ``"run3"``.
    run
        In which run, where the user has maps of their own; by default the newest of them count.

    Raises
    ------
    UnknownNameError
        When the era or the unit does not exist.

    Examples
    --------
    >>> found = describe("HE -27 33 3")
    >>> found.units["fibre"], found.shares["fibre"]
    (['HEM09-RM2-F5'], ['HE-29-33-3', 'HE-27-33-5', 'HE-27-33-6', 'HE-27-33-7'])
    >>> describe("HEP07-RM3").shares["rbx"]
    ['HEP07-RM1', 'HEP07-RM2', 'HEP07-RM4']
    """
    table = table_for(era, run)
    unit_type, mask = find_unit(name, table)
    names = unit_names(table).rename(columns={"channel_name": "channel"})
    rows = table[mask]
    iphi = _iphi_arc(rows)
    return Description(
        name=str(names[unit_type][mask].iloc[0]),
        unit_type=unit_type,
        era=era,
        channels={str(subdet): int(n) for subdet, n in rows.groupby("subdet").size().items()},
        ieta=(int(rows["ieta"].min()), int(rows["ieta"].max())),
        depth=(int(rows["depth"].min()), int(rows["depth"].max())),
        iphi=iphi,
        eta=_eta_range(rows),
        phi=None if iphi is None else (5.0 * (iphi[0] - 1), 5.0 * iphi[1]),
        electronics=_address(rows),
        units={
            kind: known
            for kind in UNIT_TYPES
            if kind not in ("channel", unit_type) and (known := _known(names[kind][mask]))
        },
        shares=_shares(names, mask, unit_type),
        indices=_indices(rows.iloc[0], era) if unit_type == "channel" else {},
        card_serials=_serials(names["card"][mask], rows["qie_id"]),
        maps=[
            f"{entry.subdet}: {entry.source} {entry.runs}"
            for entry in maps_for(era, run)
            if entry.subdet in set(rows["subdet"])
        ],
    )
