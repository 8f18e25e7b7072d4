"""minibatch_std in Triton: value and first gradient.

Place j of slice f is channel and pixel in the order in which they lie: channels by pixels (planar)
or pixels by channels (channels_last, LAST). The variance of a place is taken around the group's
first sample, which loses no digits however far from zero the samples lie, and reads x once.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels import config, reduction, tensors

EPS = 1e-8  # under the root, as in fastgan/reference/minibatch_std.py


@triton.jit
def _wide(size):
    """A size in 64 bits. Triton passes the number 1 as a constant, which has no `to`."""
    return tl.full((), size, tl.int64)


@triton.jit
def _offset(j, slice, per_slice, width, pixels, LAST: tl.constexpr):
    """Place j of a slice of per_slice channels, in a sample of `width` channels."""
    if LAST:
        return j // per_slice * width + slice * per_slice + j % per_slice
    else:
        return slice * per_slice * pixels + j


@triton.jit
def _spread(x_ptr, first, offset, mask, step, group, ACC: tl.constexpr):
    """(mean - first, variance) over the group, whose samples lie `step` elements apart."""
    total = tl.zeros_like(first)
    squares = tl.zeros_like(first)
    for g in range(1, group):
        d = tl.load(x_ptr + g * step + offset, mask=mask, other=0.0).to(ACC) - first
        total += d
        squares += d * d
    mean = total / group
    variance = squares / group - mean * mean
    return mean, tl.where(variance < 0, 0.0, variance)


@triton.jit
def minibatch_std_kernel(
    x_ptr, parts_ptr, groups, group, channels, pixels, slices, eps: tl.float64,
    TILES: tl.constexpr, LAST: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Sums of sqrt(variance + eps) over TILES tiles of one slice: [groups, slices,
    blocks]."""
    per_slice = channels // slices
    places = _wide(per_slice) * pixels
    blocks = tl.cdiv(places, BLOCK * TILES)
    index, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    member, slice = index // slices, index % slices
    start = x_ptr + member * _wide(channels) * pixels
    step = _wide(groups) * channels * pixels
    eps = tl.full((), eps, ACC)
    sum = tl.zeros((BLOCK,), dtype=ACC)
    for tile in range(TILES):
        j = (block * TILES + tile) * BLOCK + tl.arange(0, BLOCK)
        mask = j < places
        offset = _offset(j, slice, per_slice, channels, pixels, LAST)
        first = tl.load(start + offset, mask=mask, other=0.0).to(ACC)
        _, variance = _spread(start, first, offset, mask, step, group, ACC)
        sum += tl.where(mask, tl.sqrt(variance + eps), 0.0)
    tl.store(parts_ptr + tl.program_id(0), tl.sum(sum))


