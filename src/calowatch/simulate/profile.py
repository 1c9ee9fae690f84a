"""The numbers of a healthy detector: one versioned file, read through models that refuse what they do not know."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from calowatch.core.errors import FormatError, UnknownNameError
from calowatch.detector.segmentation import ERAS, SUBDETS

__all__ = ["OccupancyProfile", "RingTable", "load_profile"]

Basis = Literal["measured", "assumed"]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Whole = Annotated[int, Field(ge=0)]
Length = Annotated[int, Field(gt=0)]
Number = TypeVar("Number", int, float)


def _ordered(pair: tuple[Number, Number]) -> tuple[Number, Number]:
    if pair[1] < pair[0]:
        raise ValueError("a range is [lowest, highest], in this order")
    return pair


Slopes = Annotated[tuple[Share, Share], AfterValidator(_ordered)]
Lengths = Annotated[tuple[Length, Length], AfterValidator(_ordered)]
Wholes = Annotated[tuple[Whole, Whole], AfterValidator(_ordered)]


class _Strict(BaseModel):
    """Refuses unknown keys, so that a misspelt number never silently keeps its old value."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Scaling(_Strict):
    """What the ring table holds for, and how luminosity follows pile-up."""

    basis: Basis
    source: str
    reference_pileup: Positive
    lumi_per_pileup: Positive


class Events(_Strict):
    """How many events a lumisection has, and what a prescale step changes."""

    basis: Basis
    source: str
    levels: Annotated[tuple[Positive, ...], Field(min_length=1)]
    step_ls: Lengths
    ring_jump: Annotated[float, Field(ge=0, lt=1)]
    low_share: Share
    low_events: Wholes


class Luminosity(_Strict):
    """Shape of the profiles of pile-up against lumisection; all fractions are of the pile-up."""

    basis: Basis
    source: str
    scatter: Share
    lifetime_ls: Positive
    stretch_ls: Lengths
    hold_share: Share
    fall_share: Share
    hold_drift: Share
    hold_slope: Annotated[float, Field(gt=0, lt=0.1)]
    fall_slope: Slopes
    band: Slopes
    overshoot: Slopes

    @model_validator(mode="after")
    def _shares_within_one(self) -> Self:
        if self.hold_share + self.fall_share > 1:
            raise ValueError("hold_share and fall_share are more than 1 together")
        return self


class Rings(_Strict):
    """p of neighbouring rings: the same for all, or linear in abs(ieta) from ``p`` to ``p_last``."""

    ieta: Lengths
    depths: tuple[int, ...]
    p: tuple[Share, ...]
    p_last: tuple[Share, ...] | None = None

    @model_validator(mode="after")
    def _one_p_per_depth(self) -> Self:
        if len(self.p) != len(self.depths) or len(self.p_last or self.p) != len(self.depths):
            raise ValueError("p and p_last need one value per depth")
        return self

    def at(self, abs_ieta: int) -> npt.NDArray[np.float64]:
        """Return p of each depth at one abs(ieta)."""
        first, last = self.ieta
        share = (abs_ieta - first) / (last - first) if last > first else 0.0
        start = np.array(self.p)
        p: npt.NDArray[np.float64] = start + share * (np.array(self.p_last or self.p) - start)
        return p


class RingTable(_Strict):
    """p of every ring of a subdetector, and how its channels differ and follow pile-up.

    ``spread`` is the standard deviation of a channel's ln(lambda) around that of its ring.
    """

    subdet: Literal["HB", "HE", "HF", "HO"]
    eras: Annotated[tuple[Literal["2017", "2018", "run3"], ...], Field(min_length=1)]
    basis: Basis
    source: str
    spread: Annotated[float, Field(ge=0)]
    spread_basis: Basis
    pileup_exponent: Annotated[float, Field(ge=0)]
    rows: tuple[Rings, ...]

    def p(self) -> dict[tuple[int, int], float]:
        """Return p of each ring, by (abs(ieta), depth)."""
        return {
            (ieta, depth): float(p)
            for row in self.rows
            for ieta in range(row.ieta[0], row.ieta[1] + 1)
            for depth, p in zip(row.depths, row.at(ieta), strict=True)
        }


class OccupancyProfile(_Strict):
    """All numbers of the simulator; see the comments of the file for what is measured and what is assumed."""

    name: str
    scaling: Scaling
    events: Events
    luminosity: Luminosity
    rings: tuple[RingTable, ...]

    def ring_table(self, subdet: str, era: str) -> RingTable:
        """Return the rings of a subdetector in an era.

        Raises
        ------
        UnknownNameError
            When the profile has none, naming the eras it has.
        """
        for table in self.rings:
            if table.subdet == subdet and era in table.eras:
                return table
        eras = [name for name in ERAS if any(name in table.eras for table in self.rings)]
        raise UnknownNameError(
            f"era {era!r}, {subdet}",
            f"an era that profile {self.name} can simulate: {', '.join(eras)}",
            "no ring table for it",
            "choose one of those, or add a [[rings]] table",
        )

    def channel_lambdas(self, table: pd.DataFrame, era: str) -> npt.NDArray[np.float64]:
        """Return the ring's hits per event at the reference pile-up for each channel; infinite where p is 1."""
        p = np.empty(len(table))
        for subdet in SUBDETS:
            rows = np.flatnonzero(table["subdet"] == subdet)
            if not rows.size:
                continue
            rings = self.ring_table(subdet, era).p()
            towers = zip(table["ieta"].abs().iloc[rows], table["depth"].iloc[rows], strict=True)
            try:
                p[rows] = [rings[int(ieta), int(depth)] for ieta, depth in towers]
            except KeyError as missing:
                raise FormatError(
                    f"profile {self.name}",
                    f"p for every ring of {subdet} in {era}",
                    f"none for (abs(ieta), depth) {missing}",
                    "add it to the rows of this [[rings]] table",
                ) from missing
        with np.errstate(divide="ignore"):
            lambdas: npt.NDArray[np.float64] = -np.log1p(-p)
        return lambdas


def load_profile(profile: str | Path = "occupancy-v1") -> OccupancyProfile:
    """Return a profile that ships with calowatch, by name, or one from a TOML file.

    Raises
    ------
    FormatError
        When the file is not there, not TOML, or has unknown, missing or impossible values.

    Examples
    --------
    >>> load_profile().ring_table("HE", "run3").p()[27, 3]
    0.983
    """
    shipped = resources.files("calowatch.simulate") / "profiles" / f"{profile}.toml"
    expected = "a profile's name or a TOML file of a profile"
    try:
        text = shipped.read_text() if shipped.is_file() else Path(profile).read_text()
        return OccupancyProfile.model_validate(tomllib.loads(text))
    except OSError as error:
        raise FormatError(profile, expected, "no such file", "use occupancy-v1") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(profile, expected, f"not TOML ({error})", "mend the file") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        found = f"{first['msg'][:1].lower()}{first['msg'][1:]} at {key}"
        raise FormatError(profile, "known keys with possible values", found, f"mend {key}") from error
