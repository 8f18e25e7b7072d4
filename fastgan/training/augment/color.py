"""Colour augmentations: one affine map of colours per sample.

Colours are RGB, or RGBA with alpha left alone. Grey images have brightness and contrast only.

Source: Karras et al. 2020 (ADA), appendix B.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastgan.training.augment.chances import Chances
from fastgan.training.augment.sampling import on_chosen

BRIGHTNESS_STD, CONTRAST_STD, SATURATION_STD = 0.2, 0.5, 1.0
COLOR_CHANNELS = (1, 3, 4)


def apply_color(images: Tensor, chances: Chances) -> Tensor:
    """Return the images [N, 1, 3 or 4, H, W] with their colours changed by chance."""
    is_grey = images.shape[1] == 1
    matrices, chosen = (grey_matrices if is_grey else color_matrices)(chances)
    return on_chosen(images, chosen, recolor, matrices)


def color_matrices(chances: Chances) -> tuple[Tensor, Tensor]:
    """Return affine maps of RGB, [N, 3, 4], and whose is not the identity, [N]."""
    matrices, chosen = _light(chances)
    flips = chances.applies("lumaflip") & (chances.uniform("lumaflip") >= 0.5)
    hues, saturates = chances.applies("hue"), chances.applies("saturation")
    angle = torch.where(hues, chances.uniform("hue", -math.pi, math.pi), 0)
    factor = torch.where(saturates, torch.exp2(chances.normal("saturation") * SATURATION_STD), 1)
    for linear in (luma_flip(flips), hue_rotation(angle), saturation(factor)):
        matrices = linear.to(matrices.dtype) @ matrices
    return matrices, chosen | flips | hues | saturates


def grey_matrices(chances: Chances) -> tuple[Tensor, Tensor]:
    """Return affine maps of grey, [N, 1, 2], and whose is not the identity, [N]."""
    matrices, chosen = _light(chances)
    return matrices[:, :1, [0, 3]], chosen


def recolor(images: Tensor, matrices: Tensor) -> Tensor:
    """Apply affine maps [N, c, c + 1] to the first c channels of [N, C, H, W]."""
    colors = matrices.shape[1]
    flat = images[:, :colors].flatten(2)
    changed = matrices[:, :, :colors] @ flat + matrices[:, :, colors:]
    changed = changed.unflatten(2, images.shape[2:])
    return torch.cat([changed, images[:, colors:]], dim=1) if images.shape[1] > colors else changed


def luma_flip(flips: Tensor) -> Tensor:
    """Mirror colours at the plane of zero luma where `flips`, bool [N]: [N, 3, 3]."""
    return _identity(flips) - 2 * _gray_part(flips) * flips[:, None, None]


def hue_rotation(angle: Tensor) -> Tensor:
    """Rotate colours by `angle` [N] about the axis of greys: [N, 3, 3]."""
    # Rodrigues' formula for the axis v = (1, 1, 1) / sqrt(3), whose cross product is below.
    cross = angle.new_tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    turn, gray = angle[:, None, None], _gray_part(angle)
    return gray + (_identity(angle) - gray) * turn.cos() + cross * turn.sin()


def saturation(factor: Tensor) -> Tensor:
    """Scale the distance of colours from grey by `factor` [N]: [N, 3, 3]."""
    gray = _gray_part(factor)
    return gray + (_identity(factor) - gray) * factor[:, None, None]


def _light(chances: Chances) -> tuple[Tensor, Tensor]:
    """Return brightness, then contrast, as affine maps of RGB, [N, 3, 4], and who has any."""
    shifts, scales = chances.applies("brightness"), chances.applies("contrast")
    shift = torch.where(shifts, chances.normal("brightness") * BRIGHTNESS_STD, 0)
    scale = torch.where(scales, torch.exp2(chances.normal("contrast") * CONTRAST_STD), 1)
    linear = _identity(scale) * scale[:, None, None]
    moved = (scale * shift)[:, None, None].expand(-1, 3, 1)
    return torch.cat([linear, moved], dim=2), shifts | scales


def _identity(like: Tensor) -> Tensor:
    return torch.eye(3, dtype=_float(like), device=like.device).expand(len(like), 3, 3)


def _gray_part(like: Tensor) -> Tensor:
    """Return v v^T, the projection on the axis of greys."""
    third = torch.full((3, 3), 1 / 3, dtype=_float(like), device=like.device)
    return third.expand(len(like), 3, 3)


def _float(like: Tensor) -> torch.dtype:
    return like.dtype if like.is_floating_point() else torch.float64
