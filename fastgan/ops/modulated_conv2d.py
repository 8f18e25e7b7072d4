"""modulated_conv2d: convolution whose weight is scaled by a style, sample by sample.

Computed as scale the input, convolve with the constant weight, scale the output and add noise.
The two scalings are kernels (csrc/cpu/modulated_conv2d.cpp, kernels/modulated_conv2d.py); the
convolution is `conv2d_resample`. The mathematics is in `fastgan.reference.modulated_conv2d`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastgan import reference
from fastgan.dispatch import select
from fastgan.ops._check import check_floating, check_rank, padding4
from fastgan.ops.bias_act import bias_act
from fastgan.ops.conv2d_resample import conv2d_resample
from fastgan.ops.modulated_conv2d_scale import modulated_conv2d_scale
from fastgan.reference.bias_act import ACTIVATIONS
from fastgan.reference.modulated_conv2d import demodulation, normalize_half


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    *,
    noise: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: int | Sequence[int] = 0,
    resample_filter: Tensor | None = None,
    demodulate: bool = True,
    flip_weight: bool = True,
    bias: Tensor | None = None,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    backend: str | None = None,
) -> Tensor:
    """Convolve each sample with the weight scaled by its style, normalise, and activate.

    y[n] = bias_act(conv2d_resample(x[n], w[o, i] * s[n, i] * d[n, o]) + noise[n], bias), with
    d[n, o] = rsqrt(sum_{i, kh, kw} (w[o, i, kh, kw] * s[n, i])^2 + 1e-8), or 1 without
    demodulation. Computed by scaling x and y, so that the weight stays constant.

    Args:
        x: [N, C_in, H, W], float32, float64, float16 or bfloat16.
        weight: [C_out, C_in, kh, kw], floating point.
        styles: [N, C_in], floating point.
        noise: broadcastable to the output [N, C_out, out_h, out_w], usually [N, 1, out_h, out_w].
        up: upsampling factor. down: downsampling factor.
        padding: int, [x, y] or [x0, x1, y0, y1], as in `conv2d_resample`.
        resample_filter: float32 taps from `setup_filter`.
        demodulate: normalise to unit variance for unit-variance input.
        flip_weight: True correlates, False convolves.
        bias: [C_out], floating point, rounded to the dtype of x where the pass is not fused.
        act: activation, as in `bias_act`; so are alpha, gain and clamp.
        backend: "reference", "cpp" or "triton"; None lets dispatch choose.

    Returns:
        [N, C_out, out_h, out_w], dtype of x. In half precision with demodulation the weight is
        first divided by sqrt(fan_in) max|w| and the styles by max|s|, so that no product
        overflows.

    Raises:
        TypeError: an argument is not floating point.
        ValueError: a shape, factor, padding or activation does not fit.
        BackendUnavailableError: `backend` cannot run this call.

    Differentiable: any order in x, weight, styles, noise and bias.

    Source: Karras et al. 2020 (StyleGAN2), equations 1 to 3.
    """
    cut = padding4("modulated_conv2d", padding)
    _check(x, weight, styles)
    _check_activation(weight, bias, act, clamp)
    chosen = select("modulated_conv2d", x, backend)
    if chosen == "reference":
        return reference.modulated_conv2d(
            x, weight, styles, noise=noise, up=up, down=down, padding=cut,
            resample_filter=resample_filter, demodulate=demodulate, flip_weight=flip_weight,
            bias=bias, act=act, alpha=alpha, gain=gain, clamp=clamp,
        )  # fmt: skip
    y = _scaled(x, weight, styles, noise, up, down, cut, resample_filter, demodulate, flip_weight,
                chosen)  # fmt: skip
    if bias is None and act == "linear" and gain in (None, 1) and clamp is None:
        return y
    bias = None if bias is None else bias.to(y.dtype)
    return bias_act(y, bias, act=act, alpha=alpha, gain=gain, clamp=clamp, backend=chosen)


def _check(x: Tensor, weight: Tensor, styles: Tensor) -> None:
    for name, tensor in (("x", x), ("weight", weight), ("styles", styles)):
        check_floating("modulated_conv2d", name, tensor)
    check_rank("modulated_conv2d", "x", x, 4, "[N, C_in, H, W]")
    check_rank("modulated_conv2d", "weight", weight, 4, "[C_out, C_in, kh, kw]")
    if weight.shape[1] != x.shape[1] or tuple(styles.shape) != tuple(x.shape[:2]):
        raise ValueError(
            f"modulated_conv2d: x {tuple(x.shape)} needs weight [C_out, {x.shape[1]}, kh, kw] and "
            f"styles [{x.shape[0]}, {x.shape[1]}], got {tuple(weight.shape)} and "
            f"{tuple(styles.shape)}"
        )


def _check_activation(weight: Tensor, bias: Tensor | None, act: str, clamp: float | None) -> None:
    if act not in ACTIVATIONS:
        raise ValueError(f"modulated_conv2d: act must be one of {list(ACTIVATIONS)}, got {act!r}")
    if clamp is not None and clamp < 0:
        raise ValueError(f"modulated_conv2d: clamp must be at least 0 or None, got {clamp}")
    if bias is None:
        return
    check_floating("modulated_conv2d", "bias", bias)
    if tuple(bias.shape) != (weight.shape[0],):
        raise ValueError(
            f"modulated_conv2d: bias must have shape [{weight.shape[0]}], one value per channel of "
            f"the output, got {tuple(bias.shape)}"
        )


def _scaled(x: Tensor, weight: Tensor, styles: Tensor, noise: Tensor | None, up: int, down: int,
            cut: tuple[int, int, int, int], resample_filter: Tensor | None, demodulate: bool,
            flip_weight: bool, backend: str) -> Tensor:  # fmt: skip
    half = x.dtype in (torch.float16, torch.bfloat16)
    dtype = torch.float32 if half else x.dtype
    weight, styles = weight.to(dtype), styles.to(dtype)
    if half and demodulate:
        weight, styles = normalize_half(weight, styles)
    y = conv2d_resample(
        modulated_conv2d_scale(x, styles, None, backend),
        weight.to(x.dtype),
        resample_filter,
        up=up,
        down=down,
        padding=cut,
        flip_weight=flip_weight,
        backend=backend,
    )
    plane = (y.shape[0], 1, *y.shape[2:])
    # The kernel adds one plane of noise per sample; any other broadcast is torch's to add.
    fused = noise.to(dtype).expand(plane) if noise is not None and _is_plane(noise, y) else None
    if demodulate:
        y = modulated_conv2d_scale(y, demodulation(weight, styles), fused, backend)
        if noise is None or fused is not None:
            return y
    return y if noise is None else (y + noise.to(dtype)).to(x.dtype)


def _is_plane(noise: Tensor, y: Tensor) -> bool:
    return noise.ndim < 3 or noise.shape[-3] == 1
