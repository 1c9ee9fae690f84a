"""What every way into the program must do, whatever the format."""

from dataclasses import dataclass

import numpy as np
import pytest

from calowatch.core.errors import ConflictError, FormatError, InputError
from calowatch.core.progress import SilentProgress
from calowatch.core.schema import UNKNOWN_EVENTS
from calowatch.detector.table import channel_table
from calowatch.io.request import ReadRequest
from calowatch.io.sources import read_source
from calowatch.io.store import write_run

FORMATS = ("first producer", "second producer", "HDF5", "store")


@dataclass
class Saved:
    source: str
    path: object
    original: object
    events_known: bool


@pytest.fixture(scope="module", params=FORMATS)
def saved(request, samples, healthy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("contract")
    if request.param == "store":
        write_run(folder / "store", healthy)
        return Saved(f"{folder / 'store'}::{samples.run}", folder / "store", healthy, True)
    if request.param == "HDF5":
        samples.write_study(folder / "any.h5", healthy)
        return Saved(str(folder / "any.h5"), folder / "any.h5", healthy, True)
    path, original = folder / "any.root", samples.part_of(healthy, "HB HE")
    first = request.param == "first producer"
    (samples.write_first if first else samples.write_second)(path, healthy)
    return Saved(str(path), path, original, first)


def test_same_integers(saved):
    read = read_source(saved.source)
    assert np.issubdtype(read["counts"].dtype, np.integer)
    np.testing.assert_array_equal(read["counts"], saved.original["counts"])
    np.testing.assert_array_equal(read["ls"], saved.original["ls"])
    events = saved.original["n_events"] if saved.events_known else np.full(3, UNKNOWN_EVENTS)
    np.testing.assert_array_equal(read["n_events"], events)


def test_channels_in_the_order_of_the_table(saved):
    read = read_source(saved.source)
    table = channel_table("run3")
    held = table[table["channel"].isin(read["channel"].to_numpy())]
    assert len(held) == read.sizes["channel"]
    for name in ("channel", "subdet", "ieta", "iphi", "depth"):
        np.testing.assert_array_equal(read[name], held[name].to_numpy())


def test_iphi_72_survives(saved):
    read = read_source(saved.source)
    edge = read["counts"].to_numpy()[:, read["iphi"].to_numpy() == 72]
    assert edge.shape[1] >= 126 + 40
    assert (edge.sum(axis=0) > 0).all()


def test_attributes(saved, samples):
    attrs = read_source(saved.source).attrs
    assert (attrs["run"], attrs["era"], attrs["source"]) == (samples.run, "run3", saved.source)
    assert "/" not in str(attrs["provenance"].get("sources", []))


def test_a_request_that_agrees_is_fine(saved, samples):
    assert read_source(saved.source, ReadRequest(samples.run, "run3", 1)).sizes["ls"] == 3


@pytest.mark.parametrize("request_", [ReadRequest(run=355456), ReadRequest(first_ls=7)], ids=["run", "ls"])
def test_a_request_that_contradicts_the_source_is_refused(saved, request_):
    with pytest.raises(ConflictError, match="drop --"):
        read_source(saved.source, request_)


def test_an_unknown_era_is_refused(saved):
    with pytest.raises(InputError, match="run4"):
        read_source(saved.source, ReadRequest(era="run4"))


def test_content_decides_not_the_name(saved, tmp_path):
    if saved.path.is_dir():
        pytest.skip("a store is a folder")
    other = tmp_path / "nameless"
    other.write_bytes(saved.path.read_bytes())
    np.testing.assert_array_equal(read_source(other)["counts"], saved.original["counts"])


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_one_clear_error(saved, tmp_path, share):
    if saved.path.is_dir():
        pytest.skip("a store is a folder")
    content = saved.path.read_bytes()
    cut = tmp_path / saved.path.name
    cut.write_bytes(content[: int(share * len(content))])
    with pytest.raises(FormatError, match=r"truncated|damaged|an empty file|something else"):
        read_source(cut)


def test_damaged_bytes_never_pass_for_counts(saved, tmp_path):
    if saved.path.is_dir():
        pytest.skip("a store is a folder")
    content = bytearray(saved.path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 200] = bytes(200)
    broken = tmp_path / saved.path.name
    broken.write_bytes(bytes(content))
    with pytest.raises(InputError):
        read_source(broken)


def test_reading_is_repeatable_and_silent_by_default(saved, capfd):
    first, second = read_source(saved.source), read_source(saved.source, progress=SilentProgress())
    assert first["counts"].equals(second["counts"])
    assert capfd.readouterr() == ("", "")
