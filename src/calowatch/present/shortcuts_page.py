"""The battery as one Markdown page: how it was made, verdict, tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from calowatch.present.markdown import markdown_table
from calowatch.present.panels_page import Table

__all__ = ["battery_page", "share_words"]


def share_words(value: float, low: float, high: float) -> str:
    """Return a share and its interval as percent, with the digits that it is worth.

    Examples
    --------
    >>> share_words(0.9975, 0.991, 1.0), share_words(1.0, 1.0, 1.0), share_words(0.52, 0.41, 0.6)
    ('99.75 % (99.10 to 100)', '100 %', '52.0 % (41.0 to 60.0)')
    """
    digits = 2 if value > 0.95 else 1

    def text(share: float) -> str:
        return "100" if share == 1 else f"{100 * share:.{digits}f}"

    interval = "" if low == high else f" ({text(low)} to {text(high)})"
    return f"{text(value)} %{interval}"


def _table(rows: Sequence[Sequence[str]], head: Sequence[str]) -> str:
    return "\n".join(markdown_table(Table(head, rows)))


def _share(row: Mapping[Any, Any] | None, name: str) -> str:
    if row is None:
        return "-"
    if name == "roc_auc":
        return f"{row['roc_auc']:.5f}"
    return share_words(row[name], row[f"{name}_low"], row[f"{name}_high"])


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[(frame["noise"] == 0) & frame["images"].isna() & frame["blocks"].isna()]


def _main_table(frame: pd.DataFrame) -> str:
    plain = _plain(frame)
    at = {(row["variant"], row["split"], row["model"]): row for row in plain.to_dict("records")}
    rows = []
    for variant in plain["variant"].unique():
        for model in plain["model"].unique():
            random, blocks = at.get((variant, "random", model)), at.get((variant, "blocks", model))
            either = blocks or random
            if either is None:
                continue
            size = f"{int(either['n_parameters']):,}" if either["n_parameters"] else "-"
            seconds = f"{either['seconds']:.1f}" if either["seconds"] else "-"
            figures = [_share(random, "accuracy"), _share(blocks, "accuracy"), _share(blocks, "roc_auc")]
            rows.append([str(variant), str(model), *figures, size, seconds])
    head = [
        "variant",
        "model",
        "random split",
        "split by blocks",
        "AUC, blocks",
        "parameters",
        "seconds to train",
    ]
    return _table(rows, head)


def _spoilt_table(frame: pd.DataFrame, name: str, word: str) -> str:
    some = frame[frame[name] > 0] if name == "noise" else frame[frame[name].notna()]
    if some.empty:
        return ""
    plain = _plain(frame).query("split == 'blocks'")
    values = sorted(some[name].unique().tolist())
    rows = []
    for (variant, model), part in some.groupby(["variant", "model"], sort=False):
        at = {row[name]: row for row in part.to_dict("records")}
        whole = plain.query("variant == @variant and model == @model").to_dict("records")
        shares = [_share(at.get(value), "accuracy") for value in values]
        end = _share(whole[0] if whole else None, "accuracy")
        rows.append([str(variant), str(model), *([end, *shares] if name == "noise" else [*shares, end])])
    heads = [f"{100 * value:.0f} %" if name == "noise" else str(int(value)) for value in values]
    heads = ["none", *heads] if name == "noise" else [*heads, "all"]
    return f"\n## {word}\n\n{_table(rows, ['variant', 'model', *heads])}\n"


def battery_page(
    document: Mapping[str, Any], frame: pd.DataFrame, words: Sequence[str], picture: str | None = None
) -> str:
    """Return the page.

    Parameters
    ----------
    document
        ``runs``, ``images``, ``block``, ``command``, ``faithfulness``, ``provenance`` and, where known, ``commit``.
    frame
        The table, repeats joined.
    words
        The verdict.
    picture
        Name of the figure beside the page; None for none.
    """
    made = document["provenance"]
    repeats = int(frame["repeats"].max())
    intervals = (
        "Intervals are 95 %, bootstrapped over blocks of the test side, their lower end at most that of as many blocks "
        "without a mistake."
        if repeats == 1
        else f"Means of {repeats} dealings and trainings; in brackets the lowest and highest of them."
    )
    blocks = (
        "(whole blocks of the simulation)"
        if document.get("blocks_known")
        else "consecutive images (how far neighbours are alike is not known)"
    )
    facts = [
        f"`{document['command']}`" if document.get("command") else "",
        f"Seed {made['seed']}, {document['images']} images of {' and '.join(document['runs'])}, blocks of "
        f"{document['block']} {blocks}, calowatch {made['calowatch']}"
        + (f", commit {document['commit']}" if document.get("commit") else "")
        + f", {made['created'][:10]}. {intervals}",
    ]
    parts = [
        "# What telling two runs apart is worth",
        *(fact for fact in facts if fact),
        f"![Accuracy by variant and model]({picture})" if picture else "",
        "## Verdict",
        "\n".join(f"- {sentence}" for sentence in words),
        "## Variants, models, splits",
        _main_table(frame),
    ]
    page = "\n\n".join(part for part in parts if part) + "\n"
    for name, word in (
        ("noise", "Accuracy against wrong labels of the training side, blocks"),
        ("images", "Accuracy against the number of training images, blocks"),
        ("blocks", "Accuracy against the number of training blocks of each run, blocks"),
    ):
        page += _spoilt_table(frame, name, word)
    return page + _faithfulness_table(document.get("faithfulness"))


def _faithfulness_table(given: Mapping[str, Any] | None) -> str:
    """Return the areas of each method, and how far it is from a random order."""
    if not given:
        return ""
    rows = []
    for row in given["rows"]:
        over = "-"
        if "over_random" in row:
            over = f"{row['over_random']:.3f} ({row['over_random_low']:.3f} to {row['over_random_high']:.3f})"
        rows.append(
            [row["words"], *(f"{row[name]:.3f}" for name in ("deletion", "insertion", "score")), over]
        )
    head = ["method", "deletion", "insertion", "insertion - deletion", "more than random (95 %)"]
    return f"\n## Faithfulness of explanations of {given['model']}\n\n{_table(rows, head)}\n"
