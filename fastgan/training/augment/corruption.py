"""Corruptions: noise, and a rectangle cut out.

Source: Karras et al. 2020 (ADA), appendix B; cutout: DeVries and Taylor 2017.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.training.augment.chances import Chances
from fastgan.training.augment.sampling import on_chosen

NOISE_STD, CUTOUT_SIZE = 0.1, 0.5


def apply_noise(images: Tensor, chances: Chances) -> Tensor:
    """Return the images with white noise on every channel, by chance."""
    if "noise" not in chances.transforms:
        return images  # noise of every pixel is worth not drawing
    noise = chances.draws.normal("noise", images.shape[1:])
    sigma = (chances.normal("noise") * NOISE_STD).abs()
    return on_chosen(images, chances.applies("noise"), add_noise, noise, sigma)


def add_noise(images: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """Return images + sigma noise, with sigma [N]."""
    return images + noise * sigma[:, None, None, None]


def apply_cutout(images: Tensor, chances: Chances) -> Tensor:
    """Return the images with half of their height and width set to 0 somewhere, by chance."""
    centre = torch.stack([chances.uniform("cutout_x"), chances.uniform("cutout_y")], dim=1)
    return on_chosen(images, chances.applies("cutout"), cut_out, centre)


def cut_out(images: Tensor, centre: Tensor) -> Tensor:
    """Set a rectangle to 0.

    Args:
        images: [N, C, H, W].
        centre: x and y of its centre, in [0, 1] of width and height, [N, 2].
    """
    spans = []
    for axis, size in ((0, images.shape[3]), (1, images.shape[2])):
        places = (torch.arange(size).to(centre) + 0.5) / size - centre[:, axis, None]
        spans.append((places >= -CUTOUT_SIZE / 2) & (places < CUTOUT_SIZE / 2))
    x, y = spans
    return images.masked_fill(x[:, None, None, :] & y[:, None, :, None], 0)
