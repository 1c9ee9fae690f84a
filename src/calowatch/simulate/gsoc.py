"""Runs of HCAL images like the two of the GSoC classification task, from a model whose likelihood is known exactly.

The logarithm of the cells of one image is normal. Its mean is the run's map: a level per ring, the pattern along iphi
that the detector's channels have in every run, a small pattern of the run's own, and deviating cells. About that map
moves what a lumisection (LS) has of its own: one factor for the whole image, one for each ring, one for each cell.
A block of neighbouring images mixes few LS: with weights w whose squares sum to one, so that each image alone has the
distribution of an LS, while the images of a block are near-duplicates. A little noise of each image's own is added.

The model is ours, made after published statistics; `docs/gsoc.md` says which number is measured and which is chosen.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from calowatch.core.errors import InputError, UnknownNameError, nearest
from calowatch.core.progress import SILENT, Progress
from calowatch.io.images import IMAGE_SHAPE

__all__ = ["PATTERNS", "RUNS", "GsocSettings", "RunModel", "active_cells", "draw_images", "run_models"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

PATTERNS = ("small", "real")
"""How far the patterns along iphi of two runs differ."""

DETECTOR_SEED = 2022
"""The detector that every simulated set shares unless another is asked for."""
COMMON_SPREAD = 0.03
"""Relative spread along iphi that all runs share, where patterns are small."""
OWN_SPREAD = 0.006
"""Relative spread along iphi of a run's own, where patterns are small; chosen, see `docs/gsoc.md`."""
LS_SPREAD = 0.03
"""Relative spread of a cell from LS to LS, where patterns are small."""
REAL_SPREAD = 0.075
"""Relative spread along iphi of the mean number of hits, where patterns are real: before p saturates."""
RING_SPREAD = 0.01
"""Relative spread of a ring from LS to LS."""
IMAGE_SPREAD = 0.01
"""Relative spread of a cell of one image of a block."""
DEVIATING_CELLS = 9
MINUS, PLUS = (3, 13), (50, 60)  # first and last row with active cells, of each side


@dataclass(frozen=True)
class RunShape:
    """Published figures of a run.

    Parameters
    ----------
    mean
        Of all cells of all images, zeros too.
    level
        Mean of a ring by abs(ieta), some of them; the others lie between.
    events
        Per LS: what a saturated cell reads.
    level_spread
        Relative spread of the scale of LS.
    deviation
        Share of the logarithm of a deviating cell's factor that this run shows.
    """

    mean: float
    level: tuple[tuple[int, float], ...]
    events: float
    level_spread: float
    deviation: float


RUNS: MappingProxyType[int, RunShape] = MappingProxyType(
    {
        355456: RunShape(
            157.14, ((19, 250.0), (20, 286.0), (21, 508.0), (28, 1400.0), (29, 1240.0)), 1480.0, 0.03, 1.0
        ),
        357479: RunShape(
            181.08,
            ((19, 788.0), (20, 820.0), (21, 911.0), (23, 940.0), (28, 943.0), (29, 922.0)),
            955.0,
            0.09,
            0.25,
        ),
        356615: RunShape(
            168.0,
            ((19, 470.0), (20, 510.0), (21, 700.0), (26, 1110.0), (28, 1180.0), (29, 1090.0)),
            1210.0,
            0.05,
            0.6,
        ),
    }
)
"""Runs by number; the last is invented, between the two others."""


@dataclass(frozen=True)
class GsocSettings:
    """Everything that decides simulated image sets.

    Parameters
    ----------
    n
        Images of each run.
    block
        Neighbouring images that mix the same LS; the last block of a run may be shorter.
    ls_per_block
        How many LS they mix. 1 makes all images of a block the same but for noise.
    runs
        Numbers of `RUNS`.
    patterns
        ``small``: rings of all runs spread alike, so that only their own small patterns tell runs apart once rings are
        normalised. ``real``: rings spread, and LS scatter, as saturating binomial counts do.
    seed
        Of the images.
    detector_seed
        Of the patterns and the deviating cells.
    """

    n: int = 10_000
    block: int = 500
    ls_per_block: int = 3
    runs: tuple[int, ...] = (355456, 357479)
    patterns: str = "small"
    seed: int = 0
    detector_seed: int = DETECTOR_SEED

    def __post_init__(self) -> None:
        for option, least in (("n", 1), ("block", 1), ("ls_per_block", 1), ("seed", 0), ("detector_seed", 0)):
            if getattr(self, option) < least:
                raise InputError(
                    f"--{option.replace('_', '-')}",
                    f"{least} or more",
                    str(getattr(self, option)),
                    "raise it",
                )
        if self.patterns not in PATTERNS:
            raise UnknownNameError(
                "--patterns", " or ".join(PATTERNS), repr(self.patterns), nearest(self.patterns, PATTERNS)
            )
        for run in self.runs:
            if run not in RUNS:
                raise UnknownNameError(
                    "runs", f"runs among {', '.join(map(str, RUNS))}", str(run), "take one of them"
                )


@dataclass(frozen=True, eq=False)
class RunModel:
    """The distribution of the images of a run: normal in ln(image) on the active cells.

    Parameters
    ----------
    run
        Its number.
    log_mean
        Mean of ln(image), shape (64, 72); of no meaning where no cell is active.
    active
        Cells that are filled in every image, shape (64, 72).
    cell_spread
        Standard deviation of a cell's own ln factor from LS to LS, shape (64, 72).
    level_spread, ring_spread
        The same for the whole image and for each of its rings.
    image_spread
        Standard deviation of the noise of one image's cell.
    deviating
        Cells planted as deviating, shape (64, 72).
    """

    run: int
    log_mean: Floats
    active: Flags
    cell_spread: Floats
    level_spread: float
    ring_spread: float
    image_spread: float
    deviating: Flags


