"""Chunks: the same whoever makes them, taken up where work was broken off, never mixed with others."""

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


def test_other_processes_give_the_same(tmp_path):
    """A function that other processes can import: what a chunk knows of itself."""
    work = plan(task=asdict)
    here = [read_chunk(path) for path in run_chunks(work, tmp_path / "a")]
    there = [read_chunk(path) for path in run_chunks(work, tmp_path / "b", Place(workers=2))]
    assert here == there
    assert [int(one["size"]) for one in here] == [10, 10, 5]


def test_what_is_there_is_not_made_again(tmp_path):
    paths = run_chunks(plan(), tmp_path)
    before = [path.stat().st_mtime_ns for path in paths]
    paths[1].write_bytes(b"damaged")
    progress = SilentProgress()
    run_chunks(plan(), tmp_path, progress=progress)
    after = [path.stat().st_mtime_ns for path in paths]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True]
    assert len(read_chunk(paths[1])["x"]) == 10
    assert progress.notes == ["going on: 2 of 3 chunks are there"]


@pytest.mark.parametrize("other", [plan(seed=4), plan(size=5), plan(fingerprint={"scale": 3.0})])
def test_chunks_of_other_settings_are_refused(tmp_path, other):
    run_chunks(plan(), tmp_path)
    with pytest.raises(ConflictError, match="remove this folder"):
        run_chunks(other, tmp_path)


def test_a_damaged_plan_is_refused(tmp_path):
    run_chunks(plan(), tmp_path)
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(ConflictError):
        run_chunks(plan(), tmp_path)


def test_a_chunk_that_is_not_there_has_one_clear_error(tmp_path):
    with pytest.raises(InputError, match="generate again"):
        read_chunk(tmp_path / "chunk-000000.npz")
