"""Bundles of networks: in memory, saved and loaded are one, and whatever is broken is refused by one clear error."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from calowatch.bundle.expecting import load_window_model, training_sigma
from calowatch.bundle.frame import filled_sigma
from calowatch.bundle.manifest import MANIFEST
from calowatch.bundle.network import load_network, save_network
from calowatch.bundle.running import windows_of
from calowatch.core.errors import ConflictError, FormatError, InputError
from calowatch.core.files import file_hash
from calowatch.models.api import MODELS
from calowatch.models.loss import window_error

EXTRA = {"runs": [{"run": 1}], "provenance": {}}


@pytest.fixture(scope="module")
def parts(ho_parts):
    return ho_parts("cnn-ae-lstm")


@pytest.fixture
def bundle(parts, tmp_path):
    save_network(tmp_path / "b", parts, EXTRA)
    return tmp_path / "b"


@pytest.mark.parametrize("name", MODELS)
def test_in_memory_and_reloaded_agree_to_the_bit(name, ho_parts, ho_windows, tmp_path):
    parts, windows = ho_parts(name), ho_windows()
    manifest = save_network(tmp_path / "b", parts, EXTRA)
    before = windows_of(parts).predict_windows(windows.counts, windows.n_events)
    model = load_window_model(tmp_path / "b")
    after = model.predict_windows(windows.counts, windows.n_events)
    np.testing.assert_array_equal(after.p, before.p)
    np.testing.assert_array_equal(after.source_score, before.source_score)
    assert after.p.shape == windows.counts.shape
    assert ((after.p > 0) & (after.p < 1)).all()
    assert np.isfinite(after.source_score).all()
    assert (model.name, model.window) == (name, 3)
    assert manifest["n_parameters"] == model.n_parameters > 0
    assert json.loads((tmp_path / "b" / MANIFEST).read_text()) == manifest
    assert not list((tmp_path / "b").glob("*.p*k*l"))


def test_source_score_is_the_published_one(ho_parts, ho_windows):
    """The same number by the loss's own function, from tensors as training sees them."""
    parts, windows = ho_parts("cnn-vae-gru", ("rin",)), ho_windows()
    model = windows_of(parts)
    found = model.predict_windows(windows.counts, windows.n_events)
    prepared = model.frame.prepare(windows.counts, windows.n_events)
    x = torch.from_numpy(model.frame.grid(prepared.values)).view(4, 3, 30, 72, 1)
    with torch.no_grad():
        error = window_error(parts.network(x), x, parts.network.mask)
    expected = model.frame.channels(error.numpy()) / 0.01
    np.testing.assert_allclose(found.source_score, expected, rtol=1e-4)


def test_p_is_the_way_back_from_the_answer(ho_parts, ho_windows):
    parts, windows = ho_parts("cnn-ae-fnn"), ho_windows()
    model = windows_of(parts)
    model._run = lambda x, n_events: x  # a network that reconstructs what it sees
    found = model.predict_windows(windows.counts, windows.n_events)
    seen = windows.counts / windows.n_events[..., None]
    np.testing.assert_allclose(found.p, seen, atol=1e-5)
    assert found.source_score.max() == 0
    model._run = lambda x, n_events: x * 0 + 9.0
    total = windows.n_events.sum(axis=1)
    high = model.predict_windows(windows.counts, windows.n_events).p.max(axis=(1, 2))
    np.testing.assert_allclose(1 - high, 0.5 / (total + 1), rtol=1e-3)


def test_logits_are_probabilities(ho_parts, ho_windows):
    parts, windows = ho_parts("binomial"), ho_windows()
    model = windows_of(parts)
    for logit, p in ((0.0, 0.5), (-40.0, 1e-7), (40.0, 1.0)):
        model._run = lambda x, n_events, logit=logit: np.full_like(x, logit)
        found = model.predict_windows(windows.counts, windows.n_events)
        np.testing.assert_allclose(found.p, p, rtol=1e-6)
        assert found.p.max() < 1
    seen = windows.counts / windows.n_events[..., None]
    np.testing.assert_allclose(found.source_score, np.abs(1 - seen).mean(axis=1) / 0.01, rtol=1e-4)


