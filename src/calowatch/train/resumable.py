"""What makes a training repeatable from any epoch: order of samples, seeds, checkpoints that are whole."""

from collections.abc import Iterator, Sized
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.plugins import TorchCheckpointIO
from torch.utils.data import RandomSampler

from calowatch.core.files import atomic_file

__all__ = ["AtomicCheckpoints", "EpochOrder", "seed_of"]


def seed_of(*numbers: int) -> int:
    """Return a well-mixed seed of 32 bits for whole numbers of zero or more, such as seed, epoch and batch.

    Examples
    --------
    >>> seed_of(1, 2) == seed_of(1, 2), seed_of(1, 2) == seed_of(2, 1)
    (True, False)
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


class EpochOrder(RandomSampler):
    """A random order that depends on seed and epoch alone; Lightning calls `set_epoch`.

    Parameters
    ----------
    data_source
        What is drawn from.
    seed
        Of all epochs' orders.
    """

    def __init__(self, data_source: Sized, seed: int) -> None:
        super().__init__(data_source)
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Take the order of another epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """Yield the numbers of all samples."""
        draw = torch.Generator().manual_seed(seed_of(self.seed, self.epoch))
        yield from torch.randperm(len(self.data_source), generator=draw).tolist()


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it there, so that a kill leaves the one before."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ARG002
        """Write a checkpoint."""
        with atomic_file(Path(path)) as scratch:
            torch.save(checkpoint, scratch)
