"""A run for those who go on by hand: the same counts as an xarray, pandas or hist object."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hist
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from calowatch.core.progress import SILENT, Progress
from calowatch.core.schema import CHANNEL_COLUMNS, UNKNOWN_EVENTS
from calowatch.io.merge import subdets_of
from calowatch.io.request import ReadRequest
from calowatch.io.sources import read_source

__all__ = ["Run", "open_run"]

CONDITIONS = ("pileup", "lumi")


@dataclass(frozen=True, eq=False)
class Run:
    """One run's occupancy.

    Parameters
    ----------
    occupancy
        As in `calowatch.core.schema`.
    """

    occupancy: xr.Dataset

    @property
    def number(self) -> int:
        """Run number."""
        return int(self.occupancy.attrs["run"])

    @property
    def era(self) -> str:
        """Era that selects segmentation and electronics."""
        return str(self.occupancy.attrs["era"])

    def __repr__(self) -> str:
        ls = self.occupancy["ls"].to_numpy()
        subdets = " ".join(subdets_of(self.occupancy))
        return (
            f"<Run {self.number}, era {self.era}: {ls.size} LS ({ls[0]}-{ls[-1]}), "
            f"{self.occupancy.sizes['channel']} channels ({subdets})>"
        )

    def to_xarray(self) -> xr.Dataset:
        """Return the data set, dimensions (ls, channel); changing the copy does not change the run."""
        return self.occupancy.copy(deep=True)

    def to_pandas(self, *, tidy: bool = False) -> pd.DataFrame:
        """Return the counts as a table.

        Parameters
        ----------
        tidy
            By default one row per lumisection and one column per channel, under (subdet, ieta, iphi, depth). If true,
            one row per lumisection and channel, with the columns ls, channel, subdet, ieta, iphi, depth, counts,
            n_events (missing where unknown) and, where the run has them, rechits, pileup and lumi.
        """
        if tidy:
            return self._tidy()
        names = [self.occupancy[name].to_numpy() for name in CHANNEL_COLUMNS]
        columns = pd.MultiIndex.from_arrays(names, names=CHANNEL_COLUMNS)
        index = pd.Index(self.occupancy["ls"].to_numpy(), name="ls")
        return pd.DataFrame(self.occupancy["counts"].to_numpy().copy(), index=index, columns=columns)

    def _tidy(self) -> pd.DataFrame:
        data = self.occupancy
        n_ls, n_channels = data.sizes["ls"], data.sizes["channel"]
        events = pd.Series(np.repeat(data["n_events"].to_numpy(), n_channels), dtype="Int64")
        events = events.mask(events == UNKNOWN_EVENTS)
        table = {"ls": np.repeat(data["ls"].to_numpy(), n_channels)}
        for name in ("channel", *CHANNEL_COLUMNS):
            table[name] = np.tile(data[name].to_numpy(), n_ls)
        for name in ("counts", "rechits"):
            if name in data:
                table[name] = data[name].to_numpy().ravel()
        frame = pd.DataFrame(table).astype({"subdet": "category"}).assign(n_events=events)
        for name in CONDITIONS:
            if name in data:
                frame[name] = np.repeat(data[name].to_numpy(), n_channels)
        return frame

    def to_hist(self, *, per_ls: bool = True) -> "hist.Hist[Any]":
        """Return the counts as a histogram of whole numbers, with no flow bins.

        The axes are ls, subdet (category), ieta, iphi (1-72) and depth; ieta and depth reach as far as the run's
        channels do. Bins that hold no channel are zero: ask the run, not the histogram, which channels exist.

        Parameters
        ----------
        per_ls
            If false, the sum over lumisections, without the axis ``ls``. With it the histogram is dense: the whole
            detector takes 1.3 MB per lumisection.

        Notes
        -----
        The axis ``ls`` is an integer axis where lumisections follow one another without a gap, else a category of
        those that the run has, so that a lumisection that was not read never looks like one without hits.
        """
        counts = self.occupancy["counts"].to_numpy()
        place, axes = self._axes()
        if not per_ls:
            filled: hist.Hist[Any] = hist.Hist(*axes, storage=hist.storage.Int64())
            _set(filled, place, counts.sum(axis=0, dtype=np.int64))
            return filled
        ls = [int(number) for number in self.occupancy["ls"].to_numpy()]
        sections = (
            hist.axis.Integer(ls[0], ls[-1] + 1, name="ls", label="lumisection", flow=False)
            if ls[-1] - ls[0] + 1 == len(ls)
            else hist.axis.IntCategory(ls, name="ls", label="lumisection", overflow=False)
        )
        filled = hist.Hist(sections, *axes, storage=hist.storage.Int64())
        _set(filled, (slice(None), *place), counts)
        return filled

    def _axes(self) -> tuple[tuple[npt.NDArray[Any], ...], tuple[Any, ...]]:
        """Return each channel's bin in subdet, ieta, iphi and depth, and these axes."""
        subdets = list(subdets_of(self.occupancy))
        ieta, iphi, depth = (self.occupancy[name].to_numpy().astype(int) for name in CHANNEL_COLUMNS[1:])
        reach = int(np.abs(ieta).max())
        subdet = pd.Categorical(self.occupancy["subdet"].to_numpy(), categories=subdets).codes
        axes = (
            hist.axis.StrCategory(subdets, name="subdet", label="subdetector", overflow=False),
            hist.axis.Integer(-reach, reach + 1, name="ieta", label="ieta", flow=False),
            hist.axis.Integer(1, 73, name="iphi", label="iphi", flow=False),
            hist.axis.Integer(1, int(depth.max()) + 1, name="depth", label="depth", flow=False),
        )
        return (subdet, ieta + reach, iphi - 1, depth - 1), axes


def _set(filled: "hist.Hist[Any]", place: tuple[Any, ...], counts: npt.NDArray[np.integer[Any]]) -> None:
    view: Any = filled.view()
    view[place] = counts


def open_run(
    source: str | Path,
    *,
    run: int | None = None,
    era: str | None = None,
    first_ls: int | None = None,
    progress: Progress = SILENT,
) -> Run:
    """Read the one run of a source.

    Parameters
    ----------
    source
        File, folder, store or ``STORE::RUN``.
    run, era, first_ls
        What the source does not say itself; of a store with several runs, ``run`` picks one.
    progress
        Shows the reading, and takes notes.

    Raises
    ------
    InputError
        As `calowatch.io.sources.read_source` does.
    """
    return Run(read_source(source, ReadRequest(run=run, era=era, first_ls=first_ls), progress))
