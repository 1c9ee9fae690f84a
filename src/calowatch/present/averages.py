"""Numbers that the figures show: a run summed up per channel, and one unit followed through the run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from calowatch.core.schema import events_known
from calowatch.detect.verdict import Verdict
from calowatch.detector.index import channel_id
from calowatch.detector.table import channel_table
from calowatch.detector.units import unit_names
from calowatch.models.reference import trials_of
from calowatch.present.given import ReportInput
from calowatch.present.palette import HEALTHY, NO_VERDICT, state_of

__all__ = [
    "Exposure",
    "RunAverage",
    "UnitCourse",
    "exposure",
    "run_average",
    "unit_course",
    "verdict_columns",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Exposure:
    """Events per lumisection.

    Parameters
    ----------
    events
        Shape (ls,): the trials that the expectation's ``p`` refers to (`calowatch.models.reference.trials_of`).
    known
        Whether these are the events of every lumisection; if not, all is relative to the ring.
    """

    events: Floats
    known: bool


def exposure(occupancy: xr.Dataset) -> Exposure:
    """Return the events behind the counts."""
    return Exposure(trials_of(occupancy), bool(events_known(occupancy).all()))


@dataclass(frozen=True)
class RunAverage:
    """A run summed up per channel.

    Parameters
    ----------
    channels
        Channel table and full names of units, one row per channel of the run.
    counts
        Digis, summed over the run.
    events
        Events of the run; NaN where unknown.
    occupancy, expectation
        Mean digis per event, weighted by events; per lumisection where events are unknown.
    evidence
        Entry of ``z_window`` with the largest magnitude; NaN where nothing was judged.
    state
        Position in `palette.STATES`.
    unit
        Row of the verdict that names the channel, -1 where none does.
    per_event
        Whether occupancy and expectation are per event.
    """

    channels: pd.DataFrame
    counts: Ints
    events: float
    occupancy: Floats
    expectation: Floats
    evidence: Floats
    state: npt.NDArray[np.int8]
    unit: npt.NDArray[np.int32]
    per_event: bool

    def quantity(self, name: str) -> npt.NDArray[Any]:
        """Return the values of a map, shape (channel,)."""
        values: npt.NDArray[Any] = self.state if name == "verdict" else getattr(self, name)
        return values


def run_average(given: ReportInput) -> RunAverage:
    """Sum up a run per channel."""
    exposed = exposure(given.occupancy)
    counts = given.occupancy["counts"].to_numpy().sum(axis=0, dtype=np.int64)
    expected = exposed.events @ given.expectation["p"].to_numpy()
    events = float(exposed.events.sum()) if exposed.known else float("nan")
    scale = max(events, 1.0) if exposed.known else float(exposed.events.size)
    evidence = strongest(given.evidence["z_window"].to_numpy())
    state, unit = _states(given, evidence)
    return RunAverage(
        channels=_channels(given),
        counts=counts,
        events=events,
        occupancy=counts / scale,
        expectation=expected / scale,
        evidence=evidence,
        state=state,
        unit=unit,
        per_event=exposed.known,
    )


def strongest(z: npt.NDArray[Any]) -> Floats:
    """Return, per column, the entry with the largest magnitude; NaN where all are NaN.

    Examples
    --------
    >>> strongest(np.array([[1.0, np.nan], [-3.0, np.nan]])).tolist()
    [-3.0, nan]
    """
    magnitude = np.where(np.isnan(z), -1.0, np.abs(z))
    rows = magnitude.argmax(axis=0)
    taken: Floats = z[rows, np.arange(z.shape[1])].astype(np.float64)
    return taken


def _states(given: ReportInput, evidence: Floats) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int32]]:
    """Return what each channel is in the verdict map; where verdicts overlap, the most significant one counts."""
    state = np.where(np.isnan(evidence), NO_VERDICT, HEALTHY).astype(np.int8)
    unit = np.full(evidence.size, -1, np.int32)
    rising = sorted(range(len(given.verdicts)), key=lambda row: given.verdicts[row].significance)
    for row in rising:
        columns = verdict_columns(given.verdicts[row], given.occupancy)
        state[columns] = state_of(given.verdicts[row])
        unit[columns] = row
    return state, unit


def verdict_columns(verdict: Verdict, occupancy: xr.Dataset) -> Ints:
    """Return the positions of a verdict's channels in a run; those that the run does not hold are left out."""
    if not verdict.channels:
        return np.array([], np.int64)
    subdet, ieta, iphi, depth = zip(*verdict.channels, strict=True)
    wanted = channel_id(subdet, ieta, iphi, depth)
    found: Ints = np.flatnonzero(np.isin(occupancy["channel"].to_numpy(), wanted))
    return found


def _channels(given: ReportInput) -> pd.DataFrame:
    occupancy = given.occupancy
    table = given.table if given.table is not None else channel_table(str(occupancy.attrs["era"]))
    names = unit_names(table)
    if "qie_id" in table:
        serial = table["qie_id"].to_numpy(object)
        known = (names["card"] != "").to_numpy(bool) & (serial != "")
        names["card"] = np.where(known, names["card"] + " (QIE " + serial + ")", names["card"])
    place = table[["channel", "subdet", "ieta", "iphi", "depth", "dphi"]]
    whole = place.join(names).set_index("channel")
    return whole.loc[occupancy["channel"].to_numpy()].reset_index()


@dataclass(frozen=True)
class UnitCourse:
    """One unit followed through the run.

    Parameters
    ----------
    ls
        Lumisections.
    ratio
        Digis over digis expected, summed over the unit's channels; NaN where nothing is expected.
    spread
        Binomial standard deviation of ``ratio`` for a healthy unit.
    """

    ls: Ints
    ratio: Floats
    spread: Floats


def unit_course(given: ReportInput, exposed: Exposure, columns: Sequence[int] | Ints) -> UnitCourse:
    """Return digis over expectation of some channels, per lumisection."""
    chosen = np.asarray(columns, np.int64)
    p = given.expectation["p"].to_numpy()[:, chosen]
    expected = p * exposed.events[:, None]
    mean, variance = expected.sum(axis=1), (expected * (1 - p)).sum(axis=1)
    seen = given.occupancy["counts"].to_numpy()[:, chosen].sum(axis=1, dtype=np.int64)
    mean[mean <= 0] = np.nan
    return UnitCourse(given.occupancy["ls"].to_numpy(), seen / mean, np.sqrt(variance) / mean)
