"""The file of numbers: what it says is what was measured or agreed, and a slip in it is found."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from calowatch.core.errors import FormatError, UnknownNameError
from calowatch.detector.table import channel_table
from calowatch.simulate import profile as profile_module
from calowatch.simulate.profile import load_profile

PUBLIC = Path(__file__).parents[2] / "../shared/data/hcal"
TEXT = profile_module.resources.files("calowatch.simulate").joinpath("profiles/occupancy-v1.toml").read_text()


@pytest.mark.parametrize(
    ("subdet", "era", "ring", "p"),
    [
        ("HB", "run3", (1, 1), 0.30),
        ("HB", "run3", (8, 2), 0.525),
        ("HB", "run3", (15, 4), 0.28),
        ("HB", "run3", (16, 3), 0.48),
        ("HE", "run3", (18, 1), 0.02),
        ("HE", "2018", (25, 5), 0.499),
        ("HO", "run3", (7, 4), 0.31),
        ("HF", "2018", (41, 4), 1.0),
    ],
)
def test_ring_values(subdet, era, ring, p):
    assert load_profile().ring_table(subdet, era).p()[ring] == pytest.approx(p)


@pytest.mark.parametrize("era", ["run3", "2018"])
def test_every_channel_has_a_response(era):
    table = channel_table(era)
    lambdas = load_profile().channel_lambdas(table, era)
    assert (lambdas > 0).all()
    assert np.isinf(lambdas[table["subdet"] == "HF"]).all()


def test_figures_called_measured_are_those_of_the_public_run():
    """HO and the HPD barrel, ring by ring, against the table read off the run."""
    path = PUBLIC / "ring_table_run306138.csv"
    if not path.exists():
        pytest.skip("the ring table is not here")
    measured = pd.read_csv(path).set_index(["depth", "ieta_signed"])["p_mean"]
    profile = load_profile()
    for subdet, tolerance in (("HO", 0.02), ("HB", 0.001)):
        for (ieta, depth), p in profile.ring_table(subdet, "2018").p().items():
            both_sides = (measured[depth, ieta] + measured[depth, -ieta]) / 2
            assert p == pytest.approx(both_sides, abs=tolerance), (subdet, ieta, depth)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("low_share = 0.01", "low_share = 0.01\nlow_shares = 0.02", "events.low_shares"),
        ("low_share = 0.01", "low_share = 1.5", "events.low_share"),
        ("low_share = 0.01", "", "events.low_share"),
        ("low_events = [50, 300]", "low_events = [300, 50]", "in this order"),
        ("fall_share = 0.3", "fall_share = 0.6", "more than 1 together"),
        ("p = [0.344]", "p = [0.344, 0.2]", "one value per depth"),
        ("[scaling]", "[scaling", "not TOML"),
    ],
)
def test_a_slip_is_found(tmp_path, old, new, message):
    path = tmp_path / "mine.toml"
    assert old in TEXT
    path.write_text(TEXT.replace(old, new))
    with pytest.raises(FormatError, match=message) as caught:
        load_profile(path)
    assert "\n" not in str(caught.value)


def test_a_missing_ring_names_itself(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(TEXT.replace("{ ieta = [16, 16], depths = [4], p = [0.344] },", ""))
    with pytest.raises(FormatError, match=r"\(16, 4\)"):
        load_profile(path).channel_lambdas(channel_table("run3"), "run3")


def test_unknown_profile_or_era():
    with pytest.raises(FormatError, match="no such file"):
        load_profile("occupancy-v0")
    with pytest.raises(UnknownNameError, match="2018, run3"):
        load_profile().ring_table("HE", "2017")
