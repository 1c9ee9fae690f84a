"""Electrons and photons of one transverse momentum, as images of the calorimeter's barrel: 32 x 32 crystals each.

Rows are ieta, columns iphi; the crystal with most energy is at [15, 15]. No pile-up, no gaps between crystals or
modules: parametrised showers, not data.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from calowatch.core.errors import InputError
from calowatch.io.egamma import CLASSES
from calowatch.simulate.chunks import Arrays, Chunk
from calowatch.simulate.egamma_readout import CROP, SEED, Readout, crop, measure, read_out, times
from calowatch.simulate.egamma_tracker import Particles, Tracker, cascade
from calowatch.simulate.showers_crystals import Entries, Grid, deposit

__all__ = ["CLASSES", "ETA_WIDTH", "PHI_WIDTH", "EgammaSettings", "Events", "dense", "generate", "make_chunk"]

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

ETA_WIDTH = 0.0174
PHI_WIDTH = float(np.pi / 180.0)
"""Of a crystal: 2 x 85 in eta, 360 in azimuth."""

_VERSION = 1  # of the generator: raised when the same seed gives other images
_ROWS = 85  # crystals from the middle of the barrel to its end
_CANVAS = (2 * 20, 2 * 30)  # room for a seed that is not where the particle would have gone
_AT_ONCE = 512
_SOFT = 2.0  # GeV below which a shower is small enough for a smaller grid
_GRIDS = (Grid(7, 3), Grid(13, 6))
_TILT = float(np.tan(np.radians(3.0)))  # of the crystals' axes, against rays that find the gaps


@dataclass(frozen=True)
class EgammaSettings:
    """What is generated.

    Parameters
    ----------
    pt
        Transverse momentum, in GeV.
    eta_max
        Pseudorapidity is flat up to this, but that images must lie within the barrel: their particle points to 1.20
        at most, as seen from the middle of the detector.
    charge
        ``minus``: electrons only, as the published mean image tells; ``both`` charges in equal parts.
    vertex_spread
        Of the vertex along the beam, in cm.
    empty_share
        Share of the photon images that are empty; 0 for none.
    tracker, readout
        Numbers of the detector.
    """

    pt: float = 50.0
    eta_max: float = 1.4
    charge: str = "minus"
    vertex_spread: float = 5.0
    empty_share: float = 0.0012
    tracker: Tracker = field(default_factory=Tracker)
    readout: Readout = field(default_factory=Readout)

    def __post_init__(self) -> None:
        if not 1.0 <= self.pt <= 1000.0:
            raise InputError("--pt", "1 to 1000 GeV", f"{self.pt:g}", "give 50, as in the published data")
        if not 0.0 < self.eta_max <= 1.479:
            raise InputError(
                "--eta-max", "above 0, up to 1.479 (the barrel)", f"{self.eta_max:g}", "give 1.4"
            )
        for option, value in (("--material", self.tracker.material), ("--field", self.tracker.field)):
            if not 0.0 <= value < math.inf:
                raise InputError(option, "a number, 0 or more", f"{value:g}", "leave it out for 1 and 3.8 T")
        if self.charge not in ("minus", "both"):
            raise InputError("--charge", "minus or both", self.charge, "leave it out for minus")

    def without_empty(self) -> "EgammaSettings":
        """Return the same without empty images."""
        return replace(self, empty_share=0.0)

    def document(self) -> dict[str, Any]:
        """Return all numbers and the generator's version, ready for JSON."""
        return {"version": _VERSION, **asdict(self)}


@dataclass(frozen=True)
class Events:
    """Images and their truth.

    Parameters
    ----------
    energy, time
        Shape (event, 32, 32), scaled as in the files; 0 where there is no hit.
    truth
        One number per event: eta, phi, pt, charge, conversions (photons that became pairs before the calorimeter),
        brems (share of the energy of an electron that it radiated; 0 for photons) and empty.
    """

    energy: Singles
    time: Singles
    truth: Mapping[str, npt.NDArray[Any]]


def generate(kind: str, n: int, settings: EgammaSettings, rng: np.random.Generator) -> Events:
    """Generate events of one class.

    Parameters
    ----------
    kind
        ``"electron"`` or ``"photon"``.
    n
        Events.
    settings
        What is generated.
    rng
        Random numbers.
    """
    parts = [_batch(kind, min(_AT_ONCE, n - first), settings, rng) for first in range(0, n, _AT_ONCE)]
    truth = {name: np.concatenate([part.truth[name] for part in parts]) for name in parts[0].truth}
    energy, time = (np.concatenate([getattr(part, name) for part in parts]) for name in ("energy", "time"))
    return Events(energy, time, truth)


