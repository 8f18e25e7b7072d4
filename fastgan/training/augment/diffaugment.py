"""DiffAugment: a few strong augmentations of every image, with nothing to adapt.

Source: Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from fastgan.errors import ConfigError
from fastgan.training.augment.base import Augmentation
from fastgan.training.augment.pipeline import check_images
from fastgan.training.augment.sampling import take_pixels
from fastgan.training.draws import Draws

SHIFT_MAX, CUTOUT_SIZE = 0.125, 0.5


class DiffAugment(Augmentation):
    """Applies every transform of a policy to every image.

    Args:
        policy: names of POLICIES, divided by commas; they are applied in this order.

    Raises: ConfigError when a name is unknown or none is given.
    """

    def __init__(self, policy: str = "color,translation,cutout") -> None:
        self.transforms = parse_policy(policy)

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        check_images(images, draws)
        draws = replace(draws, dtype=images.dtype)
        for transform in self.transforms:
            images = transform(images, draws)
        return images


def apply_color(images: Tensor, draws: Draws) -> Tensor:
    """Change brightness, saturation and contrast; alpha is left alone."""
    amounts = draws.uniform("color", (3,))
    colors = 3 if images.shape[1] == 4 else images.shape[1]
    changed = recolor(images[:, :colors], *amounts.unbind(1))
    return torch.cat([changed, images[:, colors:]], dim=1)


def recolor(images: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    """Change colours by amounts in [0, 1], each [N]; at one half they are left as they are, but
    for contrast, whose factor is the amount plus one half, and saturation, twice the amount.
    """
    brightness, saturation, contrast = (
        amount[:, None, None, None] for amount in (brightness, saturation, contrast)
    )
    images = images + (brightness - 0.5)
    gray = images.mean(dim=1, keepdim=True)
    images = gray + (images - gray) * (2 * saturation)
    level = images.mean(dim=(1, 2, 3), keepdim=True)
    return level + (images - level) * (contrast + 0.5)


def apply_translation(images: Tensor, draws: Draws) -> Tensor:
    """Shift by up to an eighth of the size; what comes in is 0."""
    x, y = (
        draws.integers(f"translation_{axis}", -reach, reach + 1)
        for axis, reach in (
            ("x", int(images.shape[3] * SHIFT_MAX + 0.5)),
            ("y", int(images.shape[2] * SHIFT_MAX + 0.5)),
        )
    )
    return translate(images, x, y)


def translate(images: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Shift [N, C, H, W] right by x and down by y pixels, int64 [N]; what comes in is 0."""
    height, width = images.shape[2:]
    columns = (torch.arange(width, device=x.device) - x[:, None])[:, None, :]
    rows = (torch.arange(height, device=y.device) - y[:, None])[:, :, None]
    columns, rows = columns.expand(-1, height, -1), rows.expand(-1, -1, width)
    outside = (columns < 0) | (columns >= width) | (rows < 0) | (rows >= height)
    moved = take_pixels(images, columns.clamp(0, width - 1), rows.clamp(0, height - 1))
    return moved.masked_fill(outside[:, None], 0)


def apply_cutout(images: Tensor, draws: Draws) -> Tensor:
    """Set a rectangle of half the height and width to 0; part of it may lie outside."""
    spans = []
    for axis, size in (("x", images.shape[3]), ("y", images.shape[2])):
        length = int(size * CUTOUT_SIZE + 0.5)
        centre = draws.integers(f"cutout_{axis}", 0, size + (1 - length % 2))
        places = torch.arange(size, device=centre.device) - (centre - length // 2)[:, None]
        spans.append((places >= 0) & (places < length))
    x, y = spans
    return images.masked_fill(x[:, None, None, :] & y[:, None, :, None], 0)


POLICIES: dict[str, Callable[[Tensor, Draws], Tensor]] = {
    "color": apply_color,
    "translation": apply_translation,
    "cutout": apply_cutout,
}


def parse_policy(policy: str) -> tuple[Callable[[Tensor, Draws], Tensor], ...]:
    """Return the transforms that a policy names.

    Raises: ConfigError when a name is unknown or twice there, or none is given.
    """
    names = [name.strip() for name in policy.split(",")]
    unknown = [name for name in names if name not in POLICIES]
    if unknown or len(set(names)) < len(names):
        raise ConfigError(
            f"diffaugment_policy: expected some of {', '.join(POLICIES)}, each once, with commas "
            f"between them, got {policy!r}"
        )
    return tuple(POLICIES[name] for name in names)
