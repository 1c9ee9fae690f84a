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
    def _terms(self) -> tuple[Floats, float]:
        """Return the matrix of the quadratic form and the constant."""
        model, cells = self.model, self.cells
        rows = np.nonzero(cells)[0]
        rings = (rows[:, None] == np.unique(rows)).astype(np.float64)
        covariance = np.diag(model.cell_spread[cells] ** 2 + model.image_spread**2)
        covariance += model.level_spread**2 + model.ring_spread**2 * (rings @ rings.T)
        factor = linalg.cho_factor(covariance, lower=True)
        precision = linalg.cho_solve(factor, np.eye(len(rows)))
        constant = -float(np.log(np.diag(factor[0])).sum())
        if self.scale == "none":
            return precision, constant
        moved = rings if self.scale == "ring" else np.ones((len(rows), 1))
        seen = precision @ moved
        inner = linalg.cho_factor(moved.T @ seen, lower=True)
        constant -= float(np.log(np.diag(inner[0])).sum())
        return precision - seen @ linalg.cho_solve(inner, seen.T), constant

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
        matrix, constant = self._terms
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
            found[first : first + _CHUNK] = constant - 0.5 * np.einsum("ni,ni->n", z @ matrix, z)
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
