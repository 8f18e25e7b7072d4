"""upfirdn2d in Triton: polyphase, so that inserted zeros are never read, one tile of the output
per program. A program computes its tile block by block from the top: the tile is large, so that
halos are a small part of what crosses from the L2 cache, and a block fits into registers.

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
    ACC: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, LANES: tl.constexpr,
    STEPS: tl.constexpr,
):  # fmt: skip
    """One tile of STEPS blocks. Planar: a block is rows by columns of a plane. LAST
    (channels_last): pixels by channels, pixels row by row."""
    tiles_x, tiles_c = tl.cdiv(out_width, COLUMNS), tl.cdiv(channels, LANES)
    tiles = tl.cdiv(out_height, ROWS * STEPS) * tiles_x
    # Programs that differ in channels alone are neighbours: what they read is side by side.
    lane, tile = tl.program_id(0) % tiles_c, tl.program_id(0) // tiles_c
    if not LAST:
        lane, tile = tl.program_id(0) // tiles % channels, tl.program_id(0) % tiles
    sample = (tl.program_id(0) // (tiles * tiles_c)).to(tl.int64)
    tile %= tiles
    row, column = tile // tiles_x * (ROWS * STEPS), tile % tiles_x * COLUMNS
    x_ptr += sample * stride_n
    if LAST:
        pixel = tl.arange(0, ROWS * COLUMNS)[:, None]
        c = lane * LANES + tl.arange(0, LANES)[None, :]
        oy, ox = row + pixel // COLUMNS, column + pixel % COLUMNS
        x_ptr += c * stride_c
        y_ptr += sample * out_height * out_width * channels + c
        stored = (ox < out_width) & (c < channels)
        acc_rows: tl.constexpr = ROWS * COLUMNS
        acc_columns: tl.constexpr = LANES
    else:
        oy, ox = row + tl.arange(0, ROWS)[:, None], column + tl.arange(0, COLUMNS)[None, :]
        x_ptr += lane.to(tl.int64) * stride_c
        y_ptr += (sample * channels + lane) * out_height * out_width
        stored = ox < out_width
        acc_rows: tl.constexpr = ROWS
        acc_columns: tl.constexpr = COLUMNS
    t_x = ox * DOWN_X + base_x
    ahead_x = (t_x + (UP_X - 1)) // UP_X
    # Without upsampling every output starts at tap 0: one weight serves the whole block.
    tap_x = 0 if UP_X == 1 else ahead_x * UP_X - t_x
    first_x = ahead_x - shift_x
    for _ in range(STEPS):
        t_y = oy * DOWN_Y + base_y
        ahead_y = (t_y + (UP_Y - 1)) // UP_Y
        tap_y = 0 if UP_Y == 1 else ahead_y * UP_Y - t_y
        first_y = ahead_y - shift_y
        inside = stored & (oy < out_height)
        acc = tl.zeros((acc_rows, acc_columns), dtype=ACC)
        # A loop that stays one: unrolled, the loads of all rows would be in registers at once.
        for j in range((TAPS_Y + UP_Y - 1) // UP_Y):
            iy = first_y + j
            acc = _filter_row(
                acc, x_ptr, f_ptr, iy.to(tl.int64) * stride_y,
                inside & (iy >= 0) & (iy < height), tap_y + j * UP_Y, first_x, tap_x, width,
                stride_x, UP_X, TAPS_X, TAPS_Y, FLIP,
            )  # fmt: skip
        y = (acc * tl.full((), gain, ACC)).to(y_ptr.dtype.element_ty)
        place = oy.to(tl.int64) * out_width + ox
        tl.store(y_ptr + (place * channels if LAST else place), y, mask=inside)
        oy += ROWS


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
    rows, columns, lanes, steps = config.upfirdn_blocks(channels, height, width, channels_last)
    tiles = triton.cdiv(height, rows * steps) * triton.cdiv(width, columns)
    programs = samples * tiles * triton.cdiv(channels, lanes)
    with torch.cuda.device_of(x):
        upfirdn2d_kernel[(programs,)](
            x, filter, y, channels, x.shape[2], x.shape[3], height, width, *x.stride(),
            across.base, along.base, across.shift, along.shift, gain,
            UP_X=across.up, UP_Y=along.up, DOWN_X=across.down, DOWN_Y=along.down,
            TAPS_X=across.taps, TAPS_Y=along.taps, FLIP=flip_filter, LAST=channels_last,
            ACC=tensors.accumulator(x), ROWS=rows, COLUMNS=columns, LANES=lanes, STEPS=steps,
            num_warps=config.warps(),
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
