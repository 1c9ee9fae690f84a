"""The battery's table, repeats joined, and its verdict in plain words, made from the numbers alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from calowatch.evaluate.shortcuts_cells import ORACLE, VARIANTS
from calowatch.present.shortcuts_page import share_words

__all__ = ["Told", "battery_frame", "battery_words"]

KEYS = ["variant", "split", "model", "noise", "images", "blocks"]
_LEAK = 0.003  # of accuracy; smaller differences of two splits are not spoken of
_CHANCE = 0.65  # accuracy below which chance is worth naming
_SETTLED = 0.99  # of accuracy
_ORDERED = 0.999  # of AUC
_UNDECIDED = 0.1  # by which the AUC of a network exceeds an accuracy that undersells it


@dataclass(frozen=True)
class Told:
    """What is known beside the table.

    Parameters
    ----------
    block
        Images dealt together.
    simulated
        Whether blocks are known to be independent, since a simulation tells them.
    faithfulness
        As `calowatch.evaluate.shortcuts_faith.Explained.to_json` gives it; None for none.
    """

    block: int = 500
    simulated: bool = False
    faithfulness: Mapping[str, Any] | None = None

    @property
    def blocks(self) -> str:
        """Words for what is dealt together."""
        return "blocks of lumisections" if self.simulated else f"blocks of {self.block} consecutive images"


def battery_frame(cells: pd.DataFrame) -> pd.DataFrame:
    """Return one row per kind of cell.

    Parameters
    ----------
    cells
        One row per cell and repeat, ``accuracy`` and ``roc_auc`` with value, low and high.

    Returns
    -------
    The keys of a cell, ``repeats``, ``accuracy`` and ``roc_auc`` (means of the repeats) with ``_low`` and ``_high``:
    the interval of 95 % over blocks for one repeat, the lowest and highest repeat for several. Then ``n_train``,
    ``n_test``, ``test_blocks``, ``n_parameters``, ``seconds`` (mean) and ``ring`` (most frequent row of a single ring).
    """
    rows = [_joined(part) for _, part in cells.groupby(KEYS, sort=False, dropna=False)]
    frame = pd.DataFrame(rows)
    for name in ("images", "blocks", "ring"):
        frame[name] = frame[name].astype("Int64")
    return frame


def _joined(part: pd.DataFrame) -> dict[str, Any]:
    row: dict[str, Any] = {name: part[name].iloc[0] for name in KEYS} | {"repeats": len(part)}
    for name in ("accuracy", "roc_auc"):
        values = np.array([each["value"] for each in part[name]], np.float64)
        row[name] = float(values.mean())
        one = part[name].iloc[0] if len(part) == 1 else {"low": values.min(), "high": values.max()}
        # Nothing was wrong and nothing could be drawn: a single point.
        row[f"{name}_low"] = row[name] if one["low"] is None else float(one["low"])
        row[f"{name}_high"] = row[name] if one["high"] is None else float(one["high"])
    for name in ("n_train", "n_test", "test_blocks", "n_parameters"):
        row[name] = int(part[name].iloc[0])
    rings = part["ring"].dropna()
    return {**row, "seconds": float(part["seconds"].mean()), "ring": rings.mode()[0] if len(rings) else None}


def battery_words(frame: pd.DataFrame, runs: Sequence[str], told: Told | None = None) -> tuple[str, ...]:
    """Return the verdict, a sentence per finding, from the numbers in the table.

    Parameters
    ----------
    frame
        What `battery_frame` returned.
    runs
        Names of the two classes.
    told
        What is known beside; by default nothing.
    """
    known = told or Told()
    table = _Table(frame)
    sentences = (
        _threshold(table, runs, known),
        *(_without_intensity(table, variant, words) for variant, words in _WITHOUT.items()),
        _undecided(table),
        _unlearned(table),
        _leak(table, known),
        _noise(table),
        _few(table),
        _faithful(known.faithfulness),
    )
    return tuple(sentence for sentence in sentences if sentence)


_WITHOUT = {
    "unit-sum": "each image scaled to unit sum",
    "rings": "each ring scaled to unit mean, so that no intensity is left",
    "rings-masked": "deviating cells masked besides, so that only the pattern along iphi is left",
}


class _Table:
    """Looks up cells whose training side is whole."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.spoilt = {name: _rows(frame[_is_spoilt(frame, name)]) for name in ("noise", "images", "blocks")}
        whole = ~(_is_spoilt(frame, "noise") | _is_spoilt(frame, "images") | _is_spoilt(frame, "blocks"))
        self.plain = _rows(frame[whole])
        self.judge = "blocks" if any(row["split"] == "blocks" for row in self.plain) else "random"

    def rows(self, variant: str, split: str) -> list[dict[str, Any]]:
        return [row for row in self.plain if (row["variant"], row["split"]) == (variant, split)]

    def row(self, variant: str, split: str, model: str) -> dict[str, Any] | None:
        return next((row for row in self.rows(variant, split) if row["model"] == model), None)

    def best(self, variant: str) -> dict[str, Any] | None:
        """Return the most accurate model, of equals the one with the fewest parameters."""
        found = [row for row in self.rows(variant, self.judge) if row["model"] != ORACLE]
        return min(found, key=lambda row: (-row["accuracy"], row["n_parameters"]), default=None)


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _is_spoilt(frame: pd.DataFrame, name: str) -> pd.Series:
    return frame[name] > 0 if name == "noise" else frame[name].notna()


