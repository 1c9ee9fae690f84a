"""Observables of showers against sums written out, and what mirrors and scales do to them."""

import numpy as np
import pytest

from calowatch.metrics.showers import SHOWER_OBSERVABLES, shower_observables, shower_table

ODD_IN_PHI = ("covariance", "mean_phi", "skew_phi", "asymmetry_phi", "near_asymmetry_phi", "largest_distance")
ODD_IN_ETA = ("covariance", "asymmetry_eta", "near_asymmetry_eta")
ENERGIES = ("energy", "e1", "e9", "e25")


def showers(n=40, seed=0):
    """Images whose seed stands out, all within 31 x 31 so that they can be mirrored about it."""
    rng = np.random.default_rng(seed)
    images = np.zeros((n, 2, 32, 32), np.float32)
    far = np.hypot(*np.meshgrid(np.arange(31) - 15, np.arange(31) - 15))
    energy = np.exp(-far) * rng.gamma(2.0, 0.5, (n, 31, 31)) * (rng.random((n, 31, 31)) < 0.5)
    images[:, 0, :31, :31] = energy
    images[:, 0, 15, 15] = energy.max(axis=(1, 2)) + 1
    images[:, 1, :31, :31] = np.where(energy > 0, rng.normal(0, 0.3, energy.shape), 0)
    return images


def named(images):
    return dict(zip(SHOWER_OBSERVABLES, shower_observables(images).T.astype(float), strict=True))


def mirrored(images, axis):
    wide = np.zeros_like(images)
    wide[..., :31, :31] = np.flip(images[..., :31, :31], axis)
    return wide


def test_sums_are_sums():
    images = showers()
    energy, found = images[:, 0].astype(float), named(images)
    nine, many = (energy[:, 15 - r : 16 + r, 15 - r : 16 + r].sum(axis=(1, 2)) for r in (1, 2))
    np.testing.assert_allclose(found["e9"], nine, rtol=1e-5)
    np.testing.assert_allclose(found["ring"], (many - nine) / energy.sum(axis=(1, 2)), rtol=1e-4)
    np.testing.assert_allclose(found["r9"], nine / energy.sum(axis=(1, 2)), rtol=1e-5)
    second = np.sort(energy.reshape(len(energy), -1))[:, -2]
    np.testing.assert_allclose(found["second_over_first"], second / energy[:, 15, 15], rtol=1e-5)
    np.testing.assert_array_equal(found["hits"], (energy != 0).sum(axis=(1, 2)))
    right, left = energy[:, 13:18, 18:].sum(axis=(1, 2)), energy[:, 13:18, :13].sum(axis=(1, 2))
    np.testing.assert_allclose(found["right_phi"], right / energy.sum(axis=(1, 2)), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found["left_phi"], left / energy.sum(axis=(1, 2)), rtol=1e-4, atol=1e-7)


def test_one_pixel_beside_the_seed():
    images = np.zeros((1, 2, 32, 32))
    images[0, 0, 15, 15], images[0, 0, 15, 20] = 3.0, 1.0
    images[0, 1, 15, 15], images[0, 1, 15, 20] = 0.1, -0.4
    found = {name: values[0] for name, values in named(images).items()}
    assert found["mean_phi"] == pytest.approx(1.25)
    assert found["width_phi"] == pytest.approx(2.5)
    assert found["width_eta"] == 0
    assert found["asymmetry_phi"] == pytest.approx(0.25)
    assert (found["largest_outside"], found["largest_distance"]) == pytest.approx((0.25, 5))
    assert found["time_mean"] == pytest.approx(0.1)
    assert found["time_outside"] == pytest.approx(0.4)
    assert (found["hits"], found["strong_hits"]) == (2, 2)


@pytest.mark.parametrize(("axis", "odd"), [(-1, ODD_IN_PHI), (-2, ODD_IN_ETA)])
def test_mirrors_turn_the_sign_of_what_is_odd(axis, odd):
    images = showers()
    before, after = named(images), named(mirrored(images, axis))
    for name in SHOWER_OBSERVABLES:
        if axis == -1 and name in ("left_phi", "right_phi"):
            other = "right_phi" if name == "left_phi" else "left_phi"
            np.testing.assert_allclose(after[name], before[other], rtol=1e-4, atol=1e-6)
            continue
        sign = -1 if name in odd else 1
        np.testing.assert_allclose(after[name], sign * before[name], rtol=1e-4, atol=2e-5, err_msg=name)


def test_scale_of_energy_matters_to_energies_only():
    images = showers()
    double = images.copy()
    double[:, 0] *= 2
    before, after = named(images), named(double)
    for name in SHOWER_OBSERVABLES:
        scale = 2 if name in ENERGIES else 1
        np.testing.assert_allclose(after[name], scale * before[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_empty_images_give_zeros():
    assert not shower_observables(np.zeros((3, 2, 32, 32))).any()
    assert shower_observables(np.zeros((0, 2, 32, 32))).shape == (0, len(SHOWER_OBSERVABLES))


def test_images_are_not_changed_and_not_taken_in_other_shapes():
    images = showers(3)
    before = images.copy()
    names, values = shower_table(images, np.empty((3, 0)))
    np.testing.assert_array_equal(images, before)
    assert (names, values.shape) == (SHOWER_OBSERVABLES, (3, len(SHOWER_OBSERVABLES)))
    with pytest.raises(ValueError, match="shape"):
        shower_observables(np.zeros((3, 32, 32, 2)))


def test_pieces_do_not_matter():
    images = np.tile(showers(5), (300, 1, 1, 1))
    np.testing.assert_array_equal(shower_observables(images)[-5:], shower_observables(images[:5]))
