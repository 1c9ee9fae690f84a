"""Images of jets: track momenta, ECAL crystals and HCAL towers round the hottest tower near a jet's axis.

Geometry of the published images: 25 x 25 towers, five crystals to a tower, rows along ieta and columns along iphi, and
a tower's energy spread evenly over its pixels. The same pixels go on into the endcaps, where crystals are otherwise.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter
from scipy.special import ndtr, ndtri

from calowatch.simulate.detector_jets import JetDetector, Seen
from calowatch.simulate.jets_events import ELECTRON, PHOTON

__all__ = ["PER_TOWER", "PIXELS", "TOWERS", "UNIT", "Images", "full_image", "picture", "tower_coordinate"]

Reals = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Spots = tuple[Ints, Reals, Reals, Reals]
"""Jet, position along eta and phi in towers, and energy in GeV of each spot."""

TOWERS = 25
"""Towers across an image."""
PER_TOWER = 5
"""Crystals across a tower."""
PIXELS = TOWERS * PER_TOWER
"""Pixels across an image."""
UNIT = 100.0
"""GeV of a pixel of value 1."""

# abs(eta) of the edges of HCAL towers 1 to 29, which the images' rows follow: JINST 3 S08004.
_EDGES = np.array(
    [0.087 * tower for tower in range(21)] + [1.83, 1.93, 2.043, 2.172, 2.322, 2.5, 2.65, 2.868, 3.0]
)
_WIDE_FROM = 20  # towers further out are 10 degrees wide, and shown as two halves
_BARREL_TOWERS = 17  # ECAL barrel
_SEARCH = 3  # towers to either side of the axis among which the hottest is sought
_GRID = TOWERS + 2 * _SEARCH
_MIDDLE = _GRID // 2
_LAST_CENTRE = 16  # abs(ieta): an image round a tower further out would leave the HCAL
_PHI_TOWERS = 72

_SPOTS = 8
# Share of the core, and the radii that hold half of core and tail; in crystals, each a Moliere radius wide
# (form: hep-ex/0001020), and in towers.
_LIGHT = (0.88, 0.25, 1.0)
_HADRON = (0.6, 0.8, 3.0)
_HADRON_DEEP = (0.75, 0.3, 1.1)
_Profile = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Images:
    """Images of jets.

    Parameters
    ----------
    fine
        Tracks and ECAL, shape (jet, 2, 125, 125): rows are ieta, columns iphi, in units of `UNIT` GeV.
    towers
        HCAL, shape (jet, 25, 25), the same unit.
    ieta, iphi
        Tower at the centre; ieta has no zero, iphi counts from 1 at phi 0.
    inside
        Whether the image lies within the HCAL: no hottest tower beyond ieta 16.
    """

    fine: Singles
    towers: Singles
    ieta: Ints
    iphi: Ints
    inside: Flags


def full_image(fine: Singles, towers: Singles) -> Singles:
    """Return images of three channels, (jet, 3, 125, 125): a tower's energy is spread evenly over its 25 pixels.

    Examples
    --------
    >>> image = full_image(np.zeros((1, 2, 125, 125), np.float32), np.ones((1, 25, 25), np.float32))
    >>> image.shape, float(image[0, 2].sum().round(3))
    ((1, 3, 125, 125), 625.0)
    """
    spread = np.repeat(np.repeat(towers / PER_TOWER**2, PER_TOWER, axis=1), PER_TOWER, axis=2)
    return np.concatenate([fine, spread[:, None].astype(np.float32)], axis=1)


def tower_coordinate(eta: Reals) -> Reals:
    """Return where along eta a particle is, counted in towers: 0 to 1 is tower 1, -1 to 0 tower -1.

    Examples
    --------
    >>> tower_coordinate(np.array([0.0435, -0.0435, 2.9])).round(2).tolist()
    [0.5, -0.5, 28.24]
    """
    found = np.sign(eta) * np.interp(np.abs(eta), _EDGES, np.arange(len(_EDGES)), right=1e6)
    return np.asarray(found, np.float64)


def _phi_coordinate(phi: Reals) -> Reals:
    return np.asarray(np.remainder(phi, 2 * np.pi) * (_PHI_TOWERS / (2 * np.pi)), np.float64)


@dataclass(frozen=True, eq=False)
class _Grid:
    """Towers round a middle one for each jet: ``row`` is its coordinate along eta, ``column`` that along phi."""

    row: Ints
    column: Ints

    def local(self, jet: Ints, along_eta: Reals, along_phi: Reals) -> tuple[Reals, Reals]:
        """Return coordinates from the lower edges of each jet's middle tower."""
        half = _PHI_TOWERS / 2
        columns = np.remainder(along_phi - self.column[jet] + half, _PHI_TOWERS) - half
        return along_eta - self.row[jet], columns

    def filled(self, spots: Spots, towers: int, per: int) -> Reals:
        """Return energy per cell, shape (jet, side, side), with ``per`` cells to a side of a tower."""
        jet, along_eta, along_phi, energy = spots
        side = towers * per
        rows, columns = (part + towers // 2 for part in self.local(jet, along_eta, along_phi))
        inside = (rows >= 0) & (rows < towers) & (columns >= 0) & (columns < towers) & (energy > 0)
        at_row, at_column = ((part[inside] * per).astype(np.int64) for part in (rows, columns))
        cell = (jet[inside] * side + at_row) * side + at_column
        n = len(self.row)
        filled = np.bincount(cell, energy[inside], n * side * side)
        return np.asarray(filled, np.float64).reshape(n, side, side)


def picture(seen: Seen, axis: tuple[Reals, Reals], detector: JetDetector, rng: np.random.Generator) -> Images:
    """Return an image of each jet.

    Parameters
    ----------
    seen
        What the detector makes of the particles round the jets.
    axis
        Pseudorapidity and azimuth of each jet.
    detector
        Its numbers.
    rng
        Draws spots of showers and noise.
    """
    row = np.floor(tower_coordinate(axis[0])).astype(np.int64)
    column = np.floor(_phi_coordinate(axis[1])).astype(np.int64)
    seen = seen.taken(_near(seen, _Grid(row, column)) | seen.tracked)
    towers = _hcal(seen, _Grid(row, column), detector, rng)
    up, left = _hottest(towers)
    window = np.arange(TOWERS) - TOWERS // 2
    jets = np.arange(len(row))[:, None, None]
    cut = towers[jets, (up[:, None] + window)[:, :, None], (left[:, None] + window)[:, None, :]]
    centre, turned = row + up - _MIDDLE, np.remainder(column + left - _MIDDLE, _PHI_TOWERS)
    grid = _Grid(centre, turned)
    fine = np.stack([_tracks(seen, grid), _ecal(seen, grid, detector, rng)], axis=1) / UNIT
    ieta = np.where(centre >= 0, centre + 1, centre)
    return Images(
        fine.astype(np.float32),
        (cut / UNIT).astype(np.float32),
        ieta,
        turned + 1,
        np.abs(ieta) <= _LAST_CENTRE,
    )


def _hottest(towers: Reals) -> tuple[Ints, Ints]:
    """Return row and column of the tower with most energy among 7 x 7 round the middle; the middle one if all are 0."""
    near = slice(_MIDDLE - _SEARCH, _MIDDLE + _SEARCH + 1)
    flat = towers[:, near, near].reshape(len(towers), -1)
    middle = flat.shape[1] // 2
    best = np.where(flat[:, middle] == flat.max(axis=1), middle, flat.argmax(axis=1))
    up, left = np.divmod(best, 2 * _SEARCH + 1)
    return up + _MIDDLE - _SEARCH, left + _MIDDLE - _SEARCH


def _tracks(seen: Seen, grid: _Grid) -> Reals:
    """Return momenta of tracks, drawn where they point at the vertex, as the published images have them."""
    kept = seen.tracked
    along = tower_coordinate(seen.eta[kept]), _phi_coordinate(seen.phi[kept])
    return grid.filled((seen.jet[kept], *along, seen.track_pt[kept]), TOWERS, PER_TOWER)


def _near(seen: Seen, grid: _Grid) -> Flags:
    """Return which particles meet the calorimeter where the image, or a tower or two beyond it, is."""
    rows, columns = grid.local(seen.jet, tower_coordinate(seen.hit_eta), _phi_coordinate(seen.hit_phi))
    reach = _GRID / 2 + 2
    return (np.abs(rows) < reach) & (np.abs(columns) < reach)


def _spots(
    seen: Seen, energy: Reals, profile: _Profile, detector: JetDetector, rng: np.random.Generator
) -> Spots:
    """Return the energy of showers in spots of equal energy; radii of the profile are in towers."""
    left = energy > 0
    n, spots = int(left.sum()), _SPOTS if detector.spread else 1
    along_eta, along_phi = tower_coordinate(seen.hit_eta[left]), _phi_coordinate(seen.hit_phi[left])
    share, core, tail = profile
    u = rng.random((n, spots))
    radius = np.where(rng.random((n, spots)) < share, core, tail) * np.sqrt(u / (1 - u))
    turn = rng.uniform(0, 2 * np.pi, (n, spots))
    radius = radius if detector.spread else np.zeros((n, spots))
    return (
        np.repeat(seen.jet[left], spots),
        (along_eta[:, None] + radius * np.cos(turn)).ravel(),
        (along_phi[:, None] + radius * np.sin(turn)).ravel(),
        np.repeat(energy[left] / spots, spots),
    )


def _ecal(seen: Seen, grid: _Grid, detector: JetDetector, rng: np.random.Generator) -> Reals:
    """Return energies of crystals above threshold, GeV."""
    light = (seen.kind == PHOTON) | (seen.kind == ELECTRON)
    narrow = (_LIGHT[0], _LIGHT[1] / PER_TOWER, _LIGHT[2] / PER_TOWER)
    wide = (_HADRON[0], _HADRON[1] / PER_TOWER, _HADRON[2] / PER_TOWER)
    parts = [
        _spots(seen, np.where(light, seen.ecal, 0.0), narrow, detector, rng),
        _spots(seen, np.where(light, 0.0, seen.ecal), wide, detector, rng),
    ]
    spots = tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))
    energy = grid.filled((spots[0], spots[1], spots[2], spots[3]), TOWERS, PER_TOWER)
    noisy = _noisy(energy, grid, detector, rng)
    return noisy * _read_out(noisy, grid, detector.readout)


