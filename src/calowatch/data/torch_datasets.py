"""Data sets for torch: windows of prepared occupancy as plain tensors, from the memory-mapped cache."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from calowatch.core.errors import InputError, UnknownNameError, nearest
from calowatch.data.cache import CachedRun
from calowatch.data.dataset import open_dataset
from calowatch.detector.grids import LAYOUTS, cell_index, find_layout, in_layout

__all__ = ["OccupancyDataset", "Samples", "batch_of", "make_loader"]

Item = tuple[Tensor, ...]

CHANNEL = "channel"
"""The layout that is no grid: one number per channel."""


class Samples(list[Item]):
    """Samples of one batch that lie in memory as that batch already.

    Parameters
    ----------
    batch
        Tensors whose first dimension is the sample.
    """

    def __init__(self, batch: Item) -> None:
        super().__init__(zip(*(tensor.unbind(0) for tensor in batch), strict=True))
        self.batch = batch


def batch_of(samples: Sequence[Item]) -> Item:
    """Return samples as one batch: what a `DataLoader` takes as ``collate_fn`` to copy nothing twice."""
    if isinstance(samples, Samples):
        return samples.batch
    return tuple(torch.stack(parts) for parts in zip(*samples, strict=True))


class OccupancyDataset(Dataset[Item]):
    """Windows of one side of a prepared data set.

    An item is a plain tuple of float32 tensors, ``(x, n_events)``, or ``(x, n_events, counts)`` with ``counts=True``.
    In a batch:

    ============  ==============================================  ====================================
    tensor        grid layouts                                    layout ``"channel"``
    ============  ==============================================  ====================================
    ``x``         [batch, time, ieta, iphi, depth]                [batch, time, channel]
    ``n_events``  [batch, time]                                   [batch, time]
    ``counts``    as ``x``                                        as ``x``
    ============  ==============================================  ====================================

    ``x`` is prepared as the recipe says, ``counts`` are as they were read; both are 0 where there is no channel and in
    known bad channels, which `mask` tells. Time has the length of the recipe's window, 1 for "iid". The item is fixed
    by its number alone, so order and workers change nothing.

    Parameters
    ----------
    folder
        The data set.
    split
        Its side: train, validation or test.
    layout
        ``"channel"``, or a grid of `calowatch.detector.grids.LAYOUTS`, such as ``"he"``; a layout takes the channels of
        its own subdetectors.
    counts
        Give the counts too, for losses that know counting statistics.

    Attributes
    ----------
    mask
        Which cells of an item are good channels, shape of one time step.
    channels
        The channels in use, in the order of the layout ``"channel"``.
    preparation
        For these channels, for the way back from ``x``.

    Raises
    ------
    InputError
        When there is no such data set, side or layout, or the layout's subdetectors are not in it.
    """

    def __init__(
        self, folder: Path | str, split: str = "train", layout: str = CHANNEL, *, counts: bool = False
    ) -> None:
        self.data = open_dataset(folder)
        self.split = self.data.check_side(split)
        self.layout = layout.lower()
        self.with_counts = counts
        chosen = self._chosen()
        self.channels = self.data.channels[chosen].reset_index(drop=True)
        self.preparation = self.data.preparation.restrict(chosen)
        self.shape: tuple[int, ...] = (len(self.channels),)
        self._cells: Tensor | None = None
        if self.layout != CHANNEL:
            self.shape = find_layout(self.layout).shape
            self._cells = _sources(cell_index(self.channels, self.layout), int(np.prod(self.shape)))
        self.windows = self.data.windows.of(split)
        self.length = self.windows.rows.shape[1]
        self._runs: dict[int, tuple[CachedRun, npt.NDArray[np.int64] | slice]] = {}
        good = self.preparation.mask.astype(np.float32)[None, None]
        self.mask = self._laid_out(torch.from_numpy(good))[0, 0] > 0

    def _chosen(self) -> npt.NDArray[np.bool_]:
        table = self.data.channels
        if self.layout == CHANNEL:
            return np.ones(len(table), dtype=bool)
        if self.layout not in LAYOUTS:
            names = [CHANNEL, *LAYOUTS]
            raise UnknownNameError(
                f"layout {self.layout!r}",
                f"one of {', '.join(names)}",
                "none such",
                nearest(self.layout, names),
            )
        missing = sorted(set(find_layout(self.layout).subdets) - set(table["subdet"]))
        if missing:
            raise InputError(
                self.data.folder,
                f"the channels of layout {self.layout}",
                f"none of {' and '.join(missing)}",
                "take another layout, or add them to select.subdets and prepare again",
            )
        return in_layout(table, self.layout)

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.windows)

    def __getitem__(self, item: int) -> Item:
        """Return one window."""
        return tuple(tensor[0] for tensor in self._batch([range(len(self))[item]]))

    def __getitems__(self, items: Sequence[int]) -> Samples:
        """Return several windows, gathered at once."""
        return Samples(self._batch(items))

    def __getstate__(self) -> dict[str, Any]:
        """Leave memory maps behind: each process opens its own."""
        return {**self.__dict__, "_runs": {}}

    def _batch(self, items: Sequence[int]) -> Item:
        at = np.asarray(items, dtype=np.int64)
        raw = np.empty((len(at), self.length, len(self.channels)), dtype=np.float32)
        n_events = np.empty((len(at), self.length), dtype=np.float32)
        runs, rows = self.windows.run[at], self.windows.rows[at]
        for run in np.unique(runs):
            cached, columns = self._run(int(run))
            mine = runs == run
            wanted = rows[mine]
            # Columns first: a slice of the map costs nothing, and only the rows wanted are read.
            part = cached.counts[:, columns] if isinstance(columns, slice) else cached.counts
            values = (
                part[wanted.ravel()] if isinstance(columns, slice) else part[wanted.ravel()[:, None], columns]
            )
            raw[mine] = values.reshape(*wanted.shape, -1)
            n_events[mine] = cached.n_events[wanted]
        flat = raw.reshape(-1, raw.shape[-1])
        x = self.preparation.transform(flat, n_events.ravel()).values.reshape(raw.shape)
        tensors = [self._laid_out(torch.from_numpy(x)), torch.from_numpy(n_events)]
        if self.with_counts:
            raw[..., ~self.preparation.mask] = 0
            tensors.append(self._laid_out(torch.from_numpy(raw)))
        return tuple(tensors)

    def _run(self, run: int) -> tuple[CachedRun, npt.NDArray[np.int64] | slice]:
        """Return a run and the columns of our channels, as a slice where they stand side by side."""
        if run not in self._runs:
            cached = self.data.run(run)
            columns: npt.NDArray[np.int64] = self.data.columns(cached)[self._chosen()]
            aligned = (np.diff(columns) == 1).all()
            self._runs[run] = (cached, slice(int(columns[0]), int(columns[-1]) + 1) if aligned else columns)
        return self._runs[run]

    def _laid_out(self, values: Tensor) -> Tensor:
        """Return values (batch, time, channel) in the layout."""
        if self._cells is None:
            return values
        padded = torch.nn.functional.pad(values.flatten(0, 1), (0, 1))
        return padded.index_select(1, self._cells).view(*values.shape[:2], *self.shape)


def _sources(cells: npt.NDArray[np.int64], n_cells: int) -> Tensor:
    """Return which channel fills each cell; the number after the last channel, a zero, fills the empty ones."""
    source = np.full(n_cells, len(cells), dtype=np.int64)
    source[cells] = np.arange(len(cells))
    return torch.from_numpy(source)


def make_loader(
    dataset: OccupancyDataset, batch_size: int, *, shuffle: bool = False, seed: int = 0, workers: int = 0
) -> DataLoader[Item]:
    """Return a loader whose batches are plain tuples of tensors, the same for one seed whatever the workers.

    Parameters
    ----------
    dataset
        One side of a data set.
    batch_size
        Windows in a batch; the last batch may be smaller.
    shuffle
        In an order drawn from ``seed``, another one in each epoch.
    seed
        Of the order.
    workers
        Processes that read ahead.
    """
    return DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=shuffle,
        num_workers=workers,
        collate_fn=batch_of,
        generator=torch.Generator().manual_seed(seed),
    )
