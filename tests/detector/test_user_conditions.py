"""A user's own maps: by run, over the built-in wiring, never another segmentation."""

import numpy as np
import pandas as pd
import pytest

from calowatch.core.errors import ConflictError, FormatError, InputError, UnknownNameError
from calowatch.detector.lookup import describe
from calowatch.detector.table import channel_table, segmentation_hash, wiring_hash
from calowatch.detector.user_conditions import (
    NewMap,
    conditions_folder,
    maps_for,
    save_map,
    saved_maps,
    table_for,
)


@pytest.fixture(autouse=True)
def configuration(tmp_path, monkeypatch):
    monkeypatch.setenv("CALOWATCH_CONFIG", str(tmp_path / "mine"))
    return tmp_path / "mine" / "conditions"


@pytest.fixture
def he(run3):
    """HE as built in, each card with a serial number of its own."""
    own = run3[run3["subdet"] == "HE"].copy()
    card = own.groupby(["rbx", "rm", "card"]).ngroup()
    return own.assign(qie_id=(600000 + card).astype(str))


def swapped(own, first="HEP07", second="HEP08"):
    """Two boxes with their names exchanged: a re-cabling."""
    return own.assign(rbx=own["rbx"].replace({first: second, second: first}))


def new(channels, first, last=None, kind="LMap"):
    return NewMap(channels, "mine.txt", kind, first, last)


def test_without_maps_the_built_in_table_stands(configuration):
    assert not configuration.exists()
    table = table_for("run3", 360000)
    assert (table["qie_id"] == "").all()
    pd.testing.assert_frame_equal(table.drop(columns="qie_id"), channel_table("run3"))


