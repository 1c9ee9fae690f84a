"""What a campaign shows, in plain words made from its numbers alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calowatch.present.campaign_numbers import (
    REFERENCE,
    TRUTH,
    Cell,
    Result,
    at_most,
    best,
    highest,
    interval,
    number,
    rate,
    rate_told,
)

__all__ = ["INTERVALS", "deployed", "networks", "place_of", "sentences"]

_DEPLOYED = "cnn-vae-lstm+rin+dc"
_MOST = 3  # named one by one, before the rest is only counted
_ENOUGH = 200  # faults in every cell, for a verdict
_LINES = 3  # networks with a line of their own
_UNITS = {"rm": "RM", "rbx": "RBX", "uhtr": "uHTR", "box": "random boxes"}

INTERVALS = (
    "Intervals: 95 %, from drawing windows. Where no healthy sample is above there is only an upper edge, after "
    "\u2264: that of Clopper and Pearson, or of the drawn windows where that is higher."
)


def networks(result: Result) -> list[str]:
    """Return the names of the networks."""
    return [who["name"] for who in result["contestants"] if who["kind"] == "network"]


def deployed(result: Result) -> str | None:
    """Return the network that stands for the source system: its deployed configuration, where it took part."""
    for who in result["contestants"]:
        if who.get("model") == _DEPLOYED:
            return str(who["name"])
    return None


def place_of(cell: Cell, base: Cell) -> str:
    """Return in words how a cell differs from the base point.

    Examples
    --------
    >>> base = {"unit": "channel", "factor": 0.8, "duration": 5, "ring": "middle", "said": "other runs"}
    >>> (
    ...     place_of({**base, "unit": "rbx", "ring": None}, base),
    ...     place_of({**base, "factor": 0.9, "said": "other era"}, base),
    ... )
    ('RBX', 'factor 0.9, other era')
    >>> place_of({**base, "duration": "end"}, base), place_of(base, base)
    ('to the end', 'base point')
    """
    words = []
    if cell["unit"] != base["unit"]:
        words.append(_UNITS.get(str(cell["unit"]), str(cell["unit"])))
    if cell["factor"] != base["factor"]:
        words.append(f"factor {cell['factor']:g}")
    if cell["duration"] != base["duration"]:
        words.append("to the end" if cell["duration"] == "end" else f"{cell['duration']} LS")
    if cell["ring"] and cell["ring"] != base["ring"]:
        words.append(f"{cell['ring']} rings")
    if cell["said"] != base["said"]:
        words.append(cell["said"])
    return ", ".join(words) or "base point"


def sentences(result: Result) -> list[str]:
    """Return what a reader should know first, most important first, in plain words made from the numbers alone."""
    found = [_verdict(result), _fifth(result), *_against_reference(result), _source_score(result)]
    base = result["cells"][0]
    left_out = [place_of(cell, base) for cell in result["cells"] if not cell["n_faults"]]
    if left_out:
        found.append(f"Left out, since the factor saturates nearly all units: {'; '.join(left_out)}.")
    return [sentence for sentence in found if sentence]


def _against(cell: Cell, model: str, other: str) -> int | None:
    """Return 1 where a model has a lower rate than another beyond both intervals, -1 where a higher one, 0 between."""
    own, theirs = best(cell, model), best(cell, other)
    a, b = (interval(cell, who, by) if by else None for who, by in ((model, own), (other, theirs)))
    if a is None or b is None:
        return None
    if a[2] < b[1]:
        return 1
    return -1 if a[1] > b[2] else 0


def _listed(words: Sequence[str], where: str = "") -> str:
    """Return the first words, and how many there are beyond."""
    rest = len(words) - _MOST
    return ", ".join(words[:_MOST]) + (f", and {rest} more{where}" if rest > 0 else "")


def _named(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _verdict(result: Result) -> str:
    """Return who is best over all cells, and whether any network beats the per-channel reference."""
    names = [who["name"] for who in result["contestants"] if who["name"] != TRUTH]
    held = dict.fromkeys(names, 0)
    n_cells = 0
    for cell in result["cells"]:
        rates = {name: highest(cell, name, own) for name in names if (own := best(cell, name))}
        if not rates:
            continue
        n_cells += 1
        leader = min(rates, key=rates.__getitem__)
        for name in rates:
            held[name] += name == leader or (_against(cell, name, leader) or 0) >= 0
    if not n_cells:
        return ""
    fewest = min(cell["n_faults"] for cell in result["cells"] if cell["n_faults"])
    if fewest < _ENOUGH:
        return f"Too few faults to tell who is better: {fewest} in the smallest cell. What follows shows the machinery."
    top = max(held.values())
    first = [name for name in names if held[name] == top]
    text = (
        f"Best overall: {_named(first)}, with the lowest rate of false positives at 99 % capture, or none different "
        f"from it beyond the intervals, in {_share(top, n_cells)}."
    )
    return text + _beats(result)


def _share(n: int, of: int, what: str = "cells") -> str:
    return f"all {of} {what}" if n == of else f"{n} of {of} {what}"


def _beats(result: Result) -> str:
    if not any(best(cell, REFERENCE) for cell in result["cells"]) or not networks(result):
        return ""
    wins = {name: _Contest.of(result, name).better for name in networks(result)}
    winners = [f"{name} ({n} cells)" for name, n in sorted(wins.items(), key=lambda each: -each[1]) if n]
    if not winners:
        return " No network beats the per-channel reference in any cell."
    return f" The per-channel reference is beaten somewhere by {_listed(winners)}."


def _fifth(result: Result) -> str:
    """Return which networks have at most a fifth of the deployed configuration's rate at factor 0.6."""
    source, base = deployed(result), result["cells"][0]
    cells = [
        cell
        for cell in result["cells"]
        if (cell["factor"], cell["unit"], cell["duration"]) == (0.6, "channel", 5)
        and cell["ring"] == base["ring"]
        and source
        and rate(cell, source, "source")
    ]
    if source is None or not cells:
        return ""
    theirs = [f"{rate_told(cell, source, 'source')} on {cell['said']}" for cell in cells]
    head = f"Factor 0.6, at most a fifth of the source configuration ({source} by its source score: {_named(theirs)})"
    ratios = {}
    for name in networks(result):
        parts = [_times(cell, name, source) for cell in cells]
        if name != source and not any(np.isnan(ratio) for ratio, _ in parts):
            ratios[name] = (max(ratio for ratio, _ in parts), _named([words for _, words in parts]))
    order = sorted(ratios, key=lambda name: ratios[name][0])
    reached = [f"{name} ({ratios[name][1]} times)" for name in order if ratios[name][0] <= 0.2]
    missed = [f"{name} ({ratios[name][1]} times)" for name in order if ratios[name][0] > 0.2]
    if not ratios:
        return ""
    if not reached:
        return f"{head}: reached by no other network; nearest {missed[0]}."
    rest = f"; not by {len(missed)} more, nearest {missed[0]}" if missed else ""
    return f"{head}: reached by {_listed(reached)}{rest}."


