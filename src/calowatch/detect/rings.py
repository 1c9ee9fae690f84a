"""Rings judged as a whole: their rate against what the other rings of the run lead one to expect.

Within a ring, a loss common to all its channels looks like less luminosity. Luminosity and pile-up, however, move all
rings of a subdetector alike; a ring that goes its own way by more than a third fails, and so does a subdetector
that falls silent while there are events.
"""

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import sparse

from calowatch.detect.scan import Cells
from calowatch.detect.units import UnitSet

__all__ = ["ring_cells"]

Floats = npt.NDArray[np.float64]

_SIGMA = (
    0.13  # ln(rate): rings differ in how they follow pile-up, and prescale steps move them by a few per cent
)
_APART = np.log(10.0)  # subdetectors follow pile-up within this factor of each other
_SATURATED = 4.0  # hits per event: where p is almost one its rate is a lower bound, and more is no excess
_FAINTEST = np.log(0.02)  # of the healthy rate: fainter than this no collisions are


def ring_cells(
    occupancy: xr.Dataset,
    expectation: xr.Dataset,
    usable: npt.NDArray[np.bool_],
    testable: npt.NDArray[np.bool_],
) -> tuple[Cells, UnitSet] | None:
    """Return rings as cells, one column each, and as units; None where the expectation knows no healthy rates.

    Parameters
    ----------
    occupancy, expectation
        The run; the expectation of a reference holds ``rate_shift`` (ls, ring), ``usual_rate``
        (ring,) and ``ring_of`` (channel,).
    usable
        Lumisections with enough events, shape (ls,).
    testable
        Channels that take part, shape (channel,).
    """
    if "rate_shift" not in expectation or not usable.any():
        return None
    group = np.where(testable, expectation["ring_of"].to_numpy(), -1)
    members = [np.flatnonzero(group == ring).astype(np.int64) for ring in range(expectation.sizes["ring"])]
    rings = [ring for ring, inside in enumerate(members) if len(inside)]
    members = [members[ring] for ring in rings]
    if not rings:
        return None
    heads = np.array([inside[0] for inside in members])
    subdet = occupancy["subdet"].to_numpy()[heads]
    shift = expectation["rate_shift"].to_numpy()[:, rings]
    common = _common_shift(shift, subdet)
    trials = np.where(usable, expectation["n_trials"].to_numpy(), 0.0)[:, None]
    counts, p = _ring_sums(occupancy, expectation, members, common - shift)
    saturated = expectation["usual_rate"].to_numpy()[rings] > _SATURATED
    counts[:, saturated] = np.minimum(counts, trials * p)[:, saturated]
    cells = Cells(counts * usable[:, None], trials, p, np.full(len(rings), _SIGMA))
    return cells, _ring_units(occupancy, heads, members)


def _common_shift(shift: Floats, subdet: npt.NDArray[np.str_]) -> Floats:
    """Return what each ring's shift should be, shape (ls, ring): the median of its subdetector.

    A subdetector far below the others, or below any beam, is held against the brightest of them.
    """
    names = sorted(set(subdet.tolist()))
    medians = {name: np.median(shift[:, subdet == name], axis=1) for name in names}
    brightest = np.max(list(medians.values()), axis=0)
    common = np.empty_like(shift)
    for name in names:
        own = np.where(medians[name] < brightest - _APART, brightest, medians[name])
        common[:, subdet == name] = np.maximum(own, _FAINTEST)[:, None]
    return common


def _ring_sums(
    occupancy: xr.Dataset, expectation: xr.Dataset, members: list[npt.NDArray[np.int64]], away: Floats
) -> tuple[Floats, Floats]:
    """Return the digis of the median channel of each ring, and the p that it should have.

    The median, so that no single failing unit makes the ring fail; one channel's worth of trials, since what the
    shared rate leaves uncertain is common to all channels, and their number adds no certainty.
    """
    all_counts, all_p = occupancy["counts"].to_numpy(), expectation["p"].to_numpy()
    counts, p = np.empty(away.shape), np.empty(away.shape)
    for column, inside in enumerate(members):
        counts[:, column] = np.floor(np.median(all_counts[:, inside], axis=1))
        rate = -np.log1p(-np.median(all_p[:, inside], axis=1)) * np.exp(np.clip(away[:, column], -20.0, 20.0))
        p[:, column] = np.clip(-np.expm1(-rate), 1e-9, 1.0 - 1e-7)
    return counts, p


def _ring_units(
    occupancy: xr.Dataset, heads: npt.NDArray[np.int64], members: list[npt.NDArray[np.int64]]
) -> UnitSet:
    columns = [occupancy[name].to_numpy()[heads] for name in ("subdet", "ieta", "depth")]
    names = [f"{subdet}{ieta:+d}d{depth}" for subdet, ieta, depth in zip(*columns, strict=True)]
    alone = [np.array([column], dtype=np.int64) for column in range(len(names))]
    empty = sparse.csr_array(np.zeros((0, len(names)), np.float32))
    return UnitSet(names, ["ring"] * len(names), alone, members, empty)
