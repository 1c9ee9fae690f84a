"""Colours and marks that tell runs and classes apart, also for colour-blind eyes and in print."""

from matplotlib import colormaps
from matplotlib.colors import to_hex

__all__ = ["MARKERS", "PLOTLY_MARKERS", "series_colours"]

# Okabe and Ito (https://jfly.uni-koeln.de/color/), without the yellow that vanishes on white.
_FEW = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
PLOTLY_MARKERS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x")
"""The same marks in both libraries; after the last they begin again."""


def series_colours(n: int) -> list[str]:
    """Return a colour per run: up to seven unlike ones, more as steps of one scale, dark for the first.

    Examples
    --------
    >>> series_colours(2)
    ['#0072b2', '#d55e00']
    >>> len(set(series_colours(30)))
    30
    """
    if n <= len(_FEW):
        return list(_FEW[:n])
    return [to_hex(colormaps["viridis"](0.92 * step / (n - 1))) for step in range(n)]
