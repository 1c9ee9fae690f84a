"""DQM ROOT files: occupancy of all four subdetectors in the DQM grid, of a whole run or of single lumisections.

``DQMData/Run <N>/Hcal/Run summary/DigiTask/Occupancy/depth/depth1`` .. ``depth7`` are TH2 with X = 84 bins of ieta and
Y = 72 of iphi. In 2017 the subsystem may be called ``HcalAll``; histograms of single lumisections lie in ``By Lumi
Section <n>-<n>`` instead of ``Run summary``, or in a file whose name has the number. ``OccupancyCut`` counts digis
above a cut and is read where there is no ``Occupancy``. Masked channels are not filled: they read exactly zero, as dead
ones do.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from calowatch.core.errors import AmbiguousLayoutError, ConflictError, CountsError, FormatError
from calowatch.core.progress import SILENT, Progress
from calowatch.core.schema import UNKNOWN_EVENTS, make_occupancy, with_rechits
from calowatch.detector.table import channel_table
from calowatch.io.dqm_grid import DEPTH_PLANES, GRID, HO_PLANE, DqmGrid, check_planes, find_ho, place_channels
from calowatch.io.events import events_from_hf
from calowatch.io.origin import file_attrs, hashing, keep_filled
from calowatch.io.request import ReadRequest, settle_era, settle_run
from calowatch.io.root import holds, is_root, open_root

__all__ = ["DqmRootReader", "ls_from_name"]

TOP = "DQMData"
SUBSYSTEMS = ("Hcal", "HcalAll")
DIGIS = ("DigiTask/Occupancy", "DigiTask/OccupancyCut")
"""The histograms that are read, the first one found before the other."""
RECHITS = "RecHitTask/Occupancy"
WHOLE_RUN = "Run summary"
EXACT_FLOAT = 2**24
"""Where the 32-bit floats of a TH2F stop counting."""

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Section:
    """One folder of histograms: its lumisection, ``None`` where the folder does not say."""

    ls: int | None
    folder: Any

    def planes(self, task: str) -> dict[str, Any]:
        """Return the histograms of a task by plane, not read yet."""
        inside = f"{task}/depth"
        if inside not in self.folder:
            return {}
        held = self.folder[inside].keys(recursive=False, cycle=False)
        return {name: f"{inside}/{name}" for name in (*DEPTH_PLANES, HO_PLANE) if name in held}


@dataclass(frozen=True)
class _Source:
    """What a file offers, and what of it was chosen."""

    run: int
    subsystem: str
    task: str
    sections: list[_Section]


def ls_from_name(path: Path) -> int | None:
    """Return the lumisection in a file's name, or ``None``; a range is none.

    Examples
    --------
    >>> ls_from_name(Path("DQM_V0001_Hcal_R000362760_L0041.root")), ls_from_name(Path("run362760_ls1-6.root"))
    (41, None)
    """
    found = re.search(r"(?:^|[_.-])(?:LS|L|lumi)[_-]?0*(\d+)(?=[_.]|$)", path.name, re.IGNORECASE)
    return int(found[1]) if found else None


class DqmRootReader:
    """Reader of DQM ROOT files."""

    name = "DQM ROOT"
    suffixes = (".root",)

    def matches(self, path: Path) -> bool:
        """Return whether the file is a ROOT file with DQM's folder, or one too broken to tell."""
        return is_root(path) and holds(path, TOP)

    def run_of(self, path: Path, request: ReadRequest) -> int:
        """Return the run that `read` would return, without reading counts."""
        with open_root(path) as file:
            return settle_run(path, _find(path, file, request, SILENT).run, request, SILENT)

    def read(self, path: Path, request: ReadRequest, progress: Progress = SILENT) -> xr.Dataset:
        """Return the run in the file: one row per lumisection, or one row for the whole run.

        Parameters
        ----------
        path
            The file.
        request
            ``run`` picks one of several; ``era`` overrides that of the run; ``first_ls`` numbers the row of a file that
            does not say which lumisection it is.
        progress
            Shown one step per folder of histograms; takes notes on what was chosen.

        Raises
        ------
        FormatError
            For a file that is no ROOT file or is damaged, a missing folder or depth, axes of another shape, or several
            runs of which none was picked.
        CountsError
            For negative or non-integer counts, counts above events, digis outside the segmentation, or a bin where
            32-bit floats stop counting.
        ConflictError
            When the request contradicts the file.
        """
        with hashing(path) as sha256:
            with open_root(path) as file:
                source = _find(path, file, request, progress)
                run = settle_run(path, source.run, request, progress)
                era = settle_era(path, run, None, request)
                sections, span = _lumisections(path, source, request, progress)
                present = source.sections[0].planes(source.task)
                check_planes(path, present, f"{source.subsystem}/{source.task}/depth/")
                grid = place_channels(era, find_ho(era, present))
                counts = _read(path, source, source.task, grid, progress)
                rechits = _read_rechits(path, source, grid, progress)
                events = np.array([_events(section.folder) for section in source.sections])
            chosen = {"histograms": f"{source.subsystem}/{source.task}", "ho": grid.ho, "span": span}
            attrs = file_attrs(path, run, era, self.name, sha256(), chosen)
        channels = channel_table(era)
        kept = keep_filled(path, channels, np.asarray(counts.any(axis=0)), progress)
        counts, channels = counts[:, kept], channels[kept]
        events = np.where(events == UNKNOWN_EVENTS, events_from_hf(counts, channels), events)
        occupancy = make_occupancy(counts, channels, sections, events, attrs)
        return occupancy if rechits is None else with_rechits(occupancy, rechits[:, kept])


