"""Prepared images in batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from calowatch.core.progress import SILENT, Progress
from calowatch.data.image_preparation import ImagePreparation
from calowatch.data.images import ImageData
from calowatch.data.torch_datasets import Samples, batch_of
from calowatch.train.resumable import seed_of

__all__ = ["KEPT_AT_MOST", "ImageBatches", "NearShuffle", "image_loader"]

Ints = npt.NDArray[np.int64]
Item = tuple[Tensor, ...]

KEPT_AT_MOST = 1024**3
"""Bytes of prepared images that a side keeps in memory; larger ones are read and prepared batch by batch."""

_MIRRORS = MappingProxyType({"runs": (63, 70), "egamma": (30, 30), "jets": (124, 124)})
"""Sum of a row, and of a column, and of the one that it goes to: about ieta 0, a column of wide cells, the centre."""


@dataclass(frozen=True, eq=False)
class _Mirrors:
    """Half of the images of a batch mirrored in rows, in columns, or both; which ones, the batch itself fixes."""

    rows: Tensor | None
    columns: Tensor | None

    def draw(self, x: Tensor, at: Tensor) -> Tensor:
        # Seeded by what is in the batch: the same for one order of images, whatever was drawn before.
        draw = torch.Generator().manual_seed(seed_of(*at[:8].tolist()))
        for dim, order in ((2, self.rows), (3, self.columns)):
            if order is not None:
                chosen = (torch.rand(len(x), generator=draw) < 0.5)[:, None, None, None]
                x = torch.where(chosen, x.index_select(dim, order), x)
        return x


def _mirrors(kind: str, names: Sequence[str], shape: tuple[int, ...]) -> _Mirrors:
    orders = [
        (about - torch.arange(size)) % size for about, size in zip(_MIRRORS[kind], shape[2:], strict=True)
    ]
    wanted = ("mirror_ieta" in names, "mirror_iphi" in names)
    return _Mirrors(*(order if wish else None for order, wish in zip(orders, wanted, strict=True)))


class ImageBatches(Dataset[Item]):
    """Images of one side as a network sees them: ``x`` [channel, row, column], ``scalars``, ``y``.

    Parameters
    ----------
    data, rows
        The images, and which of them.
    preparation
        Learned on the training side.
    augment
        Mirrors of the recipe, drawn anew in each epoch; none for validation.
    progress
        Told of the images prepared, where they are kept.
    """

    def __init__(
        self,
        data: ImageData,
        rows: Ints,
        preparation: ImagePreparation,
        augment: Sequence[str] = (),
        progress: Progress = SILENT,
    ) -> None:
        self.data, self.rows, self.preparation = data, rows, preparation
        self._mirrors = _mirrors(data.kind, augment, data.images.shape) if augment else None
        self.y = torch.from_numpy(data.labels[rows])
        self.scalars = torch.from_numpy(preparation.transform_scalars(data.scalars[rows]))
        self.kept = 4 * len(rows) * int(np.prod(data.images.shape[1:])) <= KEPT_AT_MOST
        self._x = self._keep(progress) if self.kept else torch.empty(0)

    def _keep(self, progress: Progress) -> Tensor:
        x = torch.empty(len(self.rows), *self.data.images.shape[1:])
        cut = list(self.data.pieces(np.arange(len(self.rows))))
        for piece in progress.track(cut, "preparing images", len(cut)):
            x[int(piece[0]) : int(piece[-1]) + 1] = self._prepared(piece)
        return x

    def _prepared(self, at: Ints) -> Tensor:
        return torch.from_numpy(self.preparation.transform(self.data.images.read(self.rows[at])))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.rows)

    def __getitem__(self, item: int) -> Item:
        """Return one image."""
        return tuple(tensor[0] for tensor in self._batch([range(len(self))[item]]))

    def __getitems__(self, items: Sequence[int]) -> Samples:
        """Return several images, gathered at once."""
        return Samples(self._batch(items))

    def _batch(self, items: Sequence[int]) -> Item:
        at = torch.as_tensor(items)
        x = self._x[at] if self.kept else self._prepared(at.numpy())
        return (x if self._mirrors is None else self._mirrors.draw(x, at)), self.scalars[at], self.y[at]


class NearShuffle(Sampler[int]):
    """An order that is random enough to learn by, and reads files in stretches: for data larger than the memory.

    Stretches of neighbours are shuffled, some of them put together at a time, and shuffled within.

    Parameters
    ----------
    length
        Of the data.
    seed
        Of all epochs' orders.
    stretch, together
        Images in a stretch, stretches shuffled together.
    """

    def __init__(self, length: int, seed: int, stretch: int = 64, together: int = 128) -> None:
        self._length, self._seed, self._stretch, self._together = length, seed, stretch, together
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Take the order of another epoch; Lightning calls this."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Return the number of images."""
        return self._length

    def __iter__(self) -> Iterator[int]:
        """Yield every position once."""
        draw = torch.Generator().manual_seed(seed_of(self._seed, self._epoch))
        starts = torch.randperm(-(-self._length // self._stretch), generator=draw) * self._stretch
        for group in torch.split(starts, self._together):
            inside = (group[:, None] + torch.arange(self._stretch)).ravel()
            inside = inside[inside < self._length]
            yield from inside[torch.randperm(len(inside), generator=draw)].tolist()


def image_loader(
    batches: ImageBatches, size: int, *, shuffle: bool = False, seed: int = 0
) -> DataLoader[Item]:
    """Return a loader of batches ``(x, scalars, y)``, in an order that the seed and the epoch fix.

    Parameters
    ----------
    batches
        One side.
    size
        Images in a batch; the last one may be smaller.
    shuffle
        In another order in each epoch.
    seed
        Of the order.
    """
    near = NearShuffle(len(batches), seed) if shuffle and not batches.kept else None
    return DataLoader(
        batches,
        batch_size=size,
        shuffle=shuffle and near is None,
        sampler=near,
        collate_fn=batch_of,
        generator=torch.Generator().manual_seed(seed),
    )
