"""The command line: one verb per file, each a thin shell around a documented Python function.

Exit codes: 0 fine, 1 failing units found and ``--fail-on-alarm`` given, 2 bad input or usage, 70 a bug of calowatch,
130 interrupted, 141 whoever read the output stopped reading.
"""

import os
import re
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from calowatch import __version__
from calowatch.cli import (
    benchmark,
    compare,
    convert,
    demo,
    demo_images,
    detector,
    evaluate,
    explain,
    explore,
    export,
    fit,
    frame,
    graph,
    mask,
    models,
    monitor,
    prepare,
    simulate,
    simulate_campaign,
    simulate_egamma,
    simulate_gsoc,
    simulate_jets,
    train,
)
from calowatch.cli import map as own_maps
from calowatch.core.errors import InputError

__all__ = ["app", "main"]

PROGRAM = "calowatch"

EXIT_FINE = 0
EXIT_BAD_INPUT = 2
EXIT_BUG = 70  # EX_SOFTWARE; Python's own 1 would look like an alarm
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE, what a shell reports for any other tool

app = typer.Typer(
    name=PROGRAM,
    cls=frame.VerbGroup,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback(epilog=f"Each verb has its own help with examples: {PROGRAM} VERB --help")
def _frame(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop."),
    ] = False,
) -> None:
    """Watch a calorimeter: from detector files to named failing channels, cards, modules and crates."""


app.command("detector", cls=frame.VerbWithNumbers)(detector.detector)
app.command("mask")(mask.mask)
app.command("graph")(graph.graph)
app.add_typer(own_maps.app, name="map")
app.add_typer(simulate.app, name="simulate")
simulate.app.command("campaign")(simulate_campaign.campaign)
simulate.app.command("gsoc")(simulate_gsoc.gsoc)
simulate.app.command("egamma")(simulate_egamma.egamma)
simulate.app.command("jets")(simulate_jets.jets)
app.command("convert")(convert.convert)
app.command("explore")(explore.explore)
app.command("export")(export.export)
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(benchmark.app, name="benchmark")
app.command("models")(models.models)
app.command("train")(train.train)
app.command("explain")(explain.explain)
app.command("compare")(compare.compare)
app.command("fit")(fit.fit)
app.command("monitor")(monitor.monitor)
app.command("demo")(demo.demo)
app.command("demo-images")(demo_images.demo_images)
app.command("prepare")(prepare.prepare)


def _error(message: str) -> None:
    """Print an error on stderr as the one line that the contract promises."""
    print(f"{PROGRAM}: error: {' '.join(message.split())}", file=sys.stderr)


def _unusable(error: OSError) -> InputError:
    """Return what the system says of a file, as an error that names it; whoever raised it without a name tells why."""
    reason = error.strerror or str(error) or type(error).__name__
    fix = "check the name, the permissions and the space left"
    unnamed = "the place for results, the cache or the folder for temporary files"
    where = re.sub(r"\.([^/]+)\.[0-9a-f]{8}\.partial", r"\1", str(error.filename or unnamed))
    return InputError(where, "a place that can be read or written", reason, fix)


def _drop_output() -> None:
    """Let nothing more be written to a closed pipe, not even by the interpreter's last flush."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(arguments: Sequence[str] | None) -> int:
    code = frame.build(app).main(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    sys.stdout.flush()
    return code if isinstance(code, int) else EXIT_FINE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    arguments
        What stands after the program's name; by default what the shell gave.

    Examples
    --------
    >>> main(["--version"])  # doctest: +ELLIPSIS
    calowatch ...
    0
    """
    try:
        return _run(arguments)
    except InputError as error:
        _error(str(error))
    except typer.TyperException as error:
        frame.show_usage_error(error, _error)
    except SystemExit as stop:  # rich, when help goes into a pipe that nobody reads any more
        if isinstance(stop.__context__, BrokenPipeError):
            _drop_output()
            return EXIT_BROKEN_PIPE
        raise
    except frame.BrokenOutput:
        _drop_output()
        return EXIT_BROKEN_PIPE
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except OSError as error:  # a folder that may not be written, a full disk
        _error(str(_unusable(error)))
    except Exception:  # noqa: BLE001 - the last resort: whatever it is, 1 would be read as an alarm
        traceback.print_exc()
        _error(f"this is a bug in {PROGRAM} {__version__}; the lines above tell where")
        return EXIT_BUG
    return EXIT_BAD_INPUT