def _read_out(energy: Reals, grid: _Grid, threshold: float) -> Flags:
    """Return which crystals are stored, shape (jet, 125, 125): 5 x 5 at a time, by their transverse energy.

    Above the threshold they are with all their neighbours, above half of it on their own.
    """
    n = len(energy)
    tower = energy.reshape(n, TOWERS, PER_TOWER, TOWERS, PER_TOWER).sum(axis=(2, 4))
    along = grid.row[:, None] + np.arange(TOWERS) - TOWERS // 2 + 0.5
    eta = np.interp(np.abs(along), np.arange(len(_EDGES)), _EDGES)
    transverse = tower / np.cosh(eta)[:, :, None]
    near = maximum_filter(transverse, size=(1, 3, 3), mode="constant")
    stored = (near >= threshold) | (transverse >= threshold / 2)
    return np.repeat(np.repeat(stored, PER_TOWER, axis=1), PER_TOWER, axis=2)


def _noisy(energy: Reals, grid: _Grid, detector: JetDetector, rng: np.random.Generator) -> Reals:
    """Return energies of crystals with noise, those below threshold cut.

    Of the crystals without energy, only those are drawn whose noise passes the threshold: one in 740 at three sigma.
    """
    tower = grid.row[:, None] + np.arange(PIXELS) // PER_TOWER - TOWERS // 2
    barrel = (tower >= -_BARREL_TOWERS) & (tower < _BARREL_TOWERS)
    noise = np.where(barrel, detector.crystal_noise, detector.endcap_noise)
    found = np.zeros(energy.shape)
    hit = np.nonzero(energy)
    level = noise[hit[0], hit[1]]
    value = energy[hit] + level * rng.standard_normal(len(level))
    found[hit] = np.where(value > detector.crystal_cut * level, value, 0.0)
    if not noise.any():
        return found
    chance = float(ndtr(-detector.crystal_cut))
    picked = np.unique(rng.integers(0, found.size, rng.binomial(found.size, chance)))
    picked = picked[energy.reshape(-1)[picked] == 0]
    jet, line, _ = np.unravel_index(picked, found.shape)
    found.reshape(-1)[picked] = noise[jet, line] * -ndtri(chance * (1 - rng.random(len(picked))))
    return found


