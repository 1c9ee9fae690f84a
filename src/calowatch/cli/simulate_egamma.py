"""``calowatch simulate egamma``: electron and photon images in the published layout, whose truth is known."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from calowatch.core.errors import InputError

if TYPE_CHECKING:
    from calowatch.simulate.egamma_files import EgammaSummary

__all__ = ["egamma"]


def egamma(
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Folder of the two files; an earlier pair of the same names is replaced.",
        ),
    ],
    n: Annotated[int, typer.Option("--n", help="Images, half of each class.")] = 500_000,
    pt: Annotated[float, typer.Option("--pt", help="Transverse momentum in GeV.")] = 50.0,
    eta_max: Annotated[
        float,
        typer.Option("--eta-max", help="Pseudorapidity is flat up to this; images lie within the barrel."),
    ] = 1.4,
    charge: Annotated[
        str, typer.Option("--charge", help="minus: electrons only, as published; both: positrons as well.")
    ] = "minus",
    material: Annotated[
        float, typer.Option("--material", help="Scales the tracker's material; 0 for none.")
    ] = 1.0,
    field: Annotated[float, typer.Option("--field", help="Magnetic field in tesla; 0 for none.")] = 3.8,
    empty: Annotated[
        bool,
        typer.Option("--empty/--no-empty", help="Leave some photon images empty, as the published ones are."),
    ] = True,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", help="Processes on this machine that generate at a time.")
    ] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler",
            "--cluster",
            metavar="ADDRESS",
            help="Scheduler of a running Dask cluster that generates instead, such as tcp://127.0.0.1:8786.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the images.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON and nothing else.")] = False,
) -> None:
    """Simulate electron and photon images: 32 x 32 crystals of the ECAL barrel, energy and time, as two HDF5 files.

    Parametrised showers behind a tracker with bremsstrahlung, conversions and bending; no pile-up, no gaps. The files
    do not depend on the number of workers. Broken off, it goes on where it was.

    Examples
    --------
    \b
    calowatch simulate egamma --out egamma --n 500000 --workers 8
    calowatch simulate egamma --out small --n 12000 --seed 7 --json
    calowatch simulate egamma --out equal --n 20000 --material 0 --field 0 --no-empty
    calowatch simulate egamma --out egamma --cluster tcp://127.0.0.1:8786
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from calowatch.cli.terminal import print_json, terminal_progress
    from calowatch.simulate.chunks import Place
    from calowatch.simulate.egamma import EgammaSettings
    from calowatch.simulate.egamma_files import EgammaRequest, simulate_egamma
    from calowatch.simulate.egamma_tracker import Tracker

    if scheduler is not None and workers != 1:
        raise InputError("--workers", "either --workers or --scheduler", "both", "drop one of them")
    tracker = Tracker(field=field, material=material)
    settings = EgammaSettings(pt, eta_max, charge, tracker=tracker)
    if not empty:
        settings = settings.without_empty()
    request = EgammaRequest(n, out, seed, settings, Place(workers, scheduler))
    made = simulate_egamma(request, terminal_progress())
    if json:
        print_json(_summary(request.seed, made))
        return
    for kind, images in made.images.items():
        filled = f"{100 * made.nonzero[kind]:.2f} % of the values not zero"
        typer.echo(f"{kind}: {images} images, {made.empty[kind]} empty, {filled}")
    for path in made.files:
        typer.echo(path)


def _summary(seed: int, made: "EgammaSummary") -> dict[str, Any]:
    return {
        "seed": seed,
        "images": made.images,
        "empty": made.empty,
        "nonzero": made.nonzero,
        "seconds": made.seconds,
        "files": [str(path) for path in made.files],
    }
