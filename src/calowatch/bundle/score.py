"""From counts to scores: the one path that monitoring, evaluation and the service share."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import xarray as xr

from calowatch.bundle.runs import RunBundle
from calowatch.core.errors import ConflictError
from calowatch.core.schema import events_known
from calowatch.detect.evidence import evidence
from calowatch.detector.index import channel_columns
from calowatch.models.reference import MIN_EVENTS, RingReference, usable_ls

__all__ = ["Scores", "score"]


@dataclass(frozen=True)
class Scores:
    """A run, what was expected of it, and how far it lies from that.

    Parameters
    ----------
    occupancy, expectation
        As in `calowatch.core.schema`.
    evidence
        ``z`` and ``z_window``, see `calowatch.detect.evidence`.
    usable
        Which lumisections have enough events for a verdict, shape (ls,).
    warnings
        Sentences a user must read beside the result.
    """

    occupancy: xr.Dataset
    expectation: xr.Dataset
    evidence: xr.Dataset
    usable: npt.NDArray[np.bool_]
    warnings: tuple[str, ...] = field(default=())


def score(
    occupancy: xr.Dataset,
    bundle: RunBundle | None = None,
    *,
    min_events: int = MIN_EVENTS,
    window: int = 5,
) -> Scores:
    """Return the scores of a run.

    Parameters
    ----------
    occupancy
        The run.
    bundle
        Reference, network or baseline, see `calowatch.bundle.runs.load_bundle`; without it, or where the run's events
        are unknown, or for channels that it does not know, each channel is compared with its ring.
    min_events
        Fewer events than this in a lumisection: no verdict.
    window
        Lumisections over which ``z_window`` sums.

    Raises
    ------
    ConflictError
        When the bundle is for another era, or for none of the run's channels.
    """
    usable = usable_ls(occupancy, min_events)
    warnings: list[str] = []
    if bundle is not None and bundle.era != occupancy.attrs["era"]:
        raise ConflictError(
            occupancy.attrs.get("source", "run"),
            f"a run of era {bundle.era}, for which the reference was made",
            f"era {occupancy.attrs['era']}",
            "fit a reference on healthy runs of the same era",
        )
    if not events_known(occupancy).all():
        warnings.append(
            "Events per lumisection are unknown: only ring-relative evidence, with Poisson errors, which err on the "
            "safe side." + (" The reference is not used." if bundle is not None else "")
        )
        bundle = None
    warnings += _missing_subdets(occupancy, bundle)
    if not usable.any():
        warnings.append(f"No lumisection has {min_events} events: no verdict.")
    expectation = _expectation(occupancy, bundle, warnings)
    return Scores(
        occupancy, expectation, evidence(occupancy, expectation, usable, window), usable, tuple(warnings)
    )


def _missing_subdets(occupancy: xr.Dataset, bundle: RunBundle | None) -> list[str]:
    """Return a warning where the run lacks subdetectors of the reference: absent is not healthy."""
    if bundle is None:
        return []
    known = set(channel_columns(bundle.channel)["subdet"])
    missing = sorted(known - set(occupancy["subdet"].to_numpy().tolist()))
    if not missing:
        return []
    names = ", ".join(missing)
    return [f"Nothing of {names} in this run, which the reference knows: out of the run, or dead as a whole."]


def _expectation(occupancy: xr.Dataset, bundle: RunBundle | None, warnings: list[str]) -> xr.Dataset:
    if bundle is None:
        return RingReference().predict(occupancy)
    learned = np.isin(occupancy["channel"].to_numpy(), bundle.channel)
    if not learned.any():
        raise ConflictError(
            occupancy.attrs.get("source", "run"),
            "channels that the reference has learned",
            "none of them",
            "fit the reference on the same subdetectors",
        )
    expectation, notes = bundle.expect(occupancy if learned.all() else occupancy.isel(channel=learned))
    warnings += notes
    if learned.all():
        return expectation
    unknown = sorted(set(occupancy["subdet"].to_numpy()[~learned].tolist()))
    partly = set(occupancy["subdet"].to_numpy()[learned].tolist())
    names = ", ".join(f"some of {name}" if name in partly else name for name in unknown)
    warnings.append(f"The reference does not know {names}: ring-relative evidence there.")
    parts = [
        expectation.drop_dims("ring", errors="ignore").drop_vars("ring_of", errors="ignore"),
        RingReference().predict(occupancy.isel(channel=~learned)),
    ]
    joined = xr.concat(parts, "channel", data_vars="minimal", combine_attrs="override")
    return joined.sel(channel=occupancy["channel"])