def test_where_the_configuration_lies(monkeypatch, tmp_path):
    monkeypatch.delenv("CALOWATCH_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert conditions_folder() == tmp_path / "calowatch" / "conditions"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert conditions_folder() == tmp_path / ".config" / "calowatch" / "conditions"


def test_a_map_holds_for_its_runs_only(he, run3):
    save_map(new(swapped(he), 355100, 355200))
    assert [len(maps_for("run3", run)) for run in (355099, 355100, 355200, 355201)] == [0, 1, 1, 0]
    built_in = wiring_hash(run3)
    assert wiring_hash(table_for("run3", 355099)) == built_in
    inside = table_for("run3", 355100)
    assert wiring_hash(inside) != built_in
    rows = (inside["subdet"] == "HE").to_numpy()
    assert (inside["rbx"][rows] == swapped(he)["rbx"]).all()
    pd.testing.assert_frame_equal(inside[~rows].drop(columns="qie_id"), run3[~rows])


def test_recabling_leaves_the_segmentation(he):
    before = segmentation_hash("run3")
    save_map(new(swapped(he), 355100))
    table = table_for("run3", 355100)
    places = ["channel", "subdet", "ieta", "iphi", "depth", "dphi", "technology"]
    pd.testing.assert_frame_equal(table[places], channel_table("run3")[places])
    assert segmentation_hash("run3") == before


def test_a_later_map_ends_an_open_one_and_the_same_runs_replace(he, configuration):
    save_map(new(he, 355000))
    save_map(new(swapped(he), 360000))
    assert [(entry.first_run, entry.last_run) for entry in saved_maps()] == [(355000, 359999), (360000, None)]
    save_map(new(he, 360000))
    assert len(saved_maps()) == 2
    assert len(list(configuration.glob("*.csv"))) == 2, "what was replaced is gone"
    assert maps_for("run3")[0].first_run == 360000, "without a run the newest counts"
    assert maps_for("2018") == []


@pytest.mark.parametrize("runs", [(355050, None), (355000, 355050), (350000, 400000), (355100, 355100)])
def test_other_overlaps_are_refused_and_change_nothing(he, configuration, runs):
    save_map(new(he, 355000, 355100))
    before = {path.name: path.read_bytes() for path in configuration.iterdir()}
    with pytest.raises(ConflictError, match=r"mine\.txt from run 355000 to 355100"):
        save_map(new(swapped(he), *runs))
    assert {path.name: path.read_bytes() for path in configuration.iterdir()} == before


def test_a_map_cannot_change_which_channels_there_are(he, configuration):
    for wrong in (he.iloc[:-1], he.assign(dphi=1), he.assign(ieta=he["ieta"], channel=he["channel"] + 1)):
        with pytest.raises(InputError, match="may re-cable but not change"):
            save_map(new(wrong, 355000))
    with pytest.raises(InputError, match=r"in era 2018"):
        save_map(new(channel_table("run3").query("subdet == 'HB'"), 319077))
    assert not configuration.exists()


def test_runs_must_make_sense(he):
    with pytest.raises(InputError, match="--to-run"):
        save_map(new(he, 355000, 354999))
    with pytest.raises(InputError, match="2018"):
        save_map(new(channel_table("2018").query("subdet == 'HE'"), 319077, 355000))
    with pytest.raises(UnknownNameError):
        save_map(new(he, 330000))


def test_blanks_keep_what_is_built_in(he, run3):
    rm = he["rm"].mask(he["rbx"] == "HEP07")
    save_map(new(he.assign(rm=rm, fibre=pd.array([pd.NA] * len(he), dtype="Int16")), 355000))
    pd.testing.assert_frame_equal(table_for("run3", 355000).drop(columns="qie_id"), run3)


def test_an_emap_moves_the_board_and_its_fed(he, run3):
    places = ["channel", "subdet", "ieta", "iphi", "depth"]
    moved = he[places].assign(crate=24, slot=1, uhtr="uHTR-24-01")
    save_map(new(moved, 355000, kind="EMap"))
    table = table_for("run3", 355000)
    rows = (table["subdet"] == "HE").to_numpy()
    fed = run3["fed"][run3["uhtr"] == "uHTR-24-01"].iloc[0]
    assert set(table["fed"][rows]) == {fed}
    assert (table["rbx"][rows] == run3["rbx"][rows]).all()
    unknown = he[places].assign(crate=99, slot=1, uhtr="uHTR-99-01")
    save_map(new(unknown, 355000, kind="EMap"))
    assert table_for("run3", 355000)["fed"][rows].isna().all(), (
        "a board that is not built in has no known FED"
    )


def test_a_vme_map_leaves_no_uhtr(run3):
    ho = run3[run3["subdet"] == "HO"]
    places = ["channel", "subdet", "ieta", "iphi", "depth"]
    save_map(new(ho[places].assign(crate=3, slot=3, uhtr="", fed=724), 355000))
    own = table_for("run3", 355000).iloc[ho.index]
    assert own[["crate", "slot", "uhtr", "fed"]].drop_duplicates().to_numpy().tolist() == [[3, 3, "", 724]]


def test_the_serial_number_is_shown_where_a_card_is_named(he):
    assert describe("HEP07-RM3-C2").card_serials == {}
    save_map(new(he, 355000))
    (serial,) = set(he.query("rbx == 'HEP07' and rm == 3 and card == 2")["qie_id"])
    found = describe("HEP07-RM3-C2", run=355000)
    assert found.card_serials == {"HEP07-RM3-C2": serial}
    assert found.maps == ["HE: mine.txt from run 355000"]
    assert list(describe("HEP07-RM3").card_serials) == [f"HEP07-RM3-C{n}" for n in (1, 2, 3, 4)]
    assert describe("HEP07-RM3-C2", run=354999).card_serials == {}


@pytest.mark.parametrize(
    "index",
    [
        "not toml",
        '[[map]]\nfile = "a.csv"\n',
        2 * '[[map]]\nfile="a.csv"\nsource="a"\nkind="LMap"\nera="run3"\nsubdet="HE"\nfirst_run=355000\n',
    ],
)
def test_a_broken_index_is_named(configuration, index):
    configuration.mkdir(parents=True)
    (configuration / "electronics.toml").write_text(index)
    with pytest.raises(FormatError, match=r"electronics\.toml"):
        table_for("run3", 355000)


def test_a_broken_map_is_named(he, configuration):
    save_map(new(he, 355000))
    (path,) = configuration.glob("*.csv")
    whole = path.read_text()
    for text in (
        whole.replace("HEP07", "HEP07,x", 1),
        whole[: len(whole) // 2],
        whole.replace("rbx", "box", 1),
    ):
        path.write_text(text)
        with pytest.raises(FormatError, match=path.name):
            table_for("run3", 355000)
    path.unlink()
    with pytest.raises(FormatError, match=path.name):
        table_for("run3", 355000)


def test_texts_with_quotes_survive_the_index(he):
    name = 'of "mine" \\ näive.txt'
    save_map(NewMap(he, name, "LMap", 355000))
    assert saved_maps()[0].source == name
    assert np.unique(table_for("run3", 355000)["qie_id"]).size == 577
