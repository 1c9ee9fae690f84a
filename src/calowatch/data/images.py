"""Labelled images of any task, read piece by piece: what image networks are trained on and judged by."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["ImageData", "ImageSource"]

Ints = npt.NDArray[np.int64]


class ImageSource(Protocol):
    """Images that may be larger than the memory.

    Attributes
    ----------
    shape
        (images, channels, rows, columns).
    """

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Return (images, channels, rows, columns)."""

    def read(self, rows: Ints) -> npt.NDArray[np.float32]:
        """Return some images, in the order of ``rows``: [row, channel, row of the image, column]."""


@dataclass(frozen=True, eq=False)
class ImageData:
    """Labelled images.

    Parameters
    ----------
    images
        The images.
    labels
        Class of each image, shape (images,), 0 .. classes - 1.
    classes
        Names of the classes, in order of their labels.
    channels
        Names of the image channels.
    scalars
        Numbers beside the image, float32, shape (images, scalars); zero columns where there are none.
    scalar_names
        Their names.
    table
        One row per image: ``source`` (file), ``position`` (row in that file), ``block`` (images that may not be on
        different sides of a split by blocks; -1 where the file tells no blocks), and what else is known (run, pt, eta,
        m0).
    axes
        Names of rows and columns, such as ``("ieta", "iphi")``.
    kind
        runs, egamma or jets.
    """

    images: ImageSource
    labels: Ints
    classes: tuple[str, ...]
    channels: tuple[str, ...]
    scalars: npt.NDArray[np.float32]
    scalar_names: tuple[str, ...]
    table: pd.DataFrame
    axes: tuple[str, str]
    kind: str

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Ints) -> dict[str, npt.NDArray[Any]]:
        """Return some images with labels and scalars, as arrays ``x``, ``y`` and ``scalars``."""
        return {"x": self.images.read(rows), "y": self.labels[rows], "scalars": self.scalars[rows]}
