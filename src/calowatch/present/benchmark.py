"""The ranking of the benchmark as rows of text: every figure with its interval."""

from collections.abc import Mapping, Sequence
from typing import Protocol

__all__ = ["HEAD", "Ranked", "figure", "ranking_rows"]

HEAD = ("", "Scores", "PR-AUC", "other runs", "other pile-up", "other era")
"""Heads of the columns: place, whose scores, what ranks, false-positive rates by condition."""

_PLAIN = 0.01  # rates above are read without a power of ten

Figure = tuple[str, str]
Triple = tuple[float, float, float]


class Ranked(Protocol):
    """What is ranked: `calowatch.evaluate.benchmark.Standing`."""

    @property
    def name(self) -> str: ...  # noqa: D102 - told there

    @property
    def pr_auc(self) -> Triple: ...  # noqa: D102

    @property
    def fpr(self) -> Mapping[str, Triple]: ...  # noqa: D102


def figure(triple: Sequence[float] | None, samples: int = 0) -> Figure:
    """Return a rate and its interval; none at all of so many samples as less than one of them.

    Examples
    --------
    >>> figure((0.0123, 0.0021, 0.18), 1000), figure((0.0, 0.0, 3.7e-5), 500_000), figure(None)
    (('0.012', '[2.1e-3, 0.18]'), ('<2.0e-6', '[0, 3.7e-5]'), ('-', ''))
    """
    if triple is None:
        return "-", ""
    value, low, high = triple
    told = f"<{_short(1 / samples)}" if value == 0 and samples else _short(value)
    return told, f"[{_short(low)}, {_short(high)}]"


def _short(value: float) -> str:
    """Return a rate in two digits and little space: five of its columns must fit a terminal."""
    if value == 0 or value >= _PLAIN:
        return f"{value:.2g}"
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def ranking_rows(
    standings: Sequence[Ranked], samples: Mapping[str, int]
) -> list[tuple[str, str, tuple[Figure, ...]]]:
    """Return place, name and figures of each standing, the best first.

    Parameters
    ----------
    standings
        In any order.
    samples
        Healthy channel-windows of each condition, in windows with faults and without.
    """
    ranked = sorted(standings, key=lambda standing: -standing.pr_auc[0])
    rows = []
    for place, standing in enumerate(ranked, start=1):
        value, low, high = standing.pr_auc
        rates = (figure(standing.fpr.get(name), samples.get(name, 0)) for name in HEAD[3:])
        area = (f"{value:.4f}", f"[{low:.4f}, {high:.4f}]")
        rows.append((str(place), standing.name, (area, *rates)))
    return rows
