"""Training through our trainer against a bare torch loop: the same network, batches in memory, one thread."""

import time

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from calowatch.core.recipe import recipe_path
from calowatch.core.training import load_training
from calowatch.detector.grids import layout_mask
from calowatch.models.api import NetworkRequest, build
from calowatch.models.geometry import Geometry
from calowatch.train.callbacks import Keeper
from calowatch.train.occupancy_module import OccupancyModule
from calowatch.train.trainer import Loaders, TrainingPlace, run_training

WINDOWS = 24
ROUNDS = 3


@pytest.fixture(autouse=True)
def _pinned():
    """One thread: what is compared is the loop, not how torch's threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def module_of(recipe):
    torch.manual_seed(0)
    told = recipe.network
    network = build(
        NetworkRequest(told.name, told.wrappers, dict(told.options)),
        Geometry(layout_mask(recipe.layout, "run3")),
    )
    return OccupancyModule(network, recipe)


def data_of(recipe):
    mask = torch.tensor(layout_mask(recipe.layout, "run3"))
    draw = torch.Generator().manual_seed(0)
    n_events = torch.full((WINDOWS, recipe.window), 1000.0)
    p = torch.rand(mask.shape, generator=draw) * mask
    counts = torch.binomial((1000.0 * mask).expand(*n_events.shape, *mask.shape), p, generator=draw)
    return TensorDataset(counts / 1000.0, n_events, counts)


def bare(recipe, data):
    """Return the seconds of a loop without anything around it."""
    module = module_of(recipe).train()
    module.log = lambda *_, **__: None
    optimiser = module.configure_optimizers()["optimizer"]
    batches = DataLoader(data, recipe.fit.batch, shuffle=True)
    began = time.process_time()
    for number, batch in enumerate(batches):
        loss = module.training_step(batch, number)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return time.process_time() - began


def ours(recipe, data, folder, monkeypatch):
    """Return the seconds of an epoch through the trainer, from its first batch to its last."""
    times = []
    began = Keeper.on_train_epoch_start
    ended = Keeper.on_train_epoch_end

    def start(self, trainer, pl_module):
        times.append(time.process_time())
        began(self, trainer, pl_module)

    def end(self, trainer, pl_module):
        times.append(time.process_time())
        ended(self, trainer, pl_module)

    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "on_train_epoch_start", start)
        patch.setattr(Keeper, "on_train_epoch_end", end)
        loaders = Loaders(DataLoader(data, recipe.fit.batch, shuffle=True))
        run_training(module_of(recipe), loaders, recipe.fit, TrainingPlace(folder, device="cpu"))
    return times[1] - times[0]


@pytest.mark.parametrize("name", ["cnn-vae-lstm-rin-dc", "binomial-he"])
def test_throughput(name, tmp_path, monkeypatch, figure):
    recipe = load_training(recipe_path(name))
    fit = recipe.fit.model_copy(update={"epochs": 1, "batch": 4})
    recipe = recipe.model_copy(update={"fit": fit})
    data = data_of(recipe)
    # In turns, and the best of each: whatever else the machine does should slow neither.
    pairs = [
        (bare(recipe, data), ours(recipe, data, tmp_path / str(number), monkeypatch))
        for number in range(ROUNDS)
    ]
    best = np.min(pairs, axis=0)
    figure(f"training throughput against a bare loop, {name}", best[0] / best[1], "times", at_least=0.95)
