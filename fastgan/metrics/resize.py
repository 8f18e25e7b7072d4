"""Resizing images before an extractor: results of different resizes cannot be compared."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def antialiased(images: Tensor, size: int) -> Tensor:
    """Resize float [N, C, H, W] to [N, C, size, size]: bilinear, low-pass filtered when smaller."""
    if images.shape[2:] == (size, size):
        return images
    return F.interpolate(
        images, size=(size, size), mode="bilinear", align_corners=False, antialias=True
    )


def bilinear_tf1(images: Tensor, size: int) -> Tensor:
    """Resize as TensorFlow 1 does: source = target * (in / out), no half-pixel shift, no filter.

    The published Inception distances are defined with this resize.
    """
    rows, columns = (_taps(length, size, images) for length in images.shape[2:])
    images = torch.lerp(images[:, :, rows[0]], images[:, :, rows[1]], rows[2][:, None])
    return torch.lerp(images[..., columns[0]], images[..., columns[1]], columns[2])


def _taps(length: int, size: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Left tap, right tap and weight of the right one for each of `size` targets."""
    source = torch.arange(size, dtype=like.dtype, device=like.device) * (length / size)
    left = source.floor()
    right = (left + 1).clamp(max=length - 1)
    return left.long(), right.long(), source - left
