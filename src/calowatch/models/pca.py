"""Principal components of healthy windows, beside what a channel's ring says: the linear autoencoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from calowatch.core.errors import InputError
from calowatch.core.progress import SILENT, Progress
from calowatch.models.baselines import Template, run_windows
from calowatch.models.reference import Reference
from calowatch.models.rings import MAX_RATE, MIN_RATE

__all__ = ["MOST_COMPONENTS", "Pca"]

Counts = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

MOST_COMPONENTS = 12
"""So many components are tried at most."""

_AT_ONCE = 16  # windows worked on at a time
_FAR = 4.0  # standard deviations: channels farther from the fit are left out of it
_ROUNDS = 4
_MOST_MOVE = 0.7  # of ln(lambda) by the components
_LEAST, _BLOCK = (
    10,
    10,
)  # windows to learn from; windows in a line that are held out together, where there are many
_FOLD = 5  # every fifth block is held out


@dataclass(frozen=True, eq=False)
class Pca:
    """Expect what the ring and the channel's own response say, moved along directions in which healthy windows move.

    The numbers analysed are digis of a window less those expected by the template, in standard deviations. The
    amplitudes of a window are found without channels that lie 4 standard deviations or more off the fit, so that a
    failure is neither reconstructed nor drags others along.

    Parameters
    ----------
    template
        Ring and response.
    components
        Shape (component, channel), rows of length one, at right angles to each other; without any it is the template.
    """

    template: Template
    components: Floats

    def expect_windows(self, counts: Counts, n_events: Counts) -> Floats:
        """Return p [window, time, channel] of digis [window, time, channel] and events [window, time]."""
        p = np.empty(counts.shape)
        for first in range(0, len(counts), _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            rate, pull, per_pull = _pulls(self.template, counts[part], n_events[part])
            move = np.clip(self.reconstruct(pull) * per_pull, -_MOST_MOVE, _MOST_MOVE)
            moved = np.clip(rate * np.exp(move)[:, None], MIN_RATE, MAX_RATE)
            p[part] = -np.expm1(-moved)
        return p

    def reconstruct(self, pull: Floats) -> Floats:
        """Return what the components make of deviations, both (window, channel) in standard deviations."""
        return _fitted(pull, self.components, slice(None))

    @classmethod
    def fit(
        cls, runs: Sequence[xr.Dataset], window: int = 5, seed: int = 0, progress: Progress = SILENT
    ) -> "Pca":
        """Learn from healthy runs.

        How many components (perhaps none) is told by held-out blocks of windows: amplitudes are found from one half of
        the channels, and the fit is judged on the other half (bi-cross-validation; Owen and Perry, 2009), since
        judged on the same channels more components always look better.

        Parameters
        ----------
        runs
            Occupancy of one era with the same channels; events per lumisection must be known.
        window
            Lumisections per window.
        seed
            Of the halves.
        progress
            Whom to tell how many runs are done.

        Raises
        ------
        InputError
            As `calowatch.models.reference.Reference.fit`, and when there are fewer than ten windows.
        """
        reference = Reference().fit(runs, progress)
        template = Template(str(runs[0].attrs["era"]), reference.channel_, reference.log_response_)
        pull = np.concatenate(
            [_run_pulls(template, run, window) for run in progress.track(runs, "windows", len(runs))]
        )
        if len(pull) < _LEAST:
            raise InputError(
                "fit",
                f"{_LEAST} windows of {window} usable lumisections or more",
                f"{len(pull)}",
                "name more or longer runs",
            )
        np.clip(pull, -_FAR, _FAR, out=pull)
        block = min(_BLOCK, len(pull) // _LEAST)
        held = np.arange(len(pull)) // block % _FOLD == _FOLD - 1
        components = _principal(pull[~held], MOST_COMPONENTS, seed)
        halves = np.random.default_rng(seed).permutation(pull.shape[1]) % 2 == 0
        losses = [
            sum(_loss(pull[held], components[:k], half) for half in (halves, ~halves))
            for k in range(len(components) + 1)
        ]
        return cls(template, _principal(pull, int(np.argmin(losses)), seed))


def _principal(pull: Floats, k: int, seed: int) -> Floats:
    if not k:
        return np.empty((0, pull.shape[1]))
    # Takes a second to load, and only fitting needs it.
    from sklearn.decomposition import PCA  # noqa: PLC0415

    # Its mean is left out: the template's response is the mean, and knows how it scales with the events.
    found: Floats = PCA(min(k, len(pull) - 1), random_state=seed).fit(pull).components_
    return found


def _loss(pull: Floats, components: Floats, half: npt.NDArray[np.bool_]) -> float:
    """Return the mean square of what is left in the other half of the channels."""
    fit = _fitted(pull, components, half)
    return float(((pull - fit)[:, ~half] ** 2).mean())


def _fitted(pull: Floats, components: Floats, seen: npt.NDArray[np.bool_] | slice) -> Floats:
    """Return amplitudes @ components, amplitudes by least squares over the channels seen that lie near the fit."""
    if not len(components):
        return np.zeros_like(pull)
    part, away = components[:, seen], pull[:, seen]
    solve = np.linalg.inv(part @ part.T + 1e-9 * np.eye(len(part)))
    filled = np.clip(away, -_FAR, _FAR)
    for _ in range(_ROUNDS):
        amplitudes = filled @ part.T @ solve
        fit = amplitudes @ part
        # A channel left out takes the fitted value: least squares without it, reached in a few rounds.
        filled = np.where(np.abs(away - fit) <= _FAR, away, fit)
    found: Floats = amplitudes @ components
    return found


def _pulls(template: Template, counts: Counts, n_events: Counts) -> tuple[Floats, Floats, Floats]:
    """Return lambda [window, time, channel]; deviations of windows in standard deviations, and ln(lambda) per one."""
    rate = template.rates(template.log_rates(counts, n_events), template.log_response)
    trials = np.asarray(n_events, np.float64)[..., None]
    miss = np.exp(-rate)
    hits = trials * (1.0 - miss)
    width = np.sqrt(np.maximum((hits * miss).sum(axis=1), 1.0))
    slope = (trials * rate * miss).sum(axis=1)
    pull = (counts - hits).sum(axis=1) / width
    return rate, pull, width / np.maximum(slope, 1e-9)


def _run_pulls(template: Template, run: xr.Dataset, window: int) -> Floats:
    counts, n_events = run_windows(run, window)
    parts = [
        _pulls(template, counts[first : first + _AT_ONCE], n_events[first : first + _AT_ONCE])[1]
        for first in range(0, len(counts), _AT_ONCE)
    ]
    return np.concatenate([np.empty((0, counts.shape[2])), *parts])
