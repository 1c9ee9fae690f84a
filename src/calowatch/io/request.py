"""What the user says about a source, and how it is settled against what the source itself says."""

import re
from dataclasses import dataclass
from pathlib import Path

from calowatch.core.errors import ConflictError, InputError, UnknownNameError
from calowatch.core.progress import Progress
from calowatch.detector.conditions import era_of_run
from calowatch.detector.segmentation import check_era

__all__ = ["ReadRequest", "run_from_name", "settle_era", "settle_first_ls", "settle_run"]


@dataclass(frozen=True)
class ReadRequest:
    """What to assume about a source where it does not say so itself; ``None`` means not given.

    Parameters
    ----------
    run
        Run number.
    era
        Era of the segmentation.
    first_ls
        Number of the first lumisection.
    """

    run: int | None = None
    era: str | None = None
    first_ls: int | None = None


def run_from_name(path: Path) -> int | None:
    """Return the run number in a file's name, else in its folder's name, else ``None``.

    Examples
    --------
    >>> run_from_name(Path("run306138_ls1-6.hdf5")), run_from_name(Path("Cut20fC_Run355456/output.root"))
    (306138, 355456)
    """
    for name in (path.name, path.absolute().parent.name):
        if found := re.search(r"run[_-]?0*(\d{5,7})(?!\d)", name, re.IGNORECASE):
            return int(found[1])
    return None


def settle_run(path: Path, inside: int | None, request: ReadRequest, progress: Progress) -> int:
    """Return the run number: from inside the file, else as requested, else from the file's name (with a note).

    Raises
    ------
    ConflictError
        When the request contradicts the file.
    InputError
        When no run number is to be had.
    """
    if inside is not None:
        _agree(path, "run", request.run, inside)
        return inside
    if request.run is not None:
        return request.run
    named = run_from_name(path)
    if named is None:
        raise InputError(path, "a run number in the file or in its name", "none", "give it with --run")
    progress.note(f"{path.name}: run {named}, taken from the name")
    return named


def settle_era(path: Path, run: int, inside: str | None, request: ReadRequest) -> str:
    """Return the era: from inside the file, else as requested, else the one of the run.

    Raises
    ------
    ConflictError
        When the request contradicts the file.
    UnknownNameError
        For an era that does not exist, or a run of no known era.
    """
    if request.era is not None:
        check_era(request.era)
    if inside is not None:
        _agree(path, "era", request.era, inside)
    era = request.era if inside is None else inside
    try:
        return era_of_run(run) if era is None else check_era(era)
    except UnknownNameError as error:
        raise UnknownNameError(path, error.expected, error.where, error.fix) from error


def settle_first_ls(path: Path, inside: int | None, request: ReadRequest, progress: Progress) -> int:
    """Return the first lumisection: from inside the file, else as requested, else 1 (with a note).

    Raises
    ------
    ConflictError
        When the request contradicts the file.
    """
    if inside is not None:
        _agree(path, "first-ls", request.first_ls, inside)
        return inside
    if request.first_ls is not None:
        return request.first_ls
    progress.note(f"{path.name}: holds no lumisection numbers, counted from 1 (--first-ls says otherwise)")
    return 1


def _agree(path: Path, option: str, wanted: object, inside: object) -> None:
    if wanted is not None and wanted != inside:
        raise ConflictError(
            path, f"{option} {wanted} as requested", f"{option} {inside} in the file", f"drop --{option}"
        )
