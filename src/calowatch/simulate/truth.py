"""What was really done to a simulated run: faults placed on its channels, and true probabilities on demand."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.core.errors import FormatError, InputError
from calowatch.core.files import write_json
from calowatch.detector.units import find_unit, unit_names
from calowatch.simulate.conditions import RunConditions
from calowatch.simulate.faults import Fault, draw_bursts
from calowatch.simulate.response import ResponseModel

__all__ = ["FaultTruth", "PlacedFault", "Truth", "place_faults", "read_truth", "write_truth"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

UNSEEN = 1e-6
"""Change of p, in digis per event, below which no run is long enough to show a fault."""

Channel = tuple[str, int, int, int]


@dataclass(frozen=True)
class FaultTruth:
    """One injected fault of one unit, as ``truth.json`` holds it.

    ``factor`` is that on p (the mean over channels for a lost gain); ``channels`` are (subdet, ieta, iphi, depth);
    ``n_saturated`` of them keep their p, so that nothing can be seen there; ``bursts`` are the inclusive ranges of
    lumisections in which an intermittent fault acts, empty for a steady one.
    """

    unit: str
    unit_type: str
    kind: str
    first_ls: int
    last_ls: int
    factor: float
    channels: tuple[Channel, ...]
    n_saturated: int
    bursts: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, eq=False)
class PlacedFault:
    """A fault on the rows and columns of one run: ``rows`` (ls,) is where it acts, ``columns`` are channel rows."""

    fault: Fault
    unit: str
    unit_type: str
    rows: npt.NDArray[np.bool_]
    columns: Ints


def place_faults(
    faults: Sequence[Fault], table: pd.DataFrame, ls: Ints, seed: np.random.SeedSequence
) -> tuple[PlacedFault, ...]:
    """Return the faults on the channels and lumisections of a run, one for each single unit.

    Raises
    ------
    UnknownNameError
        For a unit that is not among the channels.
    InputError
        For a fault outside the run, or a power loss of what is no readout box.
    """
    placed = []
    for fault, seeds in zip(faults, seed.spawn(len(faults)), strict=True):
        rng = np.random.default_rng(seeds)
        last = ls[-1] if fault.last_ls is None else fault.last_ls
        inside = (ls >= fault.first_ls) & (ls <= last)
        if not inside.any():
            raise InputError(
                f"fault {fault.unit!r}",
                f"lumisections within {ls[0]}-{ls[-1]}",
                f"{fault.first_ls}-{last}",
                "move it into the run",
            )
        rows = np.zeros(len(ls), dtype=bool)
        rows[inside] = draw_bursts(fault, int(inside.sum()), rng)
        for unit in fault.units:
            unit_type, mask = find_unit(unit, table)
            if fault.kind == "rbx_power_loss" and unit_type != "rbx":
                raise InputError(unit, "a readout box to lose power", f"a {unit_type}", "use kind dead")
            column = "channel_name" if unit_type == "channel" else unit_type
            name = str(unit_names(table[mask])[column].iloc[0])
            placed.append(PlacedFault(fault, name, unit_type, rows, np.flatnonzero(mask)))
    return tuple(placed)


@dataclass(frozen=True, eq=False)
class Truth:
    """What a simulated run was drawn from.

    Parameters
    ----------
    table
        Its channels, rows as in the channel table.
    conditions
        Per lumisection.
    response
        Of the healthy detector in this run.
    placed
        The faults on its rows and columns.
    faults
        The same as a table for people and files.
    """

    table: pd.DataFrame
    conditions: RunConditions
    response: ResponseModel
    placed: tuple[PlacedFault, ...]
    faults: tuple[FaultTruth, ...]

    @property
    def at_channels(self) -> tuple[PlacedFault, ...]:
        """The faults that change p."""
        return tuple(placed for placed in self.placed if placed.fault.kind != "link_loss")

    @property
    def at_links(self) -> tuple[PlacedFault, ...]:
        """The faults that lose events behind the channels."""
        return tuple(placed for placed in self.placed if placed.fault.kind == "link_loss")

    def p(self, first: int = 0, stop: int | None = None, *, healthy: bool = False) -> Floats:
        """Return the true digi probability per event, computed for the rows asked, since a long run fills memory.

        Parameters
        ----------
        first, stop
            Rows of lumisections, from 0, ``stop`` not included.
        healthy
            Leave the faults out.

        Returns
        -------
        Array of shape (rows, channel). Under a link loss it is the mean: there the counts of a lumisection are
        thinned together.
        """
        rows = slice(first, stop)
        p = self.response.p(rows, np.arange(len(self.table)))
        # Links come last, as in nature: what a channel makes of an event is lost, or not, behind it.
        for placed in () if healthy else (*self.at_channels, *self.at_links):
            cells = np.ix_(np.flatnonzero(placed.rows[rows]), placed.columns)
            p[cells] = placed.fault.acting_on(p[cells])
        return p


def describe(placed: PlacedFault, table: pd.DataFrame, ls: Ints, response: ResponseModel) -> FaultTruth:
    """Return a placed fault as a row of the truth table."""
    rows = np.flatnonzero(placed.rows)
    healthy = response.p(slice(rows[0], rows[-1] + 1), placed.columns)
    faulty = placed.fault.acting_on(healthy)
    unseen = (np.abs(faulty - healthy) <= UNSEEN).all(axis=0)
    factor = placed.fault.strength
    if placed.fault.gain is not None:
        factor = float(np.mean(faulty.sum(axis=0) / np.maximum(healthy.sum(axis=0), UNSEEN)))
    inside = ls >= placed.fault.first_ls
    last = int(ls[-1] if placed.fault.last_ls is None else min(placed.fault.last_ls, ls[-1]))
    columns = ["subdet", "ieta", "iphi", "depth"]
    channels = table.iloc[placed.columns][columns].itertuples(index=False, name=None)
    return FaultTruth(
        placed.unit,
        placed.unit_type,
        placed.fault.kind,
        int(ls[inside][0]),
        last,
        factor,
        tuple((str(subdet), int(ieta), int(iphi), int(depth)) for subdet, ieta, iphi, depth in channels),
        int(unseen.sum()),
        _ranges(ls[placed.rows]) if placed.fault.share_on < 1 else (),
    )


def _ranges(sections: Ints) -> tuple[tuple[int, int], ...]:
    """Return increasing numbers as inclusive ranges."""
    parts = np.split(sections, np.flatnonzero(np.diff(sections) > 1) + 1)
    return tuple((int(part[0]), int(part[-1])) for part in parts)


def write_truth(path: Path | str, truth: Sequence[FaultTruth]) -> None:
    """Write the injected faults as JSON: a list of objects with the fields of `FaultTruth`."""
    write_json(path, [asdict(fault) for fault in truth])


def read_truth(path: Path | str) -> tuple[FaultTruth, ...]:
    """Return the injected faults that `write_truth` wrote.

    Raises
    ------
    FormatError
        When the file is not such a list.
    """
    try:
        return _fault_truths(json.loads(Path(path).read_text()))
    except (OSError, UnicodeDecodeError, ValueError, TypeError, KeyError) as error:
        reason = f"{type(error).__name__}: {error}"
        expected = "a truth.json as calowatch simulate writes it"
        raise FormatError(path, expected, reason, "simulate the run again") from error


def _fault_truths(rows: Any) -> tuple[FaultTruth, ...]:
    if not isinstance(rows, list):
        raise TypeError(f"{type(rows).__name__} in place of a list")
    return tuple(_fault_truth(row) for row in rows)


def _fault_truth(row: dict[str, Any]) -> FaultTruth:
    lists = {name: tuple(tuple(item) for item in row[name]) for name in ("channels", "bursts")}
    return FaultTruth(**{**row, **lists})
