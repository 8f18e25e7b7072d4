"""modulated_conv2d: convolution whose weight is scaled by a style, sample by sample.

Computed as scale the input, convolve with the constant weight, scale the output, add noise and
bias, and activate: in one op where the backend has it (`modulated_conv2d_fused`), else by the
kernels of `modulated_conv2d_scale` around `conv2d_resample`, and `bias_act`. The mathematics is in
`fastgan.reference.modulated_conv2d`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fastgan import reference
from fastgan.dispatch import has_kernel, select
from fastgan.ops._check import check_floating, check_rank, padding4
from fastgan.ops._precision import allows_tf32, without_autocast
from fastgan.ops._separable import separable_taps
from fastgan.ops.bias_act import bias_act
from fastgan.ops.conv2d_resample import conv2d_resample
from fastgan.ops.modulated_conv2d_fused import (
    LINEAR,
    Activation,
    modulated_conv2d_fused,
    output_size,
)
from fastgan.ops.modulated_conv2d_scale import modulated_conv2d_scale
from fastgan.reference.bias_act import ACTIVATIONS
from fastgan.reference.modulated_conv2d import demodulation, normalize_half

HALF = (torch.float16, torch.bfloat16)


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
        backend: "reference", "cpp", "cuda" or "triton"; None lets dispatch choose.

    Returns:
        [N, C_out, out_h, out_w], dtype of x. In half precision with demodulation the weight is
        first divided by sqrt(fan_in) max|w| and the styles by max|s|, so that no product
        overflows. torch.autocast changes nothing: the dtype of x decides.

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
    with without_autocast(x.device.type):
        if chosen == "reference":
            return reference.modulated_conv2d(
                x, weight, styles, noise=noise, up=up, down=down, padding=cut,
                resample_filter=resample_filter, demodulate=demodulate, flip_weight=flip_weight,
                bias=bias, act=act, alpha=alpha, gain=gain, clamp=clamp,
            )  # fmt: skip
        row = ACTIVATIONS[act]
        activation = Activation(
            act,
            row.default_alpha if alpha is None else float(alpha),
            row.default_gain if gain is None else float(gain),
            -1.0 if clamp is None else float(clamp),
        )
        layer = Layer(up, down, cut, resample_filter, flip_weight, demodulate, chosen)
        return _with_kernels(x, weight, styles, noise, bias, layer, activation)


class Layer(NamedTuple):
    """What a call computes, apart from tensors with gradients."""

    up: int
    down: int
    padding: tuple[int, int, int, int]
    resample_filter: Tensor | None
    flip_weight: bool
    demodulate: bool
    backend: str


def _with_kernels(
    x: Tensor, weight: Tensor, styles: Tensor, noise: Tensor | None, bias: Tensor | None,
    layer: Layer, activation: Activation,
) -> Tensor:  # fmt: skip
    wide = torch.float32 if x.dtype in HALF else x.dtype
    weight, styles = weight.to(wide), styles.to(wide)
    if x.dtype in HALF and layer.demodulate:
        weight, styles = normalize_half(weight, styles)
    scale = demodulation(weight, styles) if layer.demodulate else None
    weight = weight.to(x.dtype)
    noise = None if noise is None else noise.to(wide)
    return modulate(x, weight, styles, scale, noise, bias, layer, activation)


def modulate(
    x: Tensor, weight: Tensor, styles: Tensor, scale: Tensor | None, noise: Tensor | None,
    bias: Tensor | None, layer: Layer, activation: Activation,
) -> Tensor:  # fmt: skip
    """The call on arguments that are what kernels take, for who prepares them once and calls often.

    y = act(scale[n, o] conv2d_resample(x * styles[n, i], weight) + noise + bias), without checks.

    Args:
        x: [N, C_in, H, W]. weight: [C_out, C_in, kh, kw], in the dtype of x.
        styles: [N, C_in]; float32 for half-precision x, and so are scale and noise.
        scale: [N, C_out], the demodulation; None for none.
        noise, bias: as in `modulated_conv2d`.
        layer: geometry and backend; not the reference, which has no kernels.
    """
    y = _fused(x, weight, styles, scale, noise, bias, layer, activation)
    if y is None:
        y = _composed(x, weight, styles, scale, noise, layer)
        if bias is not None or activation != LINEAR:
            act, alpha, gain, clamp = activation
            y = bias_act(
                y, None if bias is None else bias.to(y.dtype), act=act, alpha=alpha, gain=gain,
                clamp=None if clamp < 0 else clamp, backend=layer.backend,
            )  # fmt: skip
    return y


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


def _fused(
    x: Tensor, weight: Tensor, styles: Tensor, scale: Tensor | None, noise: Tensor | None,
    bias: Tensor | None, layer: Layer, activation: Activation,
) -> Tensor | None:  # fmt: skip
    """The call in one op, or None where the backend or the op does not serve it."""
    height, width = output_size(x, weight, layer.up, layer.padding)
    if not has_kernel("modulated_conv2d_fused", layer.backend) or min(height, width) < 1:
        return None
    if layer.down != 1 or layer.up not in (1, 2):
        return None
    taps = None
    if layer.up == 2:
        filter = layer.resample_filter
        taps = None if filter is None else separable_taps(filter)
        if taps is None or taps.shape[0] != 4 or weight.shape[2:] != (3, 3):
            return None
    if noise is not None:
        if not _is_plane(noise):
            return None
        samples = noise.shape[0] if noise.ndim == 4 else 1
        noise = noise.expand(samples, 1, height, width)
    return modulated_conv2d_fused(
        x, weight if layer.flip_weight else weight.flip([2, 3]), styles, scale, noise,
        None if bias is None else bias.to(styles.dtype), taps, layer.up, layer.padding, activation,
        allows_tf32(x.device.type), layer.backend,
    )  # fmt: skip


def _composed(x: Tensor, weight: Tensor, styles: Tensor, scale: Tensor | None,
              noise: Tensor | None, layer: Layer) -> Tensor:  # fmt: skip
    y = conv2d_resample(
        modulated_conv2d_scale(x, styles, None, layer.backend),
        weight,
        layer.resample_filter,
        up=layer.up,
        down=layer.down,
        padding=layer.padding,
        flip_weight=layer.flip_weight,
        backend=layer.backend,
    )
    # The kernel adds one plane of noise per sample; any other broadcast is torch's to add.
    if scale is not None:
        plane = (y.shape[0], 1, *y.shape[2:])
        fused = noise.expand(plane) if noise is not None and _is_plane(noise) else None
        y = modulated_conv2d_scale(y, scale, fused, layer.backend)
        noise = noise if fused is None else None
    return y if noise is None else (y + noise).to(x.dtype)


def _is_plane(noise: Tensor) -> bool:
    return noise.ndim < 3 or (noise.ndim <= 4 and noise.shape[-3] == 1)
