"""Simulated occupancy: one run of a detector whose truth is known.

Counts are binomial, as real counts are: of the events of a lumisection, each gives a digi in a channel with the
channel's own probability.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from calowatch.core.errors import InputError, UnknownNameError, nearest
from calowatch.core.files import file_hash
from calowatch.core.progress import SILENT, Progress
from calowatch.core.provenance import provenance
from calowatch.core.schema import make_occupancy
from calowatch.detector.segmentation import SUBDETS
from calowatch.detector.table import channel_table
from calowatch.simulate.ageing import Ageing
from calowatch.simulate.conditions import SHAPES, ConditionsSettings, draw_conditions
from calowatch.simulate.faults import Fault
from calowatch.simulate.profile import load_profile
from calowatch.simulate.response import ResponseModel
from calowatch.simulate.truth import Truth, describe, place_faults

__all__ = ["DETECTOR_SEED", "OccupancySettings", "draw_truth", "occupancy"]

DETECTOR_SEED = 2017
"""The detector that every run shares unless another is asked for."""

BLOCK_LS = 64
"""Lumisections drawn at a time: enough to be quick, few enough that p of a block stays small."""

Counts = npt.NDArray[np.int32]


@dataclass(frozen=True)
class OccupancySettings:
    """Everything that decides a simulated run.

    Parameters
    ----------
    era
        ``"run3"`` or ``"2018"``.
    run
        Its number; it enters the random numbers, so runs of one seed differ.
    n_ls, first_ls
        Lumisections; ``n_ls`` None for all that a CSV profile holds.
    conditions
        Pile-up, luminosity and events.
    faults
        What fails.
    subdets
        Which subdetectors; the counts of each do not depend on the others.
    seed
        Of conditions, counts and bursts.
    detector_seed
        Of the frozen responses of the channels.
    profile
        Name or TOML file of the numbers of a healthy detector.
    ageing
        How the detector has changed since; by default it is as it was.
    """

    era: str = "run3"
    run: int = 362760
    n_ls: int | None = 120
    first_ls: int = 1
    conditions: ConditionsSettings = field(default_factory=ConditionsSettings)
    faults: tuple[Fault, ...] = ()
    subdets: tuple[str, ...] = SUBDETS
    seed: int = 0
    detector_seed: int = DETECTOR_SEED
    profile: str | Path = "occupancy-v1"
    ageing: Ageing | None = None

    def __post_init__(self) -> None:
        for subdet in self.subdets:
            if subdet not in SUBDETS:
                expected = f"subdetectors among {', '.join(SUBDETS)}"
                raise UnknownNameError("--subdets", expected, repr(subdet), nearest(subdet, SUBDETS))
        if not self.subdets:
            raise InputError("--subdets", "at least one subdetector", "none", "give such as HB,HE")
        for name in ("seed", "detector_seed", "run", "first_ls"):
            if getattr(self, name) < 0:
                option = f"--{name.replace('_', '-')}"
                raise InputError(
                    option, "a number of zero or more", f"{getattr(self, name)}", "drop the sign"
                )


def occupancy(
    settings: OccupancySettings | None = None, progress: Progress = SILENT
) -> tuple[xr.Dataset, Truth]:
    """Return the occupancy of a simulated run, and its truth.

    A run with faults equals the run without them, count by count, except where they act.

    Parameters
    ----------
    settings
        What to simulate; by default a healthy Run 3 run.
    progress
        Shown one step per block of lumisections.

    Raises
    ------
    UnknownNameError
        For an era or subdetector that the profile does not hold, or a unit that does not exist.
    InputError
        For faults or conditions that cannot be.

    Examples
    --------
    >>> data, truth = occupancy(OccupancySettings(n_ls=3, faults=(Fault("HEM15", "dead", 2),)))
    >>> data["counts"].shape, truth.faults[0].first_ls, len(truth.faults[0].channels)
    ((3, 21456), 2, 188)
    """
    settings = settings or OccupancySettings()
    seeds = _seeds(settings)
    truth = _truth(settings, seeds[:3])
    counts = _healthy_counts(truth, seeds[3], progress)
    _apply_faults(counts, truth, np.random.default_rng(seeds[4]))
    conditions = {"pileup": truth.conditions.pileup}
    if np.isfinite(truth.conditions.lumi).all():
        conditions["lumi"] = truth.conditions.lumi
    data = make_occupancy(
        counts, truth.table, truth.conditions.ls, truth.conditions.n_events, _attrs(settings), conditions
    )
    return data, truth


def draw_truth(settings: OccupancySettings) -> Truth:
    """Return the truth of the run that `occupancy` would draw, without drawing its counts.

    Examples
    --------
    >>> draw_truth(OccupancySettings(n_ls=3, subdets=("HE",))).p(0, 1).shape
    (1, 6768)
    """
    return _truth(settings, _seeds(settings)[:3])


def _seeds(settings: OccupancySettings) -> list[np.random.SeedSequence]:
    """Return the seeds of conditions, rings, faults' bursts, counts, and counts where faults act."""
    return np.random.SeedSequence([settings.seed, settings.run]).spawn(5)


