"""The frame of the command line: exit codes, one-line errors, progress, JSON."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
import typer

from calowatch import __version__, cli
from calowatch.cli import frame, terminal
from calowatch.core.errors import InputError


def raise_(error):
    raise error


@pytest.fixture
def program(monkeypatch):
    """Replace the program by one with small verbs of known behaviour."""
    app = typer.Typer(cls=frame.VerbGroup, add_completion=False)

    @app.command(cls=frame.VerbWithNumbers)
    def place(
        names: Annotated[list[str], typer.Argument(help="Names [a, b].")],
        deep: Annotated[int, typer.Option(help="How deep.")] = 0,
    ) -> None:
        """Print [all] names."""
        typer.echo(f"{names} {deep}")

    behaviours = {
        "bad": lambda: raise_(InputError("run.root", "a ROOT file", "an\nempty file", "copy it again")),
        "interrupted": lambda: raise_(KeyboardInterrupt()),
        "forbidden": lambda: raise_(PermissionError(13, "Permission denied", "/nowhere")),
        "bug": lambda: raise_(ZeroDivisionError("division by zero")),
        "alarm": lambda: raise_(typer.Exit(1)),
        "fine": lambda: None,
    }
    for name, behaviour in behaviours.items():
        app.command(name)(behaviour)
    monkeypatch.setattr(cli, "app", app)
    return cli.main


@pytest.mark.parametrize(
    ("verb", "code"),
    [("fine", 0), ("alarm", 1), ("bad", 2), ("forbidden", 2), ("bug", 70), ("interrupted", 130)],
)
def test_exit_codes(program, verb, code):
    assert program([verb]) == code


def test_bad_input_is_one_line_on_stderr(program, capsys):
    program(["bad"])
    out, err = capsys.readouterr()
    assert out == ""
    assert (
        err == "calowatch: error: run.root: expected a ROOT file, found an empty file. Fix: copy it again.\n"
    )


def test_a_bug_shows_where_and_says_so(program, capsys):
    program(["bug"])
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "this is a bug in calowatch" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "nonsense"),
        (["place", "--nonsense"], "--nonsense"),
        (["place", "HE", "-x"], "-x"),
        (["place", "HE", "--deep", "three"], "--deep"),
        (["place"], "NAMES"),
    ],
)
def test_wrong_usage_is_one_line_and_two(program, capsys, arguments, words):
    assert program(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("calowatch: error: ")
    assert err.count("\n") == 1
    assert words.lower() in err.lower()
    assert "--help" in err


def test_negative_numbers_are_arguments(program, capsys):
    assert program(["place", "HE", "-27", "33", "3", "--deep", "-2"]) == 0
    assert capsys.readouterr().out == "['HE', '-27', '33', '3'] -2\n"


def test_brackets_in_help_survive(program, capsys):
    assert program(["place", "--help"]) == 0
    out = capsys.readouterr().out
    assert "Print [all] names." in out
    assert "Names [a, b]." in out


def test_help_drops_marks_of_documentation():
    text = "One ``name``.\n\nExamples::\n\n    calowatch fit A [B]\n\n\b\nNotes\n-----\nkept"
    assert frame.plain_help(text) == ("One name.\n\nExamples:\n\n    calowatch fit A \\[B]\n\nNotes:\nkept")
    assert frame.plain_help(frame.plain_help(text)) == frame.plain_help(text)


def test_version_and_bare_call(capfd):
    assert cli.main(["--version"]) == 0
    assert capfd.readouterr().out == f"calowatch {__version__}\n"
    assert cli.main([]) == 2
    assert "Usage: calowatch" in capfd.readouterr().out


def test_a_closed_pipe_is_quiet():
    code = (
        "import sys; from calowatch import cli; from calowatch.cli import frame; import typer\n"
        "cli.app = typer.Typer(cls=frame.VerbGroup, add_completion=False)\n"
        "cli.app.callback()(lambda: None)\n"
        "@cli.app.command()\ndef pour():\n    [print('x' * 1000) for _ in range(10000)]\n"
        "sys.exit(cli.main(['pour']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.read(10) == b"x" * 10
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


class Clock:
    """Time that advances by a fixed step at each look."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def lines_of(step, items, **options):
    stream = io.StringIO()
    progress = terminal.LineProgress(stream=stream, clock=Clock(step), **options)
    assert list(progress.track(items, "reading")) == list(items)
    return stream.getvalue().splitlines()


