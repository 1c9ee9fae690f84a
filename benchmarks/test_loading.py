"""Batches from the memory-mapped cache against a plain in-memory TensorDataset of the same tensors."""

import time

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from calowatch.core.schema import make_occupancy
from calowatch.data.prepare import PrepareOptions, prepare
from calowatch.data.torch_datasets import OccupancyDataset, make_loader
from calowatch.detector.table import channel_table
from calowatch.io.store import write_run

N_LS = 320
BATCH = 16
ROUNDS = 7

RECIPE = """
[select]
subdets = ["HE"]
[split]
by = "ls_range"
train = "1-"
[window]
length = {length}
[preparation]
steps = {steps}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = tmp_path_factory.mktemp("loading") / "runs.zarr"
    table = channel_table("run3").query("subdet == 'HB' or subdet == 'HE'")
    rng = np.random.default_rng(0)
    for run in (355456, 355680):
        n_events = rng.poisson(1000, N_LS)
        counts = rng.binomial(n_events[:, None], rng.uniform(0, 0.8, len(table))).astype(np.int32)
        attrs = {"run": run, "era": "run3", "provenance": {}, "source": "benchmark"}
        write_run(store, make_occupancy(counts, table, np.arange(1, N_LS + 1), n_events, attrs))
    return store


def seconds(loader: DataLoader) -> float:
    began = time.perf_counter()
    assert sum(len(batch[0]) for batch in loader) == len(loader.dataset)
    return time.perf_counter() - began


@pytest.mark.parametrize(
    "steps", ['["per_event", "min_max"]', '["per_event", "ring"]'], ids=["min-max", "ring"]
)
@pytest.mark.parametrize("length", [1, 5], ids=["iid", "ts"])
@pytest.mark.parametrize(
    "how", [(layout, kept) for kept in (None, False) for layout in ("he", "channel")], ids=str
)
def test_throughput(store, tmp_path, figure, length, steps, how):
    layout, in_memory = how
    (tmp_path / "recipe.toml").write_text(RECIPE.format(length=length, steps=steps))
    prepare(tmp_path / "recipe.toml", tmp_path / "data", PrepareOptions(store))
    ours = OccupancyDataset(tmp_path / "data", layout=layout, in_memory=in_memory)
    plain = TensorDataset(*(torch.cat(parts) for parts in zip(*make_loader(ours, 64), strict=True)))
    assert all(torch.equal(*pair) for pair in zip(ours[3], plain[3], strict=True))
    loaders = [
        make_loader(ours, BATCH, shuffle=True),
        DataLoader(plain, BATCH, shuffle=True, generator=torch.Generator().manual_seed(0)),
    ]
    # In turns, and the best of each: whatever else the machine does should slow neither.
    times = [[seconds(loader) for loader in loaders] for _ in range(ROUNDS)]
    best = np.min(times, axis=0)
    where = ", from the map" if in_memory is False else ""
    name = f"throughput against a TensorDataset, {layout}, length {length}, {steps}{where}"
    # From the map every batch is prepared anew: for data that do not fit, held against a lower goal.
    figure(name, best[1] / best[0], "times", at_least=0.3 if in_memory is False else 0.8)
