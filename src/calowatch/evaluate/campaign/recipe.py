"""What a campaign is: which runs, which faults, at which thresholds; one TOML file."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from calowatch.core.errors import UnknownNameError, nearest
from calowatch.core.recipe import Share, Strict, load_recipe
from calowatch.detector.grids import LAYOUTS
from calowatch.simulate.ageing import Ageing
from calowatch.simulate.conditions import ConditionsSettings
from calowatch.simulate.occupancy import DETECTOR_SEED, OccupancySettings

__all__ = [
    "BASELINES",
    "UNIT_TYPES",
    "Campaign",
    "Conditions",
    "campaign_path",
    "load_campaign",
    "shipped_campaigns",
]

UNIT_TYPES = ("channel", "fibre", "card", "rm", "rbx", "uhtr", "box")
"""What fails: hardware, and the source system's random boxes."""

Baseline = Literal["ring", "reference", "pca", "ewma"]
BASELINES: tuple[Baseline, ...] = ("ring", "reference", "pca", "ewma")

Positive = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
AboveZero = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Factor = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Range = tuple[Share, Share]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Duration = Positive | Literal["end"]


class AgeingRecipe(Strict):
    """How a detector has aged, see `calowatch.simulate.ageing.Ageing`."""

    loss: Share = 0.2
    recalibrated: Share = 0.05
    spread: Annotated[float, Field(ge=0)] = 0.15
    scatter: Annotated[float, Field(ge=0)] = 0.01
    seed: Whole = 0

    def draw(self) -> Ageing:
        """Return what the simulator takes."""
        return Ageing(**self.model_dump())


class Conditions(Strict):
    """Runs of one kind: one for each pile-up, of ``n_ls`` lumisections each.

    ``first_run`` is the number of the first of them. ``later`` in place of both: the training runs, after what was
    trained on. ``said`` is what tables call them.
    """

    said: str
    pileup: tuple[AboveZero, ...] = ()
    n_ls: Positive = 500
    first_run: Positive | None = None
    later: bool = False
    levels: tuple[AboveZero, ...] | None = None
    low_share: Share | None = None
    step_ls: tuple[int, int] | None = None
    ring_jump: Share | None = None
    ageing: AgeingRecipe | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.later is bool(self.pileup) or self.later is (self.first_run is not None):
            raise ValueError("either later = true, or pileup and first_run")
        return self

    @property
    def numbers(self) -> range:
        """Run numbers; none where the training runs are gone on with."""
        first = self.first_run or 0
        return range(first, first + len(self.pileup))


class Base(Strict):
    """The fault from which one axis varies at a time."""

    unit: Literal["channel"] = "channel"
    factor: Factor = 0.8
    duration: Duration = 5
    ring: str = "middle"
    conditions: str = "other"


class Axes(Strict):
    """What varies; the base point is added to each axis where it is missing."""

    unit: tuple[Literal["channel", "fibre", "card", "rm", "rbx", "uhtr", "box"], ...] = ()
    factor: tuple[Factor, ...] = ()
    duration: tuple[Duration, ...] = ()
    ring: tuple[str, ...] = ()
    statistics: tuple[str, ...] = ()
    shift: tuple[str, ...] = ()


class Also(Strict):
    """A cell off the axes; what is not given is as in the base point."""

    factor: Factor | None = None
    unit: Literal["channel", "fibre", "card", "rm", "rbx", "uhtr", "box"] | None = None
    conditions: str | None = None


class Faults(Strict):
    """How many faults: at least ``least`` per cell, up to ``per_window`` of a unit at once in one window.

    A fault that lasts to the end is followed for ``to_end_ls`` lumisections.
    """

    least: Positive = 2000
    per_window: Mapping[str, Positive]
    to_end_ls: Positive = 50

    @model_validator(mode="after")
    def _all_units(self) -> Self:
        if missing := sorted(set(UNIT_TYPES) - set(self.per_window)):
            raise ValueError(f"per_window lacks {', '.join(missing)}")
        if more := sorted(set(self.per_window) - set(UNIT_TYPES)):
            raise ValueError(f"per_window tells of {', '.join(more)}; units are {', '.join(UNIT_TYPES)}")
        return self


class Judgement(Strict):
    """Shares of healthy channel-windows, and of healthy unit-windows, above the thresholds; and the bootstrap."""

    channel_rate: Annotated[float, Field(gt=0, lt=0.5)] = 1e-5
    unit_rate: Annotated[float, Field(gt=0, lt=0.5)] = 1e-3
    draws: Whole = 200
    min_events: Positive = 100


