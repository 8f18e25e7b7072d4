"""Specification of conv2d_resample: upsample, convolve, downsample, in that literal order."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.reference.upfirdn2d import upfirdn2d


def conv2d_resample(
    x: Tensor,
    weight: Tensor,
    filter: Tensor | None = None,
    *,
    up: int = 1,
    down: int = 1,
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    groups: int = 1,
    flip_weight: bool = True,
    flip_filter: bool = False,
) -> Tensor:
    """Up by `up` with the filter, convolve with `weight`, filter and keep every `down`-th pixel.

    The padding is that of the convolution; the filter's own share is added here, so that a k x k
    weight with padding k//2 keeps the size (times up / down). flip_weight=True correlates, as
    torch does. All fast formulations (transposed, strided) are equal to this one.
    """
    taps_x = 1 if filter is None else filter.shape[-1]
    taps_y = 1 if filter is None else filter.shape[0]
    x0, x1, y0, y1 = padding
    if up > 1:
        x0, x1 = x0 + (taps_x + up - 1) // 2, x1 + (taps_x - up) // 2
        y0, y1 = y0 + (taps_y + up - 1) // 2, y1 + (taps_y - up) // 2
    if down > 1:
        x0, x1 = x0 + (taps_x - down + 1) // 2, x1 + (taps_x - down) // 2
        y0, y1 = y0 + (taps_y - down + 1) // 2, y1 + (taps_y - down) // 2

    y = upfirdn2d(
        x,
        filter if up > 1 else None,
        up=(up, up),
        padding=(x0, x1, y0, y1),
        gain=up**2,
        flip_filter=flip_filter,
    )
    kernel = weight if flip_weight else weight.flip([2, 3])
    half = y.dtype in (torch.float16, torch.bfloat16)
    if half:
        y = F.conv2d(y.float(), kernel.float(), groups=groups).to(x.dtype)
    else:
        y = F.conv2d(y, kernel, groups=groups)
    if down > 1:
        y = upfirdn2d(y, filter, down=(down, down), flip_filter=flip_filter)
    return y
