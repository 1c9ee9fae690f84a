"""From the vertex to the calorimeter: bremsstrahlung, conversions and bending in the material of a tracker.

Emission is along the track (its angle, electron mass over energy, is far below a crystal), scattering and ionisation
are left out. Lengths are in cm, energies in GeV, angles in radians. Arrays hold one number per particle.
"""

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

__all__ = ["Particles", "Tracker", "cascade", "flight", "material_at"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CURVATURE = 0.0029979  # per cm, of a track of 1 GeV transverse momentum in 1 T

# Beam pipe; pixels and their services; inner strips; services; outer strips; outer wall. Near the real tracker's
# layers, with a plausible share of the material each.
RADII = (
    *(3.0, 4.4, 7.3, 10.2, 18.5),
    *(25.5, 33.9, 41.8, 49.8, 54.0),
    *(60.8, 69.2, 78.0, 86.8, 96.5, 108.0, 116.0),
)
SHARES = (
    *(0.02, 0.06, 0.06, 0.06, 0.06),
    *(0.07, 0.07, 0.07, 0.07, 0.10),
    *(0.045, 0.045, 0.045, 0.045, 0.045, 0.045, 0.09),
)

_ETA = (0.0, 0.4, 0.8, 1.0, 1.2, 1.4, 1.5)
_DEPTH = (0.40, 0.45, 0.62, 0.90, 1.30, 1.75, 1.90)


@dataclass(frozen=True)
class Tracker:
    """A barrel of thin layers in a field along the beam.

    Parameters
    ----------
    field
        In tesla.
    material
        Scales the material of all layers; 0 for none.
    radius
        Of the calorimeter's front.
    softest
        Least energy of an emitted photon; softer ones stay with their electron, which bends no differently.
    """

    field: float = 3.8
    material: float = 1.0
    radius: float = 129.0
    softest: float = 0.1


def material_at(eta: npt.ArrayLike) -> Floats:
    """Return the material of the whole tracker, in radiation lengths: 0.4 at eta 0 to 1.9 at abs(eta) 1.5.

    Examples
    --------
    >>> material_at([0.0, -1.5]).tolist()
    [0.4, 1.9]
    """
    return np.asarray(np.interp(np.abs(eta), _ETA, _DEPTH), np.float64)


@dataclass(frozen=True)
class Particles:
    """Electrons, positrons and photons on a cylinder.

    Parameters
    ----------
    event
        Number of the event that each belongs to.
    energy
        In GeV.
    charge
        -1, 0 or 1.
    phi, z
        Where it is.
    angle
        Azimuth of its direction less ``phi``.
    eta
        Pseudorapidity of its direction.
    """

    event: Ints
    energy: Floats
    charge: Floats
    phi: Floats
    z: Floats
    angle: Floats
    eta: Floats

    def __len__(self) -> int:
        return len(self.event)

    def some(self, which: npt.NDArray[np.bool_] | Ints) -> "Particles":
        """Return some of the particles."""
        return Particles(**{part.name: getattr(self, part.name)[which] for part in fields(self)})


def _joined(parts: list[Particles]) -> Particles:
    return Particles(
        **{
            part.name: np.concatenate([getattr(one, part.name) for one in parts])
            for part in fields(Particles)
        }
    )


def flight(particles: Particles, start: float, end: float, field: float) -> Particles:
    """Return the particles on the next cylinder, without those that turn round before they reach it.

    On a circle r sin(angle) - curvature r^2 / 2 is constant, r the distance from the beam and ``angle`` that between
    the track and the radius; the azimuth follows from the triangle of the two points and the beam.

    Parameters
    ----------
    particles
        On the cylinder of radius ``start``.
    start, end
        Radii.
    field
        In tesla; a negative charge bends to larger azimuth.
    """
    curvature = -particles.charge * CURVATURE * field * np.cosh(particles.eta) / particles.energy
    sine = (start * np.sin(particles.angle) + 0.5 * curvature * (end**2 - start**2)) / end
    reaches = np.abs(sine) < 0.999
    here, sine, curvature = particles.some(reaches), sine[reaches], curvature[reaches]
    angle = np.arcsin(sine)
    turn = 2.0 * np.arctan(np.tan(0.5 * (here.angle + angle)) * (end - start) / (end + start))
    bend = 0.5 * (turn + angle - here.angle)
    chord = np.sqrt(start**2 + end**2 - 2.0 * start * end * np.cos(turn))
    way = chord / np.sinc(bend / np.pi)
    return replace(here, phi=here.phi + turn, angle=angle, z=here.z + way * np.sinh(here.eta))


def _radiate(particles: Particles, depth: Floats, softest: float, rng: np.random.Generator) -> Particles:
    """Return the particles after a layer, and the photons that the charged ones radiated in it.

    Photons of share y of the energy: (4/3 - 4/3 y + y^2) / y per radiation length (complete screening). Candidates are
    drawn from 4 / (3 y), and kept with chance 1 - y + 3/4 y^2, which makes the rest exact.
    """
    energy = particles.energy.copy()
    charged = (particles.charge != 0) & (energy > softest)
    reach = np.log(np.maximum(energy / softest, 1.0))
    number = rng.poisson(np.where(charged, depth * 4.0 / 3.0 * reach, 0.0))
    photons = [particles]
    for turn in range(int(number.max(initial=0))):
        at = np.flatnonzero(number > turn)
        share = np.exp(-reach[at] * rng.random(at.size))
        kept = rng.random(at.size) < 1.0 - share + 0.75 * share**2
        # An earlier photon may have left too little for one above the threshold: what is softer stays.
        kept &= share * energy[at] > softest
        at, share = at[kept], share[kept]
        photons.append(replace(particles.some(at), energy=share * energy[at], charge=np.zeros(at.size)))
        energy[at] -= share * energy[at]
    photons[0] = replace(particles, energy=energy)
    return _joined(photons)


_SPLIT = np.linspace(0.0, 1.0, 257)
_SPLIT_BELOW = 9.0 / 7.0 * (_SPLIT - 2.0 / 3.0 * _SPLIT**2 + 4.0 / 9.0 * _SPLIT**3)


def _convert(particles: Particles, depth: Floats, rng: np.random.Generator) -> tuple[Particles, Ints]:
    """Return the particles after a layer, photons that converted as pairs, and the events of those photons.

    A photon converts with chance 1 - exp(-7/9 x) in x radiation lengths; the share of one electron is distributed as
    1 - 4/3 x (1 - x) (complete screening).
    """
    photon = particles.charge == 0
    converts = photon & (rng.random(len(particles)) < -np.expm1(-7.0 / 9.0 * depth))
    if not converts.any():
        return particles, np.empty(0, np.int64)
    old = particles.some(converts)
    share = np.interp(rng.random(len(old)), _SPLIT_BELOW, _SPLIT)
    ones = np.ones(len(old))
    pair = [
        replace(old, energy=np.maximum(share, 1e-6) * old.energy, charge=-ones),
        replace(old, energy=np.maximum(1.0 - share, 1e-6) * old.energy, charge=ones),
    ]
    return _joined([particles.some(~converts), *pair]), old.event


def cascade(
    particles: Particles, tracker: Tracker, rng: np.random.Generator
) -> tuple[Particles, npt.NDArray[np.int64]]:
    """Take particles from the beam line to the calorimeter's front.

    Parameters
    ----------
    particles
        At the vertices; ``phi`` is their direction and ``angle`` 0.
    tracker
        What they cross.
    rng
        Random numbers.

    Returns
    -------
    tuple
        What arrives, and the photon conversions of each event, shape (events,).
    """
    events = int(particles.event.max(initial=-1)) + 1
    conversions = np.zeros(events, np.int64)
    eta = np.zeros(events)
    eta[particles.event] = particles.eta
    depth = tracker.material * material_at(eta)
    radius = 0.0
    for layer, share in zip(RADII, SHARES, strict=True):
        particles, radius = flight(particles, radius, layer, tracker.field), layer
        if not tracker.material:
            continue
        particles = _radiate(particles, share * depth[particles.event], tracker.softest, rng)
        particles, converted = _convert(particles, share * depth[particles.event], rng)
        np.add.at(conversions, converted, 1)
    return flight(particles, radius, tracker.radius, tracker.field), conversions
