"""What the Triton launchers need of torch: memory layouts and the allocation of results."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton.language as tl
from torch import Tensor


def allocate(
    size: Sequence[int], stride: Sequence[int], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Uninitialised memory; every result and workspace of a launcher comes from here."""
    return torch.empty_strided(size, stride, dtype=dtype, device=device)


def new(like: Tensor, *size: int, dtype: torch.dtype | None = None) -> Tensor:
    """An uninitialised contiguous tensor on the device of `like`."""
    strides, step = [], 1
    for extent in reversed(size):
        strides.append(step)
        step *= max(extent, 1)
    return allocate(size, strides[::-1], dtype or like.dtype, like.device)


def result_like(x: Tensor) -> Tensor:
    """An uninitialised result in the shape, dtype and memory order of the dense tensor x."""
    return allocate(x.shape, x.stride(), x.dtype, x.device)


def is_dense(x: Tensor) -> bool:
    """True when the elements fill one block of memory, each once, in any order of dimensions."""
    if x.is_contiguous():
        return True
    expected = 1
    steps = zip(x.stride(), x.shape, strict=True)
    for stride, size in sorted(step for step in steps if step[1] > 1):
        if stride != expected:
            return False
        expected *= size
    return True


def dense(x: Tensor) -> Tensor:
    """x itself if it is dense, else a dense copy."""
    return x if is_dense(x) else torch.empty_like(x).copy_(x)


def in_layout_of(tensor: Tensor, like: Tensor) -> Tensor:
    """`tensor` in the memory order of the dense tensor `like`: itself when it is, else a copy."""
    same = all(
        a == b or size <= 1
        for a, b, size in zip(tensor.stride(), like.stride(), like.shape, strict=True)
    )
    return tensor if same else torch.empty_like(like).copy_(tensor)


def is_channels_last(x: Tensor) -> bool:
    """True for images whose channels lie innermost, and that are not also contiguous."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def image(x: Tensor) -> Tensor:
    """x in channels_last if it is in that, else contiguous."""
    return x if is_channels_last(x) else x.contiguous()


def compute_dtype(x: Tensor) -> torch.dtype:
    """The dtype that kernels compute in: float64 for float64, else float32."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def accumulator(x: Tensor) -> tl.dtype:
    """`compute_dtype` in Triton's words."""
    return tl.float64 if x.dtype == torch.float64 else tl.float32
