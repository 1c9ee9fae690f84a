"""Histograms in the DQM grid: planes of 84 ieta x 72 iphi, one per depth, from whatever file they come.

HF lies one bin further out than ieta says, and HO moved over the years: it stood in depth 4 up to 2018, in depth 7 from
2019 to September 2020, and has had a plane of its own, ``depthHO``, since.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from calowatch.core.errors import FormatError
from calowatch.detector.index import dqm_cell, dqm_index, dqm_plane
from calowatch.detector.table import channel_table
from calowatch.io.origin import Cell, refuse_strays

__all__ = ["DEPTH_PLANES", "GRID", "HO_PLANE", "DqmGrid", "check_planes", "find_ho", "place_channels"]

DEPTH_PLANES = tuple(f"depth{depth}" for depth in range(1, 8))
HO_PLANE = "depthHO"
GRID = (72, 84)
"""Shape of a plane, (iphi, ieta)."""

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class DqmGrid:
    """Where the channels of an era stand.

    Parameters
    ----------
    era
        Era of the segmentation; its channels are numbered as in the channel table.
    ho
        The plane that holds HO.
    planes, iphi_bin, ieta_bin
        Plane, row and column of each channel.
    """

    era: str
    ho: str
    planes: npt.NDArray[np.str_]
    iphi_bin: Ints
    ieta_bin: Ints

    @property
    def all_planes(self) -> tuple[str, ...]:
        """The planes that a whole file has."""
        return (*DEPTH_PLANES, HO_PLANE) if self.ho == HO_PLANE else DEPTH_PLANES

    def channels_in(self, plane: str) -> Ints:
        """Return the numbers of the channels that a plane holds."""
        return np.flatnonzero(self.planes == plane)

    def gather(self, plane: str, values: npt.NDArray[np.number]) -> npt.NDArray[np.number]:
        """Return the values of `channels_in` the plane; ``values`` has the shape (..., 72, 84)."""
        here = self.channels_in(plane)
        return values[..., self.iphi_bin[here], self.ieta_bin[here]]

    def mask(self, plane: str) -> Mask:
        """Return the cells of a plane that hold a channel, shape (72, 84)."""
        mask = np.zeros(GRID, dtype=np.bool_)
        here = self.channels_in(plane)
        mask[self.iphi_bin[here], self.ieta_bin[here]] = True
        return mask

    def strays(self, filled: Mapping[str, Mask]) -> list[Cell]:
        """Return (ieta, iphi, depth) of filled cells without a channel, read as HB and HE where both can be meant."""
        strays: list[Cell] = []
        for plane, cells in filled.items():
            iphi_bin, ieta_bin = np.nonzero(cells & ~self.mask(plane))
            ieta, iphi = dqm_cell("HB", ieta_bin, iphi_bin)
            depth = 4 if plane == HO_PLANE else int(plane.removeprefix("depth"))
            strays += [(int(a), int(b), depth) for a, b in zip(ieta, iphi, strict=True)]
        return strays

    def refuse_strays(self, path: Path, filled: Mapping[str, Mask], present: Collection[str]) -> None:
        """Raise if cells are filled where the era has no channel, naming the eras that would fit.

        Parameters
        ----------
        path
            The file.
        filled
            By plane, which cells hold anything, shape (72, 84).
        present
            The planes in the file, which tell where HO stands in other eras.

        Raises
        ------
        CountsError
            Naming some of the cells.
        """
        refuse_strays(
            path,
            self.strays(filled),
            self.era,
            lambda other: not place_channels(other, find_ho(other, present)).strays(filled),
        )


@cache
def place_channels(era: str, ho: str) -> DqmGrid:
    """Return where the channels of an era stand when HO stands in the plane ``ho``."""
    table = channel_table(era)
    subdets = table["subdet"].to_numpy(str)
    ieta_bin, iphi_bin = dqm_index(subdets, table["ieta"], table["iphi"])
    planes = np.char.add("depth", table["depth"].to_numpy(str))
    return DqmGrid(era, ho, np.where(subdets == "HO", ho, planes), iphi_bin, ieta_bin)


def find_ho(era: str, present: Collection[str]) -> str:
    """Return the plane that holds HO in a file.

    A plane of its own decides. Without one, HO is in depth 4 where HB has no such depth (2017, 2018); else the file is
    of 2019 or 2020, and HO is in depth 7, whose other channels lie at abs(ieta) 26 to 28.

    Examples
    --------
    >>> (
    ...     find_ho("2018", DEPTH_PLANES),
    ...     find_ho("run3", DEPTH_PLANES),
    ...     find_ho("run3", (*DEPTH_PLANES, "depthHO")),
    ... )
    ('depth4', 'depth7', 'depthHO')
    """
    if HO_PLANE in present:
        return HO_PLANE
    shared = dqm_plane("HO", 4, era)
    return shared if shared != HO_PLANE else "depth7"


def check_planes(path: Path, present: Collection[str], prefix: str) -> None:
    """Raise if a depth is missing; HO may be, it is then not in the file.

    Parameters
    ----------
    path
        The file.
    present
        The planes in it.
    prefix
        What the file calls the planes up to their names.

    Raises
    ------
    FormatError
        Naming the missing depths.
    """
    missing = [plane for plane in DEPTH_PLANES if plane not in present]
    if missing:
        raise FormatError(
            path, f"{prefix}depth1 .. depth7", f"no {', '.join(missing)}", "take the whole file"
        )
