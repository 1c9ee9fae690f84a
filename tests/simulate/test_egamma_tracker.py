"""Tracks against steps along the circle, radiation and conversion against their closed forms."""

import numpy as np
import pytest

from calowatch.simulate.egamma_tracker import (
    CURVATURE,
    RADII,
    SHARES,
    Particles,
    Tracker,
    cascade,
    flight,
    material_at,
)


def beam(n, energy=50.0, charge=-1.0, eta=0.0):
    one, none = np.ones(n), np.zeros(n)
    return Particles(np.arange(n), energy * one * np.cosh(eta), charge * one, none, none, none, eta * one)


def stepped(momentum, charge, eta, end, field=3.8, step=2e-3):
    """Azimuth, z and angle where a track reaches a radius, in small straight steps."""
    x = y = z = direction = 0.0
    bend = -charge * CURVATURE * field / momentum
    while np.hypot(x, y) < end:
        x, y = x + step * np.cos(direction + bend * step / 2), y + step * np.sin(direction + bend * step / 2)
        z, direction = z + step * np.sinh(eta), direction + bend * step
    phi = np.arctan2(y, x)
    return phi, z, direction - phi


@pytest.mark.parametrize(("momentum", "charge", "eta"), [(50.0, -1, 0.7), (2.0, 1, -1.1), (0.9, -1, 0.3)])
def test_tracks_are_circles(momentum, charge, eta):
    particle = beam(1, momentum, charge, eta)
    at = 0.0
    for radius in (40.0, 129.0):
        particle, at = flight(particle, at, radius, 3.8), radius
    phi, z, angle = stepped(momentum, charge, eta, 129.0)
    assert particle.phi[0] == pytest.approx(phi, abs=2e-4)
    assert particle.z[0] == pytest.approx(z, rel=1e-3)
    assert particle.angle[0] == pytest.approx(angle, abs=4e-4)


def test_fifty_gev_bends_by_less_than_a_crystal():
    """0.3 B R / (2 pT) = 14.7 mrad; electrons to larger azimuth, photons not at all."""
    for charge, sign in ((-1, 1), (1, -1), (0, 0)):
        assert flight(beam(1, charge=charge), 0.0, 129.0, 3.8).phi[0] == pytest.approx(
            sign * 0.0147, abs=1e-4
        )


def test_soft_tracks_turn_round_in_the_tracker():
    assert len(flight(beam(1, 0.5), 0.0, 129.0, 3.8)) == 0
    assert len(flight(beam(1, 0.5, charge=0.0), 0.0, 129.0, 3.8)) == 1
    assert len(flight(beam(1, 0.5), 0.0, 129.0, 0.0)) == 1


def test_layers_share_all_the_material():
    assert len(RADII) == len(SHARES) == 17
    assert sum(SHARES) == pytest.approx(1.0)
    assert list(RADII) == sorted(RADII)
    assert material_at([0.0, 1.5]).tolist() == [0.4, 1.9]


@pytest.mark.parametrize("material", [0.5, 1.0, 2.0])
def test_electrons_lose_energy_as_the_exponential_says(material):
    """In x radiation lengths, exp(-x) of it stays with the electron on average (Bethe and Heitler)."""
    n = 4000
    tracker = Tracker(field=0.0, material=material)
    arrived, _ = cascade(beam(n), tracker, np.random.default_rng(1))
    first = np.unique(arrived.event, return_index=True)[1]
    depth = material * 0.4
    # Photons below the threshold stay: 4/3 * 0.1 GeV per radiation length.
    assert arrived.energy[first].mean() / 50.0 == pytest.approx(np.exp(-depth), abs=0.015)
    total = np.bincount(arrived.event, arrived.energy, n)
    np.testing.assert_allclose(total, 50.0, rtol=1e-6)


def test_photons_convert_as_the_exponential_says():
    n = 4000
    arrived, conversions = cascade(beam(n, charge=0.0), Tracker(field=0.0), np.random.default_rng(2))
    assert (conversions > 0).mean() == pytest.approx(1 - np.exp(-7 / 9 * 0.4), abs=0.025)
    unconverted = conversions == 0
    assert (np.bincount(arrived.event, minlength=n)[unconverted] == 1).all()
    np.testing.assert_allclose(np.bincount(arrived.event, arrived.energy, n), 50.0, rtol=1e-6)
    charge = np.bincount(arrived.event, arrived.charge, n)
    np.testing.assert_array_equal(charge, 0)


def test_without_material_nothing_happens():
    for charge in (-1.0, 0.0):
        arrived, conversions = cascade(
            beam(50, charge=charge), Tracker(material=0.0), np.random.default_rng(3)
        )
        assert arrived.energy.tolist() == [50.0] * 50
        assert not conversions.any()


def test_radiated_photons_fly_along_the_tangent():
    """They stay behind the electron, which goes on to larger azimuth."""
    arrived, _ = cascade(beam(2000), Tracker(material=0.2), np.random.default_rng(4))
    photons = arrived.charge == 0
    assert photons.sum() > 100
    assert (arrived.phi[photons] >= -0.3).all()
    assert np.median(arrived.phi[photons]) < np.median(arrived.phi[~photons])
    assert arrived.phi[~photons].min() > -0.5
