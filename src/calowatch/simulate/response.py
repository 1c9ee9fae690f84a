"""True digi probability of every channel: its own response, the run's pile-up, and what prescale steps change."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.simulate.conditions import RunConditions
from calowatch.simulate.profile import OccupancyProfile

__all__ = ["ResponseModel"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ResponseModel:
    """Healthy response of a detector in one run.

    lambda(ls, channel) = own(channel) * (pileup(ls) / reference)^a(subdet) * jump(segment(ls), ring(channel)), and
    p = 1 - exp(-lambda).

    Parameters
    ----------
    own
        Hits per event of each channel at the reference pile-up, shape (channel,); infinite where every event gives a
        digi, at whatever pile-up.
    exponent
        Growth with pile-up, shape (channel,).
    ring
        Row of each channel in the columns of ``jumps``, shape (channel,).
    jumps
        Factors on lambda, shape (segment, ring).
    relative_pileup, segment
        Per lumisection, shape (ls,).
    """

    own: Floats
    exponent: Floats
    ring: Ints
    jumps: Floats
    relative_pileup: Floats
    segment: Ints

    @classmethod
    def draw(
        cls,
        table: pd.DataFrame,
        era: str,
        profile: OccupancyProfile,
        conditions: RunConditions,
        generators: tuple[np.random.Generator, np.random.Generator],
    ) -> Self:
        """Return the response of a detector, drawn for all channels of an era.

        Parameters
        ----------
        table, era
            Every channel of the era: with a part of them the same seeds would give another detector.
        profile
            The numbers of a healthy detector.
        conditions
            Of the run.
        generators
            One for the detector, one for the run.
        """
        of_detector, of_run = generators
        spread = np.empty(len(table))
        exponent = np.empty(len(table))
        for subdet in table["subdet"].unique():
            rows = (table["subdet"] == subdet).to_numpy()
            numbers = profile.ring_table(subdet, era)
            spread[rows], exponent[rows] = numbers.spread, numbers.pileup_exponent
        own = profile.channel_lambdas(table, era) * np.exp(spread * of_detector.standard_normal(len(table)))
        ring: Ints = (
            table.groupby(["subdet", "ieta", "depth"], sort=False).ngroup().to_numpy().astype(np.int64)
        )
        # Half to either side, so that from one segment to the next no ring moves by more than ring_jump.
        half = profile.events.ring_jump / 2
        shape = (int(conditions.segment[-1]) + 1, int(ring.max()) + 1)
        jumps = of_run.uniform(1 - half, 1 + half, shape)
        relative = conditions.pileup / profile.scaling.reference_pileup
        return cls(own, exponent, ring, jumps, relative, conditions.segment)

    def select(self, columns: npt.NDArray[np.bool_]) -> "ResponseModel":
        """Return the response of some of the channels."""
        return ResponseModel(
            self.own[columns],
            self.exponent[columns],
            self.ring[columns],
            self.jumps,
            self.relative_pileup,
            self.segment,
        )

    def p(self, rows: slice, columns: Ints) -> Floats:
        """Return the digi probability per event, shape (rows, columns)."""
        own = self.own[columns]
        full = np.isinf(own)
        lambdas = np.where(full, 0.0, own) * self.jumps[:, self.ring[columns]][self.segment[rows]]
        exponent = self.exponent[columns]
        for a in np.unique(exponent):
            lambdas[:, exponent == a] *= (self.relative_pileup[rows] ** a)[:, None]
        p: Floats = -np.expm1(-lambdas)
        p[:, full] = 1.0
        return p
