"""Networks as ONNX: one file that runs without torch, beside the weights in the bundle."""

import copy
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from calowatch.bundle.exported import ONNX_FILE, exported_windows
from calowatch.bundle.frame import NetworkFrame
from calowatch.bundle.manifest import amended
from calowatch.bundle.network import load_network
from calowatch.bundle.running import windows_of
from calowatch.core.errors import InputError
from calowatch.models.cnn import ConvAutoencoder
from calowatch.models.layers import Network

__all__ = ["export_onnx"]

_LOGGERS = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")
_RTOL, _ATOL = 1e-4, 1e-5


def export_onnx(folder: Path | str) -> Path:
    """Write ``model.onnx`` into a network's bundle, and return its path.

    The batch may have any size, the window is the bundle's. Products with the sparse matrix of a graph, which ONNX does
    not have, become dense products over its connected parts. What was written is loaded and compared with the network
    before it is kept.

    Raises
    ------
    InputError
        When there is no such bundle, or the exported network answers otherwise than the network does.
    """
    folder = Path(folder)
    bundle = load_network(folder)
    with amended(folder) as scratch:
        _write(scratch / ONNX_FILE, bundle.network, bundle.frame)
    try:
        _compare(folder)
    except InputError:
        with amended(folder) as scratch:
            (scratch / ONNX_FILE).unlink()
        raise
    return folder / ONNX_FILE


def _compare(folder: Path) -> None:
    """Raise InputError unless both forms of a network agree on windows as a detector gives them."""
    mine, theirs = windows_of(load_network(folder)), exported_windows(folder)
    rng = np.random.default_rng(0)
    n_events = rng.integers(500, 1000, (3, mine.window))
    p = rng.uniform(0.05, 0.9, len(mine.channel))
    counts = rng.binomial(n_events[..., None], p)
    found, expected = (model.predict_windows(counts, n_events).p for model in (theirs, mine))
    if not np.allclose(found, expected, rtol=_RTOL, atol=_ATOL):
        raise InputError(
            f"{mine.name} as ONNX",
            "the answers of the network",
            f"others, by up to {np.abs(found - expected).max():.2g}",
            "use the bundle without its exported form",
        )


class _Answer(nn.Module):
    """A network whose answer is one tensor."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, n_events: Tensor) -> Tensor:
        found: Tensor = self.network(x, n_events).values
        return found


def _write(path: Path, network: Network, frame: NetworkFrame) -> None:
    portable = copy.deepcopy(network).eval()
    for module in list(portable.modules()):
        if isinstance(module, ConvAutoencoder) and module.graph is not None:
            # Loads torch_geometric, which other networks do without.
            from calowatch.bundle.export_graph import DenseGraph  # noqa: PLC0415

            module.graph = DenseGraph(module.graph)  # type: ignore[assignment]
    x = torch.rand(2, frame.window, *network.shape)
    batch = {0: torch.export.Dim("batch")}
    with _quiet():
        torch.onnx.export(
            _Answer(portable),
            (x, torch.full(x.shape[:2], 1000.0)),
            path,
            input_names=["x", "n_events"],
            output_names=["values"],
            dynamic_shapes=(batch, batch),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's talk about its own progress off the user's screen."""
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    try:
        for name in levels:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
