"""Index conventions of the field's files, each with its inverse.

Three of them meet in practice, and mixing them up is the main trap of this data:

* *canonical* grid ``[64 ieta, 72 iphi, 7 depth]``: no gap at ieta 0, iphi counted from 0;
* *DQM* grid ``[84 ieta, 72 iphi]`` per depth: no gap at ieta 0, HF displaced outwards by one bin;
* *analyzer* histogram ``[64 ieta, 72 iphi]`` per depth: a gap at ieta 0, iphi 72 in the overflow bin.

All functions take and return integers or integer arrays of one shape.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = [
    "analyzer_cell",
    "analyzer_index",
    "canonical_cell",
    "canonical_index",
    "channel_columns",
    "channel_id",
    "dqm_cell",
    "dqm_index",
    "dqm_plane",
]

Ints = npt.NDArray[np.int64]
IntsLike = npt.ArrayLike

SUBDET_CODES = {"HB": 1, "HE": 2, "HO": 3, "HF": 4}
"""The numbers CMSSW gives the subdetectors."""

_CODE_NAMES = np.array(["", "HB", "HE", "HO", "HF"])


def _ints(values: IntsLike) -> Ints:
    return np.asarray(values, dtype=np.int64)


def channel_id(subdet: npt.ArrayLike, ieta: IntsLike, iphi: IntsLike, depth: IntsLike) -> Ints:
    """Return the number that names a channel in stores: digits ``s eee pp d``, with ieta + 100 as ``eee``.

    Examples
    --------
    >>> int(channel_id("HE", -27, 33, 3))
    2073333
    """
    names = np.asarray(subdet, dtype="U2")
    codes = np.zeros(names.shape, dtype=np.int64)
    for name, code in SUBDET_CODES.items():
        codes[names == name] = code
    if not codes.all():
        raise ValueError(f"subdetectors must be among {', '.join(SUBDET_CODES)}")
    return codes * 1_000_000 + (_ints(ieta) + 100) * 1000 + _ints(iphi) * 10 + _ints(depth)


def channel_columns(ids: IntsLike) -> pd.DataFrame:
    """Return the columns ``subdet``, ``ieta``, ``iphi``, ``depth`` of channel numbers: inverse of `channel_id`.

    Examples
    --------
    >>> channel_columns([2073333]).values.tolist()
    [['HE', -27, 33, 3]]
    """
    numbers = np.atleast_1d(_ints(ids))
    return pd.DataFrame(
        {
            "subdet": _CODE_NAMES[numbers // 1_000_000],
            "ieta": (numbers // 1000 % 1000 - 100).astype(np.int16),
            "iphi": (numbers // 10 % 100).astype(np.int16),
            "depth": (numbers % 10).astype(np.int16),
        }
    )


def canonical_index(ieta: IntsLike, iphi: IntsLike, depth: IntsLike) -> tuple[Ints, Ints, Ints]:
    """Return (row, column, layer) in the canonical 64 x 72 x 7 grid, for abs(ieta) up to 32.

    Examples
    --------
    >>> [int(i) for i in canonical_index(-29, 72, 3)], [int(i) for i in canonical_index(29, 1, 1)]
    ([3, 71, 2], [60, 0, 0])
    """
    ieta = _ints(ieta)
    return np.where(ieta < 0, ieta + 32, ieta + 31), _ints(iphi) - 1, _ints(depth) - 1


def canonical_cell(row: IntsLike, column: IntsLike, layer: IntsLike) -> tuple[Ints, Ints, Ints]:
    """Return (ieta, iphi, depth) of a cell of the canonical grid: inverse of `canonical_index`."""
    row = _ints(row)
    return np.where(row < 32, row - 32, row - 31), _ints(column) + 1, _ints(layer) + 1


def analyzer_index(ieta: IntsLike, iphi: IntsLike) -> tuple[Ints, Ints]:
    """Return 0-based (ieta bin, iphi bin) of the HcalAnalyzer histogram; iphi 72 gives 72, its overflow bin."""
    return _ints(ieta) + 32, _ints(iphi)


def analyzer_cell(ieta_bin: IntsLike, iphi_bin: IntsLike) -> tuple[Ints, Ints]:
    """Return (ieta, iphi) of a bin of the HcalAnalyzer histogram: inverse of `analyzer_index`."""
    return _ints(ieta_bin) - 32, _ints(iphi_bin)


def _outwards(subdet: npt.ArrayLike) -> Ints:
    """1 for HF, which DQM grids draw one bin further out so that it does not cover HE at ieta 29."""
    forward: Ints = np.equal(np.asarray(subdet, dtype="U2"), "HF").astype(np.int64)
    return forward


def dqm_index(subdet: npt.ArrayLike, ieta: IntsLike, iphi: IntsLike) -> tuple[Ints, Ints]:
    """Return 0-based (ieta bin of 84, iphi bin of 72) in the DQM grid.

    Examples
    --------
    >>> [int(dqm_index(s, 29, 1)[0]) for s in ("HE", "HF")]
    [70, 71]
    """
    ieta, shift = _ints(ieta), _outwards(subdet)
    return np.where(ieta < 0, ieta + 42 - shift, ieta + 41 + shift), _ints(iphi) - 1


def dqm_cell(subdet: npt.ArrayLike, ieta_bin: IntsLike, iphi_bin: IntsLike) -> tuple[Ints, Ints]:
    """Return (ieta, iphi) of a DQM bin, read as a bin of ``subdet``: inverse of `dqm_index`."""
    ieta_bin, shift = _ints(ieta_bin), _outwards(subdet)
    return np.where(ieta_bin < 42, ieta_bin - 42 + shift, ieta_bin - 41 - shift), _ints(iphi_bin) + 1


def dqm_plane(subdet: str, depth: int, era: str) -> str:
    """Return which DQM histogram holds a depth: ``"depth1"`` .. ``"depth7"`` or ``"depthHO"``.

    HO shared depth 4 up to 2018, when HB had no such depth; since HB has four depths it is drawn apart.

    Examples
    --------
    >>> dqm_plane("HO", 4, "2018"), dqm_plane("HO", 4, "run3"), dqm_plane("HB", 4, "run3")
    ('depth4', 'depthHO', 'depth4')
    """
    if subdet == "HO" and era not in ("2017", "2018"):
        return "depthHO"
    return f"depth{depth}"
