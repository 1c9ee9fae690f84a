"""The verdict on a run: which units fail, how, since when and how surely."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy import special

from calowatch.core.progress import SILENT, Progress
from calowatch.detect.attribute import Failure, attribute
from calowatch.detect.rings import ring_cells
from calowatch.detect.scan import Cells
from calowatch.detect.structure import structural_verdicts
from calowatch.detect.units import UnitSet, unit_set
from calowatch.detect.verdict import Channel, Kind, Verdict
from calowatch.detector.table import channel_table

__all__ = ["Question", "decide"]

_DEAD_BELOW = 0.02  # digis over expectation
_DATA_LINKS = ("fibre", "uhtr")


@dataclass(frozen=True)
class Question:
    """A run against its expectation, and by which rules to judge.

    Parameters
    ----------
    occupancy, expectation
        As in `calowatch.core.schema`; the expectation holds ``n_trials`` (ls,) too.
    usable
        Which lumisections have enough events, shape (ls,).
    known
        Numbers of channels already known to be bad.
    rate
        False discovery rate of the list of verdicts.
    table
        The channel table as it is wired in this run; by default the built-in one of the era.
    """

    occupancy: xr.Dataset
    expectation: xr.Dataset
    usable: npt.NDArray[np.bool_]
    known: frozenset[int] = frozenset()
    rate: float = 0.01
    table: pd.DataFrame | None = None

    @property
    def wiring(self) -> pd.DataFrame:
        """The channels of the era with their electronics as they are in this run."""
        era = str(self.occupancy.attrs["era"])
        return self.table if self.table is not None else channel_table(era)


def decide(question: Question, progress: Progress = SILENT) -> list[Verdict]:
    """Return the failing units of a run, new ones first, the most significant first.

    Channels known to be bad are judged apart: they neither accuse the units they belong to nor hide among the new
    ones. Without a reference, rings that are empty as a whole are set aside as ``structural``.
    """
    numbers = question.occupancy["channel"].to_numpy()
    known = np.isin(numbers, list(question.known))
    structural, empty = structural_verdicts(question.occupancy, question.expectation, question.usable)
    new = [*_ring_verdicts(question, ~known), *_verdicts(question, ~known & ~empty, progress)]
    new.sort(key=lambda verdict: verdict.log10_p)
    old = _verdicts(question, known & ~empty, SILENT, known=True)
    return [*new, *structural, *old]


def _verdicts(
    question: Question, testable: npt.NDArray[np.bool_], progress: Progress, *, known: bool = False
) -> list[Verdict]:
    if not testable.any() or not question.usable.any():
        return []
    table = question.wiring
    rows = pd.Index(table["channel"]).get_indexer(pd.Index(question.occupancy["channel"].to_numpy()))
    units = unit_set(table, np.asarray(rows, np.int64), testable)
    trials = np.where(question.usable, question.expectation["n_trials"].to_numpy(), 0.0)
    cells = Cells(
        question.occupancy["counts"].to_numpy() * question.usable[:, None],
        trials[:, None],
        question.expectation["p"].to_numpy(),
        question.expectation["sigma"].to_numpy(),
    )
    failures = attribute(cells, units, question.rate, progress)
    return [_verdict(question, units, failure, known=known) for failure in failures]


def _ring_verdicts(question: Question, testable: npt.NDArray[np.bool_]) -> list[Verdict]:
    """Return verdicts on rings that fail as a whole, which no comparison within a ring can show."""
    found = ring_cells(question.occupancy, question.expectation, question.usable, testable)
    if found is None:
        return []
    cells, units = found
    return [
        _verdict(question, units, failure, known=False) for failure in attribute(cells, units, question.rate)
    ]


def _verdict(question: Question, units: UnitSet, failure: Failure, *, known: bool) -> Verdict:
    first, last = failure.bursts[0][0], failure.bursts[-1][1]
    kind = _kind(question, units.types[failure.unit], failure)
    sections = question.occupancy["ls"].to_numpy()
    log_p = min(0.0, failure.log_p + float(np.log(len(units))))
    return Verdict(
        unit=units.names[failure.unit],
        unit_type=units.types[failure.unit],
        kind=kind,
        first_ls=int(sections[first]),
        last_ls=int(sections[last]),
        factor=failure.factor,
        significance=float(-special.ndtri_exp(log_p)) if log_p < 0 else 0.0,
        log10_p=log_p / float(np.log(10.0)),
        known=known,
        channels=channels_of(question.occupancy, units.channels[failure.unit]),
        card_serial=_serial(question, units, failure.unit),
    )


def _serial(question: Question, units: UnitSet, unit: int) -> str:
    """Return the serial number of a card, or what its channels disagree on, ``""`` for other units."""
    if units.types[unit] != "card" or question.table is None or "qie_id" not in question.table:
        return ""
    numbers = question.occupancy["channel"].to_numpy()[units.channels[unit]]
    rows = question.table["channel"].isin(numbers)
    return ", ".join(sorted({str(serial) for serial in question.table["qie_id"][rows] if serial}))


def _kind(question: Question, unit_type: str, failure: Failure) -> Kind:
    live = np.flatnonzero(question.usable)
    whole_run = failure.bursts[0][0] <= live[0] and failure.bursts[-1][1] >= live[-1]
    if len(failure.bursts) > 1:
        return "sporadic"
    if failure.factor < _DEAD_BELOW:
        return "dead"
    if question.expectation.attrs["method"] == "ring" and whole_run and unit_type == "channel":
        return "outlier"
    if failure.ramp is not None:
        return "drift"
    if failure.factor > 1:
        return "hot"
    return "link_loss" if unit_type in _DATA_LINKS else "degraded"


def channels_of(occupancy: xr.Dataset, positions: npt.NDArray[np.int64]) -> tuple[Channel, ...]:
    """Return subdet, ieta, iphi, depth of channels given by their positions in a run."""
    columns = [occupancy[name].to_numpy()[positions] for name in ("subdet", "ieta", "iphi", "depth")]
    return tuple(
        (str(subdet), int(ieta), int(iphi), int(depth))
        for subdet, ieta, iphi, depth in zip(*columns, strict=True)
    )
