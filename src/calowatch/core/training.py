"""Training recipes: which network learns what from which data, and how; one TOML file each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from calowatch.core.errors import InputError, nearest
from calowatch.core.recipe import Share, Strict, load_recipe, read_toml

__all__ = [
    "FitRecipe",
    "ImageDataRecipe",
    "ImageSplit",
    "ImageStep",
    "ImageTraining",
    "LossRecipe",
    "NetworkRecipe",
    "OccupancyTraining",
    "OptimiserRecipe",
    "ScheduleRecipe",
    "TrainRecipe",
    "load_training",
]

Positive = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
AboveZero = Annotated[float, Field(gt=0)]
ZeroOrMore = Annotated[float, Field(ge=0)]


class NetworkRecipe(Strict):
    """Which network: its name in the dict of models, what goes round it, and options other than its name gives."""

    name: str
    wrappers: tuple[str, ...] = ()
    options: Mapping[str, Any] = Field(default_factory=dict)


class OptimiserRecipe(Strict):
    """How weights are moved."""

    name: Literal["adam", "adamw"] = "adam"
    lr: AboveZero = 1e-3
    weight_decay: ZeroOrMore = 0.0
    amsgrad: bool = False


class ScheduleRecipe(Strict):
    """How the learning rate changes.

    ``plateau`` multiplies it by ``factor`` after ``patience`` epochs without a better monitored value; ``cosine`` goes
    to zero over all epochs after ``warmup`` epochs of linear rise.
    """

    kind: Literal["none", "plateau", "cosine"] = "none"
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    patience: Whole = 3
    warmup: Whole = 0


class FitRecipe(Strict):
    """How long and in what steps.

    ``monitor`` is the validation figure whose best epoch is kept; training stops after ``patience`` epochs without a
    better one (never, without ``patience``). ``precision`` ``auto`` is mixed on a GPU and 32 bits elsewhere.
    """

    batch: Positive = 64
    epochs: Positive = 10
    patience: Positive | None = None
    monitor: Literal["loss", "auc", "accuracy"] = "loss"
    precision: Literal["auto", "32", "16-mixed", "bf16-mixed"] = "auto"
    gradient_clip: AboveZero | None = None


class FaultNoise(Strict):
    """Faults injected into training input, whose clean counts are the target: a network that must not learn faults.

    A ``share`` of the windows gets ``units`` hardware units each, with a factor from ``factors``.
    """

    share: Share = 0.5
    units: Positive = 4
    factors: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.2, 2.0)


class OccupancyTraining(Strict):
    """A network that predicts the occupancy of a layout.

    ``dataset`` is a folder that ``calowatch prepare`` made, relative to the recipe; ``window`` is the number of
    lumisections the network sees together; ``prepare`` names the data recipe that such data sets are made by: a data
    set of other windows or preparation is refused. ``reconstruction`` is the source's loss (mean squared error, plus
    the Kullback-Leibler term of a variational network), ``binomial`` the likelihood of the counts. A network with one
    number per channel may ``start`` from the ``response`` of the training side's channels.
    """

    task: Literal["occupancy"]
    summary: str
    paper: str = ""
    seed: Whole = 0
    dataset: str | None = None
    prepare: str | None = None
    layout: str = "he"
    window: Positive = 5
    network: NetworkRecipe
    loss: Literal["reconstruction", "binomial"] = "reconstruction"
    faults: FaultNoise | None = None
    start: Literal["random", "response"] = "random"
    optimiser: OptimiserRecipe = OptimiserRecipe()
    schedule: ScheduleRecipe = ScheduleRecipe()
    fit: FitRecipe = FitRecipe()


class ImageSplit(Strict):
    """How images are dealt to the sides.

    ``random`` and ``stratified`` (equal shares of every class) deal single images; ``blocks`` deals ``length``
    neighbours of a file together and leaves ``guard`` out at each border. ``files`` deals whole source files.
    Sets that are cut into blocks by their maker (a chunk of generation) use ``blocks`` with length 0; of simulated runs
    the length may be a multiple of their blocks. ``chunks`` deals the blocks that the files tell where all of them do
    (generated events of a chunk may share pile-up), and is ``stratified`` where none does (published files).
    """

    by: Literal["random", "stratified", "blocks", "files", "chunks"] = "stratified"
    train: Share = 0.6
    validation: Share = 0.2
    test: Share = 0.2
    length: Whole = 500
    guard: Whole = 0

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.train + self.validation + self.test > 1 + 1e-6 or not self.train:
            raise ValueError("shares are more than 1 together, or nothing is left to train on")
        return self


ImageStepName = Literal[
    "log1p", "min_max", "standard", "unit_sum", "unit_ring", "mask_deviating", "channel_scale", "signed_log"
]


class ImageStep(Strict):
    """One step from an image as it was read to what a network sees.

    ``log1p`` ln(1 + x); ``min_max`` the train side's range of each channel to 0 .. 1; ``standard`` its mean and
    standard deviation to 0 and 1; ``unit_sum`` each image and channel to sum 1; ``unit_ring`` each row (ring) of an
    image to mean 1 over its cells that are not zero; ``mask_deviating`` zero in cells that deviate from their ring in
    the train side's mean by more than ``at`` robust standard deviations; ``channel_scale`` divide each channel by its
    train side's ``at`` quantile of values that are not zero; ``signed_log`` sign(x) ln(1 + abs(x) / at).
    """

    step: ImageStepName
    at: AboveZero | None = None


def _image_step(given: Any) -> Any:
    given = {"step": given} if isinstance(given, str) else given
    known = get_args(ImageStepName)
    if isinstance(given, Mapping) and given.get("step") not in known:
        name = str(given.get("step"))
        raise ValueError(f"unknown step {name!r}; {nearest(name, known)} (steps: {', '.join(known)})")
    return given


class ImageDataRecipe(Strict):
    """Which images, how they are labelled, dealt and prepared.

    ``kind`` is the layout of the files: ``runs`` (npy files, one per run; ``classes`` names the runs in order of their
    labels), ``egamma`` (HDF5) or ``jets`` (Parquet), which are labelled within.
    ``channels`` picks image channels, ``scalars`` columns beside the image. ``at_most`` takes that many images of each
    class.
    """

    kind: Literal["runs", "egamma", "jets"]
    files: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    channels: tuple[str, ...] | None = None
    scalars: tuple[str, ...] = ()
    at_most: Positive | None = None
    split: ImageSplit = ImageSplit()
    steps: tuple[Annotated[ImageStep, BeforeValidator(_image_step)], ...] = ()
    augment: tuple[Literal["mirror_iphi", "mirror_ieta"], ...] = ()


class LossRecipe(Strict):
    """What is made small: ``binary`` takes one output and a sigmoid, ``cross_entropy`` one output per class."""

    kind: Literal["cross_entropy", "binary"] = "cross_entropy"
    class_weights: bool = False
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    balance: ZeroOrMore = 0.0
    z: ZeroOrMore = 0.0


class ImageTraining(Strict):
    """A network, or a classical model, that tells classes of images apart.

    ``loss.balance`` and ``loss.z`` weigh the router losses of mixtures of experts. ``export`` also writes the network
    as ONNX, for quicker answers on a CPU.
    """

    task: Literal["images"]
    summary: str
    paper: str = ""
    seed: Whole = 0
    export: bool = True
    data: ImageDataRecipe
    network: NetworkRecipe
    loss: LossRecipe = LossRecipe()
    optimiser: OptimiserRecipe = OptimiserRecipe()
    schedule: ScheduleRecipe = ScheduleRecipe()
    fit: FitRecipe = FitRecipe()


TrainRecipe = OccupancyTraining | ImageTraining
"""A recipe that ``calowatch train`` takes."""

_TASKS: Mapping[str, type[OccupancyTraining] | type[ImageTraining]] = {
    "occupancy": OccupancyTraining,
    "images": ImageTraining,
}


def load_training(path: Path) -> TrainRecipe:
    """Return a training recipe read from a TOML file.

    Raises
    ------
    FormatError
        When the file is no TOML.
    InputError
        For a recipe of no known task, unknown or missing keys and values that cannot be, naming the key.
    """
    task = str(read_toml(path).get("task"))
    if task not in _TASKS:
        raise InputError(
            f"{path}: task",
            f"one of {', '.join(_TASKS)}: what is trained",
            task if task != "None" else "no such key",
            nearest(task, _TASKS) if task != "None" else "data recipes are for calowatch prepare; add task",
        )
    return load_recipe(path, _TASKS[task])
