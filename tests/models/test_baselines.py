"""Baselines for windows: what each learns, follows, and refuses to learn."""

import numpy as np
import pytest

from calowatch.core.errors import InputError
from calowatch.detector.table import channel_table
from calowatch.detector.units import find_unit
from calowatch.models.baselines import Ewma, Template, run_windows
from calowatch.models.pca import Pca
from calowatch.models.reference import Reference
from calowatch.models.rings import ring_log_rates, rings_of, window_log_rates


@pytest.fixture(scope="module")
def runs(toy_run):
    return [toy_run(seed, n_ls=100, subdets=("HO",), run=seed).occupancy for seed in (1, 2)]


@pytest.fixture(scope="module")
def learned(runs):
    reference = Reference().fit(runs)
    return Template("run3", reference.channel_, reference.log_response_)


def redrawn(run, factor, seed=0):
    """The run with digis drawn anew from p changed by a factor (ls, channel)."""
    trials = run["n_events"].to_numpy()[:, None]
    p = np.clip(run["counts"].to_numpy() / trials, 1e-3, 1 - 1e-3)
    rate = -np.log1p(-p) * factor
    counts = np.random.default_rng(seed).binomial(trials, -np.expm1(-rate))
    return run.assign(counts=(("ls", "channel"), counts.astype(np.int32)))


def test_windows_know_nothing_of_each_other(toy_run, learned):
    counts, n_events = run_windows(toy_run(3, n_ls=40, subdets=("HO",)).occupancy, 5)
    counts = counts.copy()
    counts[2, :, :400] //= 3
    trials = n_events.astype(np.float64)
    together = window_log_rates(counts, trials, learned.log_response, learned.rings)
    for window in range(len(counts)):
        alone = window_log_rates(counts[[window]], trials[[window]], learned.log_response, learned.rings)
        np.testing.assert_allclose(alone[0], together[window], atol=1e-12)


def test_window_rates_are_those_of_runs_where_blocks_are_the_same(toy_run):
    run = toy_run(3, n_ls=40, subdets=("HO",)).occupancy
    table = channel_table("run3").query("subdet == 'HO'")
    counts, trials = run["counts"].to_numpy(), run["n_events"].to_numpy().astype(np.float64)
    flat, rings = np.zeros(len(table)), rings_of(table)
    whole = ring_log_rates(counts, trials, flat, rings)
    windows = window_log_rates(counts.reshape(4, 10, -1), trials.reshape(4, 10), flat, rings)
    np.testing.assert_allclose(windows.reshape(40, -1), whole, atol=0.02)


def test_a_failing_unit_within_a_window_does_not_drag_its_ring(toy_run, learned):
    healthy = toy_run(3, n_ls=5, subdets=("HO",))
    ill = toy_run(3, n_ls=5, subdets=("HO",), faults=[("HO012", 0.0, 4, 5)])
    found = learned.expect_windows(*run_windows(ill.occupancy, 5))[0]
    np.testing.assert_allclose(found, healthy.p, rtol=0.2)
    assert np.median(np.abs(np.log(found / healthy.p))) < 0.02


def test_template_expects_the_truth_and_the_ring_its_mean(toy_run, learned):
    run = toy_run(5, n_ls=20, subdets=("HO",), pileup=1.4)
    counts, n_events = run_windows(run.occupancy, 5)
    truth = run.p.reshape(counts.shape)
    off = np.log(learned.expect_windows(counts, n_events) / truth)
    ring = np.log(learned.with_response(0 * learned.log_response).expect_windows(counts, n_events) / truth)
    assert off.std() < 0.02
    assert 0.05 < ring.std() < 0.12


def test_ewma_starts_from_the_rings_and_finds_the_responses(runs, learned):
    found = Ewma.fit(runs)
    away = (found.template.log_response - learned.log_response)[np.isfinite(learned.log_response)]
    assert np.std(away) < 0.01
    assert found.half_life == 1600.0


def test_ewma_prefers_a_short_memory_where_responses_move(runs):
    """Every channel wanders its own way, by a tenth in twenty lumisections."""
    steps = 0.022 * np.random.default_rng(1).standard_normal((100, runs[0].sizes["channel"]))
    moving = [redrawn(run, np.exp(np.cumsum(steps, axis=0))) for run in runs[:1]]
    assert Ewma.fit(moving).half_life == 25.0


def test_ewma_follows_what_drifts_and_not_what_breaks(runs, learned):
    start = Ewma(learned, np.full(len(learned.channel), 1e4), 25.0)
    factor = np.ones(runs[1]["counts"].shape)
    factor[:, 100] = np.linspace(1.0, 0.85, 100)
    factor[50:, 1200] = 0.4
    counts, n_events = run_windows(redrawn(runs[1], factor), 5)
    *_, (_, last) = start.follow(counts, n_events)
    moved = last.template.log_response - learned.log_response
    assert -0.17 < moved[100] < -0.07
    assert abs(moved[1200]) < 0.05
    assert start.template.log_response is learned.log_response
    first = next(start.follow(counts, n_events))[0]
    np.testing.assert_array_equal(first, start.expect_windows(counts[:1], n_events[:1])[0])


def test_pca_keeps_no_component_that_helps_nobody(runs, learned):
    found = Pca.fit(runs)
    assert found.components.shape == (0, 2160)
    counts, n_events = run_windows(runs[0], 5)
    np.testing.assert_allclose(
        found.expect_windows(counts, n_events), learned.expect_windows(counts, n_events), rtol=1e-9
    )


def test_pca_finds_what_moves_together_and_is_not_fooled_by_a_failure(runs):
    """Half of the readout boxes breathe by 10 %, window by window; one box then dies."""
    columns = runs[0].sizes["channel"]
    pattern = (np.arange(columns) // 2 % 2).astype(float)
    breath = np.repeat(np.random.default_rng(2).standard_normal((2, 20)), 5, axis=1)
    moving = [
        redrawn(run, np.exp(0.1 * b[:, None] * pattern), 3) for run, b in zip(runs, breath, strict=True)
    ]
    found = Pca.fit(moving)
    assert 1 <= len(found.components) <= 3
    direction = np.abs(found.components[0])
    assert direction[pattern == 1].mean() > 3 * direction[pattern == 0].mean() or (
        np.corrcoef(found.components[0], pattern)[0, 1] ** 2 > 0.5
    )
    counts, n_events = run_windows(moving[0], 5)
    plain = found.template.expect_windows(counts, n_events)
    seen = counts / n_events[..., None]
    assert ((found.expect_windows(counts, n_events) - seen) ** 2).mean() < 0.9 * ((plain - seen) ** 2).mean()
    dead = counts.copy()
    box = np.flatnonzero(find_unit("HO012", channel_table("run3").query("subdet == 'HO'"))[1])
    dead[..., box] = 0
    off = np.log(found.expect_windows(dead, n_events) / found.expect_windows(counts, n_events))
    assert np.abs(off).mean() < 0.02
    assert np.abs(off[..., box]).mean() < 0.05


def test_too_few_windows_are_refused(toy_run):
    short = toy_run(1, n_ls=4, subdets=("HO",)).occupancy
    with pytest.raises(InputError, match="10 windows of 5"):
        Pca.fit([short])
    with pytest.raises(InputError, match="5 usable lumisections"):
        Ewma.fit([short])
