"""What is in a file of jet images, counted jet by jet."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from calowatch.core.errors import CountsError
from calowatch.io.jets_lists import SHAPE

__all__ = ["CHANNELS", "Filled", "JetReport", "JetTally"]

Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

CHANNELS = ("tracks", "ecal", "hcal")


@dataclass(frozen=True)
class JetReport:
    """What is in a file, counted jet by jet.

    Parameters
    ----------
    source
        Name of the file.
    jets, quarks
        All of them, and those with label 1.
    empty
        Without any pixel that is not zero.
    broken
        With NaN or infinity in the image, pt or m0.
    negative
        With a value below zero.
    turned
        Whose channel is not the first axis; they were turned.
    impossible
        Of the others than the broken, with a pt that is not above 0, or an m0 below.
    nonzero, mean, largest
        Of each channel: share of pixels that are not zero, mean and largest value; broken jets apart.
    """

    source: str
    jets: int
    quarks: int
    empty: int
    broken: int
    negative: int
    turned: int
    impossible: int
    nonzero: tuple[float, float, float]
    mean: tuple[float, float, float]
    largest: tuple[float, float, float]

    def notes(self) -> list[str]:
        """Return what is worth telling: everything that a sound file does not have."""
        told = [
            (self.empty, f"{self.empty} empty images, left out"),
            (self.broken, f"{self.broken} jets with NaN or infinity, left out"),
            (self.negative, f"{self.negative} images with negative values"),
            (self.turned, f"{self.turned} images whose channel is not the first axis, turned"),
            (self.impossible, f"{self.impossible} jets with a pt that is not above 0 or an m0 below 0"),
        ]
        return [f"{self.source}: {text}" for wrong, text in told if wrong]


@dataclass(frozen=True, eq=False)
class Filled:
    """Sound images of a block without their zeros.

    Parameters
    ----------
    images
        Which of the block's images are sound, ascending; shape (sound,).
    lengths
        Pixels of each, shape (sound,).
    pixel, value
        Number of a pixel in the flattened image, and what it holds, image after image.
    """

    images: Ints
    lengths: Ints
    pixel: npt.NDArray[np.uint16]
    value: Singles


@dataclass
class JetTally:
    """Counts over blocks of images; members as those of `JetReport`, but sums for means."""

    images: int = 0
    empty: int = 0
    broken: int = 0
    negative: int = 0
    turned: int = 0
    nonzero: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(SHAPE[0]))
    total: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(SHAPE[0]))
    largest: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(SHAPE[0]))

    def add(self, path: Path, block: Singles, turned: int) -> Filled:
        """Count a block of images, flattened to (jet, pixel), and return what its sound ones hold.

        One pass over the pixels finds those that are not zero; all else looks at these only.
        """
        pixels, n = SHAPE[1] * SHAPE[2], len(block)
        at = np.flatnonzero(block != 0)
        image, pixel = np.divmod(at, block.shape[1])
        value = block.reshape(-1)[at]
        finite = np.ones(n, np.bool_)
        finite[image[~np.isfinite(value)]] = False
        filled = np.zeros(n, np.bool_)
        filled[image] = True
        if not self.images and finite.any():
            _check_channels(path, block[finite].reshape(-1, SHAPE[0], pixels))
        if not finite.all():
            kept = finite[image]
            image, pixel, value = image[kept], pixel[kept], value[kept]
        self._count(image, pixel // pixels, value, int(finite.sum()))
        self.empty += int((finite & ~filled).sum())
        self.broken += int((~finite).sum())
        self.turned += turned
        sound = finite & filled
        length = np.bincount(image, minlength=n)[sound]
        return Filled(np.flatnonzero(sound), length, pixel.astype(np.uint16), value)

    def _count(self, image: Ints, channel: Ints, value: Singles, images: int) -> None:
        """Count pixels that are not zero of some images."""
        held = np.bincount(channel, minlength=SHAPE[0])
        self.total += np.bincount(channel, value, SHAPE[0])
        largest = np.full(SHAPE[0], -np.inf)
        np.maximum.at(largest, channel, value)
        zeros = held < images * SHAPE[1] * SHAPE[2]
        if images:
            self.largest = np.maximum(self.largest, np.where(zeros, np.maximum(largest, 0.0), largest))
        self.images += images
        self.negative += len(np.unique(image[value < 0]))
        self.nonzero += held

    def report(self, source: str, jets: tuple[int, int], broken: int, impossible: int) -> JetReport:
        """Return what was counted here, beside all jets, quarks, and those whose pt or m0 is broken or impossible."""
        pixels = max(self.images * SHAPE[1] * SHAPE[2], 1)
        nonzero, mean, largest = (
            (float(each[0]), float(each[1]), float(each[2]))
            for each in (self.nonzero / pixels, self.total / pixels, self.largest)
        )
        counts = *jets, self.empty, self.broken + broken, self.negative, self.turned, impossible
        return JetReport(source, *counts, nonzero, mean, largest)


def _check_channels(path: Path, images: Singles) -> None:
    """Raise where another channel than the last is made of even squares of 5 x 5 pixels, as HCAL towers are."""
    squares = images.reshape(len(images), SHAPE[0], SHAPE[1] // 5, 5, SHAPE[2] // 5, 5)
    even = [
        bool(squares[:, channel].any() and (np.ptp(squares[:, channel], axis=(2, 4)) == 0).all())
        for channel in range(SHAPE[0])
    ]
    if any(even[:-1]) and not even[-1]:
        raise CountsError(
            path,
            f"channels {', '.join(CHANNELS)}",
            f"towers of the HCAL in channel {even.index(True)}",
            "put the channels into this order",
        )