def active_cells() -> Flags:
    """Return which cells of an image are ever filled, shape (64, 72): HE depth 1, abs(ieta) 19 to 29.

    Below abs(ieta) 21 every iphi but the last, above every other one, as in the published files.

    Examples
    --------
    >>> int(active_cells().sum())
    932
    """
    active = np.zeros(IMAGE_SHAPE, np.bool_)
    for first, last in (MINUS, PLUS):
        active[first : last + 1, 0:72:2] = True
    for row in (*range(12, 14), *range(50, 52)):
        active[row, :71] = True
    return active


def run_models(settings: GsocSettings) -> tuple[RunModel, ...]:
    """Return the distributions that the images of each run are drawn from.

    Examples
    --------
    >>> first, second = run_models(GsocSettings())
    >>> np.exp(first.log_mean[13, :71]).mean().round(-1), np.exp(second.log_mean[13, :71]).mean().round(-1)
    (np.float64(250.0), np.float64(790.0))
    """
    rng = np.random.default_rng(settings.detector_seed)
    common = rng.standard_normal(IMAGE_SHAPE)
    cells = rng.choice(np.argwhere(active_cells()), DEVIATING_CELLS, replace=False)
    factors = rng.uniform(0.2, 0.38, DEVIATING_CELLS) * rng.choice([-1.0, 1.0], DEVIATING_CELLS)
    deviation = np.zeros(IMAGE_SHAPE)
    deviation[tuple(cells.T)] = factors
    return tuple(_run_model(run, common, deviation, settings) for run in settings.runs)


def _run_model(run: int, common: Floats, deviation: Floats, settings: GsocSettings) -> RunModel:
    shape, active = RUNS[run], active_cells()
    own = np.random.default_rng([settings.detector_seed, run]).standard_normal(IMAGE_SHAPE)
    level = _levels(shape)
    if settings.patterns == "small":
        pattern = COMMON_SPREAD * common + OWN_SPREAD * own
        cell_spread = np.full(IMAGE_SHAPE, LS_SPREAD)
    else:
        pattern, cell_spread = _saturating(level / shape.events, shape.events, common, own)
    log_mean = np.log(level) + np.where(deviation == 0, pattern, shape.deviation * deviation)
    variance = shape.level_spread**2 + RING_SPREAD**2 + IMAGE_SPREAD**2 + cell_spread**2
    mean = np.where(active, np.exp(log_mean + variance / 2.0), 0.0).mean()
    return RunModel(
        run=run,
        log_mean=np.where(active, log_mean + np.log(shape.mean / mean), 0.0),
        active=active,
        cell_spread=np.where(active, cell_spread, 0.0),
        level_spread=shape.level_spread,
        ring_spread=RING_SPREAD,
        image_spread=IMAGE_SPREAD,
        deviating=active & (deviation != 0),
    )


def _levels(shape: RunShape) -> Floats:
    """Return the level of each ring on all its cells, 1 where nothing is active."""
    at, value = np.array(shape.level).T
    rows = np.arange(IMAGE_SHAPE[0])
    ieta = np.where(rows < IMAGE_SHAPE[0] // 2, 32 - rows, rows - 31)
    level = np.where((ieta >= 19) & (ieta <= 29), np.interp(ieta, at, value), 1.0)
    return np.repeat(level[:, None], IMAGE_SHAPE[1], axis=1)


def _saturating(p: Floats, events: float, common: Floats, own: Floats) -> tuple[Floats, Floats]:
    """Return the pattern along iphi and the spread from LS to LS of counts of a saturating probability.

    With p = 1 - exp(-hits), a relative change of the hits changes p by -(1 - p) ln(1 - p) / p of it; the relative
    spread of a binomial count is sqrt((1 - p) / (events p)).
    """
    p = np.clip(p, 1e-3, 0.995)
    hits = REAL_SPREAD * (0.95 * common + np.sqrt(1 - 0.95**2) * own)
    pattern = -(1.0 - p) * np.log1p(-p) / p * hits
    return pattern, np.sqrt((1.0 - p) / (events * p))


def draw_images(
    model: RunModel, settings: GsocSettings, progress: Progress = SILENT
) -> Iterator[tuple[Floats, Floats]]:
    """Yield a run's images, block after block, with the weights of the LS that each of them mixes.

    Parameters
    ----------
    model
        The run's distribution.
    settings
        As given to `run_models`.
    progress
        Shown one step per block.

    Yields
    ------
    Images, shape (block, 64, 72), and weights, shape (block, LS), whose squares sum to one.
    """
    rng = np.random.default_rng([settings.seed, model.run])
    starts = range(0, settings.n, settings.block)
    for start in progress.track(starts, f"drawing run {model.run}", len(starts)):
        yield _draw_block(model, min(settings.block, settings.n - start), settings.ls_per_block, rng)


def _draw_block(model: RunModel, n: int, mixed: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    active, rows = model.active, np.nonzero(model.active)[0]
    sections = model.level_spread * rng.standard_normal((mixed, 1))
    sections = sections + model.ring_spread * rng.standard_normal((mixed, len(active)))[:, rows]
    sections = sections + model.cell_spread[active] * rng.standard_normal((mixed, rows.size))
    weights = np.sqrt(rng.dirichlet(np.ones(mixed), n))
    logs = model.log_mean[active] + weights @ sections
    logs += model.image_spread * rng.standard_normal(logs.shape)
    images = np.zeros((n, *active.shape))
    images[:, active] = np.exp(logs)
    return images, weights
