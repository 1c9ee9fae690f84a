"""Maps: cells of every width, zero against absent, borders, axes."""

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from calowatch.detector.segmentation import ERAS
from calowatch.detector.table import channel_table
from calowatch.present.averages import run_average
from calowatch.present.maps import MAX_IETA, channel_grid, draw_map, index_grid, outline, write_maps
from calowatch.present.palette import QUANTITIES, STATES, ZERO_COLOUR, colour_scale


def one(subdet, ieta, iphi, depth, dphi):
    return pd.DataFrame(
        {"subdet": [subdet], "ieta": [ieta], "iphi": [iphi], "depth": [depth], "dphi": [dphi]}
    )


@pytest.mark.parametrize(
    ("cell", "rows"),
    [
        (("HB", 3, 72, 1, 1), [72]),
        (("HE", -20, 5, 1, 1), [5]),
        (("HE", -21, 71, 1, 2), [71, 72]),
        (("HF", 40, 3, 2, 4), [3, 4, 5, 6]),
        (("HF", -41, 71, 2, 4), [71, 72, 1, 2]),
    ],
)
def test_a_cell_fills_its_width(cell, rows):
    grid = channel_grid([0.25], one(*cell), cell[0], cell[3])
    assert grid.shape == (72, 83)
    assert sorted(np.flatnonzero(np.isfinite(grid[:, cell[1] + MAX_IETA])) + 1) == sorted(rows)
    assert np.isfinite(grid).sum() == len(rows)


@pytest.mark.parametrize("era", ERAS)
def test_every_channel_is_drawn_once_and_nothing_collides(era):
    table = channel_table(era)
    for (subdet, depth), part in table.groupby(["subdet", "depth"]):
        cells = index_grid(table, subdet, depth)
        drawn, sizes = np.unique(cells[cells >= 0], return_counts=True)
        assert drawn.tolist() == part.index.tolist()
        assert sizes.tolist() == part["dphi"].tolist()
        assert (cells[:, MAX_IETA] == -1).all()


def test_zero_is_not_no_channel():
    grid = channel_grid([0.0], one("HE", 18, 63, 1, 1), "HE", 1)
    assert grid[62, 18 + MAX_IETA] == 0
    assert np.isnan(grid[61, 18 + MAX_IETA])
    assert np.isnan(channel_grid([0.0], one("HE", 18, 63, 1, 1), "HE", 2)).all()


def test_values_of_another_length_are_refused():
    with pytest.raises(ValueError, match="for 1 channels"):
        channel_grid([1.0, 2.0], one("HE", 18, 63, 1, 1), "HE", 1)


def test_border_goes_around_a_block_and_around_its_hole():
    cells = np.zeros((72, 83), dtype=bool)
    cells[10:13, 20:24] = True
    assert len(outline(cells)) == 2 * (3 + 4)
    cells[11, 21] = False
    assert len(outline(cells)) == 2 * (3 + 4) + 4
    assert np.abs(np.diff(outline(cells), axis=1)).sum() == len(outline(cells))
    assert len(outline(np.zeros((72, 83), dtype=bool))) == 0


def test_border_reaches_the_edges_of_the_map():
    segments = outline(np.ones((72, 83), dtype=bool))
    assert segments.min(axis=(0, 1)).tolist() == [-41.5, 0.5]
    assert segments.max(axis=(0, 1)).tolist() == [41.5, 72.5]


def test_panels_say_what_they_show(small_run):
    figure = draw_map(run_average(small_run), "HO", "occupancy", "run 362760")
    panel, bar = figure.axes
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("ieta", "iphi")
    assert panel.get_title(loc="left") == "HO depth 4"
    assert panel.get_xlim()[0] < 0 < panel.get_xlim()[1]
    assert panel.get_ylim() == (0.5, 72.5)
    assert bar.get_ylabel() == "hits per event"
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {"exactly zero", "no channel"}
    assert "run 362760" in {text.get_text() for text in figure.texts}


def test_zero_has_its_own_colour_outside_the_scale(make_run):
    run = make_run(keep="subdet == 'HO'", faults=[("HO+5-20-4", "channel_name", "dead", 0.0, 1)])
    scaled, flat = draw_map(run_average(run), "HO", "occupancy", "").axes[0].images
    assert np.ma.getmaskarray(scaled.get_array())[19, 5 + MAX_IETA]
    assert np.argwhere(~np.ma.getmaskarray(flat.get_array())).tolist() == [[19, 5 + MAX_IETA]]
    scale = {colour for _, colour in colour_scale("occupancy")}
    assert ZERO_COLOUR not in scale | {state.colour for state in STATES}


def test_states_have_colours_of_their_own():
    assert len({state.colour for state in STATES}) == len(STATES)
    assert "#ffffff" not in {state.colour for state in STATES}


def test_evidence_is_symmetric_and_its_middle_is_not_white():
    scale = colour_scale("evidence")
    assert scale[len(scale) // 2] == (0.5, "#dcdcdc")
    assert scale[0][1] != scale[-1][1]


def test_one_picture_per_subdetector_and_quantity(small_run, tmp_path):
    written = write_maps(tmp_path, run_average(small_run), "run 362760")
    assert {path.name for path in written} == {f"HO_{quantity}.png" for quantity in QUANTITIES}
    for path in written:
        pixels = matplotlib.image.imread(path)
        assert min(pixels.shape[:2]) > 300
        assert pixels[..., :3].std() > 0.05