def _percent(row: Mapping[str, Any]) -> str:
    return share_words(row["accuracy"], row["accuracy_low"], row["accuracy_high"])


def _unseen(table: _Table, told: Told) -> str:
    return f"in {told.blocks} never seen" if table.judge == "blocks" else "on a random split, which leaks"


def _threshold(table: _Table, runs: Sequence[str], told: Told) -> str:
    row = table.row("as-is", table.judge, "one-ring")
    if row is None:
        return ""
    where = "" if pd.isna(row["ring"]) else f" (row {int(row['ring'])}, ieta {_ieta(int(row['ring'])):+d})"
    start = f"One threshold on the mean of one ring{where} tells {runs[0]} from {runs[1]} right in {_percent(row)}"
    no_more = "a classifier that does as well on images as they are shows a difference in intensity, no more"
    if row["accuracy"] >= _SETTLED:
        end = f"so {no_more}"
    elif row["roc_auc"] >= _ORDERED:
        end = (
            f"the ring alone orders them by run (AUC {row['roc_auc']:.5f}) and only the threshold, set on other "
            f"blocks, sits a little off, so intensity alone does settle the task, and {no_more}"
        )
    else:
        end = f"so one ring's intensity alone does not settle the task (AUC {row['roc_auc']:.3f})"
    return f"{start} of the images {_unseen(table, told)}: {end}."


def _ieta(row: int) -> int:
    return row - 32 if row < 32 else row - 31


def _without_intensity(table: _Table, variant: str, words: str) -> str:
    best, simple = table.best(variant), table.row(variant, table.judge, "one-ring")
    if best is None:
        return ""
    size = f"{int(best['n_parameters']):,} parameters"
    if best["model"] == "one-ring":
        told = f"the threshold still reaches {_percent(best)} and no model does better"
    elif simple is not None:
        told = f"the threshold reaches {_percent(simple)}{_chance(simple)} and the best model, "
        told += f"{best['model']} with {size}, {_percent(best)}"
    else:
        told = f"the best model, {best['model']} with {size}, reaches {_percent(best)}"
    oracle = table.row(variant, table.judge, ORACLE)
    limit = f"; the exact likelihood ratio of the simulation reaches {_percent(oracle)}" if oracle else ""
    return f"With {words}, {told}{_others(table, variant, str(best['model']))}{limit}."


def _chance(row: Mapping[str, Any]) -> str:
    """Return what an accuracy near one half is worth."""
    if row["accuracy"] >= _CHANCE:
        return ""
    if row["accuracy_low"] <= 0.5 <= row["accuracy_high"]:
        return ", not to be told from chance (50 %),"
    return f", {'more' if row['accuracy'] > 0.5 else 'less'} than chance (50 %) but little,"


def _others(table: _Table, variant: str, best: str) -> str:
    told = [
        f"{row['model']} {100 * row['accuracy']:.2f} %"
        for row in table.rows(variant, table.judge)
        if row["model"] not in ("one-ring", ORACLE, best)
    ]
    return f" (the others: {', '.join(told)})" if told else ""


def _networks(table: _Table) -> list[dict[str, Any]]:
    """Return the rows of models that were trained and had more to learn than where to cut."""
    return [
        row for row in table.plain if row["split"] == table.judge and row["model"] not in ("one-ring", ORACLE)
    ]


def _is_undecided(row: Mapping[str, Any]) -> bool:
    return bool(row["accuracy"] < _SETTLED and row["roc_auc"] - row["accuracy"] >= _UNDECIDED)


