"""The verb ``detector``, as a function and on the command line."""

import csv
import json

import pytest
import typer
from typer.testing import CliRunner

from calowatch.cli.detector import detector as verb
from calowatch.cli.frame import VerbWithNumbers
from calowatch.core.errors import UnknownNameError
from calowatch.detector.inventory import CSV_COLUMNS, detector, write_channels

app = typer.Typer()
app.command(cls=VerbWithNumbers)(verb)


def run(*arguments, code=0):
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result


def read(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_summary():
    found = detector("run3")
    assert found["channels"] == {"HB": 9072, "HE": 6768, "HF": 3456, "HO": 2160}
    assert found["units"]["HB"] == {
        "fibre": 1152,
        "card": 576,
        "rm": 144,
        "rbx": 36,
        "uhtr": 72,
        "fed": 18,
        "ring": 126,
    }
    assert found["units"]["HO"] == {"rbx": 36, "ring": 30}


def test_summary_leaves_out_what_is_not_known():
    assert detector("2018")["units"] == {
        "HB": {"rbx": 36, "ring": 36},
        "HE": {"fibre": 1152, "card": 576, "rm": 144, "rbx": 36, "ring": 148},
        "HF": {"ring": 104},
        "HO": {"ring": 30},
    }
    assert detector("2017")["units"]["HE"]["rm"] == 4


def test_json_is_the_function():
    assert json.loads(run("--json").stdout) == detector("run3")
    assert json.loads(run("--era", "2017", "--json").stdout) == detector("2017")


def test_csv(tmp_path):
    path = tmp_path / "deep" / "channels.csv"
    result = run("--csv", str(path))
    assert "21456 channels" in result.stderr
    rows = read(path)
    assert tuple(rows[0]) == CSV_COLUMNS
    assert len(rows) == 21456
    by_place = {(row["subdet"], row["ieta"], row["iphi"], row["depth"]): row for row in rows}
    assert list(by_place["HE", "27", "25", "3"].values()) == [
        *("HE", "27", "25", "3", "2"),
        *("HEP07", "3", "2", "4", "21", "11", "uHTR-21-11", "1105"),
    ]
    assert by_place["HO", "1", "1", "4"]["fed"] == ""
    assert [item.name for item in path.parent.iterdir()] == ["channels.csv"]


def test_csv_of_an_era_without_wiring(tmp_path):
    assert write_channels(tmp_path / "a.csv", "2018") == 14976
    assert {row["crate"] for row in read(tmp_path / "a.csv")} == {""}


def test_csv_of_one_unit(tmp_path):
    path = tmp_path / "module.csv"
    found = json.loads(run("HEP07-RM3", "--json", "--csv", str(path)).stdout)
    assert found["unit_type"] == "rm"
    assert {row["rm"] for row in read(path)} == {"3"}
    assert len(read(path)) == 46


def test_a_name_that_does_not_exist_leaves_no_file(tmp_path):
    with pytest.raises(UnknownNameError):
        write_channels(tmp_path / "a.csv", "run3", "HEP99")
    with pytest.raises(UnknownNameError):
        write_channels(tmp_path / "a.csv", "run9")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], ["HB", "9072", "21456", "1152"]),
        (["--era", "2017"], ["2708", "10916"]),
        (["HE", "-27", "33", "3"], ["HE-27-33-3", "HEM09-RM2-F5", "2073333", "uHTR-25-05"]),
        (["HEP07-RM3"], ["46", "HEP07-RM4", "uHTR-21-12"]),
        (["HE+27d3"], ["36", "several, see below"]),
        (["HO+1d4", "--era", "2018"], ["not known in this era"]),
        (["FED-1100"], ["HB 504, HE 376", "more"]),
        (["--help"], ["--csv", "HEP07-RM3", "--era"]),
    ],
)
def test_what_a_person_reads(arguments, says):
    text = run(*arguments).stdout
    for words in says:
        assert words in text


@pytest.mark.parametrize("arguments", [["--foo"], ["HE", "-27", "33", "3", "--foo"], ["HE", "-x", "33", "3"]])
def test_unknown_options_are_still_errors(arguments):
    assert "No such option" in run(*arguments, code=2).output


@pytest.mark.parametrize("arguments", [["HE", "-27", "34", "3"], ["HEP7"], ["--era", "2016"]])
def test_bad_names_raise_input_errors(arguments):
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, UnknownNameError)
    assert result.stdout == ""
