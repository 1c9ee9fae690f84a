"""Files of electron and photon images: what is written comes back, and whatever is odd is told with its count."""

import subprocess
import sys

import h5py
import numpy as np
import pytest

from calowatch.core.errors import CountsError, FormatError, InputError
from calowatch.core.progress import SilentProgress
from calowatch.io import egamma
from calowatch.io.egamma import EgammaHeader, find_egamma, looks_like_egamma, read_egamma, write_egamma


def images(n, seed=0, hits=50):
    rng = np.random.default_rng(seed)
    x = np.zeros((n, 32 * 32, 2), np.float32)
    for image in x:
        at = rng.choice(1024, hits, replace=False)
        image[at] = np.stack([rng.uniform(0.001, 0.1, hits), rng.normal(0, 0.5, hits)], axis=1)
    x = x.reshape(n, 32, 32, 2)
    x[:, 15, 15] = 1.0, 0.01
    return x


def published(path, x, label=1.0, y=None):
    """As the published files are: plain, no attributes, no truth."""
    with h5py.File(path, "w") as file:
        file["X"] = x
        file["y"] = np.full(len(x), label, np.float32) if y is None else y
    return path


def test_published_files_are_read_as_they_are(tmp_path):
    x = [images(1100, seed=1), images(30, seed=2)]
    files = [
        published(tmp_path / f"{name}.hdf5", part, label)
        for name, part, label in (("e", x[0], 1), ("p", x[1], 0))
    ]
    progress = SilentProgress()
    found = read_egamma(files, progress)
    assert found.shape == (1130, 2, 32, 32)
    assert progress.notes == []
    assert found.labels.tolist() == [1] * 1100 + [0] * 30
    rows = np.array([1129, 0, 700, 700, 3])
    expected = np.concatenate(x)[rows].transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(found.read(rows), expected)
    assert found.read(np.empty(0, int)).shape == (0, 2, 32, 32)
    assert found.table.loc[1129, ["source", "position", "block"]].tolist() == ["p.hdf5", 29, -1]


def test_what_is_written_comes_back(tmp_path):
    x = images(70)
    truth = {"eta": np.linspace(-1, 1, 70, dtype=np.float32), "chunk": np.repeat([4, 5], 35)}
    parts = [(x[:35], {k: v[:35] for k, v in truth.items()}), (x[35:], {k: v[35:] for k, v in truth.items()})]
    write_egamma(tmp_path / "a.hdf5", EgammaHeader(1, 70, {"seed": 3}), iter(parts))
    found = read_egamma([tmp_path / "a.hdf5"])
    np.testing.assert_array_equal(found.read(np.arange(70)), x.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(found.table["eta"], truth["eta"])
    assert found.table["block"].tolist() == truth["chunk"].tolist()
    assert "chunk" not in found.table


@pytest.mark.parametrize("n", [30, 80])
def test_a_file_is_whole_or_not_there(tmp_path, n):
    with pytest.raises(ValueError, match=r"images instead|do not fit"):
        write_egamma(tmp_path / "a.hdf5", EgammaHeader(1, n, {}), iter([(images(40), {})]))
    assert list(tmp_path.iterdir()) == []


def test_odd_images_are_counted(tmp_path):
    x = images(200)
    x[3] = x[7] = 0
    x[11, 2, 2, 0] = np.nan
    x[13, 2, 2, 1] = np.inf
    x[15:25, 1, 1, 0] = -0.01
    x[30:35, 20, 20, 0] = 1.2
    progress = SilentProgress()
    found = read_egamma([published(tmp_path / "a.hdf5", x)], progress)
    report = found.reports[0]
    assert (report.images, report.empty, report.broken, report.negative, report.off_seed) == (
        200,
        2,
        2,
        10,
        5,
    )
    assert len(found) == 196
    assert not {3, 7, 11, 13} & set(found.table["position"])
    assert np.isfinite(found.read(np.arange(196))).all()
    told = "\n".join(progress.notes)
    for words in ("2 empty images", "2 images with NaN", "10 images with negative", "5 images whose largest"):
        assert words in told


def test_smear_along_rows_is_told(tmp_path):
    x = images(50)
    x[:, 11:14, 15, 0] += 0.3
    progress = SilentProgress()
    read_egamma([published(tmp_path / "a.hdf5", x)], progress)
    assert "axes may be swapped" in progress.notes[-1]
    read_egamma([published(tmp_path / "b.hdf5", x.transpose(0, 2, 1, 3))], progress)
    assert len(progress.notes) == 1


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (images(4).transpose(0, 3, 1, 2), r"\(0, 2, 3, 1\)"),
        (images(4).transpose(0, 1, 3, 2), r"\(0, 1, 3, 2\)"),
        (images(4).transpose(1, 2, 3, 0), r"\(3, 0, 1, 2\)"),
        (images(4)[:, :31], r"shape \(4, 31, 32, 2\)"),
        (images(4)[..., 0], r"shape \(4, 32, 32\)"),
        (images(4).astype(int), "int64 values"),
    ],
)
def test_other_shapes_are_refused_with_the_way_out(tmp_path, x, words):
    path = published(tmp_path / "a.hdf5", x, y=np.ones(4))
    with pytest.raises(FormatError, match=words):
        read_egamma([path])


