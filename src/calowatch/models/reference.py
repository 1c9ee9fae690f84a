"""Expectations that need no network: a per-channel reference learned from healthy runs, and the ring alone.

Both follow ``lambda[ls, channel] = rate[ls, ring] * response[channel]``, lambda = -ln(1 - p). The rate comes from the
monitored run itself, so that luminosity, pile-up and prescales are no faults. What differs is the response:
`Reference` has learned it for each channel, `RingReference` expects every channel to do what its ring does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from calowatch.core.errors import InputError
from calowatch.core.progress import SILENT, Progress
from calowatch.core.schema import UNKNOWN_EVENTS, make_expectation
from calowatch.detector.table import channel_table
from calowatch.models.rings import (
    Rings,
    empirical_log_rate,
    probability,
    ring_log_rates,
    ring_probability,
    rings_of,
)

__all__ = ["MIN_EVENTS", "Reference", "RingReference", "trials_of", "usable_ls"]

Floats = npt.NDArray[np.float64]

MIN_EVENTS = 100
"""Fewer events than this in a lumisection: no verdict (HCAL's own online tasks wait for as many)."""

_FLOOR = 0.003  # of sigma with a reference: what frozen responses may still move between runs
_RING_FLOOR = 0.05  # of sigma without one
# Of 20,000 healthy channels the farthest from its ring lies about this many spreads away, and it is no failure: the
# spread is widened so that three sigma of the expectation reach there.
_FARTHEST = 4.2
_POOL_WEIGHT = 20.0  # channels' worth of weight of the technology's spread against the ring's own


def trials_of(occupancy: xr.Dataset) -> Floats:
    """Return the binomial trials per lumisection, shape (ls,).

    These are the events. Where some of those are unknown, numbers so large that the binomial becomes a Poisson
    distribution, whose variance bounds that of every binomial: evidence can then only be relative to the ring, and
    errs on the safe side.
    """
    events = occupancy["n_events"].to_numpy()
    if (events != UNKNOWN_EVENTS).all():
        return np.array(events, np.float64)
    most = occupancy["counts"].max("channel").to_numpy()
    return 1000.0 * np.array(np.maximum(most, 1), np.float64)


def usable_ls(occupancy: xr.Dataset, min_events: int = MIN_EVENTS) -> npt.NDArray[np.bool_]:
    """Return which lumisections have enough events for a verdict, shape (ls,).

    Where the events are unknown, the largest count of any channel, which is a lower bound, stands for them.
    """
    events = occupancy["n_events"].to_numpy()
    most = occupancy["counts"].max("channel").to_numpy()
    enough: npt.NDArray[np.bool_] = np.where(events == UNKNOWN_EVENTS, most, events) >= min_events
    return enough


def _table_of(occupancy: xr.Dataset) -> pd.DataFrame:
    """Return the rows of the channel table that the run holds, in the run's order."""
    table = channel_table(str(occupancy.attrs["era"])).set_index("channel")
    return table.loc[occupancy["channel"].to_numpy()].reset_index()


def _expectation(
    occupancy: xr.Dataset, log_rate: Floats, response: Floats, sigma: Floats, method: str
) -> xr.Dataset:
    rings = rings_of(_table_of(occupancy))
    p, factor = np.empty(occupancy["counts"].shape), np.exp(response)
    for first in range(0, len(p), 8):
        part = slice(first, first + 8)
        p[part] = ring_probability(log_rate[part], factor, rings)
    expectation = make_expectation(occupancy, p, sigma, {"method": method})
    return expectation.assign(n_trials=("ls", trials_of(occupancy)))


def _population_spread(deviation: Floats, rings: Rings, table: pd.DataFrame, floor: float) -> Floats:
    """Return the spread of ln(response) within each channel's ring, drawn towards that of its technology.

    A ring can be as small as four channels (HEP17 in 2017), whose own spread says little.
    """
    own = np.nan_to_num(rings.spread(deviation))
    size = rings.sum(np.isfinite(deviation).astype(np.float64))
    squared = pd.Series(deviation**2).groupby([table["subdet"], table["technology"]])
    # Half the median of squares would do for a normal; 2.198 = 1 / median of chi-squared with one degree of freedom.
    pool = np.sqrt(2.198 * squared.transform("median").fillna(0.0).to_numpy())
    variance = (size * own**2)[rings.group] + _POOL_WEIGHT * pool**2
    return np.maximum(np.sqrt(variance / (size[rings.group] + _POOL_WEIGHT)), floor)


class RingReference:
    """Expect of every channel what its phi ring says; nothing has to be learned beforehand.

    Rings are split by technology, so that an upgraded sector is compared with itself. ``sigma`` is 1.4 times the
    spread of the channels within a ring, which is large for HPDs, whose gains differ.
    """

    method = "ring"

    def predict(self, occupancy: xr.Dataset) -> xr.Dataset:
        """Return the expectation for a run; shapes as in `calowatch.core.schema`."""
        table = _table_of(occupancy)
        rings = rings_of(table)
        counts, trials = occupancy["counts"].to_numpy(), trials_of(occupancy)
        flat = np.zeros(len(table))
        log_rate = ring_log_rates(counts, trials, flat, rings)
        usable = usable_ls(occupancy)
        deviation = _mean_deviation(counts[usable], trials[usable], log_rate[usable], rings)
        median = np.nan_to_num(rings.median(deviation))
        centred = deviation - median[rings.group]
        sigma = _FARTHEST / 3.0 * _population_spread(centred, rings, table, _RING_FLOOR)
        return _expectation(occupancy, log_rate + median, flat, sigma, self.method)


def _mean_deviation(
    counts: npt.NDArray[np.integer[Any]], trials: Floats, log_rate: Floats, rings: Rings
) -> Floats:
    """Return each channel's ln(lambda) over the run less its ring's; NaN for channels without any digi."""
    hits = counts.sum(axis=0, dtype=np.int64)
    if not len(trials):
        return np.full(counts.shape[1], np.nan)
    expected = np.average(probability(log_rate), axis=0, weights=trials)
    ring = np.log(-np.log1p(-expected))
    deviation = empirical_log_rate(hits, trials.sum()) - ring[rings.group]
    return np.where(hits > 0, deviation, np.nan)


@dataclass(frozen=True)
class _RunFit:
    """What one healthy run says: ln(response) and its information per channel, ln(rate) per ring."""

    log_response: Floats
    information: Floats
    ring_log_rate: Floats


def _fit_run(occupancy: xr.Dataset, rings: Rings) -> _RunFit:
    usable = usable_ls(occupancy)
    counts = occupancy["counts"].to_numpy()[usable]
    trials = occupancy["n_events"].to_numpy()[usable].astype(np.float64)
    hits = counts.sum(axis=0, dtype=np.float64)
    flat = np.zeros(counts.shape[1])
    rates = ring_log_rates(counts, trials, flat, rings)
    response = np.nan_to_num(_mean_deviation(counts, trials, rates, rings))
    silent = hits == 0
    for _ in range(2):
        rates = ring_log_rates(counts, trials, np.where(silent, np.nan, response), rings)
        response, information = _match_totals(hits, trials, rates, response, rings)
        centre = rings.median(np.where(silent, np.nan, response))
        response = response - np.nan_to_num(centre)[rings.group]
    response[silent], information[silent] = np.nan, 0.0
    return _RunFit(response, information, np.median(rates + np.nan_to_num(centre), axis=0))


def _match_totals(
    hits: Floats, trials: Floats, rates: Floats, response: Floats, rings: Rings
) -> tuple[Floats, Floats]:
    """Return ln(response) for which the run's expected digis equal the counted ones, and its information."""
    for _ in range(3):
        expected, slope, information = (np.zeros_like(hits) for _ in range(3))
        for first in range(0, len(trials), 8):
            part = slice(first, first + 8)
            rate = np.clip(np.exp(rates[part][:, rings.group] + response), 1e-7, 16.0)
            miss = np.exp(-rate)
            expected += trials[part] @ (1.0 - miss)
            slope += trials[part] @ (miss * rate)
            information += trials[part] @ (miss * rate**2 / (1.0 - miss))
        # Half a miss is allowed for, since a channel that never missed has no finite answer.
        aim = np.minimum(hits, trials.sum() - 0.5)
        response = response + np.clip((aim - expected) / np.maximum(slope, 0.25), -0.5, 0.5)
    return response, information


class Reference:
    """What each channel does in healthy runs, relative to its ring.

    Attributes learned by `fit`, all of shape (channel,):

    ``channel_``
        channel numbers;
    ``log_response_``
        ln(response), 0 for the ring's median channel, NaN where no healthy run has a digi;
    ``sigma_``
        standard deviation to expect of ln(response) in another run: statistics of the fit, scatter between the runs,
        and a floor; for channels without response the spread of their ring;
    ``ring_log_rate_``
        ln(rate) of the channel's ring in the healthy runs, the median over lumisections.
    """

    method = "reference"

    channel_: npt.NDArray[np.int64]
    log_response_: Floats
    sigma_: Floats
    ring_log_rate_: Floats

    def fit(self, runs: Sequence[xr.Dataset], progress: Progress = SILENT) -> Self:
        """Learn from healthy runs.

        Parameters
        ----------
        runs
            Occupancy of one era with the same channels; events per lumisection must be known.
        progress
            Whom to tell how many runs are done.

        Raises
        ------
        InputError
            When events are unknown, channels differ, or no lumisection has enough events.
        """
        _check_runs(runs)
        table = _table_of(runs[0])
        rings = rings_of(table)
        fits = [_fit_run(run, rings) for run in progress.track(runs, "fitting", len(runs))]
        responses = np.stack([fit.log_response for fit in fits])
        information = np.stack([fit.information for fit in fits])
        response, variance = _combine(responses, information, rings)
        spread = _population_spread(response, rings, table, _RING_FLOOR)
        self.channel_ = table["channel"].to_numpy(np.int64)
        self.log_response_ = response
        self.sigma_ = np.where(np.isfinite(response), np.sqrt(variance + _FLOOR**2), spread)
        self.ring_log_rate_ = np.mean([fit.ring_log_rate for fit in fits], axis=0)[rings.group]
        return self

    def predict(self, occupancy: xr.Dataset) -> xr.Dataset:
        """Return the expectation for a run, whose channels must be among those learned.

        Besides what `calowatch.core.schema` names it holds ``usual_rate`` (ring,), the rate of each ring in the healthy
        runs, ``rate_shift`` (ls, ring), ln of the present rate over it, and ``ring_of`` (channel,), the ring of each
        channel.
        """
        position = pd.Index(self.channel_).get_indexer(pd.Index(occupancy["channel"].to_numpy()))
        if (position < 0).any():
            raise ValueError("the run has channels that this reference does not know")
        response, sigma = self.log_response_[position], self.sigma_[position]
        rings = rings_of(_table_of(occupancy))
        rates = ring_log_rates(occupancy["counts"].to_numpy(), trials_of(occupancy), response, rings)
        expectation = _expectation(occupancy, rates, np.nan_to_num(response), sigma, self.method)
        usual = rings.median(self.ring_log_rate_[position])
        return expectation.assign(
            rate_shift=(("ls", "ring"), rates - usual),
            usual_rate=("ring", np.exp(usual)),
            ring_of=("channel", rings.group),
        )


def _check_runs(runs: Sequence[xr.Dataset]) -> None:
    if not runs:
        raise InputError("fit", "at least one healthy run", "none", "name files, folders or STORE::RUN")
    for run in runs:
        where = run.attrs.get("source", f"run {run.attrs['run']}")
        if (run["n_events"] == UNKNOWN_EVENTS).any():
            raise InputError(
                where,
                "known events per lumisection in a run to learn from",
                "lumisections without them",
                "add a file that tells them (an analyzer file, or HF, whose cells count every event)",
            )
        if run.attrs["era"] != runs[0].attrs["era"] or not np.array_equal(run["channel"], runs[0]["channel"]):
            raise InputError(
                where,
                f"era {runs[0].attrs['era']} and the same {runs[0].sizes['channel']} channels as the first run",
                f"era {run.attrs['era']} and {run.sizes['channel']} channels",
                "fit one reference per era and set of subdetectors",
            )
        if not usable_ls(run).any():
            raise InputError(
                where, f"a lumisection with {MIN_EVENTS} events or more", "none", "leave this run out"
            )


def _combine(responses: Floats, information: Floats, rings: Rings) -> tuple[Floats, Floats]:
    """Return the mean ln(response) over runs, shape (channel,), and the variance to expect in another run.

    Runs in which a channel lies far from its median over runs are left out (it failed there). The scatter between
    runs beyond statistics is pooled per ring, after DerSimonian and Laird (1986).
    """
    variance = 1.0 / np.maximum(information, 1e-12)
    middle = pd.DataFrame(responses).median().to_numpy()
    far = np.abs(responses - middle) > np.maximum(5.0 * np.sqrt(variance), 0.1)
    weight = np.where(np.isfinite(responses) & ~(far & (len(responses) > 2)), information, 0.0)
    total = weight.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(weight * np.nan_to_num(responses), axis=0) / total
        chi2 = (weight * np.nan_to_num(responses - mean) ** 2).sum(axis=0)
        scale = total - (weight**2).sum(axis=0) / total
        free = (weight > 0).sum(axis=0) - 1
        excess = np.where(free > 0, (chi2 - free) / scale, np.nan)
    between = np.maximum(np.nan_to_num(rings.median(excess)), 0.0)[rings.group]
    return mean, 1.0 / np.maximum(total, 1e-12) + between
