"""What can be made to fail in a simulated run, and how it acts on digi probabilities and counts.

==============  =============================================================================================
kind            what happens to the channels of the unit
==============  =============================================================================================
dead            no digi
masked          no digi (masked by the operators: the same to the eye, another cause)
rbx_power_loss  no digi; for readout boxes, such as ``HEM15+HEM16``
degraded        p' = factor * p, or, with ``gain``, p' = p^(1 / gain)
hot             p' = min(1, factor * p)
sporadic        p' = min(1, factor * p) in bursts
link_loss       the fragments of the same events are lost for all channels; a share ``factor`` arrives
==============  =============================================================================================

The form with ``gain`` takes the charge above threshold as exponential, p = exp(-threshold / mean): a lower gain then
costs most where the spectrum is soft and p is small.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from calowatch.core.errors import InputError, nearest

__all__ = ["KINDS", "Fault", "draw_bursts", "parse_fault"]

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Kind:
    """Default factor of a kind and the range it must lie in, with the words for it."""

    factor: float
    low: float
    high: float
    words: str

    def holds(self, factor: float) -> bool:
        if self.low == self.high:
            return factor == self.low
        return self.low < factor < self.high


_NOTHING_LEFT = _Kind(0.0, 0.0, 0.0, "0, since nothing is left")
_LESS = _Kind(0.5, 0.0, 1.0, "between 0 and 1")
KINDS: Mapping[str, _Kind] = MappingProxyType(
    {
        "dead": _NOTHING_LEFT,
        "masked": _NOTHING_LEFT,
        "rbx_power_loss": _NOTHING_LEFT,
        "degraded": _LESS,
        "link_loss": _LESS,
        "hot": _Kind(3.0, 1.0, np.inf, "above 1"),
        "sporadic": _Kind(0.3, -1e-300, np.inf, "of zero or more"),
    }
)
"""Kinds of faults, with the factor each has when none is given."""

_FORM = "'UNIT KIND FIRST-LAST', such as 'HEM15 dead 41-' or 'HEP07-RM3-F4 sporadic 20-80 factor=0.3'"


@dataclass(frozen=True)
class Fault:
    """One fault of one unit, or of several units joined by ``+``.

    Parameters
    ----------
    unit
        Any unit name of `calowatch.detector.units`, such as ``"HEP07-RM3-F4"`` or ``"HEM15+HEM16"``.
    kind
        One of `KINDS`.
    first_ls, last_ls
        Both inclusive; 0 and ``None`` stand for the start and the end of the run.
    factor
        On p, see the table of this module; ``None`` for the default of the kind.
    gain
        For degraded only, in place of ``factor``: the gain that is left, between 0 and 1.
    duty, burst_ls
        For sporadic (where ``duty`` is 0.3 unless given) and link_loss: share of lumisections in bursts, and their
        mean length. With ``duty`` None a link loss is steady.

    Raises
    ------
    InputError
        When the values make no fault.

    Examples
    --------
    >>> Fault("HEM15", "dead", 41).strength
    0.0
    """

    unit: str
    kind: str
    first_ls: int = 0
    last_ls: int | None = None
    factor: float | None = None
    gain: float | None = None
    duty: float | None = None
    burst_ls: float = 5.0

    def __post_init__(self) -> None:
        where = f"fault {self.unit!r}"
        if self.kind not in KINDS:
            raise InputError(
                where,
                f"a kind among {', '.join(KINDS)}",
                repr(self.kind),
                nearest(self.kind, KINDS),
            )
        if self.last_ls is not None and self.last_ls < self.first_ls:
            found = f"{self.first_ls}-{self.last_ls}"
            raise InputError(where, "a last lumisection not before the first", found, "swap them")
        self._check_size(where)
        self._check_bursts(where)

    def _check_size(self, where: str) -> None:
        kind = KINDS[self.kind]
        if self.gain is not None:
            if self.kind != "degraded" or self.factor is not None:
                raise InputError(where, "gain= for degraded, in place of factor=", self.kind, "give one")
            if not 0 < self.gain < 1:
                raise InputError(where, "a gain between 0 and 1", f"{self.gain}", "give such as gain=0.8")
        if not kind.holds(self.strength) or not np.isfinite(self.strength):
            expected = f"a factor {kind.words} for {self.kind}"
            raise InputError(where, expected, f"{self.factor}", "change the factor or the kind")

    def _check_bursts(self, where: str) -> None:
        if self.duty is not None:
            if self.kind not in ("sporadic", "link_loss"):
                raise InputError(where, "duty= for sporadic or link_loss", self.kind, "leave duty= away")
            if not 0 < self.duty <= 1:
                raise InputError(where, "a duty above 0, up to 1", f"{self.duty}", "give such as duty=0.3")
        if not 1 <= self.burst_ls < np.inf:
            raise InputError(where, "bursts of at least 1 LS", f"{self.burst_ls}", "give such as burst=5")

    @property
    def strength(self) -> float:
        """The factor given, or that of the kind."""
        return KINDS[self.kind].factor if self.factor is None else self.factor

    @property
    def share_on(self) -> float:
        """Share of the lumisections between first and last in which it acts."""
        if self.duty is not None:
            return self.duty
        return 0.3 if self.kind == "sporadic" else 1.0

    @property
    def units(self) -> tuple[str, ...]:
        """The single units; the ``+`` of a positive ieta joins nothing."""
        return tuple(part.strip() for part in re.split(r"\+(?=\s*[A-Za-z])", self.unit))

    def acting_on(self, p: Floats) -> Floats:
        """Return p' for healthy p, wherever the fault acts."""
        if self.gain is not None:
            faulty: Floats = p ** (1 / self.gain)
            return faulty
        return np.minimum(1.0, self.strength * p)


