"""Faults as text and as values: what is understood, what is refused, how they act on p."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calowatch.core.errors import InputError
from calowatch.simulate.faults import KINDS, Fault, draw_bursts, parse_fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("HEM15 dead 41-", Fault("HEM15", "dead", 41)),
        ("HEM15 dead -80", Fault("HEM15", "dead", 0, 80)),
        ("HEM15 dead 41", Fault("HEM15", "dead", 41, 41)),
        ("HEM15 masked", Fault("HEM15", "masked")),
        ("HE -27 33 3 hot 5-9 factor=4", Fault("HE -27 33 3", "hot", 5, 9, 4.0)),
        ("HEP07-RM3-F4 sporadic 20-80 factor=0.3", Fault("HEP07-RM3-F4", "sporadic", 20, 80, 0.3)),
        ("FED-1100 link_loss duty=0.2 burst=3", Fault("FED-1100", "link_loss", duty=0.2, burst_ls=3.0)),
        ("HE+27d3 degraded 1- gain=0.8", Fault("HE+27d3", "degraded", 1, gain=0.8)),
    ],
)
def test_text_is_read(text, fault):
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no kind of fault"),
        ("HEM15", "no kind of fault"),
        ("HEM15 ded 41-", "did you mean dead"),
        ("dead 41-", "no unit"),
        ("HEM15 dead x-", "lumisections such as"),
        ("HEM15 dead 4-1-2", "lumisections such as"),
        ("HEM15 dead 80-41", "swap them"),
        ("HEM15 dead factor=0.5", "since nothing is left"),
        ("HEM15 hot factor=0.5", "above 1"),
        ("HEM15 hot factor=inf", "above 1"),
        ("HEM15 degraded factor=1", "between 0 and 1"),
        ("HEM15 degraded factor=nan", "between 0 and 1"),
        ("HEM15 degraded factor=half", "a number after factor="),
        ("HEM15 degraded facto=0.5", "did you mean factor"),
        ("HEM15 degraded gain=0.8 factor=0.5", "in place of factor"),
        ("HEM15 hot gain=0.8", "gain= for degraded"),
        ("HEM15 degraded gain=1.5", "a gain between 0 and 1"),
        ("HEM15 dead duty=0.5", "leave duty= away"),
        ("HEM15 sporadic duty=0", "a duty above 0"),
        ("HEM15 sporadic burst=0.5", "at least 1 LS"),
    ],
)
def test_text_that_makes_no_fault_is_refused(text, message):
    with pytest.raises(InputError, match=message) as caught:
        parse_fault(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("unit", "units"),
    [
        ("HEM15+HEM16", ("HEM15", "HEM16")),
        ("HE+27d3", ("HE+27d3",)),
        ("HE+27d3+HE-27d3", ("HE+27d3", "HE-27d3")),
        ("HE+27-33-3 + HEM01", ("HE+27-33-3", "HEM01")),
    ],
)
def test_plus_joins_units_but_not_a_sign(unit, units):
    assert Fault(unit, "dead").units == units


@given(p=st.floats(0, 1), kind=st.sampled_from(sorted(KINDS)))
def test_p_stays_a_probability(p, kind):
    changed = Fault("HEM15", kind).acting_on(np.array([p]))[0]
    assert 0 <= changed <= 1
    assert changed >= p if kind == "hot" else changed <= p


def test_lost_gain_costs_most_where_p_is_small():
    p = np.array([0.1, 0.5, 0.9, 1.0])
    ratio = Fault("HEM15", "degraded", gain=0.8).acting_on(p) / p
    assert (np.diff(ratio) > 0).all()
    assert ratio[-1] == 1


def test_bursts_have_the_share_and_length_asked_for():
    on = draw_bursts(Fault("HEM15", "sporadic", duty=0.3, burst_ls=5), 20_000, np.random.default_rng(5))
    assert on.mean() == pytest.approx(0.3, abs=0.03)
    assert on.sum() / (np.diff(on.astype(int)) == 1).sum() == pytest.approx(5, rel=0.1)


@given(n_ls=st.integers(1, 30), seed=st.integers(0, 50), duty=st.floats(0.01, 1))
def test_an_intermittent_fault_always_shows(n_ls, seed, duty):
    assert draw_bursts(Fault("HEM15", "sporadic", duty=duty), n_ls, np.random.default_rng(seed)).any()
