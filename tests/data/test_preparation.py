"""Preparation goes there and back, and knows nothing but what it was fitted on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from calowatch.core.errors import FormatError, InputError
from calowatch.core.recipe import PreparationRecipe
from calowatch.data.preparation import Preparation, load_preparation
from calowatch.detector.table import channel_table

CHANNEL = channel_table("run3").query("subdet == 'HF' and abs(ieta) > 39")["channel"].to_numpy()[:108]
"""Six rings of 18 channels."""

CHAINS = [
    ["per_event"],
    ["log1p"],
    ["per_event", "min_max"],
    ["per_event", {"step": "min_max", "scope": "channel"}],
    ["per_event", {"step": "standard", "scope": "ring"}],
    ["per_event", "ring"],
    ["per_event", "log1p", "ring", {"step": "standard", "scope": "channel"}],
    ["per_event", "min_max", "ring"],
    ["ring", "log1p", {"step": "min_max", "scope": "ring"}],
]


def steps(chain):
    return PreparationRecipe(steps=chain).steps


def sample(seed=0, n_ls=12):
    rng = np.random.default_rng(seed)
    n_events = rng.integers(100, 2000, n_ls)
    counts = rng.binomial(n_events[:, None], rng.uniform(0, 1, len(CHANNEL)))
    counts[:, :18] = 0  # a ring that is silent
    counts[3, 20:30] = 0
    return counts, n_events


counts_and_mask = st.tuples(
    hnp.arrays(np.int64, (4, len(CHANNEL)), elements=st.integers(0, 900), fill=st.just(0)),
    hnp.arrays(np.bool_, len(CHANNEL)),
)


@pytest.mark.parametrize("chain", CHAINS, ids=str)
@settings(max_examples=20, deadline=None)
@given(drawn=counts_and_mask)
def test_there_and_back(chain, drawn):
    counts, mask = drawn
    n_events = np.array([900, 1000, 1500, 2000])
    preparation = Preparation(steps(chain), CHANNEL, mask).fit([sample()])
    prepared = preparation.transform(counts, n_events)
    assert np.isfinite(prepared.values).all()
    assert (prepared.values[:, ~mask] == 0).all()
    back = preparation.inverse_transform(prepared)
    assert back == pytest.approx(np.where(mask, counts, 0), rel=1e-9, abs=1e-7)


@pytest.mark.parametrize("chain", CHAINS, ids=str)
def test_pieces_do_not_matter_and_inputs_stay(chain):
    counts, n_events = sample()
    before = counts.copy()
    whole = Preparation(steps(chain), CHANNEL).fit([(counts, n_events)])
    pieces = Preparation(steps(chain), CHANNEL).fit(
        [(counts[i : i + 5], n_events[i : i + 5]) for i in (0, 5, 10)]
    )
    assert whole.difference(pieces) == ""
    whole.transform(counts, n_events)
    assert np.array_equal(before, counts)


def test_scales_are_what_they_say():
    counts, n_events = sample()
    rate = counts / n_events[:, None]
    ring = rate.reshape(len(rate), -1, 18)
    made = {}
    for name in ("min_max", "standard"):
        for scope in ("all", "ring", "channel"):
            chain = steps(["per_event", {"step": name, "scope": scope}])
            made[name, scope] = (
                Preparation(chain, CHANNEL).fit([(counts, n_events)]).transform(counts, n_events).values
            )
    assert made["min_max", "all"] == pytest.approx(rate / rate.max())
    assert made["standard", "all"] == pytest.approx((rate - rate.mean()) / rate.std())
    spread = ring.std(axis=(0, 2))
    spread[spread == 0] = 1
    expected = (ring - ring.mean(axis=(0, 2))[:, None]) / spread[:, None]
    assert made["standard", "ring"] == pytest.approx(expected.reshape(rate.shape))
    channel = made["min_max", "channel"]
    assert (channel.max(axis=0)[18:] == 1).all()
    assert (channel[:, :18] == 0).all()


def test_ring_mean_leaves_zeros_out():
    """Source: the reversible normalisation of GraphSTAD (arXiv 2311.04190): mean over the cells that are not zero."""
    counts = np.zeros((1, len(CHANNEL)))
    counts[0, 18:21] = (2, 4, 6)
    prepared = Preparation(steps(["ring"]), CHANNEL).transform(counts, np.array([10]))
    assert prepared.values[0, 18:22].tolist() == [0.5, 1.0, 1.5, 0.0]
    assert prepared.ring_means[0][0].tolist() == [1, 4, 1, 1, 1, 1]


@pytest.mark.parametrize("chain", CHAINS[2:], ids=str)
def test_masked_channels_are_in_no_scale(chain):
    counts, n_events = sample()
    mask = np.ones(len(CHANNEL), dtype=bool)
    mask[[30, 50, 107]] = False
    absurd = counts.copy()
    absurd[:, ~mask] = 10**6
    made = [Preparation(steps(chain), CHANNEL, mask).fit([(x, n_events)]) for x in (counts, absurd)]
    values = [one.transform(x, n_events).values for one, x in zip(made, (counts, absurd), strict=True)]
    if "channel" not in str(chain):
        assert made[0].difference(made[1]) == ""
    assert np.array_equal(*values)


def test_single_precision_stays():
    counts, n_events = sample()
    preparation = Preparation(steps(CHAINS[6]), CHANNEL).fit([(counts, n_events)])
    prepared = preparation.transform(counts, n_events, np.float32)
    assert prepared.values.dtype == np.float32
    assert preparation.inverse_transform(prepared) == pytest.approx(counts, rel=1e-3, abs=1e-2)


def test_a_part_does_what_the_whole_does():
    counts, n_events = sample()
    preparation = Preparation(steps(CHAINS[6]), CHANNEL).fit([(counts, n_events)])
    part = np.arange(len(CHANNEL)) >= 36
    np.testing.assert_allclose(
        preparation.restrict(part).transform(counts[:, part], n_events).values,
        preparation.transform(counts, n_events).values[:, part],
    )


@pytest.mark.parametrize("chain", CHAINS, ids=str)
def test_storage(tmp_path, chain):
    preparation = Preparation(steps(chain), CHANNEL, np.arange(len(CHANNEL)) != 7).fit([sample()])
    preparation.save(tmp_path)
    loaded = load_preparation(tmp_path)
    assert preparation.difference(loaded, rtol=0) == ""
    assert np.array_equal(*(one.transform(*sample(1)).values for one in (preparation, loaded)))
    (tmp_path / "preparation.npz").write_bytes(b"PK")
    with pytest.raises(FormatError, match="prepare the data set again"):
        load_preparation(tmp_path)


def test_differences_are_named():
    one = Preparation(steps(["per_event", "standard"]), CHANNEL).fit([sample()])
    assert one.difference(Preparation(steps(["per_event"]), CHANNEL)) == "other steps"
    assert one.difference(Preparation(one.steps, CHANNEL[18:])) == "other channels"
    assert "known bad" in one.difference(Preparation(one.steps, CHANNEL, CHANNEL[0] < CHANNEL))
    assert "step standard in 108 channels" in one.difference(Preparation(one.steps, CHANNEL).fit([sample(5)]))


def test_misuse_is_refused():
    preparation = Preparation(steps(["per_event", "min_max"]), CHANNEL)
    with pytest.raises(ValueError, match="not fitted"):
        preparation.transform(*sample())
    for chain in ("min_max", "standard"):
        with pytest.raises(ValueError, match="fitted on nothing"):
            Preparation(steps([chain]), CHANNEL).fit([])
    with pytest.raises(ValueError, match="side by side"):
        Preparation((), CHANNEL[[0, 20, 1]])
    counts, n_events = sample()
    with pytest.raises(InputError, match="min_events"):
        preparation.transform(counts, np.where(n_events > 500, -1, n_events))
