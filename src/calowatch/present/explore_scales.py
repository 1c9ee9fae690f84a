"""Scales and words that PNG and interactive figures of an exploration share."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.present.explore_given import Exploration, RunNumbers

__all__ = [
    "folded",
    "folded_ticks",
    "ieta_ends",
    "line_text",
    "ratio_limits",
    "ring_values",
    "short",
    "top_of_occupancy",
    "variance_top",
]


def top_of_occupancy(runs: Sequence[RunNumbers], subdet: str) -> float:
    """Return the end of the colour scale that all runs' maps of a subdetector share.

    Runs without known events are in other units, and share a scale of their own only if there is no other.
    """
    known = [run for run in runs if run.events > 0] or list(runs)
    tops = [
        float(np.max(run.occupancy[(run.channels["subdet"] == subdet).to_numpy()], initial=0.0))
        for run in known
    ]
    top = max(tops)
    return top if top > 0 else 1.0


def ratio_limits(runs: Sequence[RunNumbers], subdet: str) -> tuple[float, float]:
    """Return the ends of the colour scale of RecHits over digis, the middle half-way between them at 1."""
    away = [0.05]
    for run in runs:
        if run.ratio is not None:
            ratio = run.ratio[(run.channels["subdet"] == subdet).to_numpy()]
            ratio = ratio[np.isfinite(ratio) & (ratio > 0)]
            away += [float(np.quantile(np.abs(ratio - 1.0), 0.99))] if ratio.size else []
    reach = min(max(away), 1.0)
    return 1.0 - reach, 1.0 + reach


def variance_top(given: Exploration) -> float:
    """Return where the axis of variance over binomial stops; it is symmetric around 1."""
    errors = pd.concat([run.rings["error"] for run in given.runs]) if given.runs else pd.Series(dtype=float)
    usual = float(errors.median()) if len(errors) else 0.0
    return 1.0 + min(max(0.2, 6.0 * usual), 2.0)


def ring_values(given: Exploration, subdet: str, quantity: str) -> list[tuple[int, pd.DataFrame]]:
    """Return, per run that has any, its position and its rings with the columns ieta, depth, value and error.

    Parameters
    ----------
    given
        The exploration.
    subdet
        Whose rings.
    quantity
        ``"variance"`` or ``"drift"``.
    """
    parts = []
    for i, run in enumerate(given.runs):
        if quantity == "variance":
            part = run.rings.assign(value=run.rings["variance"])
        else:
            mine = given.drift[given.drift["run"] == run.run]
            part = mine.assign(value=mine["ln_ratio"])
        part = part[part["subdet"] == subdet]
        if len(part):
            parts.append((i, part))
    return parts


def folded(ieta: npt.ArrayLike, least: int) -> npt.NDArray[np.float64]:
    """Return positions on an ieta axis without the empty stretch between the two sides of a subdetector.

    Parameters
    ----------
    ieta
        Any shape.
    least
        Smallest abs(ieta) of the subdetector; it comes to stand at 1.

    Examples
    --------
    >>> folded([-17, 16, 29], 16).tolist()
    [-2.0, 1.0, 14.0]
    """
    values = np.asarray(ieta, np.float64)
    return np.asarray(values - np.sign(values) * (least - 1), np.float64)


def folded_ticks(least: int, most: int) -> tuple[list[float], list[str]]:
    """Return places and texts of ticks on an axis of `folded` positions.

    Examples
    --------
    >>> folded_ticks(16, 29)
    ([-13.0, -9.0, -5.0, -1.0, 1.0, 5.0, 9.0, 13.0], ['-28', '-24', '-20', '-16', '16', '20', '24', '28'])
    """
    step = 4 if most - least > 5 else 2
    positive = list(range(least, most + 1, step))
    ieta = [-value for value in reversed(positive)] + positive
    return folded(ieta, least).tolist(), [str(value) for value in ieta]


def ieta_ends(runs: Sequence[RunNumbers], subdet: str) -> tuple[int, int]:
    """Return the smallest and the largest abs(ieta) that a subdetector has in any run."""
    reach = pd.concat(
        [run.channels.loc[run.channels["subdet"] == subdet, "ieta"].abs() for run in runs], ignore_index=True
    )
    return int(reach.min()), int(reach.max())


def short(value: float, digits: int) -> str:
    """Return a number with some significant digits, without an exponent where it has fewer than seven digits."""
    if not np.isfinite(value) or abs(value) >= 1e7 or 0 < abs(value) < 1e-4:
        return f"{value:.{digits}g}"
    rounded = float(f"{value:.{digits}g}")
    return str(np.format_float_positional(rounded, trim="-"))


def line_text(fit: "pd.Series[float]") -> str:
    """Return a regression line in words.

    Examples
    --------
    >>> line_text(pd.Series({"slope": 4135.57, "slope_error": 10.9, "intercept": -12.71, "r": 0.99959}))
    'slope 4136 ± 11, intercept -12.7, r 0.9996'
    """
    r = f"{fit['r']:.4f}" if np.isfinite(fit["r"]) else "undefined"
    slope, error = short(fit["slope"], 4), short(fit["slope_error"], 2)
    return f"slope {slope} ± {error}, intercept {short(fit['intercept'], 3)}, r {r}"
