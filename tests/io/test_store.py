"""The store: what it keeps, what it refuses, and what a crash leaves behind."""

import json
import shutil

import numpy as np
import pytest
import zarr

from calowatch.core.errors import ConflictError, CountsError, FormatError, InputError, UnknownNameError
from calowatch.core.progress import SilentProgress
from calowatch.io import store as store_module
from calowatch.io.store import is_store, open_run, runs, write_run


@pytest.fixture(scope="module")
def hb(samples):
    return samples.sample_run("HB")


@pytest.fixture
def store(hb, tmp_path):
    write_run(tmp_path / "store", hb)
    return tmp_path / "store"


def state(folder):
    """Every file and its content."""
    return {str(item.relative_to(folder)): item.read_bytes() for item in folder.rglob("*") if item.is_file()}


def changed(run):
    other = run.copy(deep=True)
    other["counts"][1, 7] = 0 if other["counts"][1, 7] else 1
    return other


def with_source(run, sha256):
    other = run.copy()
    other.attrs = {**run.attrs, "provenance": {"sources": [{"name": "a.root", "bytes": 1, "sha256": sha256}]}}
    return other


def test_one_group_per_run_chunked_by_lumisection_without_strings(store, samples):
    group = zarr.open_group(store, mode="r")
    assert [name for name, _ in group.groups()] == [str(samples.run)]
    arrays = dict(group[str(samples.run)].arrays())
    assert set(arrays) == {"counts", "n_events", "ls", "channel"}
    assert all(array.dtype.kind == "i" for array in arrays.values())
    assert arrays["counts"].chunks == (3, 9072)


def test_long_runs_are_cut_into_chunks_and_read_lazily(samples, tmp_path):
    run = samples.sample_run("HO", ls=range(1, 151))
    write_run(tmp_path / "store", run)
    assert zarr.open_array(tmp_path / f"store/{samples.run}/counts", mode="r").chunks[0] == 64
    shutil.rmtree(tmp_path / f"store/{samples.run}/counts/c/2")
    lazy = open_run(tmp_path / "store", samples.run, lazy=True)
    np.testing.assert_array_equal(lazy["counts"][60:70], run["counts"][60:70])
    np.testing.assert_array_equal(lazy["subdet"], run["subdet"])


def test_several_runs(store, samples):
    write_run(store, samples.sample_run("HB", run=355456))
    assert runs(store) == [355456, samples.run]


def test_the_same_files_are_recognised(hb, tmp_path):
    run = with_source(hb, "0af3")
    assert write_run(tmp_path / "s", run) == "converted"
    before = state(tmp_path)
    assert write_run(tmp_path / "s", run) == "already there"
    assert state(tmp_path) == before


def test_other_subdetectors_are_merged_in_any_order(samples, healthy, tmp_path):
    for name in ("HO", "HB HE", "HF"):
        write_run(tmp_path / "s", with_source(samples.part_of(healthy, name), name))
    stored = open_run(tmp_path / "s", samples.run)
    np.testing.assert_array_equal(stored["counts"], healthy["counts"])
    assert [each["sha256"] for each in stored.attrs["provenance"]["sources"]] == ["HO", "HB HE", "HF"]


def test_equal_counts_are_merged(store, hb):
    assert write_run(store, with_source(hb, "other file")) == "merged"


def test_different_counts_are_refused_and_replaced_on_demand(store, hb, samples):
    before = state(store)
    with pytest.raises(ConflictError, match=r"counts of HB .* in LS 2, channel HB .* --replace"):
        write_run(store, changed(hb))
    assert state(store) == before
    assert write_run(store, changed(hb), replace=True) == "converted"
    assert open_run(store, samples.run)["counts"].equals(changed(hb)["counts"])


