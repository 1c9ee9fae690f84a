"""Bundles of image classifiers, and the one path from images to class probabilities.

A bundle is a folder: ``manifest.json``, the weights (``weights.safetensors`` of a network, ``model.npz`` of a classical
model), the preparation, ``split.npz`` (which image was on which side, and hashes of those it learned from),
``novelty.npz``, exported forms (``classifier.onnx``, ``classifier-int8.onnx``) and how far they are from the network
(``exported.json``), and what is for people (``card.md``, ``metrics.csv``, ``figures.json``).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from calowatch.bundle.classifier_manifest import KIND, SCHEMA, read_classifier_manifest
from calowatch.bundle.dealt import DealtRows, load_dealt
from calowatch.bundle.engines import ClassifyMode, Engine, open_engine
from calowatch.bundle.manifest import MANIFEST, hashes
from calowatch.bundle.novelty import Novelty, load_novelty
from calowatch.core.errors import ConflictError, FormatError, InputError
from calowatch.core.files import atomic_directory, file_hash
from calowatch.core.progress import SILENT, Progress
from calowatch.core.training import ImageTraining
from calowatch.data.image_preparation import ImagePreparation, load_preparation
from calowatch.data.images import ImageData
from calowatch.models.classical import CLASSICAL, ArrayModel
from calowatch.models.classifier import Classifier
from calowatch.models.classifiers import ImageGeometry, build_classifier

__all__ = [
    "ClassifierBundle",
    "ClassifyMode",
    "class_logits",
    "class_logits_of",
    "classify",
    "classify_data",
    "load_classifier",
    "save_classifier",
    "softmax",
]

_WEIGHTS, _MODEL = "weights.safetensors", "model.npz"
_LONGEST = 200  # letters of an error that names every weight

Images = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ClassifierBundle:
    """A trained classifier with all that it needs to judge images as they are read.

    Parameters
    ----------
    network
        A torch network in evaluation mode, or a classical model.
    preparation
        From images as read to what the network sees.
    manifest
        ``model`` (name), ``images`` (their kind), ``classes``, ``channels``, ``scalar_names``, ``axes``, ``geometry``,
        ``recipe``, ``temperature``, ``n_parameters``, ``training``, ``split``, ``sources``, ``provenance``.
    novelty
        What its own images look like; None where that was not learned.
    dealt
        Which image was on which side; None for a bundle that was never trained on files.
    folder
        Where it was loaded from; None in memory.
    """

    network: Classifier | ArrayModel
    preparation: ImagePreparation
    manifest: Mapping[str, Any]
    novelty: Novelty | None = None
    dealt: DealtRows | None = None
    folder: Path | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in order of their labels."""
        return tuple(self.manifest["classes"])

    @property
    def recipe(self) -> ImageTraining:
        """The recipe it was trained by."""
        return ImageTraining.model_validate(self.manifest["recipe"])

    @property
    def name(self) -> str:
        """Name of the network or model."""
        return str(self.manifest["model"])

    @property
    def temperature(self) -> float:
        """What logits are divided by: learned on the validation side."""
        return float(self.manifest["temperature"])

    @property
    def geometry(self) -> ImageGeometry:
        """Of its input and answer."""
        return ImageGeometry(**self.manifest["geometry"])

    def prepared(
        self, images: npt.NDArray[Any], scalars: npt.NDArray[Any] | None = None
    ) -> tuple[Images, Images]:
        """Return images and the numbers beside them as the network sees them; the input stays as it is.

        Parameters
        ----------
        images
            As read, [image, channel, row, column], with the channels that the manifest names.
        scalars
            As read, [image, scalar]; None where the classifier takes none.

        Raises
        ------
        InputError
            For images of another shape, missing scalars, or numbers that are NaN or infinite.
        """
        beside = np.zeros((len(images), 0), np.float32) if scalars is None else scalars
        g = self.geometry
        want, found = (g.channels, g.rows, g.columns), tuple(images.shape[1:])
        if found != want or beside.shape != (len(images), g.scalars):
            raise InputError(
                "images",
                f"{list(want)} each, with {g.scalars} numbers beside",
                f"{list(found)} with {beside.shape[-1]}",
                f"give {self.manifest['images']} images with the channels {', '.join(self.manifest['channels'])}",
            )
        x, s = self.preparation.transform(images), self.preparation.transform_scalars(beside)
        if not (np.isfinite(x).all() and np.isfinite(s).all()):
            raise InputError(
                "images", "finite numbers", "NaN or infinite ones", "mend or leave out these images"
            )
        return x, s


