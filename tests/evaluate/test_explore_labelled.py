"""Exploring labelled images: numbers against the whole array, the page, and what is no such image."""

import json

import h5py
import numpy as np
import pytest

import calowatch
from calowatch.cli import main
from calowatch.core.errors import InputError
from calowatch.core.progress import SilentProgress
from calowatch.core.training import ImageDataRecipe
from calowatch.data.image_sets import open_images
from calowatch.evaluate.explore import ExploreSettings
from calowatch.evaluate.explore_labelled import labelled_kind, labelled_numbers, open_labelled
from calowatch.io.images import write_images
from calowatch.io.jets import write_jets
from calowatch.metrics.ranking import roc_auc
from calowatch.metrics.showers import SHOWER_OBSERVABLES, shower_observables
from calowatch.present import panels_page
from calowatch.present.explore_labelled import labelled_page
from calowatch.present.image_panels import ImagePanel, image_figure
from calowatch.present.image_panels import write_images as draw_images
from calowatch.simulate.egamma import EgammaSettings
from calowatch.simulate.egamma_files import EgammaRequest, simulate_egamma


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CALOWATCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("explore")
    simulate_egamma(EgammaRequest(240, out, 3, EgammaSettings(empty_share=0.02)))
    return out


@pytest.fixture(scope="module")
def given(folder):
    data, notes = open_labelled("egamma", [folder])
    return data, labelled_numbers(data, notes)


def test_numbers_are_those_of_the_whole_array(given):
    data, found = given
    images = data.images.read(np.arange(len(data)))
    assert found.n.tolist() == np.bincount(data.labels).tolist()
    for label in (0, 1):
        mine = images[data.labels == label]
        np.testing.assert_allclose(found.mean[label], mine.mean(axis=0), rtol=1e-4, atol=1e-8)
        np.testing.assert_allclose(found.frequency[label], (mine != 0).mean(axis=0))
        np.testing.assert_allclose(found.ends[:, label, 1], [mine[:, 1].min(), mine[:, 1].max()])
        filled = (mine[:, 0] != 0).sum() / len(mine)
        assert found.spectra[0].height[label].sum() == pytest.approx(filled)
    assert [each.log for each in found.spectra] == [True, False]
    assert "empty" in found.notes[0]


def test_observables_come_with_their_auc(given):
    data, found = given
    table, spectra = found.observables
    values = shower_observables(data.images.read(np.arange(len(data))))
    assert sorted(table["observable"]) == sorted(SHOWER_OBSERVABLES)
    for row in table.to_dict("records"):
        column = values[:, SHOWER_OBSERVABLES.index(row["observable"])]
        assert row["auc"] == pytest.approx(roc_auc(data.labels == 1, column))
    far = (table["auc"] - 0.5).abs()
    assert far.is_monotonic_decreasing
    assert set(spectra) == set(SHOWER_OBSERVABLES)


def test_ratio_is_known_where_both_have_hits(given):
    found = given[1]
    ratio = found.ratio(0)
    assert ratio[15, 15] == pytest.approx(np.log(found.mean[1, 0, 15, 15] / found.mean[0, 0, 15, 15]))
    assert np.isnan(ratio[0, 0])


def test_one_class_alone_has_no_ratio_and_no_auc(folder):
    data, _ = open_labelled("egamma", [next(folder.glob("*Electron*"))])
    found = labelled_numbers(data)
    assert found.present == [1]
    assert found.ratio(0) is None
    assert found.observables[0]["auc"].isna().all()
    assert labelled_page(found, {}).title == "Exploration: electron"


def test_the_verb_writes_page_numbers_and_figures(folder, tmp_path, capsys, monkeypatch):
    for name in ("write_panel", "write_images"):  # drawn elsewhere: figures take their time
        monkeypatch.setattr(panels_page, name, lambda path, panel: path.touch())
    explored = calowatch.explore([folder], tmp_path / "out")
    names = {path.name for path in explored.files}
    assert {
        "explore.html",
        "explore.json",
        "mean_energy.png",
        "ratio_energy.png",
        "samples_time.png",
    } <= names
    assert len([name for name in names if name.startswith("observable_")]) == 12
    content = json.loads((tmp_path / "out" / "explore.json").read_text())
    assert content["kind"] == "egamma"
    assert np.shape(content["mean"]) == (2, 2, 32, 32)
    page = (tmp_path / "out" / "explore.html").read_text()
    assert "left out" in page
    assert "sigma_phi" in page
    assert main(["explore", str(folder), "--out", str(tmp_path / "b"), "--no-png"]) == 0
    assert "sigma_phi" in capsys.readouterr().out
    assert {path.suffix for path in (tmp_path / "b").iterdir()} == {".html", ".json"}


def test_kinds_are_not_mixed(folder, tmp_path):
    path = tmp_path / "Run355456_a.npy"
    write_images(path, np.random.default_rng(0).uniform(1, 2, (3, 64, 72)))
    assert labelled_kind([path]) is None
    assert labelled_kind([folder]) == "egamma"
    with pytest.raises(InputError, match="each kind by itself"):
        calowatch.explore([folder, path], tmp_path / "out", ExploreSettings(png=False))


