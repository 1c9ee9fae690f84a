"""Faithfulness as ``calowatch explain`` measured it, checked to be of the battery's runs and networks, told beside."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calowatch.core.errors import FormatError, InputError

__all__ = ["Explained", "read_explained"]

_NUMBERS = ("deletion", "insertion", "score")
_OVER = "score_over_random"
_EDGES = ("low", "high")


@dataclass(frozen=True)
class Explained:
    """What an ``explain.json`` tells of how faithful explanations are.

    Parameters
    ----------
    model
        Kind of network.
    classes
        What it tells apart.
    rows
        One per method: ``method``, ``words``, ``deletion``, ``insertion``, ``score`` and, of all but the method that it
        is measured against, ``over_random`` with ``over_random_low`` and ``over_random_high``.
    sources
        Hashes of the image files by name.
    """

    model: str
    classes: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]
    sources: Mapping[str, str]

    def check(self, classes: Sequence[str], networks: Sequence[str]) -> None:
        """Raise where the explanations are of other runs, or of a network that the battery does not train.

        Raises
        ------
        InputError
            Naming both.
        """
        if set(self.classes) != set(classes):
            found = ", ".join(self.classes)
            raise InputError(
                "--faithfulness",
                f"explanations of a classifier of {' and '.join(classes)}",
                f"one of {found}",
                "explain a classifier of these runs",
            )
        if self.model not in networks:
            raise InputError(
                "--faithfulness",
                f"explanations of a network of --recipes ({', '.join(dict.fromkeys(networks))})",
                self.model,
                "add its recipe, or explain another classifier",
            )

    def to_json(self, images: Mapping[str, str]) -> dict[str, Any]:
        """Return what is told beside: ``model``, ``rows``, and whether it was of the same images."""
        same = bool(self.sources) and set(self.sources.values()) <= set(images.values())
        return {"model": self.model, "same_images": same, "rows": [dict(row) for row in self.rows]}


def read_explained(path: Path) -> Explained:
    """Return what is told of faithfulness in a file of ``calowatch explain``.

    Raises
    ------
    FormatError
        For any other file.
    """
    try:
        told = json.loads(path.read_text())
        rows = tuple(_row(each, told["methods"]) for each in told["faithfulness"])
        kind = str(told["images"])
        sources = {str(each["name"]): str(each["sha256"]) for each in told["provenance"]["sources"]}
        found = Explained(str(told["model"]), tuple(map(str, told["classes"])), rows, sources)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _refused(path, f"{type(error).__name__}: {error}") from error
    if kind != "runs" or not rows:
        raise _refused(path, f"{len(rows)} methods on images of {kind}")
    return found


def _refused(path: Path, found: str) -> FormatError:
    expected = "explain.json as calowatch explain writes it for images of runs, with faithfulness"
    return FormatError(path, expected, found, "give the explain.json of such a call")


def _row(given: Mapping[str, Any], methods: Mapping[str, str]) -> dict[str, Any]:
    method = str(given["method"])
    row: dict[str, Any] = {"method": method, "words": str(methods.get(method, method))}
    row |= {name: float(given[name]) for name in _NUMBERS}
    if _OVER in given:
        row["over_random"] = float(given[_OVER])
        row |= {f"over_random_{edge}": float(given[f"{_OVER}_{edge}"]) for edge in _EDGES}
    return row
