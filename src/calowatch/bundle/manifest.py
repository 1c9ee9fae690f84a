"""The manifest of a bundle: what it is, what it was made for, and the hashes of its files."""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from calowatch.core.errors import ConflictError, FormatError
from calowatch.core.files import atomic_directory, file_hash, write_json
from calowatch.detector.segmentation import check_era
from calowatch.detector.table import segmentation_hash

__all__ = ["MANIFEST", "amended", "bundle_kind", "hashes", "open_manifest", "read_arrays", "read_manifest"]

MANIFEST = "manifest.json"

_AGAIN = "copy the bundle again, or train it anew"


def read_manifest(folder: Path | str) -> dict[str, Any]:
    """Return the manifest of a bundle of any kind, its text checked and nothing else.

    Raises
    ------
    FormatError
        When there is none, or it is no JSON object.
    """
    folder = Path(folder)
    if not (folder / MANIFEST).is_file():
        found = "nothing of that name" if not folder.exists() else f"no {MANIFEST} in it"
        fix = "make one with calowatch fit or calowatch train"
        if folder.suffix == ".training" and folder.is_dir():
            found, fix = (
                "the logs of a training",
                f"give {folder.stem}, or finish it by calowatch train --resume",
            )
        raise FormatError(folder, "a bundle (a folder)", found, fix)
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if not isinstance(manifest, dict):
            raise TypeError("no JSON object")  # noqa: TRY301 - told to the user as every other fault below
    except (OSError, ValueError, TypeError) as error:
        raise FormatError(
            folder / MANIFEST, "the manifest of a bundle", f"unreadable text ({error})", _AGAIN
        ) from error
    return manifest


def bundle_kind(folder: Path | str) -> str:
    """Return the kind of a bundle: reference, network, pca, ewma, classifier; ``""`` where it does not tell."""
    manifest = read_manifest(folder)
    return str(manifest.get("kind") or manifest.get("model") or "")


def open_manifest(folder: Path | str, kinds: Iterable[str], schema: int) -> dict[str, Any]:
    """Return the manifest of a bundle whose kind, schema, files and segmentation are as they must be.

    Parameters
    ----------
    folder
        The bundle.
    kinds
        Which kinds will do.
    schema
        Version of the layout of these kinds.

    Raises
    ------
    FormatError
        When it is no bundle, one of another kind or schema, or a file that it names is missing or has other content.
    ConflictError
        When the segmentation it was made for is not the one of this program.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    found = str(manifest.get("kind"))
    if found not in kinds:
        raise FormatError(folder, f"a bundle of kind {' or '.join(kinds)}", f"kind {found}", "choose another")
    if manifest.get("schema") != schema:
        raise FormatError(
            folder,
            f"a {found} bundle of schema {schema}",
            f"schema {manifest.get('schema')}",
            "use the calowatch that wrote it, or train it anew",
        )
    try:
        era, made_for = check_era(str(manifest["era"])), manifest["segmentation"]
        named = {str(name): str(sha256) for name, sha256 in manifest["sha256"].items()}
    except (LookupError, TypeError, AttributeError) as error:
        raise FormatError(
            folder / MANIFEST,
            "era, segmentation and sha256",
            f"an entry that is missing or odd ({error})",
            _AGAIN,
        ) from error
    _check_files(folder, named)
    if made_for != segmentation_hash(era):
        raise ConflictError(
            folder,
            f"a bundle for today's {era} segmentation",
            "one made for another list of channels",
            "train it anew",
        )
    return manifest


def _check_files(folder: Path, named: Mapping[str, str]) -> None:
    for name, sha256 in named.items():
        path = folder / name
        if not path.is_file():
            raise FormatError(path, "a file that the manifest names", "none", _AGAIN)
        if file_hash(path) != sha256:
            raise FormatError(path, "the content whose hash the manifest names", "other content", _AGAIN)


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a folder but the manifest, by name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): file_hash(path) for path in files}


@contextmanager
def amended(folder: Path | str) -> Iterator[Path]:
    """Yield a copy of a bundle to be changed; it takes the bundle's place with the hashes of what is new or changed.

    On any error the bundle stays as it was.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    with atomic_directory(folder, marker=MANIFEST) as scratch:
        shutil.copytree(folder, scratch, dirs_exist_ok=True)
        before = hashes(scratch)
        yield scratch
        after = hashes(scratch)
        named = {
            name: sha256
            for name, sha256 in after.items()
            if name in manifest["sha256"] or before.get(name) != sha256
        }
        write_json(scratch / MANIFEST, {**manifest, "sha256": named})


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an npz file.

    Raises
    ------
    FormatError
        When it is none, or holds objects.
    """
    try:
        # A stream of our own, since numpy leaves its open where a file turns out to be no archive.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, EOFError, BadZipFile, ValueError, TypeError, AttributeError) as error:
        raise FormatError(path, "arrays (npz)", f"a damaged file ({error})", _AGAIN) from error