@pytest.mark.parametrize(
    ("scale", "ends"), [("log", (0.5, 4.0)), ("linear", (-1.0, 4.0)), ("apart", (-4.0, 4.0))]
)
def test_scales_of_images(tmp_path, scale, ends):
    image = np.array([[0.5, 4.0, 0.0], [-1.0, np.nan, 1.0]])
    panel = ImagePanel("t", [("a", image)], ("row", "column"), "x", scale)
    assert panel.limits() == ends
    assert draw_images(tmp_path / "a.png", panel).stat().st_size > 1000
    drawn = image_figure(panel)
    assert drawn.data[0].z.shape == (2, 3)


def test_images_of_nothing_have_a_scale():
    assert ImagePanel("t", [("a", np.zeros((2, 2)))], ("r", "c"), "x").limits() == (0.1, 1.0)


def test_jets_are_explored_alike(tmp_path):
    rng = np.random.default_rng(1)
    images = np.where(rng.random((12, 3, 125, 125)) < 0.01, rng.exponential(0.1, (12, 3, 125, 125)), 0)
    images[:, :, 62, 62] = 1.0
    columns = {"pt": np.full(12, 120.0), "m0": np.full(12, 15.0), "y": np.arange(12) % 2}
    write_jets(tmp_path / "a.parquet", [(images.astype(np.float32), columns)], {})
    data, _ = open_labelled(labelled_kind([tmp_path / "a.parquet"]), [tmp_path / "a.parquet"])
    found = labelled_numbers(data)
    assert found.n.tolist() == [6, 6]
    assert len(found.spectra) == 3
    assert "multiplicity" in set(found.observables[0]["observable"])
    panels = [name for section in labelled_page(found, {}).sections for name in section.panels]
    assert sum(name.startswith("mean_") for name in panels) == 3


def jets(path, multiplicities, labels):
    """Write jets with a given number of tracks each."""
    rng = np.random.default_rng(2)
    images = np.zeros((len(labels), 3, 125, 125), np.float32)
    for image, number in zip(images, multiplicities, strict=True):
        at = rng.choice(900, number, replace=False)
        image[0, 47 + at // 30, 47 + at % 30] = 0.05
        image[2, 60:65, 60:65] = 0.01
    columns = {"pt": np.full(len(labels), 120.0), "m0": np.full(len(labels), 15.0), "y": np.asarray(labels)}
    write_jets(path, [(images, columns)], {})
    return path


@pytest.mark.parametrize(("quarks", "told"), [(1, 0), (0, 1)])
def test_labels_that_look_exchanged_are_told(tmp_path, quarks, told):
    labels = np.arange(60) % 2
    tracks = np.where(labels == quarks, 20, 40) + np.arange(60) // 4
    data, notes = open_labelled("jets", [jets(tmp_path / "a.parquet", tracks, labels)])
    progress = SilentProgress()
    found = labelled_numbers(data, notes, progress)
    assert len([note for note in found.notes if "labels look exchanged" in note]) == told
    assert progress.notes == list(found.notes[len(notes) :])


def test_a_missing_class_and_few_images_are_told(folder, tmp_path):
    photons = next(folder.glob("*Photon*"))
    _, notes = open_labelled("egamma", [photons])
    assert "no image of the class electron: nothing is compared" in notes[-1]
    with pytest.raises(InputError, match="found none of electron"):
        open_images([photons], ImageDataRecipe(kind="egamma"))
    few = jets(tmp_path / "few.parquet", [5, 6], [0, 1])
    assert open_labelled("jets", [few])[1] == (
        "few images (1 of gluon and 1 of quark): AUCs are known to 0.50 only",
    )
    explored = calowatch.explore([photons], tmp_path / "out", ExploreSettings(png=False))
    assert any("no image of the class electron" in note for note in explored.document["notes"])


def test_defect_files_are_refused_as_what_they_are(folder, tmp_path, capsys):
    for name in ("X", "y"):
        copied = tmp_path / f"{name}.hdf5"
        copied.write_bytes(next(folder.glob("*Photon*")).read_bytes())
        with h5py.File(copied, "a") as file:
            del file[name]
        assert main(["explore", str(copied), "--out", str(tmp_path / "out")]) == 2
        assert "an HDF5 file with X (n, 32, 32, 2) and y (n,)" in capsys.readouterr().err


def test_axes_of_jets_count_crystals(tmp_path):
    data, _ = open_labelled("jets", [jets(tmp_path / "a.parquet", [5, 6, 5, 6], [0, 1, 0, 1])])
    sections = labelled_page(labelled_numbers(data), {}).sections
    panels = {name: panel for section in sections for name, panel in section.panels.items()}
    assert panels["mean_hcal"].axes == (
        "crystals along eta from the centre",
        "crystals along phi from the centre",
    )
    assert panels["spectrum_tracks"].x == "track pT (100 GeV)"