def test_swapped_channels_are_refused(tmp_path):
    with pytest.raises(CountsError, match="channels are swapped"):
        read_egamma([published(tmp_path / "a.hdf5", images(20)[..., ::-1])])


def test_labels_are_zero_or_one_and_as_many_as_images(tmp_path):
    with pytest.raises(CountsError, match=r"found 2\.0"):
        read_egamma([published(tmp_path / "a.hdf5", images(4), label=2)])
    with pytest.raises(FormatError, match="y of shape"):
        read_egamma([published(tmp_path / "b.hdf5", images(4), y=np.ones(5))])
    assert (
        read_egamma([published(tmp_path / "c.hdf5", images(4), y=np.ones((4, 1)))]).labels.tolist() == [1] * 4
    )


def test_what_is_no_file_of_images_is_refused(tmp_path):
    (tmp_path / "a.hdf5").write_text("no")
    with h5py.File(tmp_path / "b.hdf5", "w") as file:
        file["other"] = 1
    for name, words in (
        ("a.hdf5", "something else"),
        ("b.hdf5", "members other"),
        ("c.hdf5", "no such file"),
    ):
        with pytest.raises(InputError, match=words):
            read_egamma([tmp_path / name])
        assert not looks_like_egamma(tmp_path / name)
    with pytest.raises(InputError, match="none that is sound"):
        read_egamma([published(tmp_path / "d.hdf5", np.zeros((3, 32, 32, 2), np.float32))])


def test_a_folder_stands_for_its_files(tmp_path):
    published(tmp_path / "b.hdf5", images(2))
    published(tmp_path / "a.h5", images(2))
    (tmp_path / "notes.txt").write_text("x")
    assert [path.name for path in find_egamma(tmp_path)] == ["a.h5", "b.hdf5"]
    (tmp_path / "more").mkdir()
    published(tmp_path / "more" / "a.h5", images(2))
    with pytest.raises(InputError, match="one name twice"):
        read_egamma([tmp_path / "a.h5", tmp_path / "more" / "a.h5"])


def test_a_path_through_a_link_leads_where_the_system_says(tmp_path):
    (tmp_path / "far" / "nets").mkdir(parents=True)
    published(tmp_path / "far" / "e.hdf5", images(3))
    (tmp_path / "nets").symlink_to(tmp_path / "far" / "nets")
    through = tmp_path / "nets" / ".." / "e.hdf5"
    assert find_egamma(through) == [through]


def test_images_without_zeros_stay_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(egamma, "_MOST_HITS", 10)
    x = images(40)
    x[5] = 0
    found = read_egamma([published(tmp_path / "a.hdf5", x), published(tmp_path / "b.hdf5", x[:3], 0)])
    assert found.hits is None
    rows = np.array([41, 2, 38, 5, 2])
    expected = np.concatenate([np.delete(x, 5, axis=0), x[:3]])[rows].transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(found.read(rows), expected)


