"""A detector some time later: light lost to radiation, and channels whose gain somebody set anew."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from calowatch.core.errors import InputError

__all__ = ["Ageing"]

Floats = npt.NDArray[np.float64]

_HALVING_DEPTH = 2.0  # depths over which the loss falls to half: light is lost most where particles enter
_SEED = 40_961


@dataclass(frozen=True)
class Ageing:
    """How the hits per event of the channels have changed since another era.

    Parameters
    ----------
    loss
        Share of lambda lost at the largest abs(ieta) of a subdetector, depth 1; elsewhere it falls linearly to
        nothing at ieta 0, and to half every two depths.
    recalibrated
        Share of the channels whose gain was set anew.
    spread
        Standard deviation of ln(lambda) by which those moved.
    scatter
        The same of every other channel: no two age alike.
    seed
        Of the draws.

    Raises
    ------
    InputError
        For shares outside 0 to 1 and negative spreads.
    """

    loss: float = 0.2
    recalibrated: float = 0.05
    spread: float = 0.15
    scatter: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("loss", "recalibrated"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise InputError(
                    f"ageing.{name}", "a share from 0 to below 1", f"{value}", "give such as 0.1"
                )
        if min(self.spread, self.scatter) < 0:
            raise InputError(
                "ageing.spread", "zero or more", f"{self.spread}, {self.scatter}", "drop the sign"
            )

    def log_factors(self, table: pd.DataFrame) -> Floats:
        """Return ln of the factor on lambda of each channel, shape (channel,).

        Parameters
        ----------
        table
            Every channel of the era, so that a part of them ages as the whole does.
        """
        ieta = table["ieta"].abs()
        reach = (ieta / ieta.groupby(table["subdet"]).transform("max")).to_numpy(np.float64)
        lost = self.loss * reach * 0.5 ** ((table["depth"].to_numpy(np.float64) - 1.0) / _HALVING_DEPTH)
        rng = np.random.default_rng([_SEED, self.seed])
        moved = rng.random(len(table)) < self.recalibrated
        drawn = rng.standard_normal(len(table))
        return np.asarray(np.log1p(-lost) + drawn * np.where(moved, self.spread, self.scatter))

    def moved(self, table: pd.DataFrame) -> npt.NDArray[np.bool_]:
        """Return which channels were recalibrated, shape (channel,)."""
        drawn: npt.NDArray[np.bool_] = (
            np.random.default_rng([_SEED, self.seed]).random(len(table)) < self.recalibrated
        )
        return drawn