def _find(path: Path, file: Any, request: ReadRequest, progress: Progress) -> _Source:
    """Return the histograms to read, refusing what leaves a choice to us."""
    runs = _numbered(file, TOP, r"Run (\d+)")
    if not runs:
        raise FormatError(path, f"{TOP}/Run <N>/Hcal", f"no run in {TOP}", "take a DQM file of HCAL")
    if len(runs) > 1 and request.run not in runs:
        named = ", ".join(str(run) for run in sorted(runs)[:5])
        raise FormatError(path, "one run", f"a mixture of runs {named}", "pick one with --run")
    run = next(iter(runs)) if len(runs) == 1 else int(request.run or 0)
    found = {name: _sections(path, runs[run], name) for name in SUBSYSTEMS}
    offers = [name for name, sections in found.items() if sections]
    if not offers:
        raise FormatError(
            path,
            f"{TOP}/Run {run}/Hcal/Run summary/{DIGIS[0]}/depth",
            "no such folder",
            "take the file of the HCAL subsystem, with its DigiTask",
        )
    if len(offers) > 1:
        raise AmbiguousLayoutError(
            path,
            "occupancy of one subsystem",
            f"that of {' and '.join(offers)}",
            "write the one that is meant into a file of its own",
        )
    sections = found[offers[0]]
    held = [task for task in DIGIS if all(section.planes(task) for section in sections)]
    if not held:
        raise FormatError(path, f"{DIGIS[0]} in every folder", "some without", "take the whole file")
    if len(held) > 1:
        progress.note(f"{path.name}: {held[0]} is read, {held[1]} left aside")
    return _Source(run, offers[0], held[0], sections)


def _numbered(folder: Any, inside: str, pattern: str) -> dict[int, Any]:
    """Return folders by the number in their names; none when there is no folder ``inside``."""
    if inside not in folder:
        return {}
    names = folder[inside].keys(recursive=False, cycle=False)
    matched = ((re.fullmatch(pattern, name), name) for name in names)
    return {int(match[1]): folder[inside][name] for match, name in matched if match}


def _sections(path: Path, run: Any, subsystem: str) -> list[_Section]:
    """Return the folders of a subsystem with occupancy: those of single lumisections, else that of the run."""
    if subsystem not in run:
        return []
    wide = [
        name
        for name in run[subsystem].keys(recursive=False, cycle=False)
        if (found := re.fullmatch(r"By Lumi Section (\d+)-(\d+)", name)) and found[1] != found[2]
    ]
    if wide:
        raise FormatError(
            path, "folders of single lumisections", f"'{wide[0]}'", "give the file of the run, or one per LS"
        )
    single = _numbered(run, subsystem, r"By Lumi Section (\d+)-\d+")
    sections = [_Section(ls, single[ls]) for ls in sorted(single)]
    if not sections and WHOLE_RUN in run[subsystem]:
        sections = [_Section(None, run[subsystem][WHOLE_RUN])]
    return [section for section in sections if any(section.planes(task) for task in DIGIS)]


