"""A picture of points in the plane, for runs that have no images to show."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.data import Dataset


def extent_of(dataset: Dataset) -> float:
    """Return the largest coordinate of some reals, with a margin: what a picture has to show."""
    reals, _ = dataset.batch(range(min(len(dataset), 1000)), None)
    return 1.25 * max(float(reals[:, :2].abs().max()), 1e-6)


def scatter(points: Tensor, extent: float = 3.0, size: int = 256) -> Tensor:
    """Draw points of the plane, the first two coordinates, in [-extent, extent]^2.

    Args:
        points: [N, D]; with D = 1, along a line in the middle.
        extent: the largest coordinate, in either direction, that is in the picture.
        size: side of the picture.

    Returns: uint8 [size, size, 1], dark points on white.
    """
    picture = torch.full((size, size, 1), 255, dtype=torch.uint8)
    x = ((points[:, 0] / extent + 1) / 2 * size).long()
    heights = points[:, 1] if points.shape[1] > 1 else torch.zeros_like(points[:, 0])
    y = ((1 - heights / extent) / 2 * size).long()
    inside = (x >= 0) & (x < size) & (y >= 0) & (y < size)
    picture[y[inside], x[inside]] = 32
    return picture
