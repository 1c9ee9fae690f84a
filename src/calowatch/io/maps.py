"""Electronics maps as text: EMap and LMap, as CMS HCAL writes them.

* EMap: twelve columns in a fixed order, ``i cr sl tb dcc spigot fib fibch subdet eta phi dep``; ieta is signed. It
  knows the back end only. The first column is a placeholder, the same in all rows, and no key.
* LMap: columns by name, in an order and a spelling that differ between eras and subdetectors; ieta is ``Side * Eta``.
  It knows front end and back end, and the serial number of each digitizer card.

Rows of unconnected channels (HBX, HEX, HOX), trigger links (HT), calibration (CALIB_*) and the laser monitor
(LASMON) are set aside and counted.
"""

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from calowatch.core.errors import FormatError
from calowatch.core.files import atomic_file
from calowatch.detector.electronics import COLUMNS
from calowatch.detector.index import channel_id
from calowatch.detector.segmentation import SUBDETS

__all__ = ["ElectronicsMap", "read_map", "write_map"]

_NUMBERS = ("rm", "card", "fibre", "crate", "slot", "fed")
_EMAP_NAMES = "i cr sl tb dcc spigot fib fibch subdet eta phi dep"
_EMAP = {"crate": 1, "slot": 2, "board": 3, "subdet": 8, "ieta": 9, "iphi": 10, "depth": 11}
_EMAP_COLUMNS = 12
_EMAP_LEAST = 9  # a link to nothing ends with its kind
_EMAP_BOARDS = ("u", "t", "b")
_OTHER_ROWS = re.compile(
    r"H[BEFO]X|HT|NT|NA|CALIB.*|LASMON.*|ZDC.*|UMNQIE.*|CASTOR.*|UNKNOWN|H_UNKNOWN", re.IGNORECASE
)

# What a column of an LMap means, by its name in small letters without "_" and blanks.
_LMAP_NAMES = {
    "side": ("side",),
    "tower": ("eta", "abseta", "ieta"),
    "iphi": ("phi", "iphi"),
    "dphi": ("dphi",),
    "depth": ("depth", "dep"),
    "subdet": ("det", "subdet", "subdetector"),
    "rbx": ("rbx", "ngrbx"),
    "rm": ("rm", "rmrbx"),
    "card": ("qie", "qie8", "qie10", "qie11", "qiecard"),
    "fibre": ("rmfi", "rmfib", "rmfiber", "rmfibre", "qiefi", "qiefib", "qiefiber"),
    "crate": ("crate", "ucrate", "cr"),
    "slot": ("uhtr", "htr"),
    "fed": ("fedid", "fed"),
    "qie_id": ("qieid", "qie8id", "qie10id", "qie11id", "qieserial"),
}
_LMAP_NEEDED = ("side", "tower", "iphi", "depth", "subdet")
_BARCODE = "qie10barcode"

# What stands for a serial number or a place that nobody has written down.
_NO_SERIAL = frozenset({"0", "-1", "-999", "999999", "NA", "N/A", "-"})
_NO_NUMBER = frozenset({"NA", "N/A", "-"})
_MOST = 9999


@dataclass(frozen=True)
class ElectronicsMap:
    """What a map file says.

    Parameters
    ----------
    name
        Of the file, without folders.
    kind
        ``"EMap"`` or ``"LMap"``.
    channels
        One row per channel, in the order of the file: ``channel`` (its number), ``subdet``, ``ieta``, ``iphi``,
        ``depth``, ``line`` (in the file), and those of ``dphi``, the electronics columns of
        `calowatch.detector.table.channel_table` and ``qie_id`` that the file has. Texts ``""`` and numbers ``<NA>``
        where unknown.
    set_aside
        How many rows of each other kind there were.
    vme
        How many channels sit on VME boards (HTR), which have no uHTR name.
    """

    name: str
    kind: str
    channels: pd.DataFrame
    set_aside: Mapping[str, int]
    vme: int

    @property
    def subdets(self) -> tuple[str, ...]:
        """Subdetectors in the file, in the order of the channel table."""
        present = set(self.channels["subdet"])
        return tuple(subdet for subdet in SUBDETS if subdet in present)

    @property
    def serials(self) -> int:
        """How many different serial numbers of cards it names."""
        if "qie_id" not in self.channels:
            return 0
        return len(set(self.channels["qie_id"]) - {""})


