"""What a detector makes of the particles in and round a jet: tracks, and energy in ECAL and HCAL.

Every particle is treated on its own: its track is found or lost, it is bent to the calorimeter, and leaves energy in
ECAL and HCAL. How that becomes an image is told by `calowatch.simulate.jets_images`.
Numbers are those of the CMS detector of 2012 as its public papers give them, rounded: JINST 3 S08004, JINST 9 P10009
for tracks, JINST 8 P09009 for ECAL, Eur. Phys. J. C 60 (2009) 359 for hadrons in ECAL and HCAL together. Nothing is
tuned to images.
"""

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from calowatch.simulate.jets_events import CHARGED, ELECTRON, MUON, NEUTRAL, PHOTON, Particles

__all__ = ["FIELD", "JetDetector", "Measured", "Seen", "at_calorimeter", "measure", "see"]

Reals = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

FIELD = 3.8  # T
_RADIUS = 1.29  # m, front of the ECAL barrel
_LENGTH = 3.17  # m, front of the ECAL endcaps
_CURL = 0.3 * FIELD  # GeV of transverse momentum per metre of radius


@dataclass(frozen=True)
class JetDetector:
    """Numbers of the detector.

    Parameters
    ----------
    track_efficiency
        Of charged hadrons well above threshold.
    track_pt_min
        GeV.
    track_outliers
        Share of tracks with wrong hits, whose curvature is `outlier_width` times less well known.
    outlier_width
        See there.
    vertex_spread
        Of collisions along the beam, m.
    crystal_noise, endcap_noise
        GeV per pixel, ECAL barrel and endcaps.
    crystal_cut
        Lowest energy kept, in units of the noise.
    readout
        Transverse energy in GeV of 5 x 5 crystals: those below half of it are not read out unless they touch some above
        it, as in the stored hits of CMS (selective readout, CERN-LHCC-2002-038).
    tower_noise, tower_cut
        GeV per HCAL tower.
    fluctuate
        Whether showers fluctuate in energy.
    spread
        Whether they spread sideways.
    """

    track_efficiency: float = 0.92
    track_pt_min: float = 0.25
    track_outliers: float = 5e-4
    outlier_width: float = 50.0
    vertex_spread: float = 0.05
    crystal_noise: float = 0.04
    endcap_noise: float = 0.15
    crystal_cut: float = 3.0
    readout: float = 2.0
    tower_noise: float = 0.2
    tower_cut: float = 0.7
    fluctuate: bool = True
    spread: bool = True

    @classmethod
    def ideal(cls) -> "JetDetector":
        """Return a detector without loss, noise, threshold, fluctuation and spread."""
        nothing = {"track_outliers": 0.0, "vertex_spread": 0.0, "crystal_noise": 0.0, "endcap_noise": 0.0}
        cuts = {"crystal_cut": 0.0, "readout": 0.0, "tower_noise": 0.0, "tower_cut": 0.0, "track_pt_min": 0.0}
        return cls(track_efficiency=1.0, **nothing, **cuts, fluctuate=False, spread=False)


@dataclass(frozen=True, eq=False)
class Seen:
    """What the detector makes of particles, one row each; jets are events of the particles.

    Parameters
    ----------
    jet
        Which jet's surroundings the particle belongs to.
    tracked
        Whether its track was found.
    track_pt
        Measured transverse momentum of the track, GeV; zero without one.
    eta, phi
        Direction at the vertex, which is where tracks are drawn.
    hit_eta, hit_phi
        Where it meets the calorimeter; NaN where it does not.
    ecal, hcal
        Energy it leaves in either, GeV.
    kind
        Of the particle.
    shower
        Energy after fluctuation at the scale of the particle, GeV: what a calorimeter measures of it.
    """

    jet: Ints
    tracked: Flags
    track_pt: Reals
    eta: Reals
    phi: Reals
    hit_eta: Reals
    hit_phi: Reals
    ecal: Reals
    hcal: Reals
    kind: npt.NDArray[np.int8]
    shower: Reals

    def taken(self, keep: Flags) -> "Seen":
        """Return what is seen of some of the particles."""
        return Seen(*(getattr(self, part.name)[keep] for part in fields(self)))

    def of_jets(self, jet: Ints) -> "Seen":
        """Return the same, the jets numbered anew."""
        return replace(self, jet=jet)


