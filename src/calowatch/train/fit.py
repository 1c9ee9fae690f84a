"""The verb ``fit``: learn from healthy runs what every channel does, without a network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from calowatch.bundle.baseline import BASELINES, RunWindows, fit_baseline, save_baseline
from calowatch.bundle.calibrating import calibrate
from calowatch.bundle.manifest import MANIFEST
from calowatch.bundle.reference import save_reference
from calowatch.core.errors import InputError, UnknownNameError, nearest
from calowatch.core.files import check_replaceable
from calowatch.core.progress import SILENT, Progress
from calowatch.core.provenance import provenance
from calowatch.io.request import ReadRequest
from calowatch.io.sources import read_sources
from calowatch.models.reference import Reference, usable_ls

__all__ = ["fit"]

_KEPT_BACK = 0.2  # of a single run's lumisections, for the calibration


def fit(
    sources: Sequence[str | Path],
    out: str | Path,
    request: ReadRequest | None = None,
    progress: Progress = SILENT,
    *,
    method: str = "reference",
    seed: int = 0,
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
    method
        ``"reference"``, or one of the baselines of `calowatch.bundle.baseline.BASELINES`. These are calibrated on the
        last run, or the last fifth of a single one, which they do not learn from.
    seed
        Of what a method draws (PCA: the halves on which its size is judged).

    Returns
    -------
    The bundle's manifest: era, runs with their lumisections, channels, how many have no response, provenance.

    Raises
    ------
    InputError
        When a source cannot be read, its events are unknown, or the runs do not fit together.
    UnknownNameError
        When there is no such method.
    """
    if method not in BASELINES:
        raise UnknownNameError(
            f"--method {method}", f"one of {', '.join(BASELINES)}", "none such", nearest(method, BASELINES)
        )
    check_replaceable(out, MANIFEST)
    runs = read_sources(sources, request or ReadRequest(), progress)
    if method != "reference":
        return _fit_baseline(runs, Path(out), (method, seed), progress)
    reference = Reference().fit(runs, progress)
    silent = int(np.isnan(reference.log_response_).sum())
    if silent:
        progress.note(
            f"{silent} channels have no digi in any of these runs; they are compared with their ring"
        )
    manifest = {**_manifest(runs, method, seed), "n_silent": silent}
    return save_reference(Path(out), reference, manifest)


def _fit_baseline(
    runs: Sequence[xr.Dataset], out: Path, how: tuple[str, int], progress: Progress
) -> dict[str, Any]:
    method, seed = how
    learned, kept = _kept_back(runs)
    model = fit_baseline(method, learned, seed=seed, progress=progress)
    progress.note("calibrating on healthy lumisections that were kept back")
    calibration = calibrate(model, RunWindows(kept, model.window))
    manifest = {**_manifest(learned, method, seed), "calibrated_on": _used(kept)}
    return save_baseline(out, model, manifest, calibration)


def _kept_back(runs: Sequence[xr.Dataset]) -> tuple[list[xr.Dataset], list[xr.Dataset]]:
    """Return the runs to learn from, and what is kept back for the calibration."""
    ordered = sorted(runs, key=lambda run: int(run.attrs["run"]))
    if len(ordered) > 1:
        return ordered[:-1], ordered[-1:]
    rows = np.flatnonzero(usable_ls(ordered[0]))
    at = len(rows) - int(len(rows) * _KEPT_BACK)
    if len(rows) - at < 5:
        raise InputError(
            ordered[0].attrs.get("source", "fit"),
            "25 usable lumisections or more, the last fifth for the calibration",
            f"{len(rows)}",
            "name more or longer runs",
        )
    return [ordered[0].isel(ls=slice(int(rows[at])))], [ordered[0].isel(ls=slice(int(rows[at]), None))]


def _manifest(runs: Sequence[xr.Dataset], method: str, seed: int) -> dict[str, Any]:
    return {
        "era": str(runs[0].attrs["era"]),
        "runs": _used(runs),
        "subdets": sorted(set(runs[0]["subdet"].to_numpy().tolist())),
        "n_channels": runs[0].sizes["channel"],
        "provenance": provenance(
            "fit",
            sources=[_origin(run.attrs) for run in runs],
            seed=seed if method == "pca" else None,
            options={"method": method},
        ),
    }


def _used(runs: Sequence[xr.Dataset]) -> list[dict[str, int]]:
    return [
        {
            "run": int(run.attrs["run"]),
            "n_ls": run.sizes["ls"],
            "n_ls_used": int(usable_ls(run).sum()),
            "first_ls": int(run["ls"].min()),
            "last_ls": int(run["ls"].max()),
        }
        for run in runs
    ]


def _origin(attrs: dict[Any, Any]) -> dict[str, Any]:
    """Return what a run says of where it came from."""
    return {"run": int(attrs["run"]), "sources": attrs["provenance"].get("sources", [])}
