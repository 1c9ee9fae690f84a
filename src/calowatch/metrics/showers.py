"""Observables of electromagnetic showers in calorimeter images: pure functions of images, all images at once.

Images are [image, (energy, time), ieta, iphi], the crystal with most energy at [15, 15] of 32 x 32, as
`calowatch.io.egamma` reads them. Angles are in crystals.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["SHOWER_OBSERVABLES", "shower_observables", "shower_table"]

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

_SEED = 15
_AT_ONCE = 1024
_LOG_FLOOR = 4.7  # crystals below exp(-4.7) = 0.9 % of the 5 x 5 energy have no weight in logarithmic widths

SHOWER_OBSERVABLES = (
    *("energy", "e1", "e9", "e25", "e1_over_e9", "r9", "e25_over_energy", "second_over_first"),
    *("sigma_eta", "sigma_phi", "covariance", "width_eta", "width_phi"),
    *("mean_phi", "skew_phi", "tail_phi"),
    *("asymmetry_phi", "asymmetry_eta", "near_asymmetry_phi", "near_asymmetry_eta"),
    *("left_phi", "right_phi", "strip", "ring"),
    *("largest_outside", "largest_distance", "hits", "strong_hits"),
    *("time_mean", "time_spread", "time_seed", "time_outside"),
)
"""Names of the observables, in the order of the columns of `shower_observables`.

