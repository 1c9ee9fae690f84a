"""Writes are whole or not at all, and never at somebody else's cost."""

import errno
import json
import os

import pytest

from calowatch.core.errors import ConflictError
from calowatch.core.files import (
    atomic_directory,
    atomic_file,
    check_place,
    file_hash,
    staged_files,
    write_json,
)


class BoomError(Exception):
    pass


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_file_appears_whole(tmp_path):
    with atomic_file(tmp_path / "new" / "a.txt") as scratch:
        scratch.write_text("x")
        assert names(tmp_path) != ["new/a.txt"]
    assert names(tmp_path) == ["new/a.txt"]


def test_a_failing_write_leaves_the_old_file(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(BoomError), atomic_file(tmp_path / "a.txt") as scratch:
        scratch.write_text("half")
        raise BoomError
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert names(tmp_path) == []
    write_json(tmp_path / "a.json", {"x": [1, None]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": [1, None]}


def test_a_folder_of_ours_is_replaced_and_anothers_is_not(tmp_path):
    for content in ("one", "two"):
        with atomic_directory(tmp_path / "ours", marker="mark") as scratch:
            (scratch / "mark").write_text(content)
    assert (tmp_path / "ours" / "mark").read_text() == "two"
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis").write_text("x")
    with pytest.raises(ConflictError, match="lost"), atomic_directory(tmp_path / "theirs", marker="mark"):
        pass
    assert names(tmp_path) == ["ours/mark", "theirs/thesis"]


def test_a_failing_folder_leaves_the_old_one(tmp_path):
    with atomic_directory(tmp_path / "ours", marker="mark") as scratch:
        (scratch / "mark").write_text("old")
    with pytest.raises(BoomError), atomic_directory(tmp_path / "ours", marker="mark") as scratch:
        (scratch / "mark").write_text("half")
        raise BoomError
    assert (tmp_path / "ours" / "mark").read_text() == "old"
    assert names(tmp_path) == ["ours/mark"]


def test_staged_files_join_what_is_there(tmp_path):
    (tmp_path / "out" / "maps").mkdir(parents=True)
    for name in ("mine.txt", "maps/HF_old.png", "maps/mine.png"):
        (tmp_path / "out" / name).write_text("there before")
    with staged_files(tmp_path / "out", owned=["maps/*_old.png"]) as scratch:
        (scratch / "maps").mkdir()
        (scratch / "maps" / "HB_old.png").write_text("new")
    assert names(tmp_path) == ["out/maps/HB_old.png", "out/maps/mine.png", "out/mine.txt"]


def test_staged_files_that_fail_change_nothing(tmp_path):
    with pytest.raises(BoomError), staged_files(tmp_path / "out", owned=["*"]) as scratch:
        (scratch / "a").write_text("x")
        raise BoomError
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_told_before_work_begins(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    for place in (tmp_path / "a.txt", tmp_path / "a.txt" / "deeper" / "still"):
        with pytest.raises(ConflictError, match=r"the file a\.txt"):
            check_place(place)
    check_place(tmp_path / "not" / "yet")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_without_permission_is_told(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConflictError, match="no permission"):
        check_place(tmp_path / "out")


def test_hash_is_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    assert file_hash(tmp_path / "a").startswith("e3b0c44298fc1c14")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_names_what_was_written(tmp_path, number):
    target = tmp_path / "a"
    for writing in (atomic_file(target), atomic_directory(target, marker="m"), staged_files(target)):
        with pytest.raises(OSError, match=r".") as caught, writing as scratch:
            raise OSError(number, "full")
        assert caught.value.filename == str(target)
        assert not scratch.exists()


def test_errors_of_something_else_are_not_given_a_name(tmp_path):
    with pytest.raises(BrokenPipeError) as caught, atomic_file(tmp_path / "a"):
        raise BrokenPipeError(errno.EPIPE, "gone")
    assert caught.value.filename is None