def test_masked_channels_are_answered_for_by_nobody(ho_parts, ho_windows, tmp_path):
    masked = (3, 70, 2000)
    windows = ho_windows()
    save_network(tmp_path / "b", ho_parts("cnn-ae-fnn", masked=masked), EXTRA)
    model = load_window_model(tmp_path / "b")
    keep = np.delete(np.arange(len(windows.channel)), masked)
    np.testing.assert_array_equal(model.channel, windows.channel[keep])
    whole = windows_of(ho_parts("cnn-ae-fnn", masked=masked))
    found = model.predict_windows(windows.counts[..., keep], windows.n_events)
    np.testing.assert_array_equal(
        found.p, whole.predict_windows(windows.counts[..., keep], windows.n_events).p
    )
    with pytest.raises(ValueError, match="takes counts"):
        model.predict_windows(windows.counts, windows.n_events)


def test_batches_and_windows_one_by_one_agree(ho_parts, ho_windows):
    windows = ho_windows(n=20)
    for name in ("cnn-ae-lstm", "binomial"):
        model = windows_of(ho_parts(name))
        together = model.predict_windows(windows.counts, windows.n_events)
        alone = model.predict_windows(windows.counts[17:18], windows.n_events[17:18])
        np.testing.assert_allclose(together.p[17:18], alone.p, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(together.source_score[17:18], alone.source_score, rtol=1e-3, atol=1e-4)


def test_inputs_stay_as_they_are(parts, ho_windows):
    windows = ho_windows()
    counts, n_events = windows.counts.copy(), windows.n_events.copy()
    windows_of(parts).predict_windows(windows.counts, windows.n_events)
    np.testing.assert_array_equal(windows.counts, counts)
    np.testing.assert_array_equal(windows.n_events, n_events)


def test_lumisections_without_events_are_in_no_mean(parts, ho_windows):
    windows = ho_windows()
    counts, n_events = windows.counts.copy(), windows.n_events.copy()
    counts[:, 1], n_events[:, 1] = 0, 0
    found = windows_of(parts).predict_windows(counts, n_events)
    assert np.isfinite(found.source_score).all()
    assert ((found.p > 0) & (found.p < 1)).all()


def test_training_sigma_is_that_of_the_window_error(parts, ho_windows):
    model = windows_of(parts)
    chunks = [(w.counts, w.n_events) for w in (ho_windows(n=5, seed=s) for s in range(3))]
    errors = np.concatenate([model.window_error(*chunk) for chunk in chunks])
    np.testing.assert_allclose(training_sigma(model, chunks), errors.std(axis=0), rtol=1e-4)
    with pytest.raises(ValueError, match="no windows"):
        training_sigma(model, [])


def test_channels_that_never_moved_in_training_take_their_rings_sigma():
    channel = np.array([2073333, 2073353, 2073373, 2073334, 1001011])
    found = filled_sigma(np.array([0.0, 2.0, 4.0, 7.0, np.nan]), channel)
    assert found.tolist() == [3.0, 2.0, 4.0, 7.0, 4.0]
    assert filled_sigma(np.zeros(2), channel[:2]).tolist() == [1.0, 1.0]


def test_loading_draws_nothing_from_the_callers_random_numbers(bundle):
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    load_network(bundle)
    assert torch.equal(torch.rand(3), expected)


def test_wiring_that_changes_leaves_a_graph_network_as_it_is(ho_parts, ho_windows, tmp_path, monkeypatch):
    from calowatch.models import geometry

    windows = ho_windows(n=1)
    parts = ho_parts("graphstad-cnn-ae-fnn", ("dc",))
    save_network(tmp_path / "b", parts, EXTRA)
    monkeypatch.setattr(geometry, "graph", None)
    found = load_window_model(tmp_path / "b").predict_windows(windows.counts, windows.n_events)
    expected = windows_of(parts).predict_windows(windows.counts, windows.n_events)
    np.testing.assert_array_equal(found.p, expected.p)
    with pytest.raises(InputError, match="edges of a graph"):
        save_network(tmp_path / "c", replace(parts, edges=None), EXTRA)


def rehash(folder, name):
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["sha256"][name] = file_hash(folder / name)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def rewrite(folder, **entries):
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, **entries}))


