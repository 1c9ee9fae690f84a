"""Scores of anyone, from any framework, on the public benchmark, ranked beside ours."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.bundle.baseline import BaselineWindows
from calowatch.bundle.expecting import WindowModel, load_window_model, training_sigma
from calowatch.core.errors import FormatError, InputError
from calowatch.core.files import write_json
from calowatch.core.progress import SILENT, Progress
from calowatch.core.schema import make_occupancy
from calowatch.detect.calibration import Misfit
from calowatch.detector.units import unit_names
from calowatch.evaluate.benchmark_bound import AllKnown
from calowatch.evaluate.benchmark_data import (
    CONDITIONS,
    VERSION,
    Benchmark,
    Edition,
    channels_of_he,
    true_p,
)
from calowatch.evaluate.campaign.evidence import SAID, scores_of
from calowatch.metrics.blocks import CAPTURES, Ranking, block_counts, rank
from calowatch.models.baselines import Ewma, Template, run_windows
from calowatch.models.pca import Pca
from calowatch.models.reference import Reference

__all__ = [
    "SCORING",
    "Standing",
    "baseline_standings",
    "bound_standings",
    "bundle_standings",
    "healthy_samples",
    "save_standings",
    "score",
    "shipped_standings",
]

Floats = npt.NDArray[np.floating[Any]]

SCORING = 2
"""Definition of the figures: since 2, healthy channels of faulty windows are negatives as those of healthy ones are."""

_MIN_EVENTS = 100
_AT_ONCE = 8
_NONE = -1.0  # below every rank


@dataclass(frozen=True)
class Standing:
    """How one set of scores does; every figure is (value, lower, upper), 95 % intervals from drawing windows.

    The upper edge of a rate of zero is no lower than the exact one of Clopper and Pearson.

    Parameters
    ----------
    name
        Whose scores.
    pr_auc
        Area under the precision-recall curve over all channel-windows of other runs, those of faulty windows too: what
        ranks.
    fpr
        False-positive rate per channel-window at 99 % capture of single channels at factor 0.8, by condition.
    by_factor
        The same on other runs, by factor.
    ours
        Whether it came with the program.
    """

    name: str
    pr_auc: tuple[float, float, float]
    fpr: Mapping[str, tuple[float, float, float]]
    by_factor: Mapping[str, tuple[float, float, float]]
    ours: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return {
            "name": self.name,
            "pr_auc": list(self.pr_auc),
            "fpr": {key: list(value) for key, value in self.fpr.items()},
            "by_factor": {key: list(value) for key, value in self.by_factor.items()},
            "ours": self.ours,
        }


def score(
    name: str, values: Floats, benchmark: Benchmark, *, ours: bool = False, draws: int = 200
) -> Standing:
    """Return how scores do.

    Parameters
    ----------
    name
        Whose.
    values
        Shape (window, channel), finite or infinite, larger for more suspicious.
    benchmark
        The benchmark.
    ours
        Whether they came with the program.
    draws
        Of the bootstrap.
    """
    ranks = _ranks(values)
    return _standing_of(name, lambda _: ranks, benchmark, ours=ours, draws=draws)


def _ranks(values: Floats) -> npt.NDArray[np.float32]:
    """Return scores as their places among the distinct ones, which single precision tells apart as all do not."""
    known = np.nan_to_num(values, nan=0.0, posinf=np.inf, neginf=-np.inf)
    return np.unique(known, return_inverse=True)[1].reshape(values.shape).astype(np.float32)


def _standing_of(
    name: str,
    values_for: Callable[[float | None], npt.NDArray[np.float32]],
    benchmark: Benchmark,
    *,
    ours: bool,
    draws: int = 200,
) -> Standing:
    """Return how scores do that may know the factor: ``values_for`` is asked for each factor, and for all faults."""
    factor, faulty = benchmark.arrays["truth"]["factor"], benchmark.arrays["truth"]["faulty"]
    condition = benchmark.arrays["test"]["condition"]
    single = _singles(benchmark)
    fpr, by_factor = {}, {}
    pr_auc = (float("nan"),) * 3

    def ranking(known: float | None, positive: npt.NDArray[np.bool_]) -> Ranking:
        values = values_for(known)
        negatives = _negatives(values, factor == 1.0, (windows, np.flatnonzero(quiet)))
        return _ranking(values, (windows, positive), negatives, draws)

    for number, words in enumerate(CONDITIONS):
        mine = condition == number
        windows, quiet = np.flatnonzero(mine & faulty), mine & ~faulty
        if not len(windows) or not quiet.any():
            continue
        sizes = np.unique(factor[windows][single[windows]])
        for size in sizes[(sizes != 1.0) & ((number == 0) | np.isclose(sizes, 0.8))]:
            found = ranking(float(size), single & (factor == size))
            rate = found.false_positive_rate[CAPTURES.index(0.99)]
            if number == 0:
                by_factor[f"{size:g}"] = rate
            if np.isclose(size, 0.8):
                fpr[words] = rate
        if number == 0:
            pr_auc = ranking(None, factor != 1.0).average_precision
    return Standing(name, pr_auc, fpr, by_factor, ours)


def healthy_samples(benchmark: Benchmark) -> dict[str, int]:
    """Return the healthy channel-windows behind the figures of each condition, in healthy and in faulty windows."""
    healthy, condition = benchmark.arrays["truth"]["factor"] == 1.0, benchmark.arrays["test"]["condition"]
    return {words: int(healthy[condition == i].sum()) for i, words in enumerate(CONDITIONS)}


def bound_standings(
    benchmark: Benchmark, edition: Edition | None = None, progress: Progress = SILENT
) -> list[Standing]:
    """Return the standings of the bound: z and mixture at the true p, and the ratios that know how faults were made."""
    p = true_p(edition or Edition())
    known = AllKnown(benchmark, p, progress)

    def values_for(factor: float | None) -> npt.NDArray[np.float32]:
        return _ranks(known.of_all() if factor is None else known.of_factor(factor))

    name = f"true p, {SAID['known']}"
    return [
        *_standings("true p", lambda part, *_: (p[part], None), None, benchmark),
        _standing_of(name, values_for, benchmark, ours=True),
    ]


def _singles(benchmark: Benchmark) -> npt.NDArray[np.bool_]:
    """Return which channel-windows are faults of single channels."""
    faults = benchmark.faults[benchmark.faults["unit_type"] == "channel"]
    place = {name: i for i, name in enumerate(unit_names(channels_of_he())["channel_name"])}
    found = np.zeros(benchmark.shape, dtype=bool)
    found[faults["window"], [place[name] for name in faults["unit"]]] = True
    return found


def _negatives(
    values: Floats,
    healthy: npt.NDArray[np.bool_],
    windows: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
) -> npt.NDArray[np.float32]:
    """Return the scores of healthy channels, increasing along each row, filled up with `_NONE`.

    Each row is a block: a window without faults and the faulty one of the same place.
    """
    faulty, quiet = windows
    rows = np.full((max(len(faulty), len(quiet)), 2 * values.shape[1]), _NONE, np.float32)
    rows[: len(quiet), : values.shape[1]] = values[quiet]
    rows[: len(faulty), values.shape[1] :] = np.where(healthy[faulty], values[faulty], _NONE)
    rows.sort(axis=1)
    return rows


def _ranking(
    values: Floats,
    chosen: tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]],
    negatives: npt.NDArray[np.float32],
    draws: int,
) -> Ranking:
    """Return the ranking of some channel-windows of faulty windows against the healthy ones."""
    windows, positive = chosen
    rows, columns = np.nonzero(positive[windows])
    counts = block_counts((values[windows[rows], columns], rows), negatives)
    filled = (negatives == _NONE).sum(axis=1)
    sizes = counts.sizes - np.column_stack([np.zeros_like(filled), filled])
    beaten = (counts.beaten - filled[:, None]).astype(np.float32)
    return rank(replace(counts, beaten=beaten, sizes=sizes), draws=draws)


def _windows(
    run_arrays: Mapping[str, npt.NDArray[Any]], length: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return healthy runs as windows."""
    counts, events, run = (run_arrays[name] for name in ("counts", "n_events", "run"))
    starts = [
        first
        for number in np.unique(run)
        for first in np.flatnonzero(run == number)[::length][: int((run == number).sum()) // length]
    ]
    rows = np.array(starts)[:, None] + np.arange(length)
    return counts[rows].astype(np.int32), events[rows].astype(np.int64)


def _standings(
    name: str, expect: Any, sigma: npt.NDArray[np.float64] | None, benchmark: Benchmark
) -> list[Standing]:
    """Return the standing of each evidence of a model; ``expect`` gives p and the source's score of windows."""
    test = benchmark.arrays["test"]
    parts: dict[str, list[npt.NDArray[np.float32]]] = {}
    for first in range(0, len(test["counts"]), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        counts, events = test["counts"][part].astype(np.int32), test["n_events"][part].astype(np.int64)
        p, source = expect(part, counts, events)
        found = scores_of((counts, events, p), source, sigma, _MIN_EVENTS)
        for evidence, values in found.channel.items():
            parts.setdefault(evidence, []).append(values.astype(np.float32))
    return [
        score(f"{name}, {SAID[evidence]}", np.concatenate(values), benchmark, ours=True)
        for evidence, values in parts.items()
    ]


def _model_standings(name: str, model: WindowModel, benchmark: Benchmark) -> list[Standing]:
    numbers = benchmark.channels["channel"].to_numpy(np.int64)
    if not np.array_equal(np.sort(model.channel), np.sort(numbers)):
        found = f"{len(model.channel)} channels, others"
        raise InputError(name, f"the {len(numbers)} channels of HE", found, "train it on layout he")
    columns = pd.Index(numbers).get_indexer(pd.Index(model.channel))
    back = np.argsort(columns)

    def expect(_: slice, counts: npt.NDArray[Any], events: npt.NDArray[Any]) -> tuple[Floats, Floats | None]:
        windows, length, n = counts.shape
        shape = (windows * length, 1) if model.window == 1 else (windows, length)
        found = model.predict_windows(counts[:, :, columns].reshape(*shape, n), events.reshape(shape))
        source = found.source_score
        if source is not None:
            source = source.reshape(windows, -1, n).mean(axis=1)[:, back]
        return found.p.reshape(windows, length, n)[:, :, back], source

    misfit = Misfit(numbers)
    counts, events = _windows(benchmark.arrays["validation"], benchmark.arrays["test"]["counts"].shape[1])
    for first in range(0, len(counts), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        p, _ = expect(part, counts[part], events[part])
        misfit.add(counts[part], events[part], np.clip(np.asarray(p, np.float64), 1e-9, 1.0 - 1e-9))
    return _standings(name, expect, misfit.sigma(), benchmark)


def bundle_standings(folders: Sequence[Path], benchmark: Benchmark) -> list[Standing]:
    """Return the standings of trained bundles, by every evidence."""
    return [
        standing
        for folder in folders
        for standing in _model_standings(Path(folder).resolve().name, load_window_model(folder), benchmark)
    ]


def baseline_standings(
    benchmark: Benchmark, edition: Edition | None = None, progress: Progress = SILENT
) -> list[Standing]:
    """Return the standings of our baselines, fitted on the benchmark's own training runs, and of the bound."""
    train = benchmark.arrays["train"]
    runs = []
    for number in np.unique(train["run"]):
        rows = train["run"] == number
        attrs = {"run": int(number), "era": "run3", "provenance": {}, "source": f"benchmark run {number}"}
        counts = train["counts"][rows].astype(np.int32)
        runs.append(
            make_occupancy(counts, benchmark.channels, train["ls"][rows], train["n_events"][rows], attrs)
        )
    reference = Reference().fit(runs)
    template = Template("run3", reference.channel_, reference.log_response_)
    flat = template.with_response(np.zeros(len(reference.channel_)))
    made: dict[str, Template | Pca | Ewma] = {
        "ring": flat,
        "reference": template,
        "pca": Pca.fit(runs, 5),
        "ewma": Ewma.fit(runs, 5),
    }
    found = list[Standing]()
    for name, baseline in progress.track(made.items(), "scoring baselines", len(made)):
        model = BaselineWindows(name, baseline, 5)
        model = model.with_sigma(training_sigma(model, (run_windows(run, 5) for run in runs)))
        found += _model_standings(name, model, benchmark)
    return found + bound_standings(benchmark, edition, progress)


def _shipped() -> Path:
    return Path(str(files("calowatch") / "campaigns" / f"benchmark-v{VERSION}.json"))


def shipped_standings() -> list[Standing]:
    """Return the standings of our baselines on the published benchmark, as they came with the program.

    Raises
    ------
    FormatError
        When their figures are of another definition.
    """
    told = json.loads(_shipped().read_text(encoding="utf-8"))
    found = (told.get("version"), told.get("scoring"))
    if found != (VERSION, SCORING):
        expected = f"figures of benchmark version {VERSION}, scoring {SCORING}"
        fix = "make them here with calowatch benchmark score --baselines"
        raise FormatError(_shipped().name, expected, f"version {found[0]}, scoring {found[1]}", fix)
    return [_standing(row) for row in told["standings"]]


def _standing(row: Mapping[str, Any]) -> Standing:
    def triple(values: Sequence[float]) -> tuple[float, float, float]:
        value, low, high = (float(each) for each in values)
        return value, low, high

    return Standing(
        str(row["name"]),
        triple(row["pr_auc"]),
        {key: triple(value) for key, value in row["fpr"].items()},
        {key: triple(value) for key, value in row["by_factor"].items()},
        bool(row["ours"]),
    )


def save_standings(path: Path, standings: Sequence[Standing], record: Mapping[str, Any]) -> None:
    """Write standings as the program ships them."""
    rows = [standing.to_dict() for standing in standings]
    write_json(path, {"version": VERSION, "scoring": SCORING, "provenance": dict(record), "standings": rows})
