"""``calowatch monitor``: name the failing units of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from calowatch.detect.verdict import Verdict
    from calowatch.evaluate.monitor import Outcome

__all__ = ["monitor", "show", "verdict_table"]

SHOWN = 40


def monitor(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="One run: a file, a folder, a store or STORE::RUN.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the results.")] = Path(
        "monitor"
    ),
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference", "-r", help="Bundle written by fit or train; without it, phi rings are compared."
        ),
    ] = None,
    known: Annotated[
        Path | None, typer.Option("--known", help="Channels known to be bad: CSV or CMSSW channel status.")
    ] = None,
    run: Annotated[
        int | None, typer.Option("--run", help="Run number, where the source does not tell.")
    ] = None,
    era: Annotated[str | None, typer.Option("--era", help="Era, where the source does not tell.")] = None,
    first_ls: Annotated[
        int | None, typer.Option("--first-ls", help="First lumisection, where the source does not tell.")
    ] = None,
    rate: Annotated[
        float,
        typer.Option("--fdr", min=1e-12, max=0.5, help="False discovery rate of the list of failing units."),
    ] = 0.01,
    min_events: Annotated[
        int, typer.Option("--min-events", min=1, help="Fewer events than this in an LS: no verdict.")
    ] = 100,
    window: Annotated[
        int, typer.Option("--window", min=1, help="LS over which the evidence in the maps is summed.")
    ] = 5,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Draw report.html and the maps.")
    ] = True,
    truth: Annotated[
        Path | None, typer.Option("--truth", help="truth.json of a simulated run, shown beside the verdicts.")
    ] = None,
    fail_on_alarm: Annotated[
        bool, typer.Option("--fail-on-alarm", help="Exit with 1 when a unit fails that was not known.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print verdicts.json on stdout and nothing else.")
    ] = False,
) -> None:
    """Judge a run: which channels, cards, modules or crates fail, how, since when and how surely.

    Writes verdicts.json, report.html and maps/*.png into DIR.

    Examples
    --------
    \b
    calowatch monitor STORE::362760 --reference reference --out judged
    calowatch monitor run306138_ls1-6.hdf5 --run 306138 --out judged
    calowatch monitor STORE::362760 -r reference --known known.csv --fail-on-alarm --json
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from calowatch.cli.terminal import print_json, terminal_progress
    from calowatch.evaluate.monitor import MonitorSettings
    from calowatch.evaluate.monitor import monitor as judge
    from calowatch.io.request import ReadRequest

    outcome = judge(
        source,
        out,
        reference,
        known,
        MonitorSettings(
            rate, min_events, window, report, truth, ReadRequest(run=run, era=era, first_ls=first_ls)
        ),
        progress=terminal_progress(),
    )
    if json:
        print_json(outcome.document)
    else:
        show(outcome, out)
    if fail_on_alarm and outcome.alarm:
        raise typer.Exit(1)


def show(outcome: "Outcome", out: Path) -> None:
    """Print what a shifter needs: the failing units, and where the report is."""
    from calowatch.cli.terminal import results_console

    console = results_console()
    head = outcome.document
    new = [verdict for verdict in outcome.verdicts if not verdict.known]
    failing = sum(verdict.kind != "structural" for verdict in new)
    units = "1 failing unit" if failing == 1 else f"{failing or 'no'} failing units"
    console.print(f"Run {head['run']}, era {head['era']}, {head['n_ls']} LS: [bold]{units}[/bold]")
    for warning in outcome.summary["warnings"]:
        console.print(f"[yellow]Note:[/yellow] {warning}")
    if new:
        console.print(verdict_table(new[:SHOWN]))
    if len(new) > SHOWN:
        console.print(f"... and {len(new) - SHOWN} more, in {out / 'verdicts.json'}", soft_wrap=True)
    if failing < len(new):
        console.print(f"structural: empty as a whole, a property of the detector ({len(new) - failing}).")
    if len(outcome.verdicts) > len(new):
        console.print(f"{len(outcome.verdicts) - len(new)} units known to be bad still fail.")
    if head["no_verdict_ls"]:
        console.print(f"{len(head['no_verdict_ls'])} LS without verdict (too few events).")
    page = out / "report.html"
    console.print(f"Report: {page if page in outcome.files else out / 'verdicts.json'}", soft_wrap=True)


def verdict_table(verdicts: "Sequence[Verdict]", title: str | None = None) -> "Table":
    """Return verdicts as a table that fits 80 columns."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    for name in ("Unit", "Type", "Kind"):
        table.add_column(name, no_wrap=True)
    for name in ("LS", "Channels", "Factor", "Sigma"):
        table.add_column(name, justify="right", no_wrap=True)
    for verdict in verdicts:
        table.add_row(
            verdict.title,
            verdict.unit_type,
            verdict.kind,
            f"{verdict.first_ls}-{verdict.last_ls}",
            str(len(verdict.channels)),
            f"{verdict.factor:.2f}",
            f"{verdict.significance:.1f}",
        )
    return table
