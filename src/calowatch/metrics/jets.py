"""Observables of jets in calorimeter images: pure functions of images, all images at once.

Images are [image, (tracks, ECAL, HCAL), ieta, iphi], 125 x 125 pixels of 0.01745, as `calowatch.io.jets` reads them, in
units of 100 GeV. Distances are in eta and phi, round the axis: the mean position of all energy within 0.4 of the centre
of the image, found twice over.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["JET_OBSERVABLES", "jet_observables", "jet_table"]

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

PIXEL = 0.01745
"""Size of a pixel in eta and phi."""
RADIUS = 0.5
"""Of the jets."""
HARD = 0.01
"""Track pT, in units of 100 GeV, above which little is from pile-up: 1 GeV."""

_SHAPE = (3, 125, 125)
_NEAR = 0.4  # of the centre, for the axis
_CORE = 0.1
_AT_ONCE = 512
_CRYSTAL = 0.005  # 0.5 GeV
_RINGS = (0.05, 0.1, 0.2, 0.3)

JET_OBSERVABLES = (
    *("multiplicity", "soft_multiplicity", "all_tracks", "crystals", "towers"),
    *("width", "girth", "ecal_width", "hcal_width", "ptd", "ecal_ptd"),
    *("tracks", "ecal", "hcal", "em_share", "charged_share"),
    *("leading", "second", "ecal_core", "major", "minor"),
    *("ring_1", "ring_2", "ring_3", "ring_4"),
    *("outside_tracks", "outside_ecal", "outside_number", "dispersion"),
)
"""Names of the observables, in the order of the columns of `jet_observables`.

