"""The dict of networks by name. Importing this loads no torch: names are resolved when a network is built."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from calowatch.core.errors import InputError, UnknownNameError, nearest
from calowatch.models.geometry import Geometry

if TYPE_CHECKING:
    from calowatch.models.layers import Network

__all__ = ["MODELS", "WRAPPERS", "Entry", "NetworkRequest", "build", "find_model"]

_ROOM = "calowatch.models."


@dataclass(frozen=True)
class Entry:
    """One network of the dict.

    Parameters
    ----------
    network, options
        ``"module:Class"`` within this room, of the network and of the dataclass of its options.
    given
        Options that make this entry what it is.
    predicts
        Prepared occupancy, or the logit of the probability of a digi.
    paper
        Where it comes from; empty for our own.
    graph
        Needs the edges of a geometry.
    rotation
        Rotating its input by whole readout boxes (4 columns of 5 degrees) rotates its answer, by construction.
    """

    network: str
    options: str
    given: Mapping[str, Any] = field(default_factory=dict)
    predicts: Literal["occupancy", "logit"] = "occupancy"
    paper: str = ""
    graph: bool = False
    rotation: bool = False


def _source(*, residual: bool, variational: bool, bottleneck: str, graph: bool = False) -> Entry:
    given = {"residual": residual, "variational": variational, "bottleneck": bottleneck, "graph": graph}
    return Entry(
        "cnn:ConvAutoencoder",
        "cnn:ConvOptions",
        MappingProxyType(given),
        paper="arXiv 2311.04190",
        graph=graph,
    )


MODELS: Mapping[str, Entry] = MappingProxyType(
    {
        "cnn-ae-fnn": _source(residual=False, variational=False, bottleneck="fnn"),
        "cnn-ae-rnn": _source(residual=False, variational=False, bottleneck="rnn"),
        "cnn-ae-gru": _source(residual=False, variational=False, bottleneck="gru"),
        "cnn-ae-lstm": _source(residual=False, variational=False, bottleneck="lstm"),
        "cnn-vae-fnn": _source(residual=False, variational=True, bottleneck="fnn"),
        "cnn-vae-rnn": _source(residual=False, variational=True, bottleneck="rnn"),
        "cnn-vae-gru": _source(residual=False, variational=True, bottleneck="gru"),
        "cnn-vae-lstm": _source(residual=False, variational=True, bottleneck="lstm"),
        "rescnn-ae-fnn": _source(residual=True, variational=False, bottleneck="fnn"),
        "rescnn-ae-rnn": _source(residual=True, variational=False, bottleneck="rnn"),
        "rescnn-ae-gru": _source(residual=True, variational=False, bottleneck="gru"),
        "rescnn-ae-lstm": _source(residual=True, variational=False, bottleneck="lstm"),
        "rescnn-vae-fnn": _source(residual=True, variational=True, bottleneck="fnn"),
        "rescnn-vae-rnn": _source(residual=True, variational=True, bottleneck="rnn"),
        "rescnn-vae-gru": _source(residual=True, variational=True, bottleneck="gru"),
        "rescnn-vae-lstm": _source(residual=True, variational=True, bottleneck="lstm"),
        "graphstad-cnn-ae-fnn": _source(residual=False, variational=False, bottleneck="fnn", graph=True),
        "graphstad-cnn-ae-rnn": _source(residual=False, variational=False, bottleneck="rnn", graph=True),
        "graphstad-cnn-ae-gru": _source(residual=False, variational=False, bottleneck="gru", graph=True),
        "graphstad-cnn-ae-lstm": _source(residual=False, variational=False, bottleneck="lstm", graph=True),
        "graphstad-cnn-vae-fnn": _source(residual=False, variational=True, bottleneck="fnn", graph=True),
        "graphstad-cnn-vae-rnn": _source(residual=False, variational=True, bottleneck="rnn", graph=True),
        "graphstad-cnn-vae-gru": _source(residual=False, variational=True, bottleneck="gru", graph=True),
        "graphstad-cnn-vae-lstm": _source(residual=False, variational=True, bottleneck="lstm", graph=True),
        "graphstad-rescnn-ae-fnn": _source(residual=True, variational=False, bottleneck="fnn", graph=True),
        "graphstad-rescnn-ae-rnn": _source(residual=True, variational=False, bottleneck="rnn", graph=True),
        "graphstad-rescnn-ae-gru": _source(residual=True, variational=False, bottleneck="gru", graph=True),
        "graphstad-rescnn-ae-lstm": _source(residual=True, variational=False, bottleneck="lstm", graph=True),
        "graphstad-rescnn-vae-fnn": _source(residual=True, variational=True, bottleneck="fnn", graph=True),
        "graphstad-rescnn-vae-rnn": _source(residual=True, variational=True, bottleneck="rnn", graph=True),
        "graphstad-rescnn-vae-gru": _source(residual=True, variational=True, bottleneck="gru", graph=True),
        "graphstad-rescnn-vae-lstm": _source(residual=True, variational=True, bottleneck="lstm", graph=True),
        "depthvit": Entry("depthvit:DepthViT", "depthvit:DepthViTOptions", paper="arXiv 2603.02369"),
        "binomial": Entry(
            "binomial:BinomialNetwork", "binomial:BinomialOptions", predicts="logit", rotation=True
        ),
        "binomial-response": Entry(
            "binomial:BinomialNetwork",
            "binomial:BinomialOptions",
            MappingProxyType({"response": True}),
            predicts="logit",
        ),
    }
)
"""All networks by name. The source system's deployed one is ``cnn-vae-lstm`` within ``rin`` and ``dc``."""