def _batch(kind: str, n: int, settings: EgammaSettings, rng: np.random.Generator) -> Events:
    born, phi = _born(kind, n, settings, rng)
    arrived, conversions = cascade(born, settings.tracker, rng)
    canvas, origin = _canvas(arrived, born, phi, settings, rng)
    measured = measure(canvas, settings.readout, rng)
    energy, row, column = crop(measured)
    first = (origin[0] + row, origin[1] + column)
    image, time = _images(energy, first, np.cosh(born.eta), settings.readout, rng)
    empty = np.zeros(n, np.bool_)
    if kind == "photon":
        empty = rng.random(n) < settings.empty_share
        image[empty] = time[empty] = 0.0
    truth: dict[str, npt.NDArray[Any]] = {
        "pt": np.full(n, settings.pt, np.float32),
        "eta": born.eta.astype(np.float32),
        "phi": phi.astype(np.float32),
        "charge": born.charge.astype(np.int8),
        "conversions": conversions.astype(np.int16),
        "brems": _radiated(arrived, born).astype(np.float32),
        "empty": empty,
    }
    return Events(image, time, truth)


def _born(kind: str, n: int, settings: EgammaSettings, rng: np.random.Generator) -> tuple[Particles, Floats]:
    """Return particles at their vertices, each with azimuth 0, and their azimuths."""
    eta, z = _directions(n, settings, rng)
    charge = np.zeros(n)
    if kind == "electron":
        both = settings.charge == "both"
        charge = np.where(rng.random(n) < 0.5, 1.0, -1.0) if both else np.full(n, -1.0)
    zero = np.zeros(n)
    born = Particles(np.arange(n), settings.pt * np.cosh(eta), charge, zero, z, zero, eta)
    return born, rng.uniform(-np.pi, np.pi, n)


