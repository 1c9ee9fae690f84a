"""Pictures of single faults, for a few models: one fault of each kind of unit at the base point."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from calowatch.core.progress import SILENT, Progress
from calowatch.evaluate.campaign.cells import Placement
from calowatch.evaluate.campaign.evidence import SAID, scores_of
from calowatch.evaluate.campaign.models import Contestant, predict
from calowatch.evaluate.campaign.scoring import Workbench, limits
from calowatch.present.campaign_faults import FaultPicture, draw_fault

__all__ = ["write_pictures"]

_SHOWN = ("source", "calibrated")


def write_pictures(
    work: Workbench, who: Sequence[Contestant], folder: Path, progress: Progress = SILENT
) -> list[Path]:
    """Draw one fault of each kind of unit for every given contestant, and return the files.

    Parameters
    ----------
    work
        A campaign that has been scored.
    who
        Contestants other than the truth.
    folder
        Existing.
    progress
        Told of each picture.
    """
    placed = [work.placement(cell) for cell in work.cells if any(axis == "unit" for axis, _ in cell.axes)]
    wanted = [(each, place) for each in who for place in placed if place.n_faults]
    written = []
    for each, place in progress.track(wanted, "drawing faults", len(wanted)):
        path = folder / f"{place.cell.unit}-{each.slug}.png"
        written.append(draw_fault(path, _picture(work, each, place)))
    return written


def _picture(work: Workbench, who: Contestant, placed: Placement) -> FaultPicture:
    """Return the picture of the first fault of a cell, and of the others in its window."""
    data, window, cell = work.data, work.campaign.window, placed.cell
    faulty, trials_each = placed.injected(data, 0)
    counts, events = faulty[:window][None], trials_each[:window][None]
    fault = placed.faults[0][0]
    columns = placed.units.members[fault.unit]
    found = predict(who, data, counts, events)
    fixed = limits(work, who)
    scores = scores_of(
        (counts, events, found.p), found.source, fixed.sigma, work.campaign.judgement.min_events
    )
    injected = np.ones(len(data.table))
    for other in placed.faults[0]:
        injected[placed.units.members[other.unit]] = cell.factor
    shown = [name for name in _SHOWN if name in scores.channel]
    depths, sizes = np.unique(data.table["depth"].to_numpy()[columns], return_counts=True)
    subdet = str(data.table["subdet"].to_numpy()[columns[0]])
    trials = np.maximum(events[0].sum(), 1)
    name = placed.units.names[fault.unit]
    n = len(placed.faults[0])
    more = f" and {n - 1} more" if n > 1 else ""
    return FaultPicture(
        heading=f"{cell.unit} {name}{more}, factor {cell.factor:g}; {who.name}",
        channels=data.table,
        plane=(subdet, int(depths[sizes.argmax()])),
        injected=injected,
        seen=counts[0].sum(axis=0) / trials,
        expected=(found.p[0] * events[0][:, None]).sum(axis=0) / trials,
        score={SAID[name]: np.asarray(scores.channel[name][0], np.float64) for name in shown},
        limit={SAID[name]: fixed.channel[name] for name in shown},
    )
