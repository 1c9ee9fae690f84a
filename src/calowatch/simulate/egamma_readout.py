"""From energy in crystals to an image: light, noise, selective read-out, time, and the crop round the seed crystal."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["CROP", "SEED", "TOWER", "Readout", "crop", "measure", "read_out", "times"]

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

CROP = 32
"""Crystals along each side of an image."""
SEED = 15
"""Row and column of the crystal with most energy."""
TOWER = 5
"""Crystals along each side of a trigger tower."""

_LEAST_LIGHT = 0.02  # GeV below which fluctuations of light are nothing beside the noise


@dataclass(frozen=True)
class Readout:
    """How crystals are read.

    Parameters
    ----------
    noise
        Standard deviation per crystal, in GeV.
    light
        Photoelectrons per GeV.
    excess
        By how much the photodetector's gain raises the variance of light.
    spread
        Of the crystals' calibration, relative.
    high, medium
        Transverse energy of a trigger tower, in GeV, from which it is read out whole with its eight neighbours, or
        alone.
    keep
        Least energy of a hit where towers are read out whole, in standard deviations of the noise.
    suppress
        The same elsewhere.
    time_noise, time_constant
        Standard deviation of a hit's time, in ns: ``time_noise`` times noise over energy, and a constant.
    time_range
        Earliest and latest time there can be, in ns: ten samples of 25 ns.
    scale
        What an image holds per GeV, and per ns.
    """

    noise: float = 0.040
    light: float = 4500.0
    excess: float = 2.0
    spread: float = 0.005
    high: float = 5.0
    medium: float = 2.5
    keep: float = 1.25
    suppress: float = 3.0
    time_noise: float = 35.1
    time_constant: float = 0.028
    time_range: tuple[float, float] = (-130.0, 120.0)
    scale: float = 0.02


def measure(energy: Singles, readout: Readout, rng: np.random.Generator) -> Singles:
    """Return energy after fluctuations of light and of calibration, without noise; any shape."""
    measured: Singles = energy.copy()
    at = np.flatnonzero(energy > _LEAST_LIGHT)
    true = energy.ravel()[at]
    sigma = np.sqrt(readout.excess / readout.light * true + (readout.spread * true) ** 2)
    measured.ravel()[at] += sigma * rng.standard_normal(at.size, np.float32)
    return measured


def crop(canvas: Singles) -> tuple[Singles, Ints, Ints]:
    """Return the image round the crystal with most energy, and the canvas's row and column of the image's first.

    Parameters
    ----------
    canvas
        Shape (event, rows, columns). What the image needs beyond its edge is empty.
    """
    n, rows, columns = canvas.shape
    at = canvas.reshape(n, -1).argmax(axis=1)
    row, column = at // columns - SEED, at % columns - SEED
    low_r, low_c = max(0, -int(row.min(initial=0))), max(0, -int(column.min(initial=0)))
    high_r = max(0, int(row.max(initial=0)) + CROP - rows)
    high_c = max(0, int(column.max(initial=0)) + CROP - columns)
    wide = np.pad(canvas, ((0, 0), (low_r, high_r), (low_c, high_c)))
    lines = np.arange(CROP)
    picked: Singles = wide[
        np.arange(n)[:, None, None],
        (row + low_r)[:, None, None] + lines[:, None],
        (column + low_c)[:, None, None] + lines,
    ]
    return picked, row, column


def _towers(first: Ints) -> Singles:
    """Return which tower each of an image's lines belongs to, shape (event, tower, line), one or zero."""
    tower = (first % TOWER)[:, None] + np.arange(CROP)
    number = np.arange((CROP + TOWER - 2) // TOWER + 1)
    return np.asarray(tower[:, None, :] // TOWER == number[:, None], np.float32)


def _grown(flags: Flags) -> Flags:
    """Return flags of each tower and its eight neighbours."""
    wide = np.pad(flags, ((0, 0), (1, 1), (1, 1)))
    rows = wide[:, :-2] | wide[:, 1:-1] | wide[:, 2:]
    return np.asarray(rows[:, :, :-2] | rows[:, :, 1:-1] | rows[:, :, 2:], np.bool_)


def read_out(energy: Singles, first: tuple[Ints, Ints], cosh_eta: Floats, readout: Readout) -> Flags:
    """Return which crystals give a hit: all but little in towers of interest, what stands out of the noise elsewhere.

    Parameters
    ----------
    energy
        Images with noise, shape (event, 32, 32), in GeV.
    first
        Row and column of each image's first crystal in the detector, counted from the edge of a tower.
    cosh_eta
        Energy over transverse energy, shape (event,).
    readout
        Thresholds.
    """
    rows, columns = _towers(first[0]), _towers(first[1])
    sums = rows @ energy @ columns.transpose(0, 2, 1) / cosh_eta.astype(np.float32)[:, None, None]
    whole = _grown(sums > readout.high) | (sums > readout.medium)
    inside = rows.transpose(0, 2, 1) @ whole.astype(np.float32) @ columns > 0.5
    least = np.where(inside, np.float32(readout.keep), np.float32(readout.suppress)) * np.float32(
        readout.noise
    )
    return np.asarray(energy > least, np.bool_)


def times(energy: Singles, readout: Readout, rng: np.random.Generator) -> Singles:
    """Return the time of hits of some energy, in ns, any shape; all particles come at time 0."""
    sigma = np.hypot(readout.time_noise * readout.noise / energy, readout.time_constant)
    drawn = np.clip(sigma * rng.standard_normal(energy.shape, np.float32), *readout.time_range)
    return np.asarray(drawn, np.float32)