class Campaign(Strict):
    """A campaign.

    ``training`` and ``validation`` are runs of the detector too: models are trained on the first ``train_ls``
    lumisections of the former, thresholds are fixed on the latter.
    """

    name: str
    summary: str
    seed: Whole = 0
    era: str = "run3"
    subdets: Annotated[tuple[Literal["HB", "HE", "HF", "HO"], ...], Field(min_length=1)] = ("HE",)
    layout: str = "he"
    window: Positive = 5
    detector_seed: Whole = DETECTOR_SEED
    baselines: tuple[Baseline, ...] = BASELINES
    train_ls: Positive = 500
    training: Conditions
    validation: Conditions
    conditions: Mapping[Name, Conditions]
    healthy: str = "other"
    rings: Mapping[str, Range]
    base: Base = Base()
    axes: Axes = Axes()
    also: tuple[Also, ...] = ()
    faults: Faults
    judgement: Judgement = Judgement()

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        asked = [self.healthy, self.base.conditions, *self.axes.statistics, *self.axes.shift]
        asked += [cell.conditions for cell in self.also if cell.conditions]
        for name in asked:
            if name not in self.conditions:
                raise ValueError(f"no conditions {name!r}; {nearest(name, self.conditions)}")
        for name in (self.base.ring, *self.axes.ring):
            if name not in self.rings:
                raise ValueError(f"no rings {name!r}; {nearest(name, self.rings)}")
        return self

    @model_validator(mode="after")
    def _kinds_are_what_they_are_called(self) -> Self:
        for name in ("training", "validation"):
            if name in self.conditions:
                raise ValueError(f"conditions {name!r} would stand for the {name} runs; choose another name")
            if getattr(self, name).later:
                raise ValueError(f"{name} with later = true; give it runs of its own: pileup and first_run")
        if self.layout.lower() not in LAYOUTS:
            raise ValueError(f"no layout {self.layout!r}; {nearest(self.layout, LAYOUTS)}")
        for key in ("subdets", "baselines"):
            given = getattr(self, key)
            if len(set(given)) < len(given):
                raise ValueError(f"{key} name one twice: {', '.join(given)}")
        return self

    @model_validator(mode="after")
    def _runs_are_long_enough(self) -> Self:
        have = {name: given.n_ls for name, given in self.conditions.items()}
        need = dict.fromkeys(have, self.window)
        base = self.base.duration
        for name in (
            *self.axes.statistics,
            *self.axes.shift,
            *(c.conditions for c in self.also if c.conditions),
        ):
            need[name] = max(need[name], self.stretch_ls(base))
        longest = max(map(self.stretch_ls, (base, *self.axes.duration)))
        need[self.base.conditions] = max(need[self.base.conditions], longest)
        have |= {"training": self.train_ls, "validation": self.validation.n_ls}
        need |= {"training": self.window, "validation": self.window}
        for name, n_ls in need.items():
            if have[name] < n_ls:
                raise ValueError(f"{name} has {have[name]} lumisections; its faults need {n_ls} in a line")
        return self

    @model_validator(mode="after")
    def _rings_hold_something(self) -> Self:
        for name, (low, high) in self.rings.items():
            if not low < high:
                raise ValueError(f"rings {name!r} go from {low:g} to {high:g}; the first must be the lower")
        return self

    @model_validator(mode="after")
    def _runs_apart(self) -> Self:
        kinds = {"training": self.training, "validation": self.validation}
        kinds |= {f"conditions.{name}": given for name, given in self.conditions.items()}
        owner = dict[int, str]()
        for name, given in kinds.items():
            for run in given.numbers:
                if run in owner:
                    raise ValueError(f"run {run} is in {owner[run]} and in {name}; change a first_run")
                owner[run] = name
        return self

    def stretch_ls(self, duration: int | str) -> int:
        """Return the lumisections of the windows that a fault can reach: one window, or more for a longer one."""
        length = self.faults.to_end_ls if isinstance(duration, str) else duration
        if length <= self.window:
            return self.window
        return -(-(length + self.window - 1) // self.window) * self.window

    @property
    def later_ls(self) -> int:
        """Lumisections that the training runs have beyond what is trained on."""
        return max((each.n_ls for each in self.conditions.values() if each.later), default=0)

    def runs(self, conditions: Conditions) -> tuple[OccupancySettings, ...]:
        """Return what the simulator takes for each run of some conditions."""
        whole = self.training if conditions.later else conditions
        n_ls = self.train_ls + self.later_ls if whole is self.training else whole.n_ls
        return tuple(
            OccupancySettings(
                era=self.era,
                run=(whole.first_run or 0) + number,
                n_ls=n_ls,
                conditions=ConditionsSettings(
                    "levelled", pileup, None, whole.levels, whole.low_share, whole.step_ls, whole.ring_jump
                ),
                subdets=self.subdets,
                seed=self.seed,
                detector_seed=self.detector_seed,
                ageing=whole.ageing.draw() if whole.ageing else None,
            )
            for number, pileup in enumerate(whole.pileup)
        )


def shipped_campaigns() -> dict[str, Path]:
    """Return the campaigns that come with calowatch, by name.

    Examples
    --------
    >>> sorted(shipped_campaigns())
    ['published', 'reduced', 'tiny']
    """
    folder = Path(str(files("calowatch") / "campaigns"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def campaign_path(name: str | Path) -> Path:
    """Return the file of a campaign: a path, or the name of one that comes with calowatch.

    Raises
    ------
    UnknownNameError
        When there is neither.
    """
    path, shipped = Path(name), shipped_campaigns()
    if path.is_file():
        return path
    if str(name) in shipped:
        return shipped[str(name)]
    known = ", ".join(shipped)
    raise UnknownNameError(name, f"a TOML file, or one of {known}", "neither", nearest(path.stem, shipped))


def load_campaign(name: str | Path) -> Campaign:
    """Return a campaign by name or from a TOML file.

    Raises
    ------
    UnknownNameError
        When there is neither.
    FormatError
        When the file is no TOML.
    InputError
        For unknown or missing keys and for values that cannot be, naming the key.

    Examples
    --------
    >>> load_campaign("published").base.factor
    0.8
    """
    return load_recipe(campaign_path(name), Campaign)
