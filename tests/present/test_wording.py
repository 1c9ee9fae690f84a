"""Headline, tables, and what was injected against what was found."""

from dataclasses import replace

import pytest

from calowatch.present.wording import headline, injected_rows, number, place, strongest_first, unit_rows


def test_failing_units_are_counted_by_kind(small_run):
    says = headline(small_run)
    assert (says.tone, says.text) == ("bad", "2 failing units")
    assert "1 dead" in says.detail
    assert "1 degraded" in says.detail
    assert headline(replace(small_run, verdicts=small_run.verdicts[:1])).text == "1 failing unit"


def test_known_and_structural_units_raise_no_alarm(small_run):
    dead = small_run.verdicts[0]
    says = headline(
        replace(small_run, verdicts=[replace(dead, known=True), replace(dead, kind="structural")])
    )
    assert (says.tone, says.text) == ("good", "No failing unit")
    assert "1 known bad" in says.detail


def test_a_run_that_could_not_be_judged_is_not_called_good(small_run):
    says = headline(replace(small_run, verdicts=[], no_verdict_ls=list(range(1, 10))))
    assert (says.tone, says.text) == ("unknown", "No verdict: too few events")
    assert "8 of 9" in headline(replace(small_run, verdicts=[], no_verdict_ls=[3])).detail


def test_strongest_first_and_larger_units_before_smaller(small_run):
    dead, degraded = small_run.verdicts
    wide = replace(degraded, channels=(*degraded.channels, *dead.channels), significance=dead.significance)
    infinite = replace(dead, significance=float("inf"))
    assert strongest_first([dead, wide, infinite]) == [infinite, wide, dead]


def test_rows_are_ready_to_read(small_run):
    verdict = replace(small_run.verdicts[0], factor=float("inf"), log10_p=float("-inf"))
    (row,) = unit_rows([verdict])
    assert (row.unit, row.stretch, row.names) == ("HO+5-20-4", "4\u20139", ["HO+5-20-4"])
    assert (row.factor, row.log10_p) == ("\u221e", "\u2212\u221e")
    assert number(float("nan"), 2) == "-"
    assert place([]) == ""


@pytest.mark.parametrize(
    ("fault", "result"),
    [
        ({"unit": "HO+5-20-4", "first_ls": 4, "last_ls": 9}, "found"),
        ({"unit": "HO+5-20-4"}, "found"),
        ({"unit": "HO+5-20-4", "first_ls": 1, "last_ls": 3}, "missed"),
        ({"unit": "HOP05", "channels": [["HO", 5, 20, 4], ["HO", 6, 20, 4]]}, "found as HO+5-20-4"),
        (
            {"unit": "HOP05", "channels": [["HO", 5, 20, 4]] + [["HO", 6, iphi, 4] for iphi in range(1, 9)]},
            "missed",
        ),
        ({"unit": "HEM05", "channels": []}, "missed"),
    ],
)
def test_injected_faults_are_found_or_missed(small_run, fault, result):
    rows, _ = injected_rows(replace(small_run, truth=[fault]))
    assert [row["result"] for row in rows] == [result]


def test_what_was_not_injected_is_named(small_run):
    rows, invented = injected_rows(replace(small_run, truth=small_run.truth[:1]))
    assert len(rows) == 1
    assert invented == ["HO-7-31-4"]
    assert injected_rows(small_run)[1] == []
