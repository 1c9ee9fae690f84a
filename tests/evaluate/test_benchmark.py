"""The public benchmark: frozen content, refusals, and a rival's ten lines of numpy."""

import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from calowatch.core.errors import ConflictError, FormatError, InputError
from calowatch.evaluate import benchmark_data
from calowatch.evaluate.benchmark import (
    bound_standings,
    bundle_standings,
    healthy_samples,
    read_scores,
    score,
    shipped_standings,
)
from calowatch.evaluate.benchmark_bound import AllKnown, _chances
from calowatch.evaluate.benchmark_data import (
    MANIFEST,
    SHA256,
    Edition,
    array_hash,
    channels_of_he,
    draw_benchmark,
    get_benchmark,
    open_benchmark,
    true_p,
)
from calowatch.present.benchmark import HEAD, ranking_rows
from calowatch.simulate.injection import units_of

SMALL = Edition((50.0,), (50.0,), ((50.0, 0), (36.0, 1)), 10, 10, 60)


@pytest.fixture(scope="module")
def small():
    return draw_benchmark(SMALL)


@pytest.fixture
def folder(small, tmp_path, monkeypatch):
    """A small benchmark as files, whose own hashes stand for the published ones."""
    monkeypatch.setattr(benchmark_data, "draw_benchmark", lambda progress: small)
    monkeypatch.setattr(benchmark_data, "SHA256", benchmark_data._hashes(small))
    get_benchmark(tmp_path / "benchmark")
    return tmp_path / "benchmark"


def test_the_same_seeds_draw_the_same_arrays(small):
    again = draw_benchmark(SMALL)
    for file, arrays in small.arrays.items():
        for name, values in arrays.items():
            assert array_hash(values) == array_hash(again.arrays[file][name])


def test_the_first_run_is_that_of_the_published_version():
    """Drawing all of it takes half a minute; its first lumisections tell whether numpy still draws the same."""
    run = benchmark_data._run(380_001, 42.0, 300)
    events = benchmark_data.draw_truth(run).conditions.n_events.astype(np.int32)
    assert events[:5].tolist() == FIRST_EVENTS
    assert set(SHA256) == {f"{file}/{name}" for file, name in NAMES}


FIRST_EVENTS = [1414, 1405, 1420, 1361, 1423]
NAMES = [
    *(
        (side, name)
        for side in ("train", "validation")
        for name in ("counts", "n_events", "run", "ls", "pileup")
    ),
    *(("test", name) for name in ("counts", "n_events", "run", "condition")),
    ("truth", "factor"),
    ("truth", "faulty"),
]


@pytest.mark.slow
def test_the_published_version_is_frozen(tmp_path):
    manifest = get_benchmark(tmp_path / "benchmark")
    assert manifest["sha256"] == dict(SHA256)


def test_labels_are_what_was_done(small):
    truth, test = small.arrays["truth"], small.arrays["test"]
    factor, faulty = truth["factor"], truth["faulty"]
    assert ((factor != 1).any(axis=1) == faulty).all()
    assert 0.4 <= faulty.mean() <= 0.6
    p = true_p(SMALL)
    seen = test["counts"].sum(axis=1) / test["n_events"].sum(axis=1)[:, None]
    dead = factor == 0
    assert (seen[dead] == 0).all()
    pull = (seen - p.mean(axis=1))[factor == 1]
    assert abs(pull.mean()) < 1e-3
    single = small.faults[small.faults["unit_type"] == "channel"]
    assert (single["n"] == 1).all()


