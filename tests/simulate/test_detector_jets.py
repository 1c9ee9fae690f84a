"""The detector for jets: geometry, bending, conservation of energy, thresholds."""

from dataclasses import replace

import numpy as np
import pytest

from calowatch.simulate.detector_jets import JetDetector, at_calorimeter, measure, see
from calowatch.simulate.jets_events import CHARGED, ELECTRON, MUON, NEUTRAL, PHOTON, Particles
from calowatch.simulate.jets_images import UNIT, full_image, picture, tower_coordinate

QUIET = JetDetector.ideal()


def particles(pt, eta, phi, kind, charge=None):
    """Return particles of one jet."""
    n = len(pt)
    charge = np.zeros(n) if charge is None else charge
    singles = (np.asarray(part, np.float32) for part in (pt, eta, phi))
    return Particles(
        np.array([0, n]),
        *singles,
        np.zeros(n, np.float32),
        np.asarray(kind, np.int8),
        np.asarray(charge, np.int8),
    )


def seen(given, detector, seed=0):
    return see(given, np.zeros(len(given.pt)), detector, np.random.default_rng(seed))


def test_towers_have_the_edges_of_the_hcal():
    assert tower_coordinate(np.array([0.087, -0.174, 1.74])).round(6).tolist() == [1, -2, 20]
    assert np.abs(tower_coordinate(np.array([3.2]))) > 100
    at = np.linspace(-2.9, 2.9, 301)
    assert (np.diff(tower_coordinate(at)) > 0).all()


def test_neutral_particles_fly_straight_and_charged_ones_bend_by_their_charge():
    pt, phi = np.array([5.0, 5.0, 5.0]), np.zeros(3)
    eta, turned = at_calorimeter(pt, np.full(3, 0.5), phi, np.array([0, 1, -1], np.int8), np.zeros(3))
    assert eta[0] == pytest.approx(0.5)
    assert turned[0] == 0
    # sin(turn) = 0.3 B R / (2 pT)
    assert np.sin(-turned[1]) == pytest.approx(0.3 * 3.8 * 1.29 / 2 / 5)
    assert turned[2] == -turned[1]
    assert eta[1] > 0.5  # its way to the barrel is longer


def test_soft_particles_curl_up_and_forward_ones_reach_the_endcap():
    charge = np.ones(2, np.int8)
    eta, _ = at_calorimeter(np.array([0.5, 0.5]), np.array([0.1, 2.4]), np.zeros(2), charge, np.zeros(2))
    assert np.isnan(eta[0])
    assert 1.48 < eta[1] < 3
    hard, _ = at_calorimeter(np.full(2, 500.0), np.array([1.0, 2.2]), np.zeros(2), charge, np.zeros(2))
    assert hard == pytest.approx([1.0, 2.2], abs=2e-3)
    moved, _ = at_calorimeter(
        np.full(1, 10.0), np.zeros(1), np.zeros(1), np.zeros(1, np.int8), np.full(1, 0.129)
    )
    assert np.sinh(moved[0]) == pytest.approx(0.1)


def test_an_ideal_detector_keeps_all_energy():
    given = particles(
        [30.0, 20.0, 40.0, 10.0], [0.2, 0.21, 0.25, 0.1], [0.3, 0.35, 0.28, 0.3], [PHOTON, NEUTRAL, CHARGED, ELECTRON],
        [0, 0, 1, -1],
    )  # fmt: skip
    found = seen(given, QUIET)
    energy = given.pt * np.cosh(given.eta)
    assert found.ecal + found.hcal == pytest.approx(energy, rel=1e-5)
    assert found.hcal[0] == found.hcal[3] == 0
    assert found.track_pt.tolist() == [0, 0, 40, 10]
    images = picture(found, (np.array([0.2]), np.array([0.3])), QUIET, np.random.default_rng(0))
    whole = full_image(images.fine, images.towers)
    assert whole[0, 0].sum() * UNIT == pytest.approx(50, rel=1e-4)
    assert whole[0, 1:].sum() * UNIT == pytest.approx(energy.sum(), rel=1e-4)


def test_showers_keep_their_energy_on_average():
    n = 20_000
    for kind, width in ((PHOTON, 0.02), (NEUTRAL, 0.2)):
        given = particles(np.full(n, 50.0), np.zeros(n), np.zeros(n), np.full(n, kind))
        found = seen(given, JetDetector())
        assert found.shower.mean() == pytest.approx(50, rel=0.01)
        assert found.shower.std() / 50 < width
    hadron = (found.ecal + found.hcal).mean() / 50
    assert 0.7 < hadron < 0.85  # test beam: three quarters at 50 GeV


