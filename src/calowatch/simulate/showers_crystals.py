"""What each crystal gets of an electromagnetic shower: profiles cut into slices, each shared among a square grid."""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from calowatch.simulate.showers import (
    LEAD_TUNGSTATE,
    Material,
    Profile,
    Radial,
    contained,
    corner_share,
    draw_profiles,
    radial,
    slice_depths,
    spots,
)

__all__ = ["SPOT_SHARE", "Deposits", "Entries", "Grid", "deposit"]

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

SPOT_SHARE = 0.1
"""Of GP's number of spots, since those of one secondary particle lie together: so the position of a shower is measured
to about 5 mm / sqrt(E / GeV), as in test beams of these crystals."""

_AT_ONCE = 512  # showers worked on together: what one slice of them takes fits a core's cache


@dataclass(frozen=True)
class Grid:
    """Crystals round where a shower enters: a square of ``size`` by ``size``, an odd number.

    Parameters
    ----------
    size
        Crystals along each side; what falls outside is lost.
    slices
        Slices of equal energy that a shower is cut into along its depth.
    width
        Of a crystal at the depth where showers are largest, in cm; taken as its width everywhere.
    """

    size: int = 13
    slices: int = 6
    width: float = 2.33


@dataclass(frozen=True)
class Entries:
    """Where particles enter the crystals; arrays of one number per particle.

    Parameters
    ----------
    energy
        In GeV.
    x, y
        In crystals; whole numbers are the lines between them.
    slope_x, slope_y
        Sideways way per way in depth, relative to the crystals' axes.
    photon
        A photon's shower starts after a free path, 9/7 radiation lengths on average; from there it is like an
        electron's.
    """

    energy: Floats
    x: Floats
    y: Floats
    slope_x: Floats
    slope_y: Floats
    photon: npt.NDArray[np.bool_]

    def some(self, which: npt.NDArray[np.bool_] | slice) -> "Entries":
        """Return some of the particles."""
        return Entries(**{part.name: getattr(self, part.name)[which] for part in fields(self)})


@dataclass(frozen=True)
class Deposits:
    """Energy in crystals.

    Parameters
    ----------
    energy
        In GeV, shape (particle, size, size): along x, then along y.
    x, y
        Number of the first crystal of each square along x and y, shape (particle,).
    """

    energy: Singles
    x: Ints
    y: Ints


def deposit(
    entries: Entries, rng: np.random.Generator, grid: Grid | None = None, material: Material = LEAD_TUNGSTATE
) -> Deposits:
    """Return what crystals get of each shower, with its fluctuations, before any noise of the read-out.

    The mean share of each crystal is exact for GP's radial profile at the middle of each slice. The shares fluctuate as
    those of `SPOT_SHARE` times as many equal spots as GP give: a Dirichlet distribution, the multinomial's continuous
    likeness, so that the energy of a shower is kept. What leaks out of the back lowers all crystals alike.

    Parameters
    ----------
    entries
        Particles.
    rng
        Random numbers.
    grid
        Crystals round each.
    material
        Of the crystals.
    """
    grid = grid or Grid()
    parts = [
        _deposit(entries.some(slice(first, first + _AT_ONCE)), rng, grid, material)
        for first in range(0, max(len(entries.energy), 1), _AT_ONCE)
    ]
    return Deposits(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("energy", "x", "y"))
    )


def _deposit(entries: Entries, rng: np.random.Generator, grid: Grid, material: Material) -> Deposits:
    profile = draw_profiles(entries.energy, rng, material)
    start = np.where(entries.photon, rng.exponential(9.0 / 7.0, entries.photon.shape), 0.0)
    held = contained(profile, material.depth - start)
    share, first = _shares(entries, start, profile, grid, material)
    energy = _fluctuate(share, SPOT_SHARE * spots(entries.energy, material), rng)
    energy *= (entries.energy * held).astype(np.float32)[:, None, None]
    return Deposits(energy, first[0], first[1])


def _shares(
    entries: Entries, start: Floats, profile: Profile, grid: Grid, material: Material
) -> tuple[Singles, tuple[Ints, Ints]]:
    """Return the mean share of each crystal, shape (particle, size, size), and the numbers of the first ones."""
    depths = slice_depths(profile, grid.slices)
    widths = radial(depths / profile.maximum, entries.energy, material)
    first = tuple(np.floor(entry).astype(np.int64) - grid.size // 2 for entry in (entries.x, entries.y))
    lines = np.arange(grid.size + 1, dtype=np.float32)
    total = np.zeros((len(start), grid.size + 1, grid.size + 1), np.float32)
    for number, depth in enumerate(depths):
        way = (start + depth) * material.radiation_length / grid.width
        x = lines - (entries.x - first[0] + entries.slope_x * way).astype(np.float32)[:, None]
        y = lines - (entries.y - first[1] + entries.slope_y * way).astype(np.float32)[:, None]
        here = Radial(widths.core[number], widths.tail[number], widths.weight[number])
        for radius, weight in ((here.core, here.weight), (here.tail, 1.0 - here.weight)):
            scaled = (radius * material.moliere_radius / grid.width).astype(np.float32)
            total += corner_share(x, y, scaled) * (weight / grid.slices).astype(np.float32)[:, None, None]
    share = np.diff(np.diff(total, axis=1), axis=2)
    return np.maximum(share, 0.0), (first[0], first[1])


def _fluctuate(share: Singles, n: Floats, rng: np.random.Generator) -> Singles:
    """Return shares that ``n`` spots would give; what falls outside the square is a share like any other."""
    outside = np.maximum(1.0 - share.sum(axis=(1, 2), dtype=np.float64), 1e-6)
    many = n.astype(np.float32)[:, None, None]
    drawn = rng.standard_gamma(share * many, dtype=np.float32)
    lost = rng.standard_gamma(outside * n)
    whole = drawn.sum(axis=(1, 2), dtype=np.float64) + lost
    drawn /= np.maximum(whole, 1e-12).astype(np.float32)[:, None, None]
    return drawn