def test_a_rival_needs_ten_lines_of_numpy(folder, tmp_path):
    # The example of docs/benchmark.md.
    train = np.load(folder / "train.npz")
    test = np.load(folder / "test.npz")
    rate = train["counts"].sum(axis=0) / train["n_events"].sum()
    hits, events = test["counts"].sum(axis=1), test["n_events"].sum(axis=1)[:, None]
    level = np.median(hits / events / rate, axis=1, keepdims=True)
    p = np.clip(rate * level, 1e-6, 1 - 1e-6)
    scores = np.abs(hits - events * p) / np.sqrt(events * p * (1 - p))
    np.savez(tmp_path / "mine.npz", scores=scores)

    benchmark = open_benchmark(folder)
    standing = score("mine", read_scores(tmp_path / "mine.npz", benchmark.shape), benchmark)
    chance = score("chance", np.random.default_rng(0).random(benchmark.shape), benchmark)
    assert standing.pr_auc[0] > 0.3
    assert chance.pr_auc[0] < 0.05
    assert standing.pr_auc[1] <= standing.pr_auc[0] <= standing.pr_auc[2]
    assert set(standing.by_factor) <= {f"{factor:g}" for factor in benchmark_data.FACTORS}


def test_every_format_says_the_same(small, tmp_path):
    scores = np.random.default_rng(1).random(small.shape)
    np.save(tmp_path / "a.npy", scores)
    np.savez(tmp_path / "b.npz", anything=scores)
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["scores"] = scores
    pd.DataFrame(scores, columns=[str(i) for i in range(small.shape[1])]).to_parquet(tmp_path / "d.parquet")
    window, channel = np.indices(small.shape)
    long = pd.DataFrame({"window": window.ravel(), "channel": channel.ravel(), "score": scores.ravel()})
    long.sample(frac=1.0, random_state=1).to_parquet(tmp_path / "e.parquet")
    for path in sorted(tmp_path.iterdir()):
        np.testing.assert_array_equal(read_scores(path, small.shape), scores)


def test_predictions_that_cannot_be_are_refused(small, tmp_path):
    shape = small.shape
    path = tmp_path / "x.npz"
    np.savez(path, scores=np.zeros((3, 4)))
    with pytest.raises(InputError, match="windows, channels"):
        read_scores(path, shape)
    holes = np.zeros(shape)
    holes[0, :2] = np.nan
    np.savez(path, scores=holes)
    with pytest.raises(InputError, match="2 NaN"):
        read_scores(path, shape)
    np.savez(path, a=holes, b=holes)
    with pytest.raises(FormatError, match="scores"):
        read_scores(path, shape)
    path.write_text("no zip")
    with pytest.raises(FormatError):
        read_scores(path, shape)
    (tmp_path / "x.csv").write_text("1,2")
    with pytest.raises(FormatError, match="csv"):
        read_scores(tmp_path / "x.csv", shape)


def test_another_content_is_refused(folder, small, monkeypatch):
    truth = dict(small.arrays["truth"])
    truth["factor"] = np.ones_like(truth["factor"])
    np.savez(folder / "truth.npz", **truth)
    with pytest.raises(FormatError, match="truth/factor"):
        open_benchmark(folder)
    (folder / MANIFEST).write_text(json.dumps({"version": 1}))
    with pytest.raises(FormatError, match="benchmark get"):
        open_benchmark(folder)
    monkeypatch.setattr(benchmark_data, "SHA256", {"train/counts": "0"})
    with pytest.raises(ConflictError, match="numpy"):
        get_benchmark(folder)


def test_a_bundle_is_ranked_by_all_its_evidences(small, tmp_path):
    from calowatch.bundle.baseline import BaselineWindows, save_baseline
    from calowatch.models.baselines import Template

    channel = small.channels["channel"].to_numpy(np.int64)
    save_baseline(
        tmp_path / "flat", BaselineWindows("ring", Template("run3", channel, np.zeros(len(channel)))), {}
    )
    found = bundle_standings([tmp_path / "flat"], small)
    assert [standing.name for standing in found] == ["flat, z", "flat, mixture", "flat, calibrated mixture"]


def test_our_figures_are_shipped():
    names = [standing.name for standing in shipped_standings()]
    assert "true p, mixture" in names
    assert names[0] == "true p, all known"
    assert "reference, source score" in names
    assert all(standing.ours and 0 < standing.pr_auc[0] <= 1 for standing in shipped_standings())