========================================  ================================================================
energy, e1, e9, e25                       energy of all crystals, the seed, 3 x 3 and 5 x 5 round it
e1_over_e9, r9, e25_over_energy           their ratios; r9 is e9 over all energy
second_over_first                         second largest crystal over the largest
sigma_eta, sigma_phi, covariance          widths in 5 x 5, weights 4.7 + ln(share) where positive
width_eta, width_phi                      root mean square from the seed, all crystals, weighted by energy
mean_phi, skew_phi                        mean, and cube root of the third moment, along iphi in a strip of 5 rows
tail_phi                                  fourth root of the fourth moment there
asymmetry_phi, asymmetry_eta              larger less smaller iphi (ieta) than the seed's, over all energy
near_asymmetry_phi, near_asymmetry_eta    the same for the lines next to the seed, in 3 x 3
left_phi, right_phi                       share of the energy at least 3 crystals away in iphi, in 5 rows
strip                                     share of the energy in those 5 rows
ring                                      share of the energy in 5 x 5 outside 3 x 3
largest_outside, largest_distance         largest crystal outside 5 x 5 over all energy; its signed distance in iphi
hits, strong_hits                         crystals with energy; with more than 2 % of the seed's
time_mean, time_spread                    of 3 x 3, weighted by energy
time_seed, time_outside                   of the seed; mean absolute time outside 5 x 5
========================================  ================================================================
"""


def shower_observables(images: npt.ArrayLike) -> Singles:
    """Return the observables of each image, 0 where an empty image gives none.

    Parameters
    ----------
    images
        Shape (image, 2, 32, 32).

    Returns
    -------
    Singles
        Shape (image, observable), in the order of `SHOWER_OBSERVABLES`; finite.

    Raises
    ------
    ValueError
        For images of another shape.

    Examples
    --------
    >>> image = np.zeros((1, 2, 32, 32))
    >>> image[0, 0, 15, 14:17] = 0.1, 0.8, 0.3
    >>> found = dict(zip(SHOWER_OBSERVABLES, shower_observables(image)[0].tolist()))
    >>> round(found["e1_over_e9"], 4), round(found["asymmetry_phi"], 4), found["hits"]
    (0.6667, 0.1667, 3.0)
    """
    pixels = np.asarray(images)
    if pixels.ndim != 4 or pixels.shape[1:] != (2, 32, 32):
        raise ValueError(f"images of shape {pixels.shape}")
    parts = [
        _observables(pixels[first : first + _AT_ONCE].astype(np.float64))
        for first in range(0, max(len(pixels), 1), _AT_ONCE)
    ]
    return np.concatenate(parts)


def shower_table(images: npt.NDArray[Any], scalars: npt.NDArray[Any]) -> tuple[tuple[str, ...], Floats]:
    """Return names and values of the observables [image, observable] as models of tables want them.

    ``scalars`` are not looked at: observables are of the images as they were read.
    """
    assert len(scalars) == len(images)
    return SHOWER_OBSERVABLES, shower_observables(images).astype(np.float64)


def _over(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros(np.broadcast_shapes(part.shape, whole.shape)), where=whole > 0)


def _box(images: Floats, reach: int) -> Floats:
    return images[..., _SEED - reach : _SEED + reach + 1, _SEED - reach : _SEED + reach + 1]


def _observables(pixels: Floats) -> Singles:
    energy, time = pixels[:, 0], pixels[:, 1]
    whole = energy.sum(axis=(1, 2))
    found = {
        "energy": whole,
        **_sums(energy, whole),
        **_widths(energy, whole),
        **_along_phi(energy, whole),
        **_sides(energy, whole),
        **_outside(energy, whole),
        **_times(energy, time),
    }
    columns = np.stack([found[name] for name in SHOWER_OBSERVABLES], axis=1)
    return columns.astype(np.float32)


def _sums(energy: Floats, whole: Floats) -> dict[str, Floats]:
    seed, nine, many = (_box(energy, reach).sum(axis=(1, 2)) for reach in (0, 1, 2))
    ordered = np.partition(_box(energy, 3).reshape(len(energy), 49), -2, axis=1)
    return {
        "e1": seed,
        "e9": nine,
        "e25": many,
        "e1_over_e9": _over(seed, nine),
        "r9": _over(nine, whole),
        "e25_over_energy": _over(many, whole),
        "second_over_first": _over(ordered[:, -2], ordered[:, -1]),
        "ring": _over(many - nine, whole),
    }


def _widths(energy: Floats, whole: Floats) -> dict[str, Floats]:
    """Return widths in 5 x 5 with logarithmic weights, as clusters are measured, and linear ones of all crystals."""
    box = np.maximum(_box(energy, 2), 0.0)
    share = _over(box, box.sum(axis=(1, 2), keepdims=True))
    weight = np.maximum(_LOG_FLOOR + np.log(np.maximum(share, 1e-9)), 0.0)
    total, steps = weight.sum(axis=(1, 2)), np.arange(-2.0, 3.0)
    eta, phi = (_over(weight.sum(axis=axis) @ steps, total) for axis in (2, 1))
    off_eta, off_phi = steps - eta[:, None], steps - phi[:, None]
    reach = (np.arange(energy.shape[1]) - _SEED) ** 2.0
    positive = np.maximum(energy, 0.0)
    return {
        "sigma_eta": np.sqrt(_over((weight.sum(axis=2) * off_eta**2).sum(axis=1), total)),
        "sigma_phi": np.sqrt(_over((weight.sum(axis=1) * off_phi**2).sum(axis=1), total)),
        "covariance": _over(np.einsum("nij,ni,nj->n", weight, off_eta, off_phi), total),
        "width_eta": np.sqrt(_over(positive.sum(axis=2) @ reach, whole)),
        "width_phi": np.sqrt(_over(positive.sum(axis=1) @ reach, whole)),
    }


def _along_phi(energy: Floats, whole: Floats) -> dict[str, Floats]:
    """Return moments along iphi, in the five rows round the seed."""
    strip = energy[:, _SEED - 2 : _SEED + 3].sum(axis=1)
    inside, steps = strip.sum(axis=1), np.arange(energy.shape[2]) - float(_SEED)
    mean = _over(strip @ steps, inside)
    off = steps - mean[:, None]
    return {
        "mean_phi": mean,
        "skew_phi": np.cbrt(_over((strip * off**3).sum(axis=1), inside)),
        "tail_phi": np.maximum(_over((strip * off**4).sum(axis=1), inside), 0.0) ** 0.25,
        "left_phi": _over(strip[:, : _SEED - 2].sum(axis=1), whole),
        "right_phi": _over(strip[:, _SEED + 3 :].sum(axis=1), whole),
        "strip": _over(inside, whole),
    }


def _sides(energy: Floats, whole: Floats) -> dict[str, Floats]:
    near = _box(energy, 1)
    found = {}
    for name, axis in (("phi", 1), ("eta", 2)):
        line, close = energy.sum(axis=axis), near.sum(axis=axis)
        less, more = line[:, :_SEED].sum(axis=1), line[:, _SEED + 1 :].sum(axis=1)
        found[f"asymmetry_{name}"] = _over(more - less, whole)
        found[f"near_asymmetry_{name}"] = _over(close[:, 2] - close[:, 0], close[:, 0] + close[:, 2])
    return found


def _outside(energy: Floats, whole: Floats) -> dict[str, Floats]:
    others = energy.copy()
    _box(others, 2)[...] = 0.0
    flat = others.reshape(len(energy), 32 * 32)
    largest = flat.argmax(axis=1)
    height = np.take_along_axis(flat, largest[:, None], axis=1)[:, 0]
    seed = energy[:, _SEED, _SEED]
    return {
        "largest_outside": _over(height, whole),
        "largest_distance": np.where(height > 0, largest % energy.shape[2] - float(_SEED), 0.0),
        "hits": (energy != 0).sum(axis=(1, 2)).astype(np.float64),
        "strong_hits": (energy > np.maximum(0.02 * seed, 1e-9)[:, None, None])
        .sum(axis=(1, 2))
        .astype(np.float64),
    }


def _times(energy: Floats, time: Floats) -> dict[str, Floats]:
    near, when = np.maximum(_box(energy, 1), 0.0), _box(time, 1)
    whole = near.sum(axis=(1, 2))
    mean = _over((near * when).sum(axis=(1, 2)), whole)
    spread = _over((near * (when - mean[:, None, None]) ** 2).sum(axis=(1, 2)), whole)
    far = np.abs(time)
    _box(far, 2)[...] = 0.0
    hits = (far > 0).sum(axis=(1, 2)).astype(np.float64)
    return {
        "time_mean": mean,
        "time_spread": np.sqrt(spread),
        "time_seed": time[:, _SEED, _SEED],
        "time_outside": _over(far.sum(axis=(1, 2)), hits),
    }
