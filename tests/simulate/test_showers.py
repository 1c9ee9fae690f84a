"""Showers in crystals against their own paper's numbers, integrals done by hand, and what test beams saw."""

import numpy as np
import pytest
from scipy import special

from calowatch.simulate.showers import (
    LEAD_TUNGSTATE,
    contained,
    corner_share,
    draw_profiles,
    mean_maximum,
    radial,
    slice_depths,
    spots,
)
from calowatch.simulate.showers_crystals import Entries, Grid, deposit


def profiles(energy, n=4000, seed=1):
    return draw_profiles(np.full(n, float(energy)), np.random.default_rng(seed))


def electrons(energy, x, y=0.5, n=1, photon=False):
    one, none = np.ones(n), np.zeros(n)
    return Entries(energy * one, x * one, y * one, none, none, np.full(n, photon))


def test_the_maximum_goes_with_the_logarithm_of_energy():
    energies = np.geomspace(2.0, 200.0, 6)
    found = [profiles(energy).maximum.mean() for energy in energies]
    slope, offset = np.polyfit(np.log(energies), found, 1)
    assert slope == pytest.approx(1.0, abs=0.06)
    assert np.polyval([slope, offset], np.log(50.0)) == pytest.approx(float(mean_maximum(50.0)), abs=0.25)


@pytest.mark.parametrize("energy", [5.0, 50.0, 100.0])
def test_ninety_per_cent_are_within_one_moliere_radius(energy):
    profile = profiles(energy)
    widths = radial(slice_depths(profile, 12) / profile.maximum, np.full(4000, energy))
    assert widths.within(1.0).mean() == pytest.approx(0.90, abs=0.02)
    assert widths.within(3.5).mean() > 0.98


def test_fluctuations_of_depth_and_shape_go_together():
    profile = profiles(50.0)
    assert np.corrcoef(np.log(profile.maximum), np.log(profile.alpha))[0, 1] == pytest.approx(0.506, abs=0.05)
    still = draw_profiles(np.full(9, 50.0), np.random.default_rng(0), spread=0.0)
    assert np.ptp(still.maximum) == 0


@pytest.mark.parametrize("energy", [1.0, 50.0])
def test_slices_are_quantiles_of_the_profile(energy):
    profile = profiles(energy, n=200)
    exact = special.gammaincinv(profile.alpha, (np.arange(6)[:, None] + 0.5) / 6) / profile.beta
    np.testing.assert_allclose(slice_depths(profile, 6), exact, rtol=0.03)


def test_what_is_contained_is_the_integral_of_the_profile():
    profile = profiles(50.0, n=3)
    depth = np.linspace(0, 25.8, 20001)[:, None]
    rate = profile.beta * (profile.beta * depth) ** (profile.alpha - 1) * np.exp(-profile.beta * depth)
    whole = np.trapezoid(rate / special.gamma(profile.alpha), depth, axis=0)
    np.testing.assert_allclose(contained(profile, 25.8), whole, rtol=1e-4)
    assert contained(profile, -1.0).tolist() == [0, 0, 0]


def test_a_rectangle_holds_the_integral_of_the_density():
    x, y, r = np.linspace(0.3, 1.4, 801), np.linspace(-0.8, 0.5, 801), 0.7
    density = r**2 / (np.pi * (x[:, None] ** 2 + y**2 + r**2) ** 2)
    numeric = np.trapezoid(np.trapezoid(density, y, axis=1), x)
    corners = corner_share(x[[0, -1]].astype(np.float32), y[[0, -1]].astype(np.float32), np.float32(r))
    assert np.diff(np.diff(corners, axis=1), axis=0).item() == pytest.approx(numeric, rel=1e-3)


def test_energy_is_kept():
    """What is in the crystals is what was shot in, less what leaves by the back and the sides."""
    entries = electrons(50.0, 0.3, n=400)
    found = deposit(entries, np.random.default_rng(2))
    whole = found.energy.sum(axis=(1, 2))
    assert (found.energy >= 0).all()
    assert whole.max() <= 50.0 * (1 + 1e-5)
    assert whole.mean() / 50.0 == pytest.approx(0.99, abs=0.006)
    wide = deposit(entries, np.random.default_rng(2), Grid(size=31)).energy.sum(axis=(1, 2))
    leak = 1 - contained(profiles(50.0), LEAD_TUNGSTATE.depth).mean()
    assert wide.mean() / 50.0 == pytest.approx(1 - leak, abs=0.003)


def test_shares_of_the_central_crystals_are_those_of_test_beams():
    """Some 78 % in the crystal that is hit in its middle, 94 % in nine, 97 % in twenty-five."""
    mean = deposit(electrons(50.0, 0.5, n=500), np.random.default_rng(3)).energy.mean(axis=0) / 50.0
    sums = [mean[6 - reach : 7 + reach, 6 - reach : 7 + reach].sum() for reach in (0, 1, 2)]
    np.testing.assert_allclose(sums, [0.78, 0.94, 0.97], atol=0.025)


def test_the_square_follows_the_entry():
    found = deposit(electrons(20.0, -3.2, 7.9), np.random.default_rng(4), Grid(7, 3))
    assert (found.x[0], found.y[0]) == (-4 - 3, 7 - 3)
    row, column = np.unravel_index(found.energy[0].argmax(), (7, 7))
    assert (row + found.x[0], column + found.y[0]) == (-4, 7)


def test_photons_start_deeper_and_leak_more():
    ways = [
        deposit(electrons(50.0, 0.5, n=3000, photon=photon), np.random.default_rng(5), Grid(7, 3))
        for photon in (0, 1)
    ]
    electron, photon = (way.energy.sum(axis=(1, 2)).mean() for way in ways)
    assert 0 < electron - photon < 0.03 * electron


@pytest.mark.parametrize("energy", [20.0, 120.0])
def test_positions_are_measured_as_in_test_beams(energy):
    """5 mm / sqrt(E), from the mean of 5 x 5 with logarithmic weights, its known bias within a crystal taken off."""
    rng = np.random.default_rng(6)
    true = rng.random(3000)
    shares = deposit(electrons(energy, true, n=3000), rng).energy[:, 4:9, 4:9]
    shares = shares / shares.sum(axis=(1, 2), keepdims=True)
    weight = np.maximum(4.2 + np.log(np.maximum(shares, 1e-9)), 0)
    measured = (weight.sum(axis=2) @ np.arange(-2.0, 3.0)) / weight.sum(axis=(1, 2))
    order = np.argsort(measured)
    smooth = np.convolve(true[order], np.ones(101) / 101, mode="valid")
    sigma = np.std(true[order][50:-50] - smooth) * 23.3
    assert sigma == pytest.approx(5.0 / np.sqrt(energy), rel=0.25)


def test_larger_showers_fluctuate_less():
    assert spots(np.array([50.0]))[0] == pytest.approx(93 * np.log(68.36) * 50**0.876)
    spread = [
        np.std(deposit(electrons(e, 0.02, n=800), np.random.default_rng(7)).energy[:, 6, 6] / e)
        for e in (2.0, 50.0)
    ]
    assert spread[0] > 2 * spread[1]


def test_nothing_gives_nothing():
    assert deposit(electrons(5.0, 0.5, n=0), np.random.default_rng(0)).energy.shape == (0, 13, 13)
