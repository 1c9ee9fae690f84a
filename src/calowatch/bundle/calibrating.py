"""The calibration of a bundle: fixed beforehand on healthy validation windows, by the path that scores later."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from calowatch.bundle.baseline import BaselineWindows, save_sigma
from calowatch.bundle.calibration_files import save_calibration
from calowatch.bundle.expecting import Counts, WindowModel, Windows, load_window_model, training_sigma
from calowatch.bundle.manifest import amended
from calowatch.core.errors import InputError
from calowatch.data.dataset import channel_places, open_dataset
from calowatch.detect.calibration import RATES, Calibration, Misfit, Thresholds, binomial_evidence, pooled
from calowatch.detect.mixture import log_mixture, log_ratio_stack, window_sums

__all__ = ["FIGURES", "DatasetWindows", "calibrate", "finish_bundle"]

Floats = npt.NDArray[np.floating[Any]]
Figure = Callable[[Counts, Counts, Floats], Floats]
"""Counts and events of windows and the expected p to scores [window, channel], higher more abnormal."""


def _mixture(counts: Counts, n_events: Counts, p: Floats) -> Floats:
    return log_mixture(log_ratio_stack(window_sums(counts, n_events, p)))


FIGURES: Mapping[str, Figure] = MappingProxyType({"binomial": binomial_evidence, "mixture": _mixture})
"""What is calibrated besides the source's score: abs(signed evidence), and ln of the likelihood ratio mixed over
factors."""


class DatasetWindows:
    """Windows of one side of a prepared data set as they were counted, to be gone through as often as needed.

    Parameters
    ----------
    folder
        The data set.
    side
        train, validation or test.
    channel
        Channel numbers wanted, in the order wanted; all must be in the data set.
    at_most
        Take that many windows, evenly spread over the side.
    at_once
        Windows in a piece.
    """

    def __init__(
        self,
        folder: Path | str,
        side: str,
        channel: npt.NDArray[np.int64],
        at_most: int | None = None,
        at_once: int = 32,
    ) -> None:
        self._data = open_dataset(folder)
        self._windows = self._data.windows.of(self._data.check_side(side))
        if missing := len(set(channel.tolist()) - set(self._data.preparation.channel.tolist())):
            raise InputError(
                folder, "all channels of the model", f"{missing} fewer", "prepare data of its subdetectors"
            )
        n = len(self._windows)
        count = n if at_most is None else min(at_most, n)
        self._chosen = np.unique(np.linspace(0, n - 1, count).round().astype(np.int64)) if n else np.arange(0)
        self._channel, self.at_once = channel, at_once

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self._chosen)

    def __iter__(self) -> Iterator[tuple[Counts, Counts]]:
        """Yield counts [window, time, channel] and events [window, time]."""
        runs = self._windows.run[self._chosen]
        for run in np.unique(runs).tolist():
            cached = self._data.run(run)
            columns = channel_places(cached.channel, self._channel)
            mine = self._chosen[runs == run]
            for first in range(0, len(mine), self.at_once):
                rows = self._windows.rows[mine[first : first + self.at_once]]
                counts = np.asarray(cached.counts)[rows.ravel()][:, columns]
                yield counts.reshape(*rows.shape, -1), np.asarray(cached.n_events)[rows]


def calibrate(
    model: WindowModel,
    windows: Windows,
    figures: Mapping[str, Figure] = FIGURES,
    rates: tuple[float, ...] = RATES,
) -> Calibration:
    """Return what healthy windows say of a model. Keeps 4 bytes per channel-window and figure until it is done.

    Parameters
    ----------
    model
        Any model.
    windows
        Healthy ones that it was not trained on.
    figures
        What to set thresholds for, besides the source's score.
    rates
        False alarms per healthy channel-window to set thresholds for.

    Raises
    ------
    InputError
        When there is no window.
    """
    misfit, n_windows = Misfit(model.channel), 0
    scores: dict[str, list[Floats]] = {name: [] for name in ("source_score", *figures)}
    for counts, n_events in windows:
        found = model.predict_windows(counts, n_events)
        for name, figure in figures.items():
            scores[name].append(figure(counts, n_events, found.p).astype(np.float32))
        if found.source_score is not None:
            scores["source_score"].append(found.source_score)
        misfit.add(counts, n_events, found.p)
        n_windows += len(counts)
    if not n_windows:
        raise InputError(
            "calibration", "healthy validation windows", "none", "give the data set a validation side"
        )
    thresholds = {name: Thresholds.of(pooled(parts), rates) for name, parts in scores.items() if parts}
    return Calibration(thresholds, model.channel, misfit.sigma(), n_windows)


def finish_bundle(folder: Path | str, windows: Windows, training: Windows | None = None) -> Calibration:
    """Calibrate the model of a bundle and write that beside it: the last step of training.

    Parameters
    ----------
    folder
        A bundle of any kind that expects occupancy; replaced as a whole or not at all.
    windows
        Healthy validation windows, such as `DatasetWindows`.
    training
        Windows that a baseline was fitted to, for the sigma of its score; networks have theirs already.

    Raises
    ------
    InputError
        When there is no such bundle, or no window.
    """
    model = load_window_model(folder)
    sigma = None
    if training is not None and isinstance(model, BaselineWindows):
        sigma = training_sigma(model, training)
        model = model.with_sigma(sigma)
    calibration = calibrate(model, windows)
    with amended(folder) as scratch:
        save_calibration(scratch, calibration)
        if sigma is not None:
            save_sigma(scratch, sigma)
    return calibration