def truncate(folder, *, tell):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    if tell:
        rehash(folder, path.name)


def spoil_weights(folder, change):
    path = folder / "weights.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)
    rehash(folder, path.name)


def spoil_sigma(folder, values):
    np.savez(folder / "score_sigma.npz", score_sigma=values)
    rehash(folder, "score_sigma.npz")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda b: (b / MANIFEST).unlink(), "no manifest.json"),
        (lambda b: (b / MANIFEST).write_text("{"), "unreadable"),
        (lambda b: (b / MANIFEST).write_text("[]"), "unreadable"),
        (lambda b: truncate(b, tell=False), "other content"),
        (lambda b: truncate(b, tell=True), "others or damaged"),
        (lambda b: (b / "weights.safetensors").unlink(), "found none"),
        (lambda b: (b / "preparation.npz").unlink(), "found none"),
        (lambda b: (b / "preparation.json").write_text("{}"), "other content"),
        (lambda b: rewrite(b, schema=99), "schema 99"),
        (lambda b: rewrite(b, kind="classifier"), "'classifier'"),
        (lambda b: rewrite(b, sha256=None), "missing or odd"),
        (lambda b: rewrite(b, era=None), "None"),
        (lambda b: rewrite(b, request={"name": "cnn-ae-lstm"}), "name, wrappers and options"),
        (lambda b: rewrite(b, window="five"), "damaged"),
        (lambda b: rewrite(b, predicts="odds"), "other numbers"),
        (lambda b: rewrite(b, layout="hf"), "channels of the layout"),
        (lambda b: spoil_weights(b, lambda w: w["last.weight"].fill_(torch.nan)), "NaN or infinity"),
        (lambda b: spoil_weights(b, lambda w: w.pop("last.weight")), "others or damaged"),
        (lambda b: spoil_weights(b, lambda w: w.pop("mask")), "others or damaged"),
        (lambda b: spoil_sigma(b, np.array([1.0])), "other numbers"),
        (lambda b: spoil_sigma(b, np.full(2160, np.nan)), "other numbers"),
        (lambda b: (b / "score_sigma.npz").write_bytes(b"junk"), "other content"),
    ],
)
def test_broken_bundles_are_refused(bundle, spoil, words):
    spoil(bundle)
    with pytest.raises(InputError, match=words) as caught:
        load_window_model(bundle)
    assert len(str(caught.value)) < 1200
    assert str(bundle) in caught.value.where or "era" in caught.value.where


def test_another_segmentation_is_a_conflict(bundle):
    rewrite(bundle, segmentation="0" * 64)
    with pytest.raises(ConflictError, match="another list of channels"):
        load_network(bundle)


def test_missing_bundle_says_how_to_make_one(tmp_path):
    with pytest.raises(FormatError, match="calowatch train"):
        load_window_model(tmp_path / "nowhere")


def test_what_cannot_be_a_bundle_is_not_saved(parts, ho_parts, tmp_path):
    spoiled = ho_parts("cnn-ae-fnn")
    spoiled.network.last.weight.data.fill_(torch.inf)
    for wrong, words in (
        (spoiled, "NaN or infinity in last.weight"),
        (replace(parts, layout="hf"), "name its own layout"),
        (replace(parts, score_sigma=np.ones(3)), "of the same 2160 channels"),
    ):
        with pytest.raises(InputError, match=words):
            save_network(tmp_path / "b", wrong, EXTRA)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_somebody_else_stays(parts, tmp_path):
    (tmp_path / "thesis.txt").write_text("years")
    with pytest.raises(ConflictError, match="lost"):
        save_network(tmp_path, parts, EXTRA)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
