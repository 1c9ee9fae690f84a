"""Occupancy that cannot be counts is refused, and the error says where."""

import numpy as np
import pandas as pd
import pytest

from calowatch.core.errors import CountsError, InputError, UnknownNameError, nearest
from calowatch.core.provenance import provenance
from calowatch.core.schema import UNKNOWN_EVENTS, events_known, make_expectation, make_occupancy

CHANNELS = pd.DataFrame(
    {
        "channel": [1128011, 2127253],
        "subdet": ["HB", "HE"],
        "ieta": [28, 27],
        "iphi": [1, 25],
        "depth": [1, 3],
    }
)
ATTRS = {"run": 1, "era": "run3", "provenance": {}, "source": "file.root"}


def occupancy(counts, events=(10, 10), ls=(1, 2)):
    return make_occupancy(np.asarray(counts), CHANNELS, ls, events, ATTRS)


def test_whole_floats_become_integers():
    found = occupancy([[1.0, 2.0], [3.0, 10.0]])
    assert np.issubdtype(found["counts"].dtype, np.integer)
    assert found["counts"].to_numpy().tolist() == [[1, 2], [3, 10]]


@pytest.mark.parametrize(
    ("counts", "events", "ls", "words"),
    [
        ([[1, -2], [3, 4]], (10, 10), (1, 2), "-2 in LS 1, channel HE 27 25 3"),
        ([[1, 2], [3, 11]], (10, 10), (1, 2), "11 digis but 10 events in LS 2, channel HE 27 25 3"),
        ([[1.5, 2], [3, 4]], (10, 10), (1, 2), "1.5"),
        ([[np.nan, 2], [3, 4]], (10, 10), (1, 2), "nan"),
        ([[np.inf, 2], [3, 4]], (10, 10), (1, 2), "inf"),
        ([[1, 2], [3, 4]], (10, 10), (2, 2), "repeated or unordered"),
        ([[1, 2], [3, 4]], (10, 10), (2, 1), "repeated or unordered"),
    ],
)
def test_what_cannot_be_counts_is_refused(counts, events, ls, words):
    with pytest.raises(CountsError, match=words) as caught:
        occupancy(counts, events, ls)
    assert str(caught.value).startswith("file.root: expected ")
    assert ". Fix: " in str(caught.value)


def test_unknown_events_bound_nothing():
    found = occupancy([[100, 2], [3, 4]], (UNKNOWN_EVENTS, 10))
    assert events_known(found).tolist() == [False, True]


@pytest.mark.parametrize(("p", "sigma"), [(0.0, 0.1), (1.0, 0.1), (np.nan, 0.1)])
def test_an_expectation_never_reaches_its_ends(p, sigma):
    run = occupancy([[1, 2], [3, 4]])
    with pytest.raises(ValueError, match="strictly between"):
        make_expectation(run, np.full((2, 2), p), np.full(2, sigma), {})


def test_errors_have_four_parts_and_survive_a_process_border():
    error = InputError("a", "b", "c", "d")
    assert str(error) == "a: expected b, found c. Fix: d."
    assert str(InputError("a", "b", "none?", "did you mean e?")).endswith("found none? Fix: did you mean e?")
    make, arguments = error.__reduce__()
    assert str(make(*arguments)) == str(error)
    assert issubclass(UnknownNameError, InputError)


def test_nearest_names():
    assert nearest("zzz", ["HEP07"]) == "no similar name exists"


def test_provenance_holds_no_paths():
    record = provenance("fit", sources=[{"name": "a.root", "sha256": "x"}], seed=3)
    assert record["sources"] == [{"name": "a.root", "sha256": "x"}]
    assert record["seed"] == 3
    assert not any(str(value).startswith("/") for value in record.values())
