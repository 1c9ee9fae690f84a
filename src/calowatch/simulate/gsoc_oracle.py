"""The exact likelihood ratio of simulated image sets: no classifier can rank their images better.

Where an image is scaled (to unit sum, or each ring to unit mean), its scales carry nothing any more. With ln(image)
normal, the density of what is left is the normal density integrated over all ln scales, which is closed:
with precision P of the cells and columns T, one per scale, that say which cells it moves,
ln p = -1/2 z'Pz + 1/2 z'PT (T'PT)^-1 T'Pz - 1/2 ln det C - 1/2 ln det T'PT, up to terms of the image alone.
So the oracle takes scaled and unscaled images alike.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import linalg

from calowatch.core.errors import InputError
from calowatch.simulate.gsoc import RunModel

__all__ = ["Oracle", "log_likelihood_ratio"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Scale = Literal["none", "image", "ring"]

_CHUNK = 1000


@dataclass(frozen=True, eq=False)
class _Terms:
    """z'Pz = sum z^2 / own - |z'taken|^2, and |z'lost|^2 is what the lost scales take from it; shapes (cell, ..)."""

    own: Floats
    taken: Floats
    lost: Floats
    constant: float


@dataclass(frozen=True, eq=False)
class Oracle:
    """Log density of images of one run, up to terms that are the same for all runs.

    Parameters
    ----------
    model
        The run.
    scale
        What the images no longer tell: ``none``; the scale of the ``image``; that of each ``ring``.
    keep
        Cells that are looked at, shape (64, 72); all active ones by default. Others may be masked or not.
    """

    model: RunModel
    scale: Scale = "none"
    keep: Flags | None = None

    @cached_property
    def cells(self) -> Flags:
        """Cells that count."""
        return self.model.active if self.keep is None else self.model.active & self.keep

    @cached_property
    def _terms(self) -> "_Terms":
        """Return what the quadratic form needs.

        C = D + V V' with 23 columns V, one for the image and one per ring, so that no large matrix is inverted
        (Woodbury 1950): P = 1/D - W W' with W = V / D times the inverse root of 1 + V' V / D.
        """
        model, cells = self.model, self.cells
        rows = np.nonzero(cells)[0]
        rings = (rows[:, None] == np.unique(rows)).astype(np.float64)
        image = np.ones((len(rows), 1))
        own = model.cell_spread[cells] ** 2 + model.image_spread**2
        shared = np.concatenate([model.level_spread * image, model.ring_spread * rings], axis=1)
        root = linalg.cholesky(np.eye(shared.shape[1]) + shared.T @ (shared / own[:, None]), lower=True)
        taken = linalg.solve_triangular(root, (shared / own[:, None]).T, lower=True).T
        constant = -0.5 * float(np.log(own).sum()) - float(np.log(np.diag(root)).sum())
        if self.scale == "none":
            return _Terms(own, taken, np.zeros((len(rows), 0)), constant)
        moved = rings if self.scale == "ring" else image
        seen = moved / own[:, None] - taken @ (taken.T @ moved)
        inner = linalg.cholesky(moved.T @ seen, lower=True)
        lost = linalg.solve_triangular(inner, seen.T, lower=True).T
        return _Terms(own, taken, lost, constant - float(np.log(np.diag(inner)).sum()))

    def log_density(self, images: npt.NDArray[np.floating]) -> Floats:
        """Return the log density of each image, shape (n,).

        Parameters
        ----------
        images
            Shape (n, 64, 72), positive in every cell that counts.

        Raises
        ------
        InputError
            When a cell that counts is not positive: such an image has no density here.
        """
        terms = self._terms
        found = np.empty(len(images))
        for first in range(0, len(images), _CHUNK):
            some = np.asarray(images[first : first + _CHUNK], np.float64)[:, self.cells]
            if not (some > 0).all():
                raise InputError(
                    f"images of run {self.model.run}",
                    "positive values in all active cells",
                    f"{float(some.min())}",
                    "give images that calowatch simulate gsoc drew, or leave masked cells out of keep",
                )
            z = np.log(some) - self.model.log_mean[self.cells]
            squares = (z**2 / terms.own).sum(axis=1)
            squares -= ((z @ terms.taken) ** 2).sum(axis=1) + ((z @ terms.lost) ** 2).sum(axis=1)
            found[first : first + _CHUNK] = terms.constant - 0.5 * squares
        return found


def log_likelihood_ratio(
    images: npt.NDArray[np.floating],
    a: RunModel,
    b: RunModel,
    scale: Scale = "none",
    keep: Flags | None = None,
) -> Floats:
    """Return ln p(image | run a) - ln p(image | run b) of each image, exactly; positive speaks for run a.

    Parameters
    ----------
    images
        Shape (n, 64, 72), scaled or not.
    a, b
        The runs.
    scale
        What the images no longer tell: ``none``, the scale of the ``image``, or that of each ``ring``.
    keep
        Cells that are looked at, shape (64, 72); all active ones by default.

    Returns
    -------
    Natural logarithms, shape (n,). The decision by its sign is the best there is for classes of equal size
    (Neyman and Pearson 1933, Phil. Trans. R. Soc. A 231, 289).

    Raises
    ------
    InputError
        As `Oracle.log_density`.
    """
    return Oracle(a, scale, keep).log_density(images) - Oracle(b, scale, keep).log_density(images)
