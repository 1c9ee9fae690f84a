"""A toy detector for networks: 8 rows, 16 columns (four readout boxes of 4), 3 depths, some cells empty."""

import numpy as np
import pytest
import torch

from calowatch.models.api import MODELS, NetworkRequest, build
from calowatch.models.geometry import Geometry

SHAPE = (8, 16, 3)


def toy_geometry() -> Geometry:
    """Holes are alike in all boxes and on both sides; edges join the cells of a box on a side."""
    mask = np.ones(SHAPE, bool)
    mask[[0, 7], :, 2] = False
    mask[:, 1::2, 1] = False
    row, column, _ = np.unravel_index(np.arange(mask.size), SHAPE)
    box = (row // 4) * 4 + column // 4
    joined = (box[:, None] == box) & mask.ravel() & mask.ravel()[:, None]
    np.fill_diagonal(joined, val=False)
    return Geometry(mask, np.stack(joined.nonzero()).astype(np.int64))


GEOMETRY = toy_geometry()


def build_tiny(name: str, wrappers=(), seed=0):
    """Return the smallest network of a name, reproducibly."""
    options = {"latent": 8, "patch": 4, "layers": 2} if name == "depthvit" else {"latent": 2}
    torch.manual_seed(seed)
    return build(NetworkRequest(name, tuple(wrappers), options), GEOMETRY)


def toy_batch(batch=3, time=3, seed=0):
    """Return occupancy [batch, time, *SHAPE], events [batch, time] and counts of a falling ring profile."""
    rng = np.random.default_rng(seed)
    n_events = rng.integers(200, 400, (batch, time))
    p = np.linspace(0.1, 0.7, SHAPE[0])[:, None, None] * np.linspace(1, 0.4, SHAPE[2])
    counts = rng.binomial(n_events[..., None, None, None], p, (batch, time, *SHAPE)) * GEOMETRY.mask
    x = counts / n_events[..., None, None, None]
    return (
        torch.tensor(x, dtype=torch.float32),
        torch.tensor(n_events, dtype=torch.float32),
        torch.tensor(counts, dtype=torch.float32),
    )


@pytest.fixture
def tiny():
    return build_tiny


@pytest.fixture
def geometry():
    return GEOMETRY


@pytest.fixture
def toy():
    return toy_batch()


@pytest.fixture(params=MODELS)
def name(request):
    return request.param
