"""Small prepared data sets: HO, whose 2,160 channels lie in a grid of 30 x 72 x 1, and HE; made once for all tests."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from calowatch.core.schema import make_occupancy
from calowatch.data.prepare import PrepareOptions, prepare
from calowatch.detector.table import channel_table
from calowatch.io.store import write_run

SUBDETS = {"ho": "HO", "he": "HE", "hf": "HF", "hb": "HB"}
STEPS = {"source": '["per_event", "min_max"]', "rates": '["per_event"]'}

RECIPE = """
[select]
subdets = ["{subdet}"]
[split]
by = "ls_range"
train = "1-30"
validation = "31-40"
[window]
length = {length}
[preparation]
steps = {steps}
"""


def small_occupancy(subdet: str, run: int, n_ls: int = 40):
    table = channel_table("run3")
    table = table[table["subdet"] == subdet]
    rng = np.random.default_rng([run, n_ls])
    n_events = rng.poisson(400, n_ls)
    p = np.random.default_rng(5).uniform(0.05, 0.6, len(table))
    brightness = np.linspace(1.0, 0.8, n_ls)[:, None]
    counts = rng.binomial(n_events[:, None], p * brightness).astype(np.int32)
    attrs = {"run": run, "era": "run3", "provenance": {"sources": []}, "source": "small"}
    return make_occupancy(counts, table, np.arange(1, n_ls + 1), n_events, attrs)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Callable[..., Path]:
    """Return a prepared data set: ``prepared("ho", 5, "source")``."""
    root = tmp_path_factory.mktemp("training")
    made: dict[tuple, Path] = {}

    def of(layout: str = "ho", length: int = 5, how: str = "source") -> Path:
        key = (layout, length, how)
        if key not in made:
            store = root / f"{layout}.zarr"
            if not store.exists():
                for run in (355456, 355680):
                    write_run(store, small_occupancy(SUBDETS[layout], run))
            recipe = root / "recipe.toml"
            recipe.write_text(RECIPE.format(subdet=SUBDETS[layout], length=length, steps=STEPS.get(how, how)))
            made[key] = root / f"{layout}-{length}-{len(made)}"
            prepare(recipe, made[key], PrepareOptions(store))
        return made[key]

    return of
