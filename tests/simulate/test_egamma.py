"""Images of electrons and photons: what they look like, and why the classes differ."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from calowatch.core.errors import InputError
from calowatch.io import egamma as read
from calowatch.metrics.ranking import roc_auc
from calowatch.metrics.showers import SHOWER_OBSERVABLES, shower_observables
from calowatch.simulate.chunks import Chunk
from calowatch.simulate.egamma import CLASSES, EgammaSettings, dense, generate, make_chunk
from calowatch.simulate.egamma_readout import Readout, crop, measure, read_out, times
from calowatch.simulate.egamma_tracker import Tracker

PUBLISHED = Path(__file__).parents[2] / ".." / "shared" / "data" / "egamma"


def some(kind, n=1500, seed=1, **settings):
    return generate(kind, n, EgammaSettings(**settings), np.random.default_rng([seed, CLASSES.index(kind)]))


def observables(events):
    return shower_observables(np.stack([events.energy, events.time], axis=1))


@pytest.fixture(scope="module")
def electrons():
    return some("electron", 2000)


@pytest.fixture(scope="module")
def photons():
    return some("photon", 2000)


def test_images_are_those_of_the_published_layout(electrons, photons):
    for events in (electrons, photons):
        full = events.energy[(events.energy != 0).any(axis=(1, 2))]
        assert (full.reshape(len(full), -1).argmax(axis=1) == 15 * 32 + 15).all()
        assert events.energy.dtype == events.time.dtype == np.float32
        assert events.energy.min() == 0
        assert 1.2 < events.energy.max() < 1.6
        assert -2.61 < events.time.min() < -1.8
        assert 1.8 < events.time.max() < 2.41
        assert not ((events.energy == 0) & (events.time != 0)).any()


def test_sparsity_is_the_published_one(electrons, photons):
    share = np.mean([(events.energy != 0).mean() for events in (electrons, photons)])
    assert share == pytest.approx(0.055, abs=0.002)


def test_labels_are_those_that_are_read():
    assert CLASSES is read.CLASSES


def test_truth_says_what_happened(electrons, photons):
    assert set(electrons.truth) == {"pt", "eta", "phi", "charge", "conversions", "brems", "empty"}
    assert (electrons.truth["charge"] == -1).all()
    assert not photons.truth["brems"].any()
    assert not electrons.truth["empty"].any()
    assert 0.3 < electrons.truth["brems"].mean() < 0.6
    assert ((electrons.truth["brems"] >= 0) & (electrons.truth["brems"] <= 1)).all()
    assert np.abs(electrons.truth["eta"]).max() < 1.25


def test_energy_in_the_image_is_that_of_the_particle():
    """Without material and noise: what is missing leaks out of the back and the sides."""
    quiet = Readout(noise=1e-6)
    events = some("electron", 400, tracker=Tracker(material=0), readout=quiet)
    true = 0.02 * 50.0 * np.cosh(events.truth["eta"])
    assert (events.energy.sum(axis=(1, 2)) / true).mean() == pytest.approx(0.985, abs=0.01)
    assert np.std(events.energy.sum(axis=(1, 2)) / true) < 0.02


def test_photons_are_empty_as_often_as_asked():
    assert some("photon", 500, empty_share=0.1).truth["empty"].sum() == pytest.approx(50, abs=20)
    off = some("photon", 200, empty_share=0.0)
    assert (off.energy != 0).any(axis=(1, 2)).all()
    assert EgammaSettings().without_empty().empty_share == 0


def linear_auc(settings, n=1500):
    """AUC of a linear model on all observables, learned on one half."""
    x, y = [], []
    for label, kind in enumerate(CLASSES):
        x.append(observables(some(kind, n, 11, **settings)))
        y.append(np.full(n, label))
    table, labels = StandardScaler().fit_transform(np.concatenate(x)), np.concatenate(y)
    half = np.arange(2 * n) % 2 == 0
    model = LogisticRegression(max_iter=300, C=0.1).fit(table[half], labels[half])
    return roc_auc(labels[~half] == 1, model.decision_function(table[~half]))


def test_classes_are_equal_without_material_and_field():
    """The error of an AUC of 0.5 with 1500 + 1500 test images is 0.0105."""
    auc = linear_auc({"tracker": Tracker(material=0, field=0), "empty_share": 0.0})
    assert auc == pytest.approx(0.5, abs=3 * 0.0105)


def test_classes_differ_with_material_and_field():
    assert 0.66 < linear_auc({"empty_share": 0.0}) < 0.82


def test_asymmetry_along_iphi_grows_with_material():
    """Electrons radiate, bend away, and leave more on one side; photons only as much as their pairs do."""
    found = []
    for material in (0.0, 0.5, 1.5):
        table = observables(some("electron", 1500, tracker=Tracker(material=material)))
        column = dict(zip(SHOWER_OBSERVABLES, table.T, strict=True))
        found.append((column["right_phi"] - column["left_phi"]).mean())
    assert found[0] < 0.002 < found[1] < found[2], found


def test_positrons_are_mirror_images_of_electrons():
    both = some("electron", 2000, seed=4, charge="both")
    charge = both.truth["charge"]
    assert (charge > 0).mean() == pytest.approx(0.5, abs=0.04)
    table = dict(zip(SHOWER_OBSERVABLES, observables(both).T, strict=True))
    tail = table["right_phi"] - table["left_phi"]
    assert tail[charge < 0].mean() > 0 > tail[charge > 0].mean()


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published mean images are not at hand")
@pytest.mark.parametrize("kind", CLASSES)
def test_mean_images_are_near_the_published_ones(kind, electrons, photons):
    """Read off figures of 8 bits; there the seed is drawn at [16, 16]. Within 0.03 of the seed's mean everywhere."""
    published = np.load(PUBLISHED / f"egamma_{kind}_energy_mean_rel.npy")[1:, 1:]
    mean = (electrons if kind == "electron" else photons).energy.mean(axis=0)
    mean = (mean / mean.max())[:31, :31]
    assert np.abs(mean - published).max() < 0.03
    near = mean[15, 12:19], published[15, 12:19]
    np.testing.assert_allclose(*near, atol=0.03)
    if kind == "electron":
        assert mean[15, 14] > mean[15, 13] * 4
        assert mean[15, 17] > 1.2 * mean[15, 13]
        assert published[15, 17] > 1.2 * published[15, 13]


