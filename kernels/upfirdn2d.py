"""upfirdn2d in Triton: polyphase, so that inserted zeros are never read, one tile of the output
per program.

Tap k of output o lies on upsampled position o * down - pad + k and meets input i at i * up. So the
first tap of output o is k0 = -(o * down - pad) mod up, and every up-th from there meets the next
input. With t = o * down + base and shift = ceil(pad / up), base = shift * up - pad, nothing is
negative: the first input is ceil(t / up) - shift and k0 = ceil(t / up) * up - t.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels import config, tensors

LARGEST_AXIS = 2**30  # positions on the upsampled axis are 32-bit numbers
LARGEST_PLANE = 2**31 - 2**20  # so are pixels, up to the end of the last tile


@triton.jit
def _filter_row(
    acc, x_ptr, f_ptr, row, row_inside, tap_y, first_x, tap_x, width, stride_x,
    UP_X: tl.constexpr, TAPS_X: tl.constexpr, TAPS_Y: tl.constexpr, FLIP: tl.constexpr,
):  # fmt: skip
    """Add the taps of one filter row: inputs first_x, first_x + 1, ... of the rows at `row`."""
    for j in tl.static_range((TAPS_X + UP_X - 1) // UP_X):
        ix = first_x + j
        k = tap_x + j * UP_X
        inside = row_inside & (ix >= 0) & (ix < width)
        value = tl.load(x_ptr + (row + ix.to(tl.int64) * stride_x), mask=inside, other=0.0)
        tap = tap_y * TAPS_X + k if FLIP else (TAPS_Y - 1 - tap_y) * TAPS_X + TAPS_X - 1 - k
        weight = tl.load(f_ptr + tap, mask=(k < TAPS_X) & (tap_y < TAPS_Y), other=0.0)
        acc += value.to(acc.dtype) * weight.to(acc.dtype)
    return acc


@triton.jit
def upfirdn2d_kernel(
    x_ptr, f_ptr, y_ptr, channels, height, width, out_height, out_width,
    stride_n, stride_c, stride_y, stride_x, base_x, base_y, shift_x, shift_y, gain: tl.float64,
    UP_X: tl.constexpr, UP_Y: tl.constexpr, DOWN_X: tl.constexpr, DOWN_Y: tl.constexpr,
    TAPS_X: tl.constexpr, TAPS_Y: tl.constexpr, FLIP: tl.constexpr, LAST: tl.constexpr,
    ACC: tl.constexpr, BLOCK_A: tl.constexpr, BLOCK_B: tl.constexpr,
):  # fmt: skip
    """One tile. Planar: rows by columns of a plane. LAST (channels_last): pixels by channels."""
    a = tl.arange(0, BLOCK_A)
    b = tl.arange(0, BLOCK_B)
    if LAST:
        tiles_b = tl.cdiv(channels, BLOCK_B)
        tiles = tl.cdiv(out_height * out_width, BLOCK_A) * tiles_b
    else:
        tiles_b = tl.cdiv(out_width, BLOCK_B)
        tiles = tl.cdiv(out_height, BLOCK_A) * tiles_b
    index, tile = tl.program_id(0) // tiles, tl.program_id(0) % tiles
    a += tile // tiles_b * BLOCK_A
    b += tile % tiles_b * BLOCK_B
    if LAST:  # index is the sample
        oy, ox = (a // out_width)[:, None], (a % out_width)[:, None]
        x_ptr += index.to(tl.int64) * stride_n + b[None, :] * stride_c
        size = out_height * out_width
        place = (index.to(tl.int64) * size + a[:, None]) * channels + b[None, :]
        stored = (a < size)[:, None] & (b < channels)[None, :]
    else:  # index is the plane
        oy, ox = a[:, None], b[None, :]
        x_ptr += (index // channels).to(tl.int64) * stride_n
        x_ptr += (index % channels).to(tl.int64) * stride_c
        place = (index.to(tl.int64) * out_height + oy) * out_width + ox
        stored = (oy < out_height) & (ox < out_width)
    t_y, t_x = oy * DOWN_Y + base_y, ox * DOWN_X + base_x
    ahead_y, ahead_x = (t_y + (UP_Y - 1)) // UP_Y, (t_x + (UP_X - 1)) // UP_X
    # Without upsampling every output starts at tap 0: one weight serves the whole tile.
    tap_y = 0 if UP_Y == 1 else ahead_y * UP_Y - t_y
    tap_x = 0 if UP_X == 1 else ahead_x * UP_X - t_x
    first_y, first_x = ahead_y - shift_y, ahead_x - shift_x
    acc = tl.zeros((BLOCK_A, BLOCK_B), dtype=ACC)
    # A loop that stays one: unrolled, the loads of all rows would be in registers at once.
    for j in range((TAPS_Y + UP_Y - 1) // UP_Y):
        iy = first_y + j
        acc = _filter_row(
            acc, x_ptr, f_ptr, iy.to(tl.int64) * stride_y,
            stored & (iy >= 0) & (iy < height), tap_y + j * UP_Y, first_x, tap_x, width,
            stride_x, UP_X, TAPS_X, TAPS_Y, FLIP,
        )  # fmt: skip
    y = (acc * tl.full((), gain, ACC)).to(y_ptr.dtype.element_ty)
    tl.store(y_ptr + place, y, mask=stored)


class Axis(NamedTuple):
    """One axis of a call."""

    size: int
    up: int
    down: int
    pad_before: int
    pad_after: int
    taps: int

    @property
    def out(self) -> int:
        """Size of the result."""
        return (self.size * self.up + self.pad_before + self.pad_after - self.taps + self.down) // (
            self.down
        )

    @property
    def shift(self) -> int:
        """Inputs that the first output lies before."""
        return -(-self.pad_before // self.up)

    @property
    def base(self) -> int:
        """Upsampled position of the first output, moved by the shift to be at least 0."""
        return self.shift * self.up - self.pad_before


def _check(axis: Axis) -> None:
    if axis.out < 0:
        raise ValueError("upfirdn2d: the filter is larger than the padded image")
    if max(axis.size, axis.out * axis.down + axis.up, abs(axis.pad_before)) >= LARGEST_AXIS:
        raise ValueError(f"upfirdn2d: an upsampled axis must be below {LARGEST_AXIS} pixels")


def _launch(x: Tensor, filter: Tensor, across: Axis, along: Axis, flip_filter: bool, gain: float,
            channels_last: bool, dtype: torch.dtype) -> Tensor:  # fmt: skip
    """One pass over memory with `along.taps` x `across.taps` taps; the result has `dtype`."""
    samples, channels = x.shape[:2]
    height, width = along.out, across.out
    plane = height * width
    strides = (plane * channels, plane, width, 1)
    if channels_last:
        strides = (plane * channels, 1, width * channels, channels)
    y = tensors.allocate((samples, channels, height, width), strides, dtype, x.device)
    if y.numel() == 0:
        return y
    if plane >= LARGEST_PLANE or samples * channels >= 2**31:
        raise ValueError(f"upfirdn2d: a result of {tuple(y.shape)} has too many pixels or planes")
    a, b = (plane, channels) if channels_last else (height, width)
    limits = config.UPFIRDN_CHANNELS_LAST if channels_last else config.UPFIRDN_PLANAR
    block_b = min(limits[1], config.power_of_two(b))
    block_a = min(limits[0] * limits[1] // block_b, config.power_of_two(a))
    tiles = triton.cdiv(a, block_a) * triton.cdiv(b, block_b)
    with torch.cuda.device_of(x):
        upfirdn2d_kernel[(tiles * (samples if channels_last else samples * channels),)](
            x, filter, y, channels, x.shape[2], x.shape[3], height, width, *x.stride(),
            across.base, along.base, across.shift, along.shift, gain,
            UP_X=across.up, UP_Y=along.up, DOWN_X=across.down, DOWN_Y=along.down,
            TAPS_X=across.taps, TAPS_Y=along.taps, FLIP=flip_filter, LAST=channels_last,
            ACC=tensors.accumulator(x), BLOCK_A=block_a,
            BLOCK_B=block_b, num_warps=config.warps(),
        )  # fmt: skip
    return y


def upfirdn2d(x: Tensor, filter: Tensor, up: list[int], down: list[int], padding: list[int],
              flip_filter: bool, gain: float) -> Tensor:  # fmt: skip
    """Pad, upsample, filter and downsample [N, C, H, W] images; up and down are [x, y].

    x may have any strides. `filter` holds float32 taps: [fh, fw] runs in one pass, [n] in two
    with the image between them in the dtype of the computation.

    Raises:
        ValueError: the filter is larger than the padded image, or an axis has 2^30 pixels.
    """
    channels_last = tensors.is_channels_last(x)
    taps = filter.contiguous()
    across = Axis(x.shape[3], up[0], down[0], padding[0], padding[1], filter.shape[-1])
    along = Axis(x.shape[2], up[1], down[1], padding[2], padding[3], filter.shape[0])
    for axis in (across, along):
        _check(axis)
    if filter.ndim == 2:
        return _launch(x, taps, across, along, flip_filter, gain, channels_last, x.dtype)
    wide = tensors.compute_dtype(x)
    rows, columns = Axis(x.shape[2], 1, 1, 0, 0, 1), Axis(across.out, 1, 1, 0, 0, 1)
    between = _launch(x, taps, across, rows, flip_filter, 1.0, channels_last, wide)
    return _launch(between, taps, columns, along, flip_filter, gain, channels_last, x.dtype)
