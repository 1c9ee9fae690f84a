"""Pictures of injected faults: a single flagged channel must be seen inside the line around it."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from calowatch.present import campaign_faults
from calowatch.present.campaign_faults import FaultPicture, draw_fault


@pytest.fixture
def picture():
    ieta, iphi = (grid.ravel() for grid in np.meshgrid(np.arange(17, 29), np.arange(1, 73)))
    channels = pd.DataFrame({"subdet": "HE", "ieta": ieta, "iphi": iphi, "depth": 2, "dphi": 1})
    injected = np.ones(len(channels))
    injected[[100, 300]] = 0.8
    score = np.zeros(len(channels))
    score[[100, 500]] = 10.0
    flat = np.full(len(channels), 0.5)
    return FaultPicture(
        "two",
        channels,
        ("HE", 2),
        injected,
        flat,
        flat,
        {"z": score, "other": score},
        {"z": 5.0, "other": 20.0},
    )


def test_flags_are_counted_and_told_apart_by_what_was_injected(picture):
    flags = [each for each in campaign_faults._maps(picture) if each.title.startswith("flag")]
    assert [each.title.splitlines()[1] for each in flags] == [
        "1 of 2 injected, 1 elsewhere",
        "0 of 2 injected, 0 elsewhere",
    ]
    assert flags[0].values[[100, 300, 500, 0]].tolist() == [1, 2, 3, 0]


def test_the_line_leaves_the_injected_cells_and_their_neighbours_free():
    cells = np.zeros((72, 83), dtype=bool)
    cells[0, 60] = cells[30, 0] = True
    around = campaign_faults._around(cells)
    assert around[[71, 0, 1]][:, 59:62].all()  # iphi closes
    assert around[29:32, :2].all()
    assert around.sum() == 9 + 6
    assert cells.sum() == 2


def test_every_outcome_is_seen_in_the_picture(picture, tmp_path):
    drawn = np.asarray(Image.open(draw_fault(tmp_path / "fault.png", picture)).convert("RGB"))
    lower = drawn[len(drawn) // 2 :]
    for colour, words in campaign_faults._OUTCOMES[1:3]:
        wanted = np.array([round(255 * part) for part in to_rgb(colour)])
        assert (np.abs(lower.astype(int) - wanted).max(axis=-1) < 8).sum() > 4, words