def _times(cell: Cell, name: str, source: str) -> tuple[float, str]:
    """Return by how much a network's rate is that of the source, the upper edge standing for zero."""
    own, theirs = best(cell, name), rate(cell, source, "source")
    if own is None or not theirs:
        return float("nan"), ""
    ratio = highest(cell, name, own) / theirs
    return ratio, at_most(ratio) if rate(cell, name, own) == 0 else number(ratio)


@dataclass(frozen=True)
class _Contest:
    """A network against the per-channel reference, each by its best evidence, over the cells both have."""

    name: str
    cells: tuple[Cell, ...]
    places: tuple[int, ...]

    @classmethod
    def of(cls, result: Result, name: str) -> "_Contest":
        told = [(cell, _against(cell, name, REFERENCE)) for cell in result["cells"]]
        kept = [(cell, place) for cell, place in told if place is not None]
        return cls(name, tuple(cell for cell, _ in kept), tuple(place for _, place in kept))

    @property
    def better(self) -> int:
        return self.places.count(1)

    @property
    def worse(self) -> int:
        return self.places.count(-1)

    @property
    def lost(self) -> list[Cell]:
        """Cells it loses, the largest ratio of rates first."""
        found = [cell for cell, place in zip(self.cells, self.places, strict=True) if place < 0]
        return sorted(
            found, key=lambda cell: -self._rate(cell) / highest(cell, REFERENCE, self._by(cell, REFERENCE))
        )

    @property
    def nearest(self) -> Cell:
        """The cell in which its rate is lowest."""
        return min(self.cells, key=self._rate)

    def pair(self, cell: Cell) -> str:
        own, theirs = (rate_told(cell, who, self._by(cell, who)) for who in (self.name, REFERENCE))
        return f"{own} against {theirs}"

    def _rate(self, cell: Cell) -> float:
        return highest(cell, self.name, self._by(cell, self.name))

    @staticmethod
    def _by(cell: Cell, who: str) -> str:
        evidence = best(cell, who)
        assert evidence is not None
        return evidence