def test_a_muon_leaves_what_it_ionises():
    found = seen(particles([40.0], [0.3], [0.0], [MUON], [1]), JetDetector())
    assert found.ecal[0] == pytest.approx(0.3)
    assert found.hcal[0] == pytest.approx(2.0)
    assert len(measure(found).pt) == int(found.tracked[0])


def test_photons_are_narrow_and_hadrons_wide():
    n = 400
    for kind, least, most in ((PHOTON, 0.92, 0.99), (NEUTRAL, 0.3, 0.85)):
        given = particles(np.full(n, 0.5), np.full(n, 0.5), np.full(n, 1.0), np.full(n, kind))
        detector = replace(QUIET, fluctuate=True, spread=True)
        images = picture(
            seen(given, detector), (np.array([0.5]), np.array([1.0])), detector, np.random.default_rng(0)
        )
        ecal = images.fine[0, 1]
        row, column = np.unravel_index(ecal.argmax(), ecal.shape)
        rows, columns = np.indices(ecal.shape)
        near = np.hypot(rows - row, columns - column) < 2.2
        assert least < ecal[near].sum() / ecal.sum() < most


def test_the_hottest_tower_near_the_axis_is_the_centre():
    given = particles([60.0, 80.0, 300.0], [0.3, 0.48, 1.3], [0.3, 0.3, 0.3], [NEUTRAL] * 3)
    detector = QUIET
    # In ECAL or HCAL, by chance: take a draw in which the second one is deep.
    for seed in range(20):
        found = seen(given, detector, seed)
        if found.hcal[1] > 1.5 * found.hcal[0]:
            break
    images = picture(found, (np.array([0.3]), np.array([0.3])), detector, np.random.default_rng(0))
    assert images.ieta[0] == 6  # 0.48 is in tower 6, 0.3 in tower 4; the third is out of reach
    assert images.iphi[0] == int(0.3 / (2 * np.pi) * 72) + 1
    assert images.towers[0, 12, 12] == images.towers[0, 9:16, 9:16].max()


@pytest.mark.parametrize("phi", [-np.pi + 0.01, -0.01, 0.01, np.pi - 0.01])
def test_images_go_round_the_beam(phi):
    given = particles(
        [50.0, 5.0, 5.0], [0.04, 0.04, 0.04], [phi, phi + 0.3, phi - 0.3], [CHARGED] * 3, [1, 1, 1]
    )
    detector = QUIET
    images = picture(
        seen(given, detector), (np.array([0.04]), np.array([phi])), detector, np.random.default_rng(0)
    )
    assert np.count_nonzero(images.fine[0, 0]) == 3
    assert images.fine[0, 0].sum() * UNIT == pytest.approx(60)


def test_jets_too_far_out_have_no_image():
    given = particles([100.0], [1.45], [0.0], [NEUTRAL])
    detector = QUIET
    images = picture(
        seen(given, detector), (np.array([1.45]), np.array([0.0])), detector, np.random.default_rng(0)
    )
    assert images.ieta[0] == 17
    assert not images.inside[0]


def test_noise_passes_the_threshold_as_often_as_a_normal_distribution_says():
    nothing = particles([], [], [], [])
    given = Particles(np.zeros(41, np.int64), *(getattr(nothing, name) for name in ("pt", "eta", "phi")),
                      nothing.radius, nothing.kind, nothing.charge)  # fmt: skip
    detector = JetDetector(readout=0.0)
    images = picture(seen(given, detector), (np.zeros(40), np.zeros(40)), detector, np.random.default_rng(0))
    ecal = images.fine[:, 1]
    assert np.count_nonzero(ecal) / ecal.size == pytest.approx(0.00135, rel=0.1)
    assert ecal[ecal > 0].min() * UNIT > 3 * 0.04
    assert images.towers[images.towers > 0].min(initial=1) * UNIT > 0.35
    quiet = picture(
        seen(given, JetDetector()), (np.zeros(40), np.zeros(40)), JetDetector(), np.random.default_rng(0)
    )
    assert not quiet.fine[:, 1].any()  # no 5 x 5 of them is worth reading out


def test_tracks_are_lost_and_measured_as_well_as_the_tracker_can():
    n = 20_000
    given = particles(np.full(n, 10.0), np.full(n, 0.2), np.zeros(n), np.full(n, CHARGED), np.ones(n))
    found = seen(given, JetDetector(track_outliers=0.0))
    assert found.tracked.mean() == pytest.approx(0.92, abs=0.01)
    assert found.track_pt[found.tracked].std() / 10 == pytest.approx(0.0083, rel=0.1)
    late = Particles(
        given.offsets, given.pt, given.eta, given.phi, np.full(n, 600, np.float32), given.kind, given.charge
    )
    assert not seen(late, JetDetector()).tracked.mean() > 0.01
