"""The fused modulated convolution in Triton as an implicit matrix product: pixels by output
channels, summed over taps and input channels.

The input is scaled by the style as it is loaded and rounded to its own dtype; the sum is finished
by demodulation, noise, bias, activation, gain and clamp before it is written. Nothing else is read
or written, and no sum is split between programs. Offsets within a sample are 32-bit numbers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels import config, tensors
from fastgan.kernels.bias_act import activate, activation

LARGEST_SAMPLE = 2**31 - 2**20  # elements, up to the end of the last tile


@triton.jit
def contract(
    x_ptr, w_ptr, scale_ptr, first_y, first_x, stored, out_channel, in_channels, out_channels,
    height, width, taps_y, taps_x, base_y, base_x, STEP: tl.constexpr, KERNEL_W: tl.constexpr,
    LAST: tl.constexpr, PRECISION: tl.constexpr, ACC: tl.constexpr, BLOCK_PIXELS: tl.constexpr,
    BLOCK_OUT: tl.constexpr, BLOCK_IN: tl.constexpr,
):  # fmt: skip
    """sum over taps and input channels of x * scale, rounded, times w [kh, kw, C_out, C_in].

    Tap t meets the input at first + t and the weight at base + t * STEP, on either axis.
    """
    dtype: tl.constexpr = x_ptr.dtype.element_ty
    blocks = tl.cdiv(in_channels, BLOCK_IN)
    acc = tl.zeros((BLOCK_PIXELS, BLOCK_OUT), dtype=ACC)
    first_y = tl.where(stored, first_y, -(2**30))  # outside of every image: no mask to keep
    # One loop over both, so that loads are fetched ahead across the taps too.
    for step in range(taps_y * taps_x * blocks):
        tap = step // blocks
        tap_y, tap_x = tap // taps_x, tap % taps_x
        channel = step % blocks * BLOCK_IN + tl.arange(0, BLOCK_IN)
        iy, ix = first_y + tap_y, first_x + tap_x
        inside = (iy >= 0) & (iy < height) & (ix >= 0) & (ix < width)
        pixel = iy * width + ix
        if LAST:
            offset = pixel[:, None] * in_channels + channel[None, :]
        else:
            offset = channel[None, :] * (height * width) + pixel[:, None]
        known = channel < in_channels
        x = tl.load(x_ptr + offset, mask=inside[:, None] & known[None, :], other=0.0)
        scale = tl.load(scale_ptr + channel, mask=known, other=0.0)
        x = (x.to(ACC) * scale[None, :]).to(dtype)
        place = (base_y + tap_y * STEP) * KERNEL_W + base_x + tap_x * STEP
        row = place * out_channels + out_channel
        w = tl.load(
            w_ptr + row[None, :] * in_channels + channel[:, None],
            mask=(out_channel < out_channels)[None, :] & known[:, None], other=0.0,
        )  # fmt: skip
        acc = tl.dot(x, w, acc, input_precision=PRECISION, out_dtype=ACC)
    return acc


@triton.jit
def finish(
    value, out_scale_ptr, noise_ptr, bias_ptr, channel, pixel, channels, pixels,
    alpha, scale, gain, limit, OUT_SCALE: tl.constexpr, NOISE: tl.constexpr, BIAS: tl.constexpr,
    ACT: tl.constexpr, TERMS: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """clamp(gain act(value * out_scale + noise + bias)); `channel` and `pixel` broadcast to the
    tile, the pointers are those of the sample. A limit of NaN is no limit."""
    if OUT_SCALE:
        value *= tl.load(out_scale_ptr + channel, mask=channel < channels, other=0.0)
    if NOISE:
        value += tl.load(noise_ptr + pixel, mask=pixel < pixels, other=0.0)
    if BIAS:
        value += tl.load(bias_ptr + channel, mask=channel < channels, other=0.0)
    alpha, scale = tl.full((), alpha, ACC), tl.full((), scale, ACC)
    gain, limit = tl.full((), gain, ACC), tl.full((), limit, ACC)
    y = gain * activate(value, alpha, scale, ACT, TERMS)
    floored = tl.where(y < -limit, -limit, y)
    return tl.where(floored > limit, limit, floored)


@triton.jit
def conv_kernel(
    x_ptr, w_ptr, in_scale_ptr, y_ptr, in_channels, out_channels, height, width, out_height,
    out_width, pad_y, pad_x, out_scale_ptr, noise_ptr, bias_ptr, noise_step,
    alpha: tl.float64, scale: tl.float64, gain: tl.float64, limit: tl.float64,
    OUT_SCALE: tl.constexpr, NOISE: tl.constexpr, BIAS: tl.constexpr, ACT: tl.constexpr,
    TERMS: tl.constexpr, KERNEL_H: tl.constexpr, KERNEL_W: tl.constexpr, LAST: tl.constexpr,
    PRECISION: tl.constexpr, ACC: tl.constexpr, BLOCK_PIXELS: tl.constexpr,
    BLOCK_OUT: tl.constexpr, BLOCK_IN: tl.constexpr,
):  # fmt: skip
    """One tile of one sample: pixels by output channels. Programs that share pixels are
    neighbours."""
    pixels = out_height * out_width
    tiles_out, tiles_pixel = tl.cdiv(out_channels, BLOCK_OUT), tl.cdiv(pixels, BLOCK_PIXELS)
    tile = tl.program_id(0) // tiles_out
    sample = (tile // tiles_pixel).to(tl.int64)
    pixel = tile % tiles_pixel * BLOCK_PIXELS + tl.arange(0, BLOCK_PIXELS)
    channel = tl.program_id(0) % tiles_out * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    acc = contract(
        x_ptr + sample * in_channels * height * width, w_ptr, in_scale_ptr + sample * in_channels,
        pixel // out_width - pad_y, pixel % out_width - pad_x, pixel < pixels, channel,
        in_channels, out_channels, height, width, KERNEL_H, KERNEL_W, 0, 0, 1, KERNEL_W, LAST,
        PRECISION, ACC, BLOCK_PIXELS, BLOCK_OUT, BLOCK_IN,
    )  # fmt: skip
    y = finish(
        acc, out_scale_ptr + sample * out_channels, noise_ptr + sample * noise_step, bias_ptr,
        channel[None, :], pixel[:, None], out_channels, pixels, alpha, scale, gain, limit,
        OUT_SCALE, NOISE, BIAS, ACT, TERMS, ACC,
    )  # fmt: skip
    if LAST:
        offset = pixel[:, None] * out_channels + channel[None, :]
    else:
        offset = channel[None, :] * pixels + pixel[:, None]
    y_ptr += sample * out_channels * pixels
    mask = (pixel < pixels)[:, None] & (channel < out_channels)[None, :]
    tl.store(y_ptr + offset, y.to(y_ptr.dtype.element_ty), mask=mask)


class Epilogue(NamedTuple):
    """What follows the convolution; scale, noise and bias in the dtype of the computation."""

    out_scale: Tensor | None
    noise: Tensor | None  # [N or 1, 1, out_h, out_w]
    bias: Tensor | None
    act: str
    alpha: float
    gain: float
    clamp: float  # negative for none

    def arguments(self, y: Tensor) -> dict[str, Any]:
        """The arguments of `finish`, by the names that the kernels have for them."""
        act, alpha, scale = activation(self.act, self.alpha)
        noise = None if self.noise is None else self.noise.contiguous()
        pixels = 0 if noise is None or noise.shape[0] == 1 else noise.shape[2] * noise.shape[3]
        return {
            "out_scale_ptr": y if self.out_scale is None else self.out_scale.contiguous(),
            "noise_ptr": y if noise is None else noise,
            "bias_ptr": y if self.bias is None else self.bias.contiguous(),
            "noise_step": pixels,
            "alpha": alpha,
            "scale": scale,
            "gain": self.gain,
            "limit": float("nan") if self.clamp < 0 else self.clamp,
            "OUT_SCALE": self.out_scale is not None,
            "NOISE": noise is not None,
            "BIAS": self.bias is not None,
            "ACT": act,
            "TERMS": 17 if y.dtype == torch.float64 else 8,
        }


def image_result(x: Tensor, channels: int, height: int, width: int) -> Tensor:
    """An uninitialised [N, channels, height, width] in the dtype and the layout of the images x."""
    size = (x.shape[0], channels, height, width)
    if not tensors.is_channels_last(x):
        return tensors.new(x, *size)
    steps = (channels * height * width, 1, width * channels, channels)
    return tensors.allocate(size, steps, x.dtype, x.device)


def check_size(*images: Tensor) -> None:
    """Raise ValueError when a sample has too many elements for 32-bit offsets."""
    for image in images:
        elements = image.shape[1] * image.shape[2] * image.shape[3]
        if elements > LARGEST_SAMPLE:
            raise ValueError(
                f"modulated_conv2d: an image of {elements} elements is above the kernel's "
                f"{LARGEST_SAMPLE}; ask for backend='reference'"
            )


def packed(weight: Tensor) -> Tensor:
    """[C_out, C_in, kh, kw] as [kh, kw, C_out, C_in], so that what is summed over is contiguous."""
    return weight.permute(2, 3, 0, 1).contiguous()


def blocks(x: Tensor, pixels: int, out_channels: int, allow_tf32: bool) -> dict[str, Any]:
    """Tile, precision and threads of a product, from shapes and dtype alone."""
    tf32 = allow_tf32 and x.dtype == torch.float32
    kind = {torch.float64: "float64", torch.float32: "tf32" if tf32 else "float32"}
    limits = config.CONV_TILES[kind.get(x.dtype, "half")]
    # The hardware's product takes 16 of each at least.
    sizes = (pixels, out_channels, x.shape[1])
    tile = [min(a, max(config.power_of_two(b), 16)) for a, b in zip(limits, sizes, strict=True)]
    return {
        "PRECISION": "tf32" if tf32 else "ieee",
        "ACC": tensors.accumulator(x),
        "BLOCK_PIXELS": tile[0],
        "BLOCK_OUT": tile[1],
        "BLOCK_IN": tile[2],
        "num_warps": config.warps(),
        "num_stages": config.CONV_STAGES,
    }


def convolve(x: Tensor, weight: Tensor, in_scale: Tensor, padding: list[int], epilogue: Epilogue,
             allow_tf32: bool) -> Tensor:  # fmt: skip
    """The fused convolution without resampling; padding is [x0, x1, y0, y1], negative to crop."""
    samples, in_channels, height, width = x.shape
    out_channels, _, kernel_h, kernel_w = weight.shape
    out_height = height + padding[2] + padding[3] - kernel_h + 1
    out_width = width + padding[0] + padding[1] - kernel_w + 1
    y = image_result(x, out_channels, out_height, out_width)
    check_size(x, y)
    if y.numel() == 0:
        return y
    pixels = out_height * out_width
    options = blocks(x, pixels, out_channels, allow_tf32)
    tiles = triton.cdiv(pixels, options["BLOCK_PIXELS"])
    tiles *= triton.cdiv(out_channels, options["BLOCK_OUT"])
    with torch.cuda.device_of(x):
        conv_kernel[(samples * tiles,)](
            x, packed(weight), in_scale.contiguous(), y, in_channels, out_channels, height, width,
            out_height, out_width, padding[2], padding[0], **epilogue.arguments(y),
            KERNEL_H=kernel_h, KERNEL_W=kernel_w, LAST=tensors.is_channels_last(x), **options,
        )  # fmt: skip
    return y
