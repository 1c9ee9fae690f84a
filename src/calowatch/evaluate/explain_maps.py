"""Where a classifier looks: maps of attention, integrated gradients and occlusion, one number per cell of the image.

Every map is of one image and one class, [row, column]; larger means more in favour of that class (attention knows no
against). NaN is what the network does not see.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import IntegratedGradients, Occlusion
from torch import Tensor

from calowatch.bundle.classifier import ClassifierBundle
from calowatch.bundle.engines import open_engine
from calowatch.core.errors import InputError, UnknownNameError, nearest
from calowatch.evaluate.explain_attention import gradient_attention, is_constant, last_block, rollout
from calowatch.models.classical import Linear
from calowatch.models.classifier import Classifier, Scores
from calowatch.models.classifiers import CLASSIFIERS, build_classifier
from calowatch.models.point_transformer import PointTransformer
from calowatch.models.vit import ViT

__all__ = [
    "ATTENTION",
    "METHODS",
    "MapSettings",
    "ToExplain",
    "attention_of",
    "class_score",
    "expert_shares",
    "explain_images",
    "methods_of",
    "randomised",
    "seen_cells",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Images = npt.NDArray[np.float32]

METHODS = MappingProxyType(
    {
        "cls": "attention of the last block",
        "rollout": "attention rollout",
        "gradient": "gradient-weighted attention",
        "integrated": "integrated gradients",
        "occlusion": "occlusion",
    }
)
"""Names of the methods, and what to call them."""

ATTENTION = ("cls", "rollout", "gradient")
"""Methods that need attention."""


@dataclass(frozen=True, eq=False)
class ToExplain:
    """Images and the class of each that is explained.

    Parameters
    ----------
    images
        As read, [image, channel, row, column].
    scalars
        Numbers beside them as read, [image, scalar].
    target
        Class whose log-odds are explained, [image].
    """

    images: npt.NDArray[Any]
    scalars: npt.NDArray[Any]
    target: Ints

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True, eq=False)
class MapSettings:
    """How maps are made.

    Parameters
    ----------
    baseline
        What stands for "nothing there", as read, [channel, row, column]: where integrated gradients start, and what
        occlusion puts in.
    steps
        Of integrated gradients.
    window
        Rows and columns that occlusion hides together; None for the network's patch, else 4 x 4.
    batch
        Images at a time.
    """

    baseline: npt.NDArray[Any]
    steps: int = 32
    window: tuple[int, int] | None = None
    batch: int = 16


def methods_of(bundle: ClassifierBundle, wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the methods that a classifier can be explained by: those wanted, or all that it offers.

    Raises
    ------
    UnknownNameError
        For a method that there is not.
    InputError
        For a method that this classifier does not offer.
    """
    entry = CLASSIFIERS.get(bundle.name)
    offered = [name for name in METHODS if name not in ATTENTION or (entry is not None and entry.attention)]
    if not isinstance(bundle.network, Classifier | Linear):
        offered = ["occlusion"]
    for name in wanted:
        if name not in METHODS:
            raise UnknownNameError("--method", f"one of {', '.join(METHODS)}", name, nearest(name, METHODS))
        if name not in offered:
            lack = "no attention" if name in ATTENTION else "no gradients"
            raise InputError(
                _where(bundle),
                f"a classifier that offers {METHODS[name]}",
                f"{bundle.name}, which has {lack}",
                f"use --method {' or '.join(offered)}",
            )
    return tuple(dict.fromkeys(wanted)) or tuple(offered)


def _where(bundle: ClassifierBundle) -> str:
    return bundle.name if bundle.folder is None else bundle.folder.name


def class_score(logits: Tensor, target: Tensor) -> Tensor:
    """Return the log-odds of one class per image, [image], of logits [image, output]; one output is class 1's."""
    if logits.shape[1] == 1:
        return logits[:, 0] * (2.0 * target.to(logits.dtype) - 1.0)
    own = torch.nn.functional.one_hot(target, logits.shape[1]).bool()
    return logits[own] - torch.logsumexp(logits.masked_fill(own, -torch.inf), dim=1)


