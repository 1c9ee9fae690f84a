"""The units a run can be judged by: which of its channels each card, module or crate holds."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from calowatch.detector.units import unit_names

__all__ = ["GROUPS", "UnitSet", "unit_set"]

GROUPS = ("fibre", "card", "rm", "rbx", "uhtr", "fed")
"""Unit types of more than one channel, the most local first."""

_LEAST_SHARE = 0.5  # of a unit's channels that must be testable before the unit can be blamed


@dataclass(frozen=True)
class UnitSet:
    """Units of several types over the channels of a run; single channels come first.

    Parameters
    ----------
    names, types
        Of each unit.
    members
        Columns of the cells that belong to each unit.
    channels
        Positions of each unit's testable channels in the run; the same as ``members`` unless the cells are sums.
    incidence
        Units of more than one channel x channels, ones where a channel belongs.
    """

    names: list[str]
    types: list[str]
    members: list[npt.NDArray[np.int64]]
    channels: list[npt.NDArray[np.int64]]
    incidence: sparse.csr_array

    def __len__(self) -> int:
        return len(self.names)


def unit_set(table: pd.DataFrame, rows: npt.NDArray[np.int64], testable: npt.NDArray[np.bool_]) -> UnitSet:
    """Return the units that a run's testable channels form.

    Parameters
    ----------
    table
        The channel table of the era.
    rows
        Row of the table of each channel of the run.
    testable
        Which channels of the run take part (known-bad ones, and those without expectation, do not).

    Notes
    -----
    A unit is left out where fewer than two, or less than half, of its channels can be tested: nothing could then be
    said of it that is not better said of its parts. Of units with the same testable channels the most local stays.
    """
    names = unit_names(table)
    run_names = names.iloc[rows]
    positions = np.flatnonzero(testable).astype(np.int64)
    unit_names_, types = list(run_names["channel_name"].to_numpy()[positions]), ["channel"] * len(positions)
    members = [positions[i : i + 1] for i in range(len(positions))]
    seen: set[bytes] = set()
    for group in GROUPS:
        sizes = names[group].value_counts().to_dict()
        grouped = pd.Series(positions).groupby(run_names[group].to_numpy()[positions])
        for name, chosen in grouped.indices.items():
            inside = positions[chosen]
            key = inside.tobytes()
            if not name or len(inside) < max(2, _LEAST_SHARE * sizes[name]) or key in seen:
                continue
            seen.add(key)
            unit_names_.append(str(name))
            types.append(group)
            members.append(inside)
    groups = members[len(positions) :]
    ends = np.cumsum([0, *(len(inside) for inside in groups)])
    columns = np.concatenate(groups) if groups else np.empty(0, np.int64)
    incidence = sparse.csr_array(
        (np.ones(len(columns), np.float32), columns, ends), shape=(len(groups), len(rows))
    )
    return UnitSet(unit_names_, types, members, members, incidence)