def test_missing_things_have_their_own_errors(store, samples, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        runs(tmp_path / "nowhere")
    with pytest.raises(UnknownNameError, match=rf"store::1: .* found only {samples.run}"):
        open_run(store, 1)
    with pytest.raises(FormatError, match="another folder"):
        runs(tmp_path)
    shutil.rmtree(store / str(samples.run))
    with pytest.raises(InputError, match="an empty store"):
        open_run(store, samples.run)


def test_never_writes_into_somebody_elses_folder(hb, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConflictError, match="something else"):
        write_run(tmp_path, hb)
    assert not is_store(tmp_path)
    assert state(tmp_path) == {"thesis.tex": b"years of work"}


@pytest.mark.parametrize("at", ["to_zarr", "rename"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_whatever_stops_a_write_leaves_the_old_state(store, hb, samples, monkeypatch, at, error):
    before = state(store)
    real = getattr(store_module.xr.Dataset, "to_zarr") if at == "to_zarr" else store_module.Path.rename  # noqa: B009

    def stop(self, target, *args, **kwargs):
        if at == "rename" and self.name.endswith((str(samples.run), ".old")):
            return real(self, target)
        if at == "to_zarr":
            real(self.isel(ls=[0]), target, *args, **{**kwargs, "encoding": None})
        raise error

    owner = store_module.xr.Dataset if at == "to_zarr" else store_module.Path
    with monkeypatch.context() as patch:
        patch.setattr(owner, at, stop)
        with pytest.raises(type(error)):
            write_run(store, changed(hb), replace=True)
    assert state(store) == before


@pytest.mark.parametrize("renamed", [False, True], ids=["while writing", "between the renames"])
def test_a_writer_that_was_killed_is_cleared_up_after(store, hb, samples, renamed):
    before = state(store)
    (store / f".{samples.run}.new-0123abcd/counts").mkdir(parents=True)
    if renamed:
        (store / str(samples.run)).rename(store / f".{samples.run}.old")
    assert open_run(store, samples.run)["counts"].equals(hb["counts"])
    assert state(store) == before


def test_a_store_whose_maker_was_killed_is_made_anew(hb, samples, tmp_path):
    (tmp_path / "s/.0.new-0123abcd/c").mkdir(parents=True)
    write_run(tmp_path / "s", hb)
    assert runs(tmp_path / "s") == [samples.run]
    assert sorted(item.name for item in (tmp_path / "s").iterdir()) == [str(samples.run), "zarr.json"]


def test_a_writer_killed_after_the_renames(store, samples):
    before = state(store)
    shutil.copytree(store / str(samples.run), store / f".{samples.run}.old")
    assert runs(store) == [samples.run]
    assert state(store) == before


def test_nothing_is_cleared_up_while_somebody_writes(store, samples):
    scratch = store / f".{samples.run}.new-0123abcd"
    scratch.mkdir()
    with store_module._locked(store):
        assert runs(store) == [samples.run]
        assert scratch.exists()


def test_lost_counts_never_read_as_zeros(store, samples):
    shutil.rmtree(store / f"{samples.run}/counts/c")
    with pytest.raises(CountsError, match="zero or more"):
        open_run(store, samples.run)


def test_damaged_counts_are_an_error(store, samples):
    chunk = store / f"{samples.run}/counts/c/0/0"
    chunk.write_bytes(chunk.read_bytes()[:100])
    with pytest.raises(FormatError, match="convert it again"):
        open_run(store, samples.run)


def spoilt(document, *keys):
    """Yield the document without each of its entries and with others in their place, however deep."""
    for key in document:
        yield {name: value for name, value in document.items() if name != key}
        yield from ({**document, key: other} for other in (None, "abc", 7, [], {}))
        if key in keys and isinstance(document[key], dict):
            yield from ({**document, key: inner} for inner in spoilt(document[key], *keys))


@pytest.mark.parametrize("name", ["", "counts", "channel", "ls", "n_events"])
def test_damaged_metadata_is_one_clear_error(store, samples, name):
    """Whatever is changed in it: read as before, or refused by name; never a crash."""
    path = store / str(samples.run) / name / "zarr.json"
    whole = path.read_text()
    texts = ["", "{}", "[]", "null", whole[:50]]
    for text in [*texts, *map(json.dumps, spoilt(json.loads(whole), "attributes"))]:
        path.write_text(text)
        try:
            open_run(store, samples.run)
        except InputError as error:
            assert str(samples.run) in error.where
            assert "--replace" in error.fix or isinstance(error, CountsError), text
        else:
            assert text not in texts


def test_a_run_with_damaged_metadata_is_replaced(store, samples, hb):
    (store / f"{samples.run}/zarr.json").write_text("{}")
    assert store_module.held_runs(store) == {samples.run: {}}
    for use in (lambda: store_module.run_attrs(store, samples.run), lambda: write_run(store, hb)):
        with pytest.raises(FormatError, match=f"::{samples.run}: .*--replace"):
            use()
    assert write_run(store, hb, replace=True) == "converted"
    np.testing.assert_array_equal(open_run(store, samples.run)["counts"], hb["counts"])


def test_attributes_are_plain_json(store, samples):
    attributes = json.loads((store / f"{samples.run}/zarr.json").read_text())["attributes"]
    assert attributes == {
        "run": samples.run,
        "era": "run3",
        "provenance": {},
        "n_ls": 3,
        "subdets": ["HB"],
    }


def test_a_note_when_merging_leaves_lumisections_out(store, samples):
    progress = SilentProgress()
    write_run(store, samples.sample_run("HO", ls=(2, 3, 4)), progress=progress)
    assert open_run(store, samples.run)["ls"].values.tolist() == [2, 3]
    assert "2 of 4 lumisections" in progress.notes[0]