@dataclass(frozen=True)
class _Line:
    """One line of the file, with what is needed to complain about it."""

    path: Path
    number: int
    words: list[str]

    def wrong(self, expected: str, found: str) -> FormatError:
        return FormatError(
            f"{self.path}, line {self.number}", expected, found, "copy the file again, or correct the line"
        )

    def whole(self, position: int, what: str) -> int:
        try:
            return int(self.words[position])
        except ValueError:
            raise self.wrong(f"a whole number as {what}", repr(self.words[position])) from None

    def small(self, position: int, what: str) -> int:
        """Return a number of an address, 0 where the file says that there is none."""
        if self.words[position].upper() in _NO_NUMBER:
            return 0
        number = self.whole(position, what)
        if abs(number) > _MOST:
            raise self.wrong(f"{what} below {_MOST + 1}", str(number))
        return number


@dataclass(frozen=True)
class _Layout:
    """How the rows of a file are read."""

    kind: str
    fits: Callable[[_Line], None]
    subdet: Callable[[_Line], str]
    row: Callable[[_Line], dict[str, object]]


def read_map(path: Path | str) -> ElectronicsMap:
    """Read an EMap or LMap, plain or compressed with gzip.

    Raises
    ------
    FormatError
        With file and line, when the file is not a map, is cut off, or names a channel twice.
    """
    path = Path(path)
    heads, lines = _split(path)
    layout = _layout(path, heads, lines)
    rows, aside = [], Counter[str]()
    for line in lines:
        layout.fits(line)
        subdet = layout.subdet(line).upper()
        if subdet in SUBDETS:
            rows.append({"subdet": subdet, **layout.row(line), "line": line.number})
        elif _OTHER_ROWS.fullmatch(subdet):
            aside[subdet] += 1
        else:
            raise line.wrong(f"a subdetector such as {', '.join(SUBDETS)}", repr(subdet))
    if not rows:
        raise FormatError(path, "channels of HB, HE, HF or HO", "none", "give an EMap or LMap of HCAL")
    channels, vme = _frame(path, rows)
    return ElectronicsMap(path.name, layout.kind, channels, dict(aside), vme)


def write_map(path: Path | str, found: ElectronicsMap) -> None:
    """Write the channels of a map as CSV, one row each, atomically; unknown cells are empty."""
    with atomic_file(path) as scratch:
        found.channels.to_csv(scratch, index=False, na_rep="", lineterminator="\n")


def _texts(path: Path) -> Iterator[str]:
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    opener = gzip.open if packed else open
    number = 0
    try:
        with opener(path, "rt", encoding="ascii") as text:
            for number, line in enumerate(text, start=1):  # noqa: B007 - the error below names it
                yield line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FormatError(
            f"{path}, after line {number}", "a whole gzip file", f"a broken one ({error})", "copy it again"
        ) from error
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path}, after line {number}", "plain text", "other bytes", "give an EMap or LMap text file"
        ) from error


def _split(path: Path) -> tuple[list[list[str]], list[_Line]]:
    """Return the words of the heading lines, and the lines of data.

    Headings begin with ``#``; in some files the first line is one without that mark.
    """
    if not path.is_file():
        raise FormatError(path, "an EMap or LMap text file", "no such file", "check the name")
    heads: list[list[str]] = []
    lines: list[_Line] = []
    for number, text in enumerate(_texts(path), start=1):
        words = text.split()
        if not words:
            continue
        bare = not lines and not heads and {"det", "subdet"} & {_plain(word) for word in words}
        if text.lstrip().startswith("#") or bare:
            heads.append(text.replace("#", " ").split())
        else:
            lines.append(_Line(path, number, words))
    if not lines:
        raise FormatError(path, "rows of an EMap or LMap", "none", "copy the file again")
    return heads, lines


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _layout(path: Path, heads: Sequence[list[str]], lines: Sequence[_Line]) -> _Layout:
    """Return how to read the rows; a heading may run over several lines."""
    first = lines[0].words
    whole = [word for head in heads for word in head]
    named = [[_plain(name) for name in head] for head in (*heads, whole)]
    named = [names for names in named if all(name in _lmap_columns(names) for name in _LMAP_NEEDED)]
    if named:
        names = min(named, key=lambda names: abs(len(names) - len(first)))
        return _lmap(names, _lmap_columns(names))
    if len(first) >= _EMAP_LEAST and first[_EMAP["board"]] in _EMAP_BOARDS:
        return _EMAP_LAYOUT
    raise FormatError(
        f"{path}, line {lines[0].number}",
        f"the rows of an EMap ({_EMAP_NAMES}) or an LMap with columns Side, Eta, Phi, Depth, Det named above",
        " ".join(first)[:60],
        "give an EMap or LMap text file, with its heading",
    )


def _lmap_columns(names: Sequence[str]) -> dict[str, int]:
    """Return where each column that matters stands; uHTR goes before HTR where a file has both."""
    found = {}
    for meaning, spellings in _LMAP_NAMES.items():
        place = next((names.index(spelling) for spelling in spellings if spelling in names), None)
        if place is not None:
            found[meaning] = place
    return found


