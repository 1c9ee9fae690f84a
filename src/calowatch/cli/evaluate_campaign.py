"""``calowatch evaluate campaign``: every model on the same injected faults."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from calowatch.evaluate.campaign.write import CampaignOutcome

__all__ = ["campaign"]


def campaign(
    name: Annotated[
        str,
        typer.Argument(metavar="CAMPAIGN", help="published, reduced, tiny, or a TOML file of your own."),
    ],
    bundles: Annotated[
        list[Path] | None,
        typer.Option(
            "--bundles", "-b", metavar="DIR", help="A trained bundle, or a folder of them; may be repeated."
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Folder of the results; interrupted work goes on there."
        ),
    ] = Path("campaign"),
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes; by default one per processor.")
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--markdown", metavar="FILE.md", help="Write the tables there too, as a documentation page."
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print campaign.json on stdout and nothing else.")
    ] = False,
) -> None:
    """Judge models on injected faults: cells of one varying axis each, on runs no model has seen, beside the bounds.

    Writes campaign.json, .csv, .md, report.html, figures/*.png and faults/*.png into DIR. The campaign's own
    baselines always take part. Called again with more bundles, it scores only those. Every bundle is read whole before
    any work starts.

    Examples
    --------
    \b
    calowatch evaluate campaign tiny --out tiny
    calowatch evaluate campaign published --bundles bundles --out campaign --workers 2
    calowatch evaluate campaign published -b lstm -b ours --out campaign --markdown campaign-results.md
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from calowatch.cli.terminal import print_json, terminal_progress
    from calowatch.evaluate.campaign.bundles import find_bundles
    from calowatch.evaluate.campaign.recipe import load_campaign
    from calowatch.evaluate.campaign.run import CampaignOptions
    from calowatch.evaluate.campaign.write import evaluate_campaign, write_markdown

    progress = terminal_progress()
    chosen = find_bundles(bundles or [], progress)
    options = CampaignOptions(out, chosen, workers, progress)
    named = " ".join(f"-b {path.name}" for path in chosen)
    command = " ".join(f"calowatch evaluate campaign {Path(name).name} {named} --out {out.name}".split())
    outcome = evaluate_campaign(load_campaign(name), options, command)
    if page is not None:
        write_markdown(page, outcome.markdown)
    if json:
        print_json(outcome.result)
    else:
        _show(outcome, out)


def _show(outcome: "CampaignOutcome", out: Path) -> None:
    """Print the base point, the sentences, and where the rest is."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from calowatch.cli.terminal import results_console
    from calowatch.present.campaign_tables import base_rows
    from calowatch.present.campaign_words import sentences

    console = results_console()
    base: dict[str, Any] = outcome.result["cells"][0]
    title = f"Base point: {base['unit']}, factor {base['factor']:g}, {base['duration']} LS, {base['said']}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    for i, head in enumerate(("Model, evidence", "FPR at 99 %", "ROC-AUC", "Recall", "Alarms/24 h")):
        table.add_column(head, justify="right" if i else "left", no_wrap=bool(i))
    for row in base_rows(outcome.result):
        table.add_row(*row)
    console.print(table)
    for sentence in sentences(outcome.result):
        console.print(f"- {sentence}", soft_wrap=True)
    console.print(f"Report: {out / 'report.html'}", soft_wrap=True)
