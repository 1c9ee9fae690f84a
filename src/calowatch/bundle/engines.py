"""Ways of computing a classifier: the same numbers, quicker where a few digits may go."""

import json
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from calowatch.bundle.classifier_onnx import multiplies_bytes, open_onnx
from calowatch.core.errors import InputError
from calowatch.models.classical import ArrayModel
from calowatch.models.classifier import Classifier

__all__ = ["EXPORTED", "ONNX_FILES", "TRUSTED", "ClassifyMode", "Engine", "open_engine"]

ONNX_FILES = MappingProxyType({"onnx": "classifier.onnx", "int8": "classifier-int8.onnx"})
"""Exported forms by mode, as `calowatch.bundle.classifier_onnx.export_classifier` names them."""

EXPORTED = "exported.json"
"""How far the exported forms of a bundle are from its network."""

TRUSTED = 0.01
"""Change of a class probability, the largest of all compared images, up to which 8 bits are taken unasked."""

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
        ``auto`` is, for a network on the CPU, the quickest form that the bundle holds: ``int8`` where it was found to
        change no probability by more than `TRUSTED` and the processor is made for it, else ``onnx``; else ``float32``.
    folder
        Of the bundle, with its exported forms; None in memory.

    Raises
    ------
    InputError
        For a mode that this bundle or processor does not have.
    """
    if isinstance(network, ArrayModel):
        if mode not in ("auto", "float32"):
            raise InputError("mode", "auto or float32 for a classical model", mode, "leave it out")
        return network.logits
    if mode == "auto":
        mode = _quickest(next(network.parameters()).device, folder)
    if mode == "int8" and not multiplies_bytes():
        raise InputError("mode int8", "a processor with VNNI", "one without", "choose onnx or float32")
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


def _quickest(device: torch.device, folder: Path | None) -> ClassifyMode:
    if device.type != "cpu" or folder is None or not (folder / ONNX_FILES["onnx"]).is_file():
        return "float32"
    if not (folder / ONNX_FILES["int8"]).is_file() or not multiplies_bytes():
        return "onnx"
    told = folder / EXPORTED
    compared = json.loads(told.read_text()).get("int8", {}) if told.is_file() else {}
    return "int8" if compared.get("largest_difference", 1.0) <= TRUSTED else "onnx"


def _by_torch(network: Classifier, *, half: bool) -> Engine:
    device = next(network.parameters()).device

    def engine(images: Images, scalars: Images) -> Images:
        x, s = torch.from_numpy(images).to(device), torch.from_numpy(scalars).to(device)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=half):
            found: Images = network(x, s).logits.float().cpu().numpy()
        return found

    return engine
