"""Baselines for windows, without a network: each channel is a multiple of its ring, learned or not.

All follow ``lambda[ls, channel] = rate[ls, ring] * response[channel]`` of `calowatch.models.rings`, with the rate taken
from the window itself. `Template` has a response that stays; `Ewma` one that follows healthy lumisections.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from calowatch.core.errors import InputError
from calowatch.core.progress import SILENT, Progress
from calowatch.detector.table import channel_table
from calowatch.models.reference import Reference, usable_ls
from calowatch.models.rings import MAX_RATE, MIN_RATE, Rings, rings_of, window_log_rates

__all__ = ["HALF_LIVES", "Ewma", "Template", "run_windows"]

Counts = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

HALF_LIVES = (25.0, 100.0, 400.0, 1600.0)
"""Lumisections after which an old lumisection counts half, of which `Ewma.fit` takes the best."""

_AT_ONCE = 16  # windows worked on at a time
_PRIOR = 0.15  # of ln(response) before anything was seen
_HEALTHY = 4.0  # standard deviations: a window in which a channel lies farther teaches nothing of it


@lru_cache(maxsize=16)
def _rings(era: str, channel: bytes) -> Rings:
    table = channel_table(era).set_index("channel").loc[np.frombuffer(channel, np.int64)]
    return rings_of(table.reset_index())


@dataclass(frozen=True, eq=False)
class Template:
    """Expect of every channel its own multiple of its ring; multiples of one are the ring alone.

    Parameters
    ----------
    era
        Of the channels.
    channel
        Channel numbers, shape (channel,).
    log_response
        ln(response), shape (channel,); NaN for channels without one, which are in no ring's rate and are expected to do
        what their ring does.
    """

    era: str
    channel: Ints
    log_response: Floats

    @property
    def rings(self) -> Rings:
        """The rings of the channels."""
        return _rings(self.era, self.channel.tobytes())

    def with_response(self, log_response: Floats) -> "Template":
        """Return a template of the same channels."""
        return Template(self.era, self.channel, log_response)

    def expect_windows(self, counts: Counts, n_events: Counts) -> Floats:
        """Return p [window, time, channel] of digis [window, time, channel] and events [window, time]."""
        p = np.empty(counts.shape)
        for first in range(0, len(counts), _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            rates = self.log_rates(counts[part], n_events[part])
            p[part] = -np.expm1(-self.rates(rates, self.log_response))
        return p

    def log_rates(self, counts: Counts, n_events: Counts) -> Floats:
        """Return ln(rate) of the rings, [window, time, ring]."""
        trials = np.asarray(n_events, np.float64)
        return window_log_rates(counts, trials, self.log_response, self.rings)

    def rates(self, log_rates: Floats, log_response: Floats) -> Floats:
        """Return lambda [..., channel] of ln(rate) [..., ring], inside bounds that keep p off 0 and 1."""
        found: Floats = np.exp(log_rates[..., self.rings.group] + np.nan_to_num(log_response))
        return np.clip(found, MIN_RATE, MAX_RATE, out=found)


@dataclass(frozen=True, eq=False)
class Ewma:
    """A template that follows: an exponentially weighted mean over healthy lumisections, newer ones counting more.

    Each window corrects ln(response) by its score over the information gathered so far, old information halving every
    ``half_life`` lumisections (recursive estimation with forgetting; West and Harrison, Bayesian Forecasting and
    Dynamic Models, chapter 6). A window in which a channel lies 4 standard deviations off or more corrects nothing of
    that channel, so that a failure is not taken for the new normal; a failure so slow or slight that no window shows it
    is.

    Parameters
    ----------
    template
        Where it stands.
    information
        Of ln(response), shape (channel,).
    half_life
        In lumisections.
    """

    template: Template
    information: Floats
    half_life: float

    def expect_windows(self, counts: Counts, n_events: Counts) -> Floats:
        """Return p of windows in any order, the template standing still; shapes as of `Template.expect_windows`."""
        return self.template.expect_windows(counts, n_events)

    def follow(self, counts: Counts, n_events: Counts) -> Iterator[tuple[Floats, "Ewma"]]:
        """Yield p [time, channel] of each window in order of time, not yet learned of, and what follows from it.

        Parameters
        ----------
        counts, n_events
            Digis [window, time, channel] and events [window, time] of one run, in order.
        """
        now = self
        for first in range(0, len(counts), _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            rates = now.template.log_rates(counts[part], n_events[part])
            for window, log_rate in zip(range(first, len(counts)), rates, strict=False):
                p, now = now._learn(counts[window], n_events[window], log_rate)
                yield p, now

    def _learn(self, counts: Counts, n_events: Counts, log_rate: Floats) -> tuple[Floats, "Ewma"]:
        """Return p of one window and the template corrected by it."""
        response = np.nan_to_num(self.template.log_response)
        rate = self.template.rates(log_rate, response)
        p = -np.expm1(-rate)
        trials = np.asarray(n_events, np.float64)[:, None]
        slope = rate / p
        score = ((counts - trials * p) * slope).sum(axis=0)
        gained = (trials * rate * slope * (1.0 - p)).sum(axis=0)
        known = self.information
        healthy = score**2 <= _HEALTHY**2 * (gained + gained**2 / known)
        kept = known * 0.5 ** (len(counts) / self.half_life)
        corrected = response + np.where(healthy, score / (kept + gained), 0.0)
        information = np.where(healthy, kept + gained, known)
        return p, Ewma(self.template.with_response(corrected), information, self.half_life)

    @classmethod
    def fit(cls, runs: Sequence[xr.Dataset], window: int = 5, progress: Progress = SILENT) -> "Ewma":
        """Learn from healthy runs, in the order of their numbers.

        The half-life is the one of `HALF_LIVES` whose template, before each window, describes that window best (least
        mean square of digis less expected ones, in standard deviations, over the later half of the windows).

        Parameters
        ----------
        runs
            Occupancy of one era with the same channels; events per lumisection must be known.
        window
            Lumisections per step.
        progress
            Whom to tell how many half-lives are tried.

        Raises
        ------
        InputError
            As `calowatch.models.reference.Reference.fit`, and when no run has a whole window.
        """
        ordered = sorted(runs, key=lambda run: int(run.attrs["run"]))
        reference = Reference().fit(ordered)
        start = Template(str(runs[0].attrs["era"]), reference.channel_, np.zeros(len(reference.channel_)))
        learned = start.with_response(reference.log_response_)
        steps = [step for run in ordered for step in _steps(run, window, learned)]
        if not steps:
            raise InputError("fit", f"a run with {window} usable lumisections", "none", "name longer runs")
        blank = np.full(len(start.channel), _PRIOR**-2)
        tried = [
            _filtered(cls(start, blank, half_life), steps)
            for half_life in progress.track(HALF_LIVES, "trying half-lives", len(HALF_LIVES))
        ]
        best = min(tried, key=lambda found: found.loss).ewma
        response, rings = best.template.log_response, start.rings
        centred = start.with_response(response - rings.median(response)[rings.group])
        return cls(centred, best.information, best.half_life)


@dataclass(frozen=True, eq=False)
class _Step:
    counts: Counts
    n_events: Counts
    log_rate: Floats


@dataclass(frozen=True)
class _Filtered:
    ewma: Ewma
    loss: float = field(default=np.inf)


def _steps(run: xr.Dataset, window: int, template: Template) -> list[_Step]:
    """Return the whole windows of a run with the rates of the rings."""
    counts, n_events = run_windows(run, window)
    steps = []
    for first in range(0, len(counts), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        rates = template.log_rates(counts[part], n_events[part])
        steps += [_Step(*each) for each in zip(counts[part], n_events[part], rates, strict=True)]
    return steps


def _filtered(ewma: Ewma, steps: Sequence[_Step]) -> _Filtered:
    losses = []
    for step in steps:
        p, following = ewma._learn(step.counts, step.n_events, step.log_rate)
        hits = step.n_events[:, None] * p
        pull = (step.counts - hits).sum(axis=0) ** 2 / np.maximum((hits * (1.0 - p)).sum(axis=0), 1.0)
        losses.append(np.minimum(pull, _HEALTHY**2).mean())
        ewma = following
    return _Filtered(ewma, float(np.mean(losses[len(losses) // 2 :])))


def run_windows(run: xr.Dataset, window: int) -> tuple[Counts, Ints]:
    """Return the usable lumisections of a run as windows, one after the other, what is left over at the end dropped.

    Returns
    -------
    Counts [window, time, channel] and events [window, time].
    """
    rows = np.flatnonzero(usable_ls(run))
    whole = rows[: len(rows) // window * window].reshape(-1, window)
    return run["counts"].to_numpy()[whole], run["n_events"].to_numpy()[whole].astype(np.int64)
