"""Classifiers without layers: one feature, a linear model of pixels, boosted trees on observables. No torch here.

Each is a handful of arrays; `calowatch.train.classical` learns them. All take prepared images [image, channel, row,
column] and prepared numbers beside them [image, scalar], and answer with the logit of class 1, [image, 1], or with one
logit per class.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from importlib import import_module
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from calowatch.core.errors import ConflictError, FormatError, UnknownNameError, nearest

__all__ = [
    "CLASSICAL",
    "OBSERVABLES",
    "ArrayModel",
    "Linear",
    "OneRing",
    "Trees",
    "ring_means",
    "tabulate",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Images = npt.NDArray[np.float32]
Table = tuple[tuple[str, ...], Floats]


def ring_means(images: npt.NDArray[Any], scalars: npt.NDArray[Any]) -> Table:
    """Return the mean of each ring (row of the image) and channel: names, and values [image, feature].

    Zero for rings without cells; ``scalars`` is not looked at.
    """
    n, channels, rows, _ = images.shape
    names = tuple(f"channel {channel} row {row}" for channel in range(channels) for row in range(rows))
    assert len(scalars) == n
    return names, images.mean(axis=3, dtype=np.float64).reshape(n, -1)


OBSERVABLES: Mapping[str, str] = MappingProxyType(
    {
        "rings": "calowatch.models.classical:ring_means",
        "showers": "calowatch.metrics.showers:shower_table",
        "jets": "calowatch.metrics.jets:jet_table",
    }
)
"""Sets of observables by name: ``"module:function"`` from images and scalars to names and values [image, feature]."""


def tabulate(name: str, images: npt.NDArray[Any], scalars: npt.NDArray[Any]) -> Table:
    """Return the observables of a set: names, and values [image, feature].

    Raises
    ------
    UnknownNameError
        When there is no such set.
    """
    if name not in OBSERVABLES:
        raise UnknownNameError(
            f"observables {name!r}",
            f"one of {', '.join(OBSERVABLES)}",
            "none such",
            nearest(name, OBSERVABLES),
        )
    module, _, function = OBSERVABLES[name].partition(":")
    found: Callable[[npt.NDArray[Any], npt.NDArray[Any]], Table] = getattr(import_module(module), function)
    return found(images, scalars)


@dataclass(frozen=True, eq=False)
class ArrayModel:
    """A classifier that is arrays, and words kept beside them."""

    name: ClassVar[str] = ""

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what it learned."""
        return {each.name: np.asarray(getattr(self, each.name)) for each in fields(self)}

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Return the model of some arrays.

        Raises
        ------
        FormatError
            When one is missing.
        """
        try:
            return cls(**{each.name: arrays[each.name] for each in fields(cls)})
        except KeyError as error:
            raise FormatError(
                "model.npz", f"the array {error}", "none such", "copy the bundle again"
            ) from error

    @property
    def n_parameters(self) -> int:
        """Numbers that were learned."""
        return sum(int(values.size) for values in self.arrays().values() if values.dtype.kind == "f")

    def logits(self, images: Images, scalars: Images) -> Images:
        """Return logits of prepared input, [image, output]."""
        raise TypeError(f"{type(self).__name__} judges nothing: {images.shape} {scalars.shape}")


@dataclass(frozen=True, eq=False)
class Linear(ArrayModel):
    """A weighted sum of all pixels and scalars.

    Parameters
    ----------
    weights
        [output, pixel or scalar].
    bias
        [output].
    """

    name: ClassVar[str] = "linear"
    weights: Floats
    bias: Floats

    def logits(self, images: Images, scalars: Images) -> Images:
        """Return logits, [image, output]."""
        flat = np.concatenate([images.reshape(len(images), -1), scalars], axis=1)
        found: Images = (flat @ self.weights.T.astype(np.float32) + self.bias).astype(np.float32)
        return found


@dataclass(frozen=True, eq=False)
class OneRing(ArrayModel):
    """A threshold on the mean of one ring, chosen as the one that separates the training side best.

    Parameters
    ----------
    channel, row
        Which ring.
    threshold
        Where it is undecided.
    slope
        Of the logit; its sign says which class lies above.
    """

    name: ClassVar[str] = "one-ring"
    channel: Ints
    row: Ints
    threshold: Floats
    slope: Floats

    def logits(self, images: Images, scalars: Images) -> Images:
        """Return the logit of class 1, [image, 1]."""
        assert len(scalars) == len(images)
        mean = images[:, int(self.channel), int(self.row)].mean(axis=1, dtype=np.float64)
        found: Images = (float(self.slope) * (mean - float(self.threshold)))[:, None].astype(np.float32)
        return found


_CHANGED = ("jets",)
"""Sets that were others when bundles of trees did not tell yet on which observables they had been grown."""


def _outgrown(observables: str, found: str) -> ConflictError:
    expected = f"trees on the set {observables!r} of observables as it is now"
    return ConflictError("model.npz", expected, found, "train these trees again")


@dataclass(frozen=True, eq=False)
class Trees(ArrayModel):
    """Gradient-boosted trees on observables (Friedman 2001, Ann. Stat. 29, 1189), walked through in numpy.

    Parameters
    ----------
    observables
        Name of the set.
    baseline
        Logit before the first tree.
    root
        First node of each tree, [tree].
    feature, threshold, left, right, value
        Of each node: go left where the feature is at most the threshold; a leaf leads to itself.
    names
        Of the set's observables when the trees were grown, [feature]: the set must still be the same.
    """

    name: ClassVar[str] = "trees"
    observables: npt.NDArray[np.str_]
    baseline: Floats
    root: Ints
    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    value: Floats
    names: npt.NDArray[np.str_] = field(default_factory=lambda: np.empty(0, "U1"))

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Return the model of some arrays; older ones, without names, where their set has not changed since.

        Raises
        ------
        FormatError
            When an array is missing.
        ConflictError
            When the trees are from before their set of observables changed.
        """
        if "names" not in arrays and str(arrays.get("observables")) in _CHANGED:
            raise _outgrown(str(arrays["observables"]), "those of an earlier version")
        return super().of({"names": np.empty(0, "U1"), **arrays})

    def logits(self, images: Images, scalars: Images) -> Images:
        """Return the logit of class 1, [image, 1].

        Raises
        ------
        ConflictError
            When the trees were grown on other observables than their set has now.
        """
        names, table = tabulate(str(self.observables), images, scalars)
        if self.names.size and self.names.tolist() != list(names):
            other = sorted(set(self.names.tolist()) ^ set(names))
            raise _outgrown(str(self.observables), f"others: {', '.join(other) or 'another order'}")
        total = np.full(len(table), float(self.baseline))
        row = np.arange(len(table))
        for root in self.root.tolist():
            node = np.full(len(table), root)
            while True:
                goes_left = table[row, self.feature[node]] <= self.threshold[node]
                following = np.where(goes_left, self.left[node], self.right[node])
                if np.array_equal(following, node):
                    break
                node = following
            total += self.value[node]
        return total[:, None].astype(np.float32)


CLASSICAL: Mapping[str, type[ArrayModel]] = MappingProxyType(
    {model.name: model for model in (Linear, OneRing, Trees)}
)
"""All classifiers without layers, by name."""
