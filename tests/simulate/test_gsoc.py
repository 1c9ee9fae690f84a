"""Simulated image sets: the published statistics, the blocks, and an oracle checked against independent formulas."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, stats

from calowatch.cli import main
from calowatch.core.errors import ConflictError, FormatError, InputError, UnknownNameError
from calowatch.evaluate.explore_images import image_numbers
from calowatch.io.images import read_images
from calowatch.simulate.gsoc import GsocSettings, RunModel, active_cells, draw_images, run_models
from calowatch.simulate.gsoc_files import read_gsoc_truth, write_gsoc
from calowatch.simulate.gsoc_oracle import Oracle, log_likelihood_ratio

GSOC = Path(__file__).parents[2] / ".." / "shared" / "data" / "hcal" / "gsoc"
PRINTED = {355456: (157.14, 364.31, 253.0), 357479: (181.08, 362.53, 786.0)}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("gsoc") / "sets"
    return out, write_gsoc(out, GsocSettings(n=600, block=10))


@pytest.mark.parametrize("run", PRINTED)
def test_the_printed_statistics_come_back(written, run):
    out, files = written
    images = read_images(out / f"Run{run}_Dataset_iphi.npy")
    assert (images.images.dtype, images.images.shape, images.run) == (np.float64, (600, 64, 72), run)
    (numbers,), _ = image_numbers([images])
    mean, std, row = PRINTED[run]
    found = numbers.statistics
    assert f"{100 * found['zero_fraction']:.6f}" == "79.774306"
    assert found["always_filled"] == 932
    assert found["mean"] == pytest.approx(mean, rel=0.02)
    assert found["std"] == pytest.approx(std, rel=0.02)
    assert images.images[:, 13, :71].mean() == pytest.approx(row, rel=0.03)
    summary = next(each["statistics"] for each in files.summary["runs"] if each["run"] == run)
    for name in ("mean", "std", "max"):
        assert summary[name] == pytest.approx(found[name])


@pytest.mark.skipif(not GSOC.exists(), reason="the mean maps of the GSoC sets are not at hand")
@pytest.mark.parametrize("run", PRINTED)
def test_rings_and_their_spreads_are_like_the_real_ones(run):
    mean, active = np.load(GSOC / f"avg_run{run}.npy"), np.load(GSOC / "active_mask_64x72.npy")
    np.testing.assert_array_equal(active, active_cells())
    models = run_models(GsocSettings(patterns="real"))
    model = next(each for each in models if each.run == run)
    spreads = []
    for row in np.flatnonzero(active.any(axis=1)):
        cells = active[row]
        assert np.exp(model.log_mean[row, cells]).mean() == pytest.approx(mean[row, cells].mean(), rel=0.08)
        plain = cells & ~model.deviating[row]
        spreads.append((model.log_mean[row, plain].std(), mean[row, cells].std() / mean[row, cells].mean()))
    mine, real = np.median(np.array(spreads), axis=0)
    assert 0.5 < mine / real < 2


def test_images_of_a_block_are_near_duplicates_and_blocks_are_strangers():
    settings = GsocSettings(n=60, block=20)
    model = run_models(settings)[0]
    images = np.concatenate([images for images, _ in draw_images(model, settings)])
    logs = np.log(images[:, model.active]) - model.log_mean[model.active]
    alike = np.corrcoef(logs - logs.mean(axis=1, keepdims=True))
    block = np.arange(60) // 20
    same = (block[:, None] == block) & ~np.eye(60, dtype=bool)
    assert alike[same].mean() > 0.5
    assert abs(alike[block[:, None] != block].mean()) < 0.1


def test_each_image_alone_has_the_spread_of_the_model():
    """The weights' squares sum to one, so mixing changes no marginal distribution."""
    settings = GsocSettings(n=3000, block=1)
    model = run_models(settings)[1]
    logs = np.concatenate(
        [np.log(x[:, model.active]) - model.log_mean[model.active] for x, _ in draw_images(model, settings)]
    )
    variance = 0.09**2 + 0.01**2 + 0.03**2 + 0.01**2
    assert logs.var() == pytest.approx(variance, rel=0.06)
    assert abs(logs.mean()) < 0.006


