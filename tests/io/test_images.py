"""Image sets: what is read back, and what is refused rather than guessed."""

import numpy as np
import pytest

from calowatch.core.errors import AmbiguousLayoutError, CountsError, FormatError, InputError
from calowatch.core.progress import SilentProgress
from calowatch.io.images import find_images, looks_like_images, read_images, refuse_images, write_images

NAME = "Run355456_Dataset_a.npy"


def some_images(n=5, seed=0):
    images = np.zeros((n, 64, 72))
    images[:, 3:12, ::2] = np.random.default_rng(seed).uniform(100, 1400, (n, 9, 36))
    return images


@pytest.fixture
def path(tmp_path):
    write_images(tmp_path / NAME, some_images())
    return tmp_path / NAME


def test_what_is_written_is_read_back(path):
    progress = SilentProgress()
    found = read_images(path, progress=progress)
    np.testing.assert_array_equal(found.images, some_images())
    assert (found.label, found.run, len(found)) == ("run 355456", 355456, 5)
    assert progress.notes == [f"{NAME}: run 355456, taken from the name"]


def test_images_are_mapped_not_loaded(path):
    found = read_images(path)
    assert isinstance(found.images, np.memmap)
    assert not found.images.flags.writeable


def test_blocks_give_every_image_once(tmp_path):
    images = some_images(600)
    write_images(tmp_path / NAME, images)
    blocks = list(read_images(tmp_path / NAME).blocks())
    assert [len(block) for block in blocks] == [256, 256, 88]
    np.testing.assert_array_equal(np.concatenate(blocks), images)


def test_a_label_of_the_users_own(tmp_path):
    write_images(tmp_path / "x.npy", some_images())
    found = read_images(tmp_path / "x.npy", "before")
    assert (found.label, found.run) == ("before", None)
    with pytest.raises(InputError, match="--label"):
        read_images(tmp_path / "x.npy")


def test_two_runs_in_a_name_are_refused(tmp_path):
    path = tmp_path / "Run355456_Run357479_Dataset.npy"
    write_images(path, some_images())
    with pytest.raises(AmbiguousLayoutError, match="355456 and 357479"):
        read_images(path)


@pytest.mark.parametrize(
    ("value", "words"), [(np.nan, "nan in image 4"), (-1.5, "-1.5"), (np.inf, "inf")], ids=str
)
def test_impossible_values_are_refused_with_their_place(tmp_path, value, words):
    images = some_images()
    images[4, 7, 9] = value
    np.save(tmp_path / NAME, images)
    with pytest.raises(CountsError, match=f"{words}.*row 7, column 9"):
        read_images(tmp_path / NAME)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.ones((3, 72, 64)) / 3, "swap the last two axes"),
        (np.ones((64, 72)) / 3, r"shape \(64, 72\)"),
        (np.ones((3, 64, 72, 7)) / 3, "shape"),
        (np.ones((0, 64, 72)), "shape"),
        (np.ones((3, 64, 72), np.int32), "int32"),
    ],
)
def test_other_shapes_and_types_are_refused(tmp_path, array, words):
    np.save(tmp_path / NAME, array)
    assert not looks_like_images(tmp_path / NAME)
    with pytest.raises(FormatError, match=words):
        read_images(tmp_path / NAME)


def test_whole_numbers_may_be_counts_and_are_refused(tmp_path):
    np.save(tmp_path / NAME, np.full((3, 64, 72), 7.0))
    assert not looks_like_images(tmp_path / NAME)
    with pytest.raises(AmbiguousLayoutError, match="counts"):
        read_images(tmp_path / NAME)


@pytest.mark.parametrize("begun", [False, True])
def test_empty_images_are_called_empty(tmp_path, path, begun):
    np.save(tmp_path / "Run357479_Dataset_a.npy", np.zeros((3, 64, 72)))
    source = find_images(tmp_path)[1] if begun else tmp_path / "Run357479_Dataset_a.npy"
    with pytest.raises(CountsError, match=r"Run357479.*3 empty images"):
        read_images(source)


def test_objects_are_never_unpickled(tmp_path):
    np.save(tmp_path / NAME, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(FormatError):
        read_images(tmp_path / NAME)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"not an array at all"])
def test_broken_files_are_refused(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    assert not looks_like_images(tmp_path / NAME)
    with pytest.raises(FormatError):
        read_images(tmp_path / NAME)


def test_an_archive_and_a_missing_file_are_refused(tmp_path):
    np.savez(tmp_path / "Run355456.npz", a=np.ones(3))
    (tmp_path / "Run355456.npz").rename(tmp_path / NAME)
    with pytest.raises(FormatError, match="archive"):
        read_images(tmp_path / NAME)
    with pytest.raises(InputError, match="no such file"):
        read_images(tmp_path / "Run355457.npy")


def test_a_cut_file_is_refused(path):
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(FormatError):
        read_images(path)


def test_images_are_no_occupancy(path, tmp_path):
    with pytest.raises(FormatError, match="calowatch explore"):
        refuse_images(path)
    np.save(tmp_path / "counts.npy", np.ones((3, 64, 72, 7), np.int32))
    refuse_images(tmp_path / "counts.npy")


def test_a_folder_names_its_image_sets_only(path, tmp_path):
    np.save(tmp_path / "output__depth.npy", np.ones((3, 64, 72, 7), np.int32))
    assert find_images(tmp_path) == [path]
    assert find_images(tmp_path / "output__depth.npy") == [tmp_path / "output__depth.npy"]
    assert find_images(tmp_path / "run.root") == []


def test_the_writer_refuses_what_no_reader_takes(tmp_path):
    for images in (np.ones((2, 64, 72)), -some_images(), some_images()[:, :, :71], some_images(0)):
        with pytest.raises(ValueError, match="images"):
            write_images(tmp_path / NAME, images)
    assert list(tmp_path.iterdir()) == []