def _against_reference(result: Result) -> list[str]:
    """Return how the networks stand to the per-channel reference: those alike in one line."""
    base = result["cells"][0]
    contests = [each for name in networks(result) if (each := _Contest.of(result, name)).cells]
    everywhere = [each for each in contests if each.worse == len(each.cells)]
    nowhere = [each for each in contests if not each.worse and not each.better]
    mixed = [each for each in contests if each not in everywhere and each not in nowhere]
    mixed.sort(key=lambda each: each.worse - each.better)
    found = []
    if nowhere:
        names = _named([each.name for each in nowhere])
        found.append(
            f"No different from the per-channel reference beyond the intervals in any cell: {names}."
        )
    found += [_mixed(each, base) for each in mixed[:_LINES]]
    if further := mixed[_LINES:]:
        words = [f"{each.name} ({each.worse} worse, {each.better} better)" for each in further]
        found.append(f"Between these, in cells: {', '.join(words)}.")
    if everywhere:
        everywhere.sort(key=lambda each: highest(each.nearest, each.name, each._by(each.nearest, each.name)))
        words = [
            f"{each.name} ({each.pair(each.nearest)}, {place_of(each.nearest, base)})" for each in everywhere
        ]
        found.append(f"Worse than the reference in every cell; at their lowest rate: {', '.join(words)}.")
    return found


def _mixed(contest: _Contest, base: Cell) -> str:
    n = len(contest.cells)
    same = n - contest.worse - contest.better
    text = (
        f"{contest.name} against the reference: worse in {contest.worse}, better in {contest.better}, no different in "
        f"{same} of {n} cells"
    )
    if lost := contest.lost:
        words = [f"{place_of(cell, base)} ({contest.pair(cell)})" for cell in lost]
        text += f"; worst: {_listed(words, ': campaign.csv')}"
    return text + "."


def _source_score(result: Result) -> str:
    """Return what the source score costs on the same weights, the largest ratio first."""
    base = result["cells"][0]
    told = []
    for who in result["contestants"]:
        name, own = who["name"], best(base, who["name"])
        source = rate(base, name, "source")
        if source is None or own is None:
            continue
        ratio = highest(base, name, "source") / highest(base, name, own)
        told.append(
            (ratio, f"{name} ({rate_told(base, name, 'source')} against {rate_told(base, name, own)})")
        )
    worse = [words for ratio, words in sorted(told, reverse=True) if ratio > 1]
    if not worse:
        return ""
    head = "On the same weights, at the base point, the source score has more false positives than the best evidence"
    return f"{head} in {_share(len(worse), len(told), 'models')}; most: {_listed(worse)}."
