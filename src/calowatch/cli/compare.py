"""``calowatch compare``: trained classifiers beside each other."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["compare"]


def compare(
    bundles: Annotated[
        list[Path], typer.Argument(metavar="BUNDLE...", help="Folders of trained classifiers, two or more.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the results.")],
    json: Annotated[
        bool, typer.Option("--json", help="Print comparison.json on stdout and nothing else.")
    ] = False,
) -> None:
    """Compare trained classifiers: loss and accuracy over the epochs in one figure, and what each is worth.

    Takes what the bundles tell, and computes nothing anew. Writes comparison.html, comparison.json and PNG figures.

    Examples
    --------
    \b
    calowatch compare models/vit models/moe models/linear --out compared
    calowatch compare models/vit models/moe --out compared --json
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from calowatch.cli.terminal import print_json
    from calowatch.evaluate.compare import compare as put_together
    from calowatch.present.classify import figure_text

    found = put_together(bundles, out)
    if json:
        print_json(found.document)
        return
    width = max(len(each.name) for each in found.bundles)
    for each in found.bundles:
        told = [
            f"{key} {figure_text(key, each.figures[key])}"
            for key in ("accuracy", "roc_auc")
            if key in each.figures
        ]
        typer.echo(f"{each.name:<{width}}  {each.n_parameters:>9,} learned numbers  {'  '.join(told)}")
    for note in found.document["notes"]:
        typer.echo(f"note: {note}")
    typer.echo(f"Report: {found.files[0]}")