def _hcal(seen: Seen, grid: _Grid, detector: JetDetector, rng: np.random.Generator) -> Reals:
    """Return energies of towers above threshold, GeV, shape (jet, 31, 31)."""
    energy = grid.filled(_spots(seen, seen.hcal, _HADRON_DEEP, detector, rng), _GRID, 1)
    noise = detector.tower_noise * rng.standard_normal(energy.shape)
    narrow = energy + noise
    narrow = np.where(narrow > detector.tower_cut, narrow, 0.0)
    # Towers of 10 degrees: pairs of columns, which one is first depends on where the jet is.
    first = (grid.column[:, None] - _MIDDLE + np.arange(_GRID)) % 2 == 0
    at = np.arange(_GRID)
    left = np.clip(np.where(first, at, at - 1), 0, None)
    right = np.clip(np.where(first, at + 1, at), None, _GRID - 1)
    jets, rows = np.arange(len(energy))[:, None, None], at[None, :, None]
    pair = energy[jets, rows, left[:, None, :]] + energy[jets, rows, right[:, None, :]]
    pair = pair + noise[jets, rows, left[:, None, :]]
    half = np.where(pair > detector.tower_cut, pair / 2, 0.0)
    tower = grid.row[:, None] + at - _MIDDLE
    wide = (tower >= _WIDE_FROM) | (tower < -_WIDE_FROM)
    return np.where(wide[:, :, None], half, narrow)
