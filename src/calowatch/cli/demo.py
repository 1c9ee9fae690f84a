"""``calowatch demo``: the main job from end to end, on simulated detector files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from calowatch.core.progress import Progress
    from calowatch.evaluate.monitor import Outcome

__all__ = ["demo"]

HEALTHY_RUNS = (362695, 362696, 362757)
FAULTY_RUN = 362760
FAULTS = (
    "HEM15+HEM16 rbx_power_loss 41-",
    "HEP07-RM3-F4 sporadic 20-90 factor=0.3",
    "uHTR-24-05 link_loss 61-90 factor=0.7",
    "HBP03-RM2-C2 hot 30-60 factor=1.5",
    "HEM03-RM2 degraded 50- factor=0.9",
    "HB-5-31-2 dead 1-",
    "HO+7-40-4 masked 1-",
    "HF+35-25-2 dead 70-",
)


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for everything it makes.")
    ] = Path("demo"),
    n_ls: Annotated[int, typer.Option("--n-ls", min=100, help="Lumisections per run.")] = 120,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the simulation.")] = 7,
    json: Annotated[
        bool, typer.Option("--json", help="Print truth and verdicts as JSON, nothing else.")
    ] = False,
) -> None:
    """Simulate detector files, convert them, fit a reference and find the injected faults.

    Three healthy runs and one with eight faults are written as HcalAnalyzer ROOT (HB, HE) and as HDF5 (HB, HE, HF,
    HO), converted into one store, and the faulty run is judged against a reference fitted on the healthy ones.

    Examples
    --------
    \b
    calowatch demo
    calowatch demo --out elsewhere --seed 8
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from calowatch.cli.terminal import print_json, terminal_progress
    from calowatch.evaluate.monitor import MonitorSettings, monitor
    from calowatch.io.conversion import convert
    from calowatch.train.fit import fit

    progress = terminal_progress()
    folders = _simulate(out / "files", n_ls, seed, progress)
    store, reference = out / "occupancy.zarr", out / "reference"
    convert(folders, store, progress=progress, replace=True)
    fit([f"{store}::{run}" for run in HEALTHY_RUNS], reference, progress=progress)
    settings = MonitorSettings(truth=folders[-1] / "truth.json")
    outcome = monitor(f"{store}::{FAULTY_RUN}", out, reference, settings=settings, progress=progress)
    if json:
        print_json({**outcome.document, "truth": list(outcome.truth or ())})
    else:
        _show(outcome, out)


def _simulate(folder: Path, n_ls: int, seed: int, progress: "Progress") -> list[Path]:
    """Write the runs' detector files, each run into a folder of its own, the faulty run last."""
    from calowatch.simulate.conditions import ConditionsSettings
    from calowatch.simulate.faults import parse_fault
    from calowatch.simulate.files import write_run
    from calowatch.simulate.occupancy import OccupancySettings, occupancy

    shapes = ("levelled", "decaying", "flat", "decaying")
    pileups = (55.0, 50.0, 42.0, 46.0)
    runs = (*HEALTHY_RUNS, FAULTY_RUN)
    folders = []
    for run, shape, pileup in progress.track(
        zip(runs, shapes, pileups, strict=True), "simulating runs", len(runs)
    ):
        faults = tuple(parse_fault(text) for text in FAULTS) if run == FAULTY_RUN else ()
        conditions = ConditionsSettings(shape, pileup)
        data, truth = occupancy(
            OccupancySettings(run=run, n_ls=n_ls, conditions=conditions, faults=faults, seed=seed)
        )
        write_run(folder / f"run{run}", data, truth, ("analyzer", "hdf5"))
        folders.append(folder / f"run{run}")
    return folders


def _show(outcome: "Outcome", out: Path) -> None:
    from calowatch.cli.terminal import results_console

    found = {(verdict.unit, verdict.unit_type) for verdict in outcome.verdicts}
    truth = {(fault["unit"], fault["unit_type"]) for fault in outcome.truth or ()}
    console = results_console()
    console.print(_comparison(outcome))
    console.print(
        f"{len(truth & found)} of {len(truth)} injected units found and named, {len(found - truth)} invented."
    )
    console.print(f"Report: {out / 'report.html'}", soft_wrap=True)


def _comparison(outcome: "Outcome") -> "Table":
    """Return injected faults and verdicts side by side, one unit per row."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(
        title=f"Run {outcome.document['run']}", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1)
    )
    for name in ("Unit", "Injected", "LS", "Found", "LS"):
        table.add_column(name, no_wrap=True)
    for name in ("Ch.", "Sigma"):
        table.add_column(name, justify="right", no_wrap=True)
    injected = {fault["unit"]: fault for fault in outcome.truth or ()}
    verdicts = {verdict.unit: verdict for verdict in outcome.verdicts}
    for unit in [*injected, *(name for name in verdicts if name not in injected)]:
        fault, verdict = injected.get(unit), verdicts.get(unit)
        left = (fault["kind"], f"{fault['first_ls']}-{fault['last_ls']}") if fault else ("nothing", "")
        if verdict is None:
            table.add_row(unit, *left, "[red]missed[/red]", "", "", "")
            continue
        table.add_row(
            unit,
            *left,
            verdict.kind,
            f"{verdict.first_ls}-{verdict.last_ls}",
            str(len(verdict.channels)),
            f"{verdict.significance:.1f}",
        )
    return table
