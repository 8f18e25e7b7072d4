"""Tensors in [-1, 1] -> bytes, grids of images, and PNG files with their provenance.

No generator is called here (sampling.py) and no sequence is encoded (video.py).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from fastgan.files import replacing

Metadata = Mapping[str, str | int | float | bool]


def to_uint8(images: Tensor) -> Tensor:
    """Turn network output into bytes, y = round(127.5 x + 127.5), limited to 0..255.

    Args:
        images: floating point [N, C, H, W], nominally in [-1, 1].

    Returns: uint8 [N, H, W, C], contiguous, on the CPU. NaN becomes 0.
    Raises: ValueError when `images` is not four-dimensional.
    """
    if images.ndim != 4:
        raise ValueError(f"to_uint8: expected images [N, C, H, W], got {tuple(images.shape)}")
    return quantize(images.detach()).cpu()


def quantize(images: Tensor) -> Tensor:
    """What `to_uint8` computes, [N, C, H, W] -> uint8 [N, H, W, C], on the device of the images."""
    scaled = images.float().mul(127.5).add(127.5).nan_to_num(nan=0.0)
    channels_last = scaled.round().clamp(0, 255).permute(0, 2, 3, 1)  # [N, H, W, C]
    return channels_last.to(torch.uint8).contiguous()


def make_grid(
    images: Tensor, columns: int | None = None, padding: int = 2, fill: int = 255
) -> Tensor:
    """Lay images out in rows, left to right and top to bottom, with a border around each.

    Args:
        images: uint8 [N, H, W, C], N >= 1.
        columns: images per row; None makes the grid as square as possible.
        padding: border in pixels, at least 0.
        fill: value of the border and of the unused cells, 0..255.

    Returns: uint8 [rows (H + padding) + padding, columns (W + padding) + padding, C].
    Raises: ValueError when there is no image, or `columns` or `padding` is out of range.
    """
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(f"make_grid: expected images [N, H, W, C], got {tuple(images.shape)}")
    if columns is None:
        columns = math.ceil(math.sqrt(len(images)))
    if columns < 1 or padding < 0:
        raise ValueError(f"make_grid: columns {columns} must be >= 1 and padding {padding} >= 0")

    count, height, width, channels = images.shape
    step_y, step_x = height + padding, width + padding
    rows = math.ceil(count / columns)
    size = (rows * step_y + padding, columns * step_x + padding, channels)
    grid = torch.full(size, fill, dtype=torch.uint8)
    for index, image in enumerate(images):
        top, left = divmod(index, columns)
        y, x = top * step_y + padding, left * step_x + padding
        grid[y : y + height, x : x + width] = image
    return grid


def enlarge(images: Tensor, factor: int) -> Tensor:
    """Repeat every pixel `factor` times in both directions: [..., H, W, C] -> [..., fH, fW, C]."""
    return images.repeat_interleave(factor, dim=-3).repeat_interleave(factor, dim=-2)


def to_pillow(image: Tensor) -> Image.Image:
    """Turn uint8 [H, W, C], C 1 (grey), 3 (RGB) or 4 (RGBA), into a Pillow image.

    Raises: ValueError for another number of channels.
    """
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4):
        raise ValueError(f"expected an image [H, W, 1, 3 or 4], got {tuple(image.shape)}")
    array = image.numpy()
    return Image.fromarray(array[:, :, 0] if image.shape[2] == 1 else array)


def save_png(path: str | os.PathLike[str], image: Tensor, metadata: Metadata | None = None) -> Path:
    """Write one image as PNG, atomically, with text entries that say where it came from.

    Args:
        path: the file; folders above it are made.
        image: uint8 [H, W, C], C 1, 3 or 4.
        metadata: written as tEXt entries, values other than text as JSON.

    Returns: the path.
    Raises: ValueError for another shape; OSError when the file cannot be written.
    """
    info = PngImagePlugin.PngInfo()
    for key, value in (metadata or {}).items():
        info.add_text(key, value if isinstance(value, str) else json.dumps(value))
    picture = to_pillow(image)
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG", pnginfo=info)
    return Path(path)
