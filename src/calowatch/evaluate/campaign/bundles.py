"""The bundles that a campaign is given: found, and opened whole before any work starts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from calowatch.bundle.expecting import WindowModel, load_window_model
from calowatch.bundle.manifest import MANIFEST
from calowatch.core.errors import FormatError, InputError
from calowatch.core.progress import SILENT, Progress
from calowatch.evaluate.campaign.recipe import BASELINES, Campaign

__all__ = ["TRUTH", "check_bundle", "check_name", "columns_of", "find_bundles"]

Ints = npt.NDArray[np.int64]

TRUTH = "true p"
"""The name of the bound: the same statistics, and the likelihood ratio that knows all, at the simulator's own p."""


def find_bundles(given: Sequence[Path], progress: Progress = SILENT) -> tuple[Path, ...]:
    """Return bundles, those in folders of bundles one by one; folders beside them that are none are told.

    Parameters
    ----------
    given
        Bundles, or folders of them.
    progress
        Takes a note per folder that is left out.

    Raises
    ------
    FormatError
        When something given neither is a bundle nor holds one.
    """
    found = list[Path]()
    for path in given:
        if (path / MANIFEST).is_file():
            found.append(path)
            continue
        inside = sorted(each for each in path.iterdir() if each.is_dir()) if path.is_dir() else []
        bundles = [each for each in inside if (each / MANIFEST).is_file()]
        if not bundles:
            what = (
                f"no {MANIFEST} in it, nor in a folder of it"
                if path.is_dir()
                else ("a file" if path.exists() else "no such folder")
            )
            raise FormatError(
                path, "a bundle, or a folder of bundles", what, "make a bundle with calowatch train"
            )
        # The logs of a training lie beside its bundle by design; without the bundle it was broken off.
        logs = {each.with_name(f"{each.name}.training") for each in bundles}
        for each in inside:
            if each not in bundles and each not in logs and not each.name.startswith("."):
                left = " (a training that was not finished)" if each.suffix == ".training" else ""
                progress.note(f"{each} is no bundle{left}: no {MANIFEST} in it. It does not take part.")
        found += bundles
    return tuple(found)


def check_name(folder: Path, name: str) -> None:
    """Raise where a bundle is called like a baseline or the bound, which always mean the campaign's own.

    Raises
    ------
    InputError
        With a name that would do.
    """
    if name in (*BASELINES, TRUTH):
        raise InputError(
            folder,
            f"a bundle with a name of its own; {', '.join((*BASELINES, TRUTH))} are the campaign's own",
            f"one called {name}",
            f"rename the folder, to {name.replace(' ', '-')}-mine for instance",
        )


def check_bundle(folder: Path, manifest: Mapping[str, Any], campaign: Campaign, table: Ints) -> None:
    """Read a bundle whole, every file against its hash, and raise unless it answers what the campaign asks.

    Parameters
    ----------
    folder, manifest
        The bundle.
    campaign
        Whose era, layout and window it must have.
    table
        Channel numbers that the campaign judges, in its order.

    Raises
    ------
    FormatError
        When a file is missing or damaged, or the bundle expects no occupancy.
    ConflictError
        When it was made for another list of channels.
    InputError
        When it is for another era, other channels or other windows.
    """
    model = load_window_model(folder)
    if (era := str(manifest.get("era"))) != campaign.era:
        raise InputError(
            folder, f"a bundle for {campaign.era}", f"one for {era}", "train it on the campaign's runs"
        )
    columns_of(model, folder, campaign, table)
    if model.window not in (1, campaign.window):
        raise InputError(
            folder,
            f"windows of {campaign.window} lumisections, or of one",
            f"windows of {model.window}",
            f"train it with window = {campaign.window}",
        )


def columns_of(model: WindowModel, folder: Path, campaign: Campaign, table: Ints) -> Ints:
    """Return the campaign's column of each channel of a model.

    Raises
    ------
    InputError
        When its channels are not those that the campaign judges.
    """
    column = {int(number): i for i, number in enumerate(table)}
    found = np.array([column.get(int(number), -1) for number in model.channel], dtype=np.int64)
    if (found < 0).any() or len(found) != len(column):
        raise InputError(
            folder,
            f"the {len(column)} channels of {', '.join(campaign.subdets)} that the campaign judges",
            f"{len(found)} channels, {int((found < 0).sum())} of them others",
            f"train it on layout {campaign.layout}",
        )
    return found
