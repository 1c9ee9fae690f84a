"""The verb ``explore``: look at runs and image sets before anything is learned or judged."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from calowatch.core.errors import InputError
from calowatch.core.files import file_hash, staged_files
from calowatch.core.progress import SILENT, Progress
from calowatch.core.provenance import provenance
from calowatch.evaluate.explore_images import image_numbers
from calowatch.evaluate.explore_labelled import Kind, labelled_kind, labelled_numbers, open_labelled
from calowatch.evaluate.explore_runs import drift_between, run_numbers
from calowatch.io.images import ImageSet, find_images, read_images
from calowatch.io.request import ReadRequest
from calowatch.io.sources import expand, read_piece, read_sources
from calowatch.present.explore_given import RING, Exploration, ImageNumbers, RunNumbers
from calowatch.present.explore_images_png import write_image_figures
from calowatch.present.explore_labelled import LabelledNumbers, labelled_document, labelled_page
from calowatch.present.explore_page import exploration_page
from calowatch.present.explore_runs_png import write_run_figures
from calowatch.present.explore_tables import drift_summary, ratio_table, run_table, variance_summary
from calowatch.present.panels_page import write_page

__all__ = ["ExploreSettings", "Explored", "explore"]

_DRIFT_COLUMNS = ["run", *RING, "ln_ratio", "error", "n_channels", "chi2"]


@dataclass(frozen=True)
class ExploreSettings:
    """What to assume and what to draw.

    Parameters
    ----------
    request
        Run, era and first lumisection where a source of occupancy does not say them.
    labels
        A name per image file, in the order of the files; empty for the run in each file's name.
    png
        Whether to draw PNG figures beside the page.
    """

    request: ReadRequest = field(default_factory=ReadRequest)
    labels: tuple[str, ...] = ()
    png: bool = True


@dataclass(frozen=True)
class Explored:
    """What an exploration gave.

    Parameters
    ----------
    document
        The content of ``explore.json``.
    numbers
        The same, as arrays and tables.
    files
        What was written.
    """

    document: Mapping[str, Any]
    numbers: Exploration | LabelledNumbers
    files: tuple[Path, ...]


def explore(
    sources: Iterable[str | Path],
    out: str | Path,
    settings: ExploreSettings | None = None,
    *,
    progress: Progress = SILENT,
) -> Explored:
    """Explore runs and image sets; write ``explore.html``, ``explore.json`` and PNG figures.

    Parameters
    ----------
    sources
        Occupancy: files, folders, stores (all runs of them) or ``STORE::RUN``. Images: npy files, or a folder of them.
        Labelled images of particles: their files, alone.
    out
        Folder for the results; other files there stay.
    settings
        What the sources do not say, and whether to draw PNG.
    progress
        Whom to tell how far the work is.

    Raises
    ------
    InputError
        When a source cannot be used; nothing is written then.
    """
    settings, sources = settings or ExploreSettings(), list(sources)
    kind = labelled_kind(sources)
    if kind is not None:
        return _explore_labelled(kind, sources, Path(out), settings, progress)
    image_files, occupancy = _sorted(sources)
    sets = _image_sets(image_files, settings.labels, progress)
    runs = _run_numbers(occupancy, settings.request, progress)
    drift = [drift_between(runs[0], run) for run in runs[1:]]
    drift = [part for part in drift if len(part)]
    images, edges = image_numbers(sets, progress if sets else SILENT)
    given = Exploration(
        runs=runs,
        drift=pd.concat(drift, ignore_index=True) if drift else pd.DataFrame(columns=_DRIFT_COLUMNS),
        images=images,
        value_edges=edges,
        provenance=provenance("explore", sources=_origins(runs, sets)),
    )
    content = _document(given)
    with staged_files(out) as scratch:
        (scratch / "explore.json").write_text(
            json.dumps(content, allow_nan=False, separators=(",", ":")) + "\n"
        )
        (scratch / "explore.html").write_text(exploration_page(given), encoding="utf-8")
        if settings.png:
            write_run_figures(scratch, given, progress) if runs else None
            write_image_figures(scratch, given, progress) if images else None
        names = sorted(path.relative_to(scratch) for path in scratch.rglob("*") if path.is_file())
    return Explored(content, given, tuple(Path(out) / name for name in names))


def _explore_labelled(
    kind: Kind, sources: Sequence[str | Path], out: Path, settings: ExploreSettings, progress: Progress
) -> Explored:
    data, notes = open_labelled(kind, sources, progress)
    given = labelled_numbers(data, notes, progress)
    made = provenance("explore", sources=[{"name": name} for name in given.sources])
    content: dict[str, Any] = _plain({**labelled_document(given), "provenance": made})
    with staged_files(out) as scratch:
        (scratch / "explore.json").write_text(
            json.dumps(content, allow_nan=False, separators=(",", ":")) + "\n"
        )
        write_page(scratch, "explore", labelled_page(given, made), png=settings.png)
        names = sorted(path.relative_to(scratch) for path in scratch.rglob("*") if path.is_file())
    return Explored(content, given, tuple(out / name for name in names))


def _sorted(sources: Iterable[str | Path]) -> tuple[list[Path], list[str | Path]]:
    """Return image files, and the sources of occupancy."""
    images: list[Path] = []
    occupancy: list[str | Path] = []
    for source in sources:
        found = find_images(source)
        images += found
        if not found:
            occupancy.append(source)
    return list(dict.fromkeys(images)), occupancy


def _image_sets(files: Sequence[Path], labels: Sequence[str], progress: Progress) -> list[ImageSet]:
    if labels and len(labels) != len(files):
        raise InputError(
            "--label",
            f"one label per image file ({len(files)})",
            f"{len(labels)} labels",
            "give one for each",
        )
    named: Sequence[str | None] = labels or [None] * len(files)
    sets = [read_images(file, label, progress) for file, label in zip(files, named, strict=True)]
    held = [each.label for each in sets]
    twice = sorted({label for label in held if held.count(label) > 1})
    if twice:
        raise InputError(
            ", ".join(each.source for each in sets if each.label in twice),
            "one image set per label",
            f"{' and '.join(twice)} more than once",
            "tell them apart with --label, once per file",
        )
    return sets


def _run_numbers(
    sources: Sequence[str | Path], request: ReadRequest, progress: Progress
) -> tuple[RunNumbers, ...]:
    found = [run_numbers(occupancy) for occupancy in _each_run(sources, request, progress)]
    return tuple(sorted(found, key=lambda run: run.run))


def _each_run(
    sources: Sequence[str | Path], request: ReadRequest, progress: Progress
) -> Iterator[xr.Dataset]:
    """Yield each run; those of stores one at a time, so that memory does not grow with their number."""
    pieces = list(dict.fromkeys(piece for source in sources for piece in expand(source, request)))
    stored = {piece.stored_run for piece in pieces}
    if None in stored or len(stored) < len(pieces):
        yield from progress.track(read_sources(sources, request, progress), "exploring runs")
        return
    for piece in progress.track(pieces, "exploring runs", len(pieces)):
        yield read_piece(piece, request, progress)


def _origins(runs: Sequence[RunNumbers], sets: Sequence[ImageSet]) -> list[dict[str, Any]]:
    origins: list[dict[str, Any]] = [{"name": run.source, "run": run.run, "era": run.era} for run in runs]
    for each in sets:
        path = Path(each.source)
        origins.append({"name": path.name, "bytes": path.stat().st_size, "sha256": file_hash(path)})
    return origins


def _document(given: Exploration) -> dict[str, Any]:
    """Return every number, ready for JSON; null where there is none."""
    content = {
        "runs": [_run_document(run) | row for run, row in zip(given.runs, run_table(given), strict=True)],
        "variance_summary": variance_summary(given),
        "drift": _records(given.drift),
        "drift_summary": drift_summary(given),
        "images": [_image_document(each) for each in given.images],
        "differences": [
            {
                "label": each.label,
                "to": given.images[0].label,
                "mean": each.mean - given.images[0].mean,
                "frequency": each.frequency - given.images[0].frequency,
            }
            for each in given.images[1:]
        ],
        "value_edges": given.value_edges if given.images else [],
        "provenance": given.provenance,
    }
    document: dict[str, Any] = _plain(content)
    return document


def _run_document(run: RunNumbers) -> dict[str, Any]:
    channels = {
        name: run.channels[name].to_numpy() for name in ("channel", "subdet", "ieta", "iphi", "depth")
    }
    per_channel: dict[str, Any] = {
        **channels,
        "digis": run.hits,
        "occupancy": run.occupancy,
        "variance": run.variance,
    }
    if run.rechits is not None:
        per_channel |= {"rechits": run.rechits, "rechits_over_digis": run.ratio}
    return {
        "occupancy_unit": run.occupancy_unit,
        "per_ls": {name: run.series[name].to_numpy() for name in run.series},
        "regressions": _records(run.fits),
        "variance_over_binomial": _records(run.rings),
        "rechits_over_digis": ratio_table(run),
        "channels": per_channel,
    }


def _image_document(each: ImageNumbers) -> dict[str, Any]:
    return {part.name: getattr(each, part.name) for part in fields(each)}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _plain(value: Any) -> Any:
    """Return what JSON knows: lists for arrays, None for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value