def test_chunks_come_back_dense():
    settings = EgammaSettings()
    chunk = Chunk(3, 0, 40, seed=8, stream=1)
    arrays = make_chunk(settings, chunk)
    events = generate("electron", 40, settings, chunk.rng())
    np.testing.assert_array_equal(dense(arrays), np.stack([events.energy, events.time], axis=-1))
    np.testing.assert_array_equal(arrays["truth_eta"], events.truth["eta"])


@pytest.mark.parametrize(
    "wrong", [{"pt": 0.1}, {"eta_max": 2.0}, {"charge": "plus"}, {"tracker": Tracker(material=-1)}]
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(InputError):
        EgammaSettings(**wrong)


def test_the_crop_follows_the_largest_crystal():
    canvas = np.zeros((2, 40, 60), np.float32)
    canvas[0, 3, 58] = canvas[1, 20, 30] = 5.0
    canvas[1, 22, 27] = 1.0
    images, row, column = crop(canvas)
    assert images[:, 15, 15].tolist() == [5, 5]
    assert images[1, 17, 12] == 1
    assert (row.tolist(), column.tolist()) == ([-12, 5], [43, 15])
    assert images.sum() == 11


def test_towers_of_interest_are_read_whole():
    """A seed in the middle of its tower: 15 x 15 crystals are read at low threshold."""
    energy = np.full((1, 32, 32), 0.06, np.float32)
    energy[0, 15, 15] = 50.0
    first = (np.array([2]), np.array([2]))
    hit = read_out(energy, first, np.ones(1), Readout())[0]
    assert hit.sum() == 225
    assert hit[8:23, 8:23].all()
    high = read_out(energy, first, np.ones(1), Readout(high=100.0))[0]
    assert high.sum() == 25
    assert read_out(energy, first, np.ones(1), Readout(high=100.0, medium=100.0)).sum() == 1


def test_light_and_time_spread_as_energy_says():
    rng = np.random.default_rng(9)
    energy = np.full(20000, 10.0, np.float32)
    measured = measure(energy, Readout(), rng)
    assert measured.std() == pytest.approx(np.hypot(np.sqrt(2 * 10 / 4500), 0.05), rel=0.03)
    assert times(energy, Readout(), rng).std() == pytest.approx(np.hypot(0.1404, 0.028), rel=0.03)
