"""Draw docs/egamma_profiles.png and print the table of docs/egamma.md.

``python docs/egamma_profiles.py DIR PUBLISHED``: DIR holds generated files, PUBLISHED the mean energy images of the
published data, ``egamma_electron_energy_mean_rel.npy`` and the photons' (seed at [16, 16], 8 bits).
"""

import sys
from pathlib import Path

import numpy as np

from calowatch.io.egamma import CLASSES, find_egamma, read_egamma
from calowatch.present.panels import Panel, Series, write_panel

REACH = 8
COLOURS = {"photon": "#0072b2", "electron": "#d55e00"}
PAGE = Path(__file__).parent


def ours(folder: Path) -> dict[str, np.ndarray]:
    """Return the mean energy image of each class over that of the seed."""
    files = read_egamma(find_egamma(folder))
    means = {}
    for label, kind in enumerate(CLASSES):
        rows = np.flatnonzero(files.labels == label)
        total = sum(files.read(part)[:, 0].sum(axis=0, dtype=np.float64) for part in np.array_split(rows, 64))
        means[kind] = total / total.max()
    return means


def main(folder: Path, published: Path) -> None:
    """Draw, and print."""
    steps = np.arange(-REACH, REACH + 1)
    series, rows = [], []
    for kind, mean in ours(folder).items():
        theirs = np.load(published / f"egamma_{kind}_energy_mean_rel.npy")[16, 16 - REACH : 17 + REACH]
        mine, colour = mean[15, 15 - REACH : 16 + REACH], COLOURS[kind]
        mark = "o" if kind == "photon" else "s"
        series.append(
            Series(steps, mine, f"{kind}, generated", colour, dash="-" if kind == "photon" else "--")
        )
        seen = np.where(theirs > 0, theirs, np.nan)
        rounding = 0.5 / 255
        ends = {"low": seen - rounding, "high": seen + rounding}
        series.append(Series(steps, seen, f"{kind}, published", colour, "points", mark=mark, **ends))
        for name, values in (("generated", mine), ("published", theirs)):
            cells = " | ".join(f"{values[REACH + step]:.4f}" for step in (-4, -3, -2, -1, 1, 2, 3, 4))
            rows.append(f"| {kind}, {name} | {cells} |")
    panel = Panel(
        "Mean energy in the seed's row, over the seed's",
        "iphi from the seed",
        "share of the seed's energy",
        series,
        y_log=True,
        y_ends=(1e-3, 1.5),
        whole=True,
    )
    write_panel(PAGE / "egamma_profiles.png", panel)
    print("\n".join(rows))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
