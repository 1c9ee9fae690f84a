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

FORMATS = ("first producer", "second producer", "HDF5", "store", "DQM ROOT", "DQM Parquet", "master folder")


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
    if request.param == "DQM ROOT":
        samples.write_dqm_sections(folder / "any.root", healthy)
        return Saved(str(folder / "any.root"), folder / "any.root", healthy, True)
    if request.param == "DQM Parquet":
        samples.write_parquet(folder / "any.parquet", samples.parquet_table(healthy))
        return Saved(str(folder / "any.parquet"), folder / "any.parquet", healthy, True)
    if request.param == "master folder":
        samples.write_master(folder / "any", healthy)
        array = folder / "any" / "output__depth.npy"
        return Saved(str(array), array, samples.part_of(healthy, "HB HE"), True)
    if request.param == "HDF5":
        samples.write_study(folder / "any.h5", healthy)
        return Saved(str(folder / "any.h5"), folder / "any.h5", healthy, True)
    path, original = folder / "any.root", samples.part_of(healthy, "HB HE")
    first = request.param == "first producer"
    (samples.write_first if first else samples.write_second)(path, healthy)
    return Saved(str(path), path, original, first)


def copy_beside(saved, content, target):
    """Write content in the place of the source, with the files that belong to it."""
    if saved.path.suffix == ".npy":
        for file in saved.path.parent.glob("*"):
            (target.parent / file.name).write_bytes(file.read_bytes())
    target.write_bytes(content)
    return target


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
    other = copy_beside(saved, saved.path.read_bytes(), tmp_path / "nameless")
    np.testing.assert_array_equal(read_source(other)["counts"], saved.original["counts"])


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_one_clear_error(saved, tmp_path, share):
    if saved.path.is_dir():
        pytest.skip("a store is a folder")
    content = saved.path.read_bytes()
    cut = copy_beside(saved, content[: int(share * len(content))], tmp_path / saved.path.name)
    with pytest.raises(FormatError, match=r"truncated|damaged|an empty file|something else"):
        read_source(cut)


def test_damaged_bytes_never_pass_for_counts(saved, tmp_path):
    """Bytes that nobody reads may be broken; where they matter, it is an error."""
    if saved.path.is_dir():
        pytest.skip("a store is a folder")
    refused = 0
    for share in (0.3, 0.5, 0.7):
        content = bytearray(saved.path.read_bytes())
        spot = slice(int(share * len(content)), int(share * len(content)) + 200)
        content[spot] = bytes(byte ^ 0xFF for byte in content[spot])
        broken = copy_beside(saved, bytes(content), tmp_path / saved.path.name)
        try:
            np.testing.assert_array_equal(read_source(broken)["counts"], saved.original["counts"])
        except InputError:
            refused += 1
    assert refused


def test_reading_is_repeatable_and_silent_by_default(saved, capfd):
    first, second = read_source(saved.source), read_source(saved.source, progress=SilentProgress())
    assert first["counts"].equals(second["counts"])
    assert capfd.readouterr() == ("", "")
