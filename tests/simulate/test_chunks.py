"""Chunks: the same whoever makes them, taken up where work was broken off, never mixed with others."""

import resource
from dataclasses import asdict

import numpy as np
import pytest

from calowatch.core.errors import ConflictError, InputError
from calowatch.core.progress import SilentProgress
from calowatch.simulate.chunks import Chunk, ChunkPlan, Place, chunks_of, read_chunk, run_chunks

FINGERPRINT = {"scale": 2.0}


def draw(chunk):
    return {"x": chunk.rng().normal(size=chunk.size), "number": np.array(chunk.number)}


def plan(n=25, size=10, seed=3, task=draw, fingerprint=None):
    return ChunkPlan(task, chunks_of(n, size, seed), fingerprint or FINGERPRINT)


def test_chunks_cover_everything_once():
    chunks = chunks_of(25, 10, seed=3, stream=1, start=4)
    assert [chunk.number for chunk in chunks] == [4, 5, 6]
    assert np.concatenate([np.arange(c.first, c.first + c.size) for c in chunks]).tolist() == list(range(25))


def test_streams_and_purposes_share_no_numbers():
    chunk = Chunk(0, 0, 1, seed=5)
    others = [Chunk(0, 0, 1, seed=5, stream=1).rng(), chunk.rng(1), Chunk(0, 0, 1, seed=6).rng()]
    drawn = {chunk.rng().random(), *(other.random() for other in others)}
    assert len(drawn) == 4


def left(work, folder):
    """Leave all chunks of a plan, as a generation that breaks off while they are used."""
    with pytest.raises(KeyboardInterrupt), run_chunks(work, folder) as paths:
        raise KeyboardInterrupt
    return paths


def noted(work, folder):
    """Return the arrays of a plan, and what was noted."""
    progress = SilentProgress()
    with run_chunks(work, folder, progress=progress) as paths:
        return [read_chunk(path) for path in paths], progress.notes


def test_other_processes_give_the_same(tmp_path):
    """A function that other processes can import: what a chunk knows of itself."""
    work = plan(task=asdict)
    found = []
    for place in (Place(), Place(workers=2)):
        with run_chunks(work, tmp_path / "chunks", place) as paths:
            found.append([read_chunk(path) for path in paths])
    assert found[0] == found[1]
    assert [int(one["size"]) for one in found[0]] == [10, 10, 5]


def test_the_folder_goes_once_the_chunks_are_used(tmp_path):
    folder = tmp_path / "chunks"
    with run_chunks(plan(), folder) as paths:
        assert sorted(folder.iterdir()) == [*paths, folder / "plan.json"]
    assert not folder.exists()
    left(plan(), folder)
    (folder / "mine.txt").write_text("precious")
    noted(plan(), folder)
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


def test_what_is_there_is_not_made_again(tmp_path):
    paths = left(plan(), tmp_path)
    before = [path.stat().st_mtime_ns for path in paths]
    paths[1].write_bytes(b"damaged")
    progress = SilentProgress()
    with run_chunks(plan(), tmp_path, progress=progress) as again:
        assert again == paths
        after = [path.stat().st_mtime_ns for path in paths]
        assert len(read_chunk(paths[1])["x"]) == 10
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True]
    assert progress.notes == ["going on: 2 of 3 chunks are there"]


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (plan(seed=4), "other chunks"),
        (plan(size=5), "other chunks"),
        (plan(fingerprint={"scale": 3.0}), r"\(scale 3.0\), found an unfinished generation with scale 2.0"),
        (plan(fingerprint={"a": {"b": 1}}), r"\(a.b 1, no scale\).* with no a.b, scale 2.0"),
    ],
)
def test_chunks_of_other_settings_are_refused_and_the_difference_named(tmp_path, other, told):
    left(plan(), tmp_path)
    with pytest.raises(ConflictError, match=told):
        noted(other, tmp_path)


def test_a_damaged_plan_is_no_plan_of_others(tmp_path):
    left(plan(), tmp_path)
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(ConflictError, match=r"a damaged plan\.json"):
        noted(plan(seed=4), tmp_path)
    assert noted(plan(), tmp_path)[1] == ["going on: 3 of 3 chunks are there"]


def test_chunks_without_a_plan_are_never_taken_for_others(tmp_path):
    """As a removal leaves them that was broken off, and as two processes left them that knew nothing of another."""
    folder = tmp_path / "chunks"
    paths = left(plan(seed=3), folder)
    (folder / "plan.json").unlink()
    paths[0].rename(folder / "chunk-000000.npz")
    (folder / f".{paths[0].name}.0123abcd.partial").write_bytes(b"half")
    with run_chunks(plan(seed=99), folder) as made:
        found = [read_chunk(path)["x"] for path in made]
        assert sorted(folder.iterdir()) == sorted([*made, folder / "plan.json"])
    for one, chunk in zip(found, chunks_of(25, 10, 99), strict=True):
        np.testing.assert_array_equal(one, draw(chunk)["x"])


def test_a_second_process_is_told_at_once(tmp_path):
    folder = tmp_path / "chunks"
    with run_chunks(plan(), folder) as paths:
        with pytest.raises(ConflictError, match="another process"):
            noted(plan(seed=4), folder)
        assert all(path.is_file() for path in paths)
    assert not folder.exists()


def test_a_failed_start_leaves_nothing_in_the_way(tmp_path):
    folder = tmp_path / "chunks"
    with pytest.raises(InputError, match="--workers"), run_chunks(plan(seed=5), folder, Place(workers=0)):
        pass
    assert not folder.exists()
    folder.mkdir()
    (folder / "plan.json").write_text('{"scale": 9.0}')  # killed before the first chunk was kept
    assert noted(plan(seed=6), folder)[1] == []


@pytest.mark.parametrize("limit", [40, 2000])
def test_a_full_disk_is_named(tmp_path, limit):
    """A limit on the size of files stands for the disk: of the plan, or of the chunks."""
    folder = tmp_path / "chunks"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(OSError, match="large") as caught, run_chunks(plan(n=500, size=500), folder):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    named = {40: "plan.json", 2000: "chunk-000000-"}[limit]
    assert caught.value.filename.startswith(str(folder / named))
    assert not list(folder.rglob("*"))


def test_a_chunk_that_is_not_there_has_one_clear_error(tmp_path):
    with pytest.raises(InputError, match="generate again"):
        read_chunk(tmp_path / "chunk-000000.npz")
