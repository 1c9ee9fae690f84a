"""Preparation: from counts to what a network sees, fitted on the training side, and the way back."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from calowatch.core.errors import FormatError, InputError
from calowatch.core.files import atomic_file, write_json
from calowatch.core.recipe import MinMax, PreparationRecipe, Standard, Step

__all__ = ["Preparation", "Prepared", "load_preparation"]

Floats = npt.NDArray[np.floating[Any]]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Chunk = tuple[npt.NDArray[Any], npt.NDArray[Any]]
"""Counts (ls, channel) and events (ls,)."""

JSON_FILE = "preparation.json"
ARRAYS_FILE = "preparation.npz"
SCHEMA = 1


@dataclass(frozen=True)
class Prepared:
    """Prepared values with what the way back needs.

    Parameters
    ----------
    values
        Shape (ls, channel); 0 in masked channels.
    n_events
        Shape (ls,).
    ring_means
        Per ring step, what each ring was divided by; shape (ls, ring).
    """

    values: Floats
    n_events: npt.NDArray[Any]
    ring_means: tuple[Floats, ...]


class Preparation:
    """Steps from counts to prepared values.

    Parameters
    ----------
    steps
        In order, as in a recipe.
    channel
        Channel numbers in the order of the columns, channels of a ring side by side (as in every channel table).
    mask
        Which channels count, shape (channel,); the others (known bad ones) are in no mean and read 0. By default all.

    Examples
    --------
    >>> from calowatch.core.recipe import PerEvent
    >>> channel = np.array([2073333, 2073353])
    >>> prepared = Preparation([PerEvent()], channel).transform(np.array([[50, 100]]), np.array([200]))
    >>> prepared.values.tolist()
    [[0.25, 0.5]]
    """

    def __init__(self, steps: Sequence[Step], channel: Ints, mask: Mask | None = None) -> None:
        self.steps = tuple(steps)
        self.channel = np.asarray(channel, dtype=np.int64)
        self.mask = np.ones(len(self.channel), dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
        ring = self.channel // 1000 * 10 + self.channel % 10
        self._first = np.flatnonzero(np.r_[True, ring[1:] != ring[:-1]])
        if len(np.unique(ring)) != len(self._first):
            raise ValueError("channels of a ring must stand side by side")
        self._width = np.diff(np.r_[self._first, len(ring)])
        breaks = np.flatnonzero(np.diff(self._width)) + 1
        self._blocks = [
            self._block(int(first), int(last))
            for first, last in zip([0, *breaks], [*breaks, len(self._width)], strict=True)
        ]
        self._whole = bool(self.mask.all())
        self.offset_: dict[int, Doubles] = {}
        self.scale_: dict[int, Doubles] = {}

    def fit(self, chunks: Iterable[Chunk]) -> Self:
        """Learn the scales, one pass over the data per step that has any.

        Parameters
        ----------
        chunks
            Counts and events of lumisections of the training side, in pieces. Gone through once per fitted step, so a
            list or another thing that can be gone through again.

        Raises
        ------
        ValueError
            When there are no data.
        """
        self.offset_, self.scale_ = {}, {}
        for i, step in enumerate(self.steps):
            if not isinstance(step, MinMax | Standard):
                continue
            before = (self._apply(counts, n_events, i)[0] for counts, n_events in chunks)
            learn = self._range if isinstance(step, MinMax) else self._spread
            self.offset_[i], self.scale_[i] = learn(before, step.scope)
        return self

    def transform(
        self, counts: npt.NDArray[Any], n_events: npt.NDArray[Any], dtype: npt.DTypeLike = np.float64
    ) -> Prepared:
        """Return prepared values.

        Parameters
        ----------
        counts
            Shape (ls, channel).
        n_events
            Shape (ls,).
        dtype
            Of the values: networks take float32.

        Raises
        ------
        ValueError
            When scales are needed and `fit` was not called.
        InputError
            When counts must be divided by events that are unknown.
        """
        values, means = self._apply(counts, n_events, len(self.steps), dtype)
        if not self._whole:
            values[:, ~self.mask] = 0
        return Prepared(values, n_events, means)

    def inverse_transform(self, prepared: Prepared) -> Floats:
        """Return counts; 0 in masked channels. The values may be changed ones, such as a reconstruction."""
        x = prepared.values.copy()
        means = list(prepared.ring_means)
        for i, step in reversed(list(enumerate(self.steps))):
            if step.step == "per_event":
                x *= _events(prepared.n_events, x.dtype)
            elif step.step == "log1p":
                np.expm1(x, out=x)
            elif step.step == "ring":
                mean = means.pop()
                for rings, block in self._by_width(x):
                    np.multiply(block, mean[:, rings, None], out=block)
            else:
                x *= self.scale_[i].astype(x.dtype)
                x += self.offset_[i].astype(x.dtype)
        x[:, ~self.mask] = 0
        return x

    def restrict(self, columns: npt.NDArray[np.bool_]) -> "Preparation":
        """Return the same preparation for some whole rings, such as those of one subdetector."""
        part = Preparation(self.steps, self.channel[columns], self.mask[columns])
        part.offset_ = {i: values[columns] for i, values in self.offset_.items()}
        part.scale_ = {i: values[columns] for i, values in self.scale_.items()}
        return part

    def difference(self, other: "Preparation", rtol: float = 1e-9) -> str:
        """Return in words how another preparation differs, ``""`` if it does not."""
        if self.steps != other.steps:
            return "other steps"
        if not np.array_equal(self.channel, other.channel):
            return "other channels"
        if not np.array_equal(self.mask, other.mask):
            return "other known bad channels"
        for name in ("offset_", "scale_"):
            mine, theirs = getattr(self, name), getattr(other, name)
            for i in mine:
                wrong = ~np.isclose(mine[i], theirs.get(i, np.nan), rtol=rtol, atol=1e-12)
                if wrong.any():
                    return f"another {name.strip('_')} of step {self.steps[i].step} in {int(wrong.sum())} channels"
        return ""

    def save(self, folder: Path) -> None:
        """Write ``preparation.json`` and ``preparation.npz`` into a folder."""
        recipe = PreparationRecipe(steps=self.steps).model_dump(mode="json")
        write_json(folder / JSON_FILE, {"schema": SCHEMA, **recipe})
        arrays = {f"offset_{i}": values for i, values in self.offset_.items()}
        arrays |= {f"scale_{i}": values for i, values in self.scale_.items()}
        with atomic_file(folder / ARRAYS_FILE) as scratch, scratch.open("wb") as stream:
            np.savez(stream, channel=self.channel, mask=self.mask, **arrays)  # type: ignore[arg-type]

    def _apply(
        self,
        counts: npt.NDArray[Any],
        n_events: npt.NDArray[Any],
        n_steps: int,
        dtype: npt.DTypeLike = np.float64,
    ) -> tuple[Floats, tuple[Floats, ...]]:
        """Return the values after the first steps, and the ring means; the counts stay as they are."""
        x: Floats = counts.astype(dtype)
        means: list[Floats] = []
        for i, step in enumerate(self.steps[:n_steps]):
            if step.step == "per_event":
                x /= _events(n_events, x.dtype)
            elif step.step == "log1p":
                np.log1p(x, out=x)
            elif step.step == "ring":
                means.append(self._ring_means(x))
                for rings, block in self._by_width(x):
                    np.divide(block, means[-1][:, rings, None], out=block)
            elif i not in self.scale_:
                raise ValueError(f"step {step.step} was not fitted")
            else:
                if self.offset_[i].any():
                    x -= self.offset_[i].astype(x.dtype)
                x /= self.scale_[i].astype(x.dtype)
        return x, tuple(means)

    def _ring_means(self, x: Floats) -> Floats:
        """Return the mean of each ring's cells that are not zero, 1 where it has none; shape (ls, ring)."""
        counted = x if self._whole else x * self.mask.astype(x.dtype)
        mean: Floats = np.empty((len(x), len(self._first)), dtype=x.dtype)
        for rings, block in self._by_width(counted):
            # A ring has 72 cells at most, so that single bytes can count them.
            filled = np.einsum("lrc->lr", (block != 0).view(np.int8))
            mean[:, rings] = np.einsum("lrc->lr", block) / np.maximum(filled, 1)
        mean[mean == 0] = 1
        return mean

    def _block(self, first: int, last: int) -> tuple[slice, slice, int]:
        """Return neighbouring rings of one width: which rings, which columns, and the width."""
        begin, width = int(self._first[first]), int(self._width[first])
        return slice(first, last), slice(begin, begin + width * (last - first)), width

    def _by_width(self, x: Floats) -> Iterator[tuple[slice, Floats]]:
        """Yield neighbouring rings of one width as views (ls, ring, cell), which is far faster than ring by ring."""
        for rings, columns, width in self._blocks:
            yield rings, x[:, columns].reshape(len(x), -1, width)

    def _groups(self, scope: str) -> Ints:
        n = len(self.channel)
        if scope == "ring":
            return np.repeat(np.arange(len(self._first)), self._width)
        return np.arange(n) if scope == "channel" else np.zeros(n, dtype=np.int64)

    def _range(self, chunks: Iterable[Floats], scope: str) -> tuple[Doubles, Doubles]:
        low, high = np.full(len(self.channel), np.inf), np.full(len(self.channel), -np.inf)
        for x in chunks:
            np.minimum(low, x.min(axis=0), out=low)
            np.maximum(high, x.max(axis=0), out=high)
        if not np.isfinite(low).all():
            raise ValueError("a preparation cannot be fitted on nothing")
        group = self._groups(scope)
        lowest, highest = np.full(group.max() + 1, np.inf), np.full(group.max() + 1, -np.inf)
        np.minimum.at(lowest, group[self.mask], low[self.mask])
        np.maximum.at(highest, group[self.mask], high[self.mask])
        unseen = ~np.isfinite(lowest)
        lowest[unseen], highest[unseen] = 0, 1
        width = highest - lowest
        return lowest[group], np.where(width > 0, width, 1.0)[group]

    def _spread(self, chunks: Iterable[Floats], scope: str) -> tuple[Doubles, Doubles]:
        """Mean and standard deviation, merged chunk by chunk (Chan, Golub, LeVeque 1979)."""
        n, mean, squares = 0, np.zeros(len(self.channel)), np.zeros(len(self.channel))
        for x in chunks:
            ours, theirs = n, len(x)
            n += theirs
            delta = x.mean(axis=0) - mean
            squares += theirs * x.var(axis=0) + delta**2 * (ours * theirs / n)
            mean += delta * (theirs / n)
        if not n:
            raise ValueError("a preparation cannot be fitted on nothing")
        group, use = self._groups(scope), self.mask
        size = np.maximum(np.bincount(group, weights=use), 1)
        centre = np.bincount(group, weights=np.where(use, mean, 0)) / size
        around = squares / n + (mean - centre[group]) ** 2
        width = np.sqrt(np.bincount(group, weights=np.where(use, around, 0)) / size)
        return centre[group], np.where(width > 0, width, 1.0)[group]


def _events(n_events: npt.NDArray[Any], dtype: Any) -> Floats:
    """Return the events as a column; 1 for none at all, where every count is 0."""
    if (np.asarray(n_events) < 0).any():
        raise InputError(
            "per_event", "known numbers of events", "lumisections without", "leave them out with min_events"
        )
    column: Floats = np.maximum(n_events, 1).astype(dtype)[:, None]
    return column


def load_preparation(folder: Path) -> Preparation:
    """Return the preparation stored in a folder.

    Raises
    ------
    FormatError
        When it is missing or damaged.
    """
    try:
        told = json.loads((folder / JSON_FILE).read_text())
        recipe = PreparationRecipe.model_validate({"steps": told["steps"]})
        with np.load(folder / ARRAYS_FILE, allow_pickle=False) as arrays:
            preparation = Preparation(recipe.steps, arrays["channel"], arrays["mask"])
            for i, step in enumerate(recipe.steps):
                if isinstance(step, MinMax | Standard):
                    preparation.offset_[i] = arrays[f"offset_{i}"]
                    preparation.scale_[i] = arrays[f"scale_{i}"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(
            folder, "a stored preparation", f"a damaged one ({error})", "prepare the data set again"
        ) from error
    return preparation