def _each(rows: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(
        f"{row['model']} on {row['variant']} ({100 * row['accuracy']:.1f} %, AUC {row['roc_auc']:.3f})"
        for row in rows
    )


def _undecided(table: _Table) -> str:
    rows = [row for row in _networks(table) if _is_undecided(row)]
    if not rows:
        return ""
    return (
        f"Some order images better than they decide about them: {_each(rows)}. They were trained too briefly for these "
        "images, or their threshold sits off: the accuracy says nothing of what the images hold."
    )


def _unlearned(table: _Table) -> str:
    rows = []
    for row in _networks(table):
        best = table.best(str(row["variant"]))
        chance = row["accuracy_low"] <= 0.5 <= row["accuracy_high"]
        if chance and not _is_undecided(row) and best is not None and best["accuracy"] >= 0.9:
            rows.append(row)
    if not rows:
        return ""
    return (
        f"Some learned nothing in the epochs they had: {_each(rows)}. That others do well on the same images says that "
        "it is their training, not the images."
    )


def _pairs(table: _Table) -> Iterator[tuple[float, Mapping[str, Any], Mapping[str, Any]]]:
    """Yield cells of a random split with those by blocks, and by how much the first look better."""
    for row in table.plain:
        other = table.row(row["variant"], "blocks", row["model"])
        if row["split"] == "random" and row["model"] != ORACLE and other is not None:
            yield row["accuracy"] - other["accuracy"], row, other


def _leak(table: _Table, told: Told) -> str:
    pairs = sorted(_pairs(table), key=lambda pair: -pair[0])
    if not pairs:
        return ""
    most, row, other = pairs[0]
    if most < _LEAK:
        beyond = (
            "near-duplicates gave nothing away here"
            if told.simulated
            else "near neighbours gave nothing away here; how far images stay alike is not known"
        )
        return f"No model does better by {100 * _LEAK:.1f} points on a random split than on {told.blocks}: {beyond}."
    some = [f"{each['model']} on {each['variant']}" for gap, each, _ in pairs if gap >= _LEAK]
    several = (
        f" ({len(some)} of {len(pairs)} cells differ by {100 * _LEAK:.1f} points or more)"
        if len(some) > 1
        else ""
    )
    surely = "A random split leaks"
    if row["accuracy"] <= other["accuracy_high"]:
        surely = f"A random split may leak, though {other['test_blocks']} blocks are too few to be sure"
    apart = "blocks of neighbours" if told.simulated else told.blocks
    return (
        f"{surely}: {row['model']} on {VARIANTS[str(row['variant'])].words} seems to reach {_percent(row)} "
        f"and reaches {_percent(other)} when whole {apart} are kept apart{several}."
    )


def _listed(rows: Sequence[Mapping[str, Any]]) -> str:
    variants = dict.fromkeys(str(row["variant"]) for row in rows)
    parts = []
    for variant in variants:
        some = [f"{row['model']} {100 * row['accuracy']:.1f} %" for row in rows if row["variant"] == variant]
        parts.append(f"{VARIANTS[variant].words}: {', '.join(some)}")
    return "; ".join(parts)


def _noise(table: _Table) -> str:
    rows = table.spoilt["noise"]
    most = max((row["noise"] for row in rows), default=0.0)
    told = _listed([row for row in rows if row["noise"] == most])
    return f"With {100 * most:.0f} % of the training labels wrong, {told}." if told else ""


def _few(table: _Table) -> str:
    told = []
    for name, words in (("images", "{} images drawn at random"), ("blocks", "{} block(s) of each run")):
        rows = table.spoilt[name]
        least = min((int(row[name]) for row in rows), default=0)
        listed = _listed([row for row in rows if row[name] == least])
        if listed:
            told.append(f"Trained on {words.format(least)}, {listed}.")
    return " ".join(told)


def _faithful(given: Mapping[str, Any] | None) -> str:
    """Return how explanations compare with a random order, the only number that stands for itself."""
    rows = [row for row in given["rows"] if "over_random" in row] if given else []
    if not given or not rows:
        return ""
    better: list[str] = []
    others: list[str] = []
    for row in rows:
        low, high = row["over_random_low"], row["over_random_high"]
        some = better if low > 0 else others
        some.append(f"{row['words']} ({row['over_random']:+.3f}, {low:+.3f} to {high:+.3f})")
    parts = [f"{', '.join(better)} beat a random order" if better else ""]
    parts.append(f"{', '.join(others)} did not" if others and better else "")
    parts.append(f"none beat a random order: {', '.join(others)}" if not better else "")
    where = "" if given["same_images"] else ", measured on other images of these runs"
    return (
        f"Of the explanations of {given['model']}{where}, by the area between insertion and deletion curves, "
        f"{'; '.join(part for part in parts if part)}."
    )
