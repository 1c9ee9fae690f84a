"""``calowatch prepare``: data sets for training, whose sides share nothing."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from calowatch.data.check import Proof

__all__ = ["prepare"]


def prepare(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="[RECIPE]",
            help="TOML file, or the name of a recipe that comes with calowatch: source-ls-split, whole-runs, blocks, "
            "era; for networks he-source, he-source-iid, all-source-iid, he-rates (hb-, hf-, ho-rates); of a "
            "campaign's runs campaign, campaign-iid, campaign-rates.",
            show_default=False,
        ),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option("--store", metavar="STORE", help="The store; else the one that the recipe names."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="DATASET", help="Folder of the data set; an earlier one is replaced."
        ),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option("--check", metavar="DATASET", help="Prove that the sides of a data set share nothing."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Deals blocks to the sides, in place of the recipe's.")
    ] = None,
    known: Annotated[
        Path | None,
        typer.Option(
            "--known", metavar="FILE", help="Known bad channels, left out of every scale; they read 0."
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", metavar="DIR", help="Folder of the memory-mapped counts; else STORE.cache."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")] = False,
) -> None:
    """Make a data set from a store as a recipe says, or prove that the sides of one share nothing.

    Scales are fitted on the training side only. --check reads what is stored, not the recipe: no lumisection, and no
    window over it, is on two sides.

    Examples
    --------
    \b
    calowatch prepare source-ls-split --store occupancy.zarr --out dataset
    calowatch prepare my-recipe.toml --out dataset --seed 7 --json
    calowatch prepare --check dataset
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from dataclasses import asdict

    from calowatch.cli.terminal import print_json, terminal_progress
    from calowatch.core.errors import InputError

    progress = terminal_progress()
    if check is not None:
        if recipe is not None or out is not None:
            raise InputError(
                "--check", "only a data set", "a recipe or --out as well", "make one first, then check it"
            )
        from calowatch.data.check import check_dataset

        proof = check_dataset(check, progress)
        if json:
            print_json({"dataset": str(check), **asdict(proof)})
        else:
            _show_proof(proof)
        return
    if recipe is None or out is None:
        raise InputError(
            "prepare",
            "a RECIPE and --out DATASET, or --check DATASET",
            "less",
            "see calowatch prepare --help",
        )
    from calowatch.data.prepare import PrepareOptions
    from calowatch.data.prepare import prepare as make

    manifest = make(recipe, out, PrepareOptions(store, seed, known, cache), progress)
    if json:
        print_json(manifest)
    else:
        _show_manifest(manifest, out)


def _show_manifest(manifest: dict[str, Any], out: Path) -> None:
    from rich.table import Table

    from calowatch.cli.terminal import results_console

    table = Table("side", "runs", "LS", "windows", "events")
    for side, told in manifest["splits"].items():
        numbers = (len(told["runs"]), told["n_ls"], told["n_windows"], told["n_events"])
        table.add_row(side, *(f"{number}" for number in numbers))
    console = results_console()
    console.print(table)
    reasons = [
        f"{count} {reason.replace('_', ' ')}" for reason, count in manifest["left_out"].items() if count
    ]
    if reasons:
        console.print(f"LS left out: {', '.join(reasons)}", highlight=False)
    console.print(
        f"{manifest['n_channels']} channels, {manifest['n_known_bad']} of them known bad", highlight=False
    )
    console.print(f"Written to {out}", highlight=False, markup=False, soft_wrap=True)


def _show_proof(proof: "Proof") -> None:
    for side, n_ls in proof.n_ls.items():
        typer.echo(f"{side}: {n_ls} LS, {proof.n_windows[side]} windows")
    typer.echo(f"LS on two sides: {proof.ls_on_two_sides}")
    typer.echo(f"windows that reach over another side: {proof.windows_over_two_sides}")
    typer.echo(f"LS with equal counts on two sides: {proof.equal_counts}")
    nearest = "no run is on two sides" if proof.nearest is None else f"{proof.nearest} at the nearest"
    typer.echo(f"LS between two sides of a run: {nearest} (guard: {proof.guard})")
    typer.echo("preparation: equal to a fit on the training side")
    if proof.runs_on_two_sides:
        typer.echo(
            f"runs on two sides: {len(proof.runs_on_two_sides)}, so the sides are alike; for figures on new data split "
            "by whole runs"
        )
