"""modulated_conv2d: convolution whose weight is scaled by a style, sample by sample.

Computed as scale the input, convolve with the constant weight, scale the output and add noise.
The two scalings are kernels (csrc/cpu/modulated_conv2d.cpp, kernels/modulated_conv2d.py); the
convolution is `conv2d_resample`. The mathematics is in `fastgan.reference.modulated_conv2d`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastgan import reference
from fastgan.dispatch import launcher, select
from fastgan.ops._check import check_floating, check_rank, padding4
from fastgan.ops._register import register, registered
from fastgan.ops.conv2d_resample import conv2d_resample
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
    backend: str | None = None,
) -> Tensor:
    """Convolve each sample with the weight scaled by its style, and normalise.

    y[n] = conv2d_resample(x[n], w[o, i] * s[n, i] * d[n, o]) + noise[n], with
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
        backend: "reference", "cpp", "cuda" or "triton"; None lets dispatch choose.

    Returns:
        [N, C_out, out_h, out_w], dtype of x. In half precision with demodulation the weight is
        first divided by sqrt(fan_in) max|w| and the styles by max|s|, so that no product
        overflows.

    Raises:
        TypeError: an argument is not floating point.
        ValueError: a shape, factor or padding does not fit.
        BackendUnavailableError: `backend` cannot run this call.

    Differentiable: any order in x, weight, styles and noise.

    Source: Karras et al. 2020 (StyleGAN2), equations 1 to 3.
    """
    cut = padding4("modulated_conv2d", padding)
    _check(x, weight, styles)
    chosen = select("modulated_conv2d", x, backend)
    if chosen == "reference":
        return reference.modulated_conv2d(
            x, weight, styles, noise=noise, up=up, down=down, padding=cut,
            resample_filter=resample_filter, demodulate=demodulate, flip_weight=flip_weight,
        )  # fmt: skip
    return _scaled(x, weight, styles, noise, up, down, cut, resample_filter, demodulate,
                   flip_weight, chosen)  # fmt: skip


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


def _scaled(x: Tensor, weight: Tensor, styles: Tensor, noise: Tensor | None, up: int, down: int,
            cut: tuple[int, int, int, int], resample_filter: Tensor | None, demodulate: bool,
            flip_weight: bool, backend: str) -> Tensor:  # fmt: skip
    half = x.dtype in (torch.float16, torch.bfloat16)
    dtype = torch.float32 if half else x.dtype
    weight, styles = weight.to(dtype), styles.to(dtype)
    if half and demodulate:
        weight, styles = normalize_half(weight, styles)
    y = conv2d_resample(
        registered.modulated_conv2d_scale(x, styles, None, backend),
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
        y = registered.modulated_conv2d_scale(y, demodulation(weight, styles), fused, backend)
        if noise is None or fused is not None:
            return y
    return y if noise is None else (y + noise.to(dtype)).to(x.dtype)


def _is_plane(noise: Tensor, y: Tensor) -> bool:
    return noise.ndim < 3 or noise.shape[-3] == 1


# y = x * scale[n, c] + noise[n, pixel]. Scale and noise are float32 for half-precision x.


def _scale(x: Tensor, scale: Tensor, noise: Tensor | None, backend: str) -> Tensor:
    y: Tensor = launcher("modulated_conv2d_scale", backend)(x, scale, noise)
    return y


def _image_like(x: Tensor) -> Tensor:
    channels_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.empty_like(
        x, memory_format=torch.channels_last if channels_last else torch.contiguous_format
    )


def _scale_fake(x: Tensor, scale: Tensor, noise: Tensor | None, backend: str) -> Tensor:
    return _image_like(x)


def _scale_setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, scale, noise, backend = inputs
    ctx.save_for_backward(x, scale)
    ctx.with_noise = noise is not None
    ctx.backend = backend


def _scale_backward(ctx: Any, grad_y: Tensor) -> tuple[Any, ...]:
    x, scale = ctx.saved_tensors
    with_noise = ctx.with_noise and ctx.needs_input_grad[2]
    grad_x, grad_scale, grad_noise = registered.modulated_conv2d_scale_grad(
        grad_y, x, scale, with_noise, ctx.backend
    )
    return grad_x, grad_scale, grad_noise if with_noise else None, None


register(
    "modulated_conv2d_scale(Tensor x, Tensor scale, Tensor? noise, str backend) -> Tensor",
    _scale,
    _scale_fake,
    setup_context=_scale_setup_context,
    backward=_scale_backward,
)


# (g * scale, sum of g * x over pixels, sum of g over channels).


def _scale_grad(
    grad_y: Tensor, x: Tensor, scale: Tensor, with_noise: bool, backend: str
) -> tuple[Tensor, Tensor, Tensor]:
    found: tuple[Tensor, Tensor, Tensor] = launcher("modulated_conv2d_scale_grad", backend)(
        grad_y, x, scale, with_noise
    )
    return found


def _scale_grad_fake(
    grad_y: Tensor, x: Tensor, scale: Tensor, with_noise: bool, backend: str
) -> tuple[Tensor, Tensor, Tensor]:
    plane = (x.shape[0], 1, *x.shape[2:]) if with_noise else (0,)
    return _image_like(x), scale.new_empty(scale.shape), scale.new_empty(plane)


def _scale_grad_setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    grad_y, x, scale, _, backend = inputs
    ctx.save_for_backward(grad_y, x, scale)
    ctx.set_materialize_grads(False)
    ctx.backend = backend


def _scale_grad_backward(
    ctx: Any, to_grad_x: Tensor | None, to_grad_scale: Tensor | None, to_grad_noise: Tensor | None
) -> tuple[Any, ...]:
    """The op is bilinear, so its gradients are the same two kernels again."""
    grad_y, x, scale = ctx.saved_tensors
    apply = registered.modulated_conv2d_scale
    on_grad_y = None if to_grad_x is None else apply(to_grad_x, scale, None, ctx.backend)
    on_x, on_scale = None, None
    if to_grad_scale is not None:
        extra = apply(x, to_grad_scale, to_grad_noise, ctx.backend)
        on_grad_y = extra if on_grad_y is None else on_grad_y + extra
    elif to_grad_noise is not None:
        spread = to_grad_noise.to(grad_y.dtype).expand_as(grad_y)
        on_grad_y = spread if on_grad_y is None else on_grad_y + spread
    if to_grad_x is not None and to_grad_scale is not None:
        on_x, on_scale, _ = registered.modulated_conv2d_scale_grad(
            grad_y, to_grad_x, to_grad_scale, False, ctx.backend
        )
    elif to_grad_scale is not None:
        on_x = apply(grad_y, to_grad_scale, None, ctx.backend)
    elif to_grad_x is not None and ctx.needs_input_grad[2]:
        _, on_scale, _ = registered.modulated_conv2d_scale_grad(
            grad_y, to_grad_x, scale, False, ctx.backend
        )
    return on_grad_y, on_x, on_scale, None, None


register(
    "modulated_conv2d_scale_grad(Tensor grad_y, Tensor x, Tensor scale, bool with_noise, "
    "str backend) -> (Tensor, Tensor, Tensor)",
    _scale_grad,
    _scale_grad_fake,
    setup_context=_scale_grad_setup_context,
    backward=_scale_grad_backward,
)
