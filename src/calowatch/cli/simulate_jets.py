"""``calowatch simulate jets``: quark and gluon jets in the published layout, whose truth is known."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calowatch.core.errors import InputError

if TYPE_CHECKING:
    from calowatch.io.jets_report import JetReport

__all__ = ["jets"]


def jets(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FILE.parquet", help="The file; an earlier one is replaced."),
    ],
    n: Annotated[int, typer.Option("--n", help="Jets, half of each class.")] = 40_000,
    pileup: Annotated[
        float,
        typer.Option("--pileup", help="Mean number of other collisions in the same crossing; 0 for none."),
    ] = 21.0,
    pool: Annotated[
        str,
        typer.Option(
            "--pool", help="Name of the library of pile-up: those of other names share no collision."
        ),
    ] = "train",
    library: Annotated[
        Path | None,
        typer.Option(
            "--library", metavar="DIR", help="Where the library is, or shall be; else in the user's cache."
        ),
    ] = None,
    library_size: Annotated[
        int,
        typer.Option("--library-size", help="Collisions in the library, built once: one per chunk at least."),
    ] = 100_000,
    process: Annotated[
        str,
        typer.Option(
            "--process", help="Collisions of the library: inelastic, or nonDiffractive (starts sooner)."
        ),
    ] = "inelastic",
    chunk: Annotated[
        int, typer.Option("--chunk", help="Jets made together, which share pile-up with no other chunk.")
    ] = 1000,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", help="Processes on this machine that generate at a time.")
    ] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler",
            "--cluster",
            metavar="ADDRESS",
            help="Scheduler of a running Dask cluster that generates instead, such as tcp://127.0.0.1:8786; its "
            "workers must see the library.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the jets.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON and nothing else.")] = False,
) -> None:
    """Simulate quark and gluon jets: tracks, ECAL and HCAL round the hottest tower, as one Parquet file.

    Pythia 8 collisions at 8 TeV, FastJet, a detector, and pile-up from a library of ready collisions, which is built
    when it is first needed. Label 1 is quark, 0 is gluon. Classes are matched in pT. The file does not depend on the
    number of workers. Broken off, it goes on where it was.

    Examples
    --------
    \b
    calowatch simulate jets --out jets.parquet --n 40000 --workers 8
    calowatch simulate jets --out test.parquet --n 10000 --pool test --seed 1
    calowatch simulate jets --out small.parquet --n 200 --library-size 2000 --process nonDiffractive --json
    calowatch simulate jets --out clean.parquet --n 1000 --pileup 0
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from calowatch.cli.terminal import print_json, terminal_progress
    from calowatch.simulate.chunks import Place
    from calowatch.simulate.jets import JetSettings
    from calowatch.simulate.jets_files import JetRequest, simulate_jets
    from calowatch.simulate.pileup import PileupRequest

    if scheduler is not None and workers != 1:
        raise InputError("--workers", "either --workers or --scheduler", "both", "drop one of them")
    settings = JetSettings(n=n, seed=seed, pileup=pileup, chunk=chunk)
    ready = PileupRequest(library_size, pool, process=process)
    request = JetRequest(settings, ready, library, Place(workers, scheduler))
    made = simulate_jets(out, request, terminal_progress())
    channels = _channels(made)
    if json:
        counts = {"jets": made.jets, "quarks": made.quarks, "empty": made.empty, "seed": seed}
        print_json({**counts, "channels": channels, "file": str(out)})
        return
    typer.echo(f"{made.jets} jets, {made.quarks} of them quarks")
    for name, values in channels.items():
        filled = f"{100 * values['nonzero']:.2f} % of the pixels not zero"
        typer.echo(
            f"{name}: {filled}, mean {values['mean']:.2e}, largest {values['largest']:.3g}, in 100 GeV"
        )
    typer.echo(out)


def _channels(made: "JetReport") -> dict[str, dict[str, float]]:
    from calowatch.io.jets_report import CHANNELS

    columns = zip(CHANNELS, made.nonzero, made.mean, made.largest, strict=True)
    return {
        name: {"nonzero": nonzero, "mean": mean, "largest": largest}
        for name, nonzero, mean, largest in columns
    }