def test_log_lines_at_each_quarter():
    assert lines_of(1.0, range(8)) == [
        "reading ...",
        "reading: 25 %",
        "reading: 50 %",
        "reading: 75 %",
        "reading: 100 % (9.0 s)",
    ]


def test_log_lines_of_quick_work_and_of_few_items():
    assert lines_of(0.01, range(8)) == ["reading ...", "reading: 100 % (0.1 s)"]
    assert lines_of(1.0, range(2)) == ["reading ...", "reading: 50 %", "reading: 100 % (3.0 s)"]
    assert lines_of(1.0, []) == ["reading ...", "reading: 100 % (1.0 s)"]


def test_quiet_keeps_notes():
    stream = io.StringIO()
    progress = terminal.LineProgress(quiet=True, stream=stream)
    assert list(progress.track([1, 2], "reading")) == [1, 2]
    progress.note("run 7 taken from the file name [sic]")
    assert stream.getvalue() == "run 7 taken from the file name [sic]\n"


def test_unfinished_work_does_not_claim_to_be_done():
    stream = io.StringIO()
    items = terminal.LineProgress(stream=stream).track(iter([1, 2, 3]), "reading", total=3)
    next(items)
    items.close()
    assert stream.getvalue() == "reading ...\n"


def test_bars_nest_and_end_also_on_errors(capsys):
    progress = terminal.BarProgress()
    assert list(progress.track((list(progress.track("ab", "inner")) for _ in range(2)), "outer", 2)) == [
        ["a", "b"],
        ["a", "b"],
    ]
    broken = progress.track((1 / (1 - i) for i in range(3)), "broken", total=3)
    assert next(broken) == 1
    with pytest.raises(ZeroDivisionError):
        next(broken)
    assert list(progress.track([1], "after")) == [1]
    progress.note("a note [sic]")
    out, err = capsys.readouterr()
    assert out == ""
    assert "a note [sic]" in err


def test_quiet_bars_show_nothing(capsys):
    assert list(terminal.BarProgress(quiet=True).track([1, 2], "reading")) == [1, 2]
    assert capsys.readouterr() == ("", "")


def test_no_terminal_means_lines():
    assert isinstance(terminal.terminal_progress(), terminal.LineProgress)


def test_json_on_stdout_takes_numpy_and_paths(capsys):
    terminal.print_json({"n": np.int32(3), "p": np.array([0.5, 1.0]), "file": Path("a/b"), "name": "µ"})
    out, err = capsys.readouterr()
    assert json.loads(out) == {"n": 3, "p": [0.5, 1.0], "file": "a/b", "name": "µ"}
    assert err == ""


@pytest.mark.parametrize(
    ("content", "error"), [({"p": float("nan")}, ValueError), ({"x": object()}, TypeError)]
)
def test_what_json_does_not_know_is_refused(content, error, capsys):
    with pytest.raises(error):
        terminal.print_json(content)
    assert capsys.readouterr().out == ""


def test_a_table_into_a_closed_pipe_is_no_alarm():
    """Rich's own exit code for it, 1, would mean failing units."""
    words = [sys.executable, "-m", "calowatch.cli", "detector", "HE", "-27", "33", "3"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        process.wait()
    assert process.returncode == 141


def test_help_into_a_closed_pipe_is_no_alarm():
    words = [sys.executable, "-m", "calowatch.cli", "monitor", "--help"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        process.wait()
    assert process.returncode == 141


def test_a_full_disk_that_names_no_file_is_still_one_line(program, capsys):
    cli.app.command("full")(lambda: raise_(OSError(28, "No space left on device")))
    cli.app.command("short")(lambda: raise_(OSError("4096 requested and 0 written")))
    assert program(["full"]) == program(["short"]) == 2
    full, short = capsys.readouterr().err.splitlines()
    assert full.startswith(
        "calowatch: error: the place for results, the cache or the folder for temporary files:"
    )
    assert "No space left on device" in full
    assert "4096 requested and 0 written" in short
