"""Numbers beside the colours of an image are narrower than the gap to the next panel."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from calowatch.present.explain import _narrow_ticks


@pytest.mark.parametrize(("low", "high"), [(480, 930), (60, 900), (0.002, 0.15), (1e-3, 4e4)])
def test_numbers_are_narrow_and_inside(low, high):
    figure = Figure()
    FigureCanvasAgg(figure)
    bar = figure.colorbar(ScalarMappable(LogNorm(low, high)), cax=figure.add_axes((0.1, 0.1, 0.1, 0.8)))
    _narrow_ticks(bar, low, high)
    figure.draw_without_rendering()
    shown = [each.get_text() for each in bar.ax.yaxis.get_ticklabels() if each.get_text()]
    assert len(shown) >= 3
    assert not any(each.get_text() for each in bar.ax.yaxis.get_minorticklabels())
    assert not any("times" in text for text in shown)
    if high < 100 * low:
        assert all(low <= float(text) <= high and len(text) <= 5 for text in shown)
