"""The units of a campaign at once: sums over all of them, and which of them a fault is taken for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.special import xlogy

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
    return {
        **{name: units_of(name, data.table, alone_in_rings=True) for name in HARDWARE},
        "box": campaign_boxes(data),
    }


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

    def values_of_mixtures(self, channel: AnyFloats, units: AnyFloats) -> "Values":
        """Return what speaks for each unit and channel, by mixtures.

        Parameters
        ----------
        channel, units
            Mixtures, (channel,) and (unit,).
        """
        return Values(np.asarray(channel - np.log(self.n_channels)), np.asarray(units - self.price))

    def values_of_flags(self, flagged: Mask, rate: float) -> "Values":
        """Return what speaks for each unit and channel, by flags alone: ln of the likelihood ratio of a higher rate.

        The scan statistic of Kulldorff, Communications in Statistics 26 (1997) 1481, for Bernoulli trials whose rate
        outside is known.

        Parameters
        ----------
        flagged
            Flags, (channel,).
        rate
            Of flags in healthy data.
        """
        inside = np.asarray(self.incidence @ flagged.astype(np.float64))
        share = inside / self.sizes
        ratio = xlogy(inside, share / rate) + xlogy(self.sizes - inside, (1.0 - share) / (1.0 - rate))
        ratio = np.where(share > rate, ratio, 0.0)
        single = np.where(flagged, -np.log(rate), 0.0) - np.log(self.n_channels)
        return Values(single, ratio - self.price)

    def crowd(self, faults: Sequence[Ints]) -> "Crowd":
        """Return how many of the faults of a window, given by their channels, touch each unit and each channel."""
        units = np.bincount(np.concatenate([self.touching(c) for c in faults]), minlength=len(self.sizes))
        return Crowd(np.bincount(np.concatenate(faults), minlength=self.n_channels), units)

    def named(self, values: "Values", columns: Ints, crowd: "Crowd") -> bool:
        """Return whether, of all units and channels, the one with most for it is the one that failed.

        What touches another fault of the same window is left out: that fault is an example of its own.

        Parameters
        ----------
        values
            What speaks for each.
        columns
            The channels that failed.
        crowd
            Of the window.
        """
        units, channel = crowd.units.copy(), crowd.channel.copy()
        units[self.touching(columns)] -= 1
        channel[columns] -= 1
        whole, alone = (
            np.where(other > 0, -np.inf, value)
            for other, value in ((units, values.units), (channel, values.channel))
        )
        unit, single = int(whole.argmax()), int(alone.argmax())
        if alone[single] >= whole[unit]:
            return len(columns) == 1 and single == int(columns[0])
        return self.is_it(unit, columns)


@dataclass(frozen=True, eq=False)
class Crowd:
    """How many faults of a window touch each channel and each unit."""

    channel: Ints
    units: Ints


@dataclass(frozen=True, eq=False)
class Values:
    """What speaks for each channel and each unit of one window, the price of a choice among many taken off."""

    channel: Floats
    units: Floats


def unit_scores(scores: Scores, hardware: Hardware) -> dict[str, AnyFloats]:
    """Return the mixtures of all named units, (window, unit), by evidence."""
    return {name: scores.units(name, hardware.incidence) for name in scores.ratios}
