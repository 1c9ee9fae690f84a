"""The bundle of a network that predicts occupancy: manifest, weights as tensors, preparation, the score's sigma.

==============================  ======================================================================================
``manifest.json``               schema, kind ``network``, request, layout, era, window, hash of the segmentation,
                                SHA-256 of every other file, training, provenance
``weights.safetensors``         parameters and buffers by name
``edges.npz``                   pairs of cells that a graph network joins, each once; kept, since wiring may change
``preparation.json``, ``.npz``  from counts to what the network sees
``score_sigma.npz``             standard deviation of each channel's window error on training data
==============================  ======================================================================================
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from calowatch.bundle.frame import NetworkFrame, load_frame
from calowatch.bundle.manifest import MANIFEST, hashes, open_manifest, read_arrays
from calowatch.core.errors import FormatError, InputError
from calowatch.core.files import atomic_directory, write_json
from calowatch.data.preparation import Preparation
from calowatch.detector.grids import cell_index, find_layout
from calowatch.detector.index import channel_columns
from calowatch.detector.table import segmentation_hash
from calowatch.models.api import NetworkRequest, build, find_model
from calowatch.models.geometry import Geometry
from calowatch.models.layers import Network

__all__ = ["NetworkBundle", "NetworkParts", "frame_of", "load_network", "save_network"]

KIND = "network"
SCHEMA = 1

_WEIGHTS = "weights.safetensors"
_EDGES = "edges.npz"


@dataclass(frozen=True, eq=False)
class NetworkParts:
    """What makes a bundle.

    Parameters
    ----------
    network
        Trained.
    request
        What `calowatch.models.api.build` made it from.
    layout, era
        The grid, and which channels there are.
    window
        Lumisections that it sees together.
    channel
        Channel numbers of the data set's columns in this layout (channel,).
    preparation
        Of these channels; those that it masks are answered for by nobody.
    score_sigma
        Standard deviation over training windows of the window's mean absolute error, shape (channel,); see
        `calowatch.bundle.expecting.training_sigma`.
    loss
        What it was trained by: reconstruction or binomial.
    training
        Whatever tells how it was trained, ready for JSON.
    edges
        Of the geometry it was built with, for graph networks.
    """

    network: Network
    request: NetworkRequest
    layout: str
    era: str
    window: int
    channel: npt.NDArray[np.int64]
    preparation: Preparation
    score_sigma: npt.NDArray[np.float64]
    loss: str
    training: Mapping[str, Any] = field(default_factory=dict)
    edges: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False)
class NetworkBundle:
    """A network with what stands around it.

    Parameters
    ----------
    network
        In evaluation mode.
    request
        What it was built from.
    frame
        Channels, preparation, sigma of the score.
    manifest
        What is written beside them.
    folder
        Where it lies.
    """

    network: Network
    request: NetworkRequest
    frame: NetworkFrame
    manifest: Mapping[str, Any]
    folder: Path

    @property
    def era(self) -> str:
        """Era of the channels."""
        return self.frame.era


def _full_name(request: NetworkRequest) -> str:
    return "+".join([request.name, *request.wrappers])


def frame_of(parts: NetworkParts) -> NetworkFrame:
    """Return what stands around a network: for its channels that are neither masked nor outside the network's mask.

    Raises
    ------
    InputError
        When channels, preparation and sigma are not of one length, or the grid is not the network's.
    """
    n = len(parts.channel)
    shape = find_layout(parts.layout).shape
    if not np.array_equal(parts.preparation.channel, parts.channel) or parts.score_sigma.shape != (n,):
        raise InputError(
            "bundle",
            f"preparation and score_sigma of the same {n} channels",
            f"{len(parts.preparation.channel)} and {parts.score_sigma.shape}",
            "restrict the preparation to the layout's channels",
        )
    if parts.network.shape != shape:
        raise InputError("bundle", f"a network for {shape}", str(parts.network.shape), "name its own layout")
    cells = cell_index(channel_columns(parts.channel), parts.layout)
    lit = parts.network.mask.detach().cpu().numpy().ravel()[cells]
    good = lit & parts.preparation.mask
    n_parameters = sum(values.numel() for values in parts.network.parameters())
    return NetworkFrame(
        _full_name(parts.request),
        n_parameters,
        parts.network.predicts,
        parts.layout,
        parts.era,
        parts.window,
        parts.preparation.restrict(good),
        np.asarray(parts.score_sigma, np.float64)[good],
    )


def save_network(
    folder: Path | str, parts: NetworkParts, manifest_extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write a network as a bundle, and return its manifest.

    Parameters
    ----------
    folder
        The bundle's folder; an earlier bundle there is replaced, anything else is left alone.
    parts
        What to save.
    manifest_extra
        What to record besides: ``provenance``, ``runs`` and the like.

    Raises
    ------
    InputError
        When weights are not numbers, parts do not fit together, or a graph network comes without its edges.
    ConflictError
        When something that is no bundle stands in the way.
    """
    frame = frame_of(parts)
    weights = {
        name: values.detach().cpu().contiguous() for name, values in parts.network.state_dict().items()
    }
    if bad := _not_numbers(weights):
        raise InputError("network", "weights that are numbers", f"NaN or infinity in {bad}", "train it anew")
    if find_model(parts.request.name).graph and parts.edges is None:
        raise InputError("bundle", "the edges of a graph network", "none", "give those of its geometry")
    with atomic_directory(folder, marker=MANIFEST) as scratch:
        save_file(weights, scratch / _WEIGHTS)
        if parts.edges is not None:
            _save_edges(scratch / _EDGES, parts.edges)
        frame.save(scratch)
        content = {
            "schema": SCHEMA,
            "kind": KIND,
            **frame.entries(),
            "request": {
                "name": parts.request.name,
                "wrappers": list(parts.request.wrappers),
                "options": dict(parts.request.options),
            },
            "loss": parts.loss,
            "training": dict(parts.training),
            "segmentation": segmentation_hash(parts.era),
            **(manifest_extra or {}),
            "sha256": hashes(scratch),
        }
        write_json(scratch / MANIFEST, content)
    return content


