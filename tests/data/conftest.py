"""Small stores of runs with the numbers that the recipes name."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from calowatch.core.schema import make_occupancy
from calowatch.detector.conditions import era_of_run
from calowatch.detector.table import channel_table
from calowatch.io.store import write_run


def _run(run: int, ls: Iterable[int], subdets=("HO",), events: int = 500, seed: int = 0):
    table = channel_table(era_of_run(run))
    table = table[table["subdet"].isin(list(subdets))]
    sections = np.asarray(list(ls))
    rng = np.random.default_rng([seed, run])
    n_events = rng.poisson(events, len(sections))
    p = np.random.default_rng(5).uniform(0, 0.8, len(table))
    counts = rng.binomial(n_events[:, None], p).astype(np.int32)
    attrs = {"run": run, "era": era_of_run(run), "provenance": {"sources": []}, "source": "small"}
    return make_occupancy(counts, table, sections, n_events, attrs)


@pytest.fixture(scope="session")
def small_run() -> Callable:
    """Make a small run: run, ls, subdets, events, seed."""
    return _run


@pytest.fixture(scope="session")
def session_store(tmp_path_factory) -> Path:
    """Two runs of HO, LS 1-60, the second without LS 30; to be read only."""
    store = tmp_path_factory.mktemp("stores") / "runs.zarr"
    write_run(store, _run(355456, range(1, 61)))
    write_run(store, _run(355680, (ls for ls in range(1, 61) if ls != 30)))
    return store


RECIPE = """
[select]
subdets = ["HO"]
[split]
by = "ls_range"
train = "1-40"
validation = "41-50"
test = "51-"
[window]
length = 5
stride = 1
[preparation]
steps = ["per_event", {step = "standard", scope = "ring"}]
"""


@pytest.fixture
def write_recipe(tmp_path) -> Callable[..., Path]:
    """Write a recipe: the text, and pairs of what to replace in it."""

    def write(*changes: tuple[str, str], text: str = RECIPE) -> Path:
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "recipe.toml"
        path.write_text(text)
        return path

    return write
