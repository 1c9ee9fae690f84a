"""What is wired to what: from a channel's place to its readout box, module, card, fibre and back-end board.

The detector is built of equal pieces. One rule per kind of readout box (RBX), turned around the beam and mirrored to
the other side, gives the front end; a few lines per crate give the back end. A cell stays blank where no rule is
sure: a blank agrees with anything, a filled cell must be right.

Source: the public logical maps of CMS HCAL, era M (2019-10) for Run 3. In 2017 and 2018 the same front end was
already installed in HE (2017: only in HEP17); the boxes of HB kept their places when their modules were replaced.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["COLUMNS", "electronics", "rbx_number"]

COLUMNS = ("rbx", "rm", "card", "fibre", "crate", "slot", "uhtr", "fed")
"""Electronics columns of the channel table, in order."""

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

BLANK = 0
"""Stands for "unknown" among the numbers in this file: no crate, slot, card, module or fibre is numbered 0."""

# Per RBX number 1..18 (index 0 unused): the crate that reads it.
_RBX_CRATE = np.array([0, 30, 24, 24, 20, 20, 21, 21, 25, 25, 31, 31, 35, 35, 37, 37, 34, 34, 30])
# Per crate: the FED of its slots 1-6; the next number reads slots 7-12.
_CRATE_FED = {24: 1100, 20: 1102, 21: 1104, 25: 1106, 31: 1108, 35: 1110, 37: 1112, 34: 1114, 30: 1116}
_HF_CRATE = np.array([22, 29, 32])
_HF_FED = 1118
_HO_CRATE = np.array([23, 27, 26, 38])
# A box of HF has nine cards in a row along iphi; the slots between them are not used by channels.
_HF_CARD = np.array([3, 4, 5, 6, 10, 11, 12, 13, 14])
# Which of three pairs of towers a cell of abs(ieta) 29..41 belongs to, on a card with the wide cell 40 and its inner
# neighbour, and on one with 41 and its neighbour. A pair has two fibres, one of depths 1 and 4, one of 2 and 3.
_HF_PAIR_40 = np.array([2, 1, 2, 0, 1, 0, 2, 1, 2, 0, 1, 0, BLANK])
_HF_PAIR_41 = np.array([1, 2, 0, 2, 0, 1, 1, 2, 0, 2, 1, BLANK, 0])

# The fibres 1..8 of an HE readout module, as "abs(ieta):depths". Towers up to 20 are 5 degrees wide. Beyond, cells
# are 10 degrees wide and go in turn to two modules: A B C D stand for the four towers of the module's comb in ieta.
_HE_COMB = {1: (22, 24, 26, 28), 2: (21, 23, 25, 27), 3: (21, 23, 25, 27), 4: (22, 24, 26, 28)}
_HE_FRONT = {
    1: "16:4 17:2 18:2 D:1 29:12",
    2: "16:4 17:2 18:2 D:12",
    3: "16:4 17:2 18:2 D:12",
    4: "16:4 17:2 18:2 D:1 29:12",
}
_HE_BACK = {1: "C:7 D:23567", 2: "D:3567 29:3", 3: "D:3567 29:3", 4: "C:7 D:23567"}
_HE_FIBRES_ODD_RM = (
    "19:2 20:3 A:3 B:23 C:2",
    "front",
    "19:3 B:56 C:356",
    "back",
    "19:5 20:56 A:56 C:4",
    "17:3 18:1345 D:4",
    "19:14 20:1 A:1 B:1 C:1",
    "19:6 20:24 A:24 B:4",
)
_HE_FIBRES_EVEN_RM = (
    "19:56 20:24 A:24",
    "19:14 20:1 A:1 B:1 C:1",
    "20:56 A:6 B:46 C:4",
    "17:3 18:1345 D:4",
    "back",
    "19:3 A:5 B:5 C:356",
    "front",
    "19:2 20:3 A:3 B:23 C:2",
)
# Fibres that end in the board shared with HB: those of the towers at both ends of HE.
_HE_SHARED_FIBRES = {1: (2, 4, 6), 2: (4, 5, 7), 3: (2, 4, 6), 4: (4, 5, 7)}


@dataclass(frozen=True)
class _Place:
    """Where the channels are, as arrays of one length."""

    subdet: npt.NDArray[np.str_]
    ieta: Ints
    iphi: Ints
    depth: Ints
    dphi: Ints

    @property
    def tower(self) -> Ints:
        return np.abs(self.ieta)

    @property
    def plus(self) -> Mask:
        return self.ieta > 0

    @property
    def offset(self) -> Ints:
        """Place inside the RBX in steps of 5 degrees, as seen on the plus side (the minus side is its mirror)."""
        step = (self.iphi + 1) % 4
        return np.where(self.plus, step, 4 - self.dphi - step)


def rbx_number(iphi: npt.ArrayLike) -> Ints:
    """Return the number 1..18 of the HB or HE readout box that holds ``iphi``: box n has iphi 4n-5 .. 4n-2.

    Examples
    --------
    >>> rbx_number([70, 71, 72, 1, 2, 3]).tolist()
    [18, 1, 1, 1, 1, 2]
    """
    return (np.asarray(iphi, dtype=np.int64) + 1) // 4 % 18 + 1


def _hb_front(place: _Place) -> tuple[Ints, Ints, Ints]:
    """Return (rm, card, fibre): a module is one iphi, a fibre four towers of depths 1 and 3 or 2 and 4.

    Modules are mounted head to tail: in every second one the cards count backwards and the two depth groups swap.
    """
    rm = place.offset + 1
    group = (place.tower - 1) // 4
    odd = rm % 2 == 1
    second = ((place.depth % 2 == 0) == odd).astype(np.int64)
    return rm, np.where(odd, 4 - group, group + 1), (2 * group + second + 3) % 8 + 1


@cache
def _he_template() -> npt.NDArray[np.int64]:
    """Return (rm, fibre) by [abs(ieta), depth, offset] of one HE readout box of the plus side; 188 are filled."""
    template = np.zeros((30, 8, 4, 2), dtype=np.int64)
    for rm, comb in _HE_COMB.items():
        letters = dict(zip("ABCD", comb, strict=True))
        fibres = _HE_FIBRES_ODD_RM if rm % 2 else _HE_FIBRES_EVEN_RM
        for fibre, words in enumerate(fibres, start=1):
            spelled = {"front": _HE_FRONT[rm], "back": _HE_BACK[rm]}.get(words, words)
            for word in spelled.split():
                name, depths = word.split(":")
                tower = letters.get(name) or int(name)
                offset = rm - 1 if tower <= 20 else (0 if rm <= 2 else 2)
                template[tower, [int(depth) for depth in depths], offset] = rm, fibre
    return template


def _he_front(place: _Place) -> tuple[Ints, Ints, Ints]:
    """Return (rm, card, fibre): two fibres to a card, and what `_he_template` says."""
    rm, fibre = np.moveaxis(_he_template()[place.tower, place.depth, place.offset], -1, 0)
    return rm, (fibre + 1) // 2, fibre


def _barrel_back(place: _Place, rm: Ints, fibre: Ints) -> dict[str, Ints]:
    """Return crate, slot and FED of HB and HE.

    A box has three boards: one of HB, one shared by both at their border, one of HE.
    """
    number = rbx_number(place.iphi)
    crate = _RBX_CRATE[number]
    he = place.subdet == "HE"
    of_he = np.zeros((5, 9), dtype=bool)
    for module, fibres in _HE_SHARED_FIBRES.items():
        of_he[module, list(fibres)] = True
    shared = np.where(he, of_he[rm, fibre], place.tower > 12)
    shared_slot = 2 + 3 * (number % 2) + 6 * place.plus
    slot = shared_slot + np.where(shared, 0, np.where(he, 1, -1))
    first_fed = np.array([_CRATE_FED.get(number, BLANK) for number in range(40)])
    return {"crate": crate, "slot": slot, "fed": first_fed[crate] + (slot > 6)}


def _hf_run3(place: _Place) -> dict[str, Any]:
    """Return box, card, fibre, crate, slot and FED of HF.

    Each odd iphi has an inner card (abs(ieta) 29-34) and an outer one (35-39, and one of the wide cells 40 and 41);
    nine cards in a row fill a box, and four iphi a board.
    """
    outer = place.tower > 34
    # A wide cell sits on the outer card of its own iphi or on that of the next one.
    next_one = np.where(place.plus, place.tower == 40, place.tower == 41)
    card_phi = (place.iphi + 2 * next_one - 1) % 72 // 2
    row = 2 * card_phi + (outer == place.plus)
    position = np.where(place.plus, row % 9, 8 - row % 9)
    board = (place.iphi - 3) % 72 // 4
    with_40 = (card_phi % 2 == 0) == place.plus
    pair = np.where(with_40, _HF_PAIR_40[place.tower - 29], _HF_PAIR_41[place.tower - 29])
    ends = (place.depth == 1) | (place.depth == 4)
    return {
        "rbx": row // 9 + 1,
        "card": _HF_CARD[position],
        "fibre": 4 + pair + 3 * (ends == with_40),
        "crate": _HF_CRATE[board // 6],
        "slot": board % 6 + 1 + 6 * place.plus,
        "fed": _HF_FED + 2 * (board // 6) + place.plus,
    }


def _ho_names(place: _Place) -> npt.NDArray[np.object_]:
    """Return the box names of HO: twelve of the central ring, six for each of the other four."""
    sixth = (place.iphi + 1) % 72 // 6
    wheel = np.where(place.tower <= 4, 0, np.where(place.tower <= 10, 1, 2))
    number = np.where(wheel == 0, sixth + 1, 2 * (sixth // 2) + 2)
    side = np.where(wheel == 0, "", np.where(place.plus, "P", "M"))
    triples = zip(wheel, side, number, strict=True)
    return np.array([f"HO{ring}{sign}{box:02d}" for ring, sign, box in triples], dtype=object)


def _box_names(place: _Place, number: Ints) -> npt.NDArray[np.object_]:
    names = [f"{subdet}{side}{n:02d}" for subdet in ("HB", "HE", "HF") for side in "MP" for n in range(19)]
    first = np.select([place.subdet == "HB", place.subdet == "HE"], [0, 38], 76)
    chosen: npt.NDArray[np.object_] = np.array(names, dtype=object)[first + 19 * place.plus + number]
    return chosen


class _Columns:
    """The electronics columns while they are being filled."""

    def __init__(self, table: pd.DataFrame) -> None:
        n = len(table)
        self._table = table
        self._subdet = table["subdet"].to_numpy(str)
        self.numbers = {name: np.zeros(n, dtype=np.int64) for name in COLUMNS if name not in ("rbx", "uhtr")}
        self.rbx = np.full(n, "", dtype=object)

    def place(self, rows: Mask) -> _Place:
        columns = (self._table[name].to_numpy(np.int64)[rows] for name in ("ieta", "iphi", "depth", "dphi"))
        return _Place(self._subdet[rows], *columns)

    def rows(self, subdet: str) -> Mask:
        return np.asarray(self._subdet == subdet)

    def put(self, rows: Mask, **values: Ints) -> None:
        for name, numbers in values.items():
            self.numbers[name][rows] = numbers

    def frame(self) -> pd.DataFrame:
        crate, slot = self.numbers["crate"], self.numbers["slot"]
        boards = np.array([[f"uHTR-{c:02d}-{s:02d}" for s in range(13)] for c in range(40)], dtype=object)
        uhtr = np.where(slot == BLANK, "", boards[crate, slot])
        data: dict[str, Any] = {"rbx": self.rbx, "uhtr": uhtr}
        for name, numbers in self.numbers.items():
            data[name] = pd.arrays.IntegerArray(numbers.astype(np.int16), numbers == BLANK)
        return pd.DataFrame(data, index=self._table.index)[list(COLUMNS)]


def _fill_boxes(columns: _Columns) -> None:
    """Name the boxes of HB and HE, the same in all eras."""
    rows = columns.rows("HB") | columns.rows("HE")
    place = columns.place(rows)
    columns.rbx[rows] = _box_names(place, rbx_number(place.iphi))


def _fill_he_front(columns: _Columns, rows: Mask) -> None:
    rm, card, fibre = _he_front(columns.place(rows))
    columns.put(rows, rm=rm, card=card, fibre=fibre)


def _fill_run3(columns: _Columns) -> None:
    hb, hf, ho = (columns.rows(subdet) for subdet in ("HB", "HF", "HO"))
    rm, card, fibre = _hb_front(columns.place(hb))
    columns.put(hb, rm=rm, card=card, fibre=fibre)
    both = hb | columns.rows("HE")
    place = columns.place(both)
    columns.put(both, **_barrel_back(place, columns.numbers["rm"][both], columns.numbers["fibre"][both]))
    place = columns.place(hf)
    forward = _hf_run3(place)
    columns.rbx[hf] = _box_names(place, forward.pop("rbx"))
    columns.put(hf, **forward)
    # HO: slots do not follow from the place without exceptions, and sources disagree on FEDs: left blank.
    place = columns.place(ho)
    columns.rbx[ho] = _ho_names(place)
    columns.put(ho, crate=_HO_CRATE[(place.iphi + 1) % 72 // 18])


def electronics(table: pd.DataFrame, era: str) -> pd.DataFrame:
    """Return the electronics columns for channels of an era.

    Parameters
    ----------
    table
        Channels with ``subdet``, ``ieta``, ``iphi``, ``depth``, ``dphi`` and ``technology``; any subset, any order.
    era
        ``"2017"``, ``"2018"`` or ``"run3"``.

    Returns
    -------
    DataFrame with the index of ``table`` and the columns of `COLUMNS`: ``rbx`` and ``uhtr`` are names, ``""`` where
    unknown; ``rm``, ``card``, ``fibre``, ``crate``, ``slot`` and ``fed`` are Int16, ``<NA>`` where unknown.

    Examples
    --------
    >>> from calowatch.detector.segmentation import segmentation
    >>> table = segmentation("run3").query("subdet == 'HE' and ieta == 27 and iphi == 25 and depth == 3")
    >>> electronics(table, "run3").to_numpy().tolist()
    [['HEP07', 3, 2, 4, 21, 11, 'uHTR-21-11', 1105]]
    """
    columns = _Columns(table)
    _fill_boxes(columns)
    sipm = table["technology"].to_numpy(str) == "SiPM"
    _fill_he_front(columns, columns.rows("HE") & sipm)
    if era == "run3":
        _fill_run3(columns)
    return columns.frame()
