"""The verbs map, mask and graph, and a run judged by a map of the user's."""

import json
from dataclasses import replace

import numpy as np
import pytest

from calowatch.cli import main
from calowatch.detect.decide import Question
from calowatch.detect.verdict import Verdict
from calowatch.detector.user_conditions import NewMap, save_map, table_for
from calowatch.evaluate.monitor import MonitorSettings, monitor
from calowatch.io.store import write_run


@pytest.fixture(autouse=True)
def configuration(tmp_path, monkeypatch):
    monkeypatch.setenv("CALOWATCH_CONFIG", str(tmp_path / "mine"))


@pytest.fixture
def own_he(run3):
    """HE with two boxes exchanged, and serial numbers."""
    own = run3[run3["subdet"] == "HE"]
    names = own["rbx"].replace({"HEP07": "HEP08", "HEP08": "HEP07"})
    card = own.assign(rbx=names).groupby(["rbx", "rm", "card"]).ngroup()
    return own.assign(rbx=names, qie_id=(600000 + card).astype(str))


@pytest.fixture
def emap(run3, tmp_path):
    path = tmp_path / "Emap.txt"
    rows = run3[run3["subdet"] == "HE"]
    lines = [
        f"4200458C {row.crate} {row.slot} u 0 0 0 0 HE {row.ieta} {row.iphi} {row.depth}"
        for row in rows.itertuples()
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_map_parse_compares_and_saves(emap, tmp_path, capsys):
    csv = tmp_path / "map.csv"
    call = ["map", "parse", str(emap), "--csv", str(csv), "--from-run", "355100", "--save", "--json"]
    assert main(call) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["subdets"]["HE"]["same_channels"]
    assert said["subdets"]["HE"]["different_cells"] == 0
    assert said["saved"][0]["runs"] == "from run 355100"
    assert len(csv.read_text().splitlines()) == 6769
    emap.write_text(emap.read_text().replace(" 30 ", " 31 ", 5).rpartition("4200458C")[0])
    assert main(["map", "parse", str(emap)]) == 0
    shown = capsys.readouterr().out
    assert "missing in the map: 1, such as HE+" in shown
    assert "crate: 5 of 6767 differ" in shown
    assert "built in 30, map 31" in shown


@pytest.mark.parametrize("options", [["--save"], ["--from-run", "355100"], ["--to-run", "355100"]])
def test_save_and_runs_go_together(emap, options, capsys):
    assert main(["map", "parse", str(emap), *options]) == 2
    assert "--save with --from-run" in capsys.readouterr().err


def test_an_era_that_is_not_the_runs_is_refused(emap, capsys):
    assert main(["map", "parse", str(emap), "--era", "2018", "--from-run", "355100", "--save"]) == 2
    assert "--era" in capsys.readouterr().err


@pytest.mark.parametrize("layout", ["he", "hf", "ho"])
def test_mask_says_what_the_grid_loses(layout, tmp_path, capsys):
    path = tmp_path / "mask.npy"
    assert main(["mask", layout, "-o", str(path)]) == 0
    said = capsys.readouterr().out
    assert "only 1152 of 3456 channels fit" in said
    assert "HB and HO: 2160 cells" in said
    record = json.loads(path.with_name("mask.npy.json").read_text())
    mask = np.load(path, allow_pickle=False)
    assert (mask.dtype, mask.sum()) == (bool, record["channels"])


def test_graph_prints_its_summary(tmp_path, capsys):
    path = tmp_path / "edges.npy"
    assert main(["graph", "ho", "-o", str(path), "--run", "319077", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["era"], summary["nodes"], summary["components"]) == ("2018", 2160, 1)
    assert main(["graph", "he", "--edges", "rbx", "-o", str(path)]) == 0
    assert "36 connected parts, the largest of 188 channels" in capsys.readouterr().out


def test_detector_shows_the_serial_number(own_he, capsys):
    save_map(NewMap(own_he, "mine.txt", "LMap", 355100))
    (serial,) = set(own_he.query("rbx == 'HEP07' and rm == 3 and card == 2")["qie_id"])
    assert main(["detector", "HEP07-RM3-C2", "--run", "355100"]) == 0
    said = capsys.readouterr().out
    assert serial in said
    assert "mine.txt" in said


def test_a_run_is_judged_by_its_own_wiring(own_he, toy_run, tmp_path):
    """The built-in HEP08 RM3 is cabled as HEP07 RM3 in this user's map."""
    toy = toy_run(1, n_ls=12, faults=[("HEP08-RM3-C2", 0.0, 1, 12)], subdets=("HE",), run=362760)
    write_run(tmp_path / "store", toy.occupancy)
    settings = MonitorSettings(report=False)
    source = f"{tmp_path / 'store'}::362760"
    before = monitor(source, tmp_path / "before", settings=settings).document
    save_map(NewMap(own_he, "mine.txt", "LMap", 362000, 363000))
    after = monitor(source, tmp_path / "after", settings=replace(settings, report=True)).document
    assert [verdict["unit"] for verdict in before["verdicts"] if verdict["unit_type"] == "card"] == [
        "HEP08-RM3-C2"
    ]
    assert all("card_serial" not in verdict for verdict in before["verdicts"])
    (card,) = [verdict for verdict in after["verdicts"] if verdict["unit_type"] == "card"]
    (serial,) = set(own_he.query("rbx == 'HEP07' and rm == 3 and card == 2")["qie_id"])
    assert (card["unit"], card["card_serial"]) == ("HEP07-RM3-C2", serial)
    assert before["provenance"]["electronics"] != after["provenance"]["electronics"]
    assert (len(before["provenance"]["maps"]), len(after["provenance"]["maps"])) == (0, 1)
    assert f"HEP07-RM3-C2 (QIE {serial})" in (tmp_path / "after" / "report.html").read_text()


def test_a_verdict_carries_a_serial_only_where_known():
    plain = Verdict("HEP07-RM3-C2", "card", "dead", 1, 2, 0.0, 9.0, -20.0, False, ())
    assert "card_serial" not in plain.to_dict()
    known = replace(plain, card_serial="600059")
    assert (known.to_dict()["card_serial"], known.title) == ("600059", "HEP07-RM3-C2 (QIE 600059)")


def test_the_default_wiring_of_a_question_is_the_built_in_one(run3, toy_run):
    toy = toy_run(2, n_ls=6, subdets=("HO",)).occupancy
    usable = np.ones(6, bool)
    question = Question(toy, toy, usable)
    assert question.wiring.equals(run3)
    assert Question(toy, toy, usable, table=table_for("run3")).wiring.columns[-1] == "qie_id"
