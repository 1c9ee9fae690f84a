"""Learning curves show what was logged, in words and plain numbers, whatever is missing."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from calowatch.present.curves import draw_curves, write_curves


def history(n):
    epoch = np.arange(1, n + 1)
    return pd.DataFrame(
        {
            "epoch": epoch,
            "step": 10 * epoch,
            "lr": 1e-3,
            "train_loss": 1.0 / epoch,
            "val_auc": np.where(epoch == 2, np.nan, 0.9),
            "val_loss": 2.0 / epoch,
            "seconds": 1.0,
        }
    )


def test_a_panel_for_each_figure_and_both_sides_in_one():
    figure = draw_curves(history(20), 7)
    panels = figure.get_axes()
    assert [panel.get_ylabel() for panel in panels] == ["loss", "ROC-AUC", "learning rate"]
    assert panels[0].get_yscale() == "log"
    texts = [text.get_text() for text in panels[0].get_legend().get_texts()]
    assert texts == ["training", "validation", "best epoch (7)"]
    assert panels[0].lines[0].get_color() != panels[0].lines[1].get_color()
    assert panels[0].lines[0].get_linestyle() != panels[0].lines[1].get_linestyle()


@pytest.mark.parametrize("n", [1, 3])
def test_short_histories_are_drawn(tmp_path, n):
    write_curves(tmp_path / "curves.png", history(n), 1)
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_fonts_are_those_of_the_style_when_drawn(tmp_path, monkeypatch):
    seen, save = [], Figure.savefig

    def watched(figure, *where, **how):
        seen.append(matplotlib.rcParams["mathtext.cal"])
        save(figure, *where, **how)

    monkeypatch.setattr(Figure, "savefig", watched)
    write_curves(tmp_path / "curves.png", history(3), 1)
    assert seen == ["TeX Gyre Heros"]  # outside, one that few machines have
