"""The source's network with three inputs for quark against gluon jets, rebuilt from its description.

Layers, sizes and the number of parameters are given (22,798 for 3 x 125 x 125, pt and m0, two classes, which needs
``same`` padding); the rectifiers between them are our reading.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from calowatch.core.errors import InputError
from calowatch.models.classifier import Classifier, Scores
from calowatch.models.classifiers import ImageGeometry
from calowatch.models.egamma_cnn import NoOptions

__all__ = ["JetsCNN"]


class JetsCNN(Classifier):
    """The image (3 convolutions of 5 x 5, max-pooling by 5, 12 dense) and each number beside it (4 dense), joined.

    Parameters
    ----------
    geometry
        Of its input and answer, with numbers beside the image: ``pt`` and ``m0`` in the source.

    Raises
    ------
    InputError
        Without numbers beside the image.
    """

    def __init__(self, geometry: ImageGeometry, options: NoOptions) -> None:  # noqa: ARG002 - all builders take some
        super().__init__(geometry)
        if not geometry.scalars:
            raise InputError(
                "data.scalars",
                "numbers beside the image, such as pt and m0",
                "none",
                "name some in the recipe",
            )
        self.conv = nn.Conv2d(geometry.channels, 3, 5, padding=2)
        self.dense = nn.Linear(3 * (geometry.rows // 5) * (geometry.columns // 5), 12)
        self.beside = nn.ModuleList(nn.Linear(1, 4) for _ in range(geometry.scalars))
        self.last = nn.Linear(12 + 4 * geometry.scalars, geometry.outputs)

    def judge(self, images: Tensor, scalars: Tensor, *, attention: bool = False) -> Scores:  # noqa: ARG002 - has none
        """Return the scores; arguments as of `Classifier.forward`."""
        image = F.relu(self.dense(F.max_pool2d(F.relu(self.conv(images)), 5).flatten(1)))
        beside = [F.relu(dense(scalars[:, n : n + 1])) for n, dense in enumerate(self.beside)]
        return Scores(self.last(torch.cat([image, *beside], dim=1)))