@dataclass(frozen=True, eq=False)
class Measured:
    """What a jet algorithm takes, a simple particle flow: tracks, photons, and calorimeter where there is no track.

    Parameters
    ----------
    jet
        Which jet's surroundings it is in, ascending.
    pt, eta, phi, mass
        GeV and radians.
    """

    jet: Ints
    pt: Reals
    eta: Reals
    phi: Reals
    mass: Reals


def at_calorimeter(
    pt: Reals, eta: Reals, phi: Reals, charge: npt.NDArray[np.int8], z: Reals
) -> tuple[Reals, Reals]:
    """Return pseudorapidity and azimuth, seen from the centre, of where particles meet the calorimeter's front.

    Parameters
    ----------
    pt, eta, phi, charge
        Of the particles at the beam line; GeV and radians. Positive ones turn towards smaller phi.
    z
        Of their vertex, m.

    Returns
    -------
    NaN for those that curl up before: in 3.8 T a particle needs 0.74 GeV to reach the barrel.
    """
    slope = np.sinh(eta)
    curvature = np.where(charge == 0, 0.0, _CURL / np.maximum(pt, 1e-6))  # 1 / m
    half = 0.5 * curvature * _RADIUS  # sine of half the turn up to the barrel
    turned = np.arcsin(np.minimum(half, 1.0))
    arc = np.where(curvature > 0, 2 * turned / np.where(curvature > 0, curvature, 1.0), _RADIUS)
    at_z = z + arc * slope
    barrel = (half < 1) & (np.abs(at_z) < _LENGTH)
    steep = np.where(np.abs(slope) > 1e-6, slope, 1e-6)
    to_end = (np.sign(steep) * _LENGTH - z) / steep  # arc up to the endcap
    turn = 0.5 * curvature * to_end
    straight = np.where(curvature > 0, 2 / np.where(curvature > 0, curvature, 1.0) * np.sin(turn), to_end)
    radius = np.where(barrel, _RADIUS, straight)
    endcap = ~barrel & (turn < np.pi / 2) & (radius < _RADIUS) & (radius > 0)
    reached = barrel | endcap
    where_z = np.where(barrel, at_z, np.sign(steep) * _LENGTH)
    hit_eta = np.where(reached, np.arcsinh(where_z / np.where(reached, radius, 1.0)), np.nan)
    hit_phi = np.where(reached, phi - charge * np.where(barrel, turned, turn), np.nan)
    return hit_eta, hit_phi


def see(particles: Particles, z: Reals, detector: JetDetector, rng: np.random.Generator) -> Seen:
    """Return what the detector makes of particles.

    Parameters
    ----------
    particles
        Events are the surroundings of jets, pile-up included.
    z
        Vertex of each particle along the beam, m.
    detector
        Its numbers.
    rng
        Draws losses and fluctuations.
    """
    pt, eta, phi = (np.asarray(part, np.float64) for part in (particles.pt, particles.eta, particles.phi))
    tracked, track_pt = _tracks(particles, detector, rng)
    hit_eta, hit_phi = at_calorimeter(pt, eta, phi, particles.charge, z)
    ecal, hcal, shower = _deposits(pt * np.cosh(eta), particles.kind, detector, rng)
    there = np.isfinite(hit_eta)
    return Seen(
        particles.event(),
        tracked,
        track_pt,
        eta,
        phi,
        hit_eta,
        hit_phi,
        np.where(there, ecal, 0.0),
        np.where(there, hcal, 0.0),
        particles.kind,
        np.where(there, shower, 0.0),
    )


