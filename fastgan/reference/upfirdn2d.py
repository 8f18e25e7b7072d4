"""Specification of upfirdn2d: upsample with zeros, pad or crop, filter, keep every d-th sample."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def upfirdn2d(
    x: Tensor,
    filter: Tensor | None,
    *,
    up: tuple[int, int] = (1, 1),
    down: tuple[int, int] = (1, 1),
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """Four steps, each one line of arithmetic; half precision computes in float32.

    1. Insert up-1 zeros after each pixel. 2. Pad (negative crops), in upsampled pixels.
    3. Valid convolution with the filter (correlation when flip_filter). 4. Keep every down-th.

    Args are (x, y) pairs and [x0, x1, y0, y1]; a 1-D filter runs along x and then along y.
    """
    dtype = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
    taps = torch.ones(1, 1) if filter is None else filter
    taps = taps.to(device=x.device, dtype=dtype)
    if not flip_filter:  # F.conv2d correlates
        taps = taps.flip(list(range(taps.ndim)))
    kernels = [taps] if taps.ndim == 2 else [taps[None, :], taps[:, None]]

    y = _pad_or_crop(_insert_zeros(x.to(dtype), up), padding)
    channels = x.shape[1]
    for kernel in kernels:
        weight = kernel[None, None].expand(channels, 1, -1, -1)  # [C, 1, fh, fw]
        # F.conv2d refuses zero channels: nothing to sum then, only a smaller image.
        empty = y[:, :, kernel.shape[0] - 1 :, kernel.shape[1] - 1 :]
        y = F.conv2d(y, weight, groups=channels) if channels > 0 else empty
    return (y[:, :, :: down[1], :: down[0]] * gain).to(x.dtype)


def _insert_zeros(x: Tensor, up: tuple[int, int]) -> Tensor:
    batch, channels, height, width = x.shape
    y = x.reshape(batch, channels, height, 1, width, 1)
    y = F.pad(y, [0, up[0] - 1, 0, 0, 0, up[1] - 1])
    return y.reshape(batch, channels, height * up[1], width * up[0])


def _pad_or_crop(x: Tensor, padding: tuple[int, int, int, int]) -> Tensor:
    x0, x1, y0, y1 = padding
    x = F.pad(x, [max(x0, 0), max(x1, 0), max(y0, 0), max(y1, 0)])
    height, width = x.shape[2:]
    return x[:, :, max(-y0, 0) : height - max(-y1, 0), max(-x0, 0) : width - max(-x1, 0)]
