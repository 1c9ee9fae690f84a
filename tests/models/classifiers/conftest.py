"""Every classifier of the dict in a variant that takes milliseconds, and images with many zeros for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from calowatch.models.classifiers import CLASSIFIERS, ImageGeometry, build_classifier

_CROP = ImageGeometry(2, 12, 16)
_SMALL = {"dim": 8, "layers": 2, "heads": 2, "mlp": 12}
_EXPERTS = {**_SMALL, "patch": (4, 4), "experts": 3}


@dataclass(frozen=True)
class Tiny:
    """One variant."""

    name: str
    geometry: ImageGeometry
    options: Mapping[str, Any] = field(default_factory=dict)


TINY = {
    "vit": Tiny("vit", ImageGeometry(1, 12, 16, outputs=1), {**_SMALL, "patch": (3, 4), "head": (6,)}),
    "vit-class": Tiny(
        "vit", ImageGeometry(2, 12, 16, 1, 3), {**_SMALL, "patch": (4, 5), "pool": "class", "edge": "crop"}
    ),
    "vit-flatten": Tiny("vit", _CROP, {**_SMALL, "patch": (5, 7), "pool": "flatten", "edge": "pad"}),
    "moe-vit": Tiny("moe-vit", _CROP, {**_EXPERTS, "experts": 2}),
    "moe-vit-top-k": Tiny("moe-vit", _CROP, {**_EXPERTS, "router": "top-k", "k": 2}),
    "moe-vit-top-1": Tiny("moe-vit", _CROP, {**_EXPERTS, "router": "top-k", "experts": 2}),
    "moe-vit-expert-choice": Tiny("moe-vit", _CROP, {**_EXPERTS, "router": "expert-choice", "capacity": 1.5}),
    "moe-vit-soft": Tiny("moe-vit", _CROP, {**_EXPERTS, "router": "soft"}),
    "cnn": Tiny("cnn", ImageGeometry(1, 12, 16, 1), {"widths": (3, 4), "head": (5,), "wrap": True}),
    "egamma-two-branch": Tiny("egamma-two-branch", _CROP),
    "egamma-two-channel": Tiny("egamma-two-channel", _CROP),
    "egamma-vit": Tiny("egamma-vit", _CROP),
    "jets-three-input": Tiny("jets-three-input", ImageGeometry(3, 15, 20, 2)),
    "resnet15": Tiny("resnet15", ImageGeometry(3, 24, 24), {"widths": (3, 6), "blocks": 2}),
    "convnet": Tiny("convnet", ImageGeometry(2, 12, 16, 2), {"widths": (4, 6), "blocks": 1, "head": (5,)}),
    "runs-net": Tiny("runs-net", ImageGeometry(1, 12, 16)),
    "point-transformer": Tiny(
        "point-transformer", _CROP, {**_SMALL, "points": 10, "bright": (0,), "head": (5,)}
    ),
}
"""Variants by a name of their own; together they are of every classifier of the dict."""


def build_tiny(variant: str, seed: int = 0):
    """Return a variant with seeded weights, one-dimensional ones too, so that none hides behind a zero."""
    made = TINY[variant]
    torch.manual_seed(seed)
    network = build_classifier(made.name, made.geometry, made.options)
    draw = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for values in network.parameters():
            values.add_(0.2 * torch.randn(values.shape, generator=draw))
        for name, values in network.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                values.add_(torch.rand(values.shape, generator=draw))
    return network


def draw_batch(variant: str, images: int = 5, seed: int = 0):
    """Return images with a third of their pixels not zero, and numbers beside them."""
    shape, draw = TINY[variant].geometry, torch.Generator().manual_seed(seed)
    size = (images, shape.channels, shape.rows, shape.columns)
    x = torch.rand(size, generator=draw) * (torch.rand((images, 1, *size[2:]), generator=draw) < 0.34)
    return x, torch.randn(images, shape.scalars, generator=draw)


@pytest.fixture(scope="session")
def tiny():
    return build_tiny


@pytest.fixture(scope="session")
def batch():
    return draw_batch


@pytest.fixture(scope="session")
def variants():
    return TINY


@pytest.fixture(params=TINY)
def variant(request):
    return request.param


@pytest.fixture(params=[name for name, made in TINY.items() if CLASSIFIERS[made.name].attention])
def attentive(request):
    return request.param
