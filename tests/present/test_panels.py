"""Figures of many series: what stands in the legend, and how wide the page draws them."""

from calowatch.present.panels import Panel, Series, panel_figure, write_panel
from calowatch.present.panels_page import Page, Section, write_page


def _panel(n, **more):
    series = [
        Series([0, 1], [0.1, i + 1], f"model {i}", group="networks" if i else "bounds") for i in range(n)
    ]
    return Panel("title", "x", "y", series, y_log=True, **more)


def test_groups_have_a_heading_and_their_entries_in_order():
    legend = [(trace.legendgrouptitle.text, trace.name) for trace in panel_figure(_panel(3)).data]
    assert legend == [("bounds", "model 0"), ("networks", "model 1"), ("networks", "model 2")]


def test_a_crowded_legend_stands_beside_the_axes_and_the_page_makes_room(tmp_path):
    few, many = _panel(3), _panel(12)
    assert (few.crowded, many.crowded, _panel(3, beside=True).crowded) == (False, True, True)
    assert panel_figure(few).layout.legend.orientation == "h"
    assert panel_figure(many).layout.legend.x > 1
    sections = [Section("few", panels={"few": few}), Section("many", panels={"many": many})]
    page, *figures = write_page(tmp_path, "page", Page("page", "", [], sections, {}))
    assert [figure.name for figure in figures] == ["few.png", "many.png"]
    text = page.read_text()
    assert text.count('<div class="pair">') == text.count('<div class="pair wide">') == 1


def test_series_without_labels_or_groups_are_drawn(tmp_path):
    path = write_panel(tmp_path / "plain.png", Panel("title", "x", "y", [Series([0, 1], [1, 2])]))
    assert path.stat().st_size > 1000
