"""Whether the unit that was named is the unit that failed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from calowatch.core.errors import InputError

__all__ = ["Localisation", "channel_overlap", "localisation"]


@dataclass(frozen=True)
class Localisation:
    """How faults were named.

    Parameters
    ----------
    faults
        Injected.
    named
        Whose own unit is among those named.
    alone
        Whose own unit is the only one named.
    missed
        For which no unit was named at all.
    """

    faults: int
    named: int
    alone: int
    missed: int

    @property
    def share_named(self) -> float:
        """Share of faults whose unit is named."""
        return self.named / self.faults

    @property
    def share_alone(self) -> float:
        """Share of faults whose unit is named and nothing else."""
        return self.alone / self.faults


def localisation(injected: Sequence[str], named: Sequence[Iterable[str]]) -> Localisation:
    """Return how many faults were named by their unit.

    Parameters
    ----------
    injected
        Name of the unit that failed, one per fault.
    named
        Names of the units that were blamed, for each fault.

    Raises
    ------
    InputError
        Without faults, or when the two differ in length.

    Examples
    --------
    >>> localisation(["HEP07", "HEM01"], [["HEP07"], ["HEM01-RM3", "HEM02"]]).share_named
    0.5
    """
    if not injected or len(injected) != len(named):
        raise InputError(
            "faults", "one list of blamed units each", f"{len(named)} for {len(injected)}", "pair them"
        )
    blamed = [set(units) for units in named]
    return Localisation(
        len(injected),
        sum(unit in units for unit, units in zip(injected, blamed, strict=True)),
        sum({unit} == units for unit, units in zip(injected, blamed, strict=True)),
        sum(not units for units in blamed),
    )


def channel_overlap(injected: Iterable[int], blamed: Iterable[int]) -> float:
    """Return the intersection over union of failed and blamed channels, 1 where both are empty.

    Examples
    --------
    >>> channel_overlap([1, 2, 3], [2, 3, 4])
    0.5
    """
    failed, said = set(injected), set(blamed)
    return len(failed & said) / len(failed | said) if failed | said else 1.0
