"""Batches for torch: plain tensors, equal whatever the workers, windows within one run."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from calowatch.core.errors import InputError, UnknownNameError
from calowatch.data.prepare import PrepareOptions, prepare
from calowatch.data.torch_datasets import OccupancyDataset, batch_of, make_loader
from calowatch.detector.grids import to_grid
from calowatch.io.store import open_run, write_run

RECIPE = """
[select]
subdets = ["HE", "HF", "HO"]
[split]
by = "ls_range"
train = "1-20"
test = "21-"
[window]
length = 4
stride = 1
[preparation]
steps = ["per_event", "ring", {step = "standard", scope = "ring"}]
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory, small_run):
    store = tmp_path_factory.mktemp("torch") / "s.zarr"
    write_run(store, small_run(355456, range(1, 31), ("HE", "HF", "HO")))
    write_run(store, small_run(355680, [*range(1, 9), *range(10, 31)], ("HB", "HE", "HF", "HO")))
    return store


@pytest.fixture(scope="module")
def folder(store):
    recipe = store.with_name("recipe.toml")
    recipe.write_text(RECIPE)
    known = store.with_name("known.csv")
    known.write_text("subdet,ieta,iphi,depth\nHE,-27,33,3\n")
    prepare(recipe, store.with_name("data"), PrepareOptions(store, known=known))
    return store.with_name("data")


def all_batches(dataset, **how):
    return list(make_loader(dataset, 7, seed=3, **how))


@pytest.mark.parametrize(
    ("layout", "shape", "n_channels"),
    [
        ("channel", (6768 + 3456 + 2160,), 6768 + 3456 + 2160),
        ("he", (64, 72, 7), 6768),
        ("HF", (26, 36, 4), 3456),
        ("ho", (30, 72, 1), 2160),
    ],
)
def test_items_are_what_the_store_holds(folder, store, layout, shape, n_channels):
    dataset = OccupancyDataset(folder, "train", layout, counts=True)
    assert len(dataset) == 17 + 5 + 8  # LS 1-20 whole, and around the missing LS 9
    for number in (0, 17, len(dataset) - 1, -1):
        x, n_events, counts = dataset[number]
        assert all(
            type(tensor) is torch.Tensor and tensor.dtype == torch.float32 for tensor in (x, n_events, counts)
        )
        assert (x.shape, n_events.shape, counts.shape) == ((4, *shape), (4,), (4, *shape))
        run, ls = int(dataset.windows.run[number]), dataset.windows.ls[number]
        stored = open_run(store, run).sel(ls=ls)
        assert n_events.tolist() == stored["n_events"].to_numpy().tolist()
        stored = stored.isel(channel=np.isin(stored["channel"], dataset.channels["channel"]))
        expected = stored["counts"].to_numpy() * dataset.preparation.mask
        prepared = dataset.preparation.transform(
            stored["counts"].to_numpy(), stored["n_events"].to_numpy()
        ).values
        if layout != "channel":
            expected, prepared = (to_grid(each, dataset.channels, layout) for each in (expected, prepared))
        assert np.array_equal(counts.numpy(), expected)
        np.testing.assert_allclose(x.numpy(), prepared, rtol=1e-4, atol=1e-4)
    masked = 1 if layout in ("channel", "he") else 0
    assert dataset.mask.shape == shape
    assert int(dataset.mask.sum()) == n_channels - masked
    assert (x[:, ~dataset.mask] == 0).all()


@pytest.mark.parametrize("shuffle", [False, True])
def test_workers_change_nothing(folder, shuffle):
    dataset = OccupancyDataset(folder, "train", "ho", counts=True)
    alone = all_batches(dataset, shuffle=shuffle)
    assert [len(batch) for batch in alone] == [3] * 5
    assert alone[0][0].shape == (7, 4, 30, 72, 1)
    for workers in (0, 2):
        again = all_batches(dataset, shuffle=shuffle, workers=workers)
        assert all(
            torch.equal(one, other)
            for first, second in zip(alone, again, strict=True)
            for one, other in zip(first, second, strict=True)
        )


def test_kept_in_memory_is_the_same(folder):
    mapped, kept = (
        OccupancyDataset(folder, "train", "he", counts=True, in_memory=how) for how in (False, True)
    )
    for ours, theirs in zip(all_batches(mapped), all_batches(kept, workers=1), strict=True):
        assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    assert len(kept._kept[0]) == 20 + 19  # once per lumisection, however many windows take it


def test_epochs_differ_and_seeds_matter(folder):
    dataset = OccupancyDataset(folder, "train", "ho")
    loader = make_loader(dataset, 30, shuffle=True, seed=1)
    orders = [
        next(iter(each))[1] for each in (loader, loader, make_loader(dataset, 30, shuffle=True, seed=2))
    ]
    assert not torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])
    assert torch.equal(orders[0].flatten().sort().values, orders[1].flatten().sort().values)


def test_a_plain_loader_gives_the_same(folder):
    dataset = OccupancyDataset(folder, "test", "ho", counts=True)
    for ours, plain in zip(all_batches(dataset), DataLoader(dataset, batch_size=7), strict=True):
        assert all(torch.equal(one, other) for one, other in zip(ours, plain, strict=True))
    singles = batch_of([dataset[0], dataset[1]])
    assert all(
        torch.equal(one, other)
        for one, other in zip(singles, batch_of(dataset.__getitems__([0, 1])), strict=True)
    )


def test_windows_stay_in_their_run_and_side(folder):
    held = {}
    for side in ("train", "test"):
        windows = OccupancyDataset(folder, side, "ho").windows
        assert (np.diff(windows.ls, axis=1) == 1).all()
        held[side] = {
            (run, ls) for run, row in zip(windows.run, windows.ls, strict=True) for ls in row.tolist()
        }
    assert not held["train"] & held["test"]
    assert max(ls for _, ls in held["train"]) == 20
    assert min(ls for _, ls in held["test"]) == 21


def test_grids_of_both_barrels(store, tmp_path):
    recipe = tmp_path / "recipe.toml"
    text = RECIPE.replace('["HE", "HF", "HO"]', '["HB", "HE"]\nruns = 355680').replace(
        "length = 4", "length = 1"
    )
    recipe.write_text(text)
    prepare(recipe, tmp_path / "data", PrepareOptions(store))
    dataset = OccupancyDataset(tmp_path / "data", layout="hbhe")
    assert dataset[0][0].shape == (1, 64, 72, 7)
    assert int(dataset.mask.sum()) == 15840
    assert int(OccupancyDataset(tmp_path / "data", layout="hb").mask.sum()) == 9072


def test_what_is_not_there_is_named(folder):
    with pytest.raises(UnknownNameError, match="did you mean test"):
        OccupancyDataset(folder, "tests")
    with pytest.raises(UnknownNameError, match="one of channel, he"):
        OccupancyDataset(folder, layout="grid")
    with pytest.raises(InputError, match="none of HB"):
        OccupancyDataset(folder, layout="hbhe")
    with pytest.raises(IndexError):
        OccupancyDataset(folder)[30]
