"""The ranking of the benchmark as rows of text: every figure with its interval."""

from collections.abc import Mapping, Sequence
from typing import Protocol

__all__ = ["HEAD", "Ranked", "figure", "ranking_rows"]

HEAD = ("", "Scores", "PR-AUC", "other runs", "other pile-up", "other era")
"""Heads of the columns: place, whose scores, what ranks, false-positive rates by condition."""

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
    (('1.2e-02', '[2.1e-03, 1.8e-01]'), ('<2.0e-06', '[0, 3.7e-05]'), ('-', ''))
    """
    if triple is None:
        return "-", ""
    value, low, high = triple
    told = f"<{1 / samples:.1e}" if value == 0 and samples else f"{value:.1e}"
    edges = ", ".join("0" if edge == 0 else f"{edge:.1e}" for edge in (low, high))
    return told, f"[{edges}]"


def ranking_rows(
    standings: Sequence[Ranked], samples: Mapping[str, int]
) -> list[tuple[str, str, tuple[Figure, ...]]]:
    """Return place, name and figures of each standing, the best first.

    Parameters
    ----------
    standings
        In any order.
    samples
        Healthy channel-windows of each condition.
    """
    ranked = sorted(standings, key=lambda standing: -standing.pr_auc[0])
    rows = []
    for place, standing in enumerate(ranked, start=1):
        value, low, high = standing.pr_auc
        rates = (figure(standing.fpr.get(name), samples.get(name, 0)) for name in HEAD[3:])
        area = (f"{value:.4f}", f"[{low:.4f}, {high:.4f}]")
        rows.append((str(place), standing.name, (area, *rates)))
    return rows
