import json
from dataclasses import asdict

import pytest

from calowatch.core.errors import UnknownNameError
from calowatch.detector.lookup import ETA_EDGES, describe


def test_a_channel():
    found = describe("HE -27 33 3")
    assert (found.name, found.unit_type, found.channels) == ("HE-27-33-3", "channel", {"HE": 1})
    assert found.eta == (-2.65, -2.5)
    assert found.phi == (160.0, 170.0)
    assert found.electronics == {
        "rbx": "HEM09",
        "rm": 2,
        "card": 3,
        "fibre": 5,
        "crate": 25,
        "slot": 5,
        "uhtr": "uHTR-25-05",
        "fed": 1106,
    }
    assert found.units["ring"] == ["HE-27d3"]
    sizes = {kind: len(names) for kind, names in found.shares.items()}
    assert sizes == {"fibre": 4, "card": 10, "rm": 45, "rbx": 187, "uhtr": 127, "fed": 879}
    assert found.indices == {
        "channel": 2073333,
        "canonical": [5, 32, 2],
        "analyzer": ["depth3", 5, 33],
        "dqm": ["depth3", 15, 32],
    }


def test_a_module_knows_its_parts_and_neighbours():
    found = describe("HEP07-RM3")
    assert found.units["fibre"] == [f"HEP07-RM3-F{i}" for i in range(1, 9)]
    assert found.units["uhtr"] == ["uHTR-21-11", "uHTR-21-12"]
    assert found.shares["rbx"] == ["HEP07-RM1", "HEP07-RM2", "HEP07-RM4"]
    assert "HBP07-RM1" in found.shares["uhtr"]
    assert "fibre" not in found.shares
    assert found.electronics == {"rbx": "HEP07", "rm": 3, "crate": 21, "fed": 1105}


@pytest.mark.parametrize(
    ("name", "iphi", "phi"),
    [
        ("HBP01", (71, 2), (350.0, 10.0)),
        ("HBP02", (3, 6), (10.0, 30.0)),
        ("HF 40 71 2", (71, 2), (350.0, 10.0)),
        ("HE+27d3", (1, 72), (0.0, 360.0)),
        ("HB 1 72 1", (72, 72), (355.0, 360.0)),
    ],
)
def test_phi_runs_over_the_seam(name, iphi, phi):
    found = describe(name)
    assert (found.iphi, found.phi) == (iphi, phi)


def test_hep17_is_a_piece_of_its_own_in_2017():
    assert describe("HE+20d1", "2017").iphi == (1, 72)
    assert describe("HE+20d5", "2017").iphi == (63, 66)


def test_eta_is_known_where_the_edges_are():
    assert len(ETA_EDGES) == 30
    assert describe("HB 1 1 1").eta == (0.0, 0.087)
    assert describe("HE 29 1 1").eta == (2.868, 3.0)
    assert describe("HO001").eta == (-0.348, 0.348)
    assert describe("HF 29 1 1").eta is None


def test_an_era_without_wiring_leaves_it_out():
    found = describe("HO 1 1 4", "2018")
    assert found.electronics == {}
    assert found.shares == {}
    assert found.units == {"ring": ["HO+1d4"]}
    assert found.indices["dqm"] == ["depth4", 42, 0]
    assert "canonical" not in found.indices


@pytest.mark.parametrize(
    "name", ["HE -27 33 3", "HEP07-RM3-F4", "FED-1117", "HFM08-C14-F9", "HO2M12", "HF+41d4"]
)
def test_goes_through_json(name):
    assert json.loads(json.dumps(asdict(describe(name)), allow_nan=False))["name"]


def test_errors_pass_through():
    with pytest.raises(UnknownNameError, match="era"):
        describe("HEP07", "run9")
    with pytest.raises(UnknownNameError, match="HEP07"):
        describe("HEP7")
