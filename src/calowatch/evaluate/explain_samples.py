"""Which images are explained, and what stands for "nothing there" in them."""

import numpy as np
import numpy.typing as npt

from calowatch.bundle.classifier import ClassifierBundle
from calowatch.core.errors import InputError
from calowatch.data.images import ImageData
from calowatch.evaluate.chosen import ChosenImages

__all__ = ["check_samples", "drawn_image", "masked_cells", "mean_image", "pick_samples"]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_MEAN_OF = 512
"""Images of each class that make the mean image."""


def pick_samples(data: ImageData, rows: Ints, samples: str, seed: int) -> Ints:
    """Return the rows to explain; ``samples`` as in `ExplainRequest`.

    Raises
    ------
    InputError
        For what is neither a number nor names, or images that are not among ``rows``.
    """
    check_samples(samples)
    if samples.isdigit():
        rng = np.random.default_rng(seed)
        labels = data.labels[rows]
        order = rng.permutation(len(rows))
        # In turn from each class, so that few samples show all of them.
        turn = np.zeros(len(rows), np.int64)
        for label in np.unique(labels):
            mine = order[labels[order] == label]
            turn[mine] = np.arange(len(mine))
        taken = np.lexsort((labels, turn))[: int(samples)]
        return np.asarray(rows[taken], np.int64)
    return np.array([_row(data, rows, each.strip()) for each in samples.split(",")], np.int64)


def check_samples(samples: str) -> None:
    """Raise for what is neither a number from 1 nor names of images."""
    named = [each.strip().rpartition(":") for each in samples.split(",")]
    wrong = [
        f"{file}{colon}{position}" for file, colon, position in named if not (colon and position.isdigit())
    ]
    if wrong and not (samples.isdigit() and int(samples) > 0):
        raise InputError(
            "--samples", "a number of images, or FILE:POSITION joined by commas", wrong[0], "correct it"
        )


def _row(data: ImageData, rows: Ints, name: str) -> int:
    file, _, position = name.rpartition(":")
    table = data.table.iloc[rows]
    mine = table["source"].str.startswith(file) & (table["position"] == int(position))
    if mine.sum() != 1:
        raise InputError(
            f"--samples {name}",
            "one image of this side",
            f"{int(mine.sum())} of them",
            "take file and position from scores.csv of calowatch evaluate run, or another --side",
        )
    return int(rows[np.flatnonzero(mine.to_numpy())[0]])


def mean_image(chosen: ChosenImages) -> npt.NDArray[np.float32]:
    """Return the mean of the classes' mean images, [channel, row, column], as read."""
    labels = chosen.data.labels[chosen.rows]
    means = []
    for label in np.unique(labels):
        mine = chosen.rows[labels == label]
        some = mine[:: -(-len(mine) // _MEAN_OF)]
        means.append(chosen.data.images.read(some).mean(axis=0, dtype=np.float64))
    return np.asarray(np.mean(means, axis=0), np.float32)


def masked_cells(bundle: ClassifierBundle) -> Mask:
    """Return the cells that the preparation hides in all channels, [row, column]."""
    g, found = bundle.geometry, np.zeros((bundle.geometry.rows, bundle.geometry.columns), bool)
    for step, learned in zip(bundle.preparation.steps, bundle.preparation.learned, strict=True):
        if step.step == "mask_deviating":
            found |= (learned["keep"].reshape(g.channels, g.rows, g.columns) == 0).all(axis=0)
    return found


def drawn_image(
    image: npt.NDArray[np.float32], bundle: ClassifierBundle
) -> tuple[npt.NDArray[np.float64], str]:
    """Return what is drawn of an image, [row, column], and in which unit: energies are added, times left out.

    Parameters
    ----------
    image
        As read, [channel, row, column].
    bundle
        Says what the channels are.
    """
    names = bundle.manifest["channels"]
    kept = [at for at, name in enumerate(names) if name != "time"] or list(range(len(names)))
    label = {"egamma": "50 GeV", "jets": "100 GeV"}.get(bundle.manifest["images"], "as read")
    if [names[at] for at in kept] == ["time"]:
        label = "50 ns"
    return image[kept].sum(axis=0, dtype=np.float64), label
