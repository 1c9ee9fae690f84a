"""Which channels exist in each era, built from rules.

Source of the rules: the public CMSSW packages Geometry/CaloTopology and Geometry/HcalCommonData; the totals were
counted on public logical maps and on real occupancy.
"""

from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np
import pandas as pd

from calowatch.core.errors import UnknownNameError, nearest

__all__ = ["ERAS", "SUBDETS", "check_era", "segmentation"]

SUBDETS = ("HB", "HE", "HF", "HO")
"""Subdetectors, in the order of every channel table."""

ERAS = ("2017", "2018", "run3")

ALL_PHI = tuple(range(1, 73))
ODD_PHI = tuple(range(1, 73, 2))
FORWARD_PHI = tuple(range(3, 73, 4))
HEP17_PHI = frozenset(range(63, 67))

# (abs(ieta), depths) of one side.
_Rings = list[tuple[int, tuple[int, ...]]]

_HB_RUN3: _Rings = [(ieta, (1, 2, 3, 4)) for ieta in range(1, 16)] + [(16, (1, 2, 3))]
_HB_HPD: _Rings = [(ieta, (1,)) for ieta in range(1, 15)] + [(15, (1, 2)), (16, (1, 2))]
_HE_SIPM: _Rings = [
    (16, (4,)),
    (17, (2, 3)),
    (18, (1, 2, 3, 4, 5)),
    *((ieta, (1, 2, 3, 4, 5, 6)) for ieta in range(19, 26)),
    *((ieta, (1, 2, 3, 4, 5, 6, 7)) for ieta in range(26, 29)),
    (29, (1, 2, 3)),
]
_HE_HPD: _Rings = [
    (16, (3,)),
    (17, (1,)),
    *((ieta, (1, 2)) for ieta in range(18, 27)),
    *((ieta, (1, 2, 3)) for ieta in (27, 28)),
    (29, (1, 2)),
]
_HF: _Rings = [(ieta, (1, 2, 3, 4)) for ieta in range(29, 42)]
_HO: _Rings = [(ieta, (4,)) for ieta in range(1, 16)]

_Row = tuple[str, int, int, int, int, str]


def check_era(era: str) -> str:
    """Return ``era``, or raise `UnknownNameError` naming the eras that exist."""
    if era not in ERAS:
        raise UnknownNameError(
            f"era {era!r}", f"one of {', '.join(ERAS)}", "an unknown era", nearest(era, ERAS)
        )
    return era


def _phi_values(subdet: str, abs_ieta: int) -> tuple[tuple[int, ...], int]:
    """Return the iphi values of a ring and the width of its cells in units of 5 degrees."""
    if subdet == "HF":
        return (FORWARD_PHI, 4) if abs_ieta >= 40 else (ODD_PHI, 2)
    if subdet == "HE" and abs_ieta > 20:
        return ODD_PHI, 2
    return ALL_PHI, 1


def _rows(subdet: str, rings: _Rings, technology: str) -> Iterator[_Row]:
    for side in (-1, 1):
        for abs_ieta, depths in rings:
            phis, dphi = _phi_values(subdet, abs_ieta)
            for depth in depths:
                for iphi in phis:
                    yield subdet, side * abs_ieta, iphi, depth, dphi, technology


def _in_hep17(row: _Row) -> bool:
    return row[1] > 0 and row[2] in HEP17_PHI


def _he_2017() -> Iterator[_Row]:
    """HE with HPDs, except HEP17, which was upgraded a year ahead."""
    yield from (row for row in _rows("HE", _HE_HPD, "HPD") if not _in_hep17(row))
    yield from (row for row in _rows("HE", _HE_SIPM, "SiPM") if _in_hep17(row))


def _era_rows(era: str) -> Iterable[_Row]:
    if era == "run3":
        yield from _rows("HB", _HB_RUN3, "SiPM")
    else:
        yield from _rows("HB", _HB_HPD, "HPD")
    if era == "2017":
        yield from _he_2017()
    else:
        yield from _rows("HE", _HE_SIPM, "SiPM")
    yield from _rows("HF", _HF, "PMT")
    yield from _rows("HO", _HO, "SiPM")


@cache
def _segmentation(era: str) -> pd.DataFrame:
    table = pd.DataFrame(
        list(_era_rows(era)), columns=["subdet", "ieta", "iphi", "depth", "dphi", "technology"]
    )
    order = table["subdet"].map({name: i for i, name in enumerate(SUBDETS)})
    table = (
        table.assign(order=order)
        .sort_values(["order", "ieta", "depth", "iphi"], kind="stable")
        .drop(columns="order")
        .reset_index(drop=True)
    )
    return table.astype(dict.fromkeys(("ieta", "iphi", "depth", "dphi"), np.int16))


def segmentation(era: str) -> pd.DataFrame:
    """Return the channels of an era, one row each, sorted by subdetector, ieta, depth and iphi.

    Parameters
    ----------
    era
        ``"2017"``, ``"2018"`` or ``"run3"``.

    Returns
    -------
    DataFrame with columns ``subdet``, ``ieta`` (signed), ``iphi`` (1..72), ``depth``, ``dphi`` (width of the
    cell, in units of 5 degrees) and ``technology`` (of the photodetector: SiPM, HPD or PMT). A copy: change it
    freely.

    Raises
    ------
    UnknownNameError
        For an era that does not exist.

    Examples
    --------
    >>> segmentation("run3").groupby("subdet").size().to_dict()
    {'HB': 9072, 'HE': 6768, 'HF': 3456, 'HO': 2160}
    """
    return _segmentation(check_era(era)).copy()
