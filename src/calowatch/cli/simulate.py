"""``calowatch simulate``: runs whose truth is known, as detector files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from calowatch.simulate.occupancy import OccupancySettings
    from calowatch.simulate.truth import FaultTruth

__all__ = ["app", "occupancy"]

app = typer.Typer(no_args_is_help=True, help="Simulate runs whose truth is known.")


@app.callback()
def _verbs() -> None:
    """Simulate runs whose truth is known."""


@app.command()
def occupancy(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", help="Folder of the run; an earlier one is replaced."),
    ],
    era: Annotated[str, typer.Option("--era", help="run3 or 2018.")] = "run3",
    run: Annotated[int, typer.Option("--run", help="Run number.")] = 362760,
    n_ls: Annotated[
        int | None,
        typer.Option(
            "--n-ls", help="Lumisections; 120 unless given, or as many as the CSV of --profile has."
        ),
    ] = None,
    first_ls: Annotated[int, typer.Option("--first-ls", help="Number of the first lumisection.")] = 1,
    profile: Annotated[
        str,
        typer.Option(
            "--profile",
            metavar="NAME|FILE.csv",
            help="Pile-up against lumisection: flat, decaying, levelled, or a CSV with a column pileup.",
        ),
    ] = "levelled",
    profile_run: Annotated[
        int | None, typer.Option("--profile-run", help="Which run of the CSV, where it holds several.")
    ] = None,
    pileup: Annotated[
        float, typer.Option("--pileup", help="Pile-up at the start; unused with a CSV.")
    ] = 50.0,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            "--fault",
            metavar="'UNIT KIND LS'",
            help="May be repeated. Kinds: dead, masked, rbx_power_loss, degraded, hot, sporadic, link_loss; then "
            "first-last, and factor=, gain=, duty=, burst= where the kind has them.",
        ),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            help="analyzer (HB and HE) or hdf5 (all four); may be repeated; analyzer unless given.",
        ),
    ] = None,
    subdets: Annotated[str, typer.Option("--subdets", help="Subdetectors, with commas.")] = "HB,HE,HF,HO",
    seed: Annotated[int, typer.Option("--seed", help="Of conditions, counts and bursts.")] = 0,
    detector_seed: Annotated[
        int | None, typer.Option("--detector-seed", help="Of the frozen channel responses; one by default.")
    ] = None,
    numbers: Annotated[
        str, typer.Option("--numbers", help="Numbers of a healthy detector: a name or a TOML file.")
    ] = "occupancy-v1",
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON and nothing else.")] = False,
) -> None:
    """Simulate the occupancy of one run, and write it as detector files with its truth beside them.

    Runs of one --seed and different --run differ; the detector stays the same.

    Examples
    --------
    \b
    calowatch simulate occupancy --out healthy --run 362758
    calowatch simulate occupancy --out faulty --fault "HEM15 dead 41-" --fault "HEP07-RM3-F4 sporadic 20-80 factor=0.3"
    calowatch simulate occupancy --out power --era 2018 --run 319077 --fault "HEM15+HEM16 rbx_power_loss 41-"
    calowatch simulate occupancy --out whole --format analyzer --format hdf5 --profile decaying --seed 7 --json
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from calowatch.cli.terminal import print_json, terminal_progress
    from calowatch.simulate.conditions import SHAPES, ConditionsSettings, count_ls
    from calowatch.simulate.faults import parse_fault
    from calowatch.simulate.files import check_formats, write_run
    from calowatch.simulate.occupancy import DETECTOR_SEED, OccupancySettings
    from calowatch.simulate.occupancy import occupancy as simulate

    settings = OccupancySettings(
        era=era,
        run=run,
        n_ls=120 if n_ls is None and profile in SHAPES else n_ls,
        first_ls=first_ls,
        conditions=ConditionsSettings(profile, pileup, profile_run),
        faults=tuple(parse_fault(text) for text in fault or ()),
        subdets=tuple(name.strip().upper() for name in subdets.split(",") if name.strip()),
        seed=seed,
        detector_seed=DETECTOR_SEED if detector_seed is None else detector_seed,
        profile=numbers,
    )
    wanted = formats or ["analyzer"]
    check_formats(wanted, settings.subdets, first_ls + count_ls(settings.conditions, settings.n_ls) - 1)
    progress = terminal_progress()
    data, truth = simulate(settings, progress)
    files = write_run(out, data, truth, wanted, progress)
    summary = _summary(settings, data.sizes["ls"], truth.faults)
    summary["files"] = [str(path) for path in files]
    summary["channels"] = truth.table.groupby("subdet", sort=False).size().to_dict()
    if json:
        print_json(summary)
    else:
        _show(summary)


def _summary(settings: "OccupancySettings", n_ls: int, faults: tuple["FaultTruth", ...]) -> dict[str, Any]:
    rows = [
        {
            "unit": fault.unit,
            "unit_type": fault.unit_type,
            "kind": fault.kind,
            "first_ls": fault.first_ls,
            "last_ls": fault.last_ls,
            "factor": fault.factor,
            "n_channels": len(fault.channels),
            "n_saturated": fault.n_saturated,
        }
        for fault in faults
    ]
    named = {"run": settings.run, "era": settings.era, "first_ls": settings.first_ls, "n_ls": n_ls}
    return {**named, "seed": settings.seed, "detector_seed": settings.detector_seed, "faults": rows}


def _show(summary: dict[str, Any]) -> None:
    from rich.table import Table

    from calowatch.cli.terminal import results_console

    console = results_console()
    counts = ", ".join(f"{subdet} {n}" for subdet, n in summary["channels"].items())
    last = summary["first_ls"] + summary["n_ls"] - 1
    console.print(
        f"Run {summary['run']} ({summary['era']}), LS {summary['first_ls']}-{last}: {counts}", highlight=False
    )
    if summary["faults"]:
        table = Table("unit", "kind", "LS", "factor", "channels", "saturated", title="Injected faults")
        for row in summary["faults"]:
            sections = f"{row['first_ls']}-{row['last_ls']}"
            sizes = str(row["n_channels"]), str(row["n_saturated"])
            table.add_row(row["unit"], row["kind"], sections, f"{row['factor']:.3g}", *sizes)
        console.print(table)
    for path in summary["files"]:
        console.print(path, markup=False, highlight=False, soft_wrap=True)
