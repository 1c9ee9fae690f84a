"""Electromagnetic showers in lead tungstate: how deep they are and how wide.

Parameters after Grindhammer and Peters, *The parameterized simulation of electromagnetic showers in homogeneous and
sampling calorimeters*, hep-ex/0001020 (below: GP), for a homogeneous medium. Depths are in radiation lengths, energies
in GeV, radii in Moliere radii unless said otherwise. All functions work on arrays of showers.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

__all__ = [
    "LEAD_TUNGSTATE",
    "Material",
    "Profile",
    "Radial",
    "contained",
    "corner_share",
    "draw_profiles",
    "mean_maximum",
    "radial",
    "slice_depths",
    "spots",
]

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

_LEAST_LOG = 1.6  # ln(E / critical energy) below which GP's fits have no meaning


@dataclass(frozen=True)
class Material:
    """A homogeneous calorimeter.

    Parameters
    ----------
    radiation_length, moliere_radius
        In cm.
    critical_energy
        In GeV.
    z
        Effective atomic number.
    depth
        In radiation lengths.
    """

    radiation_length: float
    moliere_radius: float
    critical_energy: float
    z: float
    depth: float


LEAD_TUNGSTATE = Material(0.89, 2.19, 8.74e-3, 68.36, 25.8)
"""PbWO4 crystals of 23 cm."""


@dataclass(frozen=True)
class Profile:
    """Longitudinal profiles dE/dt = E beta (beta t)^(alpha - 1) exp(-beta t) / Gamma(alpha); arrays, one per shower.

    Parameters
    ----------
    maximum
        Depth of the maximum from where the shower starts, in radiation lengths; (alpha - 1) / beta.
    alpha
        Shape.
    """

    maximum: Floats
    alpha: Floats

    @property
    def beta(self) -> Floats:
        """Scale, per radiation length."""
        return (self.alpha - 1.0) / self.maximum


def _log_energy(energy: npt.ArrayLike, material: Material) -> Floats:
    return np.maximum(np.log(np.asarray(energy, np.float64) / material.critical_energy), _LEAST_LOG)


def mean_maximum(energy: npt.ArrayLike, material: Material = LEAD_TUNGSTATE) -> Floats:
    """Return the depth of the maximum of the mean profile of electrons: ln(E / critical energy) - 0.858 (GP A.1.1).

    Examples
    --------
    >>> round(float(mean_maximum(50.0)), 2)
    7.79
    """
    return _log_energy(energy, material) - 0.858


def draw_profiles(
    energy: Floats, rng: np.random.Generator, material: Material = LEAD_TUNGSTATE, spread: npt.ArrayLike = 1.0
) -> Profile:
    """Draw the profile of each shower: ln(maximum) and ln(alpha) are normal and correlated (GP A.1.2).

    Parameters
    ----------
    energy
        Of the electrons, in GeV.
    rng
        Random numbers.
    material
        What they shower in.
    spread
        Scales the fluctuations: 0 for the typical shower, less than 1 for the mean of several.
    """
    y, spread = _log_energy(energy, material), np.asarray(spread, np.float64)
    rho = 0.705 - 0.023 * y
    one, other = rng.standard_normal((2, *y.shape))
    both = rho * one + np.sqrt(1.0 - rho**2) * other
    maximum = np.exp(np.log(y - 0.812) + spread * one / (1.26 * y - 1.4))
    shape = np.log(0.81 + (0.458 + 2.26 / material.z) * y)
    alpha = np.exp(shape + spread * both / (0.86 * y - 0.58))
    return Profile(np.maximum(maximum, 0.3), np.maximum(alpha, 1.1))


def contained(profile: Profile, room: npt.ArrayLike) -> Floats:
    """Return the share of each shower's energy within ``room`` radiation lengths from its start."""
    depth = np.maximum(np.asarray(room, np.float64), 0.0)
    return np.asarray(special.gammainc(profile.alpha, profile.beta * depth), np.float64)


