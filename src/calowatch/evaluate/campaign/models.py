"""Who is judged: bundles, baselines fitted on the campaign's training runs, and the truth itself as the bound."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from calowatch.bundle.baseline import BaselineWindows, save_baseline, save_sigma
from calowatch.bundle.expecting import WindowModel, load_window_model, training_sigma
from calowatch.bundle.manifest import MANIFEST, bundle_kind, hashes, read_manifest
from calowatch.bundle.reference import save_reference
from calowatch.core.errors import InputError
from calowatch.core.files import file_hash, write_json
from calowatch.core.progress import SILENT, Progress
from calowatch.core.provenance import provenance
from calowatch.evaluate.campaign.bundles import TRUTH, check_bundle, check_name, columns_of
from calowatch.evaluate.campaign.data import CampaignData, channels_of
from calowatch.evaluate.campaign.leaks import check_unseen
from calowatch.evaluate.campaign.recipe import Campaign
from calowatch.models.baselines import Ewma, Template, run_windows
from calowatch.models.pca import Pca
from calowatch.models.reference import Reference
from calowatch.simulate.occupancy import occupancy

__all__ = ["TRUTH", "Contestant", "Predicted", "contestants", "fit_baselines", "predict", "training_runs"]

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Contestant:
    """One model of the campaign.

    Parameters
    ----------
    name
        What tables call it.
    kind
        ``network``, a baseline's name, or ``truth``.
    folder
        Its bundle.
    n_parameters, training_seconds
        Of its manifest; None where it does not tell.
    digest
        Of the bundle: results of another one are not taken for its own.
    """

    name: str
    kind: str
    folder: Path | None
    n_parameters: int | None = None
    training_seconds: float | None = None
    digest: str = ""
    manifest: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def slug(self) -> str:
        """The name for files."""
        return "".join(c if c.isalnum() or c in "-_." else "-" for c in self.name)


@dataclass(frozen=True, eq=False)
class Predicted:
    """What a model says of windows, in the campaign's channels.

    Parameters
    ----------
    p
        Expected probability [window, time, channel].
    source
        The published score [window, channel], if the model has one.
    seconds
        What it took.
    """

    p: Floats
    source: Floats | None
    seconds: float


def contestants(
    bundles: Sequence[Path], campaign: Campaign, progress: Progress = SILENT
) -> tuple[Contestant, ...]:
    """Return bundles as contestants; those of the same model are told apart by their folders.

    Every bundle is read whole, so that a damaged one is told now and not after hours of work.

    Raises
    ------
    FormatError
        When a folder is no bundle, or a file of it is missing or damaged.
    InputError
        When one is given twice, is called like a baseline, does not fit the campaign, or has seen what it judges on.
    """
    found = list[Contestant]()
    for folder in map(Path, bundles):
        manifest = read_manifest(folder)
        name = str(manifest.get("name") or folder.resolve().name)
        if any(name == other.name for other in found):
            raise InputError(folder, "bundles of different names", f"two called {name}", "rename a folder")
        check_name(folder, name)
        if warning := check_unseen(folder, manifest, campaign):
            progress.note(warning)
        found.append(_contestant(name, folder, manifest))
    table = channels_of(campaign)["channel"].to_numpy(np.int64)
    for who in progress.track(found, "opening bundles", len(found)) if found else ():
        assert who.folder is not None
        check_bundle(who.folder, who.manifest, campaign, table)
    return tuple(found)


def _contestant(name: str, folder: Path, manifest: Mapping[str, Any]) -> Contestant:
    training = manifest.get("training")
    seconds = training.get("seconds") if isinstance(training, Mapping) else manifest.get("seconds")
    size = manifest.get("n_parameters")
    return Contestant(
        name,
        bundle_kind(folder),
        folder,
        int(size) if size is not None else None,
        float(seconds) if seconds is not None else None,
        file_hash(folder / MANIFEST)[:12],
        manifest,
    )


def training_runs(data: CampaignData) -> list[xr.Dataset]:
    """Return the runs that models learn from, cut at the last lumisection of training."""
    runs = data.pools["training"].runs
    return [occupancy(run)[0].isel(ls=slice(0, data.campaign.train_ls)) for run in runs]


def fit_baselines(data: CampaignData, folder: Path, progress: Progress = SILENT) -> tuple[Contestant, ...]:
    """Fit the campaign's baselines on its training runs, each as a bundle in ``folder``, unless they are there."""
    wanted = data.campaign.baselines
    missing = [name for name in wanted if not (folder / name / MANIFEST).is_file()]
    if missing:
        runs = training_runs(data)
        for name in progress.track(missing, "fitting baselines"):
            _fit(name, runs, folder / name, data)
    return tuple(_contestant(name, folder / name, read_manifest(folder / name)) for name in wanted)


