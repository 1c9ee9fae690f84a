"""Numbers and tables of judged images: where the errors are, and what they go with."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.data.images import ImageData
from calowatch.metrics.calibration import Reliability, reliability
from calowatch.metrics.classification import Judged, classification_figures

__all__ = ["bins_of", "confidence_bins", "course_of", "errors_of", "score_bins"]

Floats = npt.NDArray[np.float64]

_STRETCHES = 40  # of the longest file
_BINS = 5
_FEWEST = 20  # images in a bin
_BINNED = ("pt", "eta", "m0", "pileup")


def confidence_bins(judged: Judged) -> Reliability:
    """Return how often the likeliest class was right, by its stated probability; bins of equally many images."""
    stated = np.clip(judged.probabilities.max(axis=1), 0.0, 1.0)
    return reliability(judged.predicted == judged.labels, stated, 15, equal_count=True)


def score_bins(judged: Judged, classes: Sequence[str]) -> tuple[Floats, Mapping[str, npt.NDArray[np.int64]]]:
    """Return edges of bins of the probability of the last class, and images in them per true class."""
    edges = np.linspace(0.0, 1.0, 41)
    said = judged.probabilities[:, -1]
    return edges, {
        name: np.histogram(said[judged.labels == label], edges)[0].astype(np.int64)
        for label, name in enumerate(classes)
    }


def errors_of(data: ImageData, judged: Judged, classes: Sequence[str]) -> pd.DataFrame:
    """Return the images that were taken for another class, the surest first, with what is known of them."""
    wrong = np.flatnonzero(judged.predicted != judged.labels)
    sure = judged.probabilities[wrong].max(axis=1)
    wrong, sure = wrong[np.argsort(-sure, kind="stable")], np.sort(sure)[::-1]
    table = data.table.iloc[wrong].drop(columns="block").reset_index(drop=True)
    table.insert(2, "is", [classes[label] for label in judged.labels[wrong]])
    table.insert(3, "taken_for", [classes[label] for label in judged.predicted[wrong]])
    table.insert(4, "probability", sure)
    return table


def course_of(data: ImageData, judged: Judged) -> pd.DataFrame:
    """Return images and errors of stretches of each file, in its order; stretches without images are left out.

    Stretches are of one length in all files, so that their shares scatter alike.
    """
    rows = []
    width = max(1, -(-(int(data.table["position"].max()) + 1) // _STRETCHES))
    wrong = (judged.predicted != judged.labels).astype(np.int64)
    for source, part in data.table.reset_index(drop=True).groupby("source", sort=False):
        position = part["position"].to_numpy(np.int64)
        held = np.bincount(position // width)
        missed = np.bincount(position // width, weights=wrong[part.index.to_numpy()])
        rows += [
            {
                "source": source,
                "position": (at + 0.5) * width,
                "images": int(held[at]),
                "errors": int(missed[at]),
            }
            for at in np.flatnonzero(held)
        ]
    return pd.DataFrame(rows, columns=["source", "position", "images", "errors"])


def bins_of(data: ImageData, judged: Judged, *, draws: int, seed: int) -> pd.DataFrame:
    """Return accuracy and ROC-AUC with intervals in bins of equally many images of what is known of them.

    Known quantities are columns of the data's table: pt, eta (by its size), m0, pileup.
    """
    rows = []
    for quantity in _BINNED:
        if quantity not in data.table:
            continue
        values = data.table[quantity].to_numpy(np.float64)
        values = np.abs(values) if quantity == "eta" else values
        edges = np.unique(np.quantile(values, np.linspace(0, 1, _BINS + 1)))
        place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, max(len(edges) - 2, 0))
        for number in range(len(edges) - 1):
            inside = np.flatnonzero(place == number)
            if len(inside) < _FEWEST:
                continue
            figures = classification_figures(judged.some(inside), draws=min(draws, 100), seed=seed)
            row = {
                "quantity": "abs(eta)" if quantity == "eta" else quantity,
                "low": float(edges[number]),
                "high": float(edges[number + 1]),
                "images": len(inside),
            }
            for name in ("accuracy", "roc_auc"):
                figure = figures[name]
                row[name] = np.nan if figure.value is None else figure.value
                row[f"{name}_low"] = row[name] if figure.low is None else figure.low
                row[f"{name}_high"] = row[name] if figure.high is None else figure.high
            rows.append(row)
    return pd.DataFrame(rows, columns=_BIN_COLUMNS)


_BIN_COLUMNS = [
    "quantity",
    "low",
    "high",
    "images",
    *(f"{name}{end}" for name in ("accuracy", "roc_auc") for end in ("", "_low", "_high")),
]
