"""Edges: counted by hand where that can be done, and by invariants elsewhere."""

import json

import numpy as np
import pytest

from calowatch.core.errors import InputError, UnknownNameError
from calowatch.core.files import file_hash
from calowatch.detector.graph import GraphRequest, edges, graph, write_graph
from calowatch.detector.grids import LAYOUTS, from_grid, in_layout, to_grid
from calowatch.detector.units import find_unit, unit_names


def neighbours_of(name, table, pairs):
    names = unit_names(table)["channel_name"].to_numpy()
    row = int(np.flatnonzero(find_unit(name, table)[1])[0])
    return set(names[pairs[1][pairs[0] == row]]) | set(names[pairs[0][pairs[1] == row]])


@pytest.fixture(scope="module")
def all_pairs(run3):
    return edges(run3, "neighbour")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("HB 1 1 1", "HB-1-1-1 HB+2-1-1 HB+1-72-1 HB+1-2-1 HB+1-1-2"),
        # 5-degree cells meet 10-degree ones at 20|21
        ("HE 20 2 3", "HE+19-2-3 HE+21-1-3 HE+20-1-3 HE+20-3-3 HE+20-2-2 HE+20-2-4"),
        ("HE 21 71 3", "HE+20-71-3 HE+20-72-3 HE+22-71-3 HE+21-69-3 HE+21-1-3 HE+21-71-2 HE+21-71-4"),
        # HB and HE touch at 16
        ("HE -16 5 4", "HB-15-5-4 HB-16-5-3 HE-16-4-4 HE-16-6-4"),
        # 20-degree cells cover iphi 71 .. 2
        ("HF 40 71 1", "HF+39-71-1 HF+39-1-1 HF+41-71-1 HF+40-67-1 HF+40-3-1 HF+40-71-2"),
        ("HF 29 1 1", "HF+30-1-1 HF+29-71-1 HF+29-3-1 HF+29-1-2"),
        ("HO 4 72 4", "HO+3-72-4 HO+5-72-4 HO+4-71-4 HO+4-1-4"),
    ],
)
def test_neighbours_by_hand(run3, all_pairs, name, expected):
    assert neighbours_of(name, run3, all_pairs) == set(expected.split())


@pytest.mark.parametrize("kind", ["neighbour", "fibre", "rbx"])
def test_pairs_are_sorted_once_and_never_with_oneself(run3, kind):
    pairs = edges(run3[run3["subdet"] == "HE"], kind)
    assert (pairs[0] < pairs[1]).all()
    codes = pairs[0] * 6768 + pairs[1]
    assert (np.diff(codes) > 0).all()
    assert pairs.dtype == np.int64


@pytest.mark.parametrize("kind", ["fibre", "card", "rm", "uhtr", "fed"])
def test_hardware_connects_every_two_of_its_channels(run3, kind):
    he = run3[run3["subdet"] == "HE"].reset_index(drop=True)
    names = unit_names(he)[kind].to_numpy()
    pairs = edges(he, kind)
    assert (names[pairs[0]] == names[pairs[1]]).all()
    sizes = np.unique(names, return_counts=True)[1]
    assert pairs.shape[1] == (sizes * (sizes - 1) // 2).sum()


@pytest.mark.parametrize(
    ("layout", "components"), [("hb", 1), ("hbhe", 1), ("hf", 2), ("ho", 1), ("dqm", 4), ("he", 4)]
)
def test_connected_parts_of_the_detector(layout, components):
    summary = graph(GraphRequest(layout))[1]
    assert (summary["components"], summary["isolated"]) == (components, 0)


def test_both_directions_or_once():
    both, summary = graph(GraphRequest("hf", "fibre"))
    once, _ = graph(GraphRequest("hf", "fibre", once=True))
    assert both.shape[1] == 2 * once.shape[1] == summary["edges"] == 2 * summary["pairs"]
    assert set(map(tuple, both.T)) == set(map(tuple, once.T)) | set(map(tuple, once[::-1].T))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_both_numberings_name_the_same_channels(run3, layout):
    table = run3[in_layout(run3, layout)]
    by_channel, _ = graph(GraphRequest(layout, once=True))
    by_cell, summary = graph(GraphRequest(layout, numbering="grid", once=True))
    positions = to_grid(np.arange(len(table)), table, layout, fill=-1)
    assert (positions.ravel()[by_cell] == by_channel).all()
    assert (from_grid(positions, table, layout) == np.arange(len(table))).all()
    assert by_cell.max() < summary["numbers_below"]


def test_what_is_written(tmp_path):
    path = tmp_path / "edges.npy"
    summary = write_graph(path, GraphRequest("he", "rm"))
    found = np.load(path, allow_pickle=False)
    record = json.loads((tmp_path / "edges.npy.json").read_text())
    assert found.shape == (2, summary["edges"])
    assert (record["shape"], record["dtype"]) == ([2, summary["edges"]], "int64")
    assert record["sha256"] == file_hash(path)
    assert record["provenance"]["verb"] == "graph"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["edges.npy", "edges.npy.json"]


def test_what_does_not_exist_is_refused(tmp_path):
    for wrong in (("hex",), ("he", "rmm"), ("he", "rm", "cells")):
        with pytest.raises(UnknownNameError):
            GraphRequest(*wrong)
    with pytest.raises(InputError, match="--edges rm"):
        write_graph(tmp_path / "edges.npy", GraphRequest("ho", "rm"))
    assert not list(tmp_path.iterdir())
