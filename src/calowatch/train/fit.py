"""The verb ``fit``: learn a per-channel reference from healthy runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from calowatch.bundle.reference import MANIFEST, save_reference
from calowatch.core.files import check_replaceable
from calowatch.core.progress import SILENT, Progress
from calowatch.core.provenance import provenance
from calowatch.io.request import ReadRequest
from calowatch.io.sources import read_sources
from calowatch.models.reference import Reference, usable_ls

__all__ = ["fit"]


def fit(
    sources: Sequence[str | Path],
    out: str | Path,
    request: ReadRequest | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Learn what every channel does in healthy runs and write it as a bundle.

    Parameters
    ----------
    sources
        Files, folders, stores or ``STORE::RUN`` of healthy runs; a store stands for all its runs.
    out
        Folder of the bundle; an earlier bundle there is replaced.
    request
        What to assume where a source does not say it.
    progress
        Whom to tell how far the work is.

    Returns
    -------
    The bundle's manifest: era, runs with their lumisections, channels, how many have no response, provenance.

    Raises
    ------
    InputError
        When a source cannot be read, its events are unknown, or the runs do not fit together.
    """
    check_replaceable(out, MANIFEST)
    runs = read_sources(sources, request or ReadRequest(), progress)
    reference = Reference().fit(runs, progress)
    used = [
        {"run": int(run.attrs["run"]), "n_ls": run.sizes["ls"], "n_ls_used": int(usable_ls(run).sum())}
        for run in runs
    ]
    silent = int(np.isnan(reference.log_response_).sum())
    if silent:
        progress.note(
            f"{silent} channels have no digi in any of these runs; they are compared with their ring"
        )
    manifest = {
        "era": str(runs[0].attrs["era"]),
        "runs": used,
        "subdets": sorted(set(runs[0]["subdet"].to_numpy().tolist())),
        "n_channels": runs[0].sizes["channel"],
        "n_silent": silent,
        "provenance": provenance("fit", sources=[_origin(run.attrs) for run in runs]),
    }
    return save_reference(Path(out), reference, manifest)


def _origin(attrs: dict[Any, Any]) -> dict[str, Any]:
    """Return what a run says of where it came from."""
    return {"run": int(attrs["run"]), "sources": attrs["provenance"].get("sources", [])}
