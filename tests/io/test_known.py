"""Lists of known bad channels."""

import pytest

from calowatch.core.errors import FormatError
from calowatch.detector.index import channel_id
from calowatch.io.known import read_known

STATUS = """\
#             eta             phi             dep             det    (base) value      DetId
              -27              33               3              HE  (hex)               20   462001A1
                5               7               4              HO  (dec)               64   47808287
                5               8               4              HO  (hex)                4   47808288
                1               1               1       HcalTrigTower  (hex)            1   4A000081
"""


def write(tmp_path, text):
    path = tmp_path / "known"
    path.write_text(text)
    return path


def ids(*cells):
    return frozenset(int(channel_id(*cell)) for cell in cells)


def test_csv_in_any_column_order(tmp_path):
    path = write(
        tmp_path, '# bad ones\nrun,depth,iphi,ieta,subdet,why\n1,3,33,-27,HE,"x, y"\n\n2,4,7,5,HO,\n'
    )
    assert read_known(path) == ids(("HE", -27, 33, 3), ("HO", 5, 7, 4))


def test_status_text_by_its_bits(tmp_path):
    assert read_known(write(tmp_path, STATUS)) == ids(("HE", -27, 33, 3), ("HO", 5, 7, 4))


@pytest.mark.parametrize(
    ("value", "bad"), [("1", 1), ("2", 1), ("4", 0), ("10", 0), ("20", 1), ("40", 1), ("8042", 1)]
)
def test_status_without_base_is_hexadecimal(tmp_path, value, bad):
    path = write(tmp_path, f"# eta phi dep det value DetId\n -16 7 1 HB {value} 42004481\n")
    assert len(read_known(path)) == bad


@pytest.mark.parametrize("text", ["subdet,ieta,iphi,depth\n", "# eta phi dep det value DetId\n"])
def test_an_empty_list_is_a_list(tmp_path, text):
    assert read_known(write(tmp_path, text)) == frozenset()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "an empty file"),
        ("subdet,ieta,iphi\nHE,1,1\n", "without depth"),
        ("subdet,ieta,iphi,depth\nHE,1\n", "line 2 with 2 fields"),
        ("subdet,ieta,iphi,depth\nHE,1,73,1\n", "line 2 with HE 1 73 1"),
        ("subdet,ieta,iphi,depth\nEB,1,7,1\n", "line 2 with EB 1 7 1"),
        ("subdet,ieta,iphi,depth\nHE,x,7,1\n", "HE x 7 1, which is no channel"),
        ("some words\n", "line 1 with 2 fields"),
        ("1 1 1 HB zz\n", "the status 'zz'"),
        ("0 1 1 HB 1\n", "HB 0 1 1"),
        (
            "subdet,ieta,iphi,depth\nHB,1,1,4\nHB,1,1,7\n",
            "known: .* line 3 with HB 1 1 7, which is no channel of any era",
        ),
        ("# a comment\n27 2 3 HE 1\n", "line 2 with HE 27 2 3, which is no channel of any era"),
    ],
)
def test_bad_lists_say_where(tmp_path, text, found):
    with pytest.raises(FormatError, match=found):
        read_known(write(tmp_path, text))


def test_no_file_and_no_text(tmp_path):
    with pytest.raises(FormatError, match="no such file"):
        read_known(tmp_path / "none.csv")
    with pytest.raises(FormatError, match="a folder"):
        read_known(tmp_path)
    (tmp_path / "b").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FormatError, match="a binary file"):
        read_known(tmp_path / "b")


def test_channels_of_every_era_may_stand_in_one_list(tmp_path):
    path = write(tmp_path, "subdet,ieta,iphi,depth\nHE,18,1,1\nHE,18,63,5\nHB,15,1,2\nHB,1,1,4\n")
    assert len(read_known(path)) == 4
