"""How strange images are to a classifier, by the scores of `calowatch.bundle.novelty`."""

import numpy as np
import numpy.typing as npt
import torch

from calowatch.bundle.classifier import ClassifierBundle, class_logits
from calowatch.bundle.novelty import energy
from calowatch.core.errors import InputError
from calowatch.core.progress import SILENT, Progress
from calowatch.data.images import ImageData
from calowatch.models.classical import ArrayModel

__all__ = ["check_knows_its_own", "novelty_scores", "penultimate"]

Images = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


def penultimate(bundle: ClassifierBundle, images: Images, scalars: Images) -> npt.NDArray[np.float32] | None:
    """Return what the last layer sees of prepared input, [image, feature]; None for classical models."""
    if isinstance(bundle.network, ArrayModel):
        return None
    last = [m for m in bundle.network.modules() if isinstance(m, torch.nn.Linear)][-1]
    seen: list[torch.Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    device = next(bundle.network.parameters()).device
    try:
        with torch.inference_mode():
            bundle.network(torch.from_numpy(images).to(device), torch.from_numpy(scalars).to(device))
    finally:
        hook.remove()
    features: npt.NDArray[np.float32] = seen[-1].flatten(1).float().cpu().numpy()
    return features


def check_knows_its_own(bundle: ClassifierBundle) -> None:
    """Raise where a classifier has not learned what its own images look like.

    Raises
    ------
    InputError
        When the bundle holds no scores of strangeness.
    """
    if bundle.novelty is None:
        raise InputError(
            bundle.folder or "bundle",
            "a classifier that knows its own images",
            "one without",
            "train it anew",
        )


def novelty_scores(
    bundle: ClassifierBundle, data: ImageData, rows: Ints | None = None, progress: Progress = SILENT
) -> dict[str, npt.NDArray[np.float64]]:
    """Return how strange images are to a classifier, by each score that its bundle holds: higher = stranger.

    Raises
    ------
    InputError
        When the bundle has learned none.
    """
    check_knows_its_own(bundle)
    assert bundle.novelty is not None
    found: dict[str, list[npt.NDArray[np.float64]]] = {}
    pieces = list(data.pieces(rows))
    for piece in progress.track(pieces, "measuring strangeness", len(pieces)):
        read = data.take(piece)
        logits = class_logits(bundle, read["x"], read["scalars"], "float32")
        found.setdefault("energy", []).append(energy(logits))
        x, s = bundle.prepared(read["x"], read["scalars"])
        spaces = {"features": penultimate(bundle, x, s), "image": x.reshape(len(x), -1)}
        for name, cloud in bundle.novelty.clouds.items():
            values = spaces[name]
            assert values is not None
            found.setdefault(name, []).append(cloud.distance(values))
    return {name: np.concatenate(parts) for name, parts in found.items()}
