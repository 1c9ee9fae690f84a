"""Jet images from Parquet: the published layout, a sparse cache that loses nothing, faults with counts."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from calowatch.core.errors import CountsError, FormatError, InputError
from calowatch.core.progress import SilentProgress
from calowatch.core.training import ImageDataRecipe
from calowatch.data.image_sets import open_images
from calowatch.io.jets import CLASSES, SHAPE, find_jets, looks_like_jets, read_jets, write_jets
from calowatch.metrics.jets import JET_OBSERVABLES, jet_observables


def some(n=6, seed=0):
    """Return sparse images with towers as the HCAL has them, and columns."""
    rng = np.random.default_rng(seed)
    images = np.where(rng.random((n, *SHAPE)) < 0.01, rng.exponential(0.1, (n, *SHAPE)), 0).astype(np.float32)
    towers = np.where(rng.random((n, 25, 25)) < 0.1, rng.exponential(0.01, (n, 25, 25)), 0)
    images[:, 2] = np.repeat(np.repeat(towers, 5, axis=1), 5, axis=2)
    columns = {"pt": rng.uniform(90, 170, n), "m0": rng.uniform(5, 40, n), "y": np.arange(n) % 2}
    return images, columns


def as_published(path, images, columns, row_group=1, *, flat=None):
    """Write as the published files were written: from nested Python lists, one jet per row group."""
    nested = images.tolist() if flat is None else flat
    table = pa.table({"X_jets": nested, **{name: np.asarray(v, float) for name, v in columns.items()}})
    pq.write_table(table, path, compression="snappy", row_group_size=row_group)
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CALOWATCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("row_group", [1, 4, 1000])
def test_the_published_layout_comes_back_exactly(tmp_path, cache, row_group):
    images, columns = some(70)
    path = as_published(tmp_path / "run0.test.snappy.parquet", images, columns, row_group)
    found = read_jets([path])
    rows = np.random.default_rng(1).permutation(70)
    assert found.shape == (70, *SHAPE)
    assert np.array_equal(found.read(rows), images[rows])
    assert found.read(rows[:0]).shape == (0, *SHAPE)
    assert found.labels.tolist() == columns["y"].tolist()
    assert found.scalars == pytest.approx(np.stack([columns["pt"], columns["m0"]], axis=1), rel=1e-6)
    assert found.table["position"].tolist() == list(range(70))
    assert (found.table["block"] == -1).all()
    report = found.reports[0]
    assert (report.jets, report.quarks, report.empty, report.broken) == (70, 35, 0, 0)
    assert report.mean == pytest.approx(images.mean(axis=(0, 2, 3)), rel=1e-4)
    assert report.largest == pytest.approx(images.max(axis=(0, 2, 3)))
    assert report.nonzero == pytest.approx((images != 0).mean(axis=(0, 2, 3)))


def test_what_was_read_is_mapped_the_next_time(tmp_path, cache):
    images, columns = some()
    path = as_published(tmp_path / "jets.parquet", images, columns)
    read_jets([path])
    held = sorted(cache.rglob("*.npy"))
    stamps = [file.stat().st_mtime_ns for file in held]
    assert {file.name for file in held} == {"first.npy", "pixel.npy", "value.npy"}
    assert np.array_equal(read_jets([path]).read(np.arange(6)), images)
    assert [file.stat().st_mtime_ns for file in held] == stamps
    assert sum(file.stat().st_size for file in held) < images.nbytes / 5
    changed = as_published(path, images * 2, columns)
    assert np.array_equal(read_jets([changed]).read(np.arange(6)), images * 2)


def test_our_own_files_keep_truth_and_provenance(tmp_path, cache):
    images, columns = some(10)
    truth = {"eta": np.linspace(-1, 1, 10, dtype=np.float32), "chunk": np.repeat([3, 4], 5)}
    path = tmp_path / "own.parquet"
    parts = [(images[part], {name: values[part] for name, values in (columns | truth).items()})
             for part in (slice(0, 7), slice(7, 10))]  # fmt: skip
    write_jets(path, parts, {"verb": "simulate jets"}, row_group=4)
    schema = pq.read_schema(path)
    assert json.loads(schema.metadata[b"provenance"]) == {"verb": "simulate jets"}
    published = as_published(tmp_path / "published.parquet", images, columns)
    assert schema.field("X_jets").type == pq.read_schema(published).field("X_jets").type
    assert [schema.field(name).type for name in ("pt", "m0", "y")] == [pa.float64()] * 3
    found = read_jets([path])
    assert np.array_equal(found.read(np.arange(10)), images)
    assert found.table["block"].tolist() == [3] * 5 + [4] * 5
    assert found.table["eta"].to_numpy() == pytest.approx(truth["eta"])


def test_several_files_are_one_source(tmp_path, cache):
    one, two = some(5, 1), some(4, 2)
    paths = [as_published(tmp_path / f"{n}.parquet", *given) for n, given in enumerate((one, two))]
    found = read_jets(paths)
    rows = np.array([8, 0, 5, 4, 4])
    assert np.array_equal(found.read(rows), np.concatenate([one[0], two[0]])[rows])
    assert found.table["source"].tolist() == ["0.parquet"] * 5 + ["1.parquet"] * 4
    assert find_jets(tmp_path) == paths


def test_channels_that_come_last_are_turned(tmp_path, cache):
    images, columns = some()
    progress = SilentProgress()
    path = as_published(tmp_path / "last.parquet", images.transpose(0, 2, 3, 1), columns)
    found = read_jets([path], progress=progress)
    assert np.array_equal(found.read(np.arange(6)), images)
    assert found.reports[0].turned == 6
    assert any("6 images whose channel is not the first axis" in note for note in progress.notes)


def test_empty_and_broken_jets_are_left_out_and_counted(tmp_path, cache):
    images, columns = some(8)
    images[1] = 0
    images[3, 0, 5, 5] = np.nan
    images[4, 1, 5, 5] = np.inf
    images[6, 1, 7, 7] = -0.1
    columns["m0"][5] = np.nan
    progress = SilentProgress()
    found = read_jets([as_published(tmp_path / "odd.parquet", images, columns)], progress=progress)
    kept = [0, 2, 6, 7]
    assert found.table["position"].tolist() == kept
    assert np.array_equal(found.read(np.arange(4)), images[kept])
    report = found.reports[0]
    assert (report.empty, report.broken, report.negative) == (1, 3, 1)
    assert sum("odd.parquet" in note for note in progress.notes) == 3


def test_images_of_another_shape_are_counted_and_the_first_is_named(tmp_path, cache):
    images, columns = some(6)
    lists = images.tolist()
    lists[2] = images[2, :, :, :64].tolist()
    lists[4] = images[4, :2].tolist()
    path = as_published(tmp_path / "mixed.parquet", images, columns, flat=lists, row_group=6)
    with pytest.raises(
        FormatError, match=r"2 of another shape among jets 0 to 5, the first is jet 2: 3 x 125 x 64"
    ):
        read_jets([path])
    small = as_published(tmp_path / "small.parquet", images[:, :, :64, :64], columns, row_group=6)
    with pytest.raises(FormatError, match="6 of another shape"):
        read_jets([small])
    assert not list(cache.rglob("*.json"))


def test_other_nestings_and_missing_lists_are_refused(tmp_path, cache):
    images, columns = some(2)
    flat = as_published(tmp_path / "flat.parquet", images, columns, flat=images.reshape(2, -1).tolist())
    with pytest.raises(FormatError, match="nested lists of numbers"):
        read_jets([flat])
    missing = as_published(tmp_path / "missing.parquet", images, columns, flat=[images[0].tolist(), None])
    with pytest.raises(FormatError, match="1 missing lists"):
        read_jets([missing])


def test_channels_in_another_order_are_refused(tmp_path, cache):
    images, columns = some()
    with pytest.raises(CountsError, match="towers of the HCAL in channel 0"):
        read_jets([as_published(tmp_path / "turned.parquet", images[:, ::-1], columns)])


def test_labels_and_columns_are_checked(tmp_path, cache):
    images, columns = some()
    with pytest.raises(CountsError, match="labels 0"):
        read_jets([as_published(tmp_path / "labels.parquet", images, columns | {"y": np.arange(6)})])
    del columns["m0"]
    with pytest.raises(FormatError, match="no column m0"):
        read_jets([as_published(tmp_path / "columns.parquet", images, columns)])


def test_files_of_something_else_are_refused(tmp_path, cache):
    (tmp_path / "text.parquet").write_text("no Parquet")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    assert not looks_like_jets(tmp_path / "text.parquet")
    assert not looks_like_jets(tmp_path / "other.parquet")
    with pytest.raises(FormatError):
        read_jets([tmp_path / "text.parquet"])
    with pytest.raises(InputError, match="no such file"):
        read_jets([tmp_path / "none.parquet"])
    whole = as_published(tmp_path / "whole.parquet", *some()).read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match=r"cut\.parquet"):
        read_jets([tmp_path / "cut.parquet"])


def test_nothing_is_left_of_a_file_that_could_not_be_written(tmp_path):
    images, columns = some()
    with pytest.raises(ValueError, match="shape"):
        write_jets(tmp_path / "bad.parquet", [(images, columns), (images[:, :, :9], columns)], {})
    with pytest.raises(ValueError, match="no jets"):
        write_jets(tmp_path / "bad.parquet", [], {})
    assert not list(tmp_path.iterdir())


def test_jets_are_labelled_images(tmp_path, cache):
    images, columns = some()
    path = as_published(tmp_path / "jets.parquet", images, columns)
    data = open_images([path], ImageDataRecipe(kind="jets", scalars=("pt", "m0"), channels=("hcal", "ecal")))
    assert data.classes == CLASSES == ("gluon", "quark")
    assert data.channels == ("hcal", "ecal")
    assert np.array_equal(data.images.read(np.arange(6)), images[:, [2, 1]])
    assert data.scalar_names == ("pt", "m0")
    more = open_images([tmp_path], ImageDataRecipe(kind="jets", scalars=("width", "pt")))
    width = jet_observables(images)[:, JET_OBSERVABLES.index("width")]
    assert more.scalars[:, 0] == pytest.approx(width)


def columns_of(path, images, n, **columns):
    """Write plain columns of any type beside images."""
    table = {"pt": [120.0] * n, "m0": [15.0] * n, "y": [0.0, 1.0] * (n // 2)} | columns
    pq.write_table(pa.table({"X_jets": images.tolist(), **table}), path)
    return path


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("y", ["0", "1", "0", "1"]),
        ("y", [[0.0], [1.0], [0.0], [1.0]]),
        ("pt", [[120.0]] * 4),
        ("pt", ["much"] * 4),
        ("pt", ["120"] * 4),
        ("m0", [True] * 4),
        ("chunk", ["a", "b", "c", "d"]),
    ],
)
def test_columns_of_another_type_are_refused(tmp_path, cache, name, values):
    path = columns_of(tmp_path / "a.parquet", some(4)[0], 4, **{name: values})
    with pytest.raises(
        FormatError, match=rf"one number per jet in the column {name}, found (string|list|bool)"
    ):
        read_jets([path])


@pytest.mark.parametrize("chunk", [[0, None, 1, 1], [0.0, np.nan, 1.0, 1.0], [0.0, 0.5, 1.0, 1.0]])
def test_chunks_are_whole_numbers(tmp_path, cache, chunk):
    path = columns_of(tmp_path / "a.parquet", some(4)[0], 4, chunk=chunk)
    with pytest.raises(FormatError, match="whole numbers in the column chunk"):
        read_jets([path])


def test_columns_of_the_readers_own_names_are_left_out(tmp_path, cache):
    images = some(4)[0]
    own = {"source": ["x"] * 4, "position": [3, 2, 1, 0], "block": [9] * 4, "flavour": ["u", "d", "g", "s"]}
    found = read_jets([columns_of(tmp_path / "a.parquet", images, 4, y=[False, True] * 2, **own)])
    assert found.table["source"].tolist() == ["a.parquet"] * 4
    assert found.table["position"].tolist() == [0, 1, 2, 3]
    assert found.table["block"].tolist() == [-1] * 4
    assert found.table["flavour"].tolist() == own["flavour"]
    assert found.labels.tolist() == [0, 1, 0, 1]


def test_columns_that_pandas_took_for_an_index_are_read(tmp_path, cache):
    images, columns = some(4)
    table = pd.DataFrame({"X_jets": images.tolist(), **columns})
    table.set_index("pt").to_parquet(tmp_path / "a.parquet")
    assert read_jets([tmp_path / "a.parquet"]).table["pt"].to_numpy() == pytest.approx(columns["pt"])


def test_impossible_numbers_are_told(tmp_path, cache):
    images = some(4)[0].astype(np.float64)
    images[1, 0, 3, 3] = 1e300
    progress = SilentProgress()
    path = columns_of(
        tmp_path / "a.parquet", images, 4, pt=[-1.0, 100.0, 0.0, 100.0], m0=[1.0, 1.0, 1.0, -1.0]
    )
    found = read_jets([path], progress=progress)
    assert (found.reports[0].broken, found.reports[0].impossible) == (1, 3)
    assert "a.parquet: 3 jets with a pt that is not above 0 or an m0 below 0" in progress.notes


@pytest.mark.parametrize("orders", [((0, 1, 2, 3), (0, 2, 3, 1)), ((0, 2, 1, 3), (0, 2, 3, 1))])
def test_a_change_of_orientation_is_refused(tmp_path, cache, orders):
    images, columns = some(32)
    lists = images[:16].transpose(orders[0]).tolist() + images[16:].transpose(orders[1]).tolist()
    with pytest.raises(FormatError, match="as axis 2 from jet 16 on"):
        read_jets([as_published(tmp_path / "a.parquet", images, columns, flat=lists)])


@pytest.mark.parametrize("missing", ["X_jets", "y"])
def test_defect_files_are_still_taken_for_what_they_are(tmp_path, cache, missing):
    images, columns = some(2)
    path = tmp_path / "a.parquet"
    held = {"X_jets": images.tolist(), **columns}
    del held[missing]
    pq.write_table(pa.table(held), path)
    assert find_jets(path) == find_jets(tmp_path) == [path]
    with pytest.raises(FormatError, match=f"no column {missing}"):
        read_jets(find_jets(path))


def test_files_without_one_sound_jet_are_refused(tmp_path, cache):
    images, columns = some(2)
    path = as_published(tmp_path / "a.parquet", images * 0, columns)
    for _ in range(2):
        with pytest.raises(InputError, match="none that is sound"):
            read_jets([path])
