"""Each index convention has an inverse, and no two channels share a place where there is room for both."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calowatch.detector.index import (
    analyzer_cell,
    analyzer_index,
    canonical_cell,
    canonical_index,
    channel_columns,
    channel_id,
    dqm_cell,
    dqm_index,
    dqm_plane,
)
from calowatch.detector.segmentation import ERAS
from calowatch.detector.table import channel_table

eras = st.sampled_from(ERAS)


@st.composite
def some_channels(draw, subdets=("HB", "HE", "HF", "HO")):
    table = channel_table(draw(eras))
    table = table[table["subdet"].isin(subdets)]
    rows = draw(st.lists(st.integers(0, len(table) - 1), min_size=1, max_size=50))
    return table.iloc[rows]


def same(found, *columns):
    return all(
        np.array_equal(values, column.to_numpy()) for values, column in zip(found, columns, strict=True)
    )


@settings(deadline=None)  # the first draw builds the tables
@given(some_channels())
def test_channel_id_and_back(rows):
    ids = channel_id(rows["subdet"], rows["ieta"], rows["iphi"], rows["depth"])
    assert np.array_equal(ids, rows["channel"])
    found = channel_columns(ids)
    assert same([found[name] for name in found], *(rows[name] for name in found))


@settings(deadline=None)  # the first draw builds the tables
@given(some_channels(subdets=("HB", "HE")))
def test_canonical_and_back(rows):
    index = canonical_index(rows["ieta"], rows["iphi"], rows["depth"])
    assert same(canonical_cell(*index), rows["ieta"], rows["iphi"], rows["depth"])
    assert all((i >= 0).all() and (i < n).all() for i, n in zip(index, (64, 72, 7), strict=True))


@settings(deadline=None)  # the first draw builds the tables
@given(some_channels(subdets=("HB", "HE")))
def test_analyzer_and_back(rows):
    x, y = analyzer_index(rows["ieta"], rows["iphi"])
    assert same(analyzer_cell(x, y), rows["ieta"], rows["iphi"])
    assert (x != 32).all()
    assert ((y == 72) == (rows["iphi"] == 72).to_numpy()).all()


@settings(deadline=None)  # the first draw builds the tables
@given(some_channels())
def test_dqm_and_back(rows):
    x, y = dqm_index(rows["subdet"], rows["ieta"], rows["iphi"])
    assert same(dqm_cell(rows["subdet"], x, y), rows["ieta"], rows["iphi"])
    assert ((x >= 0) & (x < 84) & (y >= 0) & (y < 72)).all()


@pytest.mark.parametrize("era", ERAS)
def test_no_two_channels_share_a_dqm_bin(era):
    table = channel_table(era)
    rows = zip(table["subdet"], table["depth"], strict=True)
    planes = [dqm_plane(subdet, depth, era) for subdet, depth in rows]
    x, y = dqm_index(table["subdet"], table["ieta"], table["iphi"])
    assert len(set(zip(planes, x, y, strict=True))) == len(table)


@pytest.mark.parametrize("era", ERAS)
def test_canonical_grid_has_one_place_per_hb_and_he_channel(era):
    table = channel_table(era)
    barrel = table[table["subdet"].isin(["HB", "HE"])]
    cells = set(zip(*canonical_index(barrel["ieta"], barrel["iphi"], barrel["depth"]), strict=True))
    assert len(cells) == len(barrel)


def test_iphi_72_is_in_the_overflow_of_analyzer_files():
    table = channel_table("run3")
    lost = table[(table["iphi"] == 72) & table["subdet"].isin(["HB", "HE"])]
    assert lost.groupby("subdet").size().to_dict() == {"HB": 126, "HE": 40}


@pytest.mark.parametrize("subdet", ["HX", "", "hb"])
def test_an_unknown_subdetector_has_no_number(subdet):
    with pytest.raises(ValueError, match="HB, HE, HO, HF"):
        channel_id(subdet, 1, 1, 1)
