"""Ways of computing a classifier: the same numbers, quicker where a few digits may go."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from calowatch.core.errors import InputError
from calowatch.models.classical import ArrayModel
from calowatch.models.classifier import Classifier

__all__ = ["ClassifyMode", "Engine", "open_engine"]

Images = npt.NDArray[np.float32]
ClassifyMode = Literal["auto", "float32", "bfloat16", "onnx", "int8"]
Engine = Callable[[Images, Images], Images]
"""From prepared images and scalars to the network's logits, [image, output]."""


def open_engine(network: Classifier | ArrayModel, mode: ClassifyMode) -> Engine:
    """Return what computes logits in a mode.

    Raises
    ------
    InputError
        For a mode that there is not.
    """
    if isinstance(network, ArrayModel):
        if mode not in ("auto", "float32"):
            raise InputError("mode", "auto or float32 for a classical model", mode, "leave it out")
        return network.logits
    if mode in ("auto", "float32", "bfloat16"):
        return _by_torch(network, half=mode == "bfloat16")
    raise InputError("mode", "auto, float32 or bfloat16", mode, "choose one of them")


def _by_torch(network: Classifier, *, half: bool) -> Engine:
    device = next(network.parameters()).device

    def engine(images: Images, scalars: Images) -> Images:
        x, s = torch.from_numpy(images).to(device), torch.from_numpy(scalars).to(device)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=half):
            found: Images = network(x, s).logits.float().cpu().numpy()
        return found

    return engine
