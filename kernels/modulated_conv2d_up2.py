"""The fused modulated convolution with 2x upsampling in Triton, in two launches.

The transposed 3x3 convolution of stride 2 is split by the parity of the output: 4, 2, 2 and 1
taps, 9 products per input pixel. It writes an image of (2H + 1) x (2W + 1) in the dtype of x. The
second kernel reads that once, filters both axes and finishes with demodulation, noise, bias,
activation, gain and clamp. Beside x and the result, the image between is written and read, and
nothing else: threads of a program share no memory in Triton, so the filter cannot reach the
neighbours in the registers of the product.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels import config, tensors
from fastgan.kernels.modulated_conv2d_gemm import (
    Epilogue,
    blocks,
    check_size,
    contract,
    finish,
    image_result,
    packed,
)


@triton.jit
def transposed_kernel(
    x_ptr, w_ptr, in_scale_ptr, z_ptr, samples, in_channels, out_channels, height, width,
    LAST: tl.constexpr, PRECISION: tl.constexpr, ACC: tl.constexpr, BLOCK_PIXELS: tl.constexpr,
    BLOCK_OUT: tl.constexpr, BLOCK_IN: tl.constexpr,
):  # fmt: skip
    """One tile of one parity of one sample; the parity with the most taps starts first.

    Even rows 2a take the inputs a - 1 and a with the weight's rows 0 and 2, odd rows 2a + 1 the
    input a with row 1; columns are alike.
    """
    tiles_out = tl.cdiv(out_channels, BLOCK_OUT)
    tiles_pixel = tl.cdiv((height + 1) * (width + 1), BLOCK_PIXELS)
    tile = tl.program_id(0) // tiles_out
    sample = (tile // tiles_pixel % samples).to(tl.int64)
    parity = tile // tiles_pixel // samples
    odd_y, odd_x = parity // 2, parity % 2
    rows, cols = height + 1 - odd_y, width + 1 - odd_x
    place = tile % tiles_pixel * BLOCK_PIXELS + tl.arange(0, BLOCK_PIXELS)
    channel = tl.program_id(0) % tiles_out * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    row, col, stored = place // cols, place % cols, place < rows * cols
    acc = contract(
        x_ptr + sample * in_channels * height * width, w_ptr, in_scale_ptr + sample * in_channels,
        row + odd_y - 1, col + odd_x - 1, stored, channel, in_channels, out_channels, height, width,
        2 - odd_y, 2 - odd_x, odd_y, odd_x, 2, 3, LAST, PRECISION, ACC, BLOCK_PIXELS, BLOCK_OUT,
        BLOCK_IN,
    )  # fmt: skip
    z_width, z_pixels = 2 * width + 1, (2 * height + 1) * (2 * width + 1)
    pixel = (2 * row + odd_y) * z_width + 2 * col + odd_x
    if LAST:
        offset = pixel[:, None] * out_channels + channel[None, :]
    else:
        offset = channel[None, :] * z_pixels + pixel[:, None]
    z_ptr += sample * out_channels * z_pixels
    mask = stored[:, None] & (channel < out_channels)[None, :]
    tl.store(z_ptr + offset, acc.to(z_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _filtered_row(
    z_ptr, taps_ptr, row, height, width, row_step, column, column_step, known, ACC: tl.constexpr
):
    """The four taps along one row of z, from `column` on; zero outside of the image."""
    total = tl.zeros(known.shape, dtype=ACC)
    inside = known & (row >= 0) & (row < height)
    for k in tl.static_range(4):
        x = column + k
        z = tl.load(
            z_ptr + row * row_step + x * column_step,
            mask=inside & (x >= 0) & (x < width), other=0.0,
        )  # fmt: skip
        total += z.to(ACC) * (2 * tl.load(taps_ptr + 3 - k).to(ACC))
    return total


@triton.jit
def fir_kernel(
    z_ptr, taps_ptr, y_ptr, channels, z_height, z_width, out_height, out_width, pad_y, pad_x,
    out_scale_ptr, noise_ptr, bias_ptr, noise_step,
    alpha: tl.float64, scale: tl.float64, gain: tl.float64, limit: tl.float64,
    OUT_SCALE: tl.constexpr, NOISE: tl.constexpr, BIAS: tl.constexpr, ACT: tl.constexpr,
    TERMS: tl.constexpr, LAST: tl.constexpr, ACC: tl.constexpr, ROWS: tl.constexpr,
    BLOCK_A: tl.constexpr, BLOCK_B: tl.constexpr,
):  # fmt: skip
    """ROWS rows of one sample for a tile of columns and channels: (columns, channels) with LAST,
    else (channels, columns). The last three filtered rows stay in registers."""
    strips = tl.cdiv(out_height, ROWS)
    tiles_a = tl.cdiv(out_width if LAST else channels, BLOCK_A)
    tiles_b = tl.cdiv(channels if LAST else out_width, BLOCK_B)
    tile, strip = tl.program_id(0) // strips, tl.program_id(0) % strips
    sample = (tile // (tiles_a * tiles_b)).to(tl.int64)
    a = tile // tiles_b % tiles_a * BLOCK_A + tl.arange(0, BLOCK_A)
    b = tile % tiles_b * BLOCK_B + tl.arange(0, BLOCK_B)
    if LAST:
        column, channel = a[:, None], b[None, :]
    else:
        column, channel = b[None, :], a[:, None]
    known = (column < out_width) & (channel < channels)
    pixels = out_height * out_width
    row_step = z_width * (channels if LAST else 1)
    column_step = channels if LAST else 1
    z_ptr += sample * channels * z_height * z_width
    z_ptr += channel * (1 if LAST else z_height * z_width)
    y_ptr += sample * channels * pixels + channel * (1 if LAST else pixels)
    out_scale_ptr += sample * channels
    noise_ptr += sample * noise_step
    t3, t2 = tl.load(taps_ptr + 3).to(ACC), tl.load(taps_ptr + 2).to(ACC)
    t1, t0 = tl.load(taps_ptr + 1).to(ACC), tl.load(taps_ptr).to(ACC)
    first, column_in = strip * ROWS - pad_y, column - pad_x
    r0 = _filtered_row(z_ptr, taps_ptr, first, z_height, z_width, row_step, column_in,
                       column_step, known, ACC)  # fmt: skip
    r1 = _filtered_row(z_ptr, taps_ptr, first + 1, z_height, z_width, row_step, column_in,
                       column_step, known, ACC)  # fmt: skip
    r2 = _filtered_row(z_ptr, taps_ptr, first + 2, z_height, z_width, row_step, column_in,
                       column_step, known, ACC)  # fmt: skip
    for step in range(ROWS):
        r3 = _filtered_row(z_ptr, taps_ptr, first + step + 3, z_height, z_width, row_step,
                           column_in, column_step, known, ACC)  # fmt: skip
        row = strip * ROWS + step
        value = 2 * (r0 * t3 + r1 * t2 + r2 * t1 + r3 * t0)
        pixel = row * out_width + column
        y = finish(
            value, out_scale_ptr, noise_ptr, bias_ptr, channel, pixel, channels, pixels, alpha,
            scale, gain, limit, OUT_SCALE, NOISE, BIAS, ACT, TERMS, ACC,
        )  # fmt: skip
        mask = known & (row < out_height)
        tl.store(y_ptr + pixel * column_step, y.to(y_ptr.dtype.element_ty), mask=mask)
        r0, r1, r2 = r1, r2, r3


def _transposed(x: Tensor, weight: Tensor, in_scale: Tensor, allow_tf32: bool) -> Tensor:
    samples, in_channels, height, width = x.shape
    out_channels = weight.shape[0]
    z = image_result(x, out_channels, 2 * height + 1, 2 * width + 1)
    check_size(x, z)
    pixels = (height + 1) * (width + 1)
    options = blocks(x, pixels, out_channels, allow_tf32)
    tiles = triton.cdiv(pixels, options["BLOCK_PIXELS"])
    tiles *= triton.cdiv(out_channels, options["BLOCK_OUT"])
    with torch.cuda.device_of(x):
        transposed_kernel[(4 * samples * tiles,)](
            x, packed(weight), in_scale.contiguous(), z, samples, in_channels, out_channels,
            height, width, LAST=tensors.is_channels_last(x), **options,
        )  # fmt: skip
    return z


def convolve_up2(x: Tensor, weight: Tensor, in_scale: Tensor, taps: Tensor, padding: list[int],
                 epilogue: Epilogue, allow_tf32: bool) -> Tensor:  # fmt: skip
    """The fused convolution with a 3x3 weight after 2x upsampling by 4 taps; padding as
    `conv2d_resample` gets it. The padding that the filter needs and the margin of the transposed
    convolution cancel, so that it is also what the filter pads."""
    out_height = 2 * x.shape[2] + padding[2] + padding[3] - 2
    out_width = 2 * x.shape[3] + padding[0] + padding[1] - 2
    channels = weight.shape[0]
    y = image_result(x, channels, out_height, out_width)
    check_size(y)
    if y.numel() == 0:
        return y
    z = _transposed(x, weight, in_scale, allow_tf32)
    last = tensors.is_channels_last(x)
    limits = config.FIR_CHANNELS_LAST if last else config.FIR_PLANAR
    a, b = (out_width, channels) if last else (channels, out_width)
    block_b = min(limits[1], config.power_of_two(b))
    block_a = min(limits[0] * limits[1] // block_b, config.power_of_two(a))
    rows = min(config.FIR_ROWS, config.power_of_two(out_height))
    tiles = triton.cdiv(a, block_a) * triton.cdiv(b, block_b) * triton.cdiv(out_height, rows)
    with torch.cuda.device_of(x):
        fir_kernel[(x.shape[0] * tiles,)](
            z, taps.contiguous(), y, channels, z.shape[2], z.shape[3], out_height, out_width,
            padding[2], padding[0], **epilogue.arguments(y), LAST=last,
            ACC=tensors.accumulator(x), ROWS=rows, BLOCK_A=block_a, BLOCK_B=block_b,
            num_warps=config.warps(),
        )  # fmt: skip
    return y