def _fit(name: str, runs: list[xr.Dataset], folder: Path, data: CampaignData) -> None:
    began = time.perf_counter()
    window, era = data.campaign.window, data.campaign.era
    reference = Reference().fit(runs)
    template = Template(era, reference.channel_, reference.log_response_)
    if name == "ring":
        baseline: Template | Pca | Ewma = template.with_response(np.zeros(len(reference.channel_)))
    elif name == "reference":
        baseline = template
    else:
        baseline = Pca.fit(runs, window) if name == "pca" else Ewma.fit(runs, window)
    model = BaselineWindows(name, baseline, window)
    model = model.with_sigma(training_sigma(model, (run_windows(run, window) for run in runs)))
    record = provenance(
        "evaluate campaign", seed=data.campaign.seed, options={"campaign": data.campaign.name}
    )
    content = {
        "runs": [{"run": int(run.attrs["run"])} for run in runs],
        "training": {"seconds": time.perf_counter() - began},
        "provenance": record,
    }
    if name == "reference":
        save_reference(folder, reference, {"era": era, **content})
        _add_sigma(folder, model)
    else:
        save_baseline(folder, model, content)


def _add_sigma(folder: Path, model: BaselineWindows) -> None:
    """Give a reference's bundle the sigma of the source's score, which its own format does not know."""
    assert model.score_sigma is not None
    save_sigma(folder, model.score_sigma)
    manifest = read_manifest(folder)
    write_json(folder / MANIFEST, {**manifest, "n_parameters": model.n_parameters, "sha256": hashes(folder)})


@lru_cache(maxsize=1)
def _placed(folder: Path, data: CampaignData) -> tuple[WindowModel, npt.NDArray[np.int64]]:
    """Return a model, and the campaign's column of each of its channels."""
    model = load_window_model(folder)
    return model, columns_of(model, folder, data.campaign, data.table["channel"].to_numpy(np.int64))


def predict(
    who: Contestant, data: CampaignData, counts: npt.NDArray[Any], n_events: npt.NDArray[np.int64]
) -> Predicted:
    """Return what a contestant (not the truth) expects of windows.

    Raises
    ------
    InputError
        When it does not answer for the campaign's channels, or sees windows of another length.
    """
    assert who.folder is not None
    model, columns = _placed(who.folder, data)
    windows, length, n = counts.shape
    if model.window not in (1, length):
        expected = f"windows of {length} lumisections, or of one"
        raise InputError(who.name, expected, f"windows of {model.window}", "train it with this window")
    began = time.perf_counter()
    given = np.ascontiguousarray(counts[:, :, columns], dtype=np.int32)
    shape = (windows * length, 1) if model.window == 1 else (windows, length)
    found = model.predict_windows(given.reshape(*shape, n), n_events.reshape(shape))
    seconds = time.perf_counter() - began
    back = np.argsort(columns)
    p = found.p.reshape(windows, length, n)[:, :, back]
    source = found.source_score
    if source is not None:
        source = source.reshape(windows, -1, n).mean(axis=1)[:, back]
    return Predicted(p, source, seconds)


def card(who: Contestant) -> dict[str, Any]:
    """Return what the result says of a contestant, ready for JSON."""
    kept = {key: who.manifest[key] for key in ("model", "layout", "window", "runs") if key in who.manifest}
    return {
        "name": who.name,
        "kind": who.kind,
        "n_parameters": who.n_parameters,
        "training_seconds": who.training_seconds,
        "bundle": who.digest,
        **json.loads(json.dumps(kept, default=str)),
    }
