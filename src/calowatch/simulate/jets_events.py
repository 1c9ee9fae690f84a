"""Collisions by Pythia 8, as flat arrays of what can be seen: the generator behind jets and pile-up."""

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from calowatch.core.errors import InputError

__all__ = [
    "CHARGED",
    "COLUMNS",
    "ELECTRON",
    "ENERGY",
    "MUON",
    "NEUTRAL",
    "PHOTON",
    "PROCESSES",
    "HardEvents",
    "Particles",
    "hard_events",
    "minimum_bias",
]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

CHARGED, PHOTON, NEUTRAL, ELECTRON, MUON = range(5)
"""Kinds of particles: charged hadron, photon, neutral hadron, electron, muon."""

ENERGY = 8000.0
"""GeV in the centre of mass."""

_QCD = ("PDFinProcess:nQuarkIn = 3", "HardQCD:nQuarkNew = 3")
PROCESSES: dict[str, tuple[str, ...]] = {
    "gluon": (*_QCD, "HardQCD:gg2gg = on", "HardQCD:qqbar2gg = on"),
    "quark": (
        *_QCD,
        "HardQCD:qq2qq = on",
        "HardQCD:gg2qqbar = on",
        "HardQCD:qqbar2qqbarNew = on",
    ),
}
"""Hard processes whose two outgoing partons are of one class; quarks are u, d and s."""

_SEEDS = 900_000_000  # the largest seed that Pythia takes
_OUTGOING = -23
_FIRST_PARTON = 5  # where the two outgoing partons stand in a process with two incoming ones
_INVISIBLE = (12, 14, 16)
_VISIBLE_ETA = 3.1

# Sign of the charge of a particle with a positive number, hyperons that reach the calorimeter included.
_CHARGE = {11: -1, 13: -1, 211: 1, 321: 1, 2212: 1, 3222: 1, 3112: -1, 3312: -1, 3334: -1}

# What lives long enough decays only within the tracker: later it is stopped first.
_ALWAYS = (
    f"Beams:eCM = {ENERGY}",
    "Print:quiet = on",
    "Next:numberCount = 0",
    "Random:setSeed = on",
    "ParticleDecays:limitCylinder = on",
    "ParticleDecays:xyMax = 1290.",
    "ParticleDecays:zMax = 3170.",
)

# Without charmonium and bottomonium from the other scatters: 2 of 1000 of them, but a tenth of Pythia's time.
_HARD = ("MultipartonInteractions:processLevel = 2",)

COLUMNS = ("pt", "eta", "phi", "radius", "kind", "charge")
"""What is known of each particle."""


