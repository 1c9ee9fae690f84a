"""Which image was on which side while a classifier was trained, so that nobody scores what it has learned from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from calowatch.core.errors import FormatError, InputError
from calowatch.core.recipe import SIDES
from calowatch.data.image_splits import ImageSides
from calowatch.data.images import ImageData, image_hashes

__all__ = ["DealtRows", "deal_again", "dealt_rows", "load_dealt"]

Ints = npt.NDArray[np.int64]
_FILE = "split.npz"


@dataclass(frozen=True, eq=False)
class DealtRows:
    """The sides as they were dealt.

    Parameters
    ----------
    source
        Number of the file among the manifest's sources, [image].
    position
        Row in that file, [image].
    side
        Number of the side among train, validation and test, [image].
    learned
        Sorted hashes of the training and validation images (`calowatch.data.images.image_hashes`), uint64.
    """

    source: Ints
    position: Ints
    side: Ints
    learned: npt.NDArray[np.uint64]

    def save(self, folder: Path) -> None:
        """Write ``split.npz`` into a folder."""
        with (folder / _FILE).open("wb") as stream:
            np.savez_compressed(
                stream,
                source=self.source.astype(np.int32),
                position=self.position,
                side=self.side.astype(np.int8),
                learned=self.learned,
            )


def load_dealt(folder: Path) -> DealtRows | None:
    """Return what `DealtRows.save` wrote; None where there is nothing.

    Raises
    ------
    FormatError
        When the file is damaged.
    """
    if not (folder / _FILE).is_file():
        return None
    try:
        with np.load(folder / _FILE, allow_pickle=False) as arrays:
            numbers = [arrays[name].astype(np.int64) for name in ("source", "position", "side")]
            return DealtRows(numbers[0], numbers[1], numbers[2], arrays["learned"])
    except (OSError, ValueError, LookupError, BadZipFile) as error:
        raise FormatError(
            folder / _FILE, "the sides of a split", str(error), "copy the bundle again"
        ) from error


def dealt_rows(data: ImageData, sides: ImageSides, sources: Sequence[Mapping[str, Any]]) -> DealtRows:
    """Return the record of a split.

    Parameters
    ----------
    data, sides
        The images and how they were dealt.
    sources
        The files, each with its ``name`` as in the data's table.
    """
    number = {str(each["name"]): at for at, each in enumerate(sources)}
    rows = np.concatenate([getattr(sides, side) for side in SIDES])
    side = np.repeat(np.arange(len(SIDES)), [len(getattr(sides, name)) for name in SIDES])
    learned = image_hashes(data, np.concatenate([sides.train, sides.validation]))
    return DealtRows(
        data.table["source"].map(number).to_numpy(np.int64)[rows],
        data.table["position"].to_numpy(np.int64)[rows],
        side,
        np.unique(learned),
    )


def deal_again(
    dealt: DealtRows, data: ImageData, hashes: Mapping[str, str], sources: Sequence[Mapping[str, Any]]
) -> ImageSides | None:
    """Return the sides of images that a classifier was trained with; None when none of the files were.

    Parameters
    ----------
    dealt
        The record.
    data
        Images as they are given now.
    hashes
        SHA-256 of each of their files, by name.
    sources
        The files of the record.

    Raises
    ------
    InputError
        When only some of the files were there.
    """
    known = {str(each["sha256"]): at for at, each in enumerate(sources)}
    number = {name: known.get(sha256, -1) for name, sha256 in hashes.items()}
    strange = sorted(name for name, at in number.items() if at < 0)
    if len(strange) == len(number):
        return None
    if strange:
        raise InputError(
            ", ".join(strange),
            "either the files that the classifier was trained with, or other ones",
            "some of both",
            "evaluate them one after the other",
        )
    row_of = {
        (source, position): row
        for row, (source, position) in enumerate(
            zip(data.table["source"].map(number), data.table["position"], strict=True)
        )
    }
    rows = np.array(
        [row_of.get(key, -1) for key in zip(dealt.source.tolist(), dealt.position.tolist(), strict=True)]
    )
    return ImageSides(
        *(np.sort(rows[(dealt.side == side) & (rows >= 0)]).astype(np.int64) for side in range(len(SIDES)))
    )
