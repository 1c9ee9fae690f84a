"""The folder of a campaign: whose work lies in it, so that figures of one campaign never pass for another's."""

import hashlib
import json
from pathlib import Path

from calowatch.core.errors import ConflictError
from calowatch.core.files import atomic_file, check_place, check_replaceable
from calowatch.evaluate.campaign.recipe import Campaign

__all__ = ["MARKER", "check_folder", "claim_folder"]

MARKER = "campaign.json"
"""The result, by which a finished campaign is recognised."""

_SEAL = Path("work") / "campaign.sha256"


SCORING = 2
"""What figures mean: one more whenever the same work would give others. 2: named among all units, one window each."""


def _digest(campaign: Campaign) -> str:
    """Return the SHA-256 of all settings of a campaign, and of what its figures mean."""
    settings = {"campaign": campaign.model_dump(mode="json"), "scoring": SCORING}
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def check_folder(campaign: Campaign, out: Path) -> None:
    """Raise where a campaign could not go, or would take another campaign's work for its own.

    Raises
    ------
    ConflictError
        When ``out`` holds something else, or work of other settings, or work that does not tell its settings.
    """
    seal = out / _SEAL
    if seal.is_file():
        check_place(out)
        if seal.read_text(encoding="utf-8").strip() == _digest(campaign):
            return
        found = f"other settings, or figures of an earlier version ({campaign.name})"
    else:
        check_replaceable(out, MARKER)
        if not seal.parent.exists() or (seal.parent.is_dir() and not any(seal.parent.iterdir())):
            return
        found = f"work that does not tell its settings (no {_SEAL.name} in it)"
    raise ConflictError(
        out,
        "the campaign whose work lies there, with every setting the same",
        found,
        f"take another --out, or delete {seal.parent}",
    )


def claim_folder(campaign: Campaign, out: Path) -> None:
    """Write into the work folder whose it is; what an earlier call finished stays until this one has finished."""
    with atomic_file(out / _SEAL) as scratch:
        scratch.write_text(f"{_digest(campaign)}\n", encoding="utf-8")
