"""What a campaign says first: few short lines, lost cells in words, and zeros told apart from what was measured."""

import copy

import numpy as np
import pytest

from calowatch.present.campaign_numbers import with_interval, with_range
from calowatch.present.campaign_panels import panels_of
from calowatch.present.campaign_tables import axis_table, base_rows, point_table
from calowatch.present.campaign_words import INTERVALS, place_of, sentences

SOURCE = "published"
EDGE = 4e-6
FACTORS = (0.6, 0.8, 0.9, 0.95, 1.1, 1.2)


def _figures(rate, of=1_000_000):
    triple = [rate, 0.8 * rate, min(1.0, 1.2 * rate)] if rate else [0.0, 0.0, EDGE]
    channel = {
        "fpr": dict.fromkeys(("0.9", "0.95", "0.99"), triple),
        "roc_auc": [0.9, 0.89, 0.91],
        "pr_auc": [0.5, 0.4, 0.6],
        "n_healthy": of,
        "curve": [[0.0, 0.2], [1e-4, 0.7], [0.5, 1.0]],
    }
    return {"channel": channel}


def _cell(factor, rates, said="other runs", ring="middle"):
    axes = [["factor", f"{factor:g}"]] if said == "other runs" else [["shift", said]]
    base = {"unit": "channel", "factor": factor, "duration": 5, "ring": ring, "said": said}
    figures = {
        name: {"source": _figures(0.5), "calibrated": _figures(rate)} for name, rate in rates.items()
    } | {"true p": {"known": _figures(0.0), "mixture": _figures(0.0)}}
    counts = {"n_units": 100, "n_saturated": 0, "n_faults": 2000}
    return {
        "name": f"channel-f{factor:g}",
        "axes": axes,
        "conditions": said,
        "figures": figures,
        **counts,
        **base,
    }


@pytest.fixture
def make():
    """Return results by the rates of the networks at each factor; the reference has none anywhere."""

    def result(rates, n_runs=("other runs",)):
        names = ["reference", *rates]
        kinds = {"reference": ("reference", "reference"), SOURCE: ("network", "cnn-vae-lstm+rin+dc")}
        who = [{"name": "true p", "kind": "truth", "evidences": ["mixture"]}]
        for name in names:
            kind, model = kinds.get(name, ("network", name))
            who.append({"name": name, "kind": kind, "model": model, "evidences": ["source", "calibrated"]})
        for each in who:
            each["false_alarms"] = {"other": {e: {"per_day": [0.0, 0.0, 0.9]} for e in each["evidences"]}}
        cells = [
            _cell(factor, {"reference": 0.0, **{name: given[i] for name, given in rates.items()}}, said)
            for said in n_runs
            for i, factor in sorted(enumerate(FACTORS), key=lambda each: each[1] != 0.8)
        ]
        campaign = {"healthy": "other", "base": {"conditions": "other runs"}, "window": 5}
        campaign["judgement"] = {"channel_rate": 1e-5}
        pools = {"other": {"n_ls": 15000, "said": "other runs"}}
        return {"campaign": campaign, "contestants": who, "cells": cells, "pools": pools, "n_channels": 6768}

    return result


BAD = (0.1, 0.3, 0.5, 0.9, 0.8, 0.7)
MIXED = (0.0, 0.0, 0.002, 0.4, 0.2, 0.001)
NONE = (0.0,) * len(FACTORS)


def test_the_verdict_comes_first_then_the_fifth(make):
    first, second, *_ = sentences(make({"ours": NONE, SOURCE: BAD}))
    assert first.startswith("Best overall: reference and ours, ")
    assert "in all 6 cells" in first
    assert first.endswith("No network beats the per-channel reference in any cell.")
    assert second.startswith("Factor 0.6, at most a fifth of the source configuration")
    assert f"reached by ours (\u2264{EDGE / 0.5:.2g} times)" in second


def test_a_network_that_beats_the_reference_is_said_to(make):
    result = make({"ours": NONE, "other": BAD})
    for cell in result["cells"][:2]:
        cell["figures"]["reference"]["calibrated"] = _figures(0.5)
    first = sentences(result)[0]
    assert first.startswith("Best overall: ours, ")
    assert "The per-channel reference is beaten somewhere by ours (2 cells)" in first


def test_the_fifth_counts_the_worst_of_all_conditions(make):
    result = make({"ours": NONE, "near": (0.09, *BAD[1:]), SOURCE: BAD}, ("other runs", "other pile-up"))
    there = next(c for c in result["cells"] if c["factor"] == 0.6 and c["said"] == "other pile-up")
    there["figures"]["near"]["calibrated"] = _figures(0.3)
    told = sentences(result)[1]
    assert "0.5 on other runs and 0.5 on other pile-up" in told
    assert "not by 1 more, nearest near (0.18 and 0.6 times)" in told
    there["figures"]["ours"]["calibrated"] = _figures(0.4)
    assert "reached by no other network; nearest near" in sentences(result)[1]


def test_lost_cells_are_the_worst_three_in_words(make):
    told = next(line for line in sentences(make({"mixed": MIXED})) if line.startswith("mixed against"))
    assert "worse in 4, better in 0, no different in 2 of 6 cells" in told
    assert f"worst: factor 0.95 (0.4 against \u2264{EDGE:.2g}), factor 1.1 (" in told
    assert told.endswith("factor 0.9 (0.002 against \u22644e-06), and 1 more: campaign.csv.")
    assert "channel-f" not in told


