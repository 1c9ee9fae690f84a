"""The units of a campaign at once: sums over all of them, and which of them a fault could be taken for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse

from calowatch.evaluate.campaign.cells import campaign_boxes
from calowatch.evaluate.campaign.data import CampaignData
from calowatch.evaluate.campaign.evidence import Scores
from calowatch.simulate.injection import UnitList, units_of

__all__ = ["HARDWARE", "Hardware", "unit_lists"]

Floats = npt.NDArray[np.float64]
AnyFloats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

HARDWARE = ("fibre", "card", "rm", "rbx", "uhtr")
"""Units of more than one channel that have a name."""


def unit_lists(data: CampaignData) -> dict[str, UnitList]:
    """Return the units of every kind that is judged as a whole."""
    return {**{name: units_of(name, data.table) for name in HARDWARE}, "box": campaign_boxes(data)}


@dataclass(frozen=True, eq=False)
class Hardware:
    """All named units of more than one channel, one after the other.

    Parameters
    ----------
    lists
        The units of each kind.
    n_channels
        Channels of the campaign.
    """

    lists: Mapping[str, UnitList]
    n_channels: int
    _touching: dict[bytes, Ints] = field(default_factory=dict)

    @cached_property
    def incidence(self) -> sparse.csr_array:
        """Units x channels, in the order of `HARDWARE`."""
        parts = [self.lists[name].incidence(self.n_channels) for name in HARDWARE]
        return sparse.csr_array(sparse.vstack(parts))

    @cached_property
    def sizes(self) -> Floats:
        """Channels of each unit."""
        return np.asarray(self.incidence.sum(axis=1), np.float64).ravel()

    @cached_property
    def price(self) -> Floats:
        """What a choice among many costs: ln of the number of units of the same kind."""
        counts = [len(self.lists[name]) for name in HARDWARE]
        return np.repeat(np.log(counts), counts)

    @cached_property
    def _members(self) -> list[bytes]:
        return [inside.tobytes() for name in HARDWARE for inside in self.lists[name].members]

    @cached_property
    def _parents(self) -> sparse.csr_array:
        return sparse.csr_array(self.incidence.T)

    @cached_property
    def _box(self) -> Ints:
        """Readout box of each channel: every named unit lies within one."""
        box = np.full(self.n_channels, -1, dtype=np.int64)
        for number, inside in enumerate(self.lists["rbx"].members):
            box[inside] = number
        return box

    def touching(self, columns: Ints) -> Ints:
        """Return the units that hold any of some channels."""
        key = columns.tobytes()
        if key not in self._touching:
            parents = self._parents
            parts = [parents.indices[parents.indptr[c] : parents.indptr[c + 1]] for c in columns]
            self._touching[key] = np.unique(np.concatenate(parts)).astype(np.int64)
        return self._touching[key]

    def is_it(self, unit: int, columns: Ints) -> bool:
        """Return whether a unit is exactly these channels; a card with a single fibre is that fibre."""
        return self._members[unit] == columns.tobytes()

    def named_by_ratio(self, channel: AnyFloats, units: AnyFloats, columns: Ints) -> bool:
        """Return whether the unit whose mixture is largest, after the price of its kind, is the one that failed.

        Parameters
        ----------
        channel
            Mixture of each channel, (channel,).
        units
            Mixture of each unit, (unit,).
        columns
            The channels that failed.
        """
        near = self.touching(columns)
        single = channel[columns] - np.log(self.n_channels)
        value = units[near] - self.price[near]
        best = int(value.argmax()) if len(near) else -1
        if best < 0 or single.max() >= value[best]:
            return len(columns) == 1
        return self.is_it(int(near[best]), columns)

    def named_by_flags(self, flagged: "Flagged", columns: Ints) -> bool:
        """Return whether the unit that overlaps most with the flagged channels is the one that failed.

        Overlap is intersection over union; flagged channels of other readout boxes do not count.

        Parameters
        ----------
        flagged
            What is flagged.
        columns
            The channels that failed.
        """
        near = self.touching(columns)
        around = float(flagged.in_box[np.unique(self._box[columns])].sum())
        if not around:
            return False
        shared = flagged.in_unit[near]
        overlap = shared / (self.sizes[near] + around - shared)
        best = int(overlap.argmax())
        if flagged.flags[columns].any() and 1.0 / around >= overlap[best]:
            return len(columns) == 1
        return self.is_it(int(near[best]), columns)


@dataclass(frozen=True, eq=False)
class Flagged:
    """Flags of channels, and how many of them every unit and every readout box holds."""

    flags: Mask
    in_unit: Floats
    in_box: Floats

    @classmethod
    def of(cls, hardware: Hardware, flags: Mask) -> Self:
        """Return the sums of flags (channel,)."""
        in_unit = np.asarray(hardware.incidence @ flags.astype(np.float64))
        size = len(hardware.lists["rbx"])
        in_box = np.bincount(hardware._box[flags & (hardware._box >= 0)], minlength=size)
        return cls(flags, in_unit, in_box.astype(np.float64))


def unit_scores(scores: Scores, hardware: Hardware) -> dict[str, AnyFloats]:
    """Return the mixtures of all named units, (window, unit), by evidence."""
    return {name: scores.units(name, hardware.incidence) for name in scores.ratios}
