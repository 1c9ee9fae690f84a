"""Classifiers without layers, learned by scikit-learn and kept as arrays."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from calowatch.core.errors import InputError, nearest
from calowatch.core.progress import SILENT, Progress
from calowatch.core.training import ImageTraining
from calowatch.data.image_preparation import ImagePreparation
from calowatch.data.image_splits import ImageSides
from calowatch.data.images import ImageData
from calowatch.metrics.ranking import roc_auc
from calowatch.models.classical import ArrayModel, Linear, OneRing, Trees, tabulate

__all__ = ["ClassicalTask", "fit_classical"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Images = npt.NDArray[np.float32]

_MOST_BYTES = 2 * 1024**3


@dataclass(frozen=True, eq=False)
class ClassicalTask:
    """What a classical model learns from.

    Parameters
    ----------
    data, sides
        The images and how they were dealt.
    preparation
        Learned on the training side.
    recipe
        Says the model and its options.
    seed
        Of what is drawn at random.
    progress
        Told of the images read.
    """

    data: ImageData
    sides: ImageSides
    preparation: ImagePreparation
    recipe: ImageTraining
    seed: int
    progress: Progress = SILENT

    @property
    def y(self) -> Ints:
        """Classes of the training side."""
        return self.data.labels[self.sides.train]

    def gather(self, what: Callable[[npt.NDArray[np.float32], npt.NDArray[np.float32]], Any]) -> Any:
        """Return what a function makes of the prepared training images and scalars, piece by piece, joined."""
        cut = list(self.data.pieces(self.sides.train))
        parts = []
        for piece in self.progress.track(cut, "reading images", len(cut)):
            read = self.data.take(piece)
            scalars = self.preparation.transform_scalars(read["scalars"])
            parts.append(what(self.preparation.transform(read["x"]), scalars))
        return np.concatenate(parts)

    def options(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return the recipe's options over their defaults.

        Raises
        ------
        InputError
            For one that the model does not have.
        """
        given = self.recipe.network.options
        for name in given:
            if name not in known:
                raise InputError(
                    f"options.{name}", f"one of {', '.join(known)}", "none such", nearest(name, known)
                )
        return {**known, **given}


def fit_classical(task: ClassicalTask) -> ArrayModel:
    """Return the model that a recipe names, learned.

    Raises
    ------
    InputError
        For more than two classes where a model knows two only, unknown options, or images too many for the memory.
    """
    return _FITS[task.recipe.network.name](task)


def _fit_linear(task: ClassicalTask) -> Linear:
    """Fit logistic regression on prepared pixels; ``strength`` is the inverse of the penalty."""
    options = task.options({"strength": 1.0, "iterations": 300})
    size = 4 * len(task.sides.train) * int(np.prod(task.data.images.shape[1:]))
    if size > _MOST_BYTES:
        raise InputError(
            "at_most",
            f"images of {_MOST_BYTES / 1e9:.1f} GB together",
            f"{size / 1e9:.1f} GB",
            "take fewer of each class",
        )
    x = task.gather(
        lambda images, scalars: np.concatenate([images.reshape(len(images), -1), scalars], axis=1)
    )
    model = LogisticRegression(
        C=float(options["strength"]),
        max_iter=int(options["iterations"]),
        class_weight="balanced" if task.recipe.loss.class_weights else None,
        tol=1e-3,
    )
    model.fit(x, task.y)
    return Linear(np.asarray(model.coef_, np.float64), np.asarray(model.intercept_, np.float64))


def _fit_one_ring(task: ClassicalTask) -> OneRing:
    """Take the ring whose mean separates the training side best; without ``row`` all are tried."""
    options = task.options({"row": None, "channel": None})
    _two(task)
    _, channels, rows, _ = task.data.images.shape
    means = task.gather(lambda images, _: images.mean(axis=3, dtype=np.float64))
    wanted = [
        (channel, row)
        for channel in range(channels)
        for row in range(rows)
        if options["row"] in (None, row) and options["channel"] in (None, channel)
    ]
    if not wanted:
        raise InputError("options.row", f"0 to {rows - 1}", str(options["row"]), "count rows from 0")
    worth = {at: abs(roc_auc(task.y == 1, means[:, at[0], at[1]]) - 0.5) for at in wanted}
    channel, row = max(worth, key=lambda at: worth[at])
    value = means[:, channel, row]
    spread = float(value.std()) or 1.0
    model = LogisticRegression(C=1e4).fit(((value - value.mean()) / spread)[:, None], task.y)
    slope = float(model.coef_[0, 0]) / spread
    threshold = float(value.mean()) - float(model.intercept_[0]) / (slope or 1.0)
    return OneRing(np.array(channel), np.array(row), np.array(threshold), np.array(slope))


def _two(task: ClassicalTask) -> None:
    if len(task.data.classes) != 2:
        raise InputError(
            "classes", "two", str(len(task.data.classes)), "choose another model, such as linear"
        )


def _fit_trees(task: ClassicalTask) -> Trees:
    """Grow boosted trees on a set of ``observables``."""
    options = task.options(
        {"observables": "rings", "iterations": 300, "rate": 0.08, "leaves": 31, "least": 50, "penalty": 0.0}
    )
    _two(task)
    name = str(options["observables"])
    found: list[tuple[str, ...]] = []

    def values(images: Images, scalars: Images) -> Floats:
        names, some = tabulate(name, images, scalars)
        found.append(names)
        return some

    table = task.gather(values)
    model = HistGradientBoostingClassifier(
        max_iter=int(options["iterations"]),
        learning_rate=float(options["rate"]),
        max_leaf_nodes=int(options["leaves"]),
        min_samples_leaf=int(options["least"]),
        l2_regularization=float(options["penalty"]),
        early_stopping=len(task.y) >= 1000,
        class_weight="balanced" if task.recipe.loss.class_weights else None,
        random_state=task.seed,
    )
    model.fit(table, task.y)
    return replace(_as_arrays(model, name), names=np.array(found[0]))


def _as_arrays(model: HistGradientBoostingClassifier, observables: str) -> Trees:
    """Return the nodes of all trees in one row; no public attribute of scikit-learn gives them, a test compares."""
    trees = [each[0].nodes for each in model._predictors]
    root = np.cumsum([0, *(len(nodes) for nodes in trees)])[:-1]
    nodes = np.concatenate(trees)
    first = np.repeat(root, [len(each) for each in trees])
    leaf, own = nodes["is_leaf"].astype(bool), np.arange(len(nodes))
    return Trees(
        observables=np.array(observables),
        baseline=np.asarray(model._baseline_prediction, np.float64).reshape(()),
        root=root.astype(np.int64),
        feature=np.where(leaf, 0, nodes["feature_idx"]).astype(np.int64),
        threshold=np.where(leaf, 0.0, nodes["num_threshold"]).astype(np.float64),
        left=np.where(leaf, own, first + nodes["left"]).astype(np.int64),
        right=np.where(leaf, own, first + nodes["right"]).astype(np.int64),
        value=np.where(leaf, nodes["value"], 0.0).astype(np.float64),
    )


_FITS: Mapping[str, Callable[[ClassicalTask], ArrayModel]] = MappingProxyType(
    {"linear": _fit_linear, "one-ring": _fit_one_ring, "trees": _fit_trees}
)