def slice_depths(profile: Profile, n: int) -> Floats:
    """Return the middles of ``n`` slices of equal energy, in depth from the shower's start.

    Quantiles of the gamma distribution by the cube-root transformation (Wilson and Hilferty 1931, PNAS 17, 684), which
    is good to a per cent for these shapes.

    Parameters
    ----------
    profile
        Of each shower.
    n
        Slices.

    Returns
    -------
    Floats
        Shape (n, shower), radiation lengths.
    """
    middles = (np.arange(n) + 0.5) / n
    z = special.ndtri(middles)[:, None]
    ninth = 1.0 / (9.0 * profile.alpha)
    root = np.maximum(1.0 - ninth + z * np.sqrt(ninth), 0.05)
    return np.asarray(profile.alpha / profile.beta * root**3, np.float64)


@dataclass(frozen=True)
class Radial:
    """Radial profile p 2 r C^2 / (r^2 + C^2)^2 + (1 - p) 2 r T^2 / (r^2 + T^2)^2.

    Parameters
    ----------
    core, tail
        C and T, in Moliere radii.
    weight
        p, the share of the core.
    """

    core: Floats
    tail: Floats
    weight: Floats

    def within(self, radius: npt.ArrayLike) -> Floats:
        """Return the share of the energy within a radius, in Moliere radii."""
        square = np.asarray(radius, np.float64) ** 2
        core, tail = square / (square + self.core**2), square / (square + self.tail**2)
        return np.asarray(self.weight * core + (1.0 - self.weight) * tail, np.float64)


def radial(tau: Floats, energy: Floats, material: Material = LEAD_TUNGSTATE) -> Radial:
    """Return the mean radial profile at a depth of ``tau`` times that of the maximum (GP A.1.3).

    Parameters
    ----------
    tau
        Shape (..., shower).
    energy
        In GeV, shape (shower,).
    material
        What they shower in.
    """
    z, log = material.z, np.log(np.maximum(energy, 0.2))
    core = 0.0251 + 0.00319 * log + (0.1162 - 0.000381 * z) * tau
    rise = 0.3585 + 0.0421 * log
    tail = (0.659 - 0.00309 * z) * (np.exp(-2.59 * (tau - 0.645)) + np.exp(rise * (tau - 0.645)))
    distance = (0.401 + 0.00187 * z - tau) / (1.313 - 0.0686 * log)
    weight = (2.632 - 0.00094 * z) * np.exp(distance - np.exp(distance))
    return Radial(np.maximum(core, 0.01), np.maximum(tail, 0.05), np.clip(weight, 0.0, 1.0))


def spots(energy: Floats, material: Material = LEAD_TUNGSTATE) -> Floats:
    """Return how many equal spots of energy make the lateral fluctuations of a shower: 93 ln(Z) E^0.876 (GP A.1.4)."""
    return np.asarray(93.0 * np.log(material.z) * np.maximum(energy, 1e-3) ** 0.876, np.float64)


def corner_share(x: Singles, y: Singles, radius: Singles) -> Singles:
    """Return the share of the density R^2 / (pi (r^2 + R^2)^2) between the axes and each point (x, y).

    In closed form, (X atan(Y / a) + Y' atan(X / b)) / (2 pi) with a^2 = R^2 + x^2, b^2 = R^2 + y^2, X = x / a and
    Y' = y / b; signed as x times y, so that the share of a rectangle is the difference of its corners.

    Parameters
    ----------
    x, y
        Lines of a grid, shapes (..., rows) and (..., columns).
    radius
        R, shape (...).

    Returns
    -------
    Singles
        Shape (..., rows, columns).

    Examples
    --------
    >>> far = np.array([-1e4, 1e4], np.float32)
    >>> share = corner_share(far, far, np.float32(1.0))
    >>> float(np.round(np.diff(np.diff(share, axis=-1), axis=-2).sum(), 3))
    1.0
    """
    square = np.square(radius)[..., None]
    to_x, to_y = 1.0 / np.sqrt(square + x * x), 1.0 / np.sqrt(square + y * y)
    share: Singles = np.arctan(y[..., None, :] * to_x[..., :, None])
    share *= (x * to_x)[..., :, None]
    other = np.arctan(x[..., :, None] * to_y[..., None, :])
    other *= (y * to_y)[..., None, :]
    share += other
    share *= np.float32(0.5 / np.pi)
    return share
