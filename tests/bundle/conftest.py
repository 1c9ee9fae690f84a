"""Tiny networks on the grid of HO, and windows of a toy detector for them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from calowatch.bundle.network import NetworkParts
from calowatch.core.recipe import MinMax, PerEvent
from calowatch.data.preparation import Preparation
from calowatch.detector.table import channel_table

LAYOUT, WINDOW = "ho", 3
OPTIONS = {"depthvit": {"latent": 8, "patch": 6, "layers": 1, "heads": 2}}


@dataclass(frozen=True)
class ToyWindows:
    channel: np.ndarray
    counts: np.ndarray
    n_events: np.ndarray
    p: np.ndarray


def _toy_windows(n=4, seed=0, time=WINDOW, events=1000) -> ToyWindows:
    """Windows of HO: rings of their own rate, channels 10 % apart, brightness its own in each window."""
    table = channel_table("run3").query("subdet == 'HO'")
    frozen = np.random.default_rng(5)
    rate = frozen.uniform(0.1, 1.0, 30)[table["ieta"].to_numpy() % 30]
    rate = rate * np.exp(0.1 * frozen.standard_normal(len(table)))
    rng = np.random.default_rng(seed)
    n_events = rng.poisson(events, (n, time))
    p = -np.expm1(-rate * rng.uniform(0.7, 1.3, (n, 1, 1)))
    p = np.broadcast_to(p, (n, time, len(table)))
    counts = rng.binomial(n_events[..., None], p).astype(np.int32)
    return ToyWindows(table["channel"].to_numpy(np.int64), counts, n_events, p)


@cache
def _geometry(edges):
    from calowatch.models.geometry import Geometry

    return Geometry.of_layout(LAYOUT, edges=edges)


def _toy_parts(name="cnn-ae-lstm", wrappers=(), seed=0, masked=()) -> NetworkParts:
    """A network of random weights with a preparation fitted to toy windows."""
    import torch

    from calowatch.models.api import NetworkRequest, build, find_model

    windows = _toy_windows(seed=9)
    logit = find_model(name).predicts == "logit"
    request = NetworkRequest(name, tuple(wrappers), OPTIONS.get(name, {"latent": 1}))
    geometry = _geometry("rbx" if find_model(name).graph else None)
    torch.manual_seed(seed)
    network = build(request, geometry).eval()
    mask = np.ones(len(windows.channel), bool)
    mask[list(masked)] = False
    steps = [PerEvent()] if logit else [PerEvent(), MinMax(scope="ring")]
    preparation = Preparation(steps, windows.channel, mask)
    preparation.fit([(windows.counts[0], windows.n_events[0])])
    return NetworkParts(
        network=network,
        request=request,
        layout=LAYOUT,
        era="run3",
        window=WINDOW,
        channel=windows.channel,
        preparation=preparation,
        score_sigma=np.full(len(windows.channel), 0.01),
        loss="binomial" if logit else "reconstruction",
        training={"epochs": 0},
        edges=geometry.edges,
    )


@pytest.fixture(scope="session")
def ho_windows() -> Callable[..., ToyWindows]:
    """Windows of HO: n, seed, time, events."""
    return _toy_windows


@pytest.fixture(scope="session")
def ho_parts() -> Callable[..., NetworkParts]:
    """Parts of a bundle on HO: name, wrappers, seed, masked."""
    return _toy_parts