def _directions(n: int, settings: EgammaSettings, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return pseudorapidity and vertex of particles whose images lie within the barrel."""
    eta, z = np.empty(0), np.empty(0)
    while eta.size < n:
        some = rng.uniform(-settings.eta_max, settings.eta_max, 2 * n)
        vertex = settings.vertex_spread * rng.standard_normal(2 * n)
        row = _row_of(some, vertex, settings.tracker.radius)
        whole = (row >= SEED - _ROWS) & (row < SEED - _ROWS + 2 * _ROWS - CROP + 1)
        eta, z = np.append(eta, some[whole]), np.append(z, vertex[whole])
    return eta[:n], z[:n]


def _row_of(eta: Floats, z: Floats, radius: float) -> Ints:
    """Return the crystal that a straight track reaches, counted along the beam from the middle of the barrel."""
    return np.floor(np.arcsinh(z / radius + np.sinh(eta)) / ETA_WIDTH).astype(np.int64)


def _radiated(arrived: Particles, born: Particles) -> Floats:
    """Return the share of an electron's energy that did not arrive with it: the first particle of each event."""
    left = np.zeros(len(born))
    event, first = np.unique(arrived.event, return_index=True)
    same = arrived.charge[first] == born.charge[event]
    left[event[same]] = arrived.energy[first[same]]
    return np.where(born.charge != 0, 1.0 - left / born.energy, 0.0)


def _canvas(
    arrived: Particles, born: Particles, phi: Floats, settings: EgammaSettings, rng: np.random.Generator
) -> tuple[Singles, tuple[Ints, Ints]]:
    """Return the energy in crystals round where each event points, and the number of the canvas's first crystal."""
    radius = settings.tracker.radius
    origin = (
        _row_of(born.eta, born.z, radius) - _CANVAS[0] // 2,
        np.floor(phi / PHI_WIDTH).astype(np.int64) - _CANVAS[1] // 2,
    )
    entries = _entries(arrived, phi, radius)
    total = np.zeros(len(born) * _CANVAS[0] * _CANVAS[1])
    soft = arrived.energy < _SOFT
    for which, grid in zip((soft, ~soft), _GRIDS, strict=True):
        found = deposit(entries.some(which), rng, grid)
        event, lines = arrived.event[which], np.arange(grid.size)
        row = (found.x - origin[0][event])[:, None] + lines
        column = (found.y - origin[1][event])[:, None] + lines
        ieta = found.x[:, None] + lines
        good_row = (row >= 0) & (row < _CANVAS[0]) & (ieta >= -_ROWS) & (ieta < _ROWS)
        good = good_row[:, :, None] & ((column >= 0) & (column < _CANVAS[1]))[:, None, :]
        at = (event[:, None, None] * _CANVAS[0] + row[:, :, None]) * _CANVAS[1] + column[:, None, :]
        total += np.bincount(at[good], found.energy[good], total.size)
    return total.reshape(len(born), *_CANVAS).astype(np.float32), origin


def _entries(arrived: Particles, phi: Floats, radius: float) -> Entries:
    """Return where particles enter the crystals, whose axes are tilted by 3 degrees against rays from the middle."""
    eta = np.arcsinh(arrived.z / radius)
    # Polar angles of the track and of the ray from the middle, and of the track from the radius.
    polar = 2.0 * (np.arctan(np.exp(-eta)) - np.arctan(np.exp(-arrived.eta)))
    return Entries(
        energy=arrived.energy,
        x=eta / ETA_WIDTH,
        y=(phi[arrived.event] + arrived.phi) / PHI_WIDTH,
        slope_x=np.tan(polar) + np.where(eta < 0, -_TILT, _TILT),
        slope_y=np.tan(arrived.angle) + _TILT,
        photon=arrived.charge == 0,
    )


def _images(
    energy: Singles, first: tuple[Ints, Ints], cosh_eta: Floats, readout: Readout, rng: np.random.Generator
) -> tuple[Singles, Singles]:
    """Return images of energy and of time, scaled as in the files."""
    noisy = energy + np.float32(readout.noise) * rng.standard_normal(energy.shape, np.float32)
    ieta = first[0][:, None] + np.arange(CROP)
    noisy *= ((ieta >= -_ROWS) & (ieta < _ROWS))[:, :, None]
    seed = noisy[:, SEED, SEED].copy()
    # Noise may lift a neighbour above a seed of almost the same energy: the seed is what is read as the largest.
    noisy[:, SEED, SEED] = np.maximum(seed, np.nextafter(noisy.max(axis=(1, 2)), np.float32(np.inf)))
    hit = read_out(noisy, first, cosh_eta, readout)
    time = np.zeros_like(noisy)
    time[hit] = times(noisy[hit], readout, rng)
    scale = np.float32(readout.scale)
    return np.where(hit, scale * noisy, np.float32(0.0)), scale * time


def _sparse(events: Events) -> dict[str, npt.NDArray[Any]]:
    hit = (events.energy != 0).reshape(len(events.energy), -1)
    image, pixel = np.nonzero(hit)
    return {
        "count": hit.sum(axis=1).astype(np.uint16),
        "pixel": pixel.astype(np.uint16),
        "energy": events.energy.reshape(hit.shape)[image, pixel],
        "time": events.time.reshape(hit.shape)[image, pixel],
    }


def make_chunk(settings: EgammaSettings, chunk: Chunk) -> Arrays:
    """Return one chunk, its images without zeros; the chunk's stream is the label of its class.

    Returns
    -------
    Arrays
        ``count`` hits of each image, ``pixel`` (32 row + column), ``energy`` and ``time`` of each hit, and the truth.
    """
    events = generate(CLASSES[chunk.stream], chunk.size, settings, chunk.rng())
    return {**_sparse(events), **{f"truth_{name}": values for name, values in events.truth.items()}}


def dense(arrays: Mapping[str, npt.NDArray[Any]]) -> Singles:
    """Return the images of a chunk, [image, row, column, (energy, time)], as the files hold them.

    Examples
    --------
    >>> chunk = make_chunk(EgammaSettings(), Chunk(0, 0, 3, seed=1))
    >>> images = dense(chunk)
    >>> images.shape, images[..., 0].reshape(3, -1).argmax(axis=1).tolist()
    ((3, 32, 32, 2), [495, 495, 495])
    """
    count = arrays["count"]
    image = np.repeat(np.arange(len(count)), count)
    images = np.zeros((len(count), CROP * CROP, 2), np.float32)
    images[image, arrays["pixel"], 0] = arrays["energy"]
    images[image, arrays["pixel"], 1] = arrays["time"]
    return images.reshape(len(count), CROP, CROP, 2)
