"""Reading images at other places: mirrored borders, whole pixels, and between pixels.

Everything here is linear in the images and differentiable in them to any order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_BILINEAR, _BORDER = 0, 1  # torch's numbers for the modes of grid_sample


def mirrored(positions: Tensor, size: int) -> Tensor:
    """Fold positions into [0, size - 1], as if mirrors stood on the first and the last pixel."""
    if size == 1:
        return torch.zeros_like(positions)
    last = size - 1
    return last - (positions.remainder(2 * last) - last).abs()


def mirror_pad(images: Tensor, margin: int) -> Tensor:
    """Pad [..., H, W] by reflection; unlike torch's, the margin may be larger than the image."""
    for axis in (-2, -1):
        size = images.shape[axis]
        places = torch.arange(-margin, size + margin, device=images.device)
        images = images.index_select(axis, mirrored(places, size))
    return images


def take_pixels(images: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Copy the pixels at columns x and rows y, int64 [N, h, w], of [N, C, H, W]: [N, C, h, w]."""
    places = (y * images.shape[3] + x).flatten(1)[:, None]  # [N, 1, hw]
    channels = images.shape[1]
    taken = images.flatten(2).gather(2, places.expand(-1, channels, -1))
    return taken.unflatten(2, x.shape[1:])


def sample_bilinear(images: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Interpolate [N, C, H, W] at columns x and rows y, [N, h, w], inside the image.

    The positions are constants. torch's own double backward is missing on some devices and in
    some versions; here the gradient is the transposed operator, and that one's gradient is the
    operator itself, so every order exists wherever first gradients do.

    Returns: [N, C, h, w].
    """
    height, width = images.shape[2:]
    grid = torch.stack([_to_unit(x, width), _to_unit(y, height)], dim=3)
    return _Sample.apply(images, grid)


def on_chosen(
    images: Tensor, chosen: Tensor, transform: Callable[..., Tensor], *parameters: Tensor
) -> Tensor:
    """Return transform(images, *parameters) for the samples chosen and the others untouched.

    On the CPU nothing is computed for the others; on a GPU everything is computed, because
    counting them would make the CPU wait for it.

    Args:
        images: [N, C, H, W].
        chosen: bool [N].
        transform: treats each sample by itself.
        parameters: tensors [N, ...] of the transform.
    """
    if images.device.type != "cpu":
        return on_chosen_everywhere(images, chosen, transform, *parameters)
    index = chosen.nonzero().flatten()
    if len(index) == 0:
        return images
    if len(index) == len(images):
        return transform(images, *parameters)
    changed = transform(images[index], *(parameter[index] for parameter in parameters))
    return images.index_copy(0, index, changed)


def on_chosen_everywhere(
    images: Tensor, chosen: Tensor, transform: Callable[..., Tensor], *parameters: Tensor
) -> Tensor:
    """Do as `on_chosen` without asking how many are chosen."""
    return torch.where(chosen[:, None, None, None], transform(images, *parameters), images)


def _to_unit(positions: Tensor, size: int) -> Tensor:
    """Scale pixel positions to [-1, 1] between the centres of the first and the last pixel."""
    return positions * (2 / max(size - 1, 1)) - 1


class _Sample(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.size = images.shape
        return F.grid_sample(images, grid, "bilinear", "border", align_corners=True)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _Spread.apply(grad, *ctx.saved_tensors, ctx.size), None


class _Spread(torch.autograd.Function):
    """The transpose of _Sample: adds every value to the four pixels it would be read from."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, grid: Tensor, size: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        unused = values.new_zeros(size)  # only the gradient of the grid would read the images
        images, _ = torch.ops.aten.grid_sampler_2d_backward(
            values.contiguous(), unused, grid, _BILINEAR, _BORDER, True, [True, False]
        )
        return images

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _Sample.apply(grad, *ctx.saved_tensors), None, None
