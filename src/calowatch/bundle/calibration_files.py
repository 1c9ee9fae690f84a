"""The calibration beside a bundle: ``calibration.json`` for people, ``calibration.npz`` for sigma."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from calowatch.bundle.manifest import read_arrays, read_manifest
from calowatch.core.errors import FormatError
from calowatch.core.files import write_json
from calowatch.detect.calibration import Calibration, Thresholds

__all__ = ["load_calibration", "save_calibration"]

_TEXT = "calibration.json"
_ARRAYS = "calibration.npz"


def save_calibration(folder: Path, calibration: Calibration) -> None:
    """Write a calibration into a bundle that is being made."""
    figures = {
        name: {
            "samples": found.samples,
            "thresholds": [
                {"rate": rate, "threshold": value if above else None, "samples_above": above}
                for rate, value, above in zip(found.rates, found.values, found.above, strict=True)
            ],
        }
        for name, found in calibration.thresholds.items()
    }
    write_json(folder / _TEXT, {"n_windows": calibration.n_windows, "figures": figures})
    with (folder / _ARRAYS).open("wb") as stream:
        np.savez(stream, channel=calibration.channel, sigma=calibration.sigma)


def load_calibration(folder: Path | str, manifest: Mapping[str, Any] | None = None) -> Calibration | None:
    """Return the calibration of a bundle, None where it has none.

    Parameters
    ----------
    folder
        A bundle whose files have been checked.
    manifest
        Its manifest, where it has been read already.

    Raises
    ------
    FormatError
        When it is damaged.
    """
    folder = Path(folder)
    manifest = read_manifest(folder) if manifest is None else manifest
    if _TEXT not in manifest["sha256"]:
        return None
    try:
        told = json.loads((folder / _TEXT).read_text(encoding="utf-8"))
        figures = {name: _thresholds(entry) for name, entry in told["figures"].items()}
        arrays = read_arrays(folder / _ARRAYS)
        channel, sigma = arrays["channel"], arrays["sigma"]
        n_windows = int(told["n_windows"])
    except (OSError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise FormatError(
            folder / _TEXT, "a calibration", f"a damaged one ({error})", "calibrate anew"
        ) from error
    if sigma.shape != channel.shape or not (np.isfinite(sigma) & (sigma > 0)).all():
        raise FormatError(folder / _ARRAYS, "a positive sigma per channel", "other numbers", "calibrate anew")
    return Calibration(figures, channel, sigma, n_windows)


def _thresholds(entry: Mapping[str, Any]) -> Thresholds:
    rows = entry["thresholds"]
    return Thresholds(
        tuple(float(row["rate"]) for row in rows),
        tuple(float("nan") if row["threshold"] is None else float(row["threshold"]) for row in rows),
        int(entry["samples"]),
        tuple(int(row["samples_above"]) for row in rows),
    )
