"""What a bundle has seen of the runs that a campaign judges on: nothing, or it is refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calowatch.core.errors import InputError
from calowatch.core.recipe import WholeRuns, in_spans
from calowatch.evaluate.campaign.recipe import Campaign

__all__ = ["check_unseen"]


def check_unseen(folder: Path, manifest: Mapping[str, Any], campaign: Campaign) -> None:
    """Raise where a bundle learned from runs that a campaign judges on, or was chosen or calibrated on them.

    The campaign's training runs may serve for anything, its validation runs for a bundle's own validation.

    Raises
    ------
    InputError
        Naming the runs.
    """
    judged = {run for kind in campaign.conditions.values() if not kind.later for run in kind.numbers}
    barred = {
        "trained": (_numbers(manifest.get("runs")), judged | set(campaign.validation.numbers)),
        "validated": (_validation(manifest), judged),
    }
    for done, (own, kept) in barred.items():
        if shared := sorted(own & kept):
            raise InputError(
                folder,
                f"a bundle that has not seen the runs campaign {campaign.name} judges on",
                f"one {done} on {', '.join(map(str, shared))}",
                f"train on the data of `calowatch simulate campaign {campaign.name}`, prepared with recipe "
                "campaign, campaign-iid or campaign-rates",
            )


def _validation(manifest: Mapping[str, Any]) -> set[int]:
    """Return the runs a bundle was validated or calibrated on, as far as its manifest tells."""
    found = _numbers(manifest.get("calibrated_on"))
    split = _inside(manifest, "dataset", "recipe", "split")
    if isinstance(split, Mapping) and split.get("by") == "run":
        spans = WholeRuns.model_validate(split).validation or ()
        # The spans may be open: only runs that were in the data set count.
        sources = _numbers(_inside(manifest, "provenance", "sources"))
        found |= {run for run in sources if in_spans(run, spans)}
    return found


def _numbers(runs: object) -> set[int]:
    entries = runs if isinstance(runs, list) else []
    return {int(entry["run"]) for entry in entries if isinstance(entry, Mapping) and "run" in entry}


def _inside(given: object, *keys: str) -> object:
    for key in keys:
        given = given.get(key) if isinstance(given, Mapping) else None
    return given
