"""Words and rows of the report: the headline, the table of units, the comparison with injected faults."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from calowatch.detect.verdict import Channel, Verdict
from calowatch.present.given import ReportInput
from calowatch.present.palette import in_words, is_failing

__all__ = ["Headline", "UnitRow", "headline", "injected_rows", "number", "strongest_first", "unit_rows"]

_SHARED = 0.5


@dataclass(frozen=True)
class Headline:
    """The report in one line: ``tone`` is ``"bad"``, ``"good"`` or ``"unknown"``."""

    tone: str
    text: str
    detail: str


@dataclass(frozen=True)
class UnitRow:
    """One line of the table of failing units; all texts are ready to read."""

    unit: str
    unit_type: str
    kind: str
    stretch: str
    where: str
    names: list[str]
    factor: str
    significance: str
    log10_p: str


def number(value: float, digits: int) -> str:
    r"""Return a number with a true minus sign, infinity as its symbol.

    Examples
    --------
    >>> number(-318.94, 1).replace("\u2212", "minus "), number(float("nan"), 1)
    ('minus 318.9', '-')
    """
    if math.isnan(value):
        return "-"
    text = "\u221e" if math.isinf(value) else f"{abs(value):.{digits}f}"
    return f"\u2212{text}" if value < 0 else text


def strongest_first(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return verdicts by falling significance, larger units first where that ties."""
    return sorted(verdicts, key=lambda verdict: (-verdict.significance, -len(verdict.channels), verdict.unit))


def headline(given: ReportInput) -> Headline:
    """Return what a shifter reads first."""
    failing = [verdict for verdict in strongest_first(given.verdicts) if is_failing(verdict)]
    n_ls = int(given.occupancy.sizes["ls"])
    judged = n_ls - len(set(given.no_verdict_ls))
    if judged <= 0:
        return Headline(
            "unknown", "No verdict: too few events", f"none of {n_ls} lumisections could be judged"
        )
    scope = "all" if judged == n_ls else f"{judged} of"
    known = sum(verdict.known for verdict in given.verdicts)
    aside = [f"{scope} {n_ls} lumisections judged"] + ([f"{known} known bad, listed apart"] if known else [])
    if not failing:
        return Headline("good", "No failing unit", "; ".join(aside))
    kinds: dict[str, int] = {}
    for verdict in failing:
        kinds[verdict.kind] = kinds.get(verdict.kind, 0) + 1
    worst = failing[0]
    parts = ", ".join(
        f"{count} {in_words(kind)}" for kind, count in sorted(kinds.items(), key=lambda item: -item[1])
    )
    first = f"strongest: {worst.unit}, {in_words(worst.kind)}, {_stretch(worst.first_ls, worst.last_ls)}"
    units = "unit" if len(failing) == 1 else "units"
    return Headline("bad", f"{len(failing)} failing {units}", "; ".join([parts, first, *aside]))


def _stretch(first: Any, last: Any) -> str:
    return f"LS {first}\u2013{last}"


def _span(values: Sequence[int], *, signed: bool = False) -> str:
    style = "+d" if signed else "d"
    low, high = min(values), max(values)
    text = f"{low:{style}}" if low == high else f"{low:{style}}\u2026{high:{style}}"
    return text.replace("-", "\u2212")


def place(channels: Sequence[Channel]) -> str:
    """Return where channels are, as the smallest box that holds them.

    Examples
    --------
    >>> place([("HE", 27, 25, 3), ("HE", 29, 25, 5)])
    'HE, ieta +27…+29, iphi 25, depth 3…5'
    """
    if not channels:
        return ""
    subdets = " + ".join(dict.fromkeys(channel[0] for channel in channels))
    ieta, iphi, depth = ([int(channel[axis]) for channel in channels] for axis in (1, 2, 3))
    return f"{subdets}, ieta {_span(ieta, signed=True)}, iphi {_span(iphi)}, depth {_span(depth)}"


def unit_rows(verdicts: Sequence[Verdict]) -> list[UnitRow]:
    """Return the lines of a table of units, strongest first."""
    return [
        UnitRow(
            unit=verdict.title,
            unit_type=verdict.unit_type,
            kind=verdict.kind,
            stretch=f"{verdict.first_ls}\u2013{verdict.last_ls}",
            where=place(verdict.channels),
            names=[f"{s}{ieta:+d}-{iphi}-{depth}" for s, ieta, iphi, depth in verdict.channels],
            factor=number(verdict.factor, 2),
            significance=number(verdict.significance, 1),
            log10_p=number(verdict.log10_p, 1),
        )
        for verdict in strongest_first(verdicts)
    ]


def _overlap_in_time(fault: Mapping[str, Any], verdict: Verdict) -> bool:
    first, last = fault.get("first_ls"), fault.get("last_ls")
    return (last is None or verdict.first_ls <= int(last)) and (
        first is None or verdict.last_ls >= int(first)
    )


def _found_by(fault: Mapping[str, Any], verdicts: Sequence[Verdict]) -> str:
    """Return the unit that a fault was found as, ``""`` where it was missed.

    Found means a verdict of the same name that overlaps in time, else one that shares at least half of the channels
    of both.
    """
    inside = [verdict for verdict in verdicts if _overlap_in_time(fault, verdict)]
    if any(verdict.unit == fault.get("unit") for verdict in inside):
        return str(fault["unit"])
    injected = {tuple(channel) for channel in fault.get("channels") or ()}
    for verdict in strongest_first(inside):
        shared = injected & set(verdict.channels)
        if shared and len(shared) >= _SHARED * max(len(injected), len(verdict.channels)):
            return verdict.unit
    return ""


def injected_rows(given: ReportInput) -> tuple[list[dict[str, str]], list[str]]:
    """Return one line per injected fault, and the failing units that answer to none of them."""
    rows, answered = [], set()
    for fault in given.truth or ():
        unit = str(fault.get("unit", ""))
        found = _found_by(fault, given.verdicts)
        answered.add(found)
        result = "missed" if not found else "found" if found == unit else f"found as {found}"
        stretch = f"{fault.get('first_ls', '')}\u2013{fault.get('last_ls', '')}"
        factor = fault.get("factor")
        rows.append(
            {
                "unit": unit,
                "kind": in_words(str(fault.get("kind", ""))),
                "stretch": stretch,
                "factor": "" if factor is None else number(float(factor), 2),
                "result": result,
                "mark": "\u2718" if result == "missed" else "\u2714",
            }
        )
    invented = [v.unit for v in strongest_first(given.verdicts) if is_failing(v) and v.unit not in answered]
    return rows, invented
