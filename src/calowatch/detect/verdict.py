"""What is said of a failing unit, and how a run's verdicts are written down."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

__all__ = ["KINDS", "Channel", "Kind", "Verdict", "verdicts_document"]

Kind = Literal["dead", "degraded", "hot", "link_loss", "sporadic", "drift", "outlier", "structural"]
KINDS: tuple[str, ...] = get_args(Kind)

Channel = tuple[str, int, int, int]
"""subdet, ieta, iphi, depth."""


@dataclass(frozen=True)
class Verdict:
    """One failing unit.

    Parameters
    ----------
    unit, unit_type
        Name and kind of hardware, such as ``HEP07-RM3-F4`` and ``fibre``.
    kind
        How it fails, one of `KINDS`.
    first_ls, last_ls
        First and last lumisection of the failure, inclusive.
    factor
        Digis seen over digis expected between those two.
    significance
        One-sided normal quantile of ``log10_p``.
    log10_p
        Base-10 logarithm of the probability that a healthy detector shows this anywhere in the run: every stretch of
        lumisections, every change and every unit that was tried is counted.
    known
        Whether all its channels were on the list of known-bad ones.
    channels
        The channels concerned.
    card_serial
        Of a card, its serial number, where a map of the user's tells it.
    """

    unit: str
    unit_type: str
    kind: Kind
    first_ls: int
    last_ls: int
    factor: float
    significance: float
    log10_p: float
    known: bool
    channels: tuple[Channel, ...]
    card_serial: str = ""

    @property
    def title(self) -> str:
        """The unit's name, a card's with its serial number where it is known."""
        return f"{self.unit} (QIE {self.card_serial})" if self.card_serial else self.unit

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as `verdicts.json` holds it."""
        serial = {"card_serial": self.card_serial} if self.card_serial else {}
        return {
            "unit": self.unit,
            "unit_type": self.unit_type,
            "kind": self.kind,
            "first_ls": self.first_ls,
            "last_ls": self.last_ls,
            "factor": round(self.factor, 4),
            "significance": round(self.significance, 2),
            "log10_p": round(self.log10_p, 2),
            "known": self.known,
            "channels": [list(channel) for channel in self.channels],
            **serial,
        }


def verdicts_document(
    run: int, era: str, n_ls: int, verdicts: Iterable[Verdict], no_verdict_ls: Sequence[int]
) -> dict[str, Any]:
    """Return the content of `verdicts.json`.

    Examples
    --------
    >>> verdicts_document(362760, "run3", 2, [], [1])
    {'run': 362760, 'era': 'run3', 'n_ls': 2, 'verdicts': [], 'no_verdict_ls': [1]}
    """
    return {
        "run": run,
        "era": era,
        "n_ls": n_ls,
        "verdicts": [verdict.to_dict() for verdict in verdicts],
        "no_verdict_ls": [int(ls) for ls in no_verdict_ls],
    }
