"""``calowatch export``: a run in the file formats of other programs."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["export"]


def export(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A file, a folder of one run, or STORE::RUN.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PATH", help="The folder or file to write.")],
    to: Annotated[
        str,
        typer.Option(
            "--format",
            help="master (folder of the source system), analyzer (HcalAnalyzer ROOT) or hdf5 (2018 study).",
        ),
    ] = "master",
    run: Annotated[int | None, typer.Option("--run", help="Run, where the source does not say.")] = None,
    era: Annotated[str | None, typer.Option("--era", help="run3, 2018 or 2017; else by the run.")] = None,
    first_ls: Annotated[
        int | None, typer.Option("--first-ls", help="First lumisection, where the source does not say.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")] = False,
) -> None:
    """Write a run in the file format of another program, from which it is read back with equal counts.

    master is a folder with output__depth.npy (LS, 64 ieta, 72 iphi, 7 depth, 1), run_ls_lumi_df.npy and
    meta_data.json, as the source system's loader would have made them: no gap at ieta 0, iphi 1 in the first column.
    It keeps iphi 72, which that loader loses. master and analyzer hold HB and HE, hdf5 all four subdetectors.

    Examples
    --------
    \b
    calowatch export runs.zarr::355456 --format master --out hbhe_master_npdataset_2022/Run355456
    calowatch export runs.zarr::355456 --format hdf5 --out run355456.hdf5 --json
    """  # noqa: D301 - the \b is Typer's, and keeps the lines apart
    from calowatch.cli.terminal import print_json, terminal_progress
    from calowatch.io.export import export_run
    from calowatch.io.request import ReadRequest

    done = export_run(source, out, to, ReadRequest(run, era, first_ls), terminal_progress())
    if json:
        print_json(done)
        return
    typer.echo(
        f"{out}: run {done['run']}, {done['n_ls']} LS, {done['digis']} digis of {' '.join(done['subdets'])}"
    )
    if done["left_out"]:
        typer.echo(f"Not in this format: {' '.join(done['left_out'])}")
