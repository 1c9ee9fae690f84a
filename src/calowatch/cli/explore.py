"""``calowatch explore``: pictures and tables of runs and image sets."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from calowatch.evaluate.explore import Explored

__all__ = ["explore"]


def explore(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Runs: files, folders, stores or STORE::RUN. Images: npy files, or a folder of them; HDF5 files of "
            "electrons and photons; Parquet files of jets.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the results.")] = Path(
        "explored"
    ),
    run: Annotated[
        int | None, typer.Option("--run", help="Run number, where a source does not tell.")
    ] = None,
    era: Annotated[str | None, typer.Option("--era", help="Era, where a source does not tell.")] = None,
    first_ls: Annotated[
        int | None, typer.Option("--first-ls", help="First lumisection, where a source does not tell.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", help="Name of an image set, once per file; else the run in its name."),
    ] = None,
    png: Annotated[bool, typer.Option("--png/--no-png", help="Draw PNG figures beside the page.")] = True,
    json: Annotated[
        bool, typer.Option("--json", help="Print explore.json on stdout and nothing else.")
    ] = False,
) -> None:
    """Explore runs and image sets: maps, series, regressions, statistics, before anything is judged.

    Writes explore.html (one file, opens offline), explore.json (every number) and PNG figures into DIR.

    Examples
    --------
    \b
    calowatch explore STORE --out explored
    calowatch explore run306138_ls1-6.hdf5 --run 306138 --out explored
    calowatch explore Run355456_Dataset_a.npy Run357479_Dataset_a.npy --out images
    calowatch explore SinglePhotonPt50_a.hdf5 SingleElectronPt50_a.hdf5 --out particles
    calowatch explore jets.parquet --out jets
    calowatch explore STORE::362760 --out explored --no-png --json
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from calowatch.cli.terminal import print_json, terminal_progress
    from calowatch.evaluate.explore import ExploreSettings
    from calowatch.evaluate.explore import explore as look
    from calowatch.io.request import ReadRequest

    request = ReadRequest(run=run, era=era, first_ls=first_ls)
    settings = ExploreSettings(request, tuple(label or ()), png)
    explored = look(sources, out, settings, progress=terminal_progress())
    if json:
        print_json(explored.document)
        return
    if "kind" in explored.document:
        show_labelled(explored.document)
    else:
        show(explored)
    typer.echo(f"Report: {out / 'explore.html'}, numbers: {out / 'explore.json'}")


def show_labelled(document: Mapping[str, Any]) -> None:
    """Print what is in labelled images, and the observables that tell most."""
    for label, (name, n) in enumerate(document["images"].items()):
        shares = ", ".join(
            f"{channel} {100 * share:.2f} %"
            for channel, share in zip(document["channels"], document["nonzero"][label], strict=True)
        )
        typer.echo(f"{name}: {n} images, not zero: {shares}" if n else f"{name}: no image")
    for row in document["observables"][:10]:
        if row["auc"] is not None:
            typer.echo(f"  {row['observable']:20} AUC {row['auc']:.4f} ± {row['error']:.4f}")


def show(explored: "Explored") -> None:
    """Print the tables that fit a terminal."""
    from calowatch.present.explore_given import Exploration
    from calowatch.present.explore_tables import statistics_table

    document, numbers = explored.document, explored.numbers
    for each in document["runs"]:
        events = f"{each['events']:.0f} events" if each["events"] else "events unknown"
        typer.echo(
            f"run {each['run']}, era {each['era']}: {each['n_ls']} LS, {events}, "
            f"{each['n_channels']} channels, {each['n_silent']} without any digi"
        )
        for note in each["notes"]:
            typer.echo(f"  {note}")
        for row in document["variance_summary"]:
            if row["run"] == each["run"]:
                typer.echo(
                    f"  {row['subdet']}: variance over binomial {row['median']:.3f} (median of {row['n_rings']} "
                    f"rings), {len(row['far'])} rings far above 1"
                )
        for row in document["drift_summary"]:
            if row["run"] == each["run"]:
                typer.echo(
                    f"  {row['subdet']}: ln rate ratio {row['median']:+.4f} to run {document['runs'][0]['run']}, "
                    f"spread of rings {row['spread']:.4f}"
                )
    if document["images"] and isinstance(numbers, Exploration):
        typer.echo(statistics_table(numbers).to_string())