def load_network(folder: Path | str) -> NetworkBundle:
    """Read the bundle of a network; torch's random numbers stay as they are.

    Raises
    ------
    FormatError
        When the folder holds no bundle of a network, or a broken one.
    ConflictError
        When the segmentation it was made for is not the one of this program.
    """
    folder = Path(folder)
    manifest = open_manifest(folder, (KIND,), SCHEMA)
    frame = load_frame(folder, manifest)
    request = _request(folder, manifest)
    try:
        weights = load_file(folder / _WEIGHTS)
        mask = weights["mask"].numpy().astype(np.bool_)
        edges = _load_edges(folder / _EDGES) if find_model(request.name).graph else None
        with torch.random.fork_rng(devices=[]):
            network = build(request, Geometry(mask, edges))
        network.load_state_dict(weights)
    except (OSError, SafetensorError, LookupError, ValueError, TypeError, RuntimeError) as error:
        raise FormatError(
            folder, f"the weights of {frame.name}", f"others or damaged ones ({error})", "train it anew"
        ) from error
    if bad := _not_numbers(weights):
        raise FormatError(
            folder / _WEIGHTS, "weights that are numbers", f"NaN or infinity in {bad}", "train it anew"
        )
    # Gradients stay allowed: torch takes other paths without, whose last digit may differ.
    return NetworkBundle(network.eval(), request, frame, manifest, folder)


def _request(folder: Path, manifest: Mapping[str, Any]) -> NetworkRequest:
    try:
        told = manifest["request"]
        return NetworkRequest(str(told["name"]), tuple(map(str, told["wrappers"])), dict(told["options"]))
    except (LookupError, TypeError, ValueError) as error:
        raise FormatError(
            folder / MANIFEST, "name, wrappers and options of a network", "others", "train it anew"
        ) from error


def _not_numbers(weights: Mapping[str, torch.Tensor]) -> str:
    """Return the name of a tensor that is not finite, ``""`` if there is none."""
    for name, values in weights.items():
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            return name
    return ""


def _save_edges(path: Path, edges: npt.NDArray[np.int64]) -> None:
    once = edges[:, edges[0] < edges[1]]
    with path.open("wb") as stream:
        np.savez_compressed(stream, pairs=once.astype(np.int32))


def _load_edges(path: Path) -> npt.NDArray[np.int64]:
    """Return both directions of each pair, sorted, as `calowatch.detector.graph` gives them."""
    once = read_arrays(path)["pairs"].astype(np.int64)
    both = np.concatenate([once, once[::-1]], axis=1)
    found: npt.NDArray[np.int64] = both[:, np.lexsort((both[1], both[0]))]
    return found