def _truth(settings: OccupancySettings, seeds: Sequence[np.random.SeedSequence]) -> Truth:
    profile = settings.conditions.changed(load_profile(settings.profile))
    whole = channel_table(settings.era)
    of_conditions, of_rings, of_faults = seeds
    conditions = draw_conditions(
        settings.conditions, profile, settings.n_ls, settings.first_ls, np.random.default_rng(of_conditions)
    )
    generators = (np.random.default_rng(settings.detector_seed), np.random.default_rng(of_rings))
    response = ResponseModel.draw(whole, settings.era, profile, conditions, generators)
    if settings.ageing is not None:
        response = replace(response, own=response.own * np.exp(settings.ageing.log_factors(whole)))
    chosen = whole["subdet"].isin(settings.subdets).to_numpy(bool)
    table = whole[chosen].reset_index(drop=True)
    response = response.select(chosen)
    placed = place_faults(settings.faults, table, conditions.ls, of_faults)
    faults = tuple(describe(fault, table, conditions.ls, response) for fault in placed)
    return Truth(table, conditions, response, placed, faults)


def _healthy_counts(truth: Truth, seed: np.random.SeedSequence, progress: Progress) -> Counts:
    events = truth.conditions.n_events
    counts = np.empty((len(events), len(truth.table)), dtype=np.int32)
    subdets = truth.table["subdet"].to_numpy(str)
    generators = [np.random.default_rng(s) for s in seed.spawn(len(SUBDETS))]
    blocks = [slice(first, first + BLOCK_LS) for first in range(0, len(events), BLOCK_LS)]
    for rows in progress.track(blocks, "simulating lumisections"):
        for subdet, rng in zip(SUBDETS, generators, strict=True):
            columns = np.flatnonzero(subdets == subdet)
            full = np.isinf(truth.response.own[columns])
            counts[rows, columns[full]] = events[rows, None]
            varying = columns[~full]
            if varying.size:
                counts[rows, varying] = rng.binomial(events[rows, None], truth.response.p(rows, varying))
    return counts


def _apply_faults(counts: Counts, truth: Truth, rng: np.random.Generator) -> None:
    """Draw the counts anew where faults act; first what changes p, then what loses events on their way."""
    if truth.at_channels:
        _redraw(counts, truth, rng)
    for placed in truth.at_links:
        rows = np.flatnonzero(placed.rows)
        events = truth.conditions.n_events[rows]
        arrived = rng.binomial(events, placed.fault.strength)
        cells = np.ix_(rows, placed.columns)
        counts[cells] = rng.hypergeometric(
            counts[cells], np.subtract(events[:, None], counts[cells]), arrived[:, None]
        )


def _redraw(counts: Counts, truth: Truth, rng: np.random.Generator) -> None:
    columns = np.unique(np.concatenate([placed.columns for placed in truth.at_channels]))
    touched = np.zeros((len(counts), len(columns)), dtype=bool)
    p = truth.response.p(slice(None), columns)
    for placed in truth.at_channels:
        cells = np.ix_(np.flatnonzero(placed.rows), np.searchsorted(columns, placed.columns))
        p[cells] = placed.fault.acting_on(p[cells])
        touched[cells] = True
    rows, which = np.nonzero(touched)
    counts[rows, columns[which]] = rng.binomial(truth.conditions.n_events[rows], p[rows, which])


def _attrs(settings: OccupancySettings) -> dict[str, Any]:
    conditions = settings.conditions
    options = asdict(settings)
    sources = []
    if str(conditions.shape) not in SHAPES:
        path = Path(conditions.shape)
        options["conditions"]["shape"] = path.name
        sources.append({"name": path.name, "sha256": file_hash(path)})
    options["profile"] = Path(settings.profile).name
    record = provenance("simulate occupancy", seed=settings.seed, sources=sources, options=options)
    return {
        "run": settings.run,
        "era": settings.era,
        "source": f"simulated run {settings.run}",
        "provenance": record,
    }
