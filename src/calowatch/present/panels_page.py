"""A page of tables and plain figures: one HTML file that opens offline, the figures as PNG beside it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from calowatch.present.image_panels import ImagePanel, image_figure, write_images
from calowatch.present.panels import Panel, panel_figure, write_panel
from calowatch.present.report import render_page

__all__ = ["Page", "Picture", "Section", "Table", "write_page"]


@dataclass(frozen=True)
class Table:
    """Rows of text; the first column names the row.

    Parameters
    ----------
    head
        Names of the columns.
    rows
        Cells as they shall be read.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A picture inside the page.

    Parameters
    ----------
    caption
        Words below it.
    source
        Its content as a ``data:`` address.
    """

    caption: str
    source: str


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Parameters
    ----------
    heading, note
        Words; the note may be empty.
    tables
        Shown first.
    panels
        Figures by the name of their PNG file, without its ending.
    pictures
        Shown last.
    """

    heading: str
    note: str = ""
    tables: Sequence[Table] = ()
    panels: Mapping[str, Panel | ImagePanel] = field(default_factory=dict)
    pictures: Sequence[Picture] = ()


@dataclass(frozen=True)
class Page:
    """A page.

    Parameters
    ----------
    title, subtitle
        Words on top.
    notes
        What a reader must know beside the numbers.
    sections
        In order.
    provenance
        How it was made.
    """

    title: str
    subtitle: str
    notes: Sequence[str]
    sections: Sequence[Section]
    provenance: Mapping[str, Any]


def write_page(folder: Path, name: str, page: Page, *, png: bool = True) -> list[Path]:
    """Write ``NAME.html`` and a PNG per panel into an existing folder, and return their paths, the page first."""
    panels = {each: panel for section in page.sections for each, panel in section.panels.items()}
    context = {
        "page": page,
        "figures": {each: _figure(panel) for each, panel in panels.items()},
        "wide": {each for each, panel in panels.items() if isinstance(panel, Panel) and panel.crowded},
        "provenance": json.dumps(page.provenance, indent=1, default=str, ensure_ascii=False),
    }
    path = folder / f"{name}.html"
    path.write_text(render_page("panels", context), encoding="utf-8")
    return [path, *(_write(folder / f"{each}.png", panel) for each, panel in panels.items() if png)]


def _figure(panel: Panel | ImagePanel) -> Any:
    drawn = image_figure(panel) if isinstance(panel, ImagePanel) else panel_figure(panel)
    return json.loads(drawn.to_json())


def _write(path: Path, panel: Panel | ImagePanel) -> Path:
    return write_images(path, panel) if isinstance(panel, ImagePanel) else write_panel(path, panel)