def test_nothing_beats_the_bound(small):
    z, mixture, known = bound_standings(small, SMALL)
    assert [each.name for each in (z, mixture, known)] == [
        "true p, z",
        "true p, mixture",
        "true p, all known",
    ]
    assert known.pr_auc[0] >= max(z.pr_auc[0], mixture.pr_auc[0])
    for size, (rate, *_) in known.by_factor.items():
        # A few faults of each factor: their ratio alone may be unlucky by a few of 40,000 healthy samples.
        assert rate <= mixture.by_factor[size][0] + 1e-3


def test_the_bound_is_the_sum_over_all_that_could_have_been(small):
    """For a few channels of one window, written out: units by kind, factors by their chance."""
    p, test = true_p(SMALL), small.arrays["test"]
    scores = AllKnown(small, p).of_all()
    window, table = 3, channels_of_he()
    typical = p[test["run"] == test["run"][window]].reshape(-1, len(table))
    typical = typical[len(typical) // 2]
    hits, events = test["counts"][window].astype(float), test["n_events"][window].astype(float)[:, None]
    base = np.clip(p[window], 1e-9, 1 - 1e-9)

    def ratio(columns, factor):
        f = np.clip(factor * base[:, columns], 1e-12, 1 - 1e-12)
        b = base[:, columns]
        each = hits[:, columns] * np.log(f / b)
        return (each + (events - hits[:, columns]) * (np.log1p(-f) - np.log1p(-b))).sum(axis=0)

    for channel in (0, 1000, 6000):
        odds = []
        for kind, wanted in benchmark_data.UNITS:
            units = units_of(kind, table)
            (mine,) = [i for i, inside in enumerate(units.members) if channel in inside]
            chances = _chances(units.take([mine]), typical)[:, 0]
            assert chances.sum() == pytest.approx(1.0)
            for factor, chance in zip(benchmark_data.FACTORS, chances, strict=True):
                change = np.abs(np.minimum(1.0, factor * typical) - typical) > 1e-6
                if chance and change[channel]:
                    inside = units.members[mine]
                    whole = ratio(inside[change[inside]], factor).sum()
                    odds.append(np.log(chance * wanted / len(units)) + whole)
        assert scores[window, channel] == pytest.approx(np.logaddexp.reduce(odds), rel=1e-4, abs=1e-3)


def test_every_figure_is_shown_with_its_interval(small):
    chance = score("chance", np.random.default_rng(0).random(small.shape), small)
    perfect = score("perfect", (small.arrays["truth"]["factor"] != 1).astype(float), small)
    samples = healthy_samples(small)
    assert samples["other runs"] == (~small.arrays["truth"]["faulty"][:12]).sum() * 6768
    assert samples["other era"] == 0
    first, second = ranking_rows([chance, perfect], samples)
    assert [(row[0], row[1]) for row in (first, second)] == [("1", "perfect"), ("2", "chance")]
    assert all(len(row[2]) + 2 == len(HEAD) for row in (first, second))
    none = f"<{1 / samples['other runs']:.1e}".replace("e-0", "e-")
    assert first[2][1][0] == none  # less than one of the samples
    assert perfect.fpr["other runs"][2] > 1 / samples["other runs"]
    assert first[2][1][1].startswith("[0, ")
    assert second[2][0][1].startswith("[0.0")
    assert first[2][3] == ("-", "")  # no such runs in this small edition


def test_the_documented_ranking_is_the_one_shipped():
    page = (Path(__file__).parents[2] / "docs" / "benchmark.md").read_text(encoding="utf-8")
    samples = {"other runs": 541_440, "other pile-up": 541_440, "other era": 270_720}
    for place, name, figures in ranking_rows(shipped_standings(), samples):
        cells = (place, name, *(f"{value} {edges}" for value, edges in figures))
        assert f"| {' | '.join(cells)} |" in page