def _emap_fits(line: _Line) -> None:
    least = _EMAP_COLUMNS
    if len(line.words) >= _EMAP_LEAST and line.words[_EMAP["subdet"]].upper() not in SUBDETS:
        least = _EMAP_LEAST
    if not least <= len(line.words) <= _EMAP_COLUMNS:
        raise line.wrong(f"{_EMAP_COLUMNS} columns ({_EMAP_NAMES})", f"{len(line.words)}")


def _emap_row(line: _Line) -> dict[str, object]:
    board = line.words[_EMAP["board"]]
    if board not in _EMAP_BOARDS:
        raise line.wrong("tb to be u (uTCA), t or b (VME)", repr(board))
    row: dict[str, object] = {
        name: line.small(_EMAP[name], name) for name in ("ieta", "iphi", "depth", "crate", "slot")
    }
    return {**row, "vme": board != "u"}


_EMAP_LAYOUT = _Layout("EMap", _emap_fits, lambda line: line.words[_EMAP["subdet"]], _emap_row)


def _lmap(names: Sequence[str], columns: Mapping[str, int]) -> _Layout:
    """Return how to read an LMap. The bar code of HF cards is written as two words."""
    barcode = names.index(_BARCODE) if _BARCODE in names else len(names)
    vme = "uhtr" not in names

    def fits(line: _Line) -> None:
        allowed = {len(names), len(names) + 1} if _BARCODE in names else {len(names)}
        if len(line.words) not in allowed:
            raise line.wrong(f"{len(names)} columns, as the heading has", f"{len(line.words)} words")

    def at(line: _Line, name: str) -> int:
        place = columns[name]
        return place + (place > barcode) * (len(line.words) - len(names))

    def row(line: _Line) -> dict[str, object]:
        side = line.whole(at(line, "side"), "Side")
        tower = line.whole(at(line, "tower"), "Eta")
        if side not in (-1, 1) or tower < 1:
            raise line.wrong("Side to be -1 or 1, and Eta above 0", f"Side {side}, Eta {tower}")
        values: dict[str, object] = {"ieta": side * tower, "vme": vme}
        for name in ("iphi", "depth", "dphi", *_NUMBERS):
            if name in columns:
                values[name] = line.small(at(line, name), name)
        if "rbx" in columns:
            values["rbx"] = line.words[at(line, "rbx")]
        if "qie_id" in columns:
            serial = line.words[at(line, "qie_id")]
            values["qie_id"] = "" if serial in _NO_SERIAL else serial
        return values

    return _Layout("LMap", fits, lambda line: line.words[at(line, "subdet")], row)


def _frame(path: Path, rows: list[dict[str, object]]) -> tuple[pd.DataFrame, int]:
    table = pd.DataFrame(rows)
    wrong = ~(
        table["ieta"].abs().between(1, 41) & table["iphi"].between(1, 72) & table["depth"].between(1, 7)
    )
    if wrong.any():
        first = table[wrong].iloc[0]
        place = f"{first['subdet']} {first['ieta']} {first['iphi']} {first['depth']}"
        raise FormatError(
            f"{path}, line {first['line']}",
            "abs(ieta) 1-41, iphi 1-72, depth 1-7",
            place,
            "copy the file again, or correct the line",
        )
    ids = channel_id(table["subdet"].to_numpy(str), table["ieta"], table["iphi"], table["depth"])
    table.insert(0, "channel", ids)
    _check_once(path, table)
    vme = table.pop("vme").to_numpy(bool)
    for name in _NUMBERS:
        if name in table:
            numbers = table[name].to_numpy(np.int64)
            table[name] = pd.arrays.IntegerArray(numbers.astype(np.int16), numbers <= 0)
    if "slot" in table and "crate" in table:
        table["uhtr"] = _boards(table, vme)
    places = ("subdet", "ieta", "iphi", "depth", "dphi")
    order = ["channel", *places, *COLUMNS, "qie_id", "line"]
    return table[[name for name in order if name in table]], int(vme.sum())


def _boards(table: pd.DataFrame, vme: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> list[str]:
    known = (table["crate"].notna() & table["slot"].notna()).to_numpy(bool) & ~vme
    pairs = zip(known, table["crate"], table["slot"], strict=True)
    return [f"uHTR-{crate:02d}-{slot:02d}" if good else "" for good, crate, slot in pairs]


def _check_once(path: Path, table: pd.DataFrame) -> None:
    again = table["channel"].duplicated()
    if again.any():
        second = table[again].iloc[0]
        first = table[table["channel"] == second["channel"]].iloc[0]
        raise FormatError(
            f"{path}, line {second['line']}",
            "each channel once",
            f"{second['subdet']} {second['ieta']} {second['iphi']} {second['depth']} as in line {first['line']}",
            "keep the line that is right",
        )
