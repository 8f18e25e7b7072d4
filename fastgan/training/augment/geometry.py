"""Geometric augmentations: one matrix per sample, from places in the output to places in the input.

Places are (x, y, 1) in pixels from the image's centre. Borders are mirrors. Flips, quarter turns
and whole-pixel shifts alone copy pixels; with any other the image is upsampled twice, interpolated
and downsampled, so that neither blur nor aliases tell the discriminator what was done.

Source: Karras et al. 2020 (ADA), appendix B.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from fastgan.ops import downsample2d, setup_filter, upsample2d
from fastgan.training.augment.chances import Chances
from fastgan.training.augment.sampling import (
    mirror_pad,
    mirrored,
    on_chosen,
    sample_bilinear,
    take_pixels,
)
from fastgan.training.augment.wavelets import SYM6

SHIFT_MAX, SCALE_STD, ANISO_STD, FRACTION_STD = 0.125, 0.2, 0.2, 0.125
_REACH = 3  # pixels outside of what it makes that the upsampling filter reads
_READ = 5  # upsampled pixels outside of the image that the downsampling filter reads
_MARGIN = 4  # mirrored pixels around the image, so that nothing near a border needs folding
# sym6 is not quite symmetric: upsampled pixel j shows the place (j + _DELAY) / 2.
_DELAY = 5 - sum(index * tap for index, tap in enumerate(SYM6)) / sum(SYM6)


def apply_geometry(images: Tensor, chances: Chances) -> Tensor:
    """Return the images, flipped, turned, shifted and scaled by chance."""
    height, width = images.shape[2:]
    blits, is_blitted = blit_matrices(chances, height, width)
    moves, is_moved = move_matrices(chances, height, width)
    images = on_chosen(images, is_blitted & ~is_moved, blit, blits)
    return on_chosen(images, is_moved, warp, blits @ moves)


def blit_matrices(chances: Chances, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return the matrices [N, 3, 3] of flips, quarter turns and shifts, and who has any, [N]."""
    flip = chances.applies("xflip") & (chances.uniform("xflip") >= 0.5)
    quarter = (chances.uniform("rotate90") * 4).floor().long().clamp(max=3)
    quarter = torch.where(chances.applies("rotate90"), quarter, 0)
    shifts = chances.applies("xint")
    x, y = (
        torch.where(shifts, (chances.uniform(f"xint_{axis}", -SHIFT_MAX, SHIFT_MAX) * size), 0)
        for axis, size in (("x", width), ("y", height))
    )
    cos = x.new_tensor([1.0, 0.0, -1.0, 0.0])[quarter]
    sin = x.new_tensor([0.0, 1.0, 0.0, -1.0])[quarter]
    sign = torch.where(flip, -torch.ones_like(x), 1)
    matrices = _scaling(sign, torch.ones_like(x)) @ _turning(cos, -sin)
    matrices = matrices @ _shifting(-x.round(), -y.round())
    return matrices, flip | (quarter > 0) | (x.round() != 0) | (y.round() != 0)


