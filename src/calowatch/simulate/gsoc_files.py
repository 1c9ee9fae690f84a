"""Simulated image sets as files in the published layout, with their truth beside them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from calowatch.core.errors import FormatError
from calowatch.core.files import atomic_directory, file_hash, write_json
from calowatch.core.progress import SILENT, Progress
from calowatch.core.provenance import provenance
from calowatch.detector.index import canonical_cell
from calowatch.io.image_blocks import MARKER, TRUTH
from calowatch.io.images import IMAGE_SHAPE
from calowatch.simulate.gsoc import GsocSettings, RunModel, draw_images, run_models

__all__ = ["GsocFiles", "GsocTruth", "file_name", "read_gsoc_truth", "write_gsoc"]

SCHEMA = 1


@dataclass(frozen=True)
class GsocFiles:
    """What was written: the image sets and the summary that ``gsoc.json`` holds."""

    images: tuple[Path, ...]
    summary: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class GsocTruth:
    """What simulated image sets were drawn from.

    Parameters
    ----------
    models
        The run of each file, in the order of the files.
    blocks
        Which block each image of a run belongs to, by run number; shape (n,).
    weights
        How it mixes the LS of its block, by run number; shape (n, LS).
    """

    models: tuple[RunModel, ...]
    blocks: Mapping[int, npt.NDArray[np.int64]]
    weights: Mapping[int, npt.NDArray[np.float64]]

    def model(self, run: int) -> RunModel:
        """Return the distribution of a run."""
        return next(model for model in self.models if model.run == run)


def file_name(run: int) -> str:
    """Return the published name of a run's image set."""
    return f"Run{run}_Dataset_iphi.npy"


def write_gsoc(out: Path | str, settings: GsocSettings, progress: Progress = SILENT) -> GsocFiles:
    """Draw image sets and write them into a folder of their own, all or nothing; one block at a time is in memory.

    Parameters
    ----------
    out
        The folder. One that an earlier call wrote is replaced; anything else in the way is left alone.
    settings
        What to draw.
    progress
        Shown one step per block.

    Returns
    -------
    The files ``RunN_Dataset_iphi.npy``, float64, shape (n, 64, 72), and a summary. Beside them lie ``gsoc.json`` (the
    summary: settings, statistics, deviating cells, hashes of the files, provenance) and ``gsoc-truth.npz`` (see
    `read_gsoc_truth`).

    Raises
    ------
    ConflictError
        When ``out`` holds something that this did not write.
    """
    models = run_models(settings)
    arrays: dict[str, npt.NDArray[Any]] = {}
    with atomic_directory(out, marker=MARKER) as scratch:
        rows = []
        for model in models:
            path = scratch / file_name(model.run)
            statistics, weights = _write_run(path, model, settings, progress)
            rows.append({**_describe(model, statistics), "sha256": file_hash(path)})
            arrays |= _arrays(model, weights, settings.block)
        np.savez_compressed(scratch / TRUTH, allow_pickle=False, **arrays)
        options = asdict(settings)
        summary = {
            "schema": SCHEMA,
            "settings": options,
            "runs": rows,
            "provenance": provenance("simulate gsoc", seed=settings.seed, options=options),
        }
        write_json(scratch / MARKER, summary)
    return GsocFiles(tuple(Path(out) / file_name(model.run) for model in models), summary)


def _write_run(
    path: Path, model: RunModel, settings: GsocSettings, progress: Progress
) -> tuple[dict[str, float], npt.NDArray[np.float64]]:
    """Write one image set; return its statistics and the weights."""
    shape = (settings.n, *IMAGE_SHAPE)
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype("<f8")), "fortran_order": False, "shape": shape}
    weights = []
    total = squares = top = ring = 0.0
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for images, mixed in draw_images(model, settings, progress):
            images.astype("<f8", copy=False).tofile(stream)
            weights.append(mixed)
            total, squares = total + images.sum(), squares + float(np.vdot(images, images))
            top = max(top, float(images.max()))
            ring += float(images[:, 13, :71].mean(axis=1).sum())
    size = float(np.prod(shape))
    mean = float(total / size)
    statistics = {
        "mean": mean,
        "std": float(np.sqrt(squares / size - mean**2)),
        "max": top,
        "zeros": float(1.0 - model.active.mean()),
        "row_13": ring / settings.n,
    }
    return statistics, np.concatenate(weights)


def _describe(model: RunModel, statistics: Mapping[str, float]) -> dict[str, Any]:
    factor = np.exp(model.log_mean - _ring_median(model))
    ieta = canonical_cell(np.arange(IMAGE_SHAPE[0]), 0, 0)[0]
    deviating = [
        {
            "row": int(row),
            "column": int(column),
            "ieta": int(ieta[row]),
            "iphi": int(column) + 1,
            "factor": round(float(factor[row, column]), 4),
        }
        for row, column in np.argwhere(model.deviating)
    ]
    return {
        "run": model.run,
        "file": file_name(model.run),
        "statistics": dict(statistics),
        "deviating": deviating,
        "spread": {
            "level": model.level_spread,
            "ring": model.ring_spread,
            "cell": [float(model.cell_spread[model.active].min()), float(model.cell_spread.max())],
            "image": model.image_spread,
        },
    }


def _ring_median(model: RunModel) -> npt.NDArray[np.float64]:
    inside = np.where(model.active, model.log_mean, np.nan)
    middle = np.zeros(IMAGE_SHAPE)
    filled = model.active.any(axis=1)
    middle[filled] = np.nanmedian(inside[filled], axis=1)[:, None]
    return middle


_FIELDS = ("log_mean", "cell_spread", "deviating", "spreads", "block", "weights")


def _arrays(model: RunModel, weights: npt.NDArray[np.float64], block: int) -> dict[str, npt.NDArray[Any]]:
    spreads = np.array([model.level_spread, model.ring_spread, model.image_spread])
    blocks = np.arange(len(weights), dtype=np.int64) // block
    values = (model.log_mean, model.cell_spread, model.deviating, spreads, blocks, weights)
    named = {f"{name}_{model.run}": value for name, value in zip(_FIELDS, values, strict=True)}
    return {**named, "active": model.active}


def read_gsoc_truth(folder: Path | str) -> GsocTruth:
    """Return the truth that `write_gsoc` wrote beside its image sets.

    Raises
    ------
    FormatError
        When the folder holds none, or a damaged one.
    """
    path = Path(folder) / TRUTH
    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
        runs = [int(name.removeprefix("log_mean_")) for name in arrays if name.startswith("log_mean_")]
        return GsocTruth(
            tuple(_model(run, arrays) for run in runs),
            {run: arrays[f"block_{run}"] for run in runs},
            {run: arrays[f"weights_{run}"] for run in runs},
        )
    except (OSError, ValueError, KeyError, EOFError) as error:
        expected, reason = (
            f"{TRUTH} as calowatch simulate gsoc writes it",
            f"{type(error).__name__}: {error}",
        )
        raise FormatError(path, expected, reason, "simulate the image sets again") from error


def _model(run: int, arrays: Mapping[str, npt.NDArray[Any]]) -> RunModel:
    level, ring, image = (float(value) for value in arrays[f"spreads_{run}"])
    return RunModel(
        run,
        arrays[f"log_mean_{run}"],
        arrays["active"],
        arrays[f"cell_spread_{run}"],
        level,
        ring,
        image,
        arrays[f"deviating_{run}"],
    )
