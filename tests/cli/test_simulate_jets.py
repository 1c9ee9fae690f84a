"""``calowatch simulate jets`` and ``demo-images`` on the command line."""

import json

import pyarrow.parquet as pq
import pytest

from calowatch.cli import main
from calowatch.simulate import jets

pytest.importorskip("pythia8mc")
pytest.importorskip("fastjet")


def test_the_summary_is_json_and_nothing_else(tmp_path, capsys):
    out = tmp_path / "jets.parquet"
    assert main(["simulate", "jets", "--out", str(out), "--n", "2", "--pileup", "0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["jets"], found["quarks"], found["file"]) == (2, 1, str(out))
    assert set(found["channels"]) == {"tracks", "ecal", "hcal"}
    assert pq.read_table(out, columns=["pileup"])["pileup"].to_pylist() == [0, 0]  # no library was needed


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--workers", "2", "--cluster", "tcp://127.0.0.1:1"], "--workers"),
        (["--process", "elastic"], "--process"),
        (["--library-size", "0"], "--library-size"),
        (["--n", "1"], "--n"),
    ],
)
def test_bad_options_are_named_in_one_line(options, named, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(jets, "jet_chunk", lambda *_: pytest.fail("something was generated"))
    assert main(["simulate", "jets", "--out", str(tmp_path / "jets.parquet"), *options]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("calowatch: error: ")
    assert named in error


@pytest.mark.slow
def test_the_demonstration_of_images(tmp_path, capsys):
    arguments = ["demo-images", "--out", str(tmp_path), "--n-egamma", "2000", "--n-jets", "400", "--json"]
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["figures"]["egamma-trees"]["roc_auc"]["value"] > 0.6
    assert found["figures"]["jets-trees"]["roc_auc"]["value"] > 0.6
    page = (tmp_path / "report.html").read_text()
    assert "Quark against gluon jets" in page
    assert "data:image/png" in page