def defect(path, **members):
    with h5py.File(path, "w") as file:
        for name, value in members.items():
            if value is None:
                file.create_group(name)
            else:
                file[name] = value
    return path


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"X": np.zeros((4, 32, 32, 2), np.float32)}, "found members X"),
        ({"y": np.zeros(4)}, "found members y"),
        ({"X": np.zeros((4, 32, 32), np.float32), "y": np.zeros(4)}, r"shape \(4, 32, 32\)"),
        ({"X": None, "y": np.zeros(4)}, r"X \(a group\)"),
    ],
)
def test_defect_files_are_still_taken_for_what_they_are(tmp_path, members, words):
    path = defect(tmp_path / "a.hdf5", **members)
    assert find_egamma(path) == find_egamma(tmp_path) == [path]
    with pytest.raises(FormatError, match=words):
        read_egamma(find_egamma(path))


def with_truth(path, n=6, **truth):
    published(path, images(n))
    with h5py.File(path, "a") as file:
        for name, values in truth.items():
            file[f"truth/{name}"] = values
    return path


def test_truth_does_not_replace_what_the_reader_finds(tmp_path, monkeypatch):
    monkeypatch.setattr(egamma, "_MOST_HITS", 10)  # rows are looked up by source and position then
    truth = {
        "source": np.arange(6),
        "position": np.arange(6)[::-1],
        "block": np.ones(6),
        "pt": np.arange(6.0),
    }
    path = with_truth(tmp_path / "a.hdf5", **truth)
    found = read_egamma([path])
    assert found.table["source"].unique().tolist() == ["a.hdf5"]
    assert found.table["position"].tolist() == list(range(6))
    assert (found.table["block"] == -1).all()
    assert found.table["pt"].tolist() == list(range(6))
    np.testing.assert_array_equal(found.read(np.arange(6)), images(6).transpose(0, 3, 1, 2))


@pytest.mark.parametrize("chunk", [[0, 0, np.nan, 1, 1, 1], [0, 0, 0.5, 1, 1, 1], [np.inf] * 6])
def test_chunks_are_whole_numbers(tmp_path, chunk):
    with pytest.raises(FormatError, match="whole numbers in truth/chunk"):
        read_egamma([with_truth(tmp_path / "a.hdf5", chunk=np.array(chunk))])


def test_values_too_large_for_32_bits_are_broken(tmp_path):
    x = images(20).astype(np.float64)
    x[3, 1, 1, 0] = 1e300
    assert read_egamma([published(tmp_path / "a.hdf5", x)]).reports[0].broken == 1


def test_the_same_file_twice_is_told(tmp_path):
    first = published(tmp_path / "a.hdf5", images(3))
    (tmp_path / "b.hdf5").write_bytes(first.read_bytes())
    progress = SilentProgress()
    read_egamma([first, tmp_path / "b.hdf5", published(tmp_path / "c.hdf5", images(3, seed=1))], progress)
    assert progress.notes == ["b.hdf5 holds the same as a.hdf5: each of its images counts twice"]


FILLING = """
import resource, sys
import numpy as np
from calowatch.io.egamma import EgammaHeader, write_egamma
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
noise = np.random.default_rng(0).normal(size=(64, 32, 32, 2)).astype(np.float32)
try:
    write_egamma(sys.argv[1], EgammaHeader(1, 256, {}), iter([(noise, {"eta": np.zeros(64)})] * 4))
except OSError as error:
    print(error.strerror, error.filename)
"""


@pytest.mark.parametrize("room", [1000, 1_000_000])
def test_a_disk_without_room_is_one_error_that_names_the_file(tmp_path, room):
    out = tmp_path / "a.hdf5"
    told = subprocess.run(
        [sys.executable, "-c", FILLING, str(out), str(room)], capture_output=True, text=True, check=False
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.strip() == f"File too large {out}"
    assert list(tmp_path.iterdir()) == []
