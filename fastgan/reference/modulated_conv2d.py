"""Specification of modulated_conv2d: convolution with a weight scaled per sample by its style."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.reference.bias_act import bias_act
from fastgan.reference.conv2d_resample import conv2d_resample


def normalize_half(weight: Tensor, styles: Tensor) -> tuple[Tensor, Tensor]:
    """Scale weight and styles so that half-precision products cannot overflow.

    w *= 1 / (sqrt(I kh kw) max|w|) per output channel; s /= max|s| per sample. The demodulation
    undoes both, up to its epsilon.
    """
    fan_in = weight[0].numel()
    weight = weight / (fan_in**0.5 * weight.abs().amax(dim=[1, 2, 3], keepdim=True))
    return weight, styles / styles.abs().amax(dim=1, keepdim=True)


def demodulation(weight: Tensor, styles: Tensor) -> Tensor:
    """d[n, o] = rsqrt(sum_{i,kh,kw} (w[o,i,kh,kw] s[n,i])^2 + 1e-8), shape [N, O]."""
    energy = weight.square().sum(dim=[2, 3])  # [O, I]
    return (styles.square() @ energy.t() + 1e-8).rsqrt()


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    *,
    noise: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    resample_filter: Tensor | None = None,
    demodulate: bool = True,
    flip_weight: bool = True,
    bias: Tensor | None = None,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """y[n] = bias_act(d[n] * conv2d_resample(x[n] * s[n], w) + noise[n], bias, act, ...).

    Equal to convolving sample n with w[o,i] s[n,i] d[n,o]. Half precision with demodulation
    pre-normalises weight and styles; weight and styles may stay in float32 then.
    Source: Karras et al. 2020 (StyleGAN2), equations 1 to 3.
    """
    half = x.dtype in (torch.float16, torch.bfloat16)
    dtype = torch.float32 if half else x.dtype
    weight, styles = weight.to(dtype), styles.to(dtype)
    if half and demodulate:
        weight, styles = normalize_half(weight, styles)
    y = conv2d_resample(
        (x.to(dtype) * styles[:, :, None, None]).to(x.dtype),
        weight.to(x.dtype),
        resample_filter,
        up=up,
        down=down,
        padding=padding,
        flip_weight=flip_weight,
    ).to(dtype)
    if demodulate:
        y = y * demodulation(weight, styles)[:, :, None, None]
    if noise is not None:
        y = y + noise.to(dtype)
    bias = None if bias is None else bias.to(x.dtype)
    return bias_act(y.to(x.dtype), bias, act=act, alpha=alpha, gain=gain, clamp=clamp)