def _tracks(particles: Particles, detector: JetDetector, rng: np.random.Generator) -> tuple[Flags, Reals]:
    """Return which tracks are found, and their transverse momenta; resolution as JINST 9 P10009, figure 13."""
    pt = np.asarray(particles.pt, np.float64)
    charged = particles.charge != 0
    chance = detector.track_efficiency
    if chance < 1:
        late = np.exp(-((particles.radius / 250.0) ** 2))  # mm: too few layers are left
        soft = -np.expm1(-pt / 0.15)
        by_kind = np.where(particles.kind == MUON, 0.99, np.where(particles.kind == ELECTRON, 0.88, chance))
        chance = by_kind * soft * late
    inside = (pt > detector.track_pt_min) & (np.abs(particles.eta) < 2.5)
    tracked = charged & inside & (rng.random(len(pt)) < chance)
    width = np.hypot(0.008, 1.5e-4 * pt) * (1 + 0.25 * np.asarray(particles.eta, np.float64) ** 2)
    wrong = rng.random(len(pt)) < detector.track_outliers
    relative = rng.standard_normal(len(pt)) * np.where(wrong, detector.outlier_width * 1.5e-4 * pt, width)
    if not detector.fluctuate:
        relative = np.zeros(len(pt))
    measured = np.minimum(pt / np.maximum(np.abs(1 + relative), 1e-3), 1000.0)
    return tracked, np.where(tracked, measured, 0.0)


def _deposits(
    energy: Reals, kind: npt.NDArray[np.int8], detector: JetDetector, rng: np.random.Generator
) -> tuple[Reals, Reals, Reals]:
    """Return energy in ECAL, in HCAL, and the measured energy of each particle brought to its own scale, GeV."""
    n = len(energy)
    light = (kind == PHOTON) | (kind == ELECTRON)
    hadron = (kind == CHARGED) | (kind == NEUTRAL)
    shower = energy.copy()
    if detector.fluctuate:
        width = np.hypot(0.028 / np.sqrt(energy[light]), 0.005)
        shower[light] *= np.maximum(1 + width * rng.standard_normal(len(width)), 0)
        spread = np.hypot(1.15 / np.sqrt(energy[hadron]), 0.055) ** 2
        shower[hadron] *= rng.gamma(1 / spread) * spread
    early = (rng.random(n) < 0.65) & hadron  # 1.1 interaction lengths of ECAL
    visible = shower * (_response(energy) if detector.fluctuate else 1.0)
    part = np.zeros(n)
    part[early] = rng.beta(1.2, 1.4, int(early.sum()))
    passing = np.where(
        kind == CHARGED, np.minimum(0.3, visible), 0.0
    )  # ionisation of one that does not interact
    in_ecal = np.where(early, part * visible, passing)
    ecal = np.where(light, shower, np.where(hadron, in_ecal, np.minimum(0.3, energy)))
    hcal = np.where(light, 0.0, np.where(hadron, visible - in_ecal, np.clip(energy - 0.3, 0.0, 2.0)))
    return ecal, hcal, shower


def _response(energy: Reals) -> Reals:
    """Return the share of a hadron's energy that ECAL and HCAL show together on average.

    Rises with energy, since more of a shower is electromagnetic: form of D. Groom, NIM A 572 (2007) 633, numbers read
    from the test beam of CMS (Eur. Phys. J. C 60 (2009) 359): half at 2 GeV, four fifths at 100 GeV.
    """
    return np.asarray(1 - 0.62 * np.maximum(energy, 0.5) ** -0.24, np.float64)


def measure(seen: Seen) -> Measured:
    """Return what jets are found in."""
    light = (seen.kind == PHOTON) | (seen.kind == ELECTRON)
    energy = np.where(seen.tracked, 0.0, seen.shower)
    unseen = ~seen.tracked & np.isfinite(seen.hit_eta)
    pt_calo = energy / np.cosh(seen.eta)
    kept = seen.tracked | (unseen & np.where(light, pt_calo > 0.3, (energy > 1.0) & (seen.kind != MUON)))
    pt = np.where(seen.tracked, seen.track_pt, pt_calo)[kept]
    mass = np.where(light | ~seen.tracked, 0.0, 0.13957)[kept]
    return Measured(seen.jet[kept], pt, seen.eta[kept], seen.phi[kept], mass)
