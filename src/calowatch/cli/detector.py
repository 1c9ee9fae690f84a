"""``calowatch detector``: which channels and units exist, where they sit, what fails together."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from calowatch.detector.lookup import Description

__all__ = ["detector"]

SHOWN_NAMES = 12
FIRST_NAMES = 3


def detector(
    name: Annotated[
        list[str] | None,
        typer.Argument(help="A channel (HE -27 33 3) or a unit (HEP07-RM3); without it, the whole detector."),
    ] = None,
    era: Annotated[
        str | None, typer.Option("--era", help="run3, 2018 or 2017; that of --run, or run3, unless given.")
    ] = None,
    run: Annotated[
        int | None,
        typer.Option("--run", help="Wiring in this run, by your own maps; by default their newest."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")] = False,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the channels, one row each, to FILE.")
    ] = None,
) -> None:
    """Count the channels and units of an era, or look one up: where it sits and what shares its electronics.

    Units are written HEP07, HEP07-RM3, HEP07-RM3-C2, HEP07-RM3-F4, uHTR-24-05, FED-1100, HE+27d3, HE-27-33-3.

    Examples
    --------
    \b
    calowatch detector
    calowatch detector --era 2018 --json
    calowatch detector --csv channels.csv
    calowatch detector HE -27 33 3
    calowatch detector HEP07-RM3
    calowatch detector uHTR-24-05 --csv board.csv
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from calowatch.cli.terminal import print_json
    from calowatch.detector import inventory
    from calowatch.detector.conditions import era_or_default

    era = era_or_default(era, run)
    unit = " ".join(name) if name else None
    if unit is None:
        summary = inventory.detector(era, run)
        print_json(summary) if json else _show_summary(summary)
    else:
        from dataclasses import asdict

        from calowatch.detector.lookup import describe

        found = describe(unit, era, run)
        print_json(asdict(found)) if json else _show_description(found)
    if csv is not None:
        n = inventory.write_channels(csv, era, unit, run)
        typer.echo(f"{n} channels written to {csv}", err=True)


def _print(*tables: "Table") -> None:
    from calowatch.cli.terminal import results_console

    console = results_console(highlight=False)
    for table in tables:
        console.print(table)


def _table(title: str, **options: Any) -> "Table":
    from rich import box
    from rich.table import Table

    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, **options)


def _show_summary(summary: dict[str, Any]) -> None:
    kinds = ("fibre", "card", "rm", "rbx", "uhtr", "fed", "ring")
    table = _table(f"HCAL, era {summary['era']}: channels and units", show_footer=True)
    table.add_column("", "total")
    table.add_column("channels", str(sum(summary["channels"].values())), justify="right")
    for kind in kinds:
        table.add_column(kind, justify="right")
    for subdet, n in summary["channels"].items():
        units = summary["units"][subdet]
        table.add_row(subdet, str(n), *(str(units.get(kind, "-")) for kind in kinds))
    table.caption = (
        "Only units whose wiring is known. Boards and FEDs that HB and HE share count in both rows."
    )
    table.caption_justify = "left"
    _print(table)


def _span(values: tuple[float, float] | None, spelling: str = "{:g}") -> str:
    if values is None:
        return "-"
    first, last = (spelling.format(value) for value in values)
    return first if first == last else f"{first} .. {last}"


def _listed(names: list[str]) -> str:
    if len(names) <= SHOWN_NAMES:
        return ", ".join(names)
    return f"{', '.join(names[:FIRST_NAMES])} and {len(names) - FIRST_NAMES} more"


def _place_rows(found: "Description") -> list[tuple[str, str]]:
    channels = ", ".join(f"{subdet} {n}" for subdet, n in found.channels.items())
    phi = _span(found.phi, "{:g}°")
    rows = [
        ("channels", channels),
        ("ieta", _span(found.ieta)),
        ("iphi", _span(found.iphi)),
        ("depth", _span(found.depth)),
        ("eta", _span(found.eta, "{:.3f}")),
        ("phi", phi),
    ]
    address = "  ".join(f"{column} {value}" for column, value in found.electronics.items())
    if not address:
        address = "several, see below" if set(found.units) - {"ring"} else "not known in this era"
    rows.append(("electronics", address))
    if found.card_serials:
        serials = [f"{card}: {serial}" for card, serial in found.card_serials.items()]
        alone = found.unit_type == "card" and len(serials) == 1
        rows.append(("card serial", next(iter(found.card_serials.values())) if alone else _listed(serials)))
    if found.maps:
        rows.append(("your own maps", "; ".join(found.maps)))
    for kind, index in found.indices.items():
        text = str(index) if kind == "channel" else " ".join(map(str, index))
        rows.append(("number" if kind == "channel" else f"{kind} bin", text))
    return rows


def _show_description(found: "Description") -> None:
    place = _table(f"{found.name} ({found.unit_type}, era {found.era})", show_header=False)
    for label, text in _place_rows(found):
        place.add_row(label, text)
    wiring = _table("Units that it belongs to or is made of, and the others of its kind on them")
    for heading in ("unit", "names"):
        wiring.add_column(heading)
    wiring.add_column("others", justify="right")
    wiring.add_column("which")
    for kind, names in found.units.items():
        others = found.shares.get(kind, [])
        wiring.add_row(kind, _listed(names), str(len(others) or "-"), _listed(others))
    _print(place, wiring)
