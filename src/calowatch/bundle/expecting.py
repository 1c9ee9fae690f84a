"""The one interface of every model and baseline: windows of counts in, the expected p and the published score out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from calowatch.bundle.frame import NetworkFrame
from calowatch.bundle.manifest import bundle_kind
from calowatch.core.errors import FormatError

__all__ = [
    "NetworkWindows",
    "Runtime",
    "WindowModel",
    "WindowPrediction",
    "check_windows",
    "load_window_model",
    "training_sigma",
]

Counts = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.floating[Any]]
Values = npt.NDArray[np.float32]
Windows = Iterable[tuple[Counts, Counts]]
"""Counts [window, time, channel] and events [window, time], some windows at a time."""

Runtime = Literal["torch", "onnx"]
Runner = Callable[[Values, Values], Values]
"""From prepared grids [window, time, ieta, iphi, depth] and events [window, time] to the network's answer."""


@dataclass(frozen=True, eq=False)
class WindowPrediction:
    """What a model says of windows.

    Parameters
    ----------
    p
        Expected probability of a digi per event, strictly between 0 and 1, shape [window, time, channel].
    source_score
        The published score: mean absolute error of the window over its standard deviation on training windows, shape
        [window, channel]; higher is more abnormal. None for models that never saw training windows.
    """

    p: Floats
    source_score: Floats | None


class WindowModel(Protocol):
    """A model or baseline that expects counts of windows.

    Attributes
    ----------
    name
        Such as ``"cnn-vae-lstm+rin+dc"`` or ``"reference"``.
    n_parameters
        How many numbers it learned.
    channel
        Channel numbers that it answers for, in the order of its arrays, shape (channel,).
    window
        Lumisections that it sees together.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - told above

    @property
    def n_parameters(self) -> int: ...  # noqa: D102

    @property
    def channel(self) -> npt.NDArray[np.int64]: ...  # noqa: D102

    @property
    def window(self) -> int: ...  # noqa: D102

    def predict_windows(self, counts: Counts, n_events: Counts) -> WindowPrediction:
        """Return the expectation for windows, each by itself.

        Parameters
        ----------
        counts
            Digis [window, time, channel] of the model's channels.
        n_events
            Events [window, time], all known.
        """
        ...


def check_windows(model: WindowModel, counts: Counts, n_events: Counts, *, any_time: bool = False) -> None:
    """Raise ValueError unless counts and events are windows of a model's channels and length."""
    n, time = len(model.channel), model.window
    fits = counts.ndim == 3 and counts.shape[2] == n and counts.shape[:2] == n_events.shape
    if not fits or not (any_time or counts.shape[1] == time):
        expected = f"counts [window, {'time' if any_time else time}, {n}] and events beside them"
        raise ValueError(f"{model.name} takes {expected}, not {counts.shape} and {n_events.shape}")


class NetworkWindows:
    """A network behind the common interface.

    Parameters
    ----------
    frame
        What stands around the network.
    run
        The network itself, by whatever runs it.
    batch
        Windows that go through the network at a time: few, so that features stay in the processor's cache.
    """

    def __init__(self, frame: NetworkFrame, run: Runner, batch: int = 4) -> None:
        self.frame = frame
        self.name = frame.name
        self.n_parameters = frame.n_parameters
        self.channel = frame.channel
        self.window = frame.window
        self._run = run
        self._batch = batch

    def predict_windows(self, counts: Counts, n_events: Counts) -> WindowPrediction:
        """Return p and the source's score of windows; shapes as in `WindowModel`."""
        p, error = self._predict(counts, n_events)
        return WindowPrediction(p, self.frame.source_score(error))

    def window_error(self, counts: Counts, n_events: Counts) -> Values:
        """Return the mean absolute error of windows, [window, channel], not divided by sigma."""
        return self._predict(counts, n_events)[1]

    def _predict(self, counts: Counts, n_events: Counts) -> tuple[Values, Values]:
        check_windows(self, counts, n_events)
        windows, time, n = counts.shape
        p, error = np.empty((windows, time, n), np.float32), np.empty((windows, n), np.float32)
        for first in range(0, windows, self._batch):
            part = slice(first, first + self._batch)
            prepared = self.frame.prepare(counts[part], n_events[part])
            grids = self.frame.grid(prepared.values)
            events = np.asarray(n_events[part], np.float32)
            answer = self._run(grids.reshape(len(events), time, *grids.shape[1:]), events)
            values = self.frame.channels(answer.reshape(grids.shape))
            flat = self.frame.probability(values, prepared, time)
            error[part] = self.frame.error(values, prepared, flat, time)
            p[part] = flat.reshape(-1, time, n)
        return p, error


class HasError(Protocol):
    """A model whose error has the unit of its score."""

    def window_error(self, counts: Counts, n_events: Counts) -> Floats:
        """Return the mean absolute error of windows, [window, channel], not divided by sigma."""
        ...


def training_sigma(model: HasError, windows: Windows) -> npt.NDArray[np.float64]:
    """Return the standard deviation over windows of each channel's window error, shape (channel,).

    Parameters
    ----------
    model
        Whatever its own sigma is.
    windows
        Of the training side.

    Raises
    ------
    ValueError
        When there is no window.
    """
    count, total, squares = 0, 0.0, 0.0
    shift: npt.NDArray[np.float64] | None = None
    for counts, n_events in windows:
        error = model.window_error(counts, n_events).astype(np.float64)
        shift = error.mean(axis=0) if shift is None else shift
        away = error - shift
        count, total, squares = count + len(error), total + away.sum(axis=0), squares + (away**2).sum(axis=0)
    if not count:
        raise ValueError("a sigma cannot be learned of no windows")
    variance = squares / count - (total / count) ** 2
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)), np.float64)


def load_window_model(
    folder: Path | str, runtime: Runtime = "torch", threads: int | None = None
) -> WindowModel:
    """Return the model of a bundle of any kind behind the common interface.

    Parameters
    ----------
    folder
        A bundle.
    runtime
        What runs a network: ``"torch"``, or ``"onnx"`` for its exported form, which needs no torch.
    threads
        Of ONNX Runtime; torch and baselines take what their libraries are set to.

    Raises
    ------
    FormatError
        When there is no bundle, a broken one, or one that expects no occupancy.
    ConflictError
        When the segmentation it was made for is not the one of this program.
    """
    kind = bundle_kind(folder)
    if kind in ("ring", "reference", "pca", "ewma"):
        # Needs this module's classes.
        from calowatch.bundle.baseline import baseline_windows  # noqa: PLC0415

        return baseline_windows(folder, kind)
    if kind != "network":
        raise FormatError(
            folder, "a bundle that expects occupancy", f"one of kind {kind!r}", "choose another bundle"
        )
    if runtime == "onnx":
        from calowatch.bundle.exported import exported_windows  # noqa: PLC0415

        return exported_windows(folder, threads)
    # Loads torch, which the others do without.
    from calowatch.bundle.running import network_windows  # noqa: PLC0415

    return network_windows(folder)
