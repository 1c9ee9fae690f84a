"""Edges between channels, for graph networks: shared hardware, or neighbours in space."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from scipy.sparse import csgraph

from calowatch.core.errors import InputError, UnknownNameError, nearest
from calowatch.core.provenance import provenance
from calowatch.detector.arrays import write_array
from calowatch.detector.grids import cell_index, find_layout, in_layout
from calowatch.detector.table import segmentation_hash, wiring_hash
from calowatch.detector.units import unit_names
from calowatch.detector.user_conditions import table_for

__all__ = ["EDGE_KINDS", "NUMBERINGS", "GraphRequest", "edges", "graph", "write_graph"]

Ints = npt.NDArray[np.int64]

HARDWARE = ("fibre", "card", "rm", "rbx", "uhtr", "fed")
EDGE_KINDS = ("neighbour", *HARDWARE)
NUMBERINGS = ("channel", "grid")

_LEAST_IETA, _IPHI, _DEPTHS = 42, 72, 8
# Subdetectors that touch each other; HF and HO stand apart from the rest and from each other.
_BODY = {"HB": 0, "HE": 0, "HF": 1, "HO": 2}


@dataclass(frozen=True)
class GraphRequest:
    """Which graph.

    Parameters
    ----------
    layout
        One of `calowatch.detector.grids.LAYOUTS`: which subdetectors, and the grid of the grid numbering.
    kind
        One of `EDGE_KINDS`.
    numbering
        ``"channel"``: position among the layout's channels, in the order of the channel table, from 0. ``"grid"``:
        position in the layout's flattened grid.
    era, run
        As for `calowatch.detector.user_conditions.table_for`.
    once
        Give each pair once, the smaller channel first, instead of in both directions.
    """

    layout: str
    kind: str = "neighbour"
    numbering: str = "channel"
    era: str = "run3"
    run: int | None = None
    once: bool = False

    def __post_init__(self) -> None:
        for value, known, what in (
            (self.kind, EDGE_KINDS, "--edges"),
            (self.numbering, NUMBERINGS, "--numbering"),
        ):
            if value not in known:
                raise UnknownNameError(what, f"one of {', '.join(known)}", repr(value), nearest(value, known))
        find_layout(self.layout)


def edges(table: pd.DataFrame, kind: str) -> Ints:
    """Return the pairs of channels that are connected, each pair once.

    Parameters
    ----------
    table
        Channels with the columns of the channel table; any subset.
    kind
        ``"neighbour"``, or a kind of hardware, which connects each two of its channels. Neighbours have the same iphi
        and depth in adjacent towers, the same tower and depth side by side in iphi (72 beside 1), or the same tower and
        iphi in adjacent depths. Cells of 10 and 20 degrees are neighbours of all that they touch; ieta -1 and 1 are
        adjacent; HB and HE touch, HF and HO stand alone.

    Returns
    -------
    Rows of the table, shape (2, edge), int64; the first row of each pair is the smaller one, pairs are sorted.

    Examples
    --------
    >>> from calowatch.detector.table import channel_table
    >>> edges(channel_table("run3").query("subdet == 'HE'"), "fibre").shape
    (2, 16560)
    """
    found = _neighbours(table) if kind == "neighbour" else _partners(table, kind)
    if not len(found):
        return np.empty((2, 0), np.int64)
    pairs = np.sort(found, axis=1)
    codes = np.unique(pairs[:, 0] * len(table) + pairs[:, 1])
    return np.stack([codes // len(table), codes % len(table)])


def _partners(table: pd.DataFrame, kind: str) -> Ints:
    """Return every two channels of each unit, shape (pair, 2)."""
    names = unit_names(table)[kind].to_numpy(object)
    known = np.flatnonzero(names != "")
    found = [np.empty((0, 2), np.int64)]
    for rows in pd.Series(known).groupby(names[known]).indices.values():
        first, second = np.triu_indices(len(rows), 1)
        found.append(np.stack([known[rows[first]], known[rows[second]]], axis=1))
    return np.concatenate(found).astype(np.int64)


def _neighbours(table: pd.DataFrame) -> Ints:
    """Return channels that touch, shape (pair, 2), some more than once.

    Each channel is drawn on every 5-degree step that it covers; whatever then lies side by side touches.
    """
    subdet = table["subdet"].to_numpy(str)
    ieta, iphi, depth, dphi = (table[name].to_numpy(np.int64) for name in ("ieta", "iphi", "depth", "dphi"))
    row = np.where(ieta < 0, ieta + _LEAST_IETA, ieta + _LEAST_IETA - 1)
    body = np.array([_BODY[name] for name in subdet], dtype=np.int64)
    drawn = np.full((3, 2 * _LEAST_IETA, _IPHI, _DEPTHS), -1, dtype=np.int64)
    for step in range(4):
        wide = np.flatnonzero(dphi > step)
        drawn[body[wide], row[wide], (iphi[wide] - 1 + step) % _IPHI, depth[wide]] = wide
    sides = (
        (drawn[:, :-1], drawn[:, 1:]),
        (drawn, np.roll(drawn, -1, axis=2)),
        (drawn[..., :-1], drawn[..., 1:]),
    )
    found = []
    for one, other in sides:
        touching = (one >= 0) & (other >= 0) & (one != other)
        found.append(np.stack([one[touching], other[touching]], axis=1))
    return np.concatenate(found)


def graph(request: GraphRequest) -> tuple[Ints, dict[str, Any]]:
    """Return the edges of a layout's channels, and a summary.

    Returns
    -------
    edges
        Shape (2, edge), int64, sorted by source and target in channel numbering; both directions of each pair unless
        ``once``.
    summary
        Ready for JSON: the request, ``nodes``, ``pairs``, ``edges``, ``components`` (channels without an edge are one
        each), ``isolated`` (how many of those) and ``largest_component``.

    Raises
    ------
    UnknownNameError
        For an era, layout, kind or numbering that does not exist.
    InputError
        When no channel of the layout has a known unit of that kind.
    """
    table = table_for(request.era, request.run)
    table = table[in_layout(table, request.layout)].reset_index(drop=True)
    pairs = edges(table, request.kind)
    if not pairs.size:
        raise InputError(
            f"--edges {request.kind}",
            f"wiring of {request.layout} that is known in era {request.era}",
            "none",
            "choose neighbour, or save a map of your own (calowatch map parse --save)",
        )
    n = len(table)
    joined = sparse.coo_array((np.ones(pairs.shape[1], np.int8), (pairs[0], pairs[1])), shape=(n, n))
    _, labels = csgraph.connected_components(joined, directed=False)
    sizes = np.bincount(labels)
    found = pairs
    if not request.once:
        found = np.concatenate([pairs, pairs[::-1]], axis=1)
        found = found[:, np.lexsort((found[1], found[0]))]
    if request.numbering == "grid":
        found = cell_index(table, request.layout)[found]
    summary = {
        "layout": find_layout(request.layout).name,
        "edges_of": request.kind,
        "numbering": request.numbering,
        "numbers_below": n
        if request.numbering == "channel"
        else int(np.prod(find_layout(request.layout).shape)),
        "era": request.era,
        "run": request.run,
        "both_directions": not request.once,
        "nodes": n,
        "pairs": int(pairs.shape[1]),
        "edges": int(found.shape[1]),
        "components": len(sizes),
        "isolated": int((sizes == 1).sum()),
        "largest_component": int(sizes.max()),
        "segmentation": segmentation_hash(request.era),
        "electronics": wiring_hash(table),
    }
    return found, summary


def write_graph(path: Path | str, request: GraphRequest) -> dict[str, Any]:
    """Write the edges as ``.npy`` and what they are as JSON beside it (``PATH.json``); return the summary."""
    found, summary = graph(request)
    write_array(path, found, {**summary, "provenance": provenance("graph")})
    return summary