def test_networks_that_lose_everywhere_share_a_line(make):
    lines = sentences(make({f"net-{i}": BAD for i in range(8)}))
    (told,) = [line for line in lines if line.startswith("Worse than the reference in every cell")]
    assert "net-0 (0.1 against \u22644e-06, factor 0.6)" in told
    assert not any("against the reference: worse" in line for line in lines)


@pytest.mark.parametrize("n", [1, 8, 13])
def test_the_lines_stay_few_and_short(make, n):
    rates = {f"network-{i}": (BAD, MIXED, NONE)[i % 3] for i in range(n)} | {SOURCE: BAD}
    lines = sentences(make(rates))
    assert len(lines) <= 10
    assert max(map(len, lines)) < 500
    assert INTERVALS not in lines  # below the tables


def test_without_reference_or_source_nothing_is_said_of_them(make):
    result = make({"ours": NONE})
    result["contestants"] = [who for who in result["contestants"] if who["name"] != "reference"]
    for cell in result["cells"]:
        del cell["figures"]["reference"]
    text = " ".join(sentences(result))
    assert "reference" not in text
    assert "fifth" not in text


def test_places_say_what_differs_from_the_base_point():
    base = {"unit": "channel", "factor": 0.8, "duration": 5, "ring": "middle", "said": "other runs"}
    box = place_of({**base, "unit": "box", "ring": None, "duration": 1}, base)
    assert box == "random boxes, 1 LS"
    assert place_of({**base, "ring": "quiet", "said": "other era"}, base) == "quiet rings, other era"


def test_zeros_of_tables_have_an_upper_edge_and_no_interval(make):
    result = make({"ours": NONE})
    tables = [
        axis_table(result, "factor").rows,
        point_table(result, result["cells"][0]).rows,
        base_rows(result),
    ]
    for rows in tables:
        assert not any("<" in entry for row in rows for entry in row)
    assert "0, \u22644e-06" in tables[0][0]
    assert with_range([0.0, 0.0, None]) == with_interval([0.0, 0.0, None]) == "0"
    assert with_interval([2e-6, 0.0, 5e-6]) == "2e-06 (0 to 5e-06)"


def _told(panel, **what):
    return [each for each in panel.series if all(getattr(each, key) == value for key, value in what.items())]


def test_zeros_are_open_marks_at_their_upper_edge_with_an_arrow(make):
    panel = panels_of(make({"ours": NONE, "bad": BAD}))["factor-evidence"]
    opened = [each for each in _told(panel, hollow=True) if not each.label]
    assert len(opened) == 4  # two bounds, the reference, ours
    assert all(np.all(np.asarray(each.y) == EDGE) for each in opened)
    (legend,) = [each for each in _told(panel, hollow=True) if each.label]
    assert "Clopper-Pearson" in legend.label
    heads = [each for each in _told(panel, label="", mark="v", form="points") if each.low is None]
    assert all(np.all(np.asarray(each.y) < EDGE) for each in heads if not each.hollow)
    places = np.concatenate([np.asarray(each.x) for each in opened])
    assert len(np.unique(places)) == len(places)  # none stands on another
    assert np.ptp(places[np.round(places) == 0]) < 1
    (measured,) = _told(panel, label="ours")
    assert np.isnan(measured.y).all()
    assert panel.y_ends[0] < EDGE / 2


def test_what_was_measured_has_its_interval_and_no_arrow(make):
    panel = panels_of(make({"bad": BAD}))["factor-evidence"]
    (bars,) = [each for each in panel.series if each.low is not None and np.isfinite(each.y).any()]
    np.testing.assert_allclose(bars.high, np.minimum(1.0, 1.2 * np.asarray(bars.y)))
    assert (np.asarray(bars.low) > 0).all()


def test_axes_without_order_are_not_joined_and_show_every_model_apart(make):
    runs = ("other era", "prescale steps")
    panel = panels_of(make({"ours": BAD, "same": BAD}, runs))["shift-evidence"]
    shown = [_told(panel, label=name)[0] for name in ("ours", "same")]
    assert {each.form for each in shown} == {"points"}
    assert (np.asarray(shown[0].x) != np.asarray(shown[1].x)).all()


def test_roc_curves_and_alarms_have_no_floor(make):
    panels = panels_of(make({"ours": BAD}))
    roc = panels["roc-evidence"]
    (curve,) = _told(roc, label="ours")
    assert np.nanmin(curve.x) == 1e-4
    assert [each.x[0] for each in _told(roc, hollow=True, label="")] == pytest.approx([3.69e-6] * 3, rel=1e-2)
    alarms = panels["false-alarms"]
    assert all(np.all(np.asarray(each.y) == 0.9) for each in _told(alarms, hollow=True, label=""))
    assert any("Poisson" in each.label for each in alarms.series)


@pytest.mark.parametrize("n", [2, 6, 13])
def test_legends_stand_beside_the_axes_however_many_take_part(make, n):
    panels = panels_of(copy.deepcopy(make({f"net-{i}": BAD for i in range(n)})))
    assert all(panel.crowded for panel in panels.values())