def class_logits(
    bundle: ClassifierBundle,
    images: npt.NDArray[Any],
    scalars: npt.NDArray[Any] | None = None,
    mode: ClassifyMode = "auto",
    batch: int = 256,
) -> Images:
    """Return one logit per class, not yet divided by the temperature: [image, class]; arguments as of `classify`."""
    return _logits(bundle, open_engine(bundle.network, mode, bundle.folder), images, scalars, batch)


def _logits(
    bundle: ClassifierBundle,
    engine: Engine,
    images: npt.NDArray[Any],
    scalars: npt.NDArray[Any] | None,
    batch: int = 256,
) -> Images:
    parts = [np.zeros((0, bundle.geometry.outputs), np.float32)]
    for first in range(0, len(images), batch):
        beside = None if scalars is None else scalars[first : first + batch]
        parts.append(engine(*bundle.prepared(images[first : first + batch], beside)))
    logits = np.concatenate(parts)
    # One output is the logit of class 1: half of it for, half of it against.
    return np.concatenate([-logits / 2, logits / 2], axis=1) if logits.shape[1] == 1 else logits


def softmax(logits: Images, temperature: float) -> Images:
    """Return probabilities of logits [image, class] divided by a temperature."""
    scaled = (logits - logits.max(axis=1, keepdims=True)).astype(np.float64) / temperature
    weights = np.exp(scaled)
    found: Images = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return found


def classify(
    bundle: ClassifierBundle,
    images: npt.NDArray[Any],
    scalars: npt.NDArray[Any] | None = None,
    mode: ClassifyMode = "auto",
    batch: int = 256,
) -> Images:
    """Return the probability of each class, [image, class], calibrated by the bundle's temperature.

    The only path from images to class probabilities.

    Parameters
    ----------
    bundle
        The classifier.
    images
        As read, [image, channel, row, column].
    scalars
        Numbers beside them as read, [image, scalar]; None where the classifier takes none.
    mode
        How the network is computed: ``float32`` is the reference, ``bfloat16`` and ``int8`` are quicker and less exact,
        ``onnx`` is float32 by ONNX Runtime; ``auto`` is the quickest that may be trusted (`open_engine`). Classical
        models know float32 only.
    batch
        Images at a time.

    Raises
    ------
    InputError
        For images of another shape, or a mode that this bundle or machine does not have.
    """
    return softmax(class_logits(bundle, images, scalars, mode, batch), bundle.temperature)


def class_logits_of(
    bundle: ClassifierBundle,
    data: ImageData,
    rows: Ints | None = None,
    mode: ClassifyMode = "auto",
    progress: Progress = SILENT,
) -> Images:
    """Return one logit per class of some images of a data set, read piece by piece; see `class_logits`."""
    found = [np.zeros((0, len(bundle.classes)), np.float32)]
    pieces = list(data.pieces(rows, 1024))
    engine = open_engine(bundle.network, mode, bundle.folder)
    for piece in progress.track(pieces, "classifying", len(pieces)):
        read = data.take(piece)
        found.append(_logits(bundle, engine, read["x"], read["scalars"]))
    return np.concatenate(found)


