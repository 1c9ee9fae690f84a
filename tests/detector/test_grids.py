"""Grids: every layout holds all its channels, once each, and gives them back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calowatch.core.errors import UnknownNameError
from calowatch.detector.grids import (
    LAYOUTS,
    canonical_losses,
    cell_index,
    find_layout,
    from_grid,
    in_layout,
    layout_mask,
    to_grid,
)
from calowatch.detector.segmentation import ERAS
from calowatch.detector.table import channel_table


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_channel_has_a_cell_of_its_own(layout, era):
    table = channel_table(era)
    held = table[in_layout(table, layout)]
    cells = cell_index(held, layout)
    assert len(np.unique(cells)) == len(held) == int(layout_mask(layout, era).sum())
    assert cells.min() >= 0
    assert cells.max() < np.prod(LAYOUTS[layout].shape)


@given(
    layout=st.sampled_from(list(LAYOUTS)),
    era=st.sampled_from(ERAS),
    seed=st.integers(0, 2**16),
    lead=st.sampled_from([(), (3,), (2, 2)]),
    dtype=st.sampled_from([np.int32, np.float32, np.bool_]),
)
@settings(max_examples=20, deadline=None)
def test_values_come_back_for_any_channels_in_any_order(layout, era, seed, lead, dtype):
    rng = np.random.default_rng(seed)
    table = channel_table(era)
    table = table[in_layout(table, layout)].sample(frac=0.3, random_state=seed)
    values = rng.integers(0, 100, (*lead, len(table))).astype(dtype)
    before = values.copy()
    grid = to_grid(values, table, layout)
    assert grid.dtype == dtype
    assert grid.shape == (*lead, *LAYOUTS[layout].shape)
    assert (from_grid(grid, table, layout) == values).all()
    assert (values == before).all()
    # nothing but the values lies in the grid
    assert grid.sum(dtype=np.int64) == values.sum(dtype=np.int64)


@pytest.mark.parametrize(
    ("layout", "where", "cell"),
    [
        ("he", "HE -29 71 3", (3, 70, 2)),
        ("hb", "HB 1 72 4", (32, 71, 3)),
        ("hf", "HF -41 3 1", (0, 1, 0)),
        ("hf", "HF -29 1 4", (12, 0, 3)),
        ("hf", "HF 29 71 1", (13, 35, 0)),
        ("hf", "HF 41 71 2", (25, 35, 1)),
        ("ho", "HO -15 1 4", (0, 0, 0)),
        ("ho", "HO 1 72 4", (15, 71, 0)),
        ("dqm", "HE 29 1 1", (70, 0, 0)),
        ("dqm", "HF 29 1 1", (71, 0, 0)),
        ("dqm", "HO 15 72 4", (56, 71, 7)),
    ],
)
def test_cells_by_hand(run3, layout, where, cell):
    subdet, *place = where.split()
    row = run3[run3["subdet"] == subdet].query("ieta == {} and iphi == {} and depth == {}".format(*place))
    assert np.unravel_index(cell_index(row, layout)[0], LAYOUTS[layout].shape) == cell


def test_the_widest_towers_of_hf_fill_the_odd_columns_only():
    mask = layout_mask("hf")
    for row in (0, 1, 24, 25):
        assert (mask[row, 1::2].all(), mask[row, 0::2].any()) == (True, False)
    assert mask[2:24].all()


def test_the_layouts_of_hb_and_he_do_not_overlap():
    assert not (layout_mask("hb") & layout_mask("he")).any()
    assert ((layout_mask("hb") | layout_mask("he")) == layout_mask("hbhe")).all()


def test_what_the_canonical_grid_loses():
    losses = canonical_losses("run3")
    assert losses["HF"]["channels"] - losses["HF"]["outside"] == 1152
    assert losses["HF"]["shared"] == {"HE": 216}
    assert losses["HO"]["shared"] == {"HB": 2160}
    assert losses["HE"]["outside"] == losses["HB"]["outside"] == 0
    assert canonical_losses("2018")["HO"]["shared"] == {}, "HB had no depth 4 then"


def test_misuse_is_refused(run3):
    with pytest.raises(ValueError, match="holds HE only"):
        cell_index(run3, "he")
    with pytest.raises(ValueError, match="3 values for 21456 channels"):
        to_grid(np.zeros(3), run3, "dqm")
    with pytest.raises(ValueError, match="not of layout hf"):
        from_grid(np.zeros((64, 72, 7)), run3[in_layout(run3, "hf")], "hf")
    with pytest.raises(UnknownNameError, match="hbhe"):
        find_layout("hbe")
    assert find_layout("DQM").name == "dqm"


def test_fill_stands_where_there_is_no_channel(run3):
    he = run3[in_layout(run3, "he")]
    grid = to_grid(np.zeros(len(he)), he, "he", fill=np.nan)
    assert (np.isnan(grid) == ~layout_mask("he")).all()
