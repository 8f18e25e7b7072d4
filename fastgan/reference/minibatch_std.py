"""Specification of minibatch_std: append the standard deviation over groups of the batch."""

from __future__ import annotations

import torch
from torch import Tensor

EPS = 1e-8  # under the root


def minibatch_std(x: Tensor, group_size: int = 4, num_channels: int = 1) -> Tensor:
    """[N, C, H, W] -> [N, C + F, H, W] with F = num_channels; half types compute in float32.

    Sample n belongs to group n mod (N / G), G the largest divisor of N up to `group_size`. Each
    group's biased standard deviation is averaged over pixels and over each of F slices of the
    channels. Source: Karras et al. 2018 (progressive growing), section 3.
    """
    samples, channels, height, width = x.shape
    group = group_of(samples, group_size)
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    y = wide.reshape(group, samples // group, num_channels, channels // num_channels, height, width)
    # Not y.var, which is slow over a leading dimension on the CPU.
    y = (y - y.mean(dim=0)).square().mean(dim=0)  # [N / G, F, C / F, H, W]
    y = (y + EPS).sqrt().mean(dim=[2, 3, 4]).repeat(group, 1)  # [N, F]
    y = y[:, :, None, None].expand(-1, -1, height, width)
    return torch.cat([x, y.to(x.dtype)], dim=1)


def group_of(samples: int, group_size: int) -> int:
    """Samples of a group: the largest divisor of `samples` that is at most `group_size`."""
    return next(g for g in range(max(min(group_size, samples), 1), 0, -1) if samples % g == 0)
