"""Which channels exist, and what the order and the hashes promise."""

import pandas as pd
import pytest

from calowatch.core.errors import UnknownNameError
from calowatch.detector.index import channel_id
from calowatch.detector.segmentation import ERAS, segmentation
from calowatch.detector.table import channel_table, electronics_hash, segmentation_hash

TOTALS = {
    "run3": {"HB": 9072, "HE": 6768, "HF": 3456, "HO": 2160},
    "2018": {"HB": 2592, "HE": 6768, "HF": 3456, "HO": 2160},
    "2017": {"HB": 2592, "HE": 2708, "HF": 3456, "HO": 2160},
}
SEGMENTATION_HASHES = {"2017": "04dd63b4b38a", "2018": "614d72d757ed", "run3": "3cb7a48f2620"}
ELECTRONICS_HASHES = {"2017": "1b74b72bf663", "2018": "6d2dfbbd6a13", "run3": "45eb56bbc9e8"}


@pytest.mark.parametrize("era", ERAS)
def test_totals(era):
    assert channel_table(era).groupby("subdet").size().to_dict() == TOTALS[era]


@pytest.mark.parametrize("era", ERAS)
def test_rows_are_ordered_and_unique(era):
    table = channel_table(era)
    order = table["subdet"].map({"HB": 0, "HE": 1, "HF": 2, "HO": 3})
    keys = list(zip(order, table["ieta"], table["depth"], table["iphi"], strict=True))
    assert keys == sorted(keys)
    assert table["channel"].is_unique
    assert (
        table["channel"] == channel_id(table["subdet"], table["ieta"], table["iphi"], table["depth"])
    ).all()
    assert list(table.index) == list(range(len(table)))


@pytest.mark.parametrize("era", ERAS)
def test_every_ring_closes(era):
    """The cells of a ring and depth cover all steps of 5 degrees; HE of 2017 has two segmentations side by side."""
    table = channel_table(era)
    table = table[(table["subdet"] != "HE") | (era != "2017")]
    covered = table.groupby(["subdet", "ieta", "depth"])["dphi"].sum()
    assert (covered == 72).all()


def test_hep17_is_the_only_upgraded_sector_of_2017():
    table = channel_table("2017")
    sipm = table[(table["subdet"] == "HE") & (table["technology"] == "SiPM")]
    assert len(sipm) == 188
    assert sipm["iphi"].between(63, 66).all()
    assert (sipm["ieta"] > 0).all()
    hpd = table[(table["subdet"] == "HE") & (table["technology"] == "HPD")]
    assert not (hpd["iphi"].between(63, 66) & (hpd["ieta"] > 0)).any()


def test_columns_and_types():
    table = channel_table("2018")
    assert list(table.columns) == [
        *("channel", "subdet", "ieta", "iphi", "depth", "dphi", "technology"),
        *("rbx", "rm", "card", "fibre", "crate", "slot", "uhtr", "fed"),
    ]
    for name in ("rm", "card", "fibre", "crate", "slot", "fed"):
        assert table[name].dtype == pd.Int16Dtype()
    for name in ("rbx", "uhtr"):
        assert table[name].notna().all()
        assert all(isinstance(value, str) for value in table[name].unique())


def test_a_caller_may_change_the_copy():
    table = channel_table("run3")
    table.loc[:, "rbx"] = "broken"
    table.loc[:, "rm"] = 9
    again = channel_table("run3")
    assert (again["rbx"] != "broken").all()
    assert (again["rm"] != 9).all()
    changed = segmentation("run3")
    changed.loc[:, "depth"] = 0
    assert (segmentation("run3")["depth"] > 0).all()


@pytest.mark.parametrize("function", [channel_table, segmentation_hash, electronics_hash])
def test_an_unknown_era_is_an_error(function):
    with pytest.raises(UnknownNameError, match="did you mean run3"):
        function("run2")


def test_hashes_tell_eras_apart_and_segmentation_from_wiring():
    hashes = [function(era) for era in ERAS for function in (segmentation_hash, electronics_hash)]
    assert len(set(hashes)) == 6
    assert all(len(text) == 64 for text in hashes)


def test_hashes_stay_what_they_are():
    """Bundles and verdicts carry them: a change here means that old ones are refused, and must be meant."""
    assert {era: segmentation_hash(era)[:12] for era in ERAS} == SEGMENTATION_HASHES
    assert {era: electronics_hash(era)[:12] for era in ERAS} == ELECTRONICS_HASHES
