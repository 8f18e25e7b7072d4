"""Memory orders of images [N, C, H, W]: the results of an op follow its image."""

from __future__ import annotations

import torch
from torch import Tensor


def memory_format(x: Tensor) -> torch.memory_format:
    """The order of an op's results for x: channels_last if x is in that alone, else contiguous.

    An image of one channel or one pixel is in both: contiguous then, as in csrc/common/tensor.h.
    """
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def kernel_order(x: Tensor) -> bool:
    """Whether x has channels innermost, which kernels of convolutions read without a copy."""
    return x.is_contiguous(memory_format=torch.channels_last)


def in_order_of(x: Tensor, grad_y: Tensor) -> Tensor:
    """grad_y in channels_last where x is: so that a network in that order stays in it when a
    gradient comes in another. Differentiable."""
    if memory_format(x) == torch.channels_last:
        return grad_y.contiguous(memory_format=torch.channels_last)
    return grad_y


def empty_image(x: Tensor, channels: int, height: int, width: int) -> Tensor:
    """An empty result in the order, dtype and on the device of x, for as many samples."""
    size = (x.shape[0], channels, height, width)
    return torch.empty(size, dtype=x.dtype, device=x.device, memory_format=memory_format(x))
