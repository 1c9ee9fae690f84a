"""The bundle of a per-channel reference: a folder with a manifest and arrays, no network and no pickle."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import xarray as xr

from calowatch.core.errors import ConflictError, FormatError
from calowatch.core.files import atomic_directory, file_hash
from calowatch.detector.segmentation import check_era
from calowatch.detector.table import segmentation_hash
from calowatch.models.reference import Reference

__all__ = ["MANIFEST", "ReferenceBundle", "load_reference", "save_reference"]

MANIFEST = "manifest.json"
_ARRAYS = "reference.npz"
_SCHEMA = 1
_NAMES = ("channel", "log_response", "sigma", "ring_log_rate")


@dataclass(frozen=True)
class ReferenceBundle:
    """A reference and what is written beside it.

    Parameters
    ----------
    reference
        The fitted reference.
    manifest
        Schema, era, hash of the segmentation, runs, provenance.
    """

    reference: Reference
    manifest: Mapping[str, Any]

    @property
    def era(self) -> str:
        """Era of the channels."""
        return str(self.manifest["era"])

    @property
    def channel(self) -> npt.NDArray[np.int64]:
        """Channel numbers that it knows."""
        return self.reference.channel_

    def expect(self, occupancy: xr.Dataset) -> tuple[xr.Dataset, list[str]]:
        """Return the expectation for a run of channels that it knows, and what a user must read beside it: nothing."""
        return self.reference.predict(occupancy), []


def save_reference(folder: Path, reference: Reference, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Write a reference as a bundle, and return its manifest.

    Parameters
    ----------
    folder
        The bundle's folder; an earlier bundle there is replaced, anything else is left alone.
    reference
        A fitted reference.
    manifest
        What to record besides the fixed entries: ``era``, ``runs`` and ``provenance``.

    Raises
    ------
    ConflictError
        When something that is no bundle stands in the way.
    """
    with atomic_directory(folder, marker=MANIFEST) as scratch:
        with (scratch / _ARRAYS).open("wb") as stream:
            np.savez_compressed(stream, **{name: getattr(reference, f"{name}_") for name in _NAMES})
        content = {
            "schema": _SCHEMA,
            "kind": Reference.method,
            "model": Reference.method,
            "n_parameters": len(reference.channel_),
            "segmentation": segmentation_hash(str(manifest["era"])),
            "sha256": {_ARRAYS: file_hash(scratch / _ARRAYS)},
            **manifest,
        }
        (scratch / MANIFEST).write_text(json.dumps(content, indent=1) + "\n")
    return content


def load_reference(folder: Path | str) -> ReferenceBundle:
    """Read a reference bundle.

    Raises
    ------
    FormatError
        When the folder holds no bundle, a broken one, or one of a newer schema.
    ConflictError
        When the segmentation it was made for is not the one of this program.
    """
    folder = Path(folder)
    fix = "make one with: calowatch fit SOURCE... --out REFERENCE"
    if not (folder / MANIFEST).is_file():
        found = "nothing of that name" if not folder.exists() else f"no {MANIFEST} in it"
        raise FormatError(folder, "a reference bundle (a folder)", found, fix)
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        schema, expected_hash = manifest["schema"], manifest["sha256"][_ARRAYS]
        era, runs, made_for = manifest["era"], manifest["runs"], manifest["segmentation"]
        check_era(era)
        [run["run"] for run in runs]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise FormatError(
            folder / MANIFEST, "the manifest of a bundle", f"unreadable text ({error})", fix
        ) from error
    if schema != _SCHEMA or manifest.get("model") != Reference.method:
        raise FormatError(
            folder,
            f"a {Reference.method} bundle of schema {_SCHEMA}",
            f"a {manifest.get('model')} bundle of schema {schema}",
            "use the calowatch that wrote it, or fit anew",
        )
    if not (folder / _ARRAYS).is_file() or file_hash(folder / _ARRAYS) != expected_hash:
        raise FormatError(
            folder / _ARRAYS,
            "the arrays the manifest names",
            "other or missing content",
            "copy the bundle again",
        )
    if made_for != segmentation_hash(era):
        raise ConflictError(
            folder,
            f"a bundle for today's {era} segmentation",
            "one made for another list of channels",
            "fit a new reference",
        )
    return ReferenceBundle(_reference_from(folder / _ARRAYS), manifest)


def _reference_from(path: Path) -> Reference:
    reference = Reference()
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for name in _NAMES:
                setattr(reference, f"{name}_", arrays[name])
    except (BadZipFile, KeyError, ValueError) as error:
        raise FormatError(path, f"arrays {', '.join(_NAMES)}", str(error), "fit a new reference") from error
    shapes = {getattr(reference, f"{name}_").shape for name in _NAMES}
    sound = len(shapes) == 1 and (reference.sigma_ > 0).all() and np.isfinite(reference.ring_log_rate_).all()
    if not sound or np.isinf(reference.log_response_).any():
        raise FormatError(
            path,
            "arrays of one length, positive sigma and finite rates",
            "other numbers",
            "fit a new reference",
        )
    return reference
