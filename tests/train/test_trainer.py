"""The trainer: histories, checkpoints, and that a kill changes nothing."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import LightningModule
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from calowatch.core.errors import ConflictError, InputError
from calowatch.core.progress import SilentProgress
from calowatch.core.training import FitRecipe, OptimiserRecipe, ScheduleRecipe
from calowatch.train.optimisers import configure
from calowatch.train.place import drop_checkpoints, saved_history
from calowatch.train.trainer import Loaders, TrainingPlace, run_training

BATCHES = 5
QUIET_COLUMNS = ["seconds"]


@pytest.fixture(autouse=True)
def _no_pictures(request, monkeypatch):
    """Spare the time of drawing, except where pictures are looked at."""
    if request.function is not test_a_history_and_what_lies_in_the_folder:
        monkeypatch.setattr("calowatch.train.trainer.write_curves", lambda path, *_: path.write_bytes(b""))


class Toy(LightningModule):
    """A small network with everything that draws or remembers: dropout, batch normalisation, a moment optimiser."""

    def __init__(self, schedule="plateau", monitor="loss", epochs=6, lr=1e-2):
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1))
        self.schedule = ScheduleRecipe(kind=schedule, patience=0, factor=0.5, warmup=1)
        self.fit = FitRecipe(monitor=monitor, epochs=epochs)
        self.lr = lr

    def _loss(self, batch, name):
        loss = (self.net(batch[0])[:, 0] - batch[1]).square().mean()
        self.log(name, loss, on_step=False, on_epoch=True, batch_size=len(batch[0]))
        return loss

    def training_step(self, batch, _):
        return self._loss(batch, "train_loss")

    def validation_step(self, batch, _):
        loss = self._loss(batch, "val_loss")
        self.log("val_auc", 1 / (1 + loss), on_step=False, on_epoch=True, batch_size=len(batch[0]))

    def configure_optimizers(self):
        recipe = OptimiserRecipe(lr=self.lr, amsgrad=True, weight_decay=1e-4)
        return configure(self.parameters(), recipe, self.schedule, self.fit)


def loaders(validation=True):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(40, 4, generator=draw)
    data = TensorDataset(x, x.sum(dim=1) + 0.1 * torch.randn(40, generator=draw))
    return Loaders(DataLoader(data, 8, shuffle=True), DataLoader(data, 16) if validation else None)


class Kill(Exception):  # noqa: N818 - a kill is no error
    pass


class Dying(SilentProgress):
    """A watcher that ends the training at a batch, as a kill does: nothing is tidied up after it."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def track(self, items, label, total=None):
        for number, item in enumerate(items):
            if number == self.at:
                raise Kill
            yield item


def train(folder, module=None, fit=None, sides=None, **place):
    fit = fit or FitRecipe(epochs=6, batch=8)
    return run_training(module or Toy(), sides or loaders(), fit, TrainingPlace(folder, **place))


def weights(module):
    return {name: values.clone() for name, values in module.state_dict().items()}


def test_a_history_and_what_lies_in_the_folder(tmp_path):
    progress = SilentProgress()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = train(tmp_path / "a", progress=progress)
    assert [str(one.message) for one in told] == []
    columns = ["epoch", "step", "lr", "train_loss", "val_auc", "val_loss", "seconds"]
    assert list(found.history.columns) == columns
    assert found.history["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert found.history["step"].tolist() == [BATCHES * epoch for epoch in range(1, 7)]
    assert found.best_value == found.history["val_loss"].min()
    assert found.history["epoch"][found.history["val_loss"].idxmin()] == found.best_epoch
    assert (found.device, found.primary) == ("cpu", True)
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names == {"best.ckpt", "last.ckpt", "metrics.csv", "curves.png", "tensorboard", "identity.json"}
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "a" / "metrics.csv"), found.history, check_dtype=False
    )
    assert [note.partition(":")[0] for note in progress.notes] == [f"epoch {n} of 6" for n in range(1, 7)]
    assert "val loss" in progress.notes[0]
    drop_checkpoints(tmp_path / "a")
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"metrics.csv", "curves.png", "tensorboard"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_the_module_holds_the_best_weights(tmp_path):
    module = Toy(lr=0.5)
    found = train(tmp_path, module)
    kept = torch.load(found.checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(values, module.state_dict()[name]) for name, values in kept.items())
    assert found.best_epoch < 6
    best_loss = found.history["val_loss"].min()
    module.eval()
    x, y = loaders().validation.dataset.tensors
    with torch.no_grad():
        loss = float((module.net(x)[:, 0] - y).square().mean())
    assert loss == pytest.approx(best_loss, rel=1e-5)


