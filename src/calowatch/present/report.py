"""The run report: one HTML file that opens offline, and PNG maps beside it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from calowatch.core.files import atomic_directory, atomic_file
from calowatch.core.progress import SILENT, Progress
from calowatch.present.averages import RunAverage, exposure, run_average
from calowatch.present.figures import run_figure, unit_figure
from calowatch.present.given import ReportInput
from calowatch.present.maps import write_maps
from calowatch.present.palette import STATES, is_failing, state_of
from calowatch.present.payload import maps_payload
from calowatch.present.wording import headline, injected_rows, strongest_first, unit_rows

__all__ = ["MOST_TIMELINES", "ReportInput", "render_page", "write_report"]

MOST_TIMELINES = 24
_MARKER = "README.txt"
_MAPS_README = """Maps of one run, drawn by calowatch: SUBDETECTOR_QUANTITY.png, one panel per depth.
x: ieta, +z side on the right. y: iphi. Black outlines: channels that a verdict names.
occupancy, expectation: mean over the run; orange: exactly zero.
evidence: largest magnitude over the run, negative (blue) for fewer digis than expected; yellow: no verdict.
verdict: grey: not failing; yellow: no verdict. White in all maps: no channel.
This folder is replaced by the next report.
"""


def _span(given: ReportInput) -> str:
    ls = given.occupancy["ls"].to_numpy()
    return f"LS {ls[0]}-{ls[-1]}"


def _text(value: Any) -> str:
    """Return a condition as text; numbers in the shortest form that says them."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, default=str, ensure_ascii=False)
    return str(value)


def _timelines(given: ReportInput) -> tuple[list[dict[str, Any]], int]:
    """Return a figure per failing unit, strongest first, and how many units were left out."""
    failing = [verdict for verdict in strongest_first(given.verdicts) if is_failing(verdict)]
    exposed = exposure(given.occupancy)
    figures = [unit_figure(given, exposed, verdict) for verdict in failing[:MOST_TIMELINES]]
    return [json.loads(figure.to_json()) for figure in figures], max(0, len(failing) - MOST_TIMELINES)


def _provenance(given: ReportInput) -> dict[str, str]:
    parts = {"occupancy": given.occupancy, "expectation": given.expectation, "evidence": given.evidence}
    return {
        name: json.dumps(dict(part.attrs), indent=1, default=str, ensure_ascii=False)
        for name, part in parts.items()
        if part.attrs
    }


def _context(given: ReportInput, average: RunAverage) -> dict[str, Any]:
    timelines, left_out = _timelines(given)
    injected, invented = injected_rows(given)
    new = [verdict for verdict in given.verdicts if is_failing(verdict)]
    colours = {
        verdict.kind: STATES[state_of(verdict)].colour for verdict in given.verdicts if not verdict.known
    }
    return {
        "headline": headline(given),
        "run": given.occupancy.attrs["run"],
        "era": given.occupancy.attrs["era"],
        "span": _span(given).replace("-", "\u2013"),
        "failing": unit_rows(new),
        "aside": unit_rows([verdict for verdict in given.verdicts if not is_failing(verdict)]),
        "kind_colours": colours,
        "injected": injected,
        "has_truth": given.truth is not None,
        "invented": invented,
        "conditions": [(key, _text(value)) for key, value in given.summary.items() if key != "warnings"],
        "warnings": [str(sentence) for sentence in given.summary.get("warnings", ())],
        "n_ls": int(given.occupancy.sizes["ls"]),
        "n_no_verdict": len(set(given.no_verdict_ls)),
        "run_figure": json.loads(run_figure(given).to_json()),
        "timelines": timelines,
        "left_out": left_out,
        "maps": maps_payload(average, given.verdicts),
        "provenance": _provenance(given),
    }


def render_page(name: str, context: Mapping[str, Any]) -> str:
    """Fill the template ``NAME.html.j2``; texts are escaped there, data for the script here.

    The template gets ``css`` (``report.css``), ``js`` (``NAME.js``) and ``plotly`` besides the context.
    """
    environment = Environment(
        loader=PackageLoader("calowatch.present"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["data"] = lambda value: htmlsafe_json_dumps(value, separators=(",", ":"))

    def own(file: str) -> Markup:
        source, _, _ = environment.loader.get_source(environment, file)  # type: ignore[union-attr]
        return Markup(source)  # noqa: S704 - a file of this package

    parts = {"css": own("report.css"), "js": own(f"{name}.js")}
    plotly = Markup(get_plotlyjs())  # noqa: S704 - the library itself
    return environment.get_template(f"{name}.html.j2").render(**context, **parts, plotly=plotly)


def write_report(folder: Path, given: ReportInput, progress: Progress = SILENT) -> list[Path]:
    """Write ``report.html`` and ``maps/*.png`` into ``folder`` and return their paths, the report first.

    Parameters
    ----------
    folder
        Made where missing. An earlier report and its ``maps`` folder are replaced together, once the new ones are
        whole.
    given
        The judged run.
    progress
        Told of each map.

    Raises
    ------
    ConflictError
        When ``folder/maps`` holds something else.
    """
    report, maps = Path(folder) / "report.html", Path(folder) / "maps"
    average = run_average(given)
    page = render_page("report", _context(given, average))
    heading = f"run {given.occupancy.attrs['run']}, era {given.occupancy.attrs['era']}, {_span(given)}"
    with atomic_file(report) as scratch:
        scratch.write_text(page, encoding="utf-8")
        with atomic_directory(maps, marker=_MARKER) as drawn:
            (drawn / _MARKER).write_text(_MAPS_README)
            written = write_maps(drawn, average, heading, progress)
    return [report, *(maps / path.name for path in written)]
