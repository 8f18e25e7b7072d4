"""The passes around a modulated convolution: schema, fake kernels and gradients.

y = x * scale[n, c] + noise[n, pixel], and the gradient of it. The loops are in
csrc/cpu/modulated_conv2d.cpp and kernels/modulated_conv2d.py.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.dispatch import launcher
from fastgan.ops._layout import memory_format
from fastgan.ops._register import register, registered


def modulated_conv2d_scale(x: Tensor, scale: Tensor, noise: Tensor | None, backend: str) -> Tensor:
    """x * scale[n, c] + noise[n, 1, h, w]; scale and noise are float32 for half-precision x."""
    y: Tensor = registered.modulated_conv2d_scale(x, scale, noise, backend)
    return y


def modulated_conv2d_scale_grad(
    grad_y: Tensor, x: Tensor, scale: Tensor, backend: str
) -> tuple[Tensor, Tensor]:
    """(grad_y * scale, sum of grad_y * x over the pixels)."""
    grad_x, grad_scale, _ = registered.modulated_conv2d_scale_grad(grad_y, x, scale, False, backend)
    return grad_x, grad_scale


def image_like(x: Tensor) -> Tensor:
    """An empty tensor in x's shape, in channels_last if x is in that, else contiguous."""
    return torch.empty_like(x, memory_format=memory_format(x))


def _scale(x: Tensor, scale: Tensor, noise: Tensor | None, backend: str) -> Tensor:
    y: Tensor = launcher("modulated_conv2d_scale", backend)(x, scale, noise)
    return y


def _scale_fake(x: Tensor, scale: Tensor, noise: Tensor | None, backend: str) -> Tensor:
    return image_like(x)


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
    return image_like(x), scale.new_empty(scale.shape), scale.new_empty(plane)


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