@triton.jit
def concatenate_kernel(
    x_ptr, sums_ptr, y_ptr, groups, channels, pixels, slices,
    LAST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """y = x with the averages of its group as further channels, for a tile of one sample."""
    width = channels + slices
    size = _wide(width) * pixels
    blocks = tl.cdiv(size, BLOCK)
    sample, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    e = block * BLOCK + tl.arange(0, BLOCK)
    channel, pixel = (e % width, e // width) if LAST else (e // pixels, e % pixels)
    copied = (e < size) & (channel < channels)
    offset = pixel * channels + channel if LAST else channel * pixels + pixel
    start = _wide(sample) * channels * pixels
    value = tl.load(x_ptr + start + offset, mask=copied, other=0.0)
    extra = (e < size) & (channel >= channels)
    places = _wide(channels) * pixels // slices
    place = sums_ptr + sample % groups * slices + channel - channels
    deviation = tl.load(place, mask=extra, other=0.0) / places
    value = tl.where(extra, deviation.to(value.dtype), value)
    tl.store(y_ptr + _wide(sample) * size + e, value, mask=e < size)


@triton.jit
def upstream_kernel(
    g_ptr, sums_ptr, groups, group, channels, pixels, slices,
    LAST: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """sums [groups, slices] of the gradient of one slice's channel over its group."""
    member, slice = tl.program_id(0) // slices, tl.program_id(0) % slices
    width = channels + slices
    sum = tl.zeros((BLOCK,), dtype=ACC)
    for first in range(0, group * pixels, BLOCK):
        k = first + tl.arange(0, BLOCK)
        sample, pixel = (k // pixels * groups + member).to(tl.int64), k % pixels
        channel = channels + slice
        offset = pixel * width + channel if LAST else channel * pixels + pixel
        mask = k < group * pixels
        sum += tl.load(g_ptr + sample * width * pixels + offset, mask=mask, other=0.0).to(ACC)
    tl.store(sums_ptr + tl.program_id(0), tl.sum(sum))


@triton.jit
def minibatch_std_grad_kernel(
    g_ptr, x_ptr, sums_ptr, out_ptr, groups, group, channels, pixels, slices, eps: tl.float64,
    LAST: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradient for all samples of a group, at a tile of one slice."""
    per_slice, width = channels // slices, channels + slices
    places = _wide(per_slice) * pixels
    blocks = tl.cdiv(places, BLOCK)
    index, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    member, slice = index // slices, index % slices
    start = member * _wide(channels) * pixels
    step = _wide(groups) * channels * pixels
    j = block * BLOCK + tl.arange(0, BLOCK)
    mask = j < places
    offset = _offset(j, slice, per_slice, channels, pixels, LAST)
    upstream = _offset(j, slice, per_slice, width, pixels, LAST)
    first = tl.load(x_ptr + start + offset, mask=mask, other=0.0).to(ACC)
    mean, variance = _spread(x_ptr + start, first, offset, mask, step, group, ACC)
    root = tl.sqrt(variance + tl.full((), eps, ACC))
    factor = tl.load(sums_ptr + index) / (places * group) / root
    for g in range(group):
        x = tl.load(x_ptr + start + g * step + offset, mask=mask, other=0.0).to(ACC)
        sample = (g * groups + member).to(tl.int64)
        grad = tl.load(g_ptr + sample * width * pixels + upstream, mask=mask, other=0.0).to(ACC)
        value = grad + factor * (x - first - mean)
        place = out_ptr + start + g * step + offset
        tl.store(place, value.to(out_ptr.dtype.element_ty), mask=mask)


def _sizes(x: Tensor, group_size: int, num_channels: int) -> tuple[int, int, int, int, int]:
    """(groups, samples of a group, channels, pixels, slices)."""
    samples, channels, height, width = x.shape
    return samples // group_size, group_size, channels, height * width, num_channels


def _block(places: int) -> int:
    return min(config.TILE_ELEMENTS // 2, config.power_of_two(places))


def minibatch_std(x: Tensor, group_size: int, num_channels: int) -> Tensor:
    """x with num_channels further channels, in its layout; group_size divides the batch."""
    x = tensors.image(x)
    samples, channels, height, width = x.shape
    y = _widened(x, num_channels)
    if y.numel() == 0:
        return y
    sizes = _sizes(x, group_size, num_channels)
    last = tensors.is_channels_last(x)
    places = channels // num_channels * height * width
    block = _block(places)
    tiles = min(config.SUM_TILES, triton.cdiv(places, block))
    blocks, results = triton.cdiv(places, block * tiles), sizes[0] * num_channels
    settings: dict[str, Any] = {"LAST": last, "num_warps": config.warps()}
    sums = parts = tensors.new(x, 1, results, blocks, dtype=tensors.compute_dtype(x))
    with torch.cuda.device_of(x):
        minibatch_std_kernel[(results * blocks,)](
            x, parts, *sizes, EPS, TILES=tiles, ACC=tensors.accumulator(x), BLOCK=block, **settings
        )
    if blocks > 1:
        sums = tensors.new(parts, results)
        reduction.sum_partials(parts, sums)
    numel = y.numel() // samples
    block = _block(numel)
    groups, _, *rest = sizes
    with torch.cuda.device_of(x):
        concatenate_kernel[(samples * triton.cdiv(numel, block),)](
            x, sums, y, groups, *rest, BLOCK=block, **settings
        )
    return y


def _widened(x: Tensor, num_channels: int) -> Tensor:
    """A result for x with further channels, in its layout."""
    samples, channels, height, width = x.shape
    if not tensors.is_channels_last(x):
        return tensors.new(x, samples, channels + num_channels, height, width)
    return tensors.new(x, samples, height, width, channels + num_channels).permute(0, 3, 1, 2)


def minibatch_std_grad(grad_y: Tensor, x: Tensor, group_size: int, num_channels: int) -> Tensor:
    """The gradient of `minibatch_std` in x, in the layout of x."""
    x = tensors.image(x)
    grad_x = tensors.result_like(x)
    if x.numel() == 0:
        return grad_x
    last = tensors.is_channels_last(x)
    layout = torch.channels_last if last else torch.contiguous_format
    grad_y = grad_y.contiguous(memory_format=layout)
    sizes = _sizes(x, group_size, num_channels)
    groups, group, channels, pixels, slices = sizes
    settings: dict[str, Any] = {
        "LAST": last,
        "ACC": tensors.accumulator(x),
        "num_warps": config.warps(),
    }
    sums = tensors.new(x, groups * slices, dtype=tensors.compute_dtype(x))
    block = _block(channels // slices * pixels)
    programs = groups * slices * triton.cdiv(channels // slices * pixels, block)
    with torch.cuda.device_of(x):
        upstream_kernel[(groups * slices,)](
            grad_y, sums, *sizes, BLOCK=_block(group * pixels), **settings
        )
        minibatch_std_grad_kernel[(programs,)](
            grad_y, x, sums, grad_x, *sizes, EPS, BLOCK=block, **settings
        )
    return grad_x
