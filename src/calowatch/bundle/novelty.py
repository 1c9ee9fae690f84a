"""Whether an image is of none of the classes that a classifier knows: three scores, higher = stranger.

``energy`` minus the log-sum-exp of the logits (arXiv 2010.03759): how little any class is favoured. Of a single logit,
which says nothing of a common level, it is the same as doubt between the two. ``features`` the distance of what the
last layer sees from the nearest class of the training side, in units of its spread (Mahalanobis; arXiv 1807.03888).
``image`` the same of the prepared image itself, spread along its principal components and one common rest (Tipping and
Bishop 1999, J. R. Stat. Soc. B 61, 611).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from calowatch.core.errors import FormatError

__all__ = ["Cloud", "Novelty", "energy", "fit_cloud", "load_novelty"]

Floats = npt.NDArray[np.float64]
_COMPONENTS = 32
_LEAST = 1e-6  # of the largest variance: directions without spread would make any rounding strange
_FILE = "novelty.npz"


@dataclass(frozen=True, eq=False)
class Cloud:
    """Where the classes lie in some space, and how they spread about their means, all alike.

    Parameters
    ----------
    means
        [class, value].
    components
        Directions of largest spread, orthonormal, [component, value].
    variances
        Along them, [component].
    rest
        Variance along any other direction.
    """

    means: Floats
    components: Floats
    variances: Floats
    rest: Floats

    def distance(self, values: npt.NDArray[Any]) -> Floats:
        """Return the squared distance to the nearest class, per value: [sample]; about 1 on the training side."""
        found = []
        for mean in self.means:
            away = np.asarray(values, np.float64) - mean
            along = away @ self.components.T
            beyond = np.maximum((away**2).sum(axis=1) - (along**2).sum(axis=1), 0.0)
            found.append((along**2 / self.variances).sum(axis=1) + beyond / float(self.rest))
        nearest: Floats = np.min(found, axis=0)
        share: Floats = nearest / self.means.shape[1]
        return share


def fit_cloud(
    values: npt.NDArray[Any], labels: npt.NDArray[np.int64], components: int = _COMPONENTS
) -> Cloud:
    """Return the cloud of some samples.

    Parameters
    ----------
    values
        [sample, value].
    labels
        Class of each sample; every class from 0 to the largest must be there.
    components
        How many directions get a variance of their own.
    """
    x = np.asarray(values, np.float64)
    means = np.stack([x[labels == label].mean(axis=0) for label in range(int(labels.max()) + 1)])
    away = x - means[labels]
    n, d = away.shape
    free = max(n - len(means), 1)
    # Through the smaller of the two products: images have more pixels than there are samples.
    small = away @ away.T if d > n else away.T @ away
    power, vectors = np.linalg.eigh(small)
    keep = min(components, n, d)
    power, vectors = power[::-1][:keep], vectors[:, ::-1][:, :keep]
    total = float((away**2).sum())
    some = power > _LEAST * max(total, 1e-300)
    power, vectors = power[some], vectors[:, some]
    directions = (away.T @ vectors / np.sqrt(power)).T if d > n else vectors.T
    largest = float(power[0]) / free if len(power) else 1.0
    rest = (total - float(power.sum())) / free / max(d - len(power), 1)
    variances = np.maximum(power / free, _LEAST * largest)
    return Cloud(means, directions, variances, np.array(max(rest, _LEAST * largest)))


def energy(logits: npt.NDArray[Any]) -> Floats:
    """Return the energy score of logits [sample, class], higher = stranger."""
    highest = logits.max(axis=1, keepdims=True)
    above: Floats = np.log(np.exp(np.asarray(logits - highest, np.float64)).sum(axis=1))
    found: Floats = -(highest[:, 0] + above)
    return found


@dataclass(frozen=True, eq=False)
class Novelty:
    """What a classifier's own images look like.

    Parameters
    ----------
    clouds
        ``features`` (networks only) and ``image``, of the training side.
    thresholds
        Of each score, ``energy`` among them: passed by a share ``beyond`` of the validation side.
    beyond
        That share.
    """

    clouds: Mapping[str, Cloud]
    thresholds: Mapping[str, float] = field(default_factory=dict)
    beyond: float = 0.01

    def save(self, folder: Path) -> None:
        """Write ``novelty.npz`` into a folder."""
        arrays: dict[str, Any] = {
            f"{name}.{part}": getattr(cloud, part)
            for name, cloud in self.clouds.items()
            for part in Cloud.__dataclass_fields__
        }
        marks: dict[str, Any] = {
            f"threshold.{name}": np.array(value) for name, value in self.thresholds.items()
        }
        with (folder / _FILE).open("wb") as stream:
            np.savez_compressed(stream, beyond=np.array(self.beyond), **marks, **arrays)


def load_novelty(folder: Path) -> Novelty | None:
    """Return what `Novelty.save` wrote; None where there is none.

    Raises
    ------
    FormatError
        When the file is damaged.
    """
    if not (folder / _FILE).is_file():
        return None
    try:
        with np.load(folder / _FILE, allow_pickle=False) as arrays:
            held = {name: arrays[name] for name in arrays.files}
        names = {name.partition(".")[0] for name in held if name.endswith(".means")}
        clouds = {
            name: Cloud(**{part: held[f"{name}.{part}"] for part in Cloud.__dataclass_fields__})
            for name in sorted(names)
        }
        marks = {
            name.partition(".")[2]: float(held[name])
            for name in sorted(held)
            if name.startswith("threshold.")
        }
        return Novelty(clouds, marks, float(held["beyond"]))
    except (OSError, ValueError, LookupError, BadZipFile) as error:
        raise FormatError(folder / _FILE, "clouds of classes", str(error), "copy the bundle again") from error
