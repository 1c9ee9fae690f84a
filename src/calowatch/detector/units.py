"""Names of everything that can fail together, from one channel to a readout driver, and how to find them.

=========  ==============  ===========================================================
unit type  name            what it is
=========  ==============  ===========================================================
channel    HE-27-33-3      subdetector, signed ieta, iphi, depth
fibre      HEP07-RM3-F4    one optical link; HFP01-C3-F4 in HF, which has no modules
card       HEP07-RM3-C2    one digitizer card; HFP01-C3 in HF
rm         HEP07-RM3       one readout module
rbx        HEP07           one readout box
uhtr       uHTR-24-05      one back-end board: crate, slot
fed        FED-1100        one readout driver: half a crate
ring       HE+27d3         all iphi of one ieta and depth
=========  ==============  ===========================================================
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.core.errors import UnknownNameError, nearest

__all__ = ["UNIT_TYPES", "find_unit", "unit_names"]

UNIT_TYPES = ("channel", "fibre", "card", "rm", "rbx", "uhtr", "fed", "ring")
"""Kinds of units, from the smallest; columns of `unit_names`, except that channels stand in ``channel_name``."""

_EXAMPLES = "HEP07, HEP07-RM3, HEP07-RM3-C2, HEP07-RM3-F4, uHTR-24-05, FED-1100, HE+27d3 or HE-27-33-3"

Mask = npt.NDArray[np.bool_]


def _texts(column: "pd.Series[Any]", prefix: str) -> npt.NDArray[np.object_]:
    """Return prefix and number, ``""`` where the number is unknown."""
    numbers = column.fillna(-1).to_numpy(np.int64)
    texts = np.array([f"{prefix}{n}" for n in range(int(numbers.max(initial=0)) + 1)] + [""], dtype=object)
    chosen: npt.NDArray[np.object_] = texts[numbers]
    return chosen


def _joined(first: npt.NDArray[np.object_], second: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    known = (first != "") & (second != "")
    return np.where(known, first + second, "")


def unit_names(table: pd.DataFrame) -> pd.DataFrame:
    """Return the names of the units that each channel belongs to.

    Parameters
    ----------
    table
        Channels with the columns of `calowatch.detector.table.channel_table`; any subset, any order.

    Returns
    -------
    DataFrame with the index of ``table`` and the columns ``fibre``, ``card``, ``rm``, ``rbx``, ``uhtr``, ``fed``,
    ``ring`` and ``channel_name``; ``""`` where unknown.

    Examples
    --------
    >>> from calowatch.detector.table import channel_table
    >>> table = channel_table("run3").query("subdet == 'HE' and ieta == 27 and iphi == 25 and depth == 3")
    >>> unit_names(table).iloc[0].tolist()
    ['HEP07-RM3-F4', 'HEP07-RM3-C2', 'HEP07-RM3', 'HEP07', 'uHTR-21-11', 'FED-1105', 'HE+27d3', 'HE+27-25-3']
    """
    rbx = table["rbx"].to_numpy(object)
    rm = _joined(rbx, _texts(table["rm"], "-RM"))
    card = _texts(table["card"], "-C")
    in_box = _joined(rbx, card)
    without_rm = (rm == "") & (table["subdet"] == "HF").to_numpy(bool)
    ieta = np.array([f"{i:+d}" for i in range(-41, 42)], dtype=object)[table["ieta"].to_numpy(np.int64) + 41]
    tower = table["subdet"].to_numpy(object) + ieta
    depth = table["depth"]
    return pd.DataFrame(
        {
            "fibre": _joined(np.where(without_rm, in_box, rm), _texts(table["fibre"], "-F")),
            "card": np.where(without_rm, in_box, _joined(rm, card)),
            "rm": rm,
            "rbx": rbx,
            "uhtr": table["uhtr"].to_numpy(object),
            "fed": _texts(table["fed"], "FED-"),
            "ring": tower + _texts(depth, "d"),
            "channel_name": tower + _texts(table["iphi"], "-") + _texts(depth, "-"),
        },
        index=table.index,
    )


@dataclass(frozen=True)
class _Pattern:
    """How one kind of name is written, and which table columns its parts are."""

    unit_type: str
    regex: re.Pattern[str]

    def read(self, name: str) -> dict[str, str] | None:
        match = self.regex.fullmatch(name)
        return {key: value for key, value in match.groupdict().items() if value} if match else None


def _pattern(unit_type: str, regex: str) -> _Pattern:
    return _Pattern(unit_type, re.compile(regex, re.IGNORECASE))


_RBX = r"(?P<rbx>H[BEF][PM]\d\d|HO0\d\d|HO[12][PM]\d\d)"
_HF_BOX = r"(?P<rbx>HF[PM]\d\d)"
_TOWER = r"(?P<subdet>H[BEFO])\s*(?P<ieta>[+-]?\d+)"
_PATTERNS = (
    _pattern("rbx", _RBX),
    _pattern("rm", rf"{_RBX}-RM(?P<rm>\d)"),
    _pattern("card", rf"{_RBX}-RM(?P<rm>\d)-C(?P<card>\d+)"),
    _pattern("card", rf"{_HF_BOX}-C(?P<card>\d+)"),
    _pattern("fibre", rf"{_RBX}-RM(?P<rm>\d)-F(?P<fibre>\d+)"),
    _pattern("fibre", rf"{_HF_BOX}-C(?P<card>\d+)-F(?P<fibre>\d+)"),
    _pattern("uhtr", r"uHTR-(?P<crate>\d+)-(?P<slot>\d+)"),
    _pattern("fed", r"FED-?(?P<fed>\d+)"),
    _pattern("ring", rf"{_TOWER}\s*d(?P<depth>\d)"),
    _pattern("channel", rf"{_TOWER}[-\s]+(?P<iphi>\d+)[-\s]+(?P<depth>\d+)"),
)

_TEXT_COLUMNS = ("rbx", "subdet")


def _mask(table: pd.DataFrame, parts: Mapping[str, str]) -> Mask:
    """Return the rows that agree with every part; an unknown cell agrees with none."""
    rows = np.ones(len(table), dtype=bool)
    for column, text in parts.items():
        wanted = text.upper() if column in _TEXT_COLUMNS else int(text)
        rows &= (table[column] == wanted).fillna(value=False).to_numpy(bool)
    return rows


def find_unit(name: str, table: pd.DataFrame) -> tuple[str, Mask]:
    """Return what a name means: its unit type and its rows of the table.

    Parameters
    ----------
    name
        A unit in any spelling of the module's list; capitals do not matter, ``uHTR-24-5`` and a channel written
        with spaces (``HE -27 33 3``) are understood.
    table
        The channel table to look in.

    Returns
    -------
    The unit type (one of `UNIT_TYPES`) and a boolean array over the rows of ``table``, with at least one row set.

    Raises
    ------
    UnknownNameError
        When there is no such unit; it names the nearest, or which iphi and depths a tower has.

    Examples
    --------
    >>> from calowatch.detector.table import channel_table
    >>> unit_type, rows = find_unit("hep07-rm3", channel_table("run3"))
    >>> unit_type, int(rows.sum())
    ('rm', 46)
    """
    text = " ".join(name.split())
    unit_type = "unit"
    for pattern in _PATTERNS:
        parts = pattern.read(text)
        if parts is None:
            continue
        unit_type = pattern.unit_type
        rows = _mask(table, parts)
        if rows.any():
            return unit_type, rows
        if "ieta" in parts:
            raise _missing_cell(text, parts, table)
    raise _missing_unit(text, unit_type, table)


def _ranges(numbers: Iterable[int]) -> str:
    """Return sorted numbers as words: ``"1, 2, .. 72"``, with the step visible."""
    listed = sorted(set(numbers))
    if len(listed) <= 8:
        return ", ".join(map(str, listed))
    return f"{listed[0]}, {listed[1]}, {listed[2]}, .. {listed[-1]}"


def _missing_cell(name: str, parts: Mapping[str, str], table: pd.DataFrame) -> UnknownNameError:
    """Walk from the subdetector inwards and say what exists where the name stops being true."""
    place = parts["subdet"].upper()
    rows = table[table["subdet"] == place]
    if rows.empty:
        return UnknownNameError(name, "channels that are here", f"no {place} among them", "choose another")
    for column in ("ieta", "iphi", "depth"):
        if column not in parts:
            continue
        asked = int(parts[column])
        here = rows[rows[column] == asked]
        if here.empty:
            by_size = column == "ieta"
            exist = _ranges(rows[column].abs() if by_size else rows[column])
            wanted = f"{'abs(ieta)' if by_size else column} of {place} among {exist}"
            return UnknownNameError(name, wanted, f"{column} {asked}", _cover(rows, column, asked))
        rows = here
        place += f" {column} {asked}"
    return UnknownNameError(name, f"a {place} among these channels", "none", "choose another")


def _cover(rows: pd.DataFrame, column: str, asked: int) -> str:
    """Return the advice for a cell that does not exist: for an iphi inside a wide cell, that cell."""
    if column == "iphi" and 1 <= asked <= 72:
        wide = rows["iphi"][(asked - rows["iphi"]) % 72 < rows["dphi"]]
        if len(wide):
            return f"iphi {wide.iloc[0]} is the cell that covers it"
    return "choose one of those"


def _missing_unit(name: str, unit_type: str, table: pd.DataFrame) -> UnknownNameError:
    names = unit_names(table).drop(columns="channel_name")
    if unit_type in names and (names[unit_type] == "").all():
        return UnknownNameError(
            name, "a unit that is known in this era", f"no {unit_type} at all", "ask for another kind, or era"
        )
    known = [str(unit) for column in names for unit in names[column].unique() if unit]
    padded = re.sub(r"^(H[BEF][PM])(\d)(?!\d)", r"\g<1>0\2", name.upper())
    if padded in known:
        advice = f"did you mean {padded}?"
    else:
        # Only the h of uHTR and the d of rings are small, and no two names differ by that alone.
        original = {unit.upper(): unit for unit in known}
        advice = nearest(name.upper(), original)
        advice = re.sub(r"[A-Z][A-Z0-9+-]+", lambda word: original.get(word[0], word[0]), advice)
    return UnknownNameError(name, f"a unit such as {_EXAMPLES}", "no such unit in this era", advice)
