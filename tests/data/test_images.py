"""Labelled images: reading, dealing, preparing."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from calowatch.core.errors import FormatError, InputError, UnknownNameError
from calowatch.core.progress import SilentProgress
from calowatch.core.training import ImageDataRecipe, ImageSplit, ImageStep
from calowatch.data.image_preparation import fit_preparation, load_preparation
from calowatch.data.image_sets import image_files, open_images, open_others
from calowatch.data.image_splits import (
    blocks_of,
    deal_images,
    independent_blocks,
    prove_apart,
    settled_split,
)
from calowatch.data.images import ArrayImages, JoinedImages, image_hashes, in_memory, labelled, pick_channels
from calowatch.io.image_blocks import told_blocks
from calowatch.io.images import write_images
from calowatch.simulate.gsoc import GsocSettings
from calowatch.simulate.gsoc_files import write_gsoc


def picture(n, seed=0, scale=1.0):
    return scale * (0.1 + np.random.default_rng(seed).random((n, 64, 72)))


@pytest.fixture
def pair(tmp_path):
    """Two files of runs, 30 and 20 images."""
    files = [tmp_path / "Run355456_Dataset_a.npy", tmp_path / "Run357479_Dataset_a.npy"]
    for seed, (file, n) in enumerate(zip(files, (30, 20), strict=True)):
        write_images(file, picture(n, seed))
    return files


def toy(n=40, channels=1, seed=0, **given):
    images = np.random.default_rng(seed).random((n, channels, 6, 8)).astype(np.float32)
    return labelled(images, np.arange(n) % 2, ["a", "b"], **given)


# -- sources ------------------------------------------------------------------------------------------------------


def test_files_become_labelled_images_in_the_recipes_order_of_classes(pair):
    data = open_images(pair, ImageDataRecipe(kind="runs", classes=("357479", "355456")))
    assert data.classes == ("run 357479", "run 355456")
    assert data.labels.tolist() == [1] * 30 + [0] * 20
    assert data.images.shape == (50, 1, 64, 72)
    rows = np.array([31, 0, 30])
    taken = data.take(rows)
    expected = np.stack([np.load(pair[1])[1], np.load(pair[0])[0], np.load(pair[1])[0]])
    assert taken["x"].dtype == np.float32
    np.testing.assert_array_equal(taken["x"][:, 0], expected.astype(np.float32))
    assert taken["y"].tolist() == [0, 1, 0]
    assert data.table.loc[31, ["source", "position", "run"]].tolist() == [pair[1].name, 1, 357479]


def test_images_stay_mapped(pair):
    data = open_images(pair, ImageDataRecipe(kind="runs"))
    parts = data.images._source._parts if hasattr(data.images, "_source") else data.images._parts
    assert all(isinstance(part._array.base, np.memmap) for part in parts)


def test_classes_default_to_the_order_of_the_files(pair):
    assert open_images(pair[::-1], ImageDataRecipe(kind="runs")).classes == ("run 357479", "run 355456")


def test_only_the_first_images_of_each_class_are_taken_where_the_recipe_says_so(pair):
    data = open_images(pair, ImageDataRecipe(kind="runs", at_most=5))
    assert np.bincount(data.labels).tolist() == [5, 5]
    assert data.table["position"].tolist() == [0, 1, 2, 3, 4] * 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("355456",)}, "run 357479"),
        ({"classes": ("355456", "357479", "1")}, "none of run 1"),
        ({"channels": ("energy",)}, "energy"),
        ({"scalars": ("pt",)}, "no numbers beside"),
    ],
)
def test_data_that_do_not_suit_the_recipe_are_refused(pair, change, message):
    with pytest.raises(InputError, match=message):
        open_images(pair, ImageDataRecipe(kind="runs", **change))


def test_a_file_given_twice_is_refused(pair):
    with pytest.raises(InputError, match="twice"):
        open_images([pair[0], pair[0].parent], ImageDataRecipe(kind="runs"))


def test_no_files_are_refused():
    with pytest.raises(InputError, match="--data"):
        open_images([], ImageDataRecipe(kind="runs"))


def test_images_of_a_third_run_have_no_class(pair):
    recipe = ImageDataRecipe(kind="runs", classes=("1", "2"))
    assert set(open_others(pair[:1], recipe).labels) == {-1}


def test_sources_join_and_channels_are_picked():
    two = toy(4, channels=2)
    picked = pick_channels(two, ["channel 1"])
    np.testing.assert_array_equal(
        picked.images.read(np.array([2]))[0, 0], two.images.read(np.array([2]))[0, 1]
    )
    with pytest.raises(UnknownNameError, match="channel 7"):
        pick_channels(two, ["channel 7"])
    with pytest.raises(InputError, match="one shape"):
        JoinedImages([two.images, ArrayImages(np.zeros((1, 2, 3)))])
    assert in_memory(picked).images.shape == (4, 1, 6, 8)
    assert picked.some(np.array([3, 1])).labels.tolist() == [1, 1]


def test_equal_images_have_equal_hashes():
    images = np.ones((3, 2, 2))
    images[1, 0, 0] = 5
    hashes = image_hashes(labelled(images, [0, 0, 1], ["a", "b"]))
    assert hashes[0] == hashes[2] != hashes[1]


# -- splits -------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["random", "stratified", "blocks"]),
    st.integers(60, 300),
    st.integers(1, 9),
    st.integers(0, 3),
    st.integers(0, 99),
)
def test_sides_share_nothing(by, n, length, guard, seed):
    data = toy(n)
    split = ImageSplit(by=by, length=length, guard=guard)
    sides = deal_images(data, split, seed)
    proof = prove_apart(data, sides, split)
    assert (proof.shared_rows, proof.shared_blocks) == (0, 0)
    assert min(len(sides.of(side)) for side in ("train", "validation", "test")) > 0
    told = sum(sum(side.values()) for side in proof.images.values())
    assert told + proof.left_out == n
    again = deal_images(data, split, seed)
    assert all(
        (getattr(again, side) == getattr(sides, side)).all() for side in ("train", "validation", "test")
    )
    json.dumps(proof.to_json())


def test_stratified_sides_hold_equal_shares_of_each_class():
    data = labelled(np.zeros((100, 2, 2)), [0] * 80 + [1] * 20, ["a", "b"])
    sides = deal_images(data, ImageSplit(by="stratified"), 0)
    assert [
        np.bincount(data.labels[sides.of(side)]).tolist() for side in ("train", "validation", "test")
    ] == [
        [48, 12],
        [16, 4],
        [16, 4],
    ]


def test_neighbours_of_a_block_are_on_one_side_with_guards_between():
    data = labelled(np.zeros((200, 2, 2)), [0] * 100 + [1] * 100, ["a", "b"])
    split = ImageSplit(by="blocks", length=8, guard=2)
    sides = deal_images(data, split, 3)
    side = np.full(200, -1)
    for number, name in enumerate(("train", "validation", "test")):
        side[sides.of(name)] = number
    for first in (*range(0, 100, 10), *range(100, 200, 10)):
        assert len(set(side[first : first + 8])) == 1
        assert set(side[first + 8 : first + 10]) == {-1}
    assert set(data.labels[sides.test]) == {0, 1}


def test_blocks_that_the_file_tells_come_before_the_recipes_length():
    blocks = np.repeat([4, 4, 9, 9, 2, 2, 7, 7, 0, 0], 4)
    data = labelled(np.zeros((40, 2, 2)), np.zeros(40, int), ["a"], blocks=blocks, kind="egamma")
    for length in (0, 3):
        found = blocks_of(data, ImageSplit(by="blocks", length=length))
        assert all(len(set(found[blocks == block])) == 1 for block in blocks)
        assert len(set(found)) == 5


def test_blocks_of_runs_are_dealt_together_and_never_cut():
    blocks = np.repeat(np.arange(10), 4)
    data = labelled(np.zeros((40, 2, 2)), np.zeros(40, int), ["a"], blocks=blocks)
    for length, many in ((0, 10), (4, 10), (8, 5)):
        found = blocks_of(data, ImageSplit(by="blocks", length=length, guard=1))
        assert all(len(set(found[blocks == block])) == 1 for block in range(10))
        assert len(set(found)) == many
    for length, fix in ((3, 4), (7, 8), (1, 4)):
        with pytest.raises(InputError, match=f"block length: expected 4, .* Fix: use {fix}"):
            blocks_of(data, ImageSplit(by="blocks", length=length))
    assert len(set(independent_blocks(data, ImageSplit(by="stratified", length=3)))) == 10


def test_blocks_of_simulated_files_are_told_while_the_files_are_as_they_were_written(tmp_path):
    files = write_gsoc(tmp_path / "gsoc", GsocSettings(n=12, block=4)).images
    told = open_images(files, ImageDataRecipe(kind="runs")).table["block"]
    assert told.tolist() == 2 * [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    renamed = files[0].rename(files[0].with_name("Run355456_other.npy"))
    assert told_blocks(renamed).tolist() == told[:12].tolist()
    write_images(files[1], 1.01 * np.load(files[1]))
    progress = SilentProgress()
    assert told_blocks(files[1], progress) is None
    assert "not the file that gsoc.json" in progress.notes[0]
    with pytest.raises(InputError, match="block length"):
        deal_images(
            open_images([renamed, files[1]], ImageDataRecipe(kind="runs")),
            ImageSplit(by="blocks", length=3, validation=0.0, test=0.4),
            0,
        )
    (files[1].parent / "gsoc.json").write_text("[]")
    with pytest.raises(FormatError, match="simulate the image sets again"):
        told_blocks(renamed)


def test_a_split_that_cannot_be_is_refused():
    data = toy(40)
    with pytest.raises(InputError, match="set length"):
        deal_images(data, ImageSplit(by="blocks", length=0), 0)
    with pytest.raises(InputError, match="at least 3 blocks"):
        deal_images(data, ImageSplit(by="blocks", length=30), 0)
    with pytest.raises(InputError, match="at least 3 files"):
        deal_images(data, ImageSplit(by="files"), 0)
    with pytest.raises(ValidationError, match="more than 1"):
        ImageSplit(train=0.9, test=0.5)
    sides = deal_images(data, ImageSplit(by="random", train=0.8, validation=0.2, test=0.0), 0)
    with pytest.raises(InputError, match="choose among train, validation"):
        sides.of("test")


def test_equal_images_on_two_sides_are_counted_but_for_empty_ones():
    images = np.random.default_rng(0).random((40, 2, 2))
    images[::2] = 0
    images[1::4] = 3.0
    data = labelled(images, np.arange(40) % 2, ["a", "b"])
    split = ImageSplit(by="random")
    sides = deal_images(data, split, 0)
    rest = np.concatenate([sides.validation, sides.test])
    assert prove_apart(data, sides, split, contents=True).equal_images == int(
        (images[rest, 0, 0] == 3.0).sum()
    )


# -- preparation --------------------------------------------------------------------------------------------------


def prepared(data, *steps, rows=None):
    rows = np.arange(len(data)) if rows is None else rows
    found = fit_preparation(data, rows, [ImageStep.model_validate(step) for step in steps])
    return found, found.transform(data.images.read(np.arange(len(data))))


def test_steps_do_what_their_names_say():
    data = toy(20, channels=2)
    raw = data.images.read(np.arange(20))
    _, x = prepared(data, {"step": "log1p"}, {"step": "min_max"})
    np.testing.assert_allclose((x.min(axis=(0, 2, 3)), x.max(axis=(0, 2, 3))), [[0, 0], [1, 1]], atol=1e-6)
    _, x = prepared(data, {"step": "standard"})
    np.testing.assert_allclose(x.mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(axis=(0, 2, 3)), 1, atol=1e-5)
    _, x = prepared(data, {"step": "unit_sum"})
    np.testing.assert_allclose(x.sum(axis=(2, 3)), 1, rtol=1e-5)
    _, x = prepared(data, {"step": "channel_scale", "at": 0.5})
    np.testing.assert_allclose(np.median(x, axis=(0, 2, 3)), 1, rtol=1e-5)
    _, x = prepared(data, {"step": "signed_log", "at": 0.1})
    np.testing.assert_allclose(x, np.log1p(raw / 0.1), rtol=1e-5)


def test_unit_ring_looks_at_cells_that_are_not_zero():
    images = np.zeros((1, 1, 2, 6), np.float32)
    images[0, 0, 0, ::2] = [1, 2, 3]
    data = labelled(images, [0], ["a"])
    _, x = prepared(data, {"step": "unit_ring"})
    np.testing.assert_allclose(x[0, 0, 0], [0.5, 0, 1, 0, 1.5, 0])
    assert not x[0, 0, 1].any()


def test_deviating_cells_of_either_class_are_masked():
    rng = np.random.default_rng(0)
    images = rng.normal(100, 1, (60, 1, 4, 36)).astype(np.float32)
    images[:30, 0, 1, 5] = 50.0
    images[30:, 0, 2, 7] = 0.0
    images[:, 0, 3] = 0.0
    data = labelled(images, [0] * 30 + [1] * 30, ["a", "b"])
    found, x = prepared(data, {"step": "mask_deviating", "at": 8.0})
    assert np.argwhere(found.learned[0]["keep"][0] == 0).tolist() == [[1, 5], [2, 7]]
    assert not x[:, 0, 1, 5].any()
    assert x[0, 0, 0].all()


def test_nothing_is_learned_outside_the_training_side():
    data, rows = toy(30), np.arange(10)
    other = labelled(
        data.images.read(np.arange(30)) * (1 + 100 * (np.arange(30) >= 10))[:, None, None, None],
        data.labels,
        ["a", "b"],
    )
    for step in ("min_max", "standard", "channel_scale", "mask_deviating"):
        a, _ = prepared(data, {"step": step}, rows=rows)
        b, _ = prepared(other, {"step": step}, rows=rows)
        for one, two in zip(a.learned, b.learned, strict=True):
            for name in one:
                np.testing.assert_array_equal(one[name], two[name])


def test_input_stays_as_it_is():
    data = toy(4)
    raw = data.images.read(np.arange(4))
    before = raw.copy()
    found, _ = prepared(data, {"step": "log1p"}, {"step": "standard"})
    found.transform(raw)
    np.testing.assert_array_equal(raw, before)


def test_a_preparation_comes_back_from_its_files(tmp_path):
    data = toy(20)
    found, x = prepared(data, {"step": "log1p"}, {"step": "mask_deviating", "at": 2.0}, {"step": "standard"})
    found.save(tmp_path)
    again = load_preparation(tmp_path)
    np.testing.assert_array_equal(again.transform(data.images.read(np.arange(20))), x)
    (tmp_path / "preparation.json").write_text('{"steps": [{"step": "nonsense"}]}')
    with pytest.raises(FormatError, match="preparation"):
        load_preparation(tmp_path)


def test_logarithms_of_negative_numbers_are_refused():
    data = labelled(-np.ones((4, 2, 2)), [0, 0, 1, 1], ["a", "b"])
    with pytest.raises(InputError, match="signed_log"):
        prepared(data, {"step": "log1p"})


def test_split_by_chunks_is_by_blocks_where_files_tell_them_and_stratified_where_none_does():
    data = toy(120)
    split = ImageSplit(by="chunks", length=7, guard=2)
    data.table["block"] = -1
    assert settled_split(data, split).by == "stratified"
    stratified = deal_images(data, ImageSplit(by="stratified"), 3)
    assert (deal_images(data, split, 3).test == stratified.test).all()
    data.table["block"] = data.table["position"] // 10
    assert settled_split(data, split) == ImageSplit(by="blocks", length=0)
    proof = prove_apart(data, deal_images(data, split, 3), split)
    assert (proof.shared_blocks, proof.left_out) == (0, 0) and len(proof.blocks) == 3
    data.table.loc[5, "block"] = -1
    with pytest.raises(InputError, match="1 of 120 images without"):
        deal_images(data, split, 3)


def test_too_few_chunks_for_the_sides_are_told_with_the_number_of_images_that_would_do():
    data = toy(40)
    data.table["block"] = data.table["position"] // 10
    message = r"at least 3 chunks of each class.*found 2 of a, with up to 10 images.*at least 30 images of each class"
    with pytest.raises(InputError, match=message):
        settled_split(data, ImageSplit(by="chunks"))
    assert settled_split(data, ImageSplit(by="chunks", train=0.8, validation=0.2, test=0.0)).by == "blocks"


def test_a_source_without_files_of_a_kind_is_told_for_what_it_is(pair, tmp_path):
    with pytest.raises(InputError, match=r"nofile\.hdf5: .* found nothing of that name"):
        image_files([tmp_path / "nofile.hdf5"], "egamma")
    with pytest.raises(InputError, match=r"found runs images\. Fix: choose a recipe of runs"):
        image_files([tmp_path], "jets")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="found a folder without any"):
        image_files([tmp_path / "empty"], "jets")
    other = tmp_path / "notes.txt"
    other.write_text("no images")
    with pytest.raises(InputError, match="found another kind of file"):
        image_files([other], "egamma")
