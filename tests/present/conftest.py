"""A synthetic run with known faults: binomial counts, judged by construction."""

import numpy as np
import pytest
import xarray as xr

from calowatch.core.schema import make_expectation, make_occupancy
from calowatch.detect.verdict import Verdict
from calowatch.detector.table import channel_table
from calowatch.detector.units import unit_names
from calowatch.models.reference import trials_of
from calowatch.present.given import ReportInput

SMALL_FAULTS = (
    ("HO+5-20-4", "channel_name", "dead", 0.0, 4),
    ("HO-7-31-4", "channel_name", "degraded", 0.6, 1),
)
BASE_P = {"HB": 0.4, "HE": 0.45, "HF": 0.998, "HO": 0.3}


def healthy_p(table, rng):
    """A digi probability per channel: falling with depth and rising with ieta, with a spread of its own."""
    base = (
        table["subdet"].map(BASE_P).to_numpy()
        * (0.7 + 0.4 * table["ieta"].abs() / 29)
        / table["depth"] ** 0.4
    )
    base = np.where(table["subdet"] == "HF", 5.0, base)
    return np.clip(base * np.exp(rng.normal(0, 0.08, len(table))), 0.01, 0.998)


def window(z, width):
    """Mean evidence of the last ``width`` lumisections, scaled to unit spread."""
    total = np.cumsum(np.nan_to_num(z), axis=0)
    total[width:] -= total[:-width].copy()
    return np.where(np.isnan(z), np.nan, total / np.sqrt(np.minimum(np.arange(len(z)) + 1, width))[:, None])


def verdict(unit, unit_type, kind, mask, table, **more):
    columns = ["subdet", "ieta", "iphi", "depth"]
    channels = tuple(
        (s, int(e), int(p), int(d)) for s, e, p, d in table.loc[mask, columns].itertuples(index=False)
    )
    given = {
        "first_ls": 1,
        "last_ls": 9,
        "factor": 0.0,
        "significance": 30.0,
        "log10_p": -198.0,
        "known": False,
    }
    return Verdict(unit, unit_type, kind, channels=channels, **{**given, **more})


def build_run(n_ls=9, keep=None, events=True, faults=(), seed=1):
    """Return a report's input.

    ``keep`` selects channels (a query on the channel table), ``faults`` are (unit, column of unit_names, kind,
    factor, first_ls) tuples, each of which becomes a verdict.
    """
    rng = np.random.default_rng(seed)
    table = channel_table("run3")
    table = table if keep is None else table.query(keep).reset_index(drop=True)
    names = unit_names(table)
    n_events = np.full(n_ls, 1400) + rng.integers(-40, 40, n_ls)
    p = np.broadcast_to(healthy_p(table, rng), (n_ls, len(table))).copy()
    true_p, verdicts = p.copy(), []
    for unit, column, kind, factor, first in faults:
        mask = (names[column] == unit).to_numpy()
        true_p[first - 1 :, mask] = np.minimum(1.0, true_p[first - 1 :, mask] * factor)
        unit_type = "channel" if column == "channel_name" else column
        verdicts.append(
            verdict(unit, unit_type, kind, mask, table, first_ls=first, last_ls=n_ls, factor=factor)
        )
    counts = rng.binomial(n_events[:, None], true_p).astype(np.int32)
    attrs = {
        "run": 362760,
        "era": "run3",
        "provenance": {"verb": "simulate", "seed": seed},
        "source": "made up",
    }
    conditions = {"pileup": np.linspace(52, 47, n_ls)}
    ls = np.arange(1, n_ls + 1)
    occupancy = make_occupancy(counts, table, ls, n_events if events else None, attrs, conditions)
    scale = (n_events / trials_of(occupancy))[:, None]
    expectation = make_expectation(
        occupancy,
        p * scale,
        np.full(len(table), 0.02),
        {"method": "reference", "provenance": {"verb": "fit"}},
    )
    z = ((counts - n_events[:, None] * p) / np.sqrt(n_events[:, None] * p * (1 - p))).astype(np.float32)
    evidence = xr.Dataset(
        {"z": (("ls", "channel"), z), "z_window": (("ls", "channel"), window(z, 10).astype(np.float32))},
        occupancy.coords,
    )
    truth = [
        {"unit": v.unit, "kind": v.kind, "first_ls": v.first_ls, "last_ls": v.last_ls, "factor": v.factor}
        for v in verdicts
    ]
    summary = {
        "Method of the expectation": "reference of 4 runs",
        "False discovery rate": 0.01,
        "warnings": [],
    }
    return ReportInput(occupancy, expectation, evidence, verdicts, [], summary, truth)


@pytest.fixture(scope="session")
def make_run():
    """The function that builds a run."""
    return build_run


@pytest.fixture(scope="session")
def small_run():
    """HO only, with a dead channel, a degraded one and a healthy rest."""
    return build_run(keep="subdet == 'HO'", faults=SMALL_FAULTS)