def _lumisections(
    path: Path, source: _Source, request: ReadRequest, progress: Progress
) -> tuple[list[int], str]:
    """Return the lumisections of the rows, and in words what a row spans."""
    inside = [section.ls for section in source.sections if section.ls is not None]
    if inside:
        if request.first_ls not in (None, inside[0]):
            found = f"lumisection {inside[0]} in the file"
            raise ConflictError(path, f"first-ls {request.first_ls} as requested", found, "drop --first-ls")
        return inside, "lumisections"
    if request.first_ls is not None:
        return [request.first_ls], "what the file holds, numbered by --first-ls"
    named = ls_from_name(path)
    if named is not None:
        progress.note(f"{path.name}: lumisection {named}, taken from the name")
        return [named], "one lumisection, by the name of the file"
    progress.note(
        f"{path.name}: sums a whole run, read as one row under LS 1 (of a single lumisection: --first-ls)"
    )
    return [1], "the whole run"


def _read(path: Path, source: _Source, task: str, grid: DqmGrid, progress: Progress) -> Values:
    """Return what is in the planes of a task as (ls, channel), having refused cells where no channel is."""
    rows = np.zeros((len(source.sections), grid.planes.size))
    filled = {plane: np.zeros(GRID, dtype=np.bool_) for plane in source.sections[0].planes(task)}
    shown = progress.track(source.sections, f"reading {path.name}", len(source.sections))
    for row, section in zip(rows, shown, strict=True):
        planes = section.planes(task)
        if set(planes) != set(filled):
            odd = ", ".join(sorted(set(planes) ^ set(filled)))
            raise FormatError(
                path, "the same depths in every lumisection", f"{odd} in some", "take the whole file"
            )
        for plane, where in planes.items():
            values = _plane(path, section.folder[where], where)
            row[grid.channels_in(plane)] = grid.gather(plane, values)
            filled[plane] |= values != 0
    grid.refuse_strays(path, filled, filled)
    return rows


def _plane(path: Path, histogram: Any, name: str) -> Values:
    """Return the bins of a histogram as (iphi, ieta)."""
    shape = tuple(
        int(histogram.member(axis).member("fNbins"))
        for axis in ("fYaxis", "fXaxis")
        if str(histogram.classname).startswith("TH2")
    )
    if shape != GRID:
        found = f"{' x '.join(map(str, reversed(shape)))} bins" if shape else f"a {histogram.classname}"
        raise FormatError(path, f"{name} as TH2 of 84 ieta x 72 iphi", found, "take a file of HCAL DQM")
    bins = np.asarray(histogram.values(flow=True), dtype=np.float64).T
    inside = bins[1:-1, 1:-1]
    if np.count_nonzero(bins) != np.count_nonzero(inside):
        raise FormatError(
            path, f"{name} with digis inside its axes", "some beyond", "take a file of HCAL DQM"
        )
    if histogram.classname == "TH2F" and inside.max() >= EXACT_FLOAT:
        raise CountsError(
            path,
            f"counts below {EXACT_FLOAT} in the TH2F {name}",
            f"{inside.max():.0f}, where its 32-bit floats stop counting",
            "take the files of single lumisections",
        )
    return inside


def _read_rechits(path: Path, source: _Source, grid: DqmGrid, progress: Progress) -> Values | None:
    held: Mapping[str, Any] = source.sections[0].planes(RECHITS)
    if not held:
        return None
    wanted = source.sections[0].planes(source.task)
    if any(set(section.planes(RECHITS)) != set(wanted) for section in source.sections):
        progress.note(f"{path.name}: RecHits of some depths only, left out")
        return None
    return _read(path, source, RECHITS, grid, progress)


def _events(folder: Any) -> int:
    """Return the events of a folder from its single-bin histogram, or `UNKNOWN_EVENTS`."""
    name = "RunInfo/NumberOfEvents"
    if name not in folder or not str(folder[name].classname).startswith("TH1"):
        return UNKNOWN_EVENTS
    values = folder[name].values()
    told = values.shape == (1,) and values[0] > 0 and values[0] == np.floor(values[0])
    return int(values[0]) if told else UNKNOWN_EVENTS
