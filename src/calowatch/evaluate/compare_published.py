"""Figures that others published for the same tasks, on data that are not here: to be told beside, never compared."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

__all__ = ["PUBLISHED", "PublishedFigure"]


@dataclass(frozen=True)
class PublishedFigure:
    """A figure as it was published.

    Parameters
    ----------
    model
        In words.
    roc_auc
        As printed there: a number, or a range.
    side
        Which side it is of.
    source
        Who says so.
    remark
        What a reader must know of it; may be empty.
    """

    model: str
    roc_auc: str
    side: str
    source: str
    remark: str = ""

    def to_json(self) -> dict[str, str]:
        """Return it by name."""
        return asdict(self)


_NOTEBOOKS = "notebooks of the source (ML4SCI)"
_E2E = "ML4SCI E2E"
_PUBLIC = "other public work"

PUBLISHED: Mapping[str, tuple[PublishedFigure, ...]] = MappingProxyType(
    {
        "egamma": (
            PublishedFigure(
                "ResNet-15, energy only", "0.8158", "test", _PUBLIC, "the best that keeps its test side apart"
            ),
            PublishedFigure("ResNet-15, energy and time", "0.8136", "test", _PUBLIC),
            PublishedFigure("ResNet-15, time only", "0.6665", "test", _PUBLIC),
            PublishedFigure("ResNet-15, 24,000 training images", "0.718", "test", _PUBLIC),
            PublishedFigure(
                "two-branch CNN", "0.7895", "validation, best epoch", _NOTEBOOKS, "12,992 parameters"
            ),
            PublishedFigure(
                "vision transformer", "0.777", "test", _NOTEBOOKS, "training 0.806, validation 0.782"
            ),
            PublishedFigure(
                "two-channel CNN",
                "0.71",
                "validation",
                _NOTEBOOKS,
                "of hard predictions, after a softmax before cross-entropy: two bugs, mended here",
            ),
        ),
        "jets": (
            PublishedFigure("CoAtNet-0", "0.8146", "not told here", _E2E),
            PublishedFigure("Swin-T", "0.8083", "not told here", _E2E),
            PublishedFigure("ResNet-15", "0.8077", "not told here", "arXiv 1902.08276"),
            PublishedFigure("graph networks", "0.783 to 0.787", "not told here", _PUBLIC),
            PublishedFigure(
                "three-input CNN", "0.771", "validation", _NOTEBOOKS, "22,798 parameters; training 0.785"
            ),
        ),
    }
)
"""By kind of images."""
