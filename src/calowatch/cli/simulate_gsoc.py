"""``calowatch simulate gsoc``: image sets of runs in the layout of the GSoC task, whose truth is known."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["gsoc"]


def gsoc(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", help="Folder of the files; an earlier one is replaced."),
    ],
    n: Annotated[int, typer.Option("--n", help="Images of each run.")] = 10_000,
    block: Annotated[
        int, typer.Option("--block", help="Neighbouring images that mix the same lumisections.")
    ] = 500,
    ls_per_block: Annotated[
        int, typer.Option("--ls-per-block", help="How many lumisections a block mixes.")
    ] = 3,
    patterns: Annotated[
        str,
        typer.Option(
            "--patterns",
            help="What tells the runs apart once rings are normalised: small (0.6 % per cell) or real (spreads as "
            "saturating counts have them).",
        ),
    ] = "small",
    third: Annotated[
        bool, typer.Option("--third", help="Write a third run too, for tests of drift.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of the images.")] = 0,
    detector_seed: Annotated[
        int | None, typer.Option("--detector-seed", help="Of the frozen patterns; one by default.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON and nothing else.")] = False,
) -> None:
    """Simulate the image sets of runs 355456 and 357479 in the published layout, with their truth beside them.

    Images of a block are near-duplicates, so a random split leaks and one by blocks does not.

    Examples
    --------
    \b
    calowatch simulate gsoc --out gsoc
    calowatch simulate gsoc --out small --n 1000 --block 50 --third --seed 7
    calowatch simulate gsoc --out real --patterns real --json
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from calowatch.cli.terminal import print_json, terminal_progress
    from calowatch.simulate.gsoc import DETECTOR_SEED, RUNS, GsocSettings
    from calowatch.simulate.gsoc_files import write_gsoc

    runs = tuple(RUNS) if third else tuple(RUNS)[:2]
    detector = DETECTOR_SEED if detector_seed is None else detector_seed
    settings = GsocSettings(n, block, ls_per_block, runs, patterns, seed, detector)
    written = write_gsoc(out, settings, terminal_progress())
    if json:
        print_json({**written.summary, "files": [str(path) for path in written.images]})
        return
    for row, path in zip(written.summary["runs"], written.images, strict=True):
        figures = row["statistics"]
        typer.echo(
            f"run {row['run']}: {n} images, mean {figures['mean']:.2f}, std {figures['std']:.2f}, max "
            f"{figures['max']:.0f}, zeros {100 * figures['zeros']:.6f} %, row 13 {figures['row_13']:.1f}, "
            f"{len(row['deviating'])} deviating cells"
        )
        typer.echo(path)
