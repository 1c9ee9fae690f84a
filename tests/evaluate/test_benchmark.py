"""The public benchmark: frozen content, refusals, and a rival's ten lines of numpy."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_curve

from calowatch.core.errors import ConflictError, FormatError
from calowatch.detector.units import unit_names
from calowatch.evaluate import benchmark as scoring
from calowatch.evaluate import benchmark_data
from calowatch.evaluate.benchmark import (
    SCORING,
    bound_standings,
    bundle_standings,
    healthy_samples,
    save_standings,
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
from calowatch.evaluate.benchmark_scores import read_scores
from calowatch.present.benchmark import HEAD, ranking_rows
from calowatch.simulate.injection import units_of

DOCS = Path(__file__).parents[2] / "docs" / "benchmark.md"
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


def test_a_rival_needs_a_dozen_lines(folder, monkeypatch):
    (example,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert sum(bool(line) for line in example.splitlines()) <= 13
    monkeypatch.chdir(folder.parent)
    exec(compile(example, "docs/benchmark.md", "exec"), {})

    benchmark = open_benchmark(folder)
    standing = score("mine", read_scores("mine.npz", benchmark.shape), benchmark)
    chance = score("chance", np.random.default_rng(0).random(benchmark.shape), benchmark)
    assert standing.pr_auc[0] > 0.6
    assert chance.pr_auc[0] < 0.05
    assert standing.pr_auc[1] <= standing.pr_auc[0] <= standing.pr_auc[2]
    assert set(standing.by_factor) <= {f"{factor:g}" for factor in benchmark_data.FACTORS}


def test_another_content_is_refused(folder, small, monkeypatch):
    truth = dict(small.arrays["truth"])
    truth["factor"] = np.ones_like(truth["factor"])
    np.savez(folder / "truth.npz", **truth)
    with pytest.raises(FormatError, match="truth/factor"):
        open_benchmark(folder)
    whole = (folder / "test.npz").read_bytes()
    for broken in (b"", whole[: len(whole) // 2], whole[:5000] + bytes(8) + whole[5008:]):
        (folder / "test.npz").write_bytes(broken)
        with pytest.raises(FormatError, match="benchmark get"):
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


def test_our_figures_are_of_this_definition(small, tmp_path, monkeypatch):
    chance = score("chance", np.random.default_rng(0).random(small.shape), small)
    save_standings(tmp_path / "a.json", [chance], {})
    told = json.loads((tmp_path / "a.json").read_text())
    assert told["scoring"] == SCORING
    del told["scoring"]
    (tmp_path / "a.json").write_text(json.dumps(told))
    monkeypatch.setattr(scoring, "_shipped", lambda: tmp_path / "a.json")
    with pytest.raises(FormatError, match=r"scoring None.*--baselines"):
        shipped_standings()


@pytest.fixture(scope="module")
def bounds(small):
    return bound_standings(small, SMALL)


@pytest.fixture(scope="module")
def true_z(small):
    p, test = true_p(SMALL), small.arrays["test"]
    events = test["n_events"].astype(float)[:, :, None]
    hits, expected, variance = (
        each.sum(axis=1) for each in (test["counts"], events * p, events * p * (1.0 - p))
    )
    return np.abs(hits - expected) / np.sqrt(np.maximum(variance, 1e-9))


def test_the_bound_stands_above(bounds):
    z, mixture, known = bounds
    assert [each.name for each in (z, mixture, known)] == [
        "true p, z",
        "true p, mixture",
        "true p, all known",
    ]
    assert known.pr_auc[0] > max(z.pr_auc[0], mixture.pr_auc[0])
    for size, (rate, *_) in known.by_factor.items():
        # A few faults of each factor: their ratio alone may be unlucky by a few of 80,000 healthy samples.
        assert rate <= mixture.by_factor[size][0] + 1e-3


def test_that_something_is_wrong_in_a_window_is_not_enough(small, bounds, true_z):
    """A score that raises every channel of a faulty window says little of where the fault is."""
    honest = score("z", true_z, small)
    top = true_z.max(axis=1, keepdims=True)
    ranked = np.sort(true_z, axis=1)[:, -25][:, None]
    everywhere = score("max", top + 1e-6 * true_z, small)
    added = score("add", true_z + 3 * ranked, small)
    assert everywhere.pr_auc[0] < 0.5 * honest.pr_auc[0]
    assert everywhere.fpr["other runs"][0] > 100 * honest.fpr["other runs"][0]
    for cheat in (everywhere, added):
        assert cheat.pr_auc[0] < bounds[2].pr_auc[0]
        assert cheat.fpr["other runs"][0] >= bounds[2].fpr["other runs"][0]


def test_figures_are_those_of_all_healthy_channels(small, true_z):
    """Against scikit-learn, on all channel-windows of the condition."""
    truth, mine = small.arrays["truth"], small.arrays["test"]["condition"] == 0
    found = score("z", true_z, small)
    label = truth["factor"][mine].ravel() != 1.0
    assert found.pr_auc[0] == pytest.approx(average_precision_score(label, true_z[mine].ravel()), abs=1e-3)
    single = scoring._singles(small) & (truth["factor"] == np.float32(0.8))
    used = mine[:, None] & (single | (truth["factor"] == 1.0))
    rate, capture, _ = roc_curve(single[used], true_z[used])
    assert found.fpr["other runs"][0] == pytest.approx(rate[capture >= 0.99][0], abs=1e-9)


def test_scores_are_told_apart_beyond_single_precision(small):
    exact = np.random.default_rng(2).random(small.shape)
    shrunk = score("a", 1.0 + 1e-9 * exact, small)
    assert shrunk.pr_auc[0] == pytest.approx(score("b", exact, small).pr_auc[0], rel=1e-5)


def test_the_bound_is_the_sum_over_all_that_could_have_been(small):
    """For a few channels of one window, written out: what their boxes can hold, by unit and factor."""
    p, test, truth = true_p(SMALL), small.arrays["test"], small.arrays["truth"]
    known, table = AllKnown(small, p), channels_of_he()
    scores, of_weak = known.of_all(), known.of_factor(0.8)
    assert np.isneginf(scores[~truth["faulty"]]).all()
    window = int(np.flatnonzero(truth["faulty"])[1])
    box = unit_names(table)["rbx"].to_numpy()
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
        own, rest, weak = [], [np.log(13 / 36)], -np.inf
        for kind, wanted in benchmark_data.UNITS:
            units = units_of(kind, table)
            inside_box = [i for i, inside in enumerate(units.members) if box[inside[0]] == box[channel]]
            chances = _chances(units.take(inside_box), typical)
            assert chances.sum(axis=0) == pytest.approx(1.0)
            for place, unit in enumerate(inside_box):
                inside = units.members[unit]
                for factor, chance in zip(benchmark_data.FACTORS, chances[:, place], strict=True):
                    if not chance:
                        continue
                    change = np.abs(np.minimum(1.0, factor * typical) - typical) > 1e-6
                    term = np.log(chance * wanted / len(units)) + ratio(inside[change[inside]], factor).sum()
                    (own if channel in inside and change[channel] else rest).append(term)
                    if kind == "channel" and channel in inside and factor == 0.8:
                        weak = term
        rest = np.logaddexp.reduce(rest)
        assert scores[window, channel] == pytest.approx(np.logaddexp.reduce(own) - rest, rel=1e-4, abs=1e-3)
        assert of_weak[window, channel] == pytest.approx(weak - rest, rel=1e-4, abs=1e-3)


def test_every_figure_is_shown_with_its_interval(small):
    chance = score("chance", np.random.default_rng(0).random(small.shape), small)
    perfect = score("perfect", (small.arrays["truth"]["factor"] != 1).astype(float), small)
    samples = healthy_samples(small)
    assert samples["other runs"] == (small.arrays["truth"]["factor"][:12] == 1).sum()
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
    page = DOCS.read_text(encoding="utf-8")
    samples = {"other runs": 1_074_182, "other pile-up": 1_074_223, "other era": 537_097}
    for place, name, figures in ranking_rows(shipped_standings(), samples):
        cells = (place, name, *(f"{value} {edges}" for value, edges in figures))
        assert f"| {' | '.join(cells)} |" in page
