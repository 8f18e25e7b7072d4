"""A picture of points in the plane, for runs that have no images to show."""

from __future__ import annotations

import torch
from torch import Tensor


def scatter(points: Tensor, size: int = 256, extent: float = 3.0) -> Tensor:
    """Draw points of the plane, the first two coordinates, in [-extent, extent]^2.

    Args:
        points: [N, D], D >= 2.
        size: side of the picture.

    Returns: uint8 [size, size, 1], dark points on white.
    """
    picture = torch.full((size, size, 1), 255, dtype=torch.uint8)
    x = ((points[:, 0] / extent + 1) / 2 * size).long()
    y = ((1 - points[:, 1] / extent) / 2 * size).long()
    inside = (x >= 0) & (x < size) & (y >= 0) & (y < size)
    picture[y[inside], x[inside]] = 32
    return picture
