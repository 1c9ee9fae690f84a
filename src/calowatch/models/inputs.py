"""What image networks make of their input before the first weight."""

import torch
from torch import Tensor

from calowatch.core.errors import InputError

__all__ = ["places", "signed_log"]


def signed_log(x: Tensor, at: float) -> Tensor:
    """Return sign(x) ln(1 + abs(x) / at): linear well below ``at``, logarithmic above, odd, 0 at 0."""
    return torch.sign(x) * torch.log1p(x.abs() / at)


def places(rows: int, columns: int) -> Tensor:
    """Return where the pixels of an image lie, -1 .. 1 from edge to edge: [2 (row, column), row, column].

    Raises
    ------
    InputError
        For an image without pixels.
    """
    if min(rows, columns) < 1:
        raise InputError("image", "one row and column or more", f"{rows} x {columns}", "give images")
    row = (torch.arange(rows) + 0.5) * (2.0 / rows) - 1.0
    column = (torch.arange(columns) + 0.5) * (2.0 / columns) - 1.0
    return torch.stack([row[:, None].expand(rows, columns), column[None].expand(rows, columns)])