@dataclass(frozen=True, eq=False)
class Particles:
    """Visible particles that reach the detector, event after event.

    Parameters
    ----------
    offsets
        Where each event begins, and the end; shape (events + 1,).
    pt, eta, phi
        Transverse momentum in GeV, pseudorapidity and azimuth at production; shape (particles,).
    radius
        Transverse distance of production from the beam, mm.
    kind
        `CHARGED` and so on, int8.
    charge
        -1, 0 or 1, int8.
    """

    offsets: Ints
    pt: Floats
    eta: Floats
    phi: Floats
    radius: Floats
    kind: npt.NDArray[np.int8]
    charge: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def event(self) -> Ints:
        """Return the event of each particle, shape (particles,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def taken(self, keep: npt.NDArray[np.bool_]) -> "Particles":
        """Return some of the particles, the events staying what they are."""
        kept = np.concatenate([[0], np.cumsum(keep)])[self.offsets]
        return self.picked(kept, keep)

    def picked(self, offsets: Ints, at: npt.NDArray[Any]) -> "Particles":
        """Return particles by number or flag, divided into events anew."""
        return Particles(offsets, *(getattr(self, name)[at] for name in COLUMNS))


@dataclass(frozen=True, eq=False)
class HardEvents:
    """Events with two hard partons.

    Parameters
    ----------
    particles
        What can be seen.
    parton_eta, parton_phi
        Directions of the outgoing partons of the hard process before they branch, recoil against radiation of the
        incoming ones included; shape (events, 2).
    """

    particles: Particles
    parton_eta: Floats
    parton_phi: Floats


def _library() -> Any:
    try:
        return importlib.import_module("pythia8mc")
    except ImportError as error:
        raise InputError(
            "simulation of jets", "Pythia 8", "that it is not installed", "pip install 'calowatch[physics]'"
        ) from error


def _generator(settings: Sequence[str], seed: int, hook: Any = None) -> Any:
    library = _library()
    generator = library.Pythia("", False)
    for line in (*_ALWAYS, *settings, f"Random:seed = {seed}"):
        if not generator.readString(line):
            raise RuntimeError(f"Pythia does not know the setting {line}")
    if hook is not None:
        generator.setUserHooksPtr(hook)
    if not generator.init():
        raise RuntimeError("Pythia could not be started")
    return generator


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(1, _SEEDS))


def hard_events(
    kind: str, reach: float, batch: int, rng: np.random.Generator, pt_hat: tuple[float, float]
) -> Iterator[HardEvents]:
    """Yield hard events without end, some at a time.

    Parameters
    ----------
    kind
        A key of `PROCESSES`.
    reach
        Events without any outgoing parton at abs(eta) below this are dropped before they are showered.
    batch
        How many at a time.
    rng
        Gives the generator its seed.
    pt_hat
        Range of the hard process's transverse momentum, GeV.
    """
    hook = _central_hook(reach)
    low, high = pt_hat
    limits = (f"PhaseSpace:pTHatMin = {low}", f"PhaseSpace:pTHatMax = {high}")
    generator = _generator((*_HARD, *PROCESSES[kind], *limits), _seed(rng), hook)
    while True:
        yield _hard(generator.nextBatch(batch))


def _central_hook(reach: float) -> Any:
    library = _library()

    class Central(library.UserHooks):  # type: ignore[misc,name-defined]
        """Stops events whose hard partons both go too far forward."""

        def __init__(self) -> None:
            library.UserHooks.__init__(self)

        def canVetoProcessLevel(self) -> bool:  # noqa: N802 - Pythia's name
            return True

        def doVetoProcessLevel(self, process: Any) -> bool:  # noqa: N802 - Pythia's name
            return all(abs(process[_FIRST_PARTON + number].eta()) > reach for number in (0, 1))

    return Central()


def minimum_bias(
    n: int, batch: int, rng: np.random.Generator, pt_min: float, process: str = "inelastic"
) -> Iterator[Particles]:
    """Yield ``n`` collisions, some at a time, with particles above a transverse momentum in GeV.

    ``process`` is the name of one of Pythia's soft processes: inelastic, nonDiffractive.
    """
    generator = _generator((f"SoftQCD:{process} = on",), _seed(rng))
    made = 0
    while made < n:
        columns = _columns(generator.nextBatch(min(batch, n - made)))
        particles = _visible(columns)
        yield particles.taken(particles.pt > pt_min)
        made += len(particles)


@dataclass(frozen=True, eq=False)
class _Columns:
    """The event record as flat arrays; lengths in mm, momenta in GeV."""

    offsets: Ints
    number: npt.NDArray[np.int32]
    status: npt.NDArray[np.int32]
    daughters: tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]
    momentum: tuple[npt.NDArray[np.float64], ...]
    vertex: tuple[npt.NDArray[np.float64], ...]


def _columns(events: Any) -> _Columns:
    """Return the event record without a loop over particles: views into the arrays that Pythia filled."""
    layout = events.prt.layout
    record = layout.content
    position = record["vProd"]
    point = position.content
    at = np.asarray(position.index.data)
    vertex = tuple(_picked(point[name].data, at) for name in ("px", "py"))
    momentum = tuple(np.asarray(record["p"][name].data) for name in ("px", "py", "pz"))
    return _Columns(
        np.asarray(layout.offsets.data, np.int64),
        np.asarray(record["id"].data),
        np.asarray(record["status"].data),
        (np.asarray(record["daughter1"].data), np.asarray(record["daughter2"].data)),
        momentum,
        vertex,
    )


def _picked(values: Any, at: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """Return values by index, zero where there is none."""
    padded = np.append(np.asarray(values, np.float64), 0.0)
    return padded[at]


def _directions(px: Any, py: Any, pz: Any) -> tuple[Floats, Floats, Floats]:
    pt = np.hypot(px, py)
    eta = np.arcsinh(pz / np.maximum(pt, 1e-9))
    return pt.astype(np.float32), eta.astype(np.float32), np.arctan2(py, px).astype(np.float32)


def _hard(events: Any) -> HardEvents:
    columns = _columns(events)
    first = columns.offsets[:-1] + _FIRST_PARTON
    partons = np.stack([first, first + 1], axis=1)
    if (columns.status[partons] != _OUTGOING).any():
        raise RuntimeError("the event record of Pythia is ordered otherwise than it was")
    partons = _before_branching(columns, partons)
    _, eta, phi = _directions(*(part[partons] for part in columns.momentum))
    return HardEvents(_visible(columns), eta, phi)


def _before_branching(columns: _Columns, partons: Ints) -> Ints:
    """Return the last copies of partons: a copy that only recoils is the one daughter of the one before."""
    first, last = columns.daughters
    at = partons
    while True:
        one, other = first[at], last[at]
        copied = (one == other) & (one > 0)
        if not copied.any():
            return at
        at = np.where(copied, columns.offsets[:-1, None] + one, at)


def _visible(columns: _Columns) -> Particles:
    """Return final particles but neutrinos, as far forward as any image reaches."""
    number = np.abs(columns.number)
    pt, eta, phi = _directions(*columns.momentum)
    keep = (columns.status > 0) & (np.abs(eta) < _VISIBLE_ETA) & ~np.isin(number, _INVISIBLE) & (pt > 0)
    kept = np.concatenate([[0], np.cumsum(keep)])[columns.offsets]
    charge = _charges(columns.number[keep])
    radius = np.hypot(*(part[keep] for part in columns.vertex)).astype(np.float32)
    kind = _kinds(number[keep], charge)
    return Particles(kept, pt[keep], eta[keep], phi[keep], radius, kind, charge)


def _charges(number: npt.NDArray[np.int32]) -> npt.NDArray[np.int8]:
    codes = np.array(sorted(_CHARGE), np.int32)
    signs = np.array([_CHARGE[int(code)] for code in codes], np.int8)
    at = np.minimum(np.searchsorted(codes, np.abs(number)), len(codes) - 1)
    known = codes[at] == np.abs(number)
    return np.where(known, signs[at] * np.sign(number), 0).astype(np.int8)


def _kinds(number: npt.NDArray[np.int32], charge: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    kind = np.where(charge != 0, CHARGED, NEUTRAL).astype(np.int8)
    for code, name in ((22, PHOTON), (11, ELECTRON), (13, MUON)):
        kind[number == code] = name
    return kind