def classify_data(
    bundle: ClassifierBundle,
    data: ImageData,
    rows: Ints | None = None,
    mode: ClassifyMode = "auto",
    progress: Progress = SILENT,
) -> Images:
    """Return class probabilities of some images of a data set, read piece by piece: [image, class]."""
    return softmax(class_logits_of(bundle, data, rows, mode, progress), bundle.temperature)


def save_classifier(
    folder: Path, bundle: ClassifierBundle, besides: Callable[[Path], None] | None = None
) -> None:
    """Write a bundle, whole or not at all; an earlier one there is replaced.

    Parameters
    ----------
    folder
        Where.
    bundle
        What.
    besides
        Writes further files (card, curves) into the folder that it is given.

    Raises
    ------
    ConflictError
        When something that is no bundle stands in the way.
    """
    with atomic_directory(folder, marker=MANIFEST) as scratch:
        if isinstance(bundle.network, ArrayModel):
            with (scratch / _MODEL).open("wb") as stream:
                arrays: dict[str, Any] = bundle.network.arrays()
                np.savez_compressed(stream, **arrays)
        else:
            state = bundle.network.state_dict()
            save_file({name: value.cpu().contiguous() for name, value in state.items()}, scratch / _WEIGHTS)
        bundle.preparation.save(scratch)
        for part in (bundle.novelty, bundle.dealt):
            if part is not None:
                part.save(scratch)
        if besides is not None:
            besides(scratch)
        manifest = {**bundle.manifest, "schema": SCHEMA, "kind": KIND, "sha256": hashes(scratch)}
        (scratch / MANIFEST).write_text(json.dumps(manifest, indent=1, allow_nan=False) + "\n")


def load_classifier(folder: Path | str, device: str = "cpu") -> ClassifierBundle:
    """Read a classifier bundle.

    Parameters
    ----------
    folder
        The bundle.
    device
        Where a network's weights go.

    Raises
    ------
    FormatError
        When the folder holds no bundle of a classifier, a damaged one, or one of a newer schema.
    ConflictError
        When its trees want observables that are no more.
    """
    folder = Path(folder)
    manifest = read_classifier_manifest(folder)
    _check_files(folder, manifest["sha256"])
    preparation = load_preparation(folder)
    bundle = ClassifierBundle(
        _network(folder, manifest), preparation, manifest, load_novelty(folder), load_dealt(folder), folder
    )
    if isinstance(bundle.network, Classifier):
        bundle.network.eval().to(device)
    return bundle


def _check_files(folder: Path, named: Mapping[str, str]) -> None:
    for name, expected in named.items():
        if not (folder / name).is_file() or file_hash(folder / name) != expected:
            raise FormatError(
                folder / name,
                "the file that the manifest names",
                "other or missing content",
                "copy the bundle again",
            )


def _network(folder: Path, manifest: Mapping[str, Any]) -> Classifier | ArrayModel:
    name = str(manifest["model"])
    try:
        if name in CLASSICAL:
            with np.load(folder / _MODEL, allow_pickle=False) as arrays:
                return CLASSICAL[name].of({each: arrays[each] for each in arrays.files})
        geometry, options = ImageGeometry(**manifest["geometry"]), manifest["recipe"]["network"]["options"]
        network = build_classifier(name, geometry, options)
        network.load_state_dict(load_file(folder / _WEIGHTS))
    except ConflictError as error:
        raise ConflictError(folder, error.expected, error.found, error.fix) from error
    except (OSError, ValueError, RuntimeError, BadZipFile, SafetensorError, FormatError) as error:
        raise FormatError(
            folder, f"the weights of {name}", _reason(error), "copy the bundle again, or train it anew"
        ) from error
    return network


def _reason(error: Exception) -> str:
    """Return the first thing that an error tells; that of torch begins with a line that tells nothing."""
    if isinstance(error, FormatError):
        return f"{error.where} without {error.expected}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = lines[1] if len(lines) > 1 and lines[0].endswith(":") else lines[0]
    return told if len(told) <= _LONGEST else f"{told[:_LONGEST]} ..."
