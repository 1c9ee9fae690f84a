"""Training through our trainer against a bare torch loop: the same network, batches in memory, one thread.

Both take turns step by step, and what a step costs is the median of its CPU time: on a shared machine the sum over an
epoch scatters by a tenth, more than what is looked for. What the trainer does once per epoch, such as checkpoints,
history and logs, is spread over an epoch as long as those of the published campaign.
"""

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

WINDOWS = 96
EPOCH = 125
"""Steps of an epoch: 2500 lumisections in windows of 5, four at a time."""


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


class Bare:
    """A loop without anything around it, a step at a time."""

    def __init__(self, recipe, data):
        self.module = module_of(recipe).train()
        self.module.log = lambda *_, **__: None
        self.optimiser = self.module.configure_optimizers()["optimizer"]
        self.batches = enumerate(DataLoader(data, recipe.fit.batch, shuffle=True))

    def step(self):
        number, batch = next(self.batches)
        loss = self.module.training_step(batch, number)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()


def race(recipe, data, folder, monkeypatch):
    """Return the seconds of each step of a bare loop and through the trainer, and of an epoch beside its steps."""
    marks, ends, bare = [], [], Bare(recipe, data)
    began, ended = Keeper.on_train_epoch_start, Keeper.on_train_epoch_end

    def start(self, trainer, pl_module):
        ends.append(time.process_time())
        began(self, trainer, pl_module)

    def step(*_):
        before = time.process_time()
        bare.step()
        marks.append((before, time.process_time()))

    def end(self, trainer, pl_module):
        ended(self, trainer, pl_module)
        ends.append(time.process_time())

    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "on_train_epoch_start", start)
        patch.setattr(Keeper, "on_train_batch_start", step)
        patch.setattr(Keeper, "on_train_epoch_end", end)
        loaders = Loaders(DataLoader(data, recipe.fit.batch, shuffle=True))
        run_training(module_of(recipe), loaders, recipe.fit, TrainingPlace(folder, device="cpu"))
    before, after = np.transpose(marks)
    # Without the first step, which sets up the optimiser's state in either loop.
    alone, through = (after - before)[1:], (before[1:] - after[:-1])[1:]
    beside = (before[0] - ends[0]) + (ends[1] - after[-1]) - np.median(through)
    return alone, through, max(beside, 0.0)


@pytest.mark.parametrize("name", ["cnn-vae-lstm-rin-dc", "binomial-he"])
def test_throughput(name, tmp_path, monkeypatch, figure):
    recipe = load_training(recipe_path(name))
    fit = recipe.fit.model_copy(update={"epochs": 1, "batch": 4})
    recipe = recipe.model_copy(update={"fit": fit})
    alone, through, beside = race(recipe, data_of(recipe), tmp_path / "training", monkeypatch)
    step = np.median(through) + beside / EPOCH
    told = f"training throughput against a bare loop, {name}"
    figure(told, np.median(alone) / step, "times", at_least=0.95)
    figure(f"training, an epoch beside its steps, {name}", 1000 * beside, "ms")
