"""Quark and gluon jets: Pythia 8 collisions, pile-up, a detector, anti-kT jets, and images round the hottest tower.

Selection of the published set (arXiv 1902.08276): 8 TeV, hard processes with two gluons or two light quarks (u, d, s)
in the final state, pT-hat 80 to 170 GeV, a jet matched to one of the two hard partons, hottest tower within ieta 16.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from calowatch.core.errors import InputError
from calowatch.core.provenance import versions
from calowatch.io.jets import CLASSES
from calowatch.simulate.chunks import Arrays, Chunk, ChunkPlan, chunks_of
from calowatch.simulate.detector_jets import JetDetector, measure, see
from calowatch.simulate.jets_events import COLUMNS, HardEvents, Particles, hard_events
from calowatch.simulate.jets_finding import MATCH, Jets, matched, measured_jets, true_jets, turn
from calowatch.simulate.jets_images import Images, picture, tower_coordinate
from calowatch.simulate.pileup import PileupLibrary, open_library

__all__ = ["CLASSES", "JetSettings", "collisions_each", "jet_chunk", "jet_plan", "matching_chance"]

Singles = npt.NDArray[np.float32]
Reals = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_VERSION = 2  # of the generator: raised when the same seed gives other jets
_REACH = 0.7  # in eta beyond the jets': partons further out would have to be pushed back by as much
_FALL = 0.31  # see `matching_chance`
_KEEP_PHI = (
    1.6  # particles further away in azimuth are not looked at; one that turns by this much does not arrive
)
_KEEP_TOWERS = 20.0  # likewise in eta: an image ends 15.5 towers from the axis at most


@dataclass(frozen=True)
class JetSettings:
    """What is generated.

    Parameters
    ----------
    n
        Jets, half of them of each class.
    seed
        One seed gives the same jets, on any number of workers.
    pileup
        Mean number of other collisions in the same crossing.
    pileup_spread
        Standard deviation of that mean between crossings.
    pt, eta
        Range of the measured transverse momentum in GeV, and largest abs(eta) of jets.
    pt_hat
        Range of the hard process's transverse momentum in GeV.
    chunk
        Jets made together; they share their part of the library of pile-up with no other chunk.
    batch
        Collisions generated at a time.
    match
        Whether quark jets are dropped at random so that both classes have one distribution of pT.
    detector
        Numbers of the detector.
    """

    n: int
    seed: int = 0
    pileup: float = 21.0
    pileup_spread: float = 5.0
    pt: tuple[float, float] = (90.0, 170.0)
    eta: float = 1.37
    pt_hat: tuple[float, float] = (80.0, 170.0)
    chunk: int = 1000
    batch: int = 50
    match: bool = True
    detector: JetDetector = field(default_factory=JetDetector)

    def fingerprint(self) -> dict[str, Any]:
        """Return all that decides the jets, besides their number and the library."""
        told = {name: value for name, value in asdict(self).items() if name != "n"}
        return {"version": _VERSION, "libraries": versions("pythia8mc", "fastjet"), **told}


@dataclass(frozen=True)
class _Task:
    """What every chunk is told: it travels to other processes, so the library is named, not held."""

    settings: JetSettings
    library: Path | None
    each: int


def jet_plan(settings: JetSettings, library: PileupLibrary | None) -> ChunkPlan:
    """Return the chunks that make up a set of jets; ``library`` may be missing where there is no pile-up.

    Raises
    ------
    InputError
        When the library has fewer collisions than there are chunks.
    """
    chunks = chunks_of(settings.n, settings.chunk, settings.seed)
    each = 0 if library is None else collisions_each(settings, len(library))
    held = None if library is None else dict(library.manifest)
    if held is not None:
        held.pop("provenance", None)
    task = _Task(settings, None if library is None else library.folder.resolve(), each)
    fingerprint = {"n": settings.n, "jets": settings.fingerprint(), "pileup": held}
    return ChunkPlan(partial(jet_chunk, task), chunks, fingerprint, "generating jets")


def collisions_each(settings: JetSettings, collisions: int) -> int:
    """Return how many collisions of a library each chunk has for itself.

    Raises
    ------
    InputError
        When there is not one for each: chunks would share it, and with it the sides of a split.

    Examples
    --------
    >>> collisions_each(JetSettings(40_000), 100_000)
    2500
    """
    chunks = -(-settings.n // settings.chunk)
    if collisions < chunks:
        raise InputError(
            "--library-size",
            f"at least {chunks} collisions, one for each chunk of jets",
            f"{collisions}",
            "give a larger --library-size or --chunk, or a smaller --n",
        )
    return collisions // chunks


def jet_chunk(task: _Task, chunk: Chunk) -> Arrays:
    """Return the jets of a chunk: half gluons, half quarks, shuffled.

    Returns
    -------
    ``y``, ``pt``, ``m0``, ``eta``, ``phi``, the same of the true jet as ``gen_pt`` and so on, ``pileup`` and ``chunk``,
    shape (n,); ``towers`` as in `Images`; and of the fine channels what is not zero: ``lengths`` (per jet), ``index``
    (in the flattened image of two channels) and ``value``.
    """
    share = (0, 0)
    library = None
    if task.library is not None and task.settings.pileup > 0:
        library = open_library(task.library)
        share = chunk.number * task.each, (chunk.number + 1) * task.each
    rows: list[dict[str, npt.NDArray[Any]]] = []
    for label, kind in enumerate(CLASSES):
        wanted = (chunk.size + label) // 2
        maker = _Maker(task.settings, kind, library, share, chunk.rng(label))
        rows.append(_some(maker.jets(), wanted, label))
    together = {name: np.concatenate([part[name] for part in rows]) for name in rows[0]}
    order = chunk.rng(len(CLASSES)).permutation(chunk.size)
    found = {name: values[order] for name, values in together.items()}
    found["chunk"] = np.full(chunk.size, chunk.number, np.int32)
    return _sparse(found)


def _some(
    parts: Iterator[dict[str, npt.NDArray[Any]]], wanted: int, label: int
) -> dict[str, npt.NDArray[Any]]:
    held: list[dict[str, npt.NDArray[Any]]] = []
    n = 0
    while not held or n < wanted:
        held.append(next(parts))
        n += len(held[-1]["pt"])
    found = {name: np.concatenate([part[name] for part in held])[:wanted] for name in held[0]}
    found["y"] = np.full(wanted, label, np.int8)
    return found


def _sparse(found: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    fine = found.pop("fine").reshape(len(found["y"]), -1)
    jet, index = np.nonzero(fine)
    found["lengths"] = np.bincount(jet, minlength=len(fine)).astype(np.int32)
    found["index"] = index.astype(np.uint16)
    found["value"] = fine[jet, index]
    return found


@dataclass(frozen=True, eq=False)
class _Maker:
    """Jets of one class."""

    settings: JetSettings
    kind: str
    library: PileupLibrary | None
    share: tuple[int, int]
    rng: np.random.Generator

    def jets(self) -> Iterator[dict[str, npt.NDArray[Any]]]:
        """Yield jets without end, some at a time."""
        settings = self.settings
        for events in hard_events(
            self.kind, settings.eta + _REACH, settings.batch, self.rng, settings.pt_hat
        ):
            jets = true_jets(events, settings.eta + MATCH)
            jets = jets.taken(matched(jets, events))
            found = self._observed(events, jets) if len(jets.pt) else None
            if found is not None:
                yield found

    def _observed(self, events: HardEvents, jets: Jets) -> dict[str, npt.NDArray[Any]] | None:
        """Return what is measured of those jets that pass the selection; None where none does."""
        rng, settings = self.rng, self.settings
        counts = self._crossings(len(jets.pt))
        hard = _around(_of_jets(events.particles, jets.event), jets)
        vertex = rng.normal(0.0, settings.detector.vertex_spread, len(jets.pt))[hard.event()]
        particles, z = hard, vertex
        if self.library is not None:
            drawn = _around(self.library.drawn(counts, self.share, rng), jets)
            others = rng.normal(0.0, settings.detector.vertex_spread, len(drawn.pt))
            particles, z = _merged(hard, drawn, vertex, others)
        seen = see(particles, z, settings.detector, rng)
        measured = measured_jets(measure(seen), jets)
        low, high = settings.pt
        good = (measured.pt > low) & (measured.pt < high) & (np.abs(measured.eta) < settings.eta)
        if settings.match:
            good &= rng.random(len(good)) < matching_chance(self.kind, measured.pt, low)
        chosen = np.flatnonzero(good)
        if not len(chosen):
            return None
        number = np.full(len(good), -1)
        number[chosen] = np.arange(len(chosen))
        mine = seen.taken(good[seen.jet])
        mine = mine.of_jets(number[mine.jet])
        images = picture(mine, (measured.eta[chosen], measured.phi[chosen]), settings.detector, rng)
        return _rows(images, measured.taken(chosen), jets.taken(chosen), counts[chosen])

    def _crossings(self, n: int) -> Ints:
        """Return the number of other collisions of each crossing."""
        mean, spread = self.settings.pileup, self.settings.pileup_spread
        if self.library is None or mean <= 0:
            return np.zeros(n, np.int64)
        means = self.rng.gamma((mean / spread) ** 2, spread**2 / mean, n) if spread > 0 else np.full(n, mean)
        return self.rng.poisson(means).astype(np.int64)


def _rows(images: Images, measured: Jets, jets: Jets, counts: Ints) -> dict[str, npt.NDArray[Any]]:
    rows = {
        "pt": measured.pt,
        "m0": measured.mass,
        "eta": measured.eta,
        "phi": measured.phi,
        "gen_pt": jets.pt,
        "gen_m0": jets.mass,
        "gen_eta": jets.eta,
        "gen_phi": jets.phi,
    }
    found: dict[str, npt.NDArray[Any]] = {name: column.astype(np.float32) for name, column in rows.items()}
    found |= {"pileup": counts.astype(np.int32), "fine": images.fine, "towers": images.towers}
    return {name: values[images.inside] for name, values in found.items()}


def matching_chance(kind: str, pt: Reals, lowest: float) -> Reals:
    """Return the chance to keep a jet, such that both classes have one distribution of the measured pT.

    Gluon over quark falls as pT to the power -0.31 (fitted to 8000 jets of 90 to 170 GeV, before any was dropped), so
    that 6 % of the quark jets have to go. It is part of the generator: no chunk needs to know another.

    Parameters
    ----------
    kind
        gluon or quark.
    pt
        Measured transverse momentum, GeV.
    lowest
        Where the selection begins, GeV.

    Examples
    --------
    >>> matching_chance("quark", np.array([90.0, 170.0]), 90.0).round(2).tolist()
    [1.0, 0.82]
    """
    # Below the selection all are kept; cut there, since a pT of zero has no such power.
    return (np.maximum(pt, lowest) / lowest) ** -_FALL if kind == "quark" else np.ones_like(pt)


def _of_jets(particles: Particles, events: Ints) -> Particles:
    """Return the particles of the event of each jet: one event per jet."""
    length = np.diff(particles.offsets)[events]
    offsets = np.concatenate([[0], np.cumsum(length)])
    at = np.arange(offsets[-1]) + np.repeat(particles.offsets[events] - offsets[:-1], length)
    return particles.picked(offsets, at)


def _around(particles: Particles, jets: Jets) -> Particles:
    """Return the particles round each jet: all that can reach its image, vertices 0.5 m off included."""
    of = particles.event()
    towers = tower_coordinate(np.asarray(particles.eta, np.float64)) - tower_coordinate(jets.eta)[of]
    near = np.abs(turn(particles.phi - jets.phi[of])) < _KEEP_PHI
    return particles.taken(near & (np.abs(towers) < _KEEP_TOWERS))


def _merged(one: Particles, other: Particles, z_one: Reals, z_other: Reals) -> tuple[Particles, Reals]:
    """Return particles of two sources, event by event, and their vertices."""
    event = np.concatenate([one.event(), other.event()])
    order = np.argsort(event, kind="stable")
    offsets = one.offsets + other.offsets
    joined = Particles(
        offsets,
        *(np.concatenate([getattr(one, name), getattr(other, name)])[order] for name in COLUMNS),
    )
    return joined, np.concatenate([z_one, z_other])[order]
