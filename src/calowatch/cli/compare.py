"""``calowatch compare``: trained classifiers ranked, and beside each other."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calowatch.cli.options import Side

if TYPE_CHECKING:
    from calowatch.evaluate.compare import Comparison

__all__ = ["compare"]


def compare(
    bundles: Annotated[
        list[Path], typer.Argument(metavar="BUNDLE...", help="Folders of trained classifiers, two or more.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the results.")],
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            metavar="FILE",
            help="Labelled images to rank by, once per file or folder. Default: those of the first one's training.",
        ),
    ] = None,
    side: Side = None,
    rank: Annotated[
        bool, typer.Option("--rank/--no-rank", help="Rank on the same images; or only what the bundles tell.")
    ] = True,
    draws: Annotated[
        int,
        typer.Option(
            "--draws",
            min=0,
            help="Of the bootstrap of differences; figures take 200 at most. 0: no intervals.",
        ),
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the bootstrap.")] = 0,
    markdown: Annotated[
        Path | None,
        typer.Option(
            "--markdown",
            metavar="FILE",
            help="Also put the ranking, with command, seed and commit, into this page, in the place of its kind of "
            "images; the figure goes beside it.",
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print comparison.json on stdout and nothing else.")
    ] = False,
) -> None:
    """Rank trained classifiers on the same images, and put their losses and figures beside each other.

    Images that one of them has learned from are left out for all. Differences of ROC-AUC are paired, with intervals; of
    three or more, the mean of the two that the training's validation side finds best is ranked too. Published figures
    of other data stand beside, marked. Writes comparison.html, comparison.json and PNG figures.

    Examples
    --------
    \b
    calowatch compare models/vit models/moe models/linear --out compared
    calowatch compare models/vit models/moe --out compared --no-rank --json
    calowatch compare models/trees models/convnet --out compared --data egamma --markdown images.md
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from calowatch.bundle.manifest import read_manifest
    from calowatch.cli.kept_page import check_part
    from calowatch.cli.terminal import print_json, terminal_progress
    from calowatch.core.errors import InputError
    from calowatch.evaluate.compare import compare as put_together
    from calowatch.evaluate.compare_ranked import RankRequest

    if markdown and not rank:
        raise InputError("--markdown", "a ranking to write", "--no-rank", "leave one of the two out")
    if markdown:
        check_part(markdown, _part(str(read_manifest(bundles[0]).get("images"))))
    must = bool(data or side or markdown)
    request = RankRequest(tuple(data or ()), side, draws, seed, must, terminal_progress())
    found = put_together(bundles, out, request if rank else None)
    if markdown:
        _keep(found, markdown, seed)
    if json:
        print_json(found.document)
        return
    _tell(found)
    for note in found.document["notes"]:
        typer.echo(f"note: {note}")
    typer.echo(f"Report: {found.files[0]}")


def _part(kind: str) -> str:
    return f"ranking {kind}"


def _keep(found: "Comparison", page: Path, seed: int) -> None:
    from calowatch.cli.kept_page import keep_part, typed_command
    from calowatch.core.provenance import commit
    from calowatch.present.compare_ranked import ranking_markdown

    assert found.ranked is not None
    told = {"command": typed_command(), "commit": commit(), "seed": seed}
    kind, picture = found.ranked.kind, next(path for path in found.files if path.name == "ranking.png")
    name = f"{page.stem}-{kind}.png"
    keep_part(page, _part(kind), ranking_markdown(found.ranked, name, told), {name: picture})


def _tell(found: "Comparison") -> None:
    from calowatch.present.classify import figure_text

    if found.ranked is not None:
        width = max(len(row.name) for row in found.ranked.rows)
        typer.echo(f"{found.ranked.n:,} images: {found.ranked.words}")
        for place, row in enumerate(found.ranked.rows, 1):
            worth = figure_text("roc_auc", row.figures["roc_auc"])
            typer.echo(
                f"{place:>3}. {row.name:<{width}}  {row.n_parameters:>9,} learned numbers  ROC-AUC {worth}"
            )
        return
    width = max(len(each.name) for each in found.bundles)
    for each in found.bundles:
        told = [
            f"{key} {figure_text(key, each.figures[key])}"
            for key in ("accuracy", "roc_auc")
            if key in each.figures
        ]
        typer.echo(f"{each.name:<{width}}  {each.n_parameters:>9,} learned numbers  {'  '.join(told)}")