WRAPPERS: Mapping[str, str] = MappingProxyType(
    {"rin": "rin:ReversibleNormalisation", "dc": "dc:DimensionCompression"}
)
"""What goes round a network, by name; `rin` goes round networks that predict occupancy only."""


@dataclass(frozen=True)
class NetworkRequest:
    """Which network to build.

    Parameters
    ----------
    name
        One of `MODELS`.
    wrappers
        Some of `WRAPPERS`, the outermost first.
    options
        Options of the network other than its name gives, such as ``{"latent": 32}``.
    """

    name: str
    wrappers: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


def _resolve(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(import_module(_ROOM + module), name)


def find_model(name: str) -> Entry:
    """Return an entry by its name.

    Raises
    ------
    UnknownNameError
        When there is no such network.

    Examples
    --------
    >>> find_model("cnn-vae-lstm").paper
    'arXiv 2311.04190'
    """
    if name not in MODELS:
        raise UnknownNameError(
            f"model {name!r}", f"one of {', '.join(MODELS)}", "none such", nearest(name, MODELS)
        )
    return MODELS[name]


def build(request: NetworkRequest, geometry: Geometry) -> "Network":
    """Return a network with weights as torch draws them: seed torch beforehand.

    Raises
    ------
    InputError
        For options that the network does not have, wrappers that do not fit it, a geometry without the edges it needs.
    UnknownNameError
        For a network or wrapper that does not exist.
    """
    entry = find_model(request.name)
    for wrapper in request.wrappers:
        if wrapper not in WRAPPERS:
            raise UnknownNameError(
                f"wrapper {wrapper!r}",
                f"one of {', '.join(WRAPPERS)}",
                "none such",
                nearest(wrapper, WRAPPERS),
            )
    if not entry.graph:
        geometry = Geometry(geometry.mask)  # folding edges takes seconds
    if request.wrappers:
        inside = geometry.folded() if request.wrappers[0] == "dc" else geometry
        inner = build(NetworkRequest(request.name, request.wrappers[1:], request.options), inside)
        wrapped: Network = _resolve(WRAPPERS[request.wrappers[0]])(geometry, inner)
        return wrapped
    kind = _resolve(entry.options)
    known = sorted(set(kind.__dataclass_fields__) - set(entry.given))
    for name in request.options:
        if name not in known:
            raise InputError(
                f"options.{name}", f"one of {', '.join(known)}", "none such", nearest(name, known)
            )
    network: Network = _resolve(entry.network)(geometry, kind(**entry.given, **request.options))
    return network
