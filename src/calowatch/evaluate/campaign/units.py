"""The units of a campaign at once: sums over all of them, and which of them a fault could be taken for."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import sparse

from calowatch.evaluate.campaign.cells import campaign_boxes
from calowatch.evaluate.campaign.data import CampaignData
from calowatch.evaluate.campaign.evidence import Scores
from calowatch.simulate.injection import UnitList, units_of

__all__ = ["HARDWARE", "Hardware", "unit_lists"]

Floats = npt.NDArray[np.float64]
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
        """ln of the number of units of the same kind: what a choice among many costs."""
        counts = [len(self.lists[name]) for name in HARDWARE]
        return np.repeat(np.log(counts), counts)

    @cached_property
    def _members(self) -> list[bytes]:
        return [inside.tobytes() for name in HARDWARE for inside in self.lists[name].members]

    @cached_property
    def _parents(self) -> sparse.csr_array:
        return sparse.csr_array(self.incidence.T)

    def touching(self, columns: Ints) -> Ints:
        """Return the units that hold any of some channels."""
        parents = self._parents
        parts = [parents.indices[parents.indptr[c] : parents.indptr[c + 1]] for c in columns]
        return np.unique(np.concatenate(parts)).astype(np.int64) if parts else np.empty(0, np.int64)

    def is_it(self, unit: int, columns: Ints) -> bool:
        """Return whether a unit is exactly these channels; a card with a single fibre is that fibre."""
        return self._members[unit] == columns.tobytes()

    def named_by_ratio(self, channel: Floats, units: Floats, columns: Ints) -> bool:
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

    def named_by_flags(self, flags: Mask, columns: Ints) -> bool:
        """Return whether the unit that overlaps most with the flagged channels is the one that failed.

        Parameters
        ----------
        flags
            Of each channel, (channel,).
        columns
            The channels that failed.
        """
        near = self.touching(columns)
        inside = self.incidence[near]
        around = np.asarray((inside.T @ np.ones(len(near))) > 0).ravel()
        flagged = float((flags & around).sum())
        if not flagged:
            return False
        shared = np.asarray(inside @ flags.astype(np.float64)).ravel()
        overlap = shared / (self.sizes[near] + flagged - shared)
        best = int(overlap.argmax())
        if flags[columns].any() and 1.0 / flagged >= overlap[best]:
            return len(columns) == 1 and bool(flags[columns[0]])
        return self.is_it(int(near[best]), columns)


def unit_scores(scores: Scores, hardware: Hardware) -> dict[str, Floats]:
    """Return the mixtures of all named units, (window, unit), by evidence."""
    return {name: scores.units(name, hardware.incidence) for name in scores.ratios}
