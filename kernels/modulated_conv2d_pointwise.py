"""The fused 1x1 convolution to few channels (ToRGB) in Triton: it is bound by reading x, so that
each element is read once and multiplied for every output channel, without a matrix product that
would be mostly padding."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels import config, tensors
from fastgan.kernels.modulated_conv2d_gemm import Epilogue, check_size, finish, image_result


@triton.jit
def _weight_row(w_ptr, scale, channel, index, in_channels, LAST: tl.constexpr):
    """One row of the weight, as a row or a column of the tile."""
    w = tl.load(w_ptr + index * in_channels + channel, mask=channel < in_channels, other=0.0)
    w = w.to(scale.dtype)
    return w[None, :] if LAST else w[:, None]


@triton.jit
def _write(
    total, index, out_scale_ptr, noise_ptr, bias_ptr, y_ptr, pixel, channels, pixels,
    alpha, scale, gain, limit, OUT_SCALE: tl.constexpr, NOISE: tl.constexpr, BIAS: tl.constexpr,
    ACT: tl.constexpr, TERMS: tl.constexpr, LAST: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    value = tl.sum(total, 1 if LAST else 0)
    y = finish(
        value, out_scale_ptr, noise_ptr, bias_ptr, tl.zeros_like(pixel) + index, pixel, channels,
        pixels, alpha, scale, gain, limit, OUT_SCALE, NOISE, BIAS, ACT, TERMS, ACC,
    )  # fmt: skip
    offset = pixel * channels + index if LAST else index * pixels + pixel
    tl.store(y_ptr + offset, y.to(y_ptr.dtype.element_ty), mask=pixel < pixels)


@triton.jit
def pointwise_kernel(
    x_ptr, w_ptr, in_scale_ptr, y_ptr, in_channels, pixels, out_scale_ptr, noise_ptr, bias_ptr,
    noise_step, alpha: tl.float64, scale: tl.float64, gain: tl.float64, limit: tl.float64,
    OUT_SCALE: tl.constexpr, NOISE: tl.constexpr, BIAS: tl.constexpr, ACT: tl.constexpr,
    TERMS: tl.constexpr, OUT: tl.constexpr, LAST: tl.constexpr, ACC: tl.constexpr,
    BLOCK_PIXELS: tl.constexpr, BLOCK_IN: tl.constexpr,
):  # fmt: skip
    """All OUT <= 4 channels of a block of pixels. The sums stay apart per thread until the end."""
    dtype: tl.constexpr = x_ptr.dtype.element_ty
    tiles = tl.cdiv(pixels, BLOCK_PIXELS)
    sample = (tl.program_id(0) // tiles).to(tl.int64)
    pixel = tl.program_id(0) % tiles * BLOCK_PIXELS + tl.arange(0, BLOCK_PIXELS)
    x_ptr += sample * in_channels * pixels
    rows: tl.constexpr = BLOCK_PIXELS if LAST else BLOCK_IN
    cols: tl.constexpr = BLOCK_IN if LAST else BLOCK_PIXELS
    total0 = tl.zeros((rows, cols), dtype=ACC)
    total1, total2, total3 = total0, total0, total0
    for first in range(0, in_channels, BLOCK_IN):
        channel = first + tl.arange(0, BLOCK_IN)
        scale_in = tl.load(
            in_scale_ptr + sample * in_channels + channel, mask=channel < in_channels, other=0.0
        )
        if LAST:
            offset = pixel[:, None] * in_channels + channel[None, :]
            mask = (pixel < pixels)[:, None] & (channel < in_channels)[None, :]
            factor = scale_in[None, :]
        else:
            offset = channel[:, None] * pixels + pixel[None, :]
            mask = (channel < in_channels)[:, None] & (pixel < pixels)[None, :]
            factor = scale_in[:, None]
        x = tl.load(x_ptr + offset, mask=mask, other=0.0).to(ACC) * factor
        x = x.to(dtype).to(ACC)
        total0 += x * _weight_row(w_ptr, scale_in, channel, 0, in_channels, LAST)
        if OUT > 1:
            total1 += x * _weight_row(w_ptr, scale_in, channel, 1, in_channels, LAST)
        if OUT > 2:
            total2 += x * _weight_row(w_ptr, scale_in, channel, 2, in_channels, LAST)
        if OUT > 3:
            total3 += x * _weight_row(w_ptr, scale_in, channel, 3, in_channels, LAST)
    out_scale_ptr += sample * OUT
    noise_ptr += sample * noise_step
    y_ptr += sample * OUT * pixels
    for index in tl.static_range(OUT):
        total = total0
        if index == 1:
            total = total1
        elif index == 2:
            total = total2
        elif index == 3:
            total = total3
        _write(
            total, index, out_scale_ptr, noise_ptr, bias_ptr, y_ptr, pixel, OUT, pixels, alpha,
            scale, gain, limit, OUT_SCALE, NOISE, BIAS, ACT, TERMS, LAST, ACC,
        )  # fmt: skip


def convolve_pointwise(x: Tensor, weight: Tensor, in_scale: Tensor, epilogue: Epilogue) -> Tensor:
    """The fused convolution for a [C_out, C_in, 1, 1] weight of at most 4 output channels."""
    samples, in_channels, height, width = x.shape
    out_channels, pixels = weight.shape[0], height * width
    y = image_result(x, out_channels, height, width)
    check_size(x, y)
    if y.numel() == 0:
        return y
    last = tensors.is_channels_last(x)
    limits = config.POINTWISE_CHANNELS_LAST if last else config.POINTWISE_PLANAR
    block_pixels = min(limits[0], config.power_of_two(pixels))
    block_in = min(limits[1], config.power_of_two(in_channels))
    with torch.cuda.device_of(x):
        pointwise_kernel[(samples * triton.cdiv(pixels, block_pixels),)](
            x, weight.contiguous(), in_scale.contiguous(), y, in_channels, pixels,
            **epilogue.arguments(y), OUT=out_channels, LAST=last, ACC=tensors.accumulator(x),
            BLOCK_PIXELS=block_pixels, BLOCK_IN=block_in, num_warps=config.warps(),
        )  # fmt: skip
    return y
