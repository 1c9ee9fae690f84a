"""Names of units: every one finds itself again, and what does not exist gets a helpful answer."""

import numpy as np
import pytest

from calowatch.core.errors import UnknownNameError
from calowatch.detector.segmentation import ERAS
from calowatch.detector.table import channel_table
from calowatch.detector.units import UNIT_TYPES, find_unit, unit_names


@pytest.fixture(scope="module")
def run3():
    return channel_table("run3")


@pytest.mark.parametrize("era", ERAS)
def test_every_name_finds_its_own_rows(era):
    """All small units would take long: one box, board or ring in five, and the parts of two boxes."""
    table = channel_table(era)
    names = unit_names(table)
    for kind in UNIT_TYPES[1:]:
        known = names[kind][names[kind] != ""].unique()
        few = (
            [name for name in known if name[:5] in ("HEP17", "HBM02", "HFP01")]
            if kind in UNIT_TYPES[1:4]
            else []
        )
        for name in [*few, *known[::40]]:
            unit_type, rows = find_unit(name, table)
            assert unit_type == kind
            assert np.array_equal(rows, names[kind] == name)


@pytest.mark.parametrize("era", ERAS)
def test_channel_names_find_one_row(era):
    table = channel_table(era)
    names = unit_names(table)["channel_name"]
    assert names.is_unique
    for i in range(0, len(table), 211):
        unit_type, rows = find_unit(names[i], table)
        assert unit_type == "channel"
        assert np.flatnonzero(rows).tolist() == [i]


@pytest.mark.parametrize(
    ("written", "unit_type", "size"),
    [
        ("hep07", "rbx", 188),
        ("HEP07-rm3", "rm", 46),
        ("HEP07-RM3-C2", "card", 11),
        ("HEP07-RM3-F4", "fibre", 5),
        ("HFP01-C3-F4", "fibre", 4),
        ("HO1M02", "rbx", 72),
        ("uHTR-24-5", "uhtr", 128),
        ("UHTR-24-05", "uhtr", 128),
        ("FED-1100", "fed", 880),
        ("fed1118", "fed", 576),
        ("HE+27d3", "ring", 36),
        ("he-27D3", "ring", 36),
        ("HE-27-33-3", "channel", 1),
        ("HE -27 33 3", "channel", 1),
        ("  HE   27  33 3 ", "channel", 1),
    ],
)
def test_spellings(run3, written, unit_type, size):
    found, rows = find_unit(written, run3)
    assert (found, int(rows.sum())) == (unit_type, size)


def test_sign_of_ieta_is_not_the_dash_between_numbers(run3):
    rows = [find_unit(name, run3)[1] for name in ("HE-27-33-3", "HE+27-33-3")]
    assert [int(run3["ieta"][mask].iloc[0]) for mask in rows] == [-27, 27]


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("HEP7", "did you mean HEP07"),
        ("HEP7-RM3", "did you mean HEP07-RM3"),
        ("HEP19", "HEP18"),
        ("uhtr-24-13", "uHTR-24-1"),
        ("HEP07-RM5", "HEP07-RM"),
        ("HEP07-C2", "HEP07-RM"),
        ("HE -27 34 3", "iphi 33 is the cell that covers it"),
        ("HF 41 2 1", "iphi 71 is the cell that covers it"),
        ("HE -27 99 3", "iphi of HE ieta -27 among 1, 3, 5, .. 71"),
        ("HE -27 33 8", "among 1, 2, 3, 4, 5, 6, 7, found depth 8"),
        ("HB 16 72 4", "among 1, 2, 3, found depth 4"),
        ("HE 5 1 1", "among 16, 17, 18, .. 29, found ieta 5"),
        ("HE+27d9", "found depth 9"),
        ("HE -27 33", "no such unit"),
        ("uHTR-99999999999999-1", "no such unit"),
        ("HE 99999999999999 1 1", "abs"),
        ("???", "no similar name"),
        ("", "no such unit"),
    ],
)
def test_what_does_not_exist(run3, written, says):
    with pytest.raises(UnknownNameError, match=r"Fix: ") as caught:
        find_unit(written, run3)
    assert says in str(caught.value)


def test_an_era_without_that_wiring_says_so():
    with pytest.raises(UnknownNameError, match="no uhtr at all"):
        find_unit("uHTR-24-05", channel_table("2018"))


def test_a_subset_without_the_subdetector_says_so(run3):
    with pytest.raises(UnknownNameError, match="no HB among them"):
        find_unit("HB 1 1 1", run3[run3["subdet"] == "HE"])


def test_names_of_a_subset_keep_its_index(run3):
    rows = run3.sample(50, random_state=1)
    names = unit_names(rows)
    assert names.index.equals(rows.index)
    assert names.equals(unit_names(run3).loc[rows.index])


def test_blank_wiring_gives_blank_names():
    names = unit_names(channel_table("2018"))
    ho = names[names["ring"].str.startswith("HO")]
    assert (ho[["fibre", "card", "rm", "rbx", "uhtr", "fed"]] == "").all(axis=None)
    assert (ho[["ring", "channel_name"]] != "").all(axis=None)
