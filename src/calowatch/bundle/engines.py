"""Ways of computing a classifier: the same numbers, quicker where a few digits may go."""

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from calowatch.bundle.classifier_onnx import open_onnx
from calowatch.core.errors import InputError
from calowatch.models.classical import ArrayModel
from calowatch.models.classifier import Classifier

__all__ = ["ONNX_FILES", "ClassifyMode", "Engine", "open_engine"]

ONNX_FILES = MappingProxyType({"onnx": "classifier.onnx", "int8": "classifier-int8.onnx"})
"""Exported forms by mode, as `calowatch.bundle.classifier_onnx.export_classifier` names them."""

Images = npt.NDArray[np.float32]
ClassifyMode = Literal["auto", "float32", "bfloat16", "onnx", "int8"]
Engine = Callable[[Images, Images], Images]
"""From prepared images and scalars to the network's logits, [image, output]."""


def open_engine(network: Classifier | ArrayModel, mode: ClassifyMode, folder: Path | None = None) -> Engine:
    """Return what computes logits in a mode.

    Parameters
    ----------
    network
        The network or model.
    mode
        ``auto`` is ``onnx`` where the bundle holds that form, for a network on the CPU; else ``float32``.
    folder
        Of the bundle, with its exported forms; None in memory.

    Raises
    ------
    InputError
        For a mode that this bundle does not have.
    """
    if isinstance(network, ArrayModel):
        if mode not in ("auto", "float32"):
            raise InputError("mode", "auto or float32 for a classical model", mode, "leave it out")
        return network.logits
    if mode == "auto":
        on_cpu = next(network.parameters()).device.type == "cpu"
        mode = (
            "onnx" if on_cpu and folder is not None and (folder / ONNX_FILES["onnx"]).is_file() else "float32"
        )
    if mode in ONNX_FILES:
        path = None if folder is None else folder / ONNX_FILES[mode]
        if path is None or not path.is_file():
            raise InputError(
                f"mode {mode}",
                f"a bundle with {ONNX_FILES[mode]}",
                "one without",
                "choose float32 or bfloat16",
            )
        return open_onnx(path)
    return _by_torch(network, half=mode == "bfloat16")


def _by_torch(network: Classifier, *, half: bool) -> Engine:
    device = next(network.parameters()).device

    def engine(images: Images, scalars: Images) -> Images:
        x, s = torch.from_numpy(images).to(device), torch.from_numpy(scalars).to(device)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=half):
            found: Images = network(x, s).logits.float().cpu().numpy()
        return found

    return engine
