"""The verb ``evaluate campaign``: score, then write table, figures, pictures of faults and one page."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from calowatch.core.files import atomic_file, staged_files, write_json
from calowatch.evaluate.campaign.folder import MARKER
from calowatch.evaluate.campaign.models import TRUTH, Contestant
from calowatch.evaluate.campaign.pictures import write_pictures
from calowatch.evaluate.campaign.recipe import Campaign
from calowatch.evaluate.campaign.run import CampaignOptions, run_campaign
from calowatch.evaluate.campaign.scoring import Bench, Workbench
from calowatch.evaluate.campaign.table import Result, collect, long_table
from calowatch.present.campaign import campaign_page, markdown
from calowatch.present.campaign_words import deployed
from calowatch.present.panels_page import Picture, Section, write_page

__all__ = ["CampaignOutcome", "evaluate_campaign"]

_OWNED = ("report.html", "campaign.md", "campaign.csv", "figures/*.png", "faults/*.png")


@dataclass(frozen=True)
class CampaignOutcome:
    """What a campaign gave.

    Parameters
    ----------
    result
        The document, as ``campaign.json`` holds it.
    markdown
        The tables as text.
    files
        What was written.
    """

    result: Result
    markdown: str
    files: tuple[Path, ...]


def evaluate_campaign(
    campaign: Campaign, options: CampaignOptions, command: str = "calowatch evaluate campaign"
) -> CampaignOutcome:
    """Run a campaign and write ``campaign.json``, ``.csv``, ``.md``, ``report.html``, ``figures`` and ``faults``.

    Parameters
    ----------
    campaign
        The campaign.
    options
        Where, with what, and how many at once.
    command
        How it was called, for the record.

    Raises
    ------
    ConflictError, FormatError, InputError
        As `calowatch.evaluate.campaign.run.run_campaign`.
    """
    everyone = run_campaign(campaign, options)
    out = Path(options.out)
    work = Workbench(Bench(campaign, out))
    result = collect(work, everyone)
    text = markdown(result, command)
    with staged_files(out, owned=_OWNED) as scratch:
        (scratch / "figures").mkdir()
        (scratch / "faults").mkdir()
        pictures = write_pictures(work, _shown(result, everyone), scratch / "faults", options.progress)
        page = campaign_page(result, [_picture_section(pictures)])
        report, *figures = write_page(scratch, "report", page)
        for figure in figures:
            figure.rename(scratch / "figures" / figure.name)
        (scratch / "campaign.md").write_text(text, encoding="utf-8")
        long_table(result).to_csv(scratch / "campaign.csv", index=False, float_format="%.6g")
        names = [path.relative_to(scratch) for path in sorted(scratch.rglob("*")) if path.is_file()]
    write_json(out / MARKER, result)
    return CampaignOutcome(result, text, (out / report.name, out / MARKER, *(out / name for name in names)))


def _shown(result: Result, everyone: Sequence[Contestant]) -> list[Contestant]:
    """Return whose faults are drawn: the reference, the source's configuration, and the last network given."""
    networks = [who for who in everyone if who.kind == "network"]
    names = {deployed(result), *(who.name for who in networks[-1:])}
    names |= {who.name for who in everyone if who.kind == "reference"} or {everyone[-1].name}
    return [who for who in everyone if who.name in names and who.name != TRUTH]


def _picture_section(files: Sequence[Path]) -> Section:
    """Return the pictures as a part of the page, inside it so that it opens offline."""
    pictures = [
        Picture(path.stem, f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}")
        for path in files
    ]
    note = (
        "One window per kind of unit at the base point, as the source system shows it. The black line runs one "
        "cell outside the injected channels of the depth that is drawn."
    )
    return Section("Faults", note, pictures=pictures)


def write_markdown(path: Path, text: str) -> None:
    """Write the tables as a page of documentation."""
    with atomic_file(path) as scratch:
        scratch.write_text(text, encoding="utf-8")
