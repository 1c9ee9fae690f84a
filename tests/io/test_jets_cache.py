"""The cache of jets: whatever happened to it, what is read is what the file holds."""

import json
import os
import shutil

import numpy as np
import pytest

from calowatch.core.errors import ConflictError
from calowatch.core.progress import SilentProgress
from calowatch.io.jets import SHAPE, read_jets, write_jets

N = 4


def some(seed=0):
    rng = np.random.default_rng(seed)
    images = np.where(rng.random((N, *SHAPE)) < 0.002, rng.exponential(0.1, (N, *SHAPE)), 0)
    columns = {"pt": rng.uniform(90, 170, N), "m0": rng.uniform(5, 40, N), "y": np.arange(N) % 2}
    return images.astype(np.float32), columns


@pytest.fixture(scope="module")
def jets(tmp_path_factory):
    """Return a file, its images, and its entry in a cache; every test but the last leaves a whole one."""
    tmp_path = tmp_path_factory.mktemp("jets")
    images, columns = some()
    path = tmp_path / "jets.parquet"
    write_jets(path, [(images, columns)], {})
    read_jets([path], tmp_path / "cache")
    (entry,) = (tmp_path / "cache").iterdir()
    return path, images, entry


def zeros_within(file):
    content = bytearray(file.read_bytes())
    content[-1200:-200] = bytes(1000)
    file.write_bytes(content)


def shorter(file):
    file.write_bytes(file.read_bytes()[:-4])


def one_less(file):
    np.save(file, np.load(file)[:-1])


def empty(file):
    file.write_bytes(b"")


def remove(file):
    file.unlink()


def marker(text):
    return lambda file: file.write_text(text)


def other_marker(**change):
    return lambda file: file.write_text(json.dumps(json.loads(file.read_text()) | change))


DAMAGES = [
    *((name, how) for name in ("first.npy", "pixel.npy", "value.npy", "table.parquet")
      for how in (empty, shorter, remove)),
    *((f"{name}.npy", one_less) for name in ("first", "pixel", "value")),
    ("value.npy", zeros_within),
    ("jets.json", remove),
    *(("jets.json", marker(text)) for text in ("", "{}", "null", "[]", '{"jets": 1}', "no JSON", "\udcff")),
    ("jets.json", other_marker(report={"jets": 1})),
    ("jets.json", other_marker(report=None)),
    ("jets.json", other_marker(parts=[])),
]  # fmt: skip


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_what_is_damaged_is_read_again(jets, name, damage):
    path, images, entry = jets
    try:
        damage(entry / name)
    except UnicodeEncodeError:
        (entry / name).write_bytes(b"\xff\xfe")
    progress = SilentProgress()
    found = read_jets([path], entry.parent, progress)
    assert np.array_equal(found.read(np.arange(N)), images)
    again = SilentProgress()
    read_jets([path], entry.parent, again)
    assert again.notes == []
    assert [each.name for each in entry.parent.iterdir()] == [entry.name]
    if name != "jets.json":
        assert progress.notes == ["jets.parquet: its cache is damaged, so the file is read again"]


def test_a_changed_file_replaces_its_entry_without_a_word(jets, tmp_path):
    given, images, _ = jets
    path = shutil.copy(given, tmp_path)
    read_jets([path], tmp_path / "cache")
    (entry,) = (tmp_path / "cache").iterdir()
    progress = SilentProgress()
    for number in (2, 3):
        os.utime(path, ns=(number * 10**9,) * 2)
        assert np.array_equal(read_jets([path], entry.parent, progress).read(np.arange(N)), images)
    assert [each.name for each in entry.parent.iterdir()] == [entry.name]
    other = some(1)
    write_jets(path, [other], {})
    assert np.array_equal(read_jets([path], entry.parent, progress).read(np.arange(N)), other[0])
    assert [each.name for each in entry.parent.iterdir()] == [entry.name]
    assert progress.notes == []


def test_the_cache_can_be_deleted_any_time(jets):
    path, images, entry = jets
    held = read_jets([path], entry.parent)
    shutil.rmtree(entry.parent)
    assert np.array_equal(held.read(np.arange(N)), images)
    assert np.array_equal(read_jets([path], entry.parent).read(np.arange(N)), images)


def test_a_place_that_cannot_be_a_cache_is_told(jets, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConflictError, match="CALOWATCH_CACHE"):
        read_jets([jets[0]], tmp_path / "file")


def test_what_is_not_ours_is_not_removed(jets):
    path, _, entry = jets
    (entry / "jets.json").unlink()
    (entry / "thesis.txt").write_text("all of it")
    with pytest.raises(ConflictError, match="CALOWATCH_CACHE"):
        read_jets([path], entry.parent)
    assert (entry / "thesis.txt").read_text() == "all of it"
