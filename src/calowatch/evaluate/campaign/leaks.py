"""What a bundle has seen of the runs that a campaign judges on: nothing, or it is refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calowatch.core.errors import InputError
from calowatch.core.recipe import WholeRuns, in_spans
from calowatch.evaluate.campaign.recipe import Campaign

__all__ = ["check_unseen"]


def check_unseen(folder: Path, manifest: Mapping[str, Any], campaign: Campaign) -> str:
    """Raise where a bundle learned from what a campaign judges on, or was chosen or calibrated on it.

    The campaign's training runs may serve for anything up to their last lumisection of training, its validation runs
    for a bundle's own validation.

    Returns
    -------
    A warning where the manifest does not tell enough, ``""`` where it does.

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
                _own_data(campaign),
            )
    if not barred["trained"][0]:
        return (
            f"{folder} does not tell the runs it learned from: whether campaign {campaign.name} judges on them is not "
            "known. Train it anew to have it checked."
        )
    return _check_later(folder, manifest, campaign)


def _own_data(campaign: Campaign) -> str:
    return (
        f"train on the data of `calowatch simulate campaign {campaign.name}`, prepared with recipe "
        "campaign, campaign-iid or campaign-rates"
    )


def _check_later(folder: Path, manifest: Mapping[str, Any], campaign: Campaign) -> str:
    """Raise where training runs were seen beyond the lumisections of training, which "later" conditions judge on."""
    if not campaign.later_ls:
        return ""
    last, unknown = campaign.train_ls, set[int]()
    for key, done in (("runs", "trained"), ("validated_on", "validated"), ("calibrated_on", "calibrated")):
        for entry in _entries(manifest.get(key)):
            run = int(entry["run"])
            if run not in campaign.training.numbers:
                continue
            # More lumisections than training has cannot all be of training, whichever they are.
            seen = int(entry.get("last_ls") or entry.get("n_ls") or 0)
            if seen > last:
                raise InputError(
                    folder,
                    f"a bundle that saw training runs up to lumisection {last}: campaign {campaign.name} judges on "
                    "later ones",
                    f"one {done} on lumisection {seen} of run {run}"
                    if entry.get("last_ls")
                    else f"one {done} on {seen} lumisections of run {run}",
                    _own_data(campaign),
                )
            unknown |= set() if entry.get("last_ls") else {run}
    if not unknown:
        return ""
    return (
        f"{folder} does not tell which lumisections of {', '.join(map(str, sorted(unknown)))} it learned from: if any "
        f"came after {last}, its figures of the later training runs flatter. Train it anew to have it checked."
    )


def _validation(manifest: Mapping[str, Any]) -> set[int]:
    """Return the runs a bundle was validated or calibrated on, as far as its manifest tells."""
    found = _numbers(manifest.get("calibrated_on")) | _numbers(manifest.get("validated_on"))
    split = _inside(manifest, "dataset", "recipe", "split")
    if isinstance(split, Mapping) and split.get("by") == "run":
        spans = WholeRuns.model_validate(split).validation or ()
        # The spans may be open: only runs that were in the data set count.
        sources = _numbers(_inside(manifest, "provenance", "sources"))
        found |= {run for run in sources if in_spans(run, spans)}
    return found


def _numbers(runs: object) -> set[int]:
    return {int(entry["run"]) for entry in _entries(runs)}


def _entries(runs: object) -> list[Mapping[str, Any]]:
    entries = runs if isinstance(runs, list) else []
    return [entry for entry in entries if isinstance(entry, Mapping) and "run" in entry]


def _inside(given: object, *keys: str) -> object:
    for key in keys:
        given = given.get(key) if isinstance(given, Mapping) else None
    return given
