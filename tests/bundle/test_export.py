"""A network in memory, reloaded and exported is one network."""

import json
from functools import cache

import numpy as np
import pytest

from calowatch.bundle.expecting import load_window_model
from calowatch.bundle.export import export_onnx
from calowatch.bundle.exported import ONNX_FILE
from calowatch.bundle.manifest import MANIFEST
from calowatch.bundle.network import save_network
from calowatch.bundle.running import windows_of
from calowatch.core.errors import FormatError, InputError
from calowatch.core.files import file_hash
from calowatch.models.api import MODELS

QUICK = ("graphstad-cnn-ae-fnn", "binomial")
# An export takes 10 to 40 s, nearly all of it in torch's exporter, and fails by the kind of a layer, not by how layers
# are put together. So each encoder, bottleneck, branch and wrapper stands here once, not every network of the dict.
PARTS = (
    "cnn-vae-fnn",
    "cnn-ae-rnn",
    "rescnn-vae-gru",
    "graphstad-rescnn-ae-lstm",
    "depthvit",
    "binomial-response",
)
WRAPPED = (("cnn-vae-lstm", ("rin", "dc")), ("graphstad-cnn-ae-gru", ("rin", "dc")), ("binomial", ("dc",)))


@pytest.fixture(scope="module")
def exported(ho_parts, tmp_path_factory):
    """Bundles with their exported form, made once each: exporting takes seconds."""
    folder = tmp_path_factory.mktemp("exported")

    @cache
    def made(name, wrappers=()):
        place = folder / "+".join((name, *wrappers))
        save_network(place, ho_parts(name, wrappers), {"provenance": {}})
        assert export_onnx(place) == place / ONNX_FILE
        return place

    return made


def check(parts, folder, windows):
    answers = [
        model.predict_windows(windows.counts, windows.n_events)
        for model in (
            windows_of(parts),
            load_window_model(folder),
            load_window_model(folder, "onnx", threads=1),
        )
    ]
    memory, reloaded, onnx = answers
    np.testing.assert_array_equal(reloaded.p, memory.p)
    np.testing.assert_array_equal(reloaded.source_score, memory.source_score)
    np.testing.assert_allclose(onnx.p, memory.p, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(onnx.source_score, memory.source_score, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", QUICK)
def test_memory_reloaded_and_exported_agree(name, ho_parts, ho_windows, exported):
    check(ho_parts(name), exported(name), ho_windows(n=19))  # a whole batch, and a part of one


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_every_kind_of_layer_is_exported(name, ho_parts, ho_windows, exported):
    check(ho_parts(name), exported(name), ho_windows(n=19))


def test_those_that_are_exported_hold_every_kind_of_layer():
    tested = {*QUICK, *PARTS}
    words = {word for name in tested for word in name.split("-")}
    assert words == {word for name in MODELS for word in name.split("-")}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "wrappers"), WRAPPED)
def test_wrapped_networks_agree_too(name, wrappers, ho_parts, ho_windows, exported):
    check(ho_parts(name, wrappers), exported(name, wrappers), ho_windows(n=19))


def test_dense_graph_is_the_graph_branch(ho_parts):
    import torch

    from calowatch.bundle.export_graph import DenseGraph

    branch = ho_parts("graphstad-cnn-ae-fnn").network.graph
    x = torch.rand(2, 3, 30, 72, 1)
    vectors = torch.zeros(2, 3, 1)
    with torch.no_grad():
        torch.testing.assert_close(DenseGraph(branch).beside(vectors, x), branch.beside(vectors, x))


def test_broken_and_missing_exports_are_refused(ho_parts, ho_windows, tmp_path, monkeypatch):
    from calowatch.bundle import export

    folder = tmp_path / "b"
    save_network(folder, ho_parts("cnn-ae-fnn"), {"provenance": {}})
    with pytest.raises(InputError, match="export_onnx"):
        load_window_model(folder, "onnx")
    monkeypatch.setattr(export, "_write", lambda path, network, frame: path.write_bytes(b"junk"))
    with pytest.raises(FormatError, match="damaged one"):
        export_onnx(folder)
    assert not (folder / ONNX_FILE).exists()
    windows = ho_windows()
    assert load_window_model(folder).predict_windows(windows.counts, windows.n_events).p.shape
    (folder / ONNX_FILE).write_bytes(b"junk")
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["sha256"][ONNX_FILE] = file_hash(folder / ONNX_FILE)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(FormatError, match="damaged one"):
        load_window_model(folder, "onnx")


def test_an_export_that_answers_otherwise_is_not_kept(ho_parts, exported, tmp_path, monkeypatch):
    from calowatch.bundle import export

    folder = tmp_path / "b"
    strange = (exported("graphstad-cnn-ae-fnn") / ONNX_FILE).read_bytes()
    save_network(folder, ho_parts("graphstad-cnn-ae-fnn", seed=1), {"provenance": {}})
    monkeypatch.setattr(export, "_write", lambda path, network, frame: path.write_bytes(strange))
    with pytest.raises(InputError, match="others, by up to"):
        export_onnx(folder)
    assert not (folder / ONNX_FILE).exists()


def test_exported_networks_need_no_torch(exported):
    import subprocess
    import sys

    folder = exported("graphstad-cnn-ae-fnn")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from calowatch.bundle.expecting import load_window_model\n"
        "import numpy as np\n"
        f"model = load_window_model({str(folder)!r}, 'onnx')\n"
        "counts = np.ones((2, 3, len(model.channel)), int)\n"
        "print(model.predict_windows(counts, np.full((2, 3), 100)).p.shape)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120
    )
    assert found.stdout == "(2, 3, 2160)\n"
