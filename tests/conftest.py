"""What several rooms' tests share: small runs made with numpy alone, independent of the simulator."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from calowatch.core.schema import make_occupancy
from calowatch.detector.table import channel_table
from calowatch.detector.units import find_unit
from calowatch.io.images import write_images


@dataclass(frozen=True)
class ToyRun:
    occupancy: xr.Dataset
    p: np.ndarray
    """Healthy probability, (ls, channel)."""


Fault = tuple[str, float, int, int]
"""Unit, factor, first and last LS."""


def _toy(
    seed: int = 0,
    *,
    n_ls: int = 40,
    events: int = 1000,
    pileup: float = 1.0,
    era: str = "run3",
    faults: Sequence[Fault] = (),
    subdets: Sequence[str] = ("HB", "HE", "HF", "HO"),
    run: int = 362760,
) -> ToyRun:
    """One run of a frozen detector: 10 % spread within rings, brightness falling by a quarter over the run."""
    whole = channel_table(era)
    ring = whole.groupby(["subdet", "ieta", "depth"]).ngroup().to_numpy()
    frozen = np.random.default_rng(99)
    rate = frozen.uniform(0.05, 1.5, ring.max() + 1)[ring] * np.exp(0.1 * frozen.standard_normal(len(whole)))
    rate[(whole["subdet"] == "HF").to_numpy()] = 40.0
    keep = whole["subdet"].isin(list(subdets)).to_numpy()
    table = whole[keep]
    rng = np.random.default_rng(seed)
    n_events = rng.poisson(events, n_ls)
    brightness = pileup * np.exp(-np.linspace(0, 0.3, n_ls))
    healthy = -np.expm1(-brightness[:, None] * rate[keep])
    p = healthy.copy()
    for unit, factor, first, last in faults:
        inside = find_unit(unit, table)[1]
        p[first - 1 : last, inside] = np.minimum(1.0, factor * p[first - 1 : last, inside])
    counts = rng.binomial(n_events[:, None], p).astype(np.int32)
    attrs = {"run": run, "era": era, "provenance": {"sources": []}, "source": "toy"}
    occupancy = make_occupancy(counts, table, np.arange(1, n_ls + 1), n_events, attrs)
    return ToyRun(occupancy, healthy)


@pytest.fixture(scope="session")
def toy_run() -> Callable[..., ToyRun]:
    """Make a toy run: seed, n_ls, events, pileup, era, faults, subdets, run."""
    return _toy


@pytest.fixture(scope="session")
def run3() -> pd.DataFrame:
    """The channel table of Run 3."""
    return channel_table("run3")


def _two_runs(folder: Path, n: int = 60, seed: int = 0) -> tuple[Path, Path]:
    """Write image sets of two runs that row 13 tells apart; neighbours share the level of the image."""
    rng = np.random.default_rng(seed)
    active = np.zeros((64, 72), bool)
    active[3:12, :71:2] = active[52:61, :71:2] = active[12:14, :71] = active[50:52, :71] = True
    files = []
    for run, level in ((355456, 250.0), (357479, 800.0)):
        mean = np.where(active, 700.0, 0.0)
        mean[13] = np.where(active[13], level, 0.0)
        images = (
            mean * rng.normal(1.0, 0.05, (n // 5, 1, 1)).repeat(5, axis=0) * rng.normal(1, 0.02, (n, 64, 72))
        )
        files.append(folder / f"Run{run}_Dataset_test.npy")
        write_images(files[-1], np.abs(images))
    return files[0], files[1]


@pytest.fixture(scope="session")
def two_runs(tmp_path_factory) -> tuple[Path, Path]:
    """Image sets of runs 355456 and 357479, 60 images each."""
    return _two_runs(tmp_path_factory.mktemp("two_runs"))


@pytest.fixture(scope="session")
def make_runs() -> Callable[..., tuple[Path, Path]]:
    """Write image sets of two runs: folder, n, seed."""
    return _two_runs