def attention_of(bundle: ClassifierBundle, images: Tensor, scalars: Tensor, *, check: bool = True) -> Scores:
    """Return scores with the attention of every block, part of the graph, by the explicit path.

    Parameters
    ----------
    bundle
        The classifier.
    images, scalars
        Prepared.
    check
        Refuse attention that prefers nothing; a network with random weights may do so.

    Raises
    ------
    InputError
        When there is none, rows do not sum to one, or attention is constant: the same for every token in all blocks,
        heads and images.
    """
    network = bundle.network
    assert isinstance(network, Classifier)
    scores: Scores = network(images, scalars, attention=True)
    if not scores.attention or any(not one.numel() for one in scores.attention):
        raise InputError(
            _where(bundle), "attention of each block", "empty attention", "explain by integrated or occlusion"
        )
    weights = [one.detach() for one in scores.attention]
    if not all(bool(torch.allclose(one.sum(-1), one.new_ones(()), atol=1e-4)) for one in weights):
        raise InputError(
            _where(bundle), "attention whose rows sum to one", "rows that do not", "train the network again"
        )
    if check and all(is_constant(one) for one in weights):
        raise InputError(
            _where(bundle),
            "attention that prefers some tokens",
            "constant attention: the same for every token in all blocks",
            "explain by integrated or occlusion, or train the network longer",
        )
    return scores


def explain_images(
    bundle: ClassifierBundle,
    method: str,
    given: ToExplain,
    settings: MapSettings,
    *,
    check: bool = True,
) -> Floats:
    """Return one map per image, [image, row, column]; NaN where the network sees nothing.

    Parameters
    ----------
    bundle
        The classifier.
    method
        One of `METHODS`.
    given
        The images.
    settings
        How.
    check
        Refuse maps that prefer nothing.

    Raises
    ------
    InputError
        When the classifier does not offer the method, or for empty or constant attention (`attention_of`), or maps
        that are constant in every image.
    """
    methods_of(bundle, (method,))
    maps = []
    for first in range(0, len(given), settings.batch):
        here = slice(first, first + settings.batch)
        x, s = (torch.from_numpy(one) for one in bundle.prepared(given.images[here], given.scalars[here]))
        y = torch.from_numpy(np.asarray(given.target[here], np.int64))
        if method in ATTENTION:
            maps.append(_by_attention(bundle, method, (x, s, y), check=check))
        else:
            maps.append(_by_captum(bundle, method, (x, s, y), settings))
    found = np.concatenate(maps)
    if check and not any(np.nanmax(one) - np.nanmin(one) > 0 for one in found):
        raise InputError(
            _where(bundle),
            "a map that prefers some cells",
            f"constant {METHODS[method]} in every image",
            "choose another --method, or train the network longer",
        )
    return found


def _by_attention(
    bundle: ClassifierBundle, method: str, given: tuple[Tensor, Tensor, Tensor], *, check: bool
) -> Floats:
    network, (x, s, y) = bundle.network, given
    assert isinstance(network, Classifier)
    with torch.set_grad_enabled(method == "gradient"):
        scores = attention_of(bundle, x.requires_grad_(method == "gradient"), s, check=check)
        first = 1 if isinstance(network, PointTransformer) else int(getattr(network, "first_patch", 0))
        if method == "gradient":
            score = class_score(scores.logits, y).sum()
            gradients = torch.autograd.grad(score, scores.attention)
            weights = gradient_attention([one.detach() for one in scores.attention], gradients, first)
        else:
            weights = (last_block if method == "cls" else rollout)(scores.attention, first)
    return _placed(network, x.detach(), weights[:, first:].detach())


def _placed(network: Classifier, x: Tensor, weights: Tensor) -> Floats:
    """Return what belongs to tokens, [image, token], on the grid of the image; NaN where there is no token."""
    n, (rows, columns) = len(x), x.shape[2:]
    found = np.full((n, rows, columns), np.nan)
    values = weights.cpu().numpy().astype(np.float64)
    if isinstance(network, ViT):
        (high, wide), (deep, broad) = network.patches.tiles, network.patches.patch
        spread = values.reshape(n, high, wide).repeat(deep, axis=1).repeat(broad, axis=2)
        covered = spread[:, :rows, :columns]
        found[:, : covered.shape[1], : covered.shape[2]] = covered
    elif isinstance(network, PointTransformer):
        hits = network.hits(x)
        image, hit = np.nonzero(hits.real.numpy())
        found[image, hits.row.numpy()[image, hit], hits.column.numpy()[image, hit]] = values[image, hit]
    else:
        raise TypeError(f"{type(network).__name__} does not tell where its tokens lie")
    return found


