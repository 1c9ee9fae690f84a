"""Tables of an exploration: what the page prints and `explore.json` holds as summaries."""

from typing import Any

import pandas as pd

from calowatch.present.explore_given import Exploration, RunNumbers

__all__ = ["drift_summary", "ratio_table", "run_table", "statistics_table", "variance_summary"]

FAR = 5.0
"""Standard deviations from which a ring is named."""

_STATISTICS = {
    "min": ("minimum", ".6g"),
    "max": ("maximum", ".6g"),
    "mean": ("mean", ".6g"),
    "median": ("median", ".6g"),
    "std": ("standard deviation", ".6g"),
    "zero_fraction": ("zeros", ".6%"),
    "nonzero_min": ("minimum, zeros left out", ".6g"),
    "nonzero_mean": ("mean, zeros left out", ".6g"),
    "nonzero_median": ("median, zeros left out", ".6g"),
    "nonzero_std": ("standard deviation, zeros left out", ".6g"),
    "sparsity_min": ("sparsity of an image, smallest", ".6%"),
    "sparsity_mean": ("sparsity of an image, mean", ".6%"),
    "sparsity_max": ("sparsity of an image, largest", ".6%"),
    "sparsity_std": ("sparsity of an image, standard deviation", ".3g"),
    "always_zero": ("cells that are zero in every image", "d"),
    "always_filled": ("cells that are zero in no image", "d"),
}


def _ring_name(row: Any) -> str:
    return f"{row.subdet}{int(row.ieta):+d}d{int(row.depth)}"


def _farthest(rings: pd.DataFrame, pull: "pd.Series[float]") -> list[str]:
    """Return the names of rings with a pull above `FAR`, the farthest first."""
    far = pull[pull > FAR].sort_values(ascending=False)
    return [_ring_name(row) for row in rings.loc[far.index].itertuples()]


def _shown(value: float, form: str) -> str:
    return format(value, form).replace("%", " %")


def run_table(given: Exploration) -> list[dict[str, Any]]:
    """Return a row per run: run, era, source, LS, events, mean pile-up, digis, channels, and those without digis."""
    rows = []
    for run in given.runs:
        ls, series = run.series["ls"].to_numpy(), run.series
        pileup = float(series["pileup"].mean()) if "pileup" in series else float("nan")
        rows.append(
            {
                "run": run.run,
                "era": run.era,
                "source": run.source,
                "first_ls": int(ls[0]),
                "last_ls": int(ls[-1]),
                "n_ls": len(ls),
                "events": run.events,
                "pileup": pileup,
                "digis": int(run.hits.sum()),
                "n_channels": len(run.channels),
                "n_silent": int((run.hits == 0).sum()),
                "notes": list(run.notes),
            }
        )
    return rows


def variance_summary(given: Exploration) -> list[dict[str, Any]]:
    """Return a row per run and subdetector: rings measured, median and ends of variance over binomial, rings far off.

    Far off: more than five standard deviations above 1, the farthest first.
    """
    rows = []
    for run in given.runs:
        for subdet, part in run.rings.groupby("subdet", sort=False):
            pull = (part["variance"] - 1.0) / part["error"]
            rows.append(
                {
                    "run": run.run,
                    "subdet": str(subdet),
                    "n_rings": len(part),
                    "median": float(part["variance"].median()),
                    "min": float(part["variance"].min()),
                    "max": float(part["variance"].max()),
                    "median_error": float(part["error"].median()),
                    "far": _farthest(part, pull),
                }
            )
    return rows


def drift_summary(given: Exploration) -> list[dict[str, Any]]:
    """Return a row per run and subdetector: median ln ratio of its rings, their robust spread, and rings far off.

    Pile-up moves all rings of a subdetector alike; a ring that moved more than five standard deviations (its error and
    the spread of the rings together) from the median moved for a reason of its own.
    """
    rows = []
    for _, part in given.drift.groupby(["run", "subdet"], sort=False):
        middle = float(part["ln_ratio"].median())
        spread = float(1.4826 * (part["ln_ratio"] - middle).abs().median())
        pull = (part["ln_ratio"] - middle).abs() / (part["error"] ** 2 + spread**2) ** 0.5
        rows.append(
            {
                "run": int(part["run"].iloc[0]),
                "subdet": str(part["subdet"].iloc[0]),
                "n_rings": len(part),
                "median": middle,
                "spread": spread,
                "median_error": float(part["error"].median()),
                "far": _farthest(part, pull),
            }
        )
    return rows


def ratio_table(run: RunNumbers) -> list[dict[str, Any]]:
    """Return RecHits over digis per subdetector and depth; empty for a run without RecHits.

    ``ratio`` is of the sums; ``low`` and ``high`` hold the middle 90 % of the channels.
    """
    if run.rechits is None or run.ratio is None:
        return []
    table = run.channels[["subdet", "depth"]].assign(digis=run.hits, rechits=run.rechits, ratio=run.ratio)
    rows = []
    for _, part in table.groupby(["subdet", "depth"], sort=False):
        digis = int(part["digis"].sum())
        ratio = part["ratio"].dropna()
        rows.append(
            {
                "run": run.run,
                "subdet": str(part["subdet"].iloc[0]),
                "depth": int(part["depth"].iloc[0]),
                "digis": digis,
                "rechits": int(part["rechits"].sum()),
                "ratio": float(part["rechits"].sum() / digis) if digis else float("nan"),
                "low": float(ratio.quantile(0.05)),
                "high": float(ratio.quantile(0.95)),
            }
        )
    return rows


def statistics_table(given: Exploration) -> pd.DataFrame:
    """Return the statistics of the image sets as text, a row per quantity and a column per class."""
    columns = {
        each.label: [_shown(each.statistics[name], form) for name, (_, form) in _STATISTICS.items()]
        for each in given.images
    }
    return pd.DataFrame(columns, index=[text for text, _ in _STATISTICS.values()])