@pytest.mark.parametrize(
    ("schedule", "at"),
    [
        ("plateau", 0),
        ("plateau", 7),
        ("plateau", 3 * BATCHES - 1),
        ("plateau", 6 * BATCHES - 1),
        ("none", 7),
        ("cosine", 17),
    ],
)
def test_killed_and_resumed_equals_unbroken_to_the_bit(tmp_path, schedule, at):
    whole_module, module = Toy(schedule), Toy(schedule)
    whole = train(tmp_path / "whole", whole_module, seed=5)
    with pytest.raises(Kill):
        train(tmp_path / "broken", module, seed=5, progress=Dying(at))
    torch.manual_seed(at)  # whatever happened in between
    module, progress = Toy(schedule), SilentProgress()
    again = train(tmp_path / "broken", module, seed=5, resume=True, progress=progress)
    done = at // BATCHES
    assert progress.notes[0].startswith("nothing to resume" if not done else f"going on after epoch {done}")
    drop = {"columns": QUIET_COLUMNS}
    pd.testing.assert_frame_equal(again.history.drop(**drop), whole.history.drop(**drop), check_exact=True)
    assert again.best_epoch == whole.best_epoch
    assert all(
        torch.equal(a, b)
        for a, b in zip(weights(module).values(), weights(whole_module).values(), strict=True)
    )
    last = [torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("whole", "broken")]
    for name, values in last[0]["state_dict"].items():
        assert torch.equal(values, last[1]["state_dict"][name]), name
    assert len(pd.read_csv(tmp_path / "broken" / "metrics.csv")) == 6


def test_another_seed_is_another_training(tmp_path):
    one, other = train(tmp_path / "1", seed=1), train(tmp_path / "2", seed=2)
    assert one.history["train_loss"].tolist() != other.history["train_loss"].tolist()


def test_random_numbers_of_the_caller_stay(tmp_path):
    torch.manual_seed(11)
    before = torch.get_rng_state()
    module = Toy()
    torch.set_rng_state(before)
    train(tmp_path, module)
    assert torch.equal(torch.get_rng_state(), before)


def test_it_stops_early_and_a_stopped_training_is_not_prolonged(tmp_path):
    fit = FitRecipe(epochs=50, patience=2)
    found = train(tmp_path, Toy("none", lr=0.5), fit)
    assert len(found.history) < 50
    assert len(found.history) == found.best_epoch + 2
    again = train(tmp_path, Toy("none", lr=0.5), fit, resume=True)
    pd.testing.assert_frame_equal(again.history, found.history, check_dtype=False)
    assert again.best_value == found.best_value


def test_the_largest_area_is_best(tmp_path):
    fit = FitRecipe(epochs=4, monitor="auc", patience=3)
    found = train(tmp_path, Toy("plateau", "auc", lr=0.5), fit)
    assert found.best_value == found.history["val_auc"].max()
    assert found.history["epoch"][found.history["val_auc"].idxmax()] == found.best_epoch


def test_without_a_validation_side_the_training_loss_is_monitored(tmp_path):
    found = train(tmp_path, sides=loaders(validation=False))
    assert "val_loss" not in found.history
    assert found.best_value == found.history["train_loss"].min()


@pytest.mark.parametrize(
    ("most", "steps"), [(2, [2]), (5, [5]), (12, [5, 10]), (1000, [5, 10, 15, 20, 25, 30])]
)
def test_steps_are_counted(tmp_path, most, steps):
    assert train(tmp_path, max_steps=most).history["step"].tolist() == steps


def test_an_unfinished_training_is_not_lost_by_mistake(tmp_path):
    with pytest.raises(Kill):
        train(tmp_path, progress=Dying(12), identity={"recipe": {"lr": 1}})
    assert len(saved_history(tmp_path)) == 2
    with pytest.raises(ConflictError, match="one of 2 epochs"):
        train(tmp_path, identity={"recipe": {"lr": 1}})
    with pytest.raises(ConflictError, match="another recipe"):
        train(tmp_path, resume=True, identity={"recipe": {"lr": 2}})
    assert json.loads((tmp_path / "identity.json").read_text()) == {"recipe": {"lr": 1}}
    assert len(train(tmp_path, resume=True, identity={"recipe": {"lr": 1}}).history) == 6


def test_a_finished_training_makes_room(tmp_path):
    train(tmp_path)
    drop_checkpoints(tmp_path)
    (tmp_path / "mine.txt").write_text("kept")
    assert len(train(tmp_path, max_steps=2).history) == 1
    assert (tmp_path / "mine.txt").read_text() == "kept"
    assert len(list((tmp_path / "tensorboard").glob("events.*"))) == 1


def test_divergence_is_told(tmp_path):
    with pytest.raises(InputError, match="diverged"):
        train(tmp_path, Toy("none", lr=1e30), FitRecipe(epochs=1))


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cpu:0", "cuda:99"])
def test_devices_that_are_not_there(tmp_path, device):
    with pytest.raises(InputError, match="--device"):
        train(tmp_path / "no", device=device)
    assert not (tmp_path / "no").exists()


def test_no_batches(tmp_path):
    empty = Loaders(DataLoader(TensorDataset(torch.zeros(0, 4), torch.zeros(0))))
    with pytest.raises(InputError, match="a batch at least"):
        train(tmp_path, sides=empty)


def test_an_interrupt_stays_an_interrupt(tmp_path):
    class Interrupting(SilentProgress):
        def track(self, items, label, total=None):
            yield from list(items)[:7]
            raise KeyboardInterrupt

    import signal

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, progress=Interrupting())
    assert signal.getsignal(signal.SIGINT) is handler
    assert len(train(tmp_path, resume=True).history) == 6


def test_losses_are_read_back_from_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = train(tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    np.testing.assert_allclose(
        [one.value for one in events.Scalars("val_loss")], found.history["val_loss"], rtol=1e-6
    )
