"""Scores of anyone, from any framework, on the public benchmark, ranked beside ours."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import h5py
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
    "Standing",
    "baseline_standings",
    "bound_standings",
    "bundle_standings",
    "healthy_samples",
    "read_scores",
    "score",
    "shipped_standings",
]

Floats = npt.NDArray[np.floating[Any]]

_MIN_EVENTS = 100
_AT_ONCE = 8


@dataclass(frozen=True)
class Standing:
    """How one set of scores does; every figure is (value, lower, upper), 95 % intervals from drawing windows.

    The upper edge of a rate of zero is no lower than the exact one of Clopper and Pearson.

    Parameters
    ----------
    name
        Whose scores.
    pr_auc
        Area under the precision-recall curve over all channel-windows of other runs: what ranks.
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


def read_scores(path: Path | str, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return predictions: one score per test window and channel, larger for more suspicious.

    Parameters
    ----------
    path
        ``.npy``; ``.npz`` or HDF5 with one array or one called ``scores``; Parquet with a row per window and a column
        per channel, or with columns ``window``, ``channel`` (its row in channels.csv) and ``score``.
    shape
        Windows and channels.

    Raises
    ------
    FormatError
        When the file is none of these.
    InputError
        When the shape is another, or a score is NaN.
    """
    path = Path(path)
    try:
        values = _read(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        fix = "write it with numpy.savez(FILE, scores=scores)"
        raise FormatError(
            path, "scores as npy, npz, HDF5 or Parquet", f"something else ({error})", fix
        ) from error
    if values.shape != shape:
        fix = "give one score per window of test.npz and channel of channels.csv, in their order"
        raise InputError(path, f"scores of shape {shape}: windows, channels", str(values.shape), fix)
    if np.isnan(values).any():
        found = f"{int(np.isnan(values).sum())} NaN"
        raise InputError(
            path, "a number everywhere", found, "give the lowest score where you have no verdict"
        )
    return values


def _read(path: Path) -> npt.NDArray[np.float64]:
    if path.suffix == ".npy":
        return np.asarray(np.load(path, allow_pickle=False), np.float64)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return np.asarray(arrays[_only(list(arrays.files))], np.float64)
    if path.suffix in (".h5", ".hdf5"):
        with h5py.File(path) as file:
            return np.asarray(file[_only(list(file))][()], np.float64)
    if path.suffix in (".parquet", ".pq"):
        table = pd.read_parquet(path)
        if {"window", "channel", "score"} <= set(table.columns):
            table = table.pivot_table(index="window", columns="channel", values="score", sort=True)
        return table.to_numpy(np.float64)
    raise ValueError(f"{path.suffix or 'no'} ending")


def _only(names: list[str]) -> str:
    if "scores" in names:
        return "scores"
    if len(names) != 1:
        raise KeyError(f"one array, or one called scores, among {', '.join(names) or 'nothing'}")
    return names[0]


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
    finite = _finite(values)
    return _standing_of(name, lambda _: finite, benchmark, ours=ours, draws=draws)


def _finite(values: Floats) -> npt.NDArray[np.float32]:
    return np.nan_to_num(np.asarray(values, np.float32), posinf=1e30, neginf=-1e30)


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
        return _ranking(values, (windows, positive), np.sort(values[quiet], axis=1), draws)

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
    """Return the healthy channel-windows behind the false-positive rates of each condition."""
    quiet, condition = ~benchmark.arrays["truth"]["faulty"], benchmark.arrays["test"]["condition"]
    n = benchmark.shape[1]
    return {words: int((quiet & (condition == i)).sum()) * n for i, words in enumerate(CONDITIONS)}


def bound_standings(
    benchmark: Benchmark, edition: Edition | None = None, progress: Progress = SILENT
) -> list[Standing]:
    """Return the standings of the bound: z and mixture at the true p, and the ratios that know how faults were made."""
    p = true_p(edition or Edition())
    known = AllKnown(benchmark, p, progress)

    def values_for(factor: float | None) -> npt.NDArray[np.float32]:
        return _finite(known.of_all() if factor is None else known.of_factor(factor))

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


def _ranking(
    values: Floats, chosen: tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]], healthy: Floats, draws: int
) -> Ranking:
    """Return the ranking of some channel-windows of faulty windows, each paired with a healthy window as its block."""
    windows, positive = chosen
    rows, columns = np.nonzero(positive[windows])
    blocks = rows % len(healthy)
    prevalence = len(rows) / (len(windows) * values.shape[1])
    counts = block_counts((values[windows[rows], columns], blocks), healthy)
    return rank(counts, prevalence=prevalence, draws=draws)


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
    """Return the standings of our baselines on the published benchmark, as they came with the program."""
    told = json.loads(_shipped().read_text(encoding="utf-8"))
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
    write_json(
        path, {"version": VERSION, "provenance": dict(record), "standings": [s.to_dict() for s in standings]}
    )
