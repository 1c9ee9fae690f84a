"""Numbers of a campaign's result, picked out and put into words."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = [
    "AXES",
    "NONE",
    "REFERENCE",
    "SAID",
    "TRUTH",
    "Cell",
    "Result",
    "at_most",
    "best",
    "figures_of",
    "highest",
    "interval",
    "number",
    "on_axis",
    "rate",
    "rate_told",
    "rows_of",
    "with_interval",
    "with_range",
]

Result = Mapping[str, Any]
Cell = Mapping[str, Any]

TRUTH, REFERENCE = "true p", "reference"
OWN = ("calibrated", "mixture", "z")
SAID = {
    "source": "source score",
    "z": "z",
    "mixture": "mixture",
    "calibrated": "calibrated mixture",
    "known": "all known",
}
AXES = {
    "factor": "Factor on p",
    "unit": "What fails",
    "duration": "How long it lasts",
    "ring": "Brightness of the ring",
    "statistics": "Events per lumisection",
    "shift": "Which runs",
    "also": "Off the axes",
}
NONE = "-"
_PLAIN = 0.01  # rates above are read without a power of ten


def number(value: float | None) -> str:
    """Return a figure as a reader wants it.

    Examples
    --------
    >>> number(0.0123), number(0.0), number(None), number(3.1e-5)
    ('0.012', '0', '-', '3.1e-05')
    """
    if value is None or not np.isfinite(value):
        return NONE
    return f"{value:.2g}"


def at_most(edge: float | None) -> str:
    """Return the upper edge that stands for a rate of which nothing was seen.

    Examples
    --------
    >>> at_most(1.63e-6), at_most(None)
    ('≤1.6e-06', '0')
    """
    return "0" if edge is None or not np.isfinite(edge) else f"≤{edge:.2g}"


def with_interval(triple: Sequence[float | None] | None, form: str = "") -> str:
    """Return a figure with its interval; without a form zero is a count of nothing and has an upper edge only.

    Examples
    --------
    >>> (
    ...     with_interval([0.31, 0.28, 0.35]),
    ...     with_interval([0.0, 0.0, 1.6e-6]),
    ...     with_interval([1.0, 0.9, 1.0], ".2f"),
    ... )
    ('0.31 (0.28 to 0.35)', '0, ≤1.6e-06', '1.00 (0.90 to 1.00)')
    """
    if not triple or triple[0] is None:
        return NONE
    if triple[0] == 0 and not form:
        return _nothing(triple)

    def told(value: float | None) -> str:
        return number(value) if not form else NONE if value is None else format(value, form)

    return f"{told(triple[0])} ({told(triple[1])} to {told(triple[2])})"


def _nothing(triple: Sequence[float | None]) -> str:
    edge = at_most(triple[2])
    return edge if edge == "0" else f"0, {edge}"


def with_range(triple: Sequence[float | None] | None) -> str:
    """Return a rate with its interval in the space of a narrow column: ends without the exponent where they share it.

    Examples
    --------
    >>> with_range([1.2e-4, 0.9e-4, 1.6e-4]), with_range([0.0, 0.0, 1.6e-6]), with_range(None)
    ('1.2e-04 [0.9, 1.6]', '0, ≤1.6e-06', '-')
    >>> with_range([0.31, 0.28, 0.35]), with_range([1.0, 1.0, 1.0]), with_range([2e-6, 0.0, 2.5e-5])
    ('0.31 [0.28, 0.35]', '1', '2.0e-06 [0.0, 25.0]')
    """
    if not triple or triple[0] is None or not np.isfinite(triple[0]):
        return NONE
    value, low, high = (np.nan if each is None else float(each) for each in triple)
    if value == 0:
        return _nothing(triple)
    if not np.isfinite(low + high) or low == high:
        return number(value)
    if value >= _PLAIN:
        return f"{value:.2g} [{low:.2g}, {high:.2g}]"
    one = 10.0 ** np.floor(np.log10(value))
    low, high = low / one, high / one
    return f"{value:.1e} [{low:.1f}, {high:.1f}]"


def figures_of(cell: Cell, model: str, evidence: str) -> Mapping[str, Any] | None:
    """Return the figures of a model by one evidence, None where it has none."""
    found: Mapping[str, Any] | None = cell["figures"].get(model, {}).get(evidence)
    return found


def interval(
    cell: Cell, model: str, evidence: str, level: str = "channel", capture: str = "0.99"
) -> tuple[float, float, float] | None:
    """Return the false-positive rate at a capture with its lower and upper edge, None where it was not measured."""
    told = figures_of(cell, model, evidence)
    if not told or level not in told:
        return None
    value, low, high = (np.nan if each is None else float(each) for each in told[level]["fpr"][capture])
    return value, low, high


def rate(
    cell: Cell, model: str, evidence: str, level: str = "channel", capture: str = "0.99"
) -> float | None:
    """Return the false-positive rate at a capture, None where it was not measured."""
    told = interval(cell, model, evidence, level, capture)
    return told[0] if told else None


def highest(cell: Cell, model: str, evidence: str) -> float:
    """Return the rate per channel-window at 99 % capture, its upper edge where it is zero."""
    value, _, edge = interval(cell, model, evidence) or (np.nan,) * 3
    return edge if value == 0 and np.isfinite(edge) else value


def rate_told(cell: Cell, model: str, evidence: str) -> str:
    """Return the same in words."""
    value, _, edge = interval(cell, model, evidence) or (np.nan,) * 3
    return at_most(edge) if value == 0 else number(value)


def best(cell: Cell, model: str) -> str | None:
    """Return a model's own evidence with the lowest rate at 99 % capture, the AUC deciding between equals."""
    own = [name for name in OWN if figures_of(cell, model, name)]
    if "calibrated" in own:
        own = [name for name in own if name != "mixture"]  # which then stands in no table

    def order(name: str) -> tuple[float, float]:
        told = cell["figures"][model][name]["channel"]
        return told["fpr"]["0.99"][0], -told["roc_auc"][0]

    return min(own, key=order) if own else None


def rows_of(result: Result) -> Iterator[tuple[str, str]]:
    """Yield who stands in the tables: the bounds, then every model by its source score and by its evidence."""
    for evidence in ("known", "mixture", "z"):
        yield TRUTH, evidence
    for who in result["contestants"]:
        if who["name"] != TRUTH:
            for evidence in ("source", "z", "calibrated"):
                if evidence in who["evidences"]:
                    yield who["name"], evidence


def on_axis(result: Result, axis: str) -> list[tuple[str, Cell]]:
    """Return the cells of an axis in its order, each with its label."""
    found = [(label, cell) for cell in result["cells"] for name, label in cell["axes"] if name == axis]
    if axis == "factor":
        found.sort(key=lambda entry: float(entry[0]))
    if axis == "duration":
        found.sort(key=lambda entry: float("inf") if entry[1]["duration"] == "end" else entry[1]["duration"])
    return found
