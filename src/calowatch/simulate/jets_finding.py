"""Jets, true and measured: anti-kT by FastJet, matched to hard partons, corrected for pile-up."""

import importlib
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from calowatch.core.errors import InputError
from calowatch.simulate.detector_jets import Measured
from calowatch.simulate.jets_events import CHARGED, HardEvents

__all__ = ["MATCH", "RADIUS", "Jets", "matched", "measured_jets", "true_jets", "turn"]

Reals = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

RADIUS = 0.5
"""Of anti-kT jets."""
MATCH = 0.3
"""Largest distance in eta and phi of a jet from its hard parton, and of the measured jet from the true one."""

_SEEK_PT = 55.0  # GeV; a true jet below it is never measured above 90
_SEEK_MEASURED = 10.0
_AROUND = 1.2  # half width in eta and phi of what measured jets are found in
_DENSITY_CELLS = 4
_SCALE = 1.03  # of measured to true pT: what is lost to thresholds and missed tracks
_PION = 0.13957  # GeV


@dataclass(frozen=True, eq=False)
class Jets:
    """Jets, one row each.

    Parameters
    ----------
    event
        Event of the batch.
    eta, phi, pt, mass
        Axis, and transverse momentum and mass in GeV.
    """

    event: Ints
    eta: Reals
    phi: Reals
    pt: Reals
    mass: Reals

    def taken(self, keep: Flags | Ints) -> "Jets":
        """Return some of the jets."""
        return Jets(self.event[keep], self.eta[keep], self.phi[keep], self.pt[keep], self.mass[keep])


@cache
def _jet_library() -> tuple[Any, Any, Any]:
    """Return FastJet, Awkward Array and the definition of jets; FastJet's banner is not printed."""
    try:
        fastjet, awkward = importlib.import_module("fastjet"), importlib.import_module("awkward")
    except ImportError as error:
        raise InputError(
            "simulation of jets", "FastJet", "that it is not installed", "pip install 'calowatch[physics]'"
        ) from error
    fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)
    return fastjet, awkward, fastjet.JetDefinition(fastjet.antikt_algorithm, RADIUS)


def _clustered(event: Ints, n: int, four: tuple[Reals, ...], pt_min: float) -> Jets:
    """Return anti-kT jets of ``n`` events; particles are sorted by event and given as px, py, pz, E in GeV."""
    fastjet, awkward, definition = _jet_library()
    names = ("px", "py", "pz", "E")
    momenta = awkward.zip(dict(zip(names, four, strict=True)), with_name="Momentum4D")
    events = awkward.unflatten(momenta, np.bincount(event, minlength=n))
    jets = fastjet.ClusterSequence(events, definition).inclusive_jets(min_pt=pt_min)
    of = np.repeat(np.arange(n), np.asarray(awkward.num(jets)))
    px, py, pz, energy = (np.asarray(awkward.flatten(jets[name]), np.float64) for name in names)
    pt = np.hypot(px, py)
    mass = np.sqrt(np.maximum(energy**2 - pt**2 - pz**2, 0.0))
    return Jets(of, np.arcsinh(pz / pt), np.arctan2(py, px), pt, mass)


def _four(pt: Reals, eta: Reals, phi: Reals, mass: Any = 0.0) -> tuple[Reals, ...]:
    pz = pt * np.sinh(eta)
    return pt * np.cos(phi), pt * np.sin(phi), pz, np.sqrt(pt**2 + pz**2 + mass**2)


def true_jets(events: HardEvents, reach: float) -> Jets:
    """Return jets of all visible particles; hadrons count as pions, since pixels do not tell them apart."""
    particles = events.particles
    pt, eta, phi = (np.asarray(part, np.float64) for part in (particles.pt, particles.eta, particles.phi))
    mass = np.where(particles.kind == CHARGED, _PION, 0.0)
    jets = _clustered(particles.event(), len(particles), _four(pt, eta, phi, mass), _SEEK_PT)
    return jets.taken(np.abs(jets.eta) < reach)


def turn(difference: Reals) -> Reals:
    """Return a difference of azimuths, -pi to pi."""
    return np.asarray(np.remainder(difference + np.pi, 2 * np.pi) - np.pi, np.float64)


def matched(jets: Jets, events: HardEvents) -> Flags:
    """Return which jets have a hard parton near their axis."""
    eta, phi = events.parton_eta[jets.event], events.parton_phi[jets.event]
    near = np.hypot(jets.eta[:, None] - eta, turn(jets.phi[:, None] - phi)) < MATCH
    return np.asarray(near.any(axis=1))


def measured_jets(measured: Measured, jets: Jets) -> Jets:
    """Return the measured jet of each true one, pT corrected for pile-up; pT 0 where none is near.

    Pile-up is subtracted as density times area (M. Cacciari, G. Salam, Phys. Lett. B 659 (2008) 119); the density is
    the median of 16 cells round the jet. The mass is left as it was found, pile-up included.
    """
    n = len(jets.pt)
    eta, phi = measured.eta - jets.eta[measured.jet], turn(measured.phi - jets.phi[measured.jet])
    near = (np.abs(eta) < _AROUND) & (np.abs(phi) < _AROUND)
    cells = [
        np.floor((part[near] + _AROUND) / (2 * _AROUND) * _DENSITY_CELLS).astype(int) for part in (eta, phi)
    ]
    cell = (measured.jet[near] * _DENSITY_CELLS + cells[0]) * _DENSITY_CELLS + cells[1]
    filled = np.bincount(cell, measured.pt[near], n * _DENSITY_CELLS**2).reshape(n, -1)
    density = np.median(filled, axis=1) / (2 * _AROUND / _DENSITY_CELLS) ** 2
    four = _four(measured.pt[near], measured.eta[near], measured.phi[near], measured.mass[near])
    found = _clustered(measured.jet[near], n, four, _SEEK_MEASURED)
    distance = np.hypot(found.eta - jets.eta[found.event], turn(found.phi - jets.phi[found.event]))
    best = np.lexsort((-found.pt, found.event))
    best = best[distance[best] < MATCH]
    event, first = np.unique(found.event[best], return_index=True)
    chosen = best[first]
    columns = [np.zeros(n) for _ in range(4)]
    for column, name in zip(columns, ("eta", "phi", "pt", "mass"), strict=True):
        column[event] = getattr(found, name)[chosen]
    columns[2][event] = np.maximum(columns[2][event] - density[event] * np.pi * RADIUS**2, 0.0) * _SCALE
    return Jets(np.arange(n), *columns)
