"""Numbers of occupancy runs: series, regression lines, variance over binomial, drift between runs."""

from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy import stats

from calowatch.core.schema import UNKNOWN_EVENTS, events_known
from calowatch.detector.table import channel_table
from calowatch.detector.units import unit_names
from calowatch.models.reference import Reference, usable_ls
from calowatch.models.rings import empirical_log_rate
from calowatch.present.explore_given import RING, RunNumbers

__all__ = ["drift_between", "run_numbers", "variance_over_binomial"]

Floats = npt.NDArray[np.float64]

LEAST_P, MOST_P = 0.02, 0.98
"""Channels outside have next to no binomial variance to compare with."""

_LEAST_COUNTS = 20.0  # digis, and events without one, for a channel's rate to enter a drift
_FAR = 5.0  # standard deviations from its ring's median at which a channel does not speak for the ring

_CONDITIONS = ("pileup", "lumi")
_RING_COLUMNS = [*RING, "n_channels", "variance", "error", "typical"]


def run_numbers(occupancy: xr.Dataset) -> RunNumbers:
    """Sum up a run.

    Parameters
    ----------
    occupancy
        As in `calowatch.core.schema`, with the optional variable ``rechits`` (ls, channel).
    """
    channels = _channels(occupancy)
    series = _series(occupancy)
    known = events_known(occupancy)
    variance, rings, note = variance_over_binomial(occupancy, channels)
    notes = [note] if note else []
    if not known.all():
        notes.append(f"events unknown in {int((~known).sum())} of {known.size} LS: occupancy is per LS")
    rechits = occupancy["rechits"].to_numpy().sum(axis=0, dtype=np.int64) if "rechits" in occupancy else None
    return RunNumbers(
        run=int(occupancy.attrs["run"]),
        era=str(occupancy.attrs["era"]),
        source=PurePath(str(occupancy.attrs.get("source", ""))).name,
        channels=channels,
        series=series,
        events=float(occupancy["n_events"].sum()) if known.all() else float("nan"),
        hits=occupancy["counts"].to_numpy().sum(axis=0, dtype=np.int64),
        rechits=rechits,
        variance=variance,
        rings=rings,
        fits=_fits(series, channels["subdet"].unique().tolist()),
        notes=tuple(notes),
    )


def _channels(occupancy: xr.Dataset) -> pd.DataFrame:
    table = channel_table(str(occupancy.attrs["era"]))
    table = table.assign(channel_name=unit_names(table)["channel_name"]).set_index("channel")
    wanted = ["channel_name", "subdet", "ieta", "iphi", "depth", "dphi", "technology"]
    return table.loc[occupancy["channel"].to_numpy(), wanted].reset_index()


def _series(occupancy: xr.Dataset) -> pd.DataFrame:
    counts = occupancy["counts"].to_numpy()
    events = occupancy["n_events"].to_numpy().astype(np.float64)
    columns = {"ls": occupancy["ls"].to_numpy(), "events": np.where(events == UNKNOWN_EVENTS, np.nan, events)}
    columns |= {name: occupancy[name].to_numpy() for name in _CONDITIONS if name in occupancy}
    subdets = occupancy["subdet"].to_numpy()
    for subdet in pd.unique(subdets):
        mine = counts[:, subdets == subdet]
        columns[f"total_{subdet}"] = mine.sum(axis=1, dtype=np.int64)
        columns[f"largest_{subdet}"] = mine.max(axis=1).astype(np.int64)
    return pd.DataFrame(columns)


def _fits(series: pd.DataFrame, subdets: list[str]) -> pd.DataFrame:
    rows = [
        {"subdet": subdet, "quantity": quantity, "against": against}
        | _line(series[against].to_numpy(np.float64), series[f"{quantity}_{subdet}"].to_numpy(np.float64))
        for subdet in subdets
        for quantity in ("total", "largest")
        for against in ("ls", "events")
    ]
    return pd.DataFrame(rows)


def _line(x: Floats, y: Floats) -> dict[str, float]:
    """Return the least-squares line; NaN where fewer than three points or a single x allow none."""
    usable = np.isfinite(x) & np.isfinite(y)
    x, y = x[usable], y[usable]
    if x.size < 3 or np.ptp(x) == 0:
        nothing = dict.fromkeys(("slope", "slope_error", "intercept", "r"), float("nan"))
        return {**nothing, "n": x.size}
    fit = stats.linregress(x, y)
    r = float(fit.rvalue) if np.ptp(y) > 0 else float("nan")
    return {
        "slope": float(fit.slope),
        "slope_error": float(fit.stderr),
        "intercept": float(fit.intercept),
        "r": r,
        "n": x.size,
    }


