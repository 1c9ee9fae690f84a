"""The page of a campaign, and the same tables as Markdown; all from the result document, nothing by hand."""

from collections.abc import Sequence

from calowatch.present.campaign_numbers import AXES, Result, on_axis
from calowatch.present.campaign_panels import panels_of
from calowatch.present.campaign_tables import axis_table, cost_table, daily_table, finding_table, point_table
from calowatch.present.campaign_words import INTERVALS, sentences
from calowatch.present.markdown import markdown_table
from calowatch.present.panels_page import Page, Section

__all__ = ["campaign_page", "markdown"]


def _sections(result: Result) -> list[Section]:
    panels = panels_of(result)
    base = result["cells"][0]
    judgement = result["campaign"]["judgement"]
    n_ls = result["pools"][result["campaign"]["healthy"]]["n_ls"]
    sections = [
        Section(
            "Base point",
            f"Single channels of {base['ring']} rings at factor {base['factor']:g} for {base['duration']} LS, "
            f"{base['said']}. Precision, recall and F1 at a threshold that {judgement['channel_rate']:g} of healthy "
            f"validation channel-windows exceed. {INTERVALS}",
            [point_table(result, base)],
            {name: panels[name] for name in panels if name.startswith("roc")},
        )
    ]
    for axis, heading in AXES.items():
        if not on_axis(result, axis):
            continue
        drawn = {name: panels[name] for name in panels if name.startswith(f"{axis}-")}
        note = (
            "False-positive rate per channel-window at 99 % capture, and its 95 % interval where it is not a point: "
            f"1.2e-04 [0.9, 1.6] is from 0.9e-04 to 1.6e-04. {INTERVALS}"
        )
        sections.append(Section(heading, note, [axis_table(result, axis)], drawn))
        if axis == "unit":
            sections.append(
                Section(
                    "Whole units",
                    "False-positive rate per unit-window at 99 % capture and its 95 % interval: scores summed over a "
                    "unit's channels.",
                    [axis_table(result, axis, "unit")],
                )
            )
        words = (
            "Share of faults found / share whose unit is named / median delay in LS, at the threshold fixed "
            "beforehand."
        )
        sections.append(Section(f"{heading}: found, named, when", words, [finding_table(result, axis)]))
    sections.append(
        Section(
            "At one false alarm a day",
            f"Share of faults found at the threshold with one false alarm in 24 h, on {n_ls:,} healthy LS.",
            [daily_table(result)],
        )
    )
    note = (
        "Alarms of channels at the thresholds fixed beforehand; one that lasts counts once. Times on one core, "
        "predictions only. The bounds have no cost that would mean anything."
    )
    sections.append(
        Section("Cost and false alarms", note, [cost_table(result)], {"false-alarms": panels["false-alarms"]})
    )
    return sections


def campaign_page(result: Result, more: Sequence[Section] = ()) -> Page:
    """Return the page of a campaign, with further parts at its end."""
    campaign = result["campaign"]
    n_faults = sum(cell["n_faults"] for cell in result["cells"])
    subtitle = f"{campaign['summary']}; {n_faults:,} faults in {len(result['cells'])} cells"
    return Page(
        f"Campaign {campaign['name']}",
        subtitle,
        sentences(result),
        [*_sections(result), *more],
        result["provenance"],
    )


def markdown(result: Result, command: str) -> str:
    """Return the result as a page of documentation: sentences, then every table."""
    record, campaign = result["provenance"], result["campaign"]
    made = f"calowatch {record['calowatch']}; {record['created']}"
    lines = [
        f"# Results of campaign {campaign['name']}",
        "",
        f"{campaign['summary']}. Written by the program; what each word means: [campaign](campaign.md).",
        "",
        f"Command: `{command}`; seed {campaign['seed']}; commit {record['commit'] or 'unknown'}; {made}.",
        "",
    ]
    for sentence in sentences(result):
        lines += [f"- {sentence}"]
    for section in _sections(result):
        lines += ["", f"## {section.heading}", "", *([section.note, ""] if section.note else [])]
        for table in section.tables:
            lines += markdown_table(table)
    return "\n".join(lines) + "\n"
