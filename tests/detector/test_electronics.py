"""The wiring: invariants that hold without any outside file, and the oracle where it lies beside the repository."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from calowatch.detector.electronics import COLUMNS, electronics, rbx_number
from calowatch.detector.segmentation import segmentation
from calowatch.detector.table import channel_table
from calowatch.detector.units import unit_names

ORACLE = Path(__file__).parents[2] / "../shared/data/hcal/hcal_run3_channels.csv.gz"
NUMBERS = ("rm", "card", "fibre", "crate", "slot", "fed")

# Channels per unit of a subdetector (public logical maps): what one failing unit takes with it.
SIZES = {
    ("HE", "fibre"): {6, 5},
    ("HE", "card"): {12, 11},
    ("HE", "rm"): {48, 46},
    ("HE", "rbx"): {188},
    ("HE", "uhtr"): {120, 68},
    ("HE", "fed"): {376},
    ("HB", "fibre"): {8, 7},
    ("HB", "card"): {16, 15},
    ("HB", "rm"): {63},
    ("HB", "rbx"): {252},
    ("HB", "uhtr"): {192, 60},
    ("HB", "fed"): {504},
    ("HF", "fibre"): {4},
    ("HF", "card"): {24},
    ("HF", "rbx"): {216},
    ("HF", "uhtr"): {96},
    ("HF", "fed"): {576},
    ("HO", "rbx"): {48, 60, 72},
}


@pytest.fixture(scope="module")
def run3():
    return channel_table("run3")


@pytest.mark.parametrize(
    ("iphi", "number"), [(70, 18), (71, 1), (72, 1), (1, 1), (2, 1), (3, 2), (66, 17), (67, 18)]
)
def test_rbx_number_around_the_seam(iphi, number):
    assert rbx_number(iphi) == number


def test_box_n_holds_iphi_4n_minus_5_to_4n_minus_2():
    for n in range(1, 19):
        iphi = [(4 * n - 5 + k - 1) % 72 + 1 for k in range(4)]
        assert set(rbx_number(iphi)) == {n}


@pytest.mark.parametrize(("subdet", "kind"), list(SIZES))
def test_unit_sizes(run3, subdet, kind):
    names = unit_names(run3)[kind][run3["subdet"] == subdet]
    assert (names != "").all()
    assert set(names.value_counts()) == SIZES[subdet, kind]


@pytest.mark.parametrize(
    ("subdet", "kind", "units"),
    [
        ("HB", "rbx", 36),
        ("HE", "rbx", 36),
        ("HF", "rbx", 16),
        ("HO", "rbx", 36),
        ("HF", "uhtr", 36),
        ("HE", "fed", 18),
    ],
)
def test_unit_counts(run3, subdet, kind, units):
    assert unit_names(run3)[kind][run3["subdet"] == subdet].nunique() == units


def test_nothing_but_ho_is_blank_in_run3(run3):
    rest = run3[run3["subdet"] != "HO"]
    assert (rest[["rbx", "uhtr"]] != "").all(axis=None)
    assert rest[["card", "fibre", "crate", "slot", "fed"]].notna().all(axis=None)
    assert rest["rm"].isna().equals(rest["subdet"] == "HF")


@pytest.mark.parametrize("subdet", ["HB", "HE"])
def test_minus_mirrors_plus(run3, subdet):
    """A cell at offset o of a box corresponds to 3 - o on the other side, 2 - o for cells of 10 degrees."""
    rows = run3[run3["subdet"] == subdet]
    plus = rows[rows["ieta"] > 0]
    step = (plus["iphi"].astype(int) + 1) % 4
    start = plus["iphi"].astype(int) - step
    other = plus.assign(ieta=-plus["ieta"], iphi=(start + 4 - plus["dphi"] - step - 1) % 72 + 1)
    both = other.merge(rows, on=["subdet", "ieta", "iphi", "depth"], suffixes=("", "_minus"), validate="1:1")
    assert len(both) == len(plus)
    for column in ("rm", "card", "fibre", "crate"):
        assert (both[column] == both[f"{column}_minus"]).all()
    assert (both["slot"] == both["slot_minus"] + 6).all()
    assert (both["fed"] == both["fed_minus"] + 1).all()


@pytest.mark.parametrize("subdet", ["HB", "HE"])
def test_all_boxes_of_a_kind_are_equal(run3, subdet):
    rows = run3[run3["subdet"] == subdet].assign(step=lambda t: (t["iphi"] + 1) % 4)
    keys = ["ieta", "step", "depth"]
    for column in ("rm", "card", "fibre"):
        assert (rows.groupby(keys)[column].nunique() == 1).all()


def test_a_fibre_lies_in_one_card_and_one_board(run3):
    names = unit_names(run3)
    wired = names[names["fibre"] != ""]
    assert (wired.groupby("fibre")[["card", "rm", "rbx", "uhtr", "fed"]].nunique() == 1).all(axis=None)


def test_mixed_slots_are_2_5_8_11(run3):
    barrel = run3[run3["subdet"].isin(["HB", "HE"])]
    kinds = barrel.groupby("uhtr")["subdet"].nunique()
    mixed = barrel[barrel["uhtr"].isin(kinds.index[kinds == 2])]
    assert set(mixed["slot"]) == {2, 5, 8, 11}
    assert mixed.groupby("uhtr").size().unique().tolist() == [128]


@pytest.mark.parametrize(
    ("rbx", "crate", "feds"),
    [
        ("HEP01", 30, {1117}),
        ("HEM02", 24, {1100}),
        ("HEP17", 34, {1115}),
        ("HBM18", 30, {1116}),
        ("HBP10", 31, {1109}),
    ],
)
def test_back_end_of_a_box(run3, rbx, crate, feds):
    rows = run3[run3["rbx"] == rbx]
    assert set(rows["crate"]) == {crate}
    assert set(rows["fed"]) == feds


def test_a_fibre_that_really_failed(run3):
    """The one of HEP07 seen sporadic in 2025: ieta 27 depths 3, 5, 6, 7 and ieta 29 depth 3 at iphi 25."""
    rows = run3[(unit_names(run3)["fibre"] == "HEP07-RM3-F4")]
    cells = set(zip(rows["ieta"], rows["iphi"], rows["depth"], strict=True))
    assert cells == {(27, 25, 3), (27, 25, 5), (27, 25, 6), (27, 25, 7), (29, 25, 3)}


def test_the_two_boxes_without_power_in_2018():
    """HEM15 and HEM16 took all of ieta -29..-16, iphi 55-62 with them: 376 channels."""
    table = channel_table("2018")
    rows = table[table["rbx"].isin(["HEM15", "HEM16"])]
    sector = table.query("subdet == 'HE' and ieta < 0 and 55 <= iphi <= 62")
    assert rows.index.equals(sector.index)
    assert len(rows) == 376


def test_front_end_of_2018_and_2017(run3):
    keys = ["subdet", "ieta", "iphi", "depth"]
    he = channel_table("2018").query("subdet == 'HE'").merge(run3, on=keys, suffixes=("", "_run3"))
    for column in ("rbx", "rm", "card", "fibre"):
        assert (he[column] == he[f"{column}_run3"]).all()
    old = channel_table("2017")
    hep17 = old[old["rm"].notna()]
    assert set(hep17["rbx"]) == {"HEP17"}
    assert len(hep17) == 188


@pytest.mark.parametrize("era", ["2017", "2018"])
def test_what_is_not_known_is_blank(era):
    table = channel_table(era)
    assert table[["crate", "slot", "fed"]].isna().all(axis=None)
    assert (table["uhtr"] == "").all()
    hb = table[table["subdet"] == "HB"]
    assert hb["rm"].isna().all()
    assert set(hb.groupby("rbx").size()) == {72}
    assert (table["rbx"][table["subdet"].isin(["HF", "HO"])] == "").all()


def test_any_subset_in_any_order(run3):
    rows = segmentation("run3").sample(200, random_state=3)
    wired = electronics(rows, "run3")
    assert wired.index.equals(rows.index)
    pd.testing.assert_frame_equal(wired, run3.loc[rows.index, list(COLUMNS)])
    assert len(electronics(rows.iloc[:0], "run3")) == 0


@pytest.fixture(scope="module")
def beside(run3):
    if not ORACLE.is_file():
        pytest.skip(
            "the list of Run 3 channels (../shared/data/hcal) is not on this machine and may not be shipped"
        )
    oracle = pd.read_csv(ORACLE).rename(columns={"qie_card": "card", "rm_fiber": "fibre"})
    keys = ["subdet", "ieta", "iphi", "depth"]
    return run3.merge(oracle, on=keys, suffixes=("", "_oracle"), how="outer", validate="1:1", indicator=True)


def test_oracle_lists_the_same_channels(beside):
    assert (beside["_merge"] == "both").all()
    assert (beside["dphi"] == beside["dphi_oracle"]).all()


@pytest.mark.parametrize("column", ["rbx", *NUMBERS])
def test_oracle_agrees_with_every_filled_cell(beside, column):
    known = (beside[column] != "") if column == "rbx" else beside[column].notna()
    rows = beside[known.to_numpy(bool)]
    assert np.array_equal(rows[column].to_numpy(object), rows[f"{column}_oracle"].to_numpy(object))
    # In HB and HE agreement is not bought by leaving blanks.
    assert known[beside["subdet"].isin(["HB", "HE"])].all()
