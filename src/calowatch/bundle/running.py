"""A network of a bundle run by torch."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from calowatch.bundle.expecting import NetworkWindows
from calowatch.bundle.frame import NetworkFrame
from calowatch.bundle.network import NetworkBundle, NetworkParts, frame_of, load_network
from calowatch.models.layers import Network

__all__ = ["network_windows", "windows_of"]

Values = npt.NDArray[np.float32]


def network_windows(folder: Path | str) -> NetworkWindows:
    """Return the network of a bundle behind the common interface."""
    return windows_of(load_network(folder))


def windows_of(network: NetworkBundle | NetworkParts) -> NetworkWindows:
    """Return a network in memory behind the common interface: what a saved one answers, to the bit."""
    frame = network.frame if isinstance(network, NetworkBundle) else frame_of(network)
    return _windows(network.network, frame)


def _windows(network: Network, frame: NetworkFrame) -> NetworkWindows:
    network.eval()
    device = next(network.parameters()).device

    def run(x: Values, n_events: Values) -> Values:
        with torch.inference_mode():
            found = network(torch.from_numpy(x).to(device), torch.from_numpy(n_events).to(device))
        answer: Values = found.values.cpu().numpy()
        return answer

    return NetworkWindows(frame, run)
