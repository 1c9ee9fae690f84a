"""The public benchmark, version 1: what it holds, drawn from seeds and frozen by the SHA-256 of every array.

================  ============================================================================================
``train.npz``     healthy runs: ``counts`` (ls, channel), ``n_events``, ``run``, ``ls``, ``pileup`` (ls,)
``validation.npz``  the same of other runs
``test.npz``      windows of 5 lumisections: ``counts`` (window, time, channel), ``n_events`` (window, time),
                  ``run``, ``condition`` (window,): 0 other runs, 1 other pile-up, 2 other era
``truth.npz``     ``factor`` on p (window, channel), 1 where healthy; ``faulty`` (window,)
``faults.csv``    one row per fault: window, unit, unit_type, factor, number of channels
``channels.csv``  one row per channel, in the order of all arrays
================  ============================================================================================
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.core.errors import ConflictError, FormatError
from calowatch.core.files import atomic_directory, write_json
from calowatch.core.progress import SILENT, Progress
from calowatch.core.provenance import provenance
from calowatch.detector.table import channel_table
from calowatch.evaluate.benchmark_scores import BROKEN
from calowatch.simulate.ageing import Ageing
from calowatch.simulate.conditions import ConditionsSettings
from calowatch.simulate.injection import UNSEEN, UnitList, spread_out, units_of
from calowatch.simulate.occupancy import OccupancySettings, draw_truth

__all__ = [
    "CONDITIONS",
    "FACTORS",
    "MANIFEST",
    "SHA256",
    "UNITS",
    "VERSION",
    "Benchmark",
    "Edition",
    "array_hash",
    "channels_of_he",
    "draw_benchmark",
    "get_benchmark",
    "open_benchmark",
    "true_p",
]

VERSION = 1
MANIFEST = "benchmark.json"
WINDOW = 5
CONDITIONS = ("other runs", "other pile-up", "other era")

SHA256: Mapping[str, str] = MappingProxyType(
    {
        "train/counts": "2852de802523a72b9c7f3d0b13b368a3ee76bb9504851caf92a394b14d8a1fb6",
        "train/n_events": "582e4bc550ea44aba5fbd17228e16cf6ae9e4ff639ee0bd3af92b2d84c9d887c",
        "train/run": "155b7546a61811b290ecbb9bbca2e4bfcbcc9b5389b745d35a86213c633f947f",
        "train/ls": "2a8623dcf2f4604bf186faebf96e922fcfacab5404112a26dc63bdf11d3e8538",
        "train/pileup": "42de924d82d5270c88a681a91ff461ee2d346b16c83dbd020ceead756f25a435",
        "validation/counts": "17fe89b702691fd191ef9c403fdabd8848647952dabf0d0d602c24f0271d8b17",
        "validation/n_events": "84f7a38541ec54797f28948a3a7ea47a887fdf3ab558ffcad0ad3a9add758969",
        "validation/run": "7ba23dbebaf5f42a482fb8e141beb983139910122043d05585ab6bfb469042a6",
        "validation/ls": "2319538e2319ae13a3e8329ac8b5648e1b9e22c6ba5f9a66cd98251de123501a",
        "validation/pileup": "3336e24ce9501223b8450a7882e065c2d85b71c3ed7d4425b950920c63f605b0",
        "test/counts": "a94fed9735d408b71550bca47da3593a7ecd1fdbe008d86c553b98f697b0fb7e",
        "test/n_events": "8ff88bd617b48dc5d788e41c9d6c53e8c8eb0133f19608d5dd004e37b232453c",
        "test/run": "8698656f37dbae0d03f2eac2b2b8ba97b7d8b614cb9cafcf7ff1c4238c64b1f8",
        "test/condition": "6367312ec04400f9c0aaefbc5e652e52a6911c6416cf8b3e84a57a4635b55a6a",
        "truth/factor": "82880e3fb3158de67b6497adbd8dda425b48c65c6d280a07c03cda41d7df0999",
        "truth/faulty": "33f7f683c94bc4c1c12e2002bd19df4f72936818ed69d521872ebf708ff8c708",
    }
)
"""Of every array of version 1; another content is another benchmark."""

FACTORS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1.1, 1.2, 2.0)
UNITS = (("channel", 16), ("fibre", 4), ("card", 2), ("rm", 1))  # of each faulty window
_STEP = 2.0**-20  # p is rounded to multiples of it, so that the last digit of a logarithm changes no draw
_SEED = 20_261_121

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Edition:
    """Which runs a benchmark is drawn from: (pile-up, condition) of each run, and lumisections per run.

    The default is the published one; smaller ones are for tests.
    """

    train: tuple[float, ...] = (42.0, 47.0, 52.0, 57.0)
    validation: tuple[float, ...] = (45.0, 54.0)
    test: tuple[tuple[float, int], ...] = ((46.0, 0), (53.0, 0), (34.0, 1), (66.0, 1), (50.0, 2))
    train_ls: int = 300
    validation_ls: int = 150
    test_ls: int = 400


@dataclass(frozen=True, eq=False)
class Benchmark:
    """A benchmark in memory: the arrays of each file by name, and the tables of faults and channels."""

    arrays: Mapping[str, Arrays]
    faults: pd.DataFrame
    channels: pd.DataFrame

    @property
    def shape(self) -> tuple[int, int]:
        """Windows and channels that a prediction must have."""
        windows, channels = self.arrays["truth"]["factor"].shape
        return int(windows), int(channels)


def channels_of_he() -> pd.DataFrame:
    """Return the channels of the benchmark, in the order of its arrays."""
    whole = channel_table("run3")
    return whole[whole["subdet"] == "HE"].reset_index(drop=True)


def _run(number: int, pileup: float, n_ls: int, condition: int = 0) -> OccupancySettings:
    return OccupancySettings(
        run=number,
        n_ls=n_ls,
        conditions=ConditionsSettings("levelled", pileup),
        subdets=("HE",),
        seed=_SEED,
        ageing=Ageing(seed=3) if condition == 2 else None,
    )


def _p(settings: OccupancySettings) -> npt.NDArray[np.float64]:
    """Return the true p of a run, rounded."""
    return np.asarray(np.round(draw_truth(settings).p(healthy=True) / _STEP) * _STEP, np.float64)


def true_p(edition: Edition) -> npt.NDArray[np.float64]:
    """Return the true healthy p of the test windows, (window, time, channel): for bounds, not for predictions."""
    runs = _test_runs(edition)
    parts = [_p(run).reshape(-1, WINDOW, len(channels_of_he())) for run, _ in runs]
    return np.concatenate(parts)


def _test_runs(edition: Edition) -> list[tuple[OccupancySettings, int]]:
    return [
        (_run(382_001 + i, pileup, edition.test_ls, condition), condition)
        for i, (pileup, condition) in enumerate(edition.test)
    ]


def _healthy(runs: list[OccupancySettings]) -> dict[str, npt.NDArray[Any]]:
    parts: dict[str, list[npt.NDArray[Any]]] = {}
    for run in runs:
        conditions = draw_truth(run).conditions
        rng = np.random.default_rng([_SEED, run.run])
        counts = rng.binomial(conditions.n_events[:, None], _p(run)).astype(np.uint16)
        told: dict[str, npt.NDArray[Any]] = {
            "counts": counts,
            "n_events": conditions.n_events.astype(np.int32),
            "run": np.full(len(counts), run.run, np.int32),
            "ls": conditions.ls.astype(np.int32),
            "pileup": np.round(conditions.pileup, 3).astype(np.float32),
        }
        for name, values in told.items():
            parts.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in parts.items()}


def draw_benchmark(edition: Edition | None = None, progress: Progress = SILENT) -> Benchmark:
    """Return a benchmark drawn anew.

    Parameters
    ----------
    edition
        By default the published one.
    progress
        Told of each run.
    """
    edition = edition or Edition()
    train = [_run(380_001 + i, pileup, edition.train_ls) for i, pileup in enumerate(edition.train)]
    validation = [
        _run(381_001 + i, pileup, edition.validation_ls) for i, pileup in enumerate(edition.validation)
    ]
    table = channels_of_he()
    lists = [(units_of(kind, table), n) for kind, n in UNITS]
    test: dict[str, list[npt.NDArray[Any]]] = {}
    rows = list[dict[str, Any]]()
    done = 0
    for run, condition in progress.track(_test_runs(edition), "drawing test runs"):
        found, faults = _test_run(run, condition, lists)
        for name, values in found.items():
            test.setdefault(name, []).append(values)
        rows += [{**row, "window": row["window"] + done} for row in faults]
        done += len(found["run"])
    whole = {name: np.concatenate(values) for name, values in test.items()}
    truth = {name: whole.pop(name) for name in ("factor", "faulty")}
    arrays = {"train": _healthy(train), "validation": _healthy(validation), "test": whole, "truth": truth}
    return Benchmark(arrays, pd.DataFrame(rows), table)


def _test_run(
    run: OccupancySettings, condition: int, lists: list[tuple[UnitList, int]]
) -> tuple[dict[str, npt.NDArray[Any]], list[dict[str, Any]]]:
    """Return the windows of a test run, half of them with faults, and the faults."""
    p = _p(run)
    n_events = draw_truth(run).conditions.n_events
    rng = np.random.default_rng([_SEED, run.run])
    n = len(n_events) // WINDOW
    factor = np.ones((n, p.shape[1]), np.float32)
    faulty = rng.permutation(n) < n // 2
    typical = p[len(p) // 2]
    rows = list[dict[str, Any]]()
    for window in np.flatnonzero(faulty):
        taken: set[int] = set()
        for units, wanted in lists:
            free = [i for i in range(len(units)) if taken.isdisjoint(units.guards[i])]
            chosen = spread_out(units.take(free), wanted, rng)
            for position in np.array(free)[chosen]:
                one = units.take([int(position)])
                size = float(rng.choice(FACTORS))
                if one.saturated(typical, size)[0]:
                    size = float(rng.choice([each for each in FACTORS if each < 1.0]))
                # A channel that has no higher p to reach is healthy, whatever its unit does.
                columns = one.members[0]
                columns = columns[
                    np.abs(np.minimum(1.0, size * typical[columns]) - typical[columns]) > UNSEEN
                ]
                taken |= one.guards[0]
                factor[window, columns] = size
                name, kind = units.names[int(position)], units.unit_type
                rows.append(
                    {
                        "window": int(window),
                        "unit": name,
                        "unit_type": kind,
                        "factor": size,
                        "n": len(columns),
                    }
                )
    changed = np.minimum(1.0, np.repeat(factor.astype(np.float64), WINDOW, axis=0) * p)
    changed = np.round(changed / _STEP) * _STEP
    counts = rng.binomial(n_events[:, None], changed).astype(np.uint16)
    return {
        "counts": counts.reshape(n, WINDOW, -1),
        "n_events": n_events.reshape(n, WINDOW).astype(np.int32),
        "run": np.full(n, run.run, np.int32),
        "condition": np.full(n, condition, np.int8),
        "factor": factor,
        "faulty": faulty,
    }, rows


def array_hash(values: npt.NDArray[Any]) -> str:
    """Return the SHA-256 of type, shape and little-endian content of an array."""
    plain = np.ascontiguousarray(values)
    plain = plain.astype(plain.dtype.newbyteorder("<"), copy=False)
    digest = hashlib.sha256(f"{plain.dtype.str}{plain.shape}".encode())
    digest.update(plain.tobytes())
    return digest.hexdigest()


def _hashes(benchmark: Benchmark) -> dict[str, str]:
    return {
        f"{file}/{name}": array_hash(values)
        for file, arrays in benchmark.arrays.items()
        for name, values in arrays.items()
    }


def get_benchmark(folder: Path, progress: Progress = SILENT) -> dict[str, Any]:
    """Draw the benchmark into a folder, and return its manifest.

    Raises
    ------
    ConflictError
        When the folder holds something else, or the arrays drawn here are not those of the published version.
    """
    benchmark = draw_benchmark(progress=progress)
    found = _hashes(benchmark)
    other = sorted(name for name in SHA256 if found.get(name) != SHA256[name])
    if other:
        raise ConflictError(
            folder,
            f"the arrays of benchmark version {VERSION}",
            f"others in {', '.join(other)} (numpy {np.__version__} draws other numbers)",
            "install the numpy of constraints.txt",
        )
    manifest = {
        "benchmark": "calowatch HE occupancy",
        "version": VERSION,
        "sha256": found,
        "shape": list(benchmark.shape),
        "conditions": list(CONDITIONS),
        "factors": list(FACTORS),
        "provenance": provenance("benchmark get", seed=_SEED),
    }
    with atomic_directory(folder, marker=MANIFEST) as scratch:
        for name, arrays in benchmark.arrays.items():
            with (scratch / f"{name}.npz").open("wb") as stream:
                np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
        benchmark.faults.to_csv(scratch / "faults.csv", index=False)
        benchmark.channels.to_csv(scratch / "channels.csv", index=False)
        write_json(scratch / MANIFEST, manifest)
    return manifest


def open_benchmark(folder: Path | str) -> Benchmark:
    """Return a benchmark from its folder, whose arrays must be those of the manifest, and of the published version.

    Raises
    ------
    FormatError
        When the folder is no benchmark, or an array is not what it was.
    """
    folder = Path(folder)
    expected = "a folder written by calowatch benchmark get"
    fix = f"get it again: calowatch benchmark get {folder.name}"
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        arrays = {}
        for name in ("train", "validation", "test", "truth"):
            with (folder / f"{name}.npz").open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                arrays[name] = {key: stored[key] for key in stored.files}
        faults, channels = (pd.read_csv(folder / f"{name}.csv") for name in ("faults", "channels"))
        version, told = int(manifest["version"]), dict(manifest["sha256"])
    except BROKEN as error:
        raise FormatError(folder, expected, f"something else ({error})", fix) from error
    benchmark = Benchmark(arrays, faults, channels)
    published = SHA256 if version == VERSION and SHA256 else told
    other = sorted(name for name, digest in _hashes(benchmark).items() if published.get(name) != digest)
    if other:
        raise FormatError(folder, f"benchmark version {VERSION}", f"other content in {', '.join(other)}", fix)
    return benchmark
