"""Data sets for torch: windows of prepared occupancy as plain tensors, from the memory-mapped cache."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

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

ROWS_AT_ONCE = 64

KEPT_AT_MOST = 2 * 1024**3
"""Bytes of prepared lumisections that a data set keeps in memory unless told otherwise."""


class Samples(Sequence[Item]):
    """Samples of one batch that lie in memory as that batch already.

    Parameters
    ----------
    batch
        Tensors whose first dimension is the sample.
    """

    def __init__(self, batch: Item) -> None:
        self.batch = batch

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.batch[0])

    @overload
    def __getitem__(self, item: int) -> Item: ...

    @overload
    def __getitem__(self, item: slice) -> "Samples": ...

    def __getitem__(self, item: int | slice) -> "Item | Samples":
        """Return a sample, or some of them."""
        parts = tuple(tensor[item] for tensor in self.batch)
        return Samples(parts) if isinstance(item, slice) else parts


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
    partial
        Take a grid of several subdetectors of which the data hold only some; the cells of the others are masked.
    in_memory
        Prepare every lumisection of the side once, now, and keep it (HE as a grid takes 130 kB per lumisection). Else
        only the counts asked for are read from the map and prepared, again in each epoch. By default it is kept where
        it takes no more than `KEPT_AT_MOST` bytes.

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
        self,
        folder: Path | str,
        split: str = "train",
        layout: str = CHANNEL,
        *,
        counts: bool = False,
        in_memory: bool | None = None,
        partial: bool = False,
    ) -> None:
        self.partial = partial
        self.data = open_dataset(folder)
        self.split = self.data.check_side(split)
        self.layout = layout.lower()
        self.with_counts = counts
        chosen = self._chosen()
        self.channels = self.data.channels[chosen].reset_index(drop=True)
        self.preparation = self.data.preparation.restrict(chosen)
        self.shape: tuple[int, ...] = (len(self.channels),)
        self._cells: npt.NDArray[np.int64] | None = None
        if self.layout != CHANNEL:
            self.shape = find_layout(self.layout).shape
            self._cells = cell_index(self.channels, self.layout)
        self.windows = self.data.windows.of(split)
        self.length = self.windows.rows.shape[1]
        self._runs: dict[int, tuple[CachedRun, npt.NDArray[np.int64] | slice]] = {}
        self.mask = self._laid_out(self.preparation.mask[None].astype(np.float32))[0] > 0
        self._place: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._kept: Item = ()
        if in_memory or (in_memory is None and self._kept_size() <= KEPT_AT_MOST):
            self._keep()

    def _kept_size(self) -> int:
        """Return how many bytes the prepared lumisections of the side would take, at most."""
        cells = int(np.prod(self.shape)) * (2 if self.with_counts else 1)
        return 4 * cells * min(self.windows.rows.size, self.data.index.shape[0])

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
        wanted, held = set(find_layout(self.layout).subdets), set(table["subdet"])
        missing = sorted(wanted - held)
        if missing and not (self.partial and wanted & held):
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
        if self._place.size:
            place = self._place[at].ravel()
            tensors = tuple(_taken(kept, place) for kept in self._kept)
        else:
            tensors = self._prepared(self.windows.run[at], self.windows.rows[at])
        return tuple(tensor.view(len(at), self.length, *tensor.shape[1:]) for tensor in tensors)

    def _prepared(self, runs: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> Item:
        """Return the tensors of windows, windows and time in one dimension."""
        raw, n_events = self._gather(runs, rows)
        x = self.preparation.transform(raw, n_events, np.float32).values
        tensors = [self._laid_out(x), torch.from_numpy(n_events.astype(np.float32))]
        if self.with_counts:
            tensors.append(self._laid_out((raw * self.preparation.mask).astype(np.float32)))
        return tuple(tensors)

    def _keep(self) -> None:
        """Prepare every lumisection that is in a window, and note which of them each window takes."""
        # Run and row in one number: neither reaches 2^31.
        flat = (self.windows.run[:, None] << 32) | self.windows.rows
        each, place = np.unique(flat, return_inverse=True)
        runs, rows = each >> 32, each & (2**32 - 1)
        parts = [
            self._prepared(runs[first : first + ROWS_AT_ONCE], rows[first : first + ROWS_AT_ONCE, None])
            for first in range(0, len(rows), ROWS_AT_ONCE)
        ]
        self._kept = tuple(torch.cat(pieces) for pieces in zip(*parts, strict=True))
        self._place = place.reshape(-1, self.length)

    def _gather(
        self, runs: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
        """Return counts (window * time, channel) and events of windows; all types of counts fit the widest."""
        opened = {run: self._run(run) for run in set(runs.tolist())}
        dtype = np.result_type(*(cached.counts.dtype for cached, _ in opened.values()))
        raw = np.empty((*rows.shape, len(self.channels)), dtype=dtype)
        n_events = np.empty(rows.shape, dtype=np.int64)
        for run, (cached, columns) in opened.items():
            mine = np.flatnonzero(runs == run)
            # Columns first: a slice of the map costs nothing, and only the rows wanted are read.
            if isinstance(columns, slice):
                raw[mine] = cached.counts[:, columns][rows[mine]]
            else:
                raw[mine] = cached.counts[rows[mine][..., None], columns]
            n_events[mine] = cached.n_events[rows[mine]]
        return raw.reshape(-1, raw.shape[-1]), n_events.ravel()

    def _run(self, run: int) -> tuple[CachedRun, npt.NDArray[np.int64] | slice]:
        """Return a run and the columns of our channels, as a slice where they stand side by side."""
        if run not in self._runs:
            mapped = self.data.run(run)
            cached = replace(
                mapped, counts=np.asarray(mapped.counts)
            )  # a view: slicing np.memmap itself is slow
            columns: npt.NDArray[np.int64] = self.data.columns(cached)[self._chosen()]
            aligned = (np.diff(columns) == 1).all()
            self._runs[run] = (cached, slice(int(columns[0]), int(columns[-1]) + 1) if aligned else columns)
        return self._runs[run]

    def _laid_out(self, values: npt.NDArray[np.float32]) -> Tensor:
        """Return values (row, channel) in the layout."""
        if self._cells is None:
            return torch.from_numpy(values)
        # Memory from torch, which uses it again for the next batch; filled through numpy row by row: scattering all at
        # once is slower, and torch's own scatter waits for its threads.
        grid = torch.empty(len(values), int(np.prod(self.shape)))
        target = grid.numpy()
        target.fill(0)
        for row, source in zip(target, values, strict=True):
            row[self._cells] = source
        return grid.view(-1, *self.shape)


def _taken(kept: Tensor, place: npt.NDArray[np.int64]) -> Tensor:
    """Return some rows of a tensor."""
    return kept[torch.from_numpy(place)]


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