def variance_over_binomial(
    occupancy: xr.Dataset, channels: pd.DataFrame
) -> tuple[Floats, pd.DataFrame, str | None]:
    """Return how much more a channel's counts scatter over lumisections than a binomial does.

    The expectation is the run's own, from `calowatch.models.reference`: lambda[ls, channel] = rate[ls, ring] *
    response[channel]. The rate of each ring in each lumisection takes out luminosity, pile-up and prescales; what is
    left is sum (n - N p)^2 / (N p (1 - p)) over lumisections. A ring of C channels in L lumisections has C responses
    and L rates fitted, less one that both share, so (L - 1)(C - 1) degrees of freedom, C-th part for each channel.

    Parameters
    ----------
    occupancy
        One run.
    channels
        Its channels, with the columns of `RING`.

    Returns
    -------
    Variance over binomial per channel, NaN where the mean p of channel or ring is outside 0.02 to 0.98 or the ring has
    fewer than two such channels; a row per ring with such channels; and why nothing was measured, if so. The error of
    a ring is that of a chi-squared, sqrt(2 / degrees of freedom).
    """
    nothing = np.full(len(channels), np.nan)
    empty = pd.DataFrame({name: [] for name in _RING_COLUMNS})
    part = occupancy.isel(ls=np.flatnonzero(events_known(occupancy) & usable_ls(occupancy)))
    n_ls = part.sizes["ls"]
    if n_ls < 2:
        few = "fewer than two LS with known and enough events"
        return nothing, empty, f"variance over binomial not measured: {few}"
    chi2, mean_p = _chi_squared(part)
    alive = part["counts"].to_numpy().max(axis=0) > 0
    table = channels[list(RING)].assign(p=np.where(alive, mean_p, np.nan))
    # Of a ring that always fires, only failing channels would be within the bounds: it is left out as a whole.
    usual = table.groupby(list(RING), sort=False)["p"].transform("median").to_numpy()
    measured = alive & np.all([(p > LEAST_P) & (p < MOST_P) for p in (mean_p, usual)], axis=0)
    table["chi2"] = np.where(measured, chi2, np.nan)
    groups = table.groupby(list(RING), sort=False)["chi2"]
    size = groups.transform("count").to_numpy()
    freedom = (n_ls - 1) * (size - 1) / np.maximum(size, 1)
    variance = np.where(measured & (size > 1), chi2 / np.where(size > 1, freedom, 1.0), np.nan)
    grouped = table.assign(variance=variance).groupby(list(RING), sort=False)["variance"]
    rings = grouped.agg(n_channels="count", variance="mean", typical="median").reset_index()
    rings = rings[rings["n_channels"] > 1].reset_index(drop=True)
    rings["error"] = np.sqrt(2.0 / ((n_ls - 1) * (rings["n_channels"] - 1)))
    rings["typical"] /= stats.chi2.median(n_ls - 1) / (n_ls - 1)
    note = (
        None if len(rings) else "variance over binomial not measured: no channel with p between 0.02 and 0.98"
    )
    return variance, rings[_RING_COLUMNS], note


def _chi_squared(occupancy: xr.Dataset) -> tuple[Floats, Floats]:
    """Return, per channel, the sum of squared pulls and the mean p of the run's own expectation."""
    p = Reference().fit([occupancy]).predict(occupancy)["p"].to_numpy()
    counts, events = occupancy["counts"].to_numpy(), occupancy["n_events"].to_numpy()
    chi2 = np.zeros(p.shape[1])
    for row in range(len(p)):  # one lumisection at a time: a long run's pulls would be its largest arrays
        expected = events[row] * p[row]
        chi2 += (counts[row] - expected) ** 2 / (expected * (1.0 - p[row]))
    return chi2, np.average(p, axis=0, weights=events)


def drift_between(first: RunNumbers, other: RunNumbers) -> pd.DataFrame:
    """Return how the hit rate of each ring moved from one run to another.

    Per channel the rate is lambda = -ln(1 - digis / events); its ln has the binomial variance p / (N (1 - p) lambda^2).
    A ring's ln ratio is the mean over its channels by inverse variance; channels more than five standard deviations
    from the ring's median (which failed in one of the runs) are left out. The error is statistical, times the square
    root of chi-squared per degree of freedom where that exceeds 1.

    Parameters
    ----------
    first, other
        Runs with known events; only rings that both have are compared.

    Returns
    -------
    Columns run, those of `RING`, ln_ratio, error, n_channels, chi2. Rings that always fire (HF) or hardly ever have
    no row.
    """
    columns = ["run", *RING, "ln_ratio", "error", "n_channels", "chi2"]
    if not (first.events > 0 and other.events > 0):
        return pd.DataFrame({name: [] for name in columns})
    both = _rates(first).merge(_rates(other), on=["channel", *RING], suffixes=("_0", "_1"))
    both["x"] = both["rate_1"] - both["rate_0"]
    both["v"] = both["variance_1"] + both["variance_0"]
    rows = [
        {**dict(zip(RING, ring, strict=True)), **_ring_drift(part["x"].to_numpy(), part["v"].to_numpy())}
        for ring, part in both.groupby(list(RING), sort=False)
    ]
    return pd.DataFrame(rows, columns=columns[1:]).assign(run=other.run)[columns]


def _rates(numbers: RunNumbers) -> pd.DataFrame:
    """Return ln(lambda) and its variance for the channels that can tell them."""
    hits, events = numbers.hits.astype(np.float64), numbers.events
    usable = np.minimum(hits, events - hits) >= _LEAST_COUNTS
    hits = hits[usable]
    p = hits / events
    rate = empirical_log_rate(hits, events)
    variance = p / (events * (1.0 - p) * np.exp(2.0 * rate))
    return numbers.channels.loc[usable, ["channel", *RING]].assign(rate=rate, variance=variance)


def _ring_drift(x: Floats, v: Floats) -> dict[str, Any]:
    away = np.abs(x - np.median(x))
    kept = away <= _FAR * np.sqrt(v + (1.4826 * np.median(away)) ** 2)
    x, weight = x[kept], 1.0 / v[kept]
    mean = float(np.average(x, weights=weight))
    chi2 = float((weight * (x - mean) ** 2).sum() / (x.size - 1)) if x.size > 1 else float("nan")
    error = float(np.sqrt(max(1.0, np.nan_to_num(chi2)) / weight.sum()))
    return {"ln_ratio": mean, "error": error, "n_channels": x.size, "chi2": chi2}
