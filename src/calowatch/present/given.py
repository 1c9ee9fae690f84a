"""What a report is made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import xarray as xr

from calowatch.detect.verdict import Verdict

__all__ = ["ReportInput"]


@dataclass(frozen=True)
class ReportInput:
    """One judged run.

    Parameters
    ----------
    occupancy, expectation
        As in `calowatch.core.schema`, on the same lumisections and channels.
    evidence
        ``z`` and ``z_window`` (ls, channel): signed, standard normal under the expectation, negative for fewer
        digis than expected; NaN where there is no verdict.
    verdicts
        Failing units, known ones included.
    no_verdict_ls
        Lumisections that were not judged.
    summary
        Label and text or number, shown as the table of conditions; ``"warnings"`` may hold a list of sentences.
    truth
        Injected faults, one mapping each with ``unit``, ``kind``, ``first_ls``, ``last_ls``, and where known
        ``factor`` and ``channels``; ``None`` for real data.
    table
        The channel table as it is wired in this run; by default the built-in one of the era.
    """

    occupancy: xr.Dataset
    expectation: xr.Dataset
    evidence: xr.Dataset
    verdicts: Sequence[Verdict]
    no_verdict_ls: Sequence[int]
    summary: Mapping[str, Any]
    truth: Sequence[Mapping[str, Any]] | None = None
    table: pd.DataFrame | None = None
