"""Figures of explanations show what the maps tell, and the whole image where they tell of all of it."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from calowatch.present.explain import Field, MapFigure, write_means, write_sample


@pytest.fixture
def drawn(monkeypatch):
    """Return the figures that are written."""
    kept = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: kept.append(self))
    return kept


def field(kind, side):
    everywhere = np.ones((side, side), bool)
    return Field(("ieta", "iphi"), kind, everywhere, ~everywhere, everywhere)


def dot(side, row, column):
    values = np.zeros((side, side))
    values[row, column] = -2.0
    return values


@pytest.mark.parametrize(
    ("place", "window"), [((66, 64), (54.5, 69.5)), ((62, 82), (39.5, 84.5)), ((0, 3), (-0.5, 124.5))]
)
def test_maps_of_a_jet_show_the_square_in_which_they_tell_something(tmp_path, drawn, place, window):
    maps = {"occlusion": dot(125, *place), "integrated gradients": dot(125, 62, 62)}
    write_sample(tmp_path / "s.png", MapFigure("jet", dot(125, 62, 62) + 3, maps), field("jets", 125))
    write_means(tmp_path / "m.png", {"quark": maps}, field("jets", 125), "means")
    sample, means = drawn
    assert sample.axes[0].get_xlim() == (-0.5, 124.5)
    assert bool(sample.axes[0].patches) == (window != (-0.5, 124.5))
    assert [axes.get_xlim() for axes in means.axes if axes.images] == [window, window]
    overlays = [axes for axes in sample.axes if axes.get_title(loc="left") == "over the image"]
    assert [axes.get_ylim() for axes in overlays] == [window, window]


def test_maps_that_tell_nothing_and_those_of_other_images_are_shown_whole(tmp_path, drawn):
    write_means(
        tmp_path / "m.png", {"quark": {"occlusion": np.zeros((125, 125))}}, field("jets", 125), "none"
    )
    write_means(tmp_path / "m.png", {"photon": {"occlusion": dot(32, 15, 15)}}, field("egamma", 32), "crop")
    assert [figure.axes[0].get_xlim() for figure in drawn] == [(-0.5, 124.5), (-0.5, 31.5)]