def seen_cells(bundle: ClassifierBundle) -> npt.NDArray[np.bool_]:
    """Return which cells of the image patches cover, [row, column]; all of them for networks without patches."""
    g, network = bundle.geometry, bundle.network
    seen = np.ones((g.rows, g.columns), bool)
    if isinstance(network, ViT):
        (high, wide), (deep, broad) = network.patches.tiles, network.patches.patch
        seen[high * deep :] = False
        seen[:, wide * broad :] = False
    return seen


def _by_captum(
    bundle: ClassifierBundle, method: str, given: tuple[Tensor, Tensor, Tensor], settings: MapSettings
) -> Floats:
    x, s, y = given
    nothing = torch.from_numpy(
        bundle.prepared(settings.baseline[None], s.new_zeros(1, s.shape[1]).numpy())[0]
    )
    start = nothing.expand_as(x).contiguous()
    if method == "integrated":
        found = IntegratedGradients(_scorer(bundle)).attribute(
            x,
            baselines=start,
            additional_forward_args=(s, y),
            n_steps=settings.steps,
            internal_batch_size=max(64, len(x)),
        )
    else:
        window = (x.shape[1], *_window(bundle, settings))
        with torch.no_grad():
            found = Occlusion(_scorer(bundle)).attribute(
                x,
                sliding_window_shapes=window,
                strides=window,
                baselines=start,
                additional_forward_args=(s, y),
                perturbations_per_eval=8,
            )
    maps: Floats = found.detach().sum(1).numpy().astype(np.float64)
    if not np.isfinite(maps).all():
        raise InputError(_where(bundle), "finite attributions", "NaN", "train the network again")
    maps[:, ~seen_cells(bundle)] = np.nan
    return maps


def _window(bundle: ClassifierBundle, settings: MapSettings) -> tuple[int, int]:
    g = bundle.geometry
    rows, columns = settings.window or (
        bundle.network.patches.patch if isinstance(bundle.network, ViT) else (4, 4)
    )
    return min(rows, g.rows), min(columns, g.columns)


def _scorer(bundle: ClassifierBundle) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    network = bundle.network
    if isinstance(network, Classifier):
        return lambda x, s, y: class_score(network(x, s).logits, y)
    if isinstance(network, Linear):
        weights, bias = (torch.from_numpy(one).float() for one in (network.weights, network.bias))
        return lambda x, s, y: class_score(torch.cat([x.flatten(1), s], dim=1) @ weights.T + bias, y)
    engine = open_engine(network, "float32", bundle.folder)
    return lambda x, s, y: class_score(torch.from_numpy(engine(x.numpy(), s.numpy())), y)


def randomised(bundle: ClassifierBundle, seed: int) -> ClassifierBundle | None:
    """Return the same classifier with weights as before any training; None for one without layers."""
    if not isinstance(bundle.network, Classifier):
        return None
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        network = build_classifier(bundle.name, bundle.geometry, bundle.recipe.network.options)
    return replace(bundle, network=network.eval())


@torch.no_grad()
def expert_shares(
    bundle: ClassifierBundle, images: npt.NDArray[Any], scalars: npt.NDArray[Any]
) -> Floats | None:
    """Return the share of each patch that goes to each expert, [image, block, expert, row, column].

    None for networks without experts; NaN where there is no patch. Images and scalars as read.
    """
    network = bundle.network
    if not isinstance(network, ViT):
        return None
    x, s = (torch.from_numpy(one) for one in bundle.prepared(images, scalars))
    routing = network(x, s).routing
    if not routing:
        return None
    experts = range(routing[0].shape[2])
    first = network.first_patch
    return np.stack(
        [np.stack([_placed(network, x, one[:, first:, e]) for e in experts], axis=1) for one in routing],
        axis=1,
    )
