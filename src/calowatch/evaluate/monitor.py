"""The verb ``monitor``: which units of a run fail, how, since when and how surely."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from calowatch.bundle.runs import RunBundle, load_bundle
from calowatch.bundle.score import Scores, score
from calowatch.core.files import check_place, staged_files
from calowatch.core.progress import SILENT, Progress
from calowatch.core.provenance import provenance
from calowatch.detect.decide import Question, decide
from calowatch.detect.verdict import Verdict, verdicts_document
from calowatch.detector.table import channel_table, wiring_hash
from calowatch.detector.user_conditions import SavedMap, maps_for, table_for
from calowatch.io.known import read_known
from calowatch.io.request import ReadRequest
from calowatch.io.sources import read_source
from calowatch.models.reference import MIN_EVENTS
from calowatch.present.given import ReportInput
from calowatch.present.palette import is_failing
from calowatch.present.report import write_report
from calowatch.simulate.truth import read_truth

__all__ = ["MonitorSettings", "Outcome", "monitor"]


_OWNED = (
    "report.html",
    *(f"maps/*_{name}.png" for name in ("occupancy", "expectation", "evidence", "verdict")),
)


_METHODS = {
    "ring": "phi ring, no reference",
    "reference": "per-channel reference",
    "network": "network",
    "pca": "principal components over a per-channel reference",
    "ewma": "per-channel template that follows healthy lumisections (EWMA)",
}


@dataclass(frozen=True)
class MonitorSettings:
    """By which rules to judge a run.

    Parameters
    ----------
    rate
        False discovery rate of the list of failing units.
    min_events
        Fewer events than this in a lumisection: no verdict.
    window
        Lumisections over which the evidence in the maps is summed.
    report
        Whether to draw ``report.html`` and the maps beside ``verdicts.json``.
    truth
        A simulator's ``truth.json``, to be shown beside the verdicts.
    request
        Run, era and first lumisection where the source does not say them.
    """

    rate: float = 0.01
    min_events: int = MIN_EVENTS
    window: int = 5
    report: bool = True
    truth: Path | None = None
    request: ReadRequest = field(default_factory=ReadRequest)


@dataclass(frozen=True)
class Outcome:
    """What monitoring a run gave.

    Parameters
    ----------
    document
        The content of ``verdicts.json``.
    verdicts
        The failing units, new ones first.
    summary
        Conditions of the run, label and value.
    files
        What was written.
    truth
        Faults that a simulator put in, where the source tells.
    """

    document: Mapping[str, Any]
    verdicts: tuple[Verdict, ...]
    summary: Mapping[str, Any]
    files: tuple[Path, ...] = field(default=())
    truth: tuple[Mapping[str, Any], ...] | None = None

    @property
    def alarm(self) -> bool:
        """Whether something fails that was not known and is no property of the detector."""
        return any(is_failing(verdict) for verdict in self.verdicts)


def monitor(
    source: str | Path,
    out: str | Path,
    reference: str | Path | None = None,
    known: str | Path | None = None,
    settings: MonitorSettings | None = None,
    *,
    progress: Progress = SILENT,
) -> Outcome:
    """Judge a run and write ``verdicts.json``, ``report.html`` and maps.

    Parameters
    ----------
    source
        File, folder, store or ``STORE::RUN`` of one run.
    out
        Folder for the results; other files there stay.
    reference
        Bundle written by ``fit`` or ``train``; without it every channel is compared with its phi ring.
    known
        List of channels already known to be bad (CSV or CMSSW channel status).
    settings
        False discovery rate, least number of events, window, and what the source does not say itself.
    progress
        Whom to tell how far the work is.

    Raises
    ------
    InputError
        When a file cannot be used; nothing is written then.
    """
    settings = settings or MonitorSettings()
    check_place(out)
    bundle = load_bundle(reference) if reference is not None else None
    truth = tuple(asdict(fault) for fault in read_truth(settings.truth)) if settings.truth else None
    listed = read_known(Path(known)) if known is not None else frozenset[int]()
    occupancy = read_source(source, settings.request, progress)
    if strangers := len(listed - set(channel_table(str(occupancy.attrs["era"]))["channel"].tolist())):
        progress.note(
            f"{Path(str(known)).name}: {strangers} entries name no channel of era {occupancy.attrs['era']}"
        )
    table = table_for(str(occupancy.attrs["era"]), int(occupancy.attrs["run"]))
    scores = score(occupancy, bundle, min_events=settings.min_events, window=settings.window)
    question = Question(occupancy, scores.expectation, scores.usable, listed, settings.rate, table)
    verdicts = decide(question, progress)
    document = verdicts_document(
        int(occupancy.attrs["run"]),
        str(occupancy.attrs["era"]),
        occupancy.sizes["ls"],
        verdicts,
        occupancy["ls"].to_numpy()[~scores.usable].tolist(),
    )
    summary = _summary(scores, bundle, len(listed), settings)
    document["provenance"] = {
        **_provenance(scores, reference, settings),
        "electronics": wiring_hash(table),
        "maps": [asdict(entry) for entry in _maps(occupancy)],
    }
    outcome = Outcome(document, tuple(verdicts), summary, truth=truth)
    given = ReportInput(
        scores.occupancy,
        scores.expectation,
        scores.evidence,
        outcome.verdicts,
        outcome.document["no_verdict_ls"],
        outcome.summary,
        outcome.truth,
        table,
    )
    return _written(outcome, given, Path(out), settings, progress)


def _written(
    outcome: Outcome, given: ReportInput, out: Path, settings: MonitorSettings, progress: Progress
) -> Outcome:
    with staged_files(out, _OWNED) as scratch:
        if settings.report:
            write_report(scratch, given, progress)
        (scratch / "verdicts.json").write_text(json.dumps(outcome.document, indent=1, allow_nan=False) + "\n")
        names = [path.relative_to(scratch) for path in sorted(scratch.rglob("*")) if path.is_file()]
    files = tuple(out / name for name in names)
    return Outcome(outcome.document, outcome.verdicts, outcome.summary, files, outcome.truth)


def _summary(
    scores: Scores, bundle: RunBundle | None, n_known: int, settings: MonitorSettings
) -> dict[str, Any]:
    occupancy = scores.occupancy
    sections, events = occupancy["ls"].to_numpy(), occupancy["n_events"].to_numpy()
    known_events = bool((events >= 0).all())
    method = str(scores.expectation.attrs["method"])
    summary: dict[str, Any] = {
        "Run": int(occupancy.attrs["run"]),
        "Era": str(occupancy.attrs["era"]),
        "Lumisections": f"{sections[0]}-{sections[-1]} ({len(sections)})",
        "Without verdict": f"{int((~scores.usable).sum())} LS below {settings.min_events} events",
        "Events per LS": f"{int(np.median(events))} (median)" if known_events else "unknown",
        "Channels": occupancy.sizes["channel"],
        "Expectation": _METHODS[method]
        + (f" {bundle.manifest['model']}" if bundle and method == "network" else ""),
        "False discovery rate": settings.rate,
        "Known-bad channels": n_known,
    }
    maps = _maps(occupancy)
    if maps:
        summary["Your own maps"] = ", ".join(f"{entry.subdet}: {entry.source} {entry.runs}" for entry in maps)
    for name, label in (("pileup", "Pile-up"), ("lumi", "Luminosity")):
        if name in occupancy:
            summary[label] = f"{float(occupancy[name].mean()):.1f} (mean)"
    if bundle is not None and bundle.manifest.get("runs"):
        summary["Reference from runs"] = ", ".join(str(run["run"]) for run in bundle.manifest["runs"])
    summary["warnings"] = list(scores.warnings)
    return summary


def _provenance(scores: Scores, reference: str | Path | None, settings: MonitorSettings) -> dict[str, Any]:
    occupancy: xr.Dataset = scores.occupancy
    return provenance(
        "monitor",
        sources=occupancy.attrs["provenance"].get("sources", []),
        options={
            "reference": Path(reference).name if reference is not None else None,
            "false_discovery_rate": settings.rate,
            "min_events": settings.min_events,
            "window": settings.window,
        },
    )


def _maps(occupancy: xr.Dataset) -> list[SavedMap]:
    return maps_for(str(occupancy.attrs["era"]), int(occupancy.attrs["run"]))
