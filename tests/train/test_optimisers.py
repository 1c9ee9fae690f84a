"""Optimisers and schedules are those of the recipe."""

import itertools

import pytest
import torch
from torch.optim import Adam, AdamW

from calowatch.core.training import FitRecipe, OptimiserRecipe, ScheduleRecipe
from calowatch.train.optimisers import configure, cosine_factor


def configured(schedule="none", monitor="loss", **optimiser):
    weights = [torch.nn.Parameter(torch.zeros(1))]
    return configure(
        weights,
        OptimiserRecipe(**optimiser),
        ScheduleRecipe(kind=schedule, warmup=2),
        FitRecipe(monitor=monitor),
    )


@pytest.mark.parametrize(("name", "kind"), [("adam", Adam), ("adamw", AdamW)])
def test_the_optimiser_is_the_one_asked_for(name, kind):
    found = configured(name=name, lr=0.02, weight_decay=1e-7, amsgrad=True)
    assert set(found) == {"optimizer"}
    assert type(found["optimizer"]) is kind
    group = found["optimizer"].param_groups[0]
    assert (group["lr"], group["weight_decay"], group["amsgrad"]) == (0.02, 1e-7, True)


@pytest.mark.parametrize(("monitor", "mode"), [("loss", "min"), ("auc", "max"), ("accuracy", "max")])
def test_a_plateau_watches_the_monitored_figure(monitor, mode):
    told = configured("plateau", monitor)["lr_scheduler"]
    assert (told["monitor"], told["scheduler"].mode) == (f"val_{monitor}", mode)


def test_a_cosine_rises_then_falls_to_nothing():
    factors = [cosine_factor(epoch, 2, 10) for epoch in range(11)]
    assert factors[:3] == [0.5, 1.0, 1.0]
    assert all(later < earlier for earlier, later in itertools.pairwise(factors[2:]))
    assert factors[10] == pytest.approx(0.0, abs=1e-12)
    assert cosine_factor(0, 3, 2) == pytest.approx(1 / 3)
    told = configured("cosine", lr=0.1)
    assert told["optimizer"].param_groups[0]["lr"] == pytest.approx(0.05)