==================================  ==============================================================================
multiplicity                        track pixels above 1 GeV within 0.5 of the axis
soft_multiplicity                   all track pixels there, less those expected from the density outside 0.7
all_tracks                          track pixels of the image
crystals, towers                    ECAL pixels above 0.5 GeV and HCAL towers with energy, within 0.5
width                               mean distance of tracks above 1 GeV, weighted by momentum
girth, ecal_width, hcal_width       mean distance of energy of all channels, of ECAL, of HCAL, within 0.5
ptd, ecal_ptd                       root of the sum of squares over the sum: of tracks above 1 GeV, of crystals
tracks, ecal, hcal                  sums within 0.5
em_share, charged_share             ECAL over calorimeters; tracks above 1 GeV over tracks and calorimeters
leading, second                     share of the largest and second largest track pixel
ecal_core                           share of ECAL within 0.1
major, minor                        root mean square along the axes of the ellipse of all energy within 0.5
ring_1 .. ring_4                    share of tracks above 1 GeV within 0.05, 0.1, 0.2 and 0.3
outside_tracks, outside_ecal        sums further than 0.7 from the axis: pile-up
outside_number                      track pixels there
dispersion                          root of the sum of squares of all three channels' pixels over their sum
==================================  ==============================================================================
"""


@dataclass(frozen=True, eq=False)
class _Pixels:
    """Pixels of some images that are not zero.

    Parameters
    ----------
    n
        Images.
    image, channel
        Which image and channel each belongs to.
    eta, phi
        Position from the image's centre.
    value
        Momentum or energy.
    """

    n: int
    image: npt.NDArray[np.int64]
    channel: npt.NDArray[np.int64]
    eta: Floats
    phi: Floats
    value: Floats

    def sums(self, weight: Floats, where: Flags) -> Floats:
        """Return sums over pixels, one per image."""
        return np.asarray(np.bincount(self.image[where], weight[where], self.n), np.float64)

    def numbers(self, where: Flags) -> Floats:
        """Return how many pixels, per image."""
        return np.bincount(self.image[where], minlength=self.n).astype(np.float64)


def jet_observables(images: npt.ArrayLike) -> Singles:
    """Return the observables of each image, 0 where an empty image gives none.

    Parameters
    ----------
    images
        Shape (image, 3, 125, 125).

    Returns
    -------
    Singles
        Shape (image, observable), in the order of `JET_OBSERVABLES`; finite.

    Raises
    ------
    ValueError
        For images of another shape.

    Examples
    --------
    >>> image = np.zeros((1, 3, 125, 125))
    >>> image[0, 0, 62, [52, 72]] = 0.3
    >>> found = dict(zip(JET_OBSERVABLES, jet_observables(image)[0].tolist()))
    >>> found["multiplicity"], round(found["width"], 4), round(found["ptd"], 4), round(found["leading"], 4)
    (2.0, 0.1745, 0.7071, 0.5)
    """
    pixels = np.asarray(images)
    if pixels.ndim != 4 or pixels.shape[1:] != _SHAPE:
        raise ValueError(f"images of shape {pixels.shape}, not (n, 3, 125, 125)")
    parts = [
        _observables(_hits(pixels[first : first + _AT_ONCE])) for first in range(0, len(pixels), _AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.empty((0, len(JET_OBSERVABLES)), np.float32)


def jet_table(images: npt.NDArray[Any], scalars: npt.NDArray[Any]) -> tuple[tuple[str, ...], Floats]:
    """Return names and values of observables and scalars [image, feature], as models of tables want them.

    Scalars are what stands beside the images: usually pt and m0.
    """
    names = tuple(f"scalar {number}" for number in range(scalars.shape[1]))
    found = jet_observables(images).astype(np.float64)
    return (*JET_OBSERVABLES, *names), np.concatenate([found, np.asarray(scalars, np.float64)], axis=1)


def _hits(images: npt.NDArray[Any]) -> _Pixels:
    flat = images.reshape(-1)
    at = np.flatnonzero(flat)
    image, channel, row, column = np.unravel_index(at, images.shape)
    middle = _SHAPE[1] // 2
    eta, phi = (np.asarray((part - middle) * PIXEL, np.float64) for part in (row, column))
    hits = _Pixels(len(images), image, channel, eta, phi, flat[at].astype(np.float64))
    for _ in range(2):
        hits = _centred(hits)
    return hits


def _centred(hits: _Pixels) -> _Pixels:
    """Return pixels with positions from the mean of all energy within `_NEAR`; tracks count above 1 GeV only."""
    near = (
        (np.hypot(hits.eta, hits.phi) < _NEAR) & ((hits.channel > 0) | (hits.value > HARD)) & (hits.value > 0)
    )
    total = hits.sums(hits.value, near)
    eta, phi = (_over(hits.sums(hits.value * part, near), total) for part in (hits.eta, hits.phi))
    moved = hits.eta - eta[hits.image], hits.phi - phi[hits.image]
    return _Pixels(hits.n, hits.image, hits.channel, *moved, hits.value)


def _over(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _observables(hits: _Pixels) -> Singles:
    distance = np.hypot(hits.eta, hits.phi)
    inside = (distance < RADIUS) & (hits.value > 0)
    track, ecal, hcal = (hits.channel == number for number in range(3))
    hard = track & inside & (hits.value > HARD)
    found = {
        **_counts(hits, distance, hard),
        **_shapes(hits, distance, (hard, inside & ecal, inside & hcal)),
        **_sums(hits, (hard, inside & track, inside & ecal, inside & hcal)),
        **_largest(hits, hard),
        **_moments(hits, hard | (inside & ~track)),
    }
    return np.stack([found[name] for name in JET_OBSERVABLES], axis=1).astype(np.float32)


def _counts(hits: _Pixels, distance: Floats, hard: Flags) -> dict[str, Floats]:
    track, ecal, hcal = (hits.channel == number for number in range(3))
    inside, outside = distance < RADIUS, distance > 0.7
    whole = (_SHAPE[1] * PIXEL) ** 2
    ratio = np.pi * RADIUS**2 / (whole - np.pi * 0.7**2)
    beyond = hits.numbers(track & outside)
    return {
        "multiplicity": hits.numbers(hard),
        "soft_multiplicity": hits.numbers(track & inside) - ratio * beyond,
        "all_tracks": hits.numbers(track),
        "crystals": hits.numbers(ecal & inside & (hits.value > _CRYSTAL)),
        "towers": hits.numbers(hcal & inside) / 25.0,
        "outside_tracks": hits.sums(hits.value, track & outside),
        "outside_ecal": hits.sums(hits.value, ecal & outside),
        "outside_number": beyond,
    }


def _shapes(hits: _Pixels, distance: Floats, parts: tuple[Flags, Flags, Flags]) -> dict[str, Floats]:
    hard, ecal, hcal = parts
    every = hard | ecal | hcal

    def mean(where: Flags) -> Floats:
        return _over(hits.sums(hits.value * distance, where), hits.sums(hits.value, where))

    def share(where: Flags, reach: float) -> Floats:
        return _over(hits.sums(hits.value, where & (distance < reach)), hits.sums(hits.value, where))

    def dispersion(where: Flags) -> Floats:
        return _over(np.sqrt(hits.sums(hits.value**2, where)), hits.sums(hits.value, where))

    rings = {f"ring_{number}": share(hard, reach) for number, reach in enumerate(_RINGS, 1)}
    found = {"width": mean(hard), "girth": mean(every), "ecal_width": mean(ecal), "hcal_width": mean(hcal)}
    found |= {
        "ecal_core": share(ecal, _CORE),
        "ptd": dispersion(hard),
        "ecal_ptd": dispersion(ecal),
        "dispersion": dispersion(every),
    }
    return found | rings


def _sums(hits: _Pixels, parts: tuple[Flags, Flags, Flags, Flags]) -> dict[str, Floats]:
    hard, tracks, ecal, hcal = (hits.sums(hits.value, where) for where in parts)
    shares = {"em_share": _over(ecal, ecal + hcal), "charged_share": _over(hard, hard + ecal + hcal)}
    return {"tracks": tracks, "ecal": ecal, "hcal": hcal, **shares}


def _largest(hits: _Pixels, hard: Flags) -> dict[str, Floats]:
    """Return the shares of the two largest track pixels."""
    image, value = hits.image[hard], hits.value[hard]
    order = np.lexsort((-value, image))
    image, value = image[order], value[order]
    first = np.searchsorted(image, np.arange(hits.n))
    number = np.bincount(image, minlength=hits.n)
    total = hits.sums(hits.value, hard)
    padded = np.append(value, [0.0, 0.0])
    leading = np.where(number > 0, padded[np.minimum(first, len(value))], 0.0)
    second = np.where(number > 1, padded[np.minimum(first + 1, len(value))], 0.0)
    return {"leading": _over(leading, total), "second": _over(second, total)}


def _moments(hits: _Pixels, where: Flags) -> dict[str, Floats]:
    """Return the root mean squares along the axes of the ellipse of energy."""
    total = hits.sums(hits.value, where)

    def moment(one: Floats, other: Floats) -> Floats:
        return _over(hits.sums(hits.value * one * other, where), total)

    along, across, mixed = moment(hits.eta, hits.eta), moment(hits.phi, hits.phi), moment(hits.eta, hits.phi)
    half, root = (along + across) / 2, np.hypot((along - across) / 2, mixed)
    return {"major": np.sqrt(half + root), "minor": np.sqrt(np.maximum(half - root, 0.0))}
