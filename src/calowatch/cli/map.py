"""``calowatch map``: electronics maps of the user's own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from calowatch.core.errors import InputError

if TYPE_CHECKING:
    from calowatch.detector.map_comparison import MapComparison
    from calowatch.io.maps import ElectronicsMap

__all__ = ["app", "parse"]

app = typer.Typer(no_args_is_help=True, help="Electronics maps of your own.")

NAMED = 3


@app.callback()
def _verbs() -> None:
    """Electronics maps of your own."""


@app.command()
def parse(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="EMap or LMap text file, plain or .gz.")],
    era: Annotated[
        str | None,
        typer.Option("--era", help="Era to compare with; that of --from-run, or run3, unless given."),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="OUT", help="Write the map, one row per channel, as CSV.")
    ] = None,
    first: Annotated[int | None, typer.Option("--from-run", help="First run the map holds for.")] = None,
    last: Annotated[
        int | None, typer.Option("--to-run", help="Last run the map holds for; open unless given.")
    ] = None,
    save: Annotated[
        bool, typer.Option("--save", help="Keep the map for these runs in your configuration.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")] = False,
) -> None:
    """Read an electronics map, compare it with the built-in table, and keep it for a range of runs.

    A saved map is laid over the built-in wiring wherever its runs are judged or looked up. It lies in
    $CALOWATCH_CONFIG, or else in ~/.config/calowatch. It cannot add or remove channels.

    Examples
    --------
    \b
    calowatch map parse Lmap_ngHE.txt
    calowatch map parse Emap_ngHB.txt.gz --json
    calowatch map parse Lmap_ngHE.txt --from-run 355100 --to-run 362760 --save
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from calowatch.cli.terminal import print_json
    from calowatch.detector.conditions import era_or_default
    from calowatch.detector.map_comparison import compare_map
    from calowatch.io.maps import read_map, write_map

    if save != (first is not None) or (last is not None and not save):
        raise InputError(
            "map parse", "--save with --from-run", "one without the other", "give both, or neither of the two"
        )
    found = read_map(file)
    compared = compare_map(found.channels, era_or_default(era, first))
    if csv is not None:
        write_map(csv, found)
    saved = _save(found, compared.era, first, last) if first is not None else []
    if json:
        print_json(_document(found, compared, saved))
        return
    _show(found, compared)
    for entry in saved:
        typer.echo(f"Saved: {entry['subdet']} {entry['runs']}, {entry['path']}")


def _save(found: "ElectronicsMap", era: str, first: int, last: int | None) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from calowatch.detector.conditions import era_of_run
    from calowatch.detector.user_conditions import NewMap, conditions_folder, save_map

    if era != era_of_run(first):
        raise InputError("--era", f"{era_of_run(first)}, the era of run {first}", era, "leave --era out")
    entries = save_map(NewMap(found.channels, found.name, found.kind, first, last))
    folder = conditions_folder()
    return [{**asdict(entry), "runs": entry.runs, "path": str(folder / entry.file)} for entry in entries]


def _document(
    found: "ElectronicsMap", compared: "MapComparison", saved: list[dict[str, Any]]
) -> dict[str, Any]:
    from dataclasses import asdict

    parts = {
        subdet: {**asdict(part), "same_channels": part.same_channels, "different_cells": part.different_cells}
        for subdet, part in compared.subdets.items()
    }
    return {
        "file": found.name,
        "kind": found.kind,
        "era": compared.era,
        "set_aside": dict(found.set_aside),
        "vme": found.vme,
        "card_serials": found.serials,
        "subdets": parts,
        "saved": saved,
    }


def _show(found: "ElectronicsMap", compared: "MapComparison") -> None:
    aside = ", ".join(f"{n} {kind}" for kind, n in found.set_aside.items())
    typer.echo(f"{found.name}: {found.kind}, {len(found.channels)} channels; set aside: {aside or 'nothing'}")
    if found.serials:
        typer.echo(f"serial numbers of {found.serials} cards")
    if found.vme:
        typer.echo(f"{found.vme} channels sit on VME boards: their crates are not those of the uTCA boards")
    for subdet, part in compared.subdets.items():
        typer.echo(f"{subdet} beside era {compared.era}: {part.channels} channels")
        for what, names in (("missing in the map", part.missing), ("only in the map", part.extra)):
            some = f", such as {', '.join(names[:NAMED])}" if names else ""
            typer.echo(f"  {what}: {len(names)}{some}")
        for name, column in part.columns.items():
            typer.echo(f"  {name}: {column.different} of {column.compared} differ")
            for example in column.examples:
                typer.echo(f"    {example.channel}: built in {example.table}, map {example.map}")
