"""Map files: every hazard by hand-made lines, and the real maps where they lie beside the repository."""

import gzip
from pathlib import Path

import pandas as pd
import pytest

from calowatch.core.errors import FormatError
from calowatch.detector.map_comparison import compare_map
from calowatch.io.maps import read_map, write_map

REAL = Path(__file__).parents[2] / "../shared/data/hcal/maps"
EMAP_HEAD = "#         i    cr    sl    tb   dcc  spigot fib/slb fibch/slbch  subdet   eta   phi   dep\n"
HE_HEAD = (
    "#  Side   Eta   Phi  dPhi Depth   Det   RBX Wedge   QIE QIECH    RM RM_FI FI_CH Crate  uHTR  uHTR_FI FEDid"
    "    QIEid TP_FI TP_CH\n"
)
HE_LINE = (
    "     -1    27    33     2     3    HE HEM09     9     3     1     2     5     0    25     9        1  1107"
    "   600123     0     4\n"
)


@pytest.fixture
def read(tmp_path):
    def write_and_read(text, name="map.txt"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return read_map(path)

    return write_and_read


def rows(found, *columns):
    return found.channels[list(columns)].to_numpy(object).tolist()


def test_emap_ieta_is_signed_and_the_placeholder_is_no_key(read):
    found = read(
        EMAP_HEAD
        + "4200458C 30 10 u 0 0 0 0 HB -10 71 4\n"
        + "4200458C 30 12 u 0 0 1 0 HE 19 71 2\n"
        + "4200458C 32 12 u 0 0 12 0 HF -34 1 2\n"
    )
    assert (found.kind, found.subdets, found.vme) == ("EMap", ("HB", "HE", "HF"), 0)
    assert rows(found, "subdet", "ieta", "iphi", "depth", "crate", "slot", "uhtr") == [
        ["HB", -10, 71, 4, 30, 10, "uHTR-30-10"],
        ["HE", 19, 71, 2, 30, 12, "uHTR-30-12"],
        ["HF", -34, 1, 2, 32, 12, "uHTR-32-12"],
    ]
    assert "fibre" not in found.channels, "the fibre of an EMap is the board's"
    assert "qie_id" not in found.channels
    assert found.serials == 0


def test_emap_rows_that_are_no_channels_are_set_aside(read):
    found = read(
        EMAP_HEAD
        + "4200458C 30 10 u 0 0 0 0 HB 10 71 4\n"
        + "4200458C 30 10 u 0 0 0 1 HBX 16 71 -999\n"
        + "4200458C 30 10 u 0 0 0 2 HEX 20 71 -999\n"
        + "4200458C 6 21 t 29 12 2 1 HOX 15 72 -999\n"
        + "4200458C 30 10 u 0 0 0 3 HT 17 71 1\n"
        + "4200458C 30 10 u 0 0 0 4 CALIB_HB 1 71 0\n"
        + "4200458C 30 10 u 0 0 0 5 LASMON 1 71 0\n"
        + "4200458C 30 10 u 0 0 0 6 NA\n"
    )
    assert len(found.channels) == 1
    assert found.set_aside == dict.fromkeys(("HBX", "HEX", "HOX", "HT", "CALIB_HB", "LASMON", "NA"), 1)


def test_emap_vme_boards_have_no_uhtr(read):
    found = read("4200458C 3 3 b 24 3 4 0 HO -1 1 4\n4200458C 3 3 t 24 2 7 1 HO -3 1 4\n")
    assert found.vme == 2
    assert rows(found, "crate", "slot", "uhtr") == [[3, 3, ""], [3, 3, ""]]


def test_lmap_ieta_is_side_times_eta(read):
    found = read(HE_HEAD + HE_LINE)
    assert found.kind == "LMap"
    assert rows(found, "subdet", "ieta", "iphi", "depth", "dphi") == [["HE", -27, 33, 3, 2]]
    assert rows(found, "rbx", "rm", "card", "fibre", "crate", "slot", "uhtr", "fed", "qie_id") == [
        ["HEM09", 2, 3, 5, 25, 9, "uHTR-25-09", 1107, "600123"]
    ]
    assert found.serials == 1


@pytest.mark.parametrize(
    "head",
    [
        # other spellings, small letters, no "#", a heading over several lines
        HE_HEAD.replace("Depth", "Dep").replace("RBX", "ngRBX").replace("RM_FI", "rm_fiber"),
        HE_HEAD.replace("QIE ", "QIE8 ").replace("QIEid", "QIE8id").replace("FEDid", "FED"),
        HE_HEAD.lower(),
        HE_HEAD.replace("#", " "),
        "# logical map of HE\n" + HE_HEAD,
        HE_HEAD.replace("   Det   RBX", "   Det\n#   RBX"),
    ],
)
def test_lmap_spellings_of_other_eras(read, head):
    assert (
        read(head + HE_LINE)
        .channels.drop(columns="line")
        .equals(read(HE_HEAD + HE_LINE).channels.drop(columns="line"))
    )


def test_lmap_of_vme_times_has_an_htr(read):
    found = read(
        "#side eta phi dphi depth det rbx wedge rm pixel qie adc rm_fi fi_ch crate htr fpga htr_fi dcc_sl spigot dcc"
        " fedid QIEId\n-1 5 3 1 1 HB HBM02 2 2 4 1 3 2 1 4 15 top 3 10 5 1 702 100415\n"
    )
    assert found.vme == 1
    assert rows(found, "ieta", "rbx", "rm", "card", "fibre", "crate", "slot", "uhtr", "fed", "qie_id") == [
        [-5, "HBM02", 2, 1, 2, 4, 15, "", 702, "100415"]
    ]


def test_the_bar_code_of_hf_is_two_words(read):
    head = "# Side Eta Phi dPhi Depth Det ngRBX QIE QIETB QIECH QIEFI FI_CH QIE10BarCode Crate uHTR FEDid QIE10id\n"
    line = "1 34 1 2 2 HF HFP01 3 TOP 1 4 0 {} 32 12 1123 500751\n"
    for code in ("0x6b000000 0xba086a70", "0x6b000000ba086a70"):
        found = read(head + line.format(code))
        assert rows(found, "rbx", "card", "fibre", "crate", "slot", "fed", "qie_id") == [
            ["HFP01", 3, 4, 32, 12, 1123, "500751"]
        ]
        assert "rm" not in found.channels


@pytest.mark.parametrize("serial", ["999999", "0", "-1", "NA"])
def test_a_serial_number_that_nobody_wrote_down_is_blank(read, serial):
    found = read(HE_HEAD + HE_LINE.replace("600123", serial))
    assert (rows(found, "qie_id"), found.serials) == ([[""]], 0)


def test_numbers_that_are_not_there_are_blank(read):
    found = read(HE_HEAD + HE_LINE.replace(" 1107 ", " NA "))
    assert pd.isna(found.channels["fed"][0])


def test_lmap_unconnected_channels_are_set_aside(read):
    found = read(
        HE_HEAD + HE_LINE + HE_LINE.replace("HE ", "HEX ", 1).replace("    3    HEX", " -999    HEX")
    )
    assert (len(found.channels), found.set_aside) == (1, {"HEX": 1})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (EMAP_HEAD + "4200458C 30 10 u 0 0 0 0 HB 10 71 4\n4200458C 30 10 u 0 0\n", "line 3: expected 12"),
        (EMAP_HEAD + "4200458C 30 10 u 0 0 0 0 HB ten 71 4\n", "line 2: expected a whole number as ieta"),
        (EMAP_HEAD + "4200458C 30 10 u 0 0 0 0 HB 10 73 4\n", "line 2: .* found HB 10 73 4"),
        (EMAP_HEAD + "4200458C 30 10 u 0 0 0 0 HB 10 71 -999\n", "line 2: .*depth 1-7"),
        (EMAP_HEAD + "4200458C 30 10 u 0 0 0 0 XX 10 71 4\n", "line 2: .*'XX'"),
        (EMAP_HEAD + "4200458C 30 10 v 0 0 0 0 HB 10 71 4\n", "line 2"),
        (
            EMAP_HEAD + 2 * "4200458C 30 10 u 0 0 0 0 HB 10 71 4\n",
            "line 3: expected each channel once.*line 2",
        ),
        (EMAP_HEAD + "4200458C 30 10 u 0 0 0 0 HT 10 71 4\n", "found none"),
        (EMAP_HEAD + "4200458C 99999 10 u 0 0 0 0 HB 10 71 4\n", "crate below 10000"),
        (EMAP_HEAD, "expected rows"),
        ("", "expected rows"),
        ("a b c\n1 2 3\n", "line 1: expected the rows of an EMap"),
        (HE_HEAD + HE_LINE + HE_LINE[:60] + "\n", "line 3: expected 20 columns"),
        (HE_HEAD + HE_LINE.replace("-1    27", " 0    27"), "line 2: expected Side"),
        (HE_HEAD + HE_LINE.replace("-1    27", "-1   -27"), "line 2: expected Side"),
    ],
)
def test_a_broken_file_is_named_with_its_line(read, text, message):
    with pytest.raises(FormatError, match=message) as caught:
        read(text)
    assert "map.txt" in str(caught.value)


