"""Numbers of image sets, against numpy on the whole array and against the printed statistics of the GSoC sets."""

from pathlib import Path

import numpy as np
import pytest

from calowatch.evaluate.explore_images import image_numbers
from calowatch.io.images import read_images, write_images
from calowatch.present.explore_images_png import field_view, log_limits

GSOC = Path(__file__).parents[2] / ".." / "shared" / "data" / "hcal" / "gsoc"
PRINTED = {355456: (157.14, 364.31), 357479: (181.08, 362.53)}
LEVEL_SPREAD = {355456: 0.03, 357479: 0.09}  # of the scale of images, relative


def gsoc_like(run, n=200):
    """Images like those of a GSoC set: the mean map, a scale per image, scatter per cell."""
    mean = np.load(GSOC / f"avg_run{run}.npy").astype(np.float64)
    active = np.load(GSOC / "active_mask_64x72.npy")
    rng = np.random.default_rng(run)
    scale = 1 + LEVEL_SPREAD[run] * rng.standard_normal((n, 1, 1)).clip(-3, 3)
    return np.where(active, mean * scale * (1 + 0.03 * rng.standard_normal((n, 64, 72)).clip(-5, 5)), 0.0)


@pytest.mark.skipif(not GSOC.exists(), reason="the mean maps of the GSoC sets are not at hand")
@pytest.mark.parametrize("run", PRINTED)
def test_gsoc_like_sets_have_the_printed_statistics(run, tmp_path):
    path = tmp_path / f"Run{run}_Dataset_toy.npy"
    write_images(path, gsoc_like(run))
    (numbers,), _ = image_numbers([read_images(path)])
    mean, std = PRINTED[run]
    found = numbers.statistics
    assert f"{100 * found['zero_fraction']:.6f}" == "79.774306"
    assert found["mean"] == pytest.approx(mean, rel=0.02)
    assert found["std"] == pytest.approx(std, rel=0.02)
    assert (found["min"], found["median"]) == (0, 0)
    assert found["always_filled"] == 932
    np.testing.assert_allclose(numbers.sparsity, 0.79774306, atol=1e-8)
    active = np.load(GSOC / "active_mask_64x72.npy")
    np.testing.assert_array_equal(numbers.mean > 0, active)
    np.testing.assert_array_equal(numbers.frequency, active)
    np.testing.assert_allclose(numbers.mean[active], np.load(GSOC / f"avg_run{run}.npy")[active], rtol=0.04)


def some_set(folder, filled, n=300, run=355456, seed=1):
    """A set of which a share of the cells is filled, another one in every image."""
    rng = np.random.default_rng(seed)
    images = rng.uniform(0.1, 9, (n, 64, 72)) * (rng.random((n, 64, 72)) < filled)
    path = folder / f"Run{run}_Dataset.npy"
    write_images(path, images)
    return read_images(path), images


@pytest.mark.parametrize("filled", [0.2, 0.5, 0.9, 1.0])
def test_statistics_are_those_of_the_whole_array(tmp_path, filled):
    images, array = some_set(tmp_path, filled)
    (numbers,), edges = image_numbers([images])
    found, some = numbers.statistics, array[array > 0]
    for name in ("min", "max", "mean", "median", "std"):
        assert found[name] == pytest.approx(getattr(np, name)(array)), name
        if name != "max":
            assert found[f"nonzero_{name}"] == pytest.approx(getattr(np, name)(some)), name
    assert found["zero_fraction"] == pytest.approx((array == 0).mean())
    share = (array == 0).mean(axis=(1, 2))
    np.testing.assert_allclose(numbers.sparsity, share)
    assert found["sparsity_std"] == pytest.approx(share.std())
    np.testing.assert_allclose(numbers.level, array.mean(axis=(1, 2)))
    np.testing.assert_allclose(numbers.mean, array.mean(axis=0))
    np.testing.assert_allclose(numbers.frequency, (array > 0).mean(axis=0))
    assert numbers.distribution.sum() * len(array) == pytest.approx(some.size)
    assert edges[-1] == array.max()


def test_samples_are_evenly_spaced_and_true(tmp_path):
    images, array = some_set(tmp_path, 0.3, n=10)
    (numbers,), _ = image_numbers([images])
    assert numbers.sample_numbers == (0, 3, 6, 9)
    np.testing.assert_array_equal(numbers.samples, array[[0, 3, 6, 9]])


def test_one_image_is_enough(tmp_path):
    images, array = some_set(tmp_path, 0.3, n=1)
    (numbers,), _ = image_numbers([images])
    assert numbers.sample_numbers == (0,)
    assert numbers.statistics["std"] == pytest.approx(array.std())


def test_sets_share_the_edges_of_their_values(tmp_path):
    sets = [some_set(tmp_path, 0.3, run=run, seed=run)[0] for run in (355456, 357479)]
    both, edges = image_numbers(sets)
    assert len(both) == 2
    assert edges[-1] == max(each.statistics["max"] for each in both)


def test_the_field_view_keeps_rows_and_columns():
    image = np.arange(64 * 72, dtype=float).reshape(64, 72)
    view = field_view(image)
    assert view.shape == (72, 65)
    assert np.isnan(view[:, 32]).all()
    assert view[0, 31] == image[31, 0]  # ieta -1, iphi 1
    assert view[71, 33] == image[32, 71]  # ieta 1, iphi 72


def test_log_limits_never_meet():
    assert log_limits([np.array([0.0, 2.0, 5.0])]) == (2, 5)
    assert log_limits([np.full(3, 4.0)]) == (2, 8)
    assert log_limits([np.zeros(3)]) == (0.1, 1)
