"""Rings that are empty as a whole: a property of the detector, not a failure, when nothing tells otherwise."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy import special

from calowatch.detect.verdict import Channel, Verdict
from calowatch.detector.table import channel_table

__all__ = ["structural_verdicts"]

_SPREAD = 3.0  # standard deviations of ln(lambda) by which the ring may be quieter than its like


def structural_verdicts(
    occupancy: xr.Dataset, expectation: xr.Dataset, usable: npt.NDArray[np.bool_]
) -> tuple[list[Verdict], npt.NDArray[np.bool_]]:
    """Return verdicts on empty rings, and which channels they hold, shape (channel,).

    Only asked where the expectation comes from the rings themselves: there an empty ring expects to be empty, and
    would pass in silence. It is compared with the channels of other technology in the same ring and with the ring on
    the other side; where those are empty too, or do not exist, the ring is named with p = 1.
    """
    counts = occupancy["counts"].to_numpy()[usable]
    nothing = np.zeros(counts.shape[1], dtype=bool)
    if expectation.attrs["method"] != "ring" or not len(counts):
        return [], nothing
    table = _with_hits(occupancy, counts)
    group = table.groupby(["subdet", "ieta", "depth", "technology"], sort=False)
    table["ring_hits"] = group["hits"].transform("sum")
    empty = (table["ring_hits"] == 0).to_numpy(bool)
    trials = float(expectation["n_trials"].to_numpy()[usable].sum())
    sections = occupancy["ls"].to_numpy()[usable]
    verdicts = []
    for (subdet, ieta, depth, _), ring in table[empty].groupby(
        ["subdet", "ieta", "depth", "technology"], sort=False
    ):
        log_p = _log_p(table, ring, trials, expectation)
        verdicts.append(
            Verdict(
                unit=f"{subdet}{ieta:+d}d{depth}",
                unit_type="ring",
                kind="structural",
                first_ls=int(sections[0]),
                last_ls=int(sections[-1]),
                factor=0.0,
                significance=float(-special.ndtri_exp(log_p)) if log_p < 0 else 0.0,
                log10_p=log_p / float(np.log(10.0)),
                known=False,
                channels=_channels(ring),
            )
        )
    return verdicts, empty


def _with_hits(occupancy: xr.Dataset, counts: npt.NDArray[np.integer]) -> pd.DataFrame:
    table = channel_table(str(occupancy.attrs["era"])).set_index("channel")
    return table.loc[occupancy["channel"].to_numpy()].assign(hits=counts.sum(axis=0, dtype=np.int64))


def _log_p(table: pd.DataFrame, ring: pd.DataFrame, trials: float, expectation: xr.Dataset) -> float:
    """Return ln of the probability that a ring like its neighbours stays empty, all rings tried counted."""
    one = ring.iloc[0]
    like = table[
        (table["subdet"] == one["subdet"])
        & (table["ieta"].abs() == abs(int(one["ieta"])))
        & (table["depth"] == one["depth"])
        & (table["ring_hits"] > 0)
    ]
    if like.empty:
        return 0.0
    sigma = float(expectation["sigma"].to_series().loc[like.index].median())
    rate = -np.log1p(-float(np.median(np.minimum(like["hits"] / trials, 1.0 - 1e-6))))
    rings = len(table.groupby(["subdet", "ieta", "depth", "technology"]))
    return float(min(0.0, -len(ring) * trials * rate * np.exp(-_SPREAD * sigma) + np.log(rings)))


def _channels(ring: pd.DataFrame) -> tuple[Channel, ...]:
    columns = ring[["subdet", "ieta", "iphi", "depth"]].to_numpy()
    return tuple((str(subdet), int(ieta), int(iphi), int(depth)) for subdet, ieta, iphi, depth in columns)
