"""``calowatch benchmark``: a frozen data set for everybody, and a ranking of anybody's scores."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from calowatch.evaluate.benchmark import Standing

__all__ = ["app", "get", "score"]

app = typer.Typer(
    no_args_is_help=True, help="Get a frozen public benchmark of faults in HE, and rank scores on it."
)


@app.callback()
def _verbs() -> None:
    """Get a frozen public benchmark of faults in HE, and rank scores on it."""


@app.command()
def get(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder to make; an earlier benchmark is replaced.")
    ],
    json: Annotated[
        bool, typer.Option("--json", help="Print benchmark.json on stdout and nothing else.")
    ] = False,
) -> None:
    """Draw the public benchmark: training, validation and test arrays with their faults, checked by SHA-256.

    Examples
    --------
    \b
    calowatch benchmark get benchmark
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from calowatch.cli.terminal import print_json, results_console, terminal_progress
    from calowatch.evaluate.benchmark_data import get_benchmark

    manifest = get_benchmark(folder, terminal_progress())
    if json:
        print_json(manifest)
        return
    windows, channels = manifest["shape"]
    console = results_console()
    console.print(
        f"Benchmark version {manifest['version']} in {folder}: {windows} test windows of {channels} channels."
    )
    console.print(
        "Give one score per window and channel: calowatch benchmark score SCORES.npz --data " + str(folder)
    )


@app.command()
def score(
    predictions: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PREDICTIONS...", help="Scores (window, channel): npy, npz, HDF5 or Parquet."),
    ] = None,
    data: Annotated[
        Path, typer.Option("--data", "-d", metavar="DIR", help="What benchmark get wrote.")
    ] = Path("benchmark"),
    bundles: Annotated[
        list[Path] | None,
        typer.Option("--bundles", "-b", metavar="DIR", help="Trained bundles to rank as well."),
    ] = None,
    baselines: Annotated[
        bool,
        typer.Option(
            "--baselines", help="Fit and score our baselines here, in place of the figures shipped."
        ),
    ] = False,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE.json", help="Write the ranking there.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the ranking on stdout and nothing else.")
    ] = False,
) -> None:
    """Rank scores from any framework beside ours.

    The data must be those of the published version, array by array. Ranked by the area under the precision-recall
    curve on other runs; false-positive rates are per channel-window at 99 % capture of single channels. Below each
    figure stands its 95 % interval from drawing windows; no false positive at all is less than one of the healthy
    samples, with the exact upper edge. "true p, all known" knows how the faults were made and which windows hold some:
    no score that judges readout boxes one by one can be expected to beat it.

    Examples
    --------
    \b
    calowatch benchmark score mine.npz --data benchmark
    calowatch benchmark score mine.npz yours.parquet --data benchmark --bundles lstm --json
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from calowatch.cli.terminal import print_json, terminal_progress
    from calowatch.core.provenance import provenance
    from calowatch.evaluate.benchmark import (
        SCORING,
        baseline_standings,
        bundle_standings,
        healthy_samples,
        save_standings,
        shipped_standings,
    )
    from calowatch.evaluate.benchmark import score as score_one
    from calowatch.evaluate.benchmark_data import VERSION, open_benchmark
    from calowatch.evaluate.benchmark_scores import read_scores

    benchmark = open_benchmark(data)
    found = [
        score_one(path.stem, read_scores(path, benchmark.shape), benchmark) for path in predictions or []
    ]
    found += bundle_standings(bundles or [], benchmark)
    progress = terminal_progress()
    found += baseline_standings(benchmark, progress=progress) if baselines else shipped_standings()
    found.sort(key=lambda standing: -standing.pr_auc[0])
    record = provenance("benchmark score", options={"predictions": [path.name for path in predictions or []]})
    if save is not None:
        save_standings(save, found, record)
    if json:
        told = [standing.to_dict() for standing in found]
        n_healthy = healthy_samples(benchmark)
        definition = {"version": VERSION, "scoring": SCORING}
        print_json({**definition, "provenance": record, "n_healthy": n_healthy, "standings": told})
    else:
        _show(found, healthy_samples(benchmark))


def _show(standings: "list[Standing]", samples: dict[str, int]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from calowatch.cli.terminal import results_console
    from calowatch.evaluate.benchmark import SCORING
    from calowatch.evaluate.benchmark_data import VERSION
    from calowatch.present.benchmark import HEAD, ranking_rows

    title = "PR-AUC, and false-positive rate at 99 % capture, factor 0.8; 95 % intervals below"
    title += f" (benchmark version {VERSION}, scoring {SCORING})"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=0, collapse_padding=True)
    for i, name in enumerate(HEAD):
        table.add_column(name, justify="left" if i == 1 else "right", no_wrap=i > 1, overflow="fold")
    ours = {standing.name for standing in standings if standing.ours}
    for place, name, figures in ranking_rows(standings, samples):
        told = (Text(f"{value}\n{edges}") for value, edges in figures)
        table.add_row(place, Text(name, style="" if name in ours else "bold"), *told)
    results_console().print(table)
