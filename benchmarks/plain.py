"""The ops as a good PyTorch programmer writes them without kernels of one's own.

Only what `fastgan.reference` does not already say in the usual way: the specification of
upfirdn2d and of the resampling convolutions is literal, and slow. Float, 2-D symmetric filters.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def upsample_transposed(x: Tensor, taps: Tensor) -> Tensor:
    """Upsample by 2 with a [4, 4] filter: one depthwise transposed convolution."""
    weight = (taps * 4).expand(x.shape[1], 1, -1, -1)
    return F.conv_transpose2d(x, weight, stride=2, padding=1, groups=x.shape[1])


def upsample_shuffled(x: Tensor, taps: Tensor) -> Tensor:
    """Upsample by 2 with a [4, 4] filter: its four phases by one depthwise convolution."""
    phase = F.pad(taps * 4, (1, 1, 1, 1))  # [6, 6]: output (2i + p, 2j + q) sees 3 x 3 inputs
    weight = torch.stack([phase[1 - p :: 2, 1 - q :: 2] for p in (0, 1) for q in (0, 1)])
    weight = weight[:, None].repeat(x.shape[1], 1, 1, 1)  # [4 C, 1, 3, 3]
    return F.pixel_shuffle(F.conv2d(x, weight, padding=1, groups=x.shape[1]), 2)


def downsample_strided(x: Tensor, taps: Tensor) -> Tensor:
    """Downsample by 2 with a [4, 4] filter: one depthwise strided convolution."""
    weight = taps.expand(x.shape[1], 1, -1, -1)
    return F.conv2d(x, weight, stride=2, padding=1, groups=x.shape[1])


def downsample_separable(x: Tensor, taps: Tensor) -> Tensor:
    """Downsample by 2 with the outer product of 4 taps: a column pass and a row pass."""
    row = taps.sum(dim=0)[None, None, None]  # the taps sum to 1, so sums over an axis factor them
    column = taps.sum(dim=1)[None, None, :, None]
    channels = x.shape[1]
    y = F.conv2d(x, column.expand(channels, -1, -1, -1), None, (2, 1), (1, 0), 1, channels)
    return F.conv2d(y, row.expand(channels, -1, -1, -1), None, (1, 2), (0, 1), 1, channels)


def conv_up(x: Tensor, weight: Tensor, taps: Tensor) -> Tensor:
    """Upsample by 2 and convolve with [O, I, 3, 3]: a transposed convolution, then the filter."""
    y = F.conv_transpose2d(x, weight.flip([2, 3]).transpose(0, 1), stride=2)  # 2 H + 1
    channels = y.shape[1]
    return F.conv2d(y, (taps * 4).expand(channels, 1, -1, -1), padding=1, groups=channels)


def conv_down(x: Tensor, weight: Tensor, taps: Tensor) -> Tensor:
    """Convolve with [O, I, 3, 3] and downsample by 2: the filter, then a strided convolution."""
    channels = x.shape[1]
    y = F.conv2d(x, taps.expand(channels, 1, -1, -1), padding=2, groups=channels)  # H + 1
    return F.conv2d(y, weight, stride=2)


def modulated(x: Tensor, weight: Tensor, styles: Tensor, taps: Tensor, *, up: int) -> Tensor:
    """Scale the input by the styles, convolve, and scale the output: one weight for the batch."""
    energy = weight.square().sum(dim=[2, 3])  # [O, I]
    scale = (styles.square() @ energy.t() + 1e-8).rsqrt()  # [N, O]
    x = x * styles[:, :, None, None]
    y = conv_up(x, weight, taps) if up == 2 else F.conv2d(x, weight, padding=1)
    return y * scale[:, :, None, None]


def modulated_grouped(
    x: Tensor, weight: Tensor, styles: Tensor, taps: Tensor, *, up: int
) -> Tensor:
    """A weight per sample and one convolution with as many groups as samples."""
    batch, channels, height, width = x.shape
    w = weight * styles[:, None, :, None, None]  # [N, O, I, kh, kw]
    w = w * (w.square().sum(dim=[2, 3, 4], keepdim=True) + 1e-8).rsqrt()
    x = x.reshape(1, batch * channels, height, width)
    if up == 1:
        y = F.conv2d(x, w.flatten(0, 1), padding=1, groups=batch)
        return y.reshape(batch, -1, height, width)
    w = w.flip([3, 4]).transpose(1, 2).flatten(0, 1)  # [N I, O, kh, kw]
    y = F.conv_transpose2d(x, w, stride=2, groups=batch)
    y = y.reshape(batch, -1, *y.shape[2:])
    maps = y.shape[1]
    return F.conv2d(y, (taps * 4).expand(maps, 1, -1, -1), padding=1, groups=maps)
