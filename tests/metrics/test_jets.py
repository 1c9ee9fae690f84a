"""Observables of jets: against hand-made images, a slow reference, and symmetries."""

import numpy as np
import pytest

from calowatch.metrics.jets import JET_OBSERVABLES, PIXEL, jet_observables, jet_table


def measured(images):
    return dict(zip(JET_OBSERVABLES, jet_observables(images).T, strict=True))


def random_images(n=5, seed=0):
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((125, 125))
    near = np.exp(-(((rows - 62) ** 2 + (columns - 62) ** 2) / 200.0))
    return np.where(rng.random((n, 3, 125, 125)) < 0.3 * near, rng.exponential(0.05, (n, 3, 125, 125)), 0)


def test_two_tracks():
    image = np.zeros((1, 3, 125, 125))
    image[0, 0, 62, [52, 72]] = 0.3
    found = measured(image)
    assert found["multiplicity"][0] == found["all_tracks"][0] == 2
    assert found["width"][0] == pytest.approx(10 * PIXEL)
    assert found["major"][0] == pytest.approx(10 * PIXEL)
    assert found["minor"][0] == pytest.approx(0, abs=1e-6)
    assert found["leading"][0] == found["second"][0] == pytest.approx(0.5)
    assert found["tracks"][0] == pytest.approx(0.6)
    assert found["em_share"][0] == 0
    assert found["charged_share"][0] == 1


def test_soft_tracks_are_no_multiplicity_and_far_ones_are_pileup():
    image = np.zeros((1, 3, 125, 125))
    image[0, 0, 62, 62] = 0.5
    image[0, 0, 60, 60] = 0.005
    image[0, 0, 5, 5] = 0.02
    found = measured(image)
    assert found["multiplicity"][0] == 1
    assert found["all_tracks"][0] == 3
    assert found["outside_number"][0] == 1
    assert found["outside_tracks"][0] == pytest.approx(0.02)
    assert found["leading"][0] == 1
    assert found["second"][0] == 0


def test_against_a_slow_reference():
    images = random_images()
    found = measured(images)
    for number, image in enumerate(images):
        eta, phi = (part.astype(float) * PIXEL for part in np.indices((125, 125)) - 62)
        for _ in range(2):
            near = np.hypot(eta, phi) < 0.4
            weight = (np.where(image[0] > 0.01, image[0], 0) + image[1] + image[2]) * near
            shift = (weight * eta).sum() / weight.sum(), (weight * phi).sum() / weight.sum()
            eta, phi = eta - shift[0], phi - shift[1]
        distance = np.hypot(eta, phi)
        hard = np.where((image[0] > 0.01) & (distance < 0.5), image[0], 0)
        assert found["multiplicity"][number] == np.count_nonzero(hard)
        assert found["width"][number] == pytest.approx((hard * distance).sum() / hard.sum(), rel=1e-5)
        assert found["ptd"][number] == pytest.approx(np.sqrt((hard**2).sum()) / hard.sum(), rel=1e-5)
        ecal = image[1] * (distance < 0.5)
        assert found["ecal"][number] == pytest.approx(ecal.sum(), rel=1e-5)
        assert found["ecal_core"][number] == pytest.approx(ecal[distance < 0.1].sum() / ecal.sum(), rel=1e-5)
        assert found["leading"][number] == pytest.approx(hard.max() / hard.sum(), rel=1e-5)
        assert found["ring_3"][number] == pytest.approx(hard[distance < 0.2].sum() / hard.sum(), rel=1e-5)


def test_mirrored_images_have_the_same_observables():
    images = random_images()
    mirrored = jet_observables(images[:, :, ::-1, ::-1])
    assert mirrored == pytest.approx(jet_observables(images), rel=1e-4, abs=1e-6)


def test_empty_images_give_zero_and_all_is_finite():
    images = np.concatenate([np.zeros((1, 3, 125, 125)), random_images(2)])
    found = jet_observables(images)
    assert np.isfinite(found).all()
    assert found[0].tolist() == [0] * len(JET_OBSERVABLES)
    assert jet_observables(images[:0]).shape == (0, len(JET_OBSERVABLES))


def test_the_table_has_the_scalars_too():
    names, values = jet_table(random_images(3), np.ones((3, 2)))
    assert names == (*JET_OBSERVABLES, "scalar 0", "scalar 1")
    assert values.shape == (3, len(names))
    assert (values[:, -2:] == 1).all()


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="125"):
        jet_observables(np.zeros((2, 3, 64, 64)))


def test_no_observable_is_there_twice():
    found = jet_observables(random_images(20))
    assert len(set(map(bytes, found.T.copy()))) == len(JET_OBSERVABLES) == 29