def test_compressed_files(read, tmp_path):
    assert len(read(HE_HEAD + HE_LINE, "map.txt.gz").channels) == 1
    packed = gzip.compress((HE_HEAD + 400 * HE_LINE).encode())
    (tmp_path / "cut.gz").write_bytes(packed[:-20])
    with pytest.raises(FormatError, match=r"cut\.gz, after line \d+: expected a whole gzip file"):
        read_map(tmp_path / "cut.gz")
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    with pytest.raises(FormatError, match="expected plain text"):
        read_map(tmp_path / "binary")
    with pytest.raises(FormatError, match="no such file"):
        read_map(tmp_path / "absent")


def test_a_map_as_csv(read, tmp_path):
    found = read(HE_HEAD + HE_LINE)
    write_map(tmp_path / "map.csv", found)
    back = pd.read_csv(tmp_path / "map.csv")
    assert back.loc[0, ["ieta", "rbx", "qie_id", "line"]].tolist() == [-27, "HEM09", 600123, 2]


@pytest.mark.skipif(not REAL.is_dir(), reason="public maps are not beside the repository")
@pytest.mark.parametrize("subdet", ["HB", "HE", "HF", "HO"])
@pytest.mark.parametrize("kind", ["Emap", "Lmap"])
def test_the_real_maps_agree_with_the_built_in_table(kind, subdet):
    (path,) = REAL.glob(f"{kind}_*{subdet}_M_*.txt.gz")
    found = read_map(path)
    part = compare_map(found.channels, "run3").subdets[subdet]
    assert part.same_channels
    assert (part.missing, part.extra) == ((), ())
    compared = {name: column.compared for name, column in part.columns.items()}
    if subdet == "HO":  # VME crates, which are numbered otherwise; all else agrees or is blank
        assert found.vme == 2160
        assert part.different_cells == part.columns["crate"].different
    else:
        assert found.vme == part.different_cells == 0
        assert set(compared.values()) == {part.channels}, "nothing agreed for being blank"
    if kind == "Lmap":
        assert found.serials == {"HB": 0, "HE": 576, "HF": 144, "HO": 396}[subdet]