def test_weights_have_unit_length(written):
    truth = read_gsoc_truth(written[0])
    for run in PRINTED:
        np.testing.assert_allclose((truth.weights[run] ** 2).sum(axis=1), 1.0)
        np.testing.assert_array_equal(truth.blocks[run], np.arange(600) // 10)


def test_truth_comes_back(written):
    truth = read_gsoc_truth(written[0])
    for model, again in zip(run_models(GsocSettings(n=600, block=10)), truth.models, strict=True):
        assert (again.run, again.level_spread, again.image_spread) == (
            model.run,
            model.level_spread,
            model.image_spread,
        )
        for name in ("log_mean", "active", "cell_spread", "deviating"):
            np.testing.assert_array_equal(getattr(again, name), getattr(model, name))
    assert truth.model(357479).run == 357479


def test_files_are_drawn_anew_alike(written, tmp_path):
    write_gsoc(tmp_path / "again", GsocSettings(n=600, block=10))
    for path in written[1].images:
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()
    other = GsocSettings(n=10, block=10, seed=1)
    model = run_models(other)[0]
    np.testing.assert_array_equal(model.log_mean, run_models(GsocSettings())[0].log_mean)
    (images, _), *_ = draw_images(model, other)
    assert not np.array_equal(images, np.load(written[1].images[0])[:10])


def test_the_oracle_solves_every_variant_and_scaling_changes_nothing(written):
    out, files = written
    truth = read_gsoc_truth(out)
    a, b = truth.models
    sets = [np.load(path) for path in files.images]
    keep = ~(a.deviating | b.deviating)
    for scale, mask in (("none", None), ("image", None), ("ring", None), ("ring", keep)):
        right = [log_likelihood_ratio(x, a, b, scale, mask) for x in sets]
        assert (np.mean(right[0] > 0) + np.mean(right[1] < 0)) / 2 >= 0.999
    raw = sets[0][:5]
    rings = raw / np.where(a.active, raw.sum(axis=2, keepdims=True), 1.0)
    np.testing.assert_allclose(
        log_likelihood_ratio(rings * keep, a, b, "ring", keep), log_likelihood_ratio(raw, a, b, "ring", keep)
    )


def tiny(run, seed, level=0.3):
    """A run of five cells on two rings, small enough for independent formulas."""
    rng = np.random.default_rng(seed)
    active = np.zeros((64, 72), bool)
    active[3, :3] = active[4, :2] = True
    numbers = rng.normal(0, 0.5, (64, 72))
    return RunModel(
        run, numbers, active, np.where(active, rng.uniform(0.1, 0.4, (64, 72)), 0.0), level, 0.2, 0.1, ~active
    )


def test_the_density_is_the_normal_one():
    model = tiny(1, 1)
    logs = np.random.default_rng(5).normal(0, 1, (4, 5))
    images = np.zeros((4, 64, 72))
    images[:, model.active] = np.exp(logs)
    rings = np.repeat([0, 1], [3, 2])
    covariance = np.diag(model.cell_spread[model.active] ** 2 + 0.1**2) + 0.3**2
    covariance += 0.2**2 * (rings[:, None] == rings)
    want = stats.multivariate_normal(model.log_mean[model.active], covariance).logpdf(logs)
    got = Oracle(model).log_density(images)
    np.testing.assert_allclose(got - want, (got - want)[0])


def test_scaled_images_have_the_density_integrated_over_their_scale():
    """Against numerical integration over ln scale, for the ratio, where common terms drop out."""
    a, b = tiny(1, 1), tiny(2, 2, level=0.6)
    logs = np.random.default_rng(6).normal(0, 0.5, 5)
    image = np.zeros((1, 64, 72))
    image[0, a.active] = np.exp(logs)

    def integrated(model):
        def density(shift):
            moved = image.copy()
            moved[0, a.active] *= np.exp(shift)
            return float(
                np.exp(Oracle(model).log_density(moved)[0] + 20)
            )  # not below quad's own absolute error

        return integrate.quad(density, -15, 15, points=[0], limit=400, epsabs=1e-12)[0]

    want = np.log(integrated(a) / integrated(b))
    assert log_likelihood_ratio(image, a, b, "image")[0] == pytest.approx(want, rel=1e-6)


def test_a_masked_image_needs_a_mask():
    a, b = tiny(1, 1), tiny(2, 2)
    image = np.zeros((1, 64, 72))
    with pytest.raises(InputError, match="keep"):
        log_likelihood_ratio(image, a, b)


@pytest.mark.parametrize("option", ["n", "block", "ls_per_block"])
def test_settings_that_cannot_be_are_refused(option):
    with pytest.raises(InputError, match="--"):
        GsocSettings(**{option: 0})


def test_unknown_names_are_refused():
    with pytest.raises(UnknownNameError, match="patterns"):
        GsocSettings(patterns="smal")
    with pytest.raises(UnknownNameError, match="355456"):
        GsocSettings(runs=(1,))


def test_somebodys_folder_is_left_alone(tmp_path):
    (tmp_path / "precious").write_text("x")
    with pytest.raises(ConflictError):
        write_gsoc(tmp_path, GsocSettings(n=2))
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_a_damaged_truth_is_refused(tmp_path):
    with pytest.raises(FormatError, match="simulate gsoc"):
        read_gsoc_truth(tmp_path)
    (tmp_path / "gsoc-truth.npz").write_bytes(b"no archive")
    with pytest.raises(FormatError):
        read_gsoc_truth(tmp_path)


def test_the_verb_writes_three_runs_and_tells_of_them(tmp_path, capsys):
    out = tmp_path / "sets"
    assert (
        main(["simulate", "gsoc", "--out", str(out), "--n", "20", "--block", "5", "--third", "--json"]) == 0
    )
    summary = json.loads(capsys.readouterr().out)
    assert [Path(file).name for file in summary["files"]] == [
        f"Run{run}_Dataset_iphi.npy" for run in (355456, 357479, 356615)
    ]
    assert {(cell["row"], cell["ieta"]) for cell in summary["runs"][0]["deviating"]} == {
        (cell["row"], cell["row"] - (32 if cell["row"] < 32 else 31))
        for cell in summary["runs"][0]["deviating"]
    }
    assert main(["simulate", "gsoc", "--out", str(out), "--n", "20", "--patterns", "real"]) == 0
    assert "row 13" in capsys.readouterr().out
    assert not (out / "Run356615_Dataset_iphi.npy").exists()
