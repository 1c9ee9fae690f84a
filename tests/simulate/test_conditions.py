"""Pile-up, luminosity and events per lumisection."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from calowatch.core.errors import FormatError, InputError
from calowatch.simulate.conditions import ConditionsSettings, draw_conditions
from calowatch.simulate.profile import load_profile

PUBLIC = Path(__file__).parents[2] / "../shared/data/hcal"
PROFILE = load_profile()


def draw(n_ls=2000, seed=1, **settings):
    return draw_conditions(ConditionsSettings(**settings), PROFILE, n_ls, 11, np.random.default_rng(seed))


def test_events_follow_a_level_per_segment():
    conditions = draw(n_ls=5000)
    lengths = np.bincount(conditions.segment)[:-1]
    assert ((lengths >= 100) & (lengths <= 400)).all()
    means = [
        conditions.n_events[(conditions.segment == s) & ~conditions.low].mean() for s in range(len(lengths))
    ]
    levels = np.array(PROFILE.events.levels)
    nearest = np.abs(np.subtract.outer(means, levels)).argmin(axis=1)
    assert means == pytest.approx(levels[nearest], rel=0.02)
    assert (np.diff(nearest) != 0).all()


def test_low_lumisections_have_their_share_and_range():
    conditions = draw(n_ls=20_000)
    assert conditions.low.mean() == pytest.approx(0.01, abs=0.003)
    few = conditions.n_events[conditions.low]
    assert few.min() >= 50
    assert few.max() <= 300
    assert not draw(low_share=0.0).low.any()


def test_own_level():
    assert draw(levels=(500.0,), low_share=0.0).n_events.mean() == pytest.approx(500, rel=0.01)


def test_flat_and_decaying():
    flat, decaying = draw(shape="flat", pileup=40), draw(shape="decaying", pileup=40)
    assert flat.pileup.mean() == pytest.approx(40, rel=0.001)
    assert flat.pileup.std() / 40 == pytest.approx(PROFILE.luminosity.scatter, rel=0.1)
    lost = np.exp(-1500 / PROFILE.luminosity.lifetime_ls)
    assert decaying.pileup[1500] / decaying.pileup[0] == pytest.approx(lost, rel=0.01)
    assert (flat.lumi / flat.pileup) == pytest.approx(PROFILE.scaling.lumi_per_pileup)


def test_levelled_has_the_statistics_of_real_profiles():
    """Steps above 1 % per 1000 LS 55-88, 15-37 % of 50-LS stretches flat, 26-49 % falling; wider for 20 draws."""
    curves = np.log([draw(n_ls=1000, seed=seed).pileup for seed in range(20)])
    steps = (np.abs(np.diff(curves, axis=1)) > 0.01).sum(axis=1).mean()
    slopes = np.polyfit(np.arange(50), curves.reshape(-1, 50).T, 1)[0]
    assert 45 < steps < 110
    assert 0.10 < (np.abs(slopes) < 1e-4).mean() < 0.45
    assert 0.20 < (slopes < -3e-4).mean() < 0.55


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "profiles.csv"
    rows = {"run": [7, 7, 7, 8], "ls": [1, 2, 3, 1], "pileup": [50.0, 49, 48, 30], "delivered_lumi": 0.4}
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_csv_is_followed(csv):
    conditions = draw(n_ls=None, shape=csv, csv_run=7)
    assert conditions.pileup.tolist() == [50, 49, 48]
    assert conditions.lumi.tolist() == [0.4] * 3
    assert conditions.ls.tolist() == [11, 12, 13]
    assert draw(n_ls=2, shape=csv, csv_run=7).pileup.tolist() == [50, 49]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_ls": 3}, "give --profile-run, such as 7 .3 LS"),
        ({"n_ls": 3, "csv_run": 9}, "no run 9"),
        ({"n_ls": 4, "csv_run": 7}, "give --n-ls 3 or less"),
    ],
)
def test_csv_that_cannot_be_followed(csv, settings, message):
    with pytest.raises(InputError, match=message):
        draw(shape=csv, **settings)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "name the column pileup"),
        ("pileup\n50\nx\n", "1 other values"),
        ("pileup\n-1\n", "1 other values"),
        ("pileup\n", "no rows"),
        ("", "no CSV"),
    ],
)
def test_broken_csv(tmp_path, content, message):
    path = tmp_path / "broken.csv"
    path.write_text(content)
    with pytest.raises(FormatError, match=message):
        draw(n_ls=None, shape=path)


def test_csv_that_is_not_compressed_after_all(tmp_path):
    path = tmp_path / "broken.csv.gz"
    path.write_bytes(b"pileup\n50\n")
    with pytest.raises(FormatError, match="no CSV"):
        draw(n_ls=None, shape=path)


def test_public_profiles_work():
    path = PUBLIC / "lumi_profiles_2024_2025.csv.gz"
    if not path.exists():
        pytest.skip("the luminosity profiles are not here")
    conditions = draw(n_ls=100, shape=path, csv_run=379253)
    assert np.isfinite(conditions.lumi).all()
    assert conditions.pileup[0] == pytest.approx(60.1, abs=0.2)


@pytest.mark.parametrize(
    "settings",
    [
        {"n_ls": 0},
        {"n_ls": None},
        {"pileup": -1},
        {"pileup": np.nan},
        {"low_share": 2},
        {"levels": ()},
        {"shape": "flt"},
    ],
)
def test_impossible_settings(settings):
    with pytest.raises(InputError):
        draw(**settings)
