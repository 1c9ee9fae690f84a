"""What an exploration is made from: numbers of runs and of image sets, ready to be drawn."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["RING", "Exploration", "ImageNumbers", "RunNumbers"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

RING = ("subdet", "ieta", "depth", "technology")
"""Columns that name a phi ring."""


@dataclass(frozen=True, eq=False)
class RunNumbers:
    """One run of occupancy.

    Parameters
    ----------
    run, era, source
        Number, era, and what the run was read from (a name, no folder).
    channels
        One row per channel: channel, channel_name, subdet, ieta, iphi, depth, dphi, technology.
    series
        One row per lumisection: ls, events (NaN where unknown), pileup and lumi where known, and per subdetector
        ``total_HE`` (digis) and ``largest_HE`` (digis of the channel with most).
    events
        Events of the run; NaN where those of any lumisection are unknown.
    hits
        Digis of the run, shape (channel,).
    rechits
        RecHits of the run, shape (channel,), where the file had them.
    variance
        Variance over binomial of each channel, 1 for pure counting; NaN where it was not measured.
    rings
        One row per ring: `RING`, n_channels (measured), variance (mean of its channels), error, typical (median of
        its channels, which no single failing channel moves).
    fits
        Regression lines: subdet, quantity (total or largest), against (ls or events), slope, slope_error, intercept,
        r, n. NaN where no line can be drawn.
    notes
        What could not be measured, and why.
    """

    run: int
    era: str
    source: str
    channels: pd.DataFrame
    series: pd.DataFrame
    events: float
    hits: Ints
    rechits: Ints | None
    variance: Floats
    rings: pd.DataFrame
    fits: pd.DataFrame
    notes: tuple[str, ...]

    @property
    def label(self) -> str:
        """Name in legends."""
        return f"run {self.run}"

    @property
    def occupancy(self) -> Floats:
        """Digis per event, per lumisection where events are unknown; shape (channel,)."""
        scale = self.events if self.events > 0 else float(len(self.series))
        return np.asarray(self.hits / scale, np.float64)

    @property
    def occupancy_unit(self) -> str:
        """Unit of `occupancy`."""
        return "digis per event" if self.events > 0 else "digis per LS"

    @property
    def ratio(self) -> Floats | None:
        """RecHits over digis, shape (channel,), NaN for channels without digis; ``None`` without RecHits."""
        if self.rechits is None:
            return None
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.hits > 0, self.rechits / self.hits, np.nan)


@dataclass(frozen=True, eq=False)
class ImageNumbers:
    """One set of images.

    Parameters
    ----------
    label, run, source
        Name of the class, run number where known, name of the file.
    n
        Number of images.
    statistics
        Of all values: min, max, mean, median, std, zero_fraction; of those that are not zero: nonzero_min,
        nonzero_mean, nonzero_median, nonzero_std; of the share of zeros per image: sparsity_min, sparsity_mean,
        sparsity_max, sparsity_std; and always_zero and always_filled, numbers of cells.
    mean, frequency
        Per cell: mean value, and share of images in which the cell is not zero; shape (64, 72).
    sparsity, level
        Per image: share of zeros, and mean over all cells; shape (n,).
    samples, sample_numbers
        Some images, shape (k, 64, 72), and where in the set they stand.
    distribution
        Cells per image in each bin of `Exploration.value_edges`, zeros left out.
    """

    label: str
    run: int | None
    source: str
    n: int
    statistics: dict[str, float]
    mean: Floats
    frequency: Floats
    sparsity: Floats
    level: Floats
    samples: Floats
    sample_numbers: tuple[int, ...]
    distribution: Floats


@dataclass(frozen=True, eq=False)
class Exploration:
    """All that was explored.

    Parameters
    ----------
    runs
        In order of their numbers.
    drift
        One row per ring and run but the first: run, `RING`, ln_ratio (ln of the ring's hit rate lambda over that in
        the first run), error, n_channels, chi2 (per degree of freedom: whether the ring moved as one).
    images
        In the order given; differences are to the first.
    value_edges
        Edges of the bins of all value distributions.
    provenance
        How it was made.
    """

    runs: tuple[RunNumbers, ...]
    drift: pd.DataFrame
    images: tuple[ImageNumbers, ...]
    value_edges: Floats
    provenance: dict[str, Any]
