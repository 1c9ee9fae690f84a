"""Exported classifiers: 8 bits that do not depend on the batch, threads that change nothing, files that are broken."""

import numpy as np
import pytest
import torch

from calowatch.bundle import engines
from calowatch.bundle.classifier_onnx import export_classifier, multiplies_bytes, open_onnx, write_onnx
from calowatch.bundle.classifier_rewriting import calibrate
from calowatch.bundle.engines import EXPORTED, open_engine
from calowatch.core.errors import FormatError, InputError
from calowatch.models.classifiers import ImageGeometry, build_classifier

SHAPE = ImageGeometry(1, 8, 12)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A trained-looking transformer, its images, and its exported forms."""
    torch.manual_seed(0)
    options = {"patch": (4, 4), "dim": 16, "layers": 1, "heads": 2, "mlp": 24}
    network = build_classifier("vit", SHAPE, options).eval()
    with torch.no_grad():
        for values in network.parameters():
            values.add_(0.2 * torch.randn_like(values))
    images = np.random.default_rng(0).random((37, 1, 8, 12), np.float32)
    scalars = np.zeros((37, 0), np.float32)
    folder = tmp_path_factory.mktemp("exported")
    return network, images, scalars, folder, export_classifier(network, folder, images, scalars)


def test_differences_are_told(made):
    network, images, scalars, _, files = made
    with torch.no_grad():
        expected = network(torch.from_numpy(images)).logits.numpy()
    for one in files:
        found = open_onnx(one.path)(images, scalars)
        assert one.largest_logit_difference == pytest.approx(np.abs(found - expected).max())
    assert files[0].largest_difference < 1e-6 < files[1].largest_difference < 0.02


@pytest.mark.parametrize("form", [0, 1])
def test_neither_batch_nor_threads_change_an_answer(made, form):
    _, images, scalars, _, files = made
    whole = open_onnx(files[form].path, threads=1)(images, scalars)
    np.testing.assert_array_equal(open_onnx(files[form].path, threads=3)(images, scalars), whole)
    alone = open_onnx(files[form].path)(images[5:6], scalars[5:6])
    np.testing.assert_allclose(alone, whole[5:6], rtol=1e-5, atol=1e-6)
    assert open_onnx(files[form].path)(images[:0], scalars[:0]).shape == (0, 2)


def test_calibration_sees_every_product_and_its_extremes(made):
    network, images, scalars, _, _ = made
    ranges = calibrate(network, images, scalars)
    assert sorted(ranges) == [
        f"blocks.0.{part}" for part in ("attention.out", "attention.qkv", "mix.0", "mix.2")
    ]
    assert all(low < 0 < high for low, high in ranges.values())
    wider = calibrate(network, np.concatenate([images, 3 * images]), np.concatenate([scalars, scalars]))
    assert all(wider[name][0] <= ranges[name][0] and wider[name][1] >= ranges[name][1] for name in ranges)
    with pytest.raises(InputError, match="one or more"):
        calibrate(network, images[:0], scalars[:0])


def test_the_quickest_form_that_may_be_trusted(made, monkeypatch, tmp_path):
    network, images, scalars, folder, _ = made
    asked = []
    monkeypatch.setattr(engines, "open_onnx", lambda path: asked.append(path.name) or open_onnx(path))
    for able, difference, expected in (
        (True, 0.001, "classifier-int8.onnx"),
        (True, 0.2, "classifier.onnx"),
        (False, 0.001, "classifier.onnx"),
    ):
        monkeypatch.setattr(engines, "multiplies_bytes", lambda able=able: able)
        (folder / EXPORTED).write_text(f'{{"int8": {{"largest_difference": {difference}}}}}')
        open_engine(network, "auto", folder)(images, scalars)
        assert asked[-1] == expected
    (folder / EXPORTED).unlink()
    assert open_engine(network, "auto", folder)(images, scalars).shape == (37, 2)
    assert asked[-1] == "classifier.onnx"
    with pytest.raises(InputError, match="VNNI"):
        open_engine(network, "int8", folder)
    with pytest.raises(InputError, match="one without"):
        open_engine(network, "onnx", tmp_path)
    np.testing.assert_array_equal(
        open_engine(network, "auto", tmp_path)(images, scalars),
        open_engine(network, "float32")(images, scalars),
    )


def test_what_cannot_be_written_or_read_is_refused(tmp_path):
    plain = build_classifier("egamma-two-channel", ImageGeometry(2, 8, 8), {})
    with pytest.raises(InputError, match="transformer blocks"):
        write_onnx(plain, tmp_path / "a.onnx", {})
    assert not list(tmp_path.iterdir())
    (tmp_path / "b.onnx").write_bytes(b"no model")
    with pytest.raises(FormatError, match="a damaged one"):
        open_onnx(tmp_path / "b.onnx")


def test_the_processor_is_asked(monkeypatch):
    for able, expected in (
        ({"architecture": "x86_64", "avx2": True}, False),
        ({"architecture": "x86_64", "avx512_vnni": True}, True),
        ({"architecture": "aarch64"}, True),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able)
        assert multiplies_bytes() is expected
