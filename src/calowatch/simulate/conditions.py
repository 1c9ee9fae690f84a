"""Conditions of a run per lumisection: pile-up, luminosity, events, and the segments between prescale steps."""

import zlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.core.errors import FormatError, InputError
from calowatch.simulate.profile import Events, Luminosity, OccupancyProfile

__all__ = ["SHAPES", "ConditionsSettings", "RunConditions", "count_ls", "draw_conditions"]

SHAPES = ("flat", "decaying", "levelled")
"""Profiles of pile-up that need no file."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_STEADY, _FALL, _HOLD = range(3)


@dataclass(frozen=True)
class ConditionsSettings:
    """What the conditions of a run are drawn from.

    Parameters
    ----------
    shape
        One of `SHAPES`, or a CSV file with a column ``pileup`` and, optionally, ``delivered_lumi`` (inverse picobarn
        per lumisection) and ``run``.
    pileup
        Pile-up at the start; unused with a CSV.
    csv_run
        Which run of the CSV to take, where it holds several.
    levels, low_share
        Replace those of the profile: mean events per lumisection, of which one is chosen at each prescale step, and
        the share of lumisections with few events.
    step_ls, ring_jump
        Replace those of the profile: lumisections between prescale steps (shortest, longest), and the most by which
        one moves a ring.
    """

    shape: str | Path = "levelled"
    pileup: float = 50.0
    csv_run: int | None = None
    levels: tuple[float, ...] | None = None
    low_share: float | None = None
    step_ls: tuple[int, int] | None = None
    ring_jump: float | None = None

    def __post_init__(self) -> None:
        if not self.pileup >= 0 or not np.isfinite(self.pileup):
            raise InputError("--pileup", "a pile-up of zero or more", f"{self.pileup}", "give such as 50")
        if self.low_share is not None and not 0 <= self.low_share <= 1:
            raise InputError("low_share", "a share from 0 to 1", f"{self.low_share}", "give such as 0.01")
        if self.levels is not None and (not self.levels or min(self.levels) <= 0):
            raise InputError("levels", "mean events above zero", f"{self.levels}", "give such as 1000")
        if self.step_ls is not None and not 1 <= self.step_ls[0] <= self.step_ls[1]:
            raise InputError(
                "step_ls", "a shortest and a longest stretch", f"{self.step_ls}", "such as 100, 400"
            )
        if self.ring_jump is not None and not 0 <= self.ring_jump < 1:
            raise InputError(
                "ring_jump", "a share from 0 to below 1", f"{self.ring_jump}", "give such as 0.05"
            )

    def changed(self, profile: OccupancyProfile) -> OccupancyProfile:
        """Return a profile with the prescale steps of these settings."""
        given = {"step_ls": self.step_ls, "ring_jump": self.ring_jump}
        update = {name: value for name, value in given.items() if value is not None}
        return profile.model_copy(update={"events": profile.events.model_copy(update=update)})


@dataclass(frozen=True, eq=False)
class RunConditions:
    """Conditions per lumisection; all arrays have shape (ls,).

    ``lumi`` is in inverse picobarn per lumisection, NaN where a CSV does not tell; ``segment`` counts the stretches
    between prescale steps from 0; ``low`` marks the lumisections with few events.
    """

    ls: Ints
    n_events: Ints
    pileup: Floats
    lumi: Floats
    segment: Ints
    low: npt.NDArray[np.bool_]

    def frame(self) -> pd.DataFrame:
        """Return the table that is written beside the detector files."""
        columns = {"ls": self.ls, "n_events": self.n_events, "pileup": self.pileup, "lumi": self.lumi}
        return pd.DataFrame({**columns, "segment": self.segment})


def count_ls(settings: ConditionsSettings, n_ls: int | None) -> int:
    """Return how many lumisections `draw_conditions` would return, without drawing any.

    Raises
    ------
    InputError
        As `draw_conditions` does.

    Examples
    --------
    >>> count_ls(ConditionsSettings("flat"), 120)
    120
    """
    n_ls = _asked(settings, n_ls)
    return n_ls if n_ls is not None and str(settings.shape) in SHAPES else len(_read_csv(settings, n_ls)[0])


def _asked(settings: ConditionsSettings, n_ls: int | None) -> int | None:
    """Return the number that was asked for, which only a CSV can do without."""
    if n_ls is not None and n_ls < 1:
        raise InputError("--n-ls", "at least one lumisection", f"{n_ls}", "give such as 120")
    if n_ls is None and str(settings.shape) in SHAPES:
        raise InputError("--n-ls", "a number of lumisections", "none", "give such as 120")
    return n_ls


def draw_conditions(
    settings: ConditionsSettings,
    profile: OccupancyProfile,
    n_ls: int | None,
    first_ls: int,
    rng: np.random.Generator,
) -> RunConditions:
    """Return the conditions of one run.

    Parameters
    ----------
    settings
        What to draw from.
    profile
        The numbers behind it.
    n_ls
        Number of lumisections; ``None`` for all that a CSV holds.
    first_ls
        Number of the first of them.
    rng
        Source of random numbers; equal states give equal conditions.

    Raises
    ------
    InputError
        When ``n_ls`` is missing or more than a CSV holds, or the CSV cannot be used.
    """
    n_ls = _asked(settings, n_ls)
    if n_ls is not None and str(settings.shape) in SHAPES:
        pileup = settings.pileup * _shape(str(settings.shape), n_ls, profile.luminosity, rng)
        lumi = pileup * profile.scaling.lumi_per_pileup
    else:
        pileup, lumi = _read_csv(settings, n_ls)
    events, segment, low = _draw_events(settings, profile.events, len(pileup), rng)
    ls = np.arange(first_ls, first_ls + len(pileup), dtype=np.int64)
    return RunConditions(ls, events, pileup, lumi, segment, low)


def _draw_events(
    settings: ConditionsSettings, events: Events, n_ls: int, rng: np.random.Generator
) -> tuple[Ints, Ints, npt.NDArray[np.bool_]]:
    levels = np.array(settings.levels or events.levels)
    share = events.low_share if settings.low_share is None else settings.low_share
    segment = np.searchsorted(_boundaries(n_ls, events.step_ls, rng), np.arange(n_ls), side="right")
    current = int(rng.integers(len(levels)))
    chosen = [current]
    for _ in range(int(segment[-1])):
        # Never the same level twice: a prescale step that changes nothing is none.
        current = (current + int(rng.integers(1, max(2, len(levels))))) % len(levels)
        chosen.append(current)
    drawn = rng.poisson(levels[np.array(chosen)[segment]])
    low = rng.random(n_ls) < share
    few = rng.integers(events.low_events[0], events.low_events[1] + 1, n_ls)
    return np.where(low, few, drawn).astype(np.int64), segment.astype(np.int64), low


def _boundaries(n_ls: int, lengths: tuple[int, int], rng: np.random.Generator) -> Ints:
    """Return the rows at which a new stretch begins, without the first; stretches have lengths in the range."""
    most = n_ls // lengths[0] + 1
    starts: Ints = np.cumsum(rng.integers(lengths[0], lengths[1] + 1, most), dtype=np.int64)
    return starts[starts < n_ls]


def _shape(name: str, n_ls: int, numbers: Luminosity, rng: np.random.Generator) -> Floats:
    """Return pile-up over its starting value."""
    if name == "levelled":
        curve = _levelled(n_ls, numbers, rng)
    elif name == "decaying":
        curve = np.exp(-np.arange(n_ls) / numbers.lifetime_ls)
    else:
        curve = np.ones(n_ls)
    scattered: Floats = curve * np.exp(numbers.scatter * rng.standard_normal(n_ls))
    return scattered


def _levelled(n_ls: int, numbers: Luminosity, rng: np.random.Generator) -> Floats:
    """Return stretches that hold a level by steps back up, fall slowly, or stay."""
    edges = np.concatenate([[0], _boundaries(n_ls, numbers.stretch_ls, rng), [n_ls]])
    shares = [1 - numbers.hold_share - numbers.fall_share, numbers.fall_share, numbers.hold_share]
    curve = np.empty(n_ls)
    level = 1.0
    for start, stop in pairwise(edges):
        time = np.arange(stop - start)
        mode = int(rng.choice(3, p=shares))
        slope = 0.0
        if mode == _HOLD:
            slope = numbers.hold_drift * rng.standard_normal()
        elif mode == _FALL:
            slope = rng.uniform(*numbers.fall_slope)
        trend = level * np.exp(-slope * time)
        curve[start:stop] = trend * _held(len(time), numbers, rng) if mode == _HOLD else trend
        level = trend[-1]
    return curve


def _held(n_ls: int, numbers: Luminosity, rng: np.random.Generator) -> Floats:
    """Return a saw around 1: it falls until the band is left, steps back, sometimes too far for a moment."""
    value, target, again, steps = 1.0, 1.0, n_ls, 0
    band = rng.uniform(*numbers.band)
    saw = np.empty(n_ls)
    for row in range(n_ls):
        if row == again:
            value, target = value / target, 1.0
        if value < target * (1 - band):
            steps += 1
            band = rng.uniform(*numbers.band)
            target = 1 + rng.uniform(*numbers.overshoot) if steps % 3 == 0 else 1.0
            again = row + int(rng.integers(2, 7)) if target > 1 else n_ls
            value = target
        saw[row] = value
        value *= 1 - numbers.hold_slope
    return saw


def _read_csv(settings: ConditionsSettings, n_ls: int | None) -> tuple[Floats, Floats]:
    """Return pile-up and luminosity of the first ``n_ls`` rows of the chosen run."""
    path = Path(settings.shape)
    expected = f"{', '.join(SHAPES)}, or a CSV file with a column pileup"
    try:
        table = pd.read_csv(path)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InputError(path, expected, "no such file", "check the name after --profile") from error
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise FormatError(path, expected, "no CSV", "export the profile as CSV") from error
    if "pileup" not in table:
        raise FormatError(
            path, expected, f"columns {', '.join(map(str, table.columns))}", "name the column pileup"
        )
    table = _one_run(table, settings.csv_run, path)
    if n_ls is not None and n_ls > len(table):
        fix = f"give --n-ls {len(table)} or less"
        raise InputError(path, f"{n_ls} lumisections", f"{len(table)}", fix)
    table = table.iloc[:n_ls]
    pileup = pd.to_numeric(table["pileup"], errors="coerce").to_numpy(np.float64)
    bad = ~(np.isfinite(pileup) & (pileup >= 0))
    if bad.any() or not len(pileup):
        found = f"{int(bad.sum())} other values" if len(pileup) else "no rows"
        raise FormatError(path, "pile-up of zero or more in every row", found, "mend or drop these rows")
    lumi = table.get("delivered_lumi", pd.Series(np.nan, index=table.index))
    return pileup, pd.to_numeric(lumi, errors="coerce").to_numpy(np.float64)


def _one_run(table: pd.DataFrame, run: int | None, path: Path) -> pd.DataFrame:
    if "run" not in table:
        return table
    sizes = table["run"].value_counts()
    if run is None and len(sizes) == 1:
        return table
    if run not in sizes.index:
        found = "several runs" if run is None else f"no run {run}"
        longest = ", ".join(f"{number} ({rows} LS)" for number, rows in sizes.head(3).items())
        raise InputError(path, "one run to follow", found, f"give --profile-run, such as {longest}")
    return table[table["run"] == run]
