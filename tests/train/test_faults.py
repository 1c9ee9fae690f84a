"""Faults for training do to counts what failing hardware does, in its units, and nothing else."""

import numpy as np
import pytest
import torch

from calowatch.core.errors import InputError
from calowatch.core.recipe import recipe_path
from calowatch.core.training import FaultNoise, load_training
from calowatch.detector.table import channel_table
from calowatch.detector.units import unit_names
from calowatch.train.faults import UNIT_KINDS, FaultMaker, faulty_counts, units_of
from calowatch.train.occupancy_data import TrainingData


@pytest.fixture(scope="module")
def outer():
    return channel_table("run3").query("subdet == 'HO'").reset_index(drop=True)


def test_units_are_those_of_the_electronics(outer):
    units = units_of(outer[["channel"]], "run3")
    names = unit_names(outer)
    assert list(units) == [kind for kind in UNIT_KINDS if kind == "channel" or (names[kind] != "").any()]
    for kind, rows in units.items():
        if kind == "channel":
            assert sorted(int(one[0]) for one in rows) == list(range(len(outer)))
            continue
        for one in rows:
            assert names[kind].iloc[one].nunique() == 1
        assert sum(len(one) for one in rows) == (names[kind] != "").sum()


@pytest.mark.parametrize("factor", [0.0, 0.4, 0.9, 1.2, 2.0, 5.0])
def test_counts_follow_the_factor(factor):
    torch.manual_seed(0)
    n_events = torch.full((400, 5), 1000.0)
    p = torch.tensor([0.02, 0.3, 0.7])
    counts = torch.binomial(n_events[..., None].expand(400, 5, 3), p.expand(400, 5, 3))
    found = faulty_counts(counts, n_events, torch.full_like(counts, factor))
    assert ((found >= 0) & (found <= 1000)).all()
    assert torch.equal(found, found.round())
    wanted = (factor * p).clamp(max=1.0)
    # Beyond the binomial spread, p itself is taken from the window: 2 % of 1 - p at the largest factor.
    tolerance = 5 * (wanted * (1 - wanted) / 2e6).sqrt() + 0.003 * wanted
    assert ((found.mean(dim=(0, 1)) / 1000 - wanted).abs() <= tolerance).all()


def test_a_factor_of_one_changes_nothing():
    counts = torch.randint(0, 50, (2, 3, 4)).float()
    assert torch.equal(faulty_counts(counts, torch.full((2, 3), 50.0), torch.ones_like(counts)), counts)


def test_lumisections_without_events_stay_empty():
    counts = torch.zeros(1, 2, 3)
    events = torch.tensor([[0.0, -1.0]])
    assert (faulty_counts(counts, events, torch.full_like(counts, 2.0)) == 0).all()


def maker(outer, **noise):
    cells = np.arange(len(outer))
    return FaultMaker.of(FaultNoise(**noise), units_of(outer, "run3"), cells, np.full(len(outer), 2.0))


def test_faults_are_whole_units_in_a_share_of_windows(outer):
    torch.manual_seed(0)
    factors = maker(outer, share=0.5, units=1, factors=(0.0,)).factors(400, 5)
    hit = (factors != 1).flatten(1).any(dim=1)
    assert 0.4 < hit.float().mean() < 0.6
    known = {tuple(sorted(one.tolist())) for rows in units_of(outer, "run3").values() for one in rows}
    begun = 0
    for window in factors[hit]:
        assert tuple((window[-1] == 0).nonzero()[:, 0].tolist()) in known
        lasting = (window == 0).any(dim=1)
        assert (lasting[1:] >= lasting[:-1]).all()
        begun += int(not lasting[0])
    assert 0.3 < begun / int(hit.sum()) < 0.5


def test_what_a_network_sees_changes_as_counts_do(outer):
    faults = maker(outer, share=1.0, units=3)
    n_events = torch.full((4, 5), 100.0)
    counts = torch.full((4, 5, 30, 72, 1), 40.0)
    x = 2.0 * counts / 100.0 - 0.1
    before = x.clone(), counts.clone()
    torch.manual_seed(3)
    seen = faults(x, n_events, counts)
    torch.manual_seed(3)
    assert torch.equal(faults(x, n_events, counts), seen)
    assert torch.equal(x, before[0])
    assert torch.equal(counts, before[1])
    changed = (seen != x).flatten(2)
    assert changed.any(dim=(1, 2)).all()
    digis = (seen + 0.1) / 2.0 * 100.0
    torch.testing.assert_close(digis, digis.round(), rtol=0, atol=1e-3)


def test_the_scale_is_that_of_the_preparation(prepared):
    noise = FaultNoise(share=1.0, units=2)
    recipe = load_training(recipe_path("cnn-vae-lstm")).model_copy(
        update={"layout": "ho", "faults": noise, "prepare": None}
    )
    data = TrainingData(prepared("ho", 5, "source"), recipe)
    x, n_events, counts = (tensor[None] for tensor in data.train[0])
    torch.manual_seed(1)
    faults = data.fault_maker()
    seen = faults(x, n_events, counts)
    torch.manual_seed(1)
    factor = faults.factors(1, 5)
    hit = (factor != 1).flatten(0, 1).any(dim=0).nonzero()[:, 0]
    flat = counts.flatten(2)
    flat[..., hit] = faulty_counts(flat[..., hit], n_events, factor[..., hit])
    rows = flat[0][:, data.cells].numpy()
    wanted = data.train.preparation.transform(rows, n_events[0].numpy(), np.float32).values
    np.testing.assert_allclose(seen.flatten(2)[0][:, data.cells].numpy(), wanted, atol=1e-5)


def test_preparations_that_are_no_straight_line_are_refused(prepared):
    recipe = load_training(recipe_path("cnn-vae-lstm")).model_copy(
        update={"layout": "ho", "faults": FaultNoise(), "prepare": None}
    )
    data = TrainingData(prepared("ho", 5, '["per_event", "ring"]'), recipe)
    with pytest.raises(InputError, match="leave faults out"):
        data.fault_maker()