def move_matrices(chances: Chances, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return the matrices [N, 3, 3] of scalings, rotations and shifts, and who has any, [N]."""
    scales, stretches = chances.applies("scale"), chances.applies("aniso")
    before = chances.applies("rotate", "rotate_before")
    after = chances.applies("rotate", "rotate_after")
    shifts = chances.applies("xfrac")

    scale = torch.where(scales, torch.exp2(chances.normal("scale") * -SCALE_STD), 1)
    stretch = torch.where(stretches, torch.exp2(chances.normal("aniso") * ANISO_STD), 1)
    first, second = (
        torch.where(turns, chances.uniform(name, -math.pi, math.pi), 0)
        for turns, name in ((before, "rotate_before"), (after, "rotate_after"))
    )
    x, y = (
        torch.where(shifts, chances.normal(f"xfrac_{axis}") * (FRACTION_STD * size), 0)
        for axis, size in (("x", width), ("y", height))
    )
    matrices = _scaling(scale, scale) @ _turning(first.cos(), -first.sin())
    matrices = matrices @ _scaling(1 / stretch, stretch) @ _turning(second.cos(), -second.sin())
    return matrices @ _shifting(-x, -y), scales | stretches | before | after | shifts


def blit(images: Tensor, matrices: Tensor) -> Tensor:
    """Copy pixels of [N, C, H, W] as matrices [N, 3, 3] say, which map pixels to pixels.

    Where a quarter turn of an odd height and an even width, or the reverse, would end between
    pixels, the place is rounded.
    """
    height, width = images.shape[2:]
    x, y = _places(matrices, _centred(width, like=matrices), _centred(height, like=matrices))
    x = (x + (width - 1) / 2 + 0.5).floor().long()
    y = (y + (height - 1) / 2 + 0.5).floor().long()
    return take_pixels(images, mirrored(x, width), mirrored(y, height))


def warp(images: Tensor, matrices: Tensor) -> Tensor:
    """Resample [N, C, H, W] as any matrices [N, 3, 3] say, without blur and with few aliases.

    The identity gives the images back to rounding: sym6 is orthonormal, so downsampling with the
    reversed filter undoes the upsampling.
    """
    height, width = images.shape[2:]
    taps = _taps(str(images.device))
    padded = mirror_pad(images, _MARGIN + _REACH)
    large = upsample2d(padded, taps, padding=-2 * _REACH)  # 2H + 4 margins by 2W + 4 margins
    x, y = _places(matrices, *(_large_places(size, like=matrices) for size in (width, height)))
    x, y = (
        _fold(place + (size - 1) / 2, size) * 2 - _DELAY + 2 * _MARGIN
        for place, size in ((x, width), (y, height))
    )
    return downsample2d(sample_bilinear(large, x, y), taps, padding=-_READ, flip_filter=True)


def _large_places(size: int, like: Tensor) -> Tensor:
    """Return the places, in pixels from the middle, of what downsampling to `size` reads."""
    index = torch.arange(-_READ, 2 * size + _READ, dtype=like.dtype, device=like.device)
    return (index + _DELAY) / 2 - (size - 1) / 2


def _fold(positions: Tensor, size: int) -> Tensor:
    """Mirror positions that lie outside what the margin already holds."""
    is_near = (positions >= 1 - _MARGIN) & (positions <= size - 2 + _MARGIN)
    return torch.where(is_near, positions, mirrored(positions, size))


@lru_cache(maxsize=8)
def _taps(device: str) -> Tensor:
    return setup_filter(SYM6, device=device)


def _centred(size: int, like: Tensor) -> Tensor:
    """Return the places of `size` pixels counted from their middle."""
    places = torch.arange(size, dtype=like.dtype, device=like.device)
    return places - (size - 1) / 2


def _places(matrices: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Map the grid of columns x [w] and rows y [h]: x and y of every point, [N, h, w]."""
    m = matrices[:, :, :, None, None]
    along, down = x[None, None, :], y[None, :, None]
    return (
        m[:, 0, 0] * along + m[:, 0, 1] * down + m[:, 0, 2],
        m[:, 1, 0] * along + m[:, 1, 1] * down + m[:, 1, 2],
    )


def _scaling(x: Tensor, y: Tensor) -> Tensor:
    return _matrices(x, None, None, None, y, None)


def _turning(cos: Tensor, sin: Tensor) -> Tensor:
    return _matrices(cos, -sin, None, sin, cos, None)


def _shifting(x: Tensor, y: Tensor) -> Tensor:
    one = torch.ones_like(x)
    return _matrices(one, None, x, None, one, y)


def _matrices(*entries: Tensor | None) -> Tensor:
    """Return [N, 3, 3] of the entries of the upper two rows; None is 0."""
    like = next(entry for entry in entries if entry is not None)
    zero, one = torch.zeros_like(like), torch.ones_like(like)
    filled = [zero if entry is None else entry for entry in entries]
    return torch.stack([*filled, zero, zero, one], dim=1).unflatten(1, (3, 3))