def draw_bursts(fault: Fault, n_ls: int, rng: np.random.Generator) -> Mask:
    """Return in which of ``n_ls`` lumisections a fault acts: bursts and gaps of geometric length, one burst at least.

    Examples
    --------
    >>> bool(draw_bursts(Fault("HEM15", "dead"), 4, np.random.default_rng(1)).all())
    True
    """
    if fault.share_on == 1:
        return np.ones(n_ls, dtype=bool)
    gap = max(1.0, fault.burst_ls * (1 - fault.share_on) / fault.share_on)
    on = np.zeros(n_ls, dtype=bool)
    row = int(rng.integers(0, max(1, min(n_ls, round(2 * gap)))))
    while row < n_ls:
        length = int(rng.geometric(1 / fault.burst_ls))
        on[row : row + length] = True
        row += length + int(rng.geometric(1 / gap))
    return on


_OPTIONS = {"factor": "factor", "gain": "gain", "duty": "duty", "burst": "burst_ls"}


def parse_fault(text: str) -> Fault:
    """Return the fault that a text such as ``"HEP07-RM3-F4 sporadic 20-80 factor=0.3"`` stands for.

    The range may be one lumisection (``41``), open (``41-``, ``-80``) or missing (the whole run); options are
    ``factor=``, ``gain=``, ``duty=`` and ``burst=`` (mean length in lumisections).

    Raises
    ------
    InputError
        When the text has no unit or kind, or something in it is not understood.

    Examples
    --------
    >>> fault = parse_fault("HEM15+HEM16 rbx_power_loss 41-")
    >>> fault.units, fault.first_ls, fault.last_ls
    (('HEM15', 'HEM16'), 41, None)
    """
    words = text.split()
    place = next((i for i, word in enumerate(words) if word in KINDS), None)
    if place is None:
        kind = words[1] if len(words) > 1 else ""
        fix = f"name a kind among {', '.join(KINDS)}; {nearest(kind, KINDS)}"
        raise InputError(f"--fault {text!r}", _FORM, "no kind of fault", fix)
    if place == 0:
        raise InputError(f"--fault {text!r}", _FORM, "no unit", "put a unit before the kind")
    first, last = 0, None
    numbers: dict[str, float] = {}
    for word in words[place + 1 :]:
        if "=" in word:
            key, value = _option(text, word)
            numbers[key] = value
        else:
            first, last = _range(text, word)
    return Fault(" ".join(words[:place]), words[place], first, last, **numbers)


def _range(text: str, word: str) -> tuple[int, int | None]:
    match = re.fullmatch(r"(\d*)(-?)(\d*)", word)
    if match is None:
        raise InputError(
            f"--fault {text!r}", "lumisections such as 41- or 20-80", repr(word), f"write {_FORM}"
        )
    first, dash, last = match.groups()
    if not dash:
        return int(first), int(first)
    return int(first or 0), int(last) if last else None


def _option(text: str, word: str) -> tuple[str, float]:
    name, _, value = word.partition("=")
    where = f"--fault {text!r}"
    if name not in _OPTIONS:
        options = ", ".join(f"{option}=" for option in _OPTIONS)
        raise InputError(where, f"options {options}", repr(word), nearest(name, _OPTIONS))
    try:
        return _OPTIONS[name], float(value)
    except ValueError as error:
        raise InputError(
            where, f"a number after {name}=", repr(value), f"write such as {name}=0.5"
        ) from error
