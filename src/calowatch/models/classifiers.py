"""The dict of image classifiers by name. Importing this loads no torch: names are resolved when one is built."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from calowatch.core.errors import InputError, UnknownNameError, nearest

if TYPE_CHECKING:
    from calowatch.models.classifier import Classifier

__all__ = ["CLASSIFIERS", "ClassifierEntry", "ImageGeometry", "build_classifier", "find_classifier"]

_ROOM = "calowatch.models."


@dataclass(frozen=True)
class ImageGeometry:
    """What a classifier has to know of its input and answer.

    Parameters
    ----------
    channels, rows, columns
        Of an image.
    scalars
        Numbers beside the image.
    outputs
        1 for a sigmoid between two classes, else one per class.
    """

    channels: int
    rows: int
    columns: int
    scalars: int = 0
    outputs: int = 2


@dataclass(frozen=True)
class ClassifierEntry:
    """One classifier of the dict.

    Parameters
    ----------
    network, options
        ``"module:Class"`` within this room, of the network and of the dataclass of its options.
    given
        Options that make this entry what it is.
    summary
        One line for people.
    paper
        Where it comes from; empty for our own.
    attention
        Gives attention to explain it by.
    scalars
        Needs numbers beside the image.
    """

    network: str
    options: str
    given: Mapping[str, Any] = field(default_factory=dict)
    summary: str = ""
    paper: str = ""
    attention: bool = False
    scalars: bool = False


CLASSIFIERS: Mapping[str, ClassifierEntry] = MappingProxyType(
    {
        "vit": ClassifierEntry(
            "vit:ViT",
            "vit:ViTOptions",
            summary="vision transformer with any rectangular patch",
            paper="arXiv 2010.11929",
            attention=True,
        ),
        "moe-vit": ClassifierEntry(
            "moe_vit:moe_vit",
            "moe_vit:MoEViTOptions",
            summary="vision transformer with mixtures of experts; router dense, top-k, expert-choice or soft",
            paper="arXiv 2101.03961, 2106.05974, 2202.09368, 2308.00951",
            attention=True,
        ),
        "cnn": ClassifierEntry(
            "image_cnn:ImageCNN", "image_cnn:ImageCNNOptions", summary="plain convolutional network"
        ),
        "egamma-two-branch": ClassifierEntry(
            "egamma_cnn:TwoBranchCNN",
            "egamma_cnn:NoOptions",
            summary="the source's network with a branch per channel, 12,992 parameters",
        ),
        "egamma-two-channel": ClassifierEntry(
            "egamma_cnn:TwoChannelCNN",
            "egamma_cnn:NoOptions",
            summary="the source's network on both channels, without its two bugs",
        ),
        "egamma-vit": ClassifierEntry(
            "vit:ViT",
            "vit:ViTOptions",
            MappingProxyType(
                {"patch": (2, 2), "dim": 64, "layers": 2, "heads": 2, "mlp": 128, "head": (512, 256)}
            ),
            summary="the source's vision transformer for crops",
            paper="arXiv 2010.11929",
            attention=True,
        ),
        "jets-three-input": ClassifierEntry(
            "jets_cnn:JetsCNN",
            "egamma_cnn:NoOptions",
            summary="the source's network on image, pt and m0, 22,798 parameters",
            scalars=True,
        ),
        "resnet15": ClassifierEntry(
            "resnet15:ResNet15",
            "resnet15:ResNet15Options",
            summary="residual network without normalisation; stride 1 for crops, 2 for jets",
            paper="arXiv 1807.11916, 1902.08276",
        ),
        "convnet": ClassifierEntry(
            "convnet:ConvNet",
            "convnet:ConvNetOptions",
            summary="ours: residual stages over pixels, their logarithms and places; stem 2 for crops, 5 for jets",
        ),
        "runs-net": ClassifierEntry(
            "runs_net:RunsNet",
            "runs_net:RunsNetOptions",
            summary="ours for run against run: a weight per cell, each cell standardised by itself",
        ),
        "point-transformer": ClassifierEntry(
            "point_transformer:PointTransformer",
            "point_transformer:PointTransformerOptions",
            summary="ours: transformer over the brightest pixels",
            attention=True,
        ),
    }
)
"""All image classifiers that torch trains, by name."""


def find_classifier(name: str) -> ClassifierEntry:
    """Return an entry by its name.

    Raises
    ------
    UnknownNameError
        When there is no such classifier.
    """
    if name not in CLASSIFIERS:
        raise UnknownNameError(
            f"classifier {name!r}",
            f"one of {', '.join(CLASSIFIERS)}",
            "none such",
            nearest(name, CLASSIFIERS),
        )
    return CLASSIFIERS[name]


def _resolve(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(import_module(_ROOM + module), name)


def build_classifier(name: str, geometry: ImageGeometry, options: Mapping[str, Any]) -> "Classifier":
    """Return a classifier with weights as torch draws them: seed torch beforehand.

    Raises
    ------
    InputError
        For options that the classifier does not have, or an image that does not fit them.
    UnknownNameError
        For a classifier that does not exist.
    """
    entry = find_classifier(name)
    kind = _resolve(entry.options)
    known = sorted(set(kind.__dataclass_fields__) - set(entry.given))
    for option in options:
        if option not in known:
            raise InputError(
                f"options.{option}", f"one of {', '.join(known)}", "none such", nearest(option, known)
            )
    classifier: Classifier = _resolve(entry.network)(geometry, kind(**entry.given, **options))
    return classifier
