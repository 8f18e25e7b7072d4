"""conv4x4: 4x4 convolutions with stride 2 and padding 1, down and transposed, in fewer products.

Each of the four phases of the high-resolution image (even and odd rows and columns) meets 2 x 2
taps. Minimal filtering computes 4 x 4 pixels of a phase by 25 products per pair of channels instead
of 64. The operators are closed under differentiation (down, transposed and the gradient of the
weight are each other's gradients), so that every order exists. The loops are in
csrc/cpu/conv4x4.cpp; what they do not serve, or not faster than torch's convolution, is torch's.

Source: Winograd 1980, "Arithmetic Complexity of Computations".
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.dispatch import has_kernel, launcher, select
from fastgan.ops._layout import empty_image, in_order_of, kernel_order
from fastgan.ops._register import register, registered

# Below these torch is faster: the transforms cost as much as the products that they save.
LEAST_CHANNELS = 16
LEAST_CHANNELS_COPIED = 128  # where the image is contiguous: it and the result are copied
LEAST_PIXELS = 128  # of low resolution over the batch: each weight is transformed for all of them
LEAST_SAVING = 1.5  # products of the plain convolution to those of the tiles, which may overhang


def conv4x4(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, backend: str | None = None
) -> Tensor:
    """Correlate [N, C, H, W] with [C_out, C, 4, 4] at every other pixel, zero outside of the image.

    `torch.nn.functional.conv2d(x, weight, bias, stride=2, padding=1)`, by the kernel where
    `serves` says so. `backend`: as in `bias_act`. Differentiable: any order in all tensors.
    """
    chosen = select("conv2d_resample", x, backend)
    if x.ndim == 4 and serves(x, weight, 1, x.shape[2] // 2, x.shape[3] // 2, chosen):
        y: Tensor = registered.conv4x4(x, weight, chosen)
        return y if bias is None else y + bias[:, None, None]
    return F.conv2d(x, weight, bias, stride=2, padding=1)


def conv4x4_transposed(
    y: Tensor, weight: Tensor, bias: Tensor | None = None, *, backend: str | None = None
) -> Tensor:
    """Spread [N, C, H, W] over [N, C_out, 2 H, 2 W] by a weight [C, C_out, 4, 4].

    `torch.nn.functional.conv_transpose2d(y, weight, bias, stride=2, padding=1)`; else as `conv4x4`.
    """
    chosen = select("conv2d_resample", y, backend)
    if y.ndim == 4 and serves(y, weight, 0, y.shape[2], y.shape[3], chosen):
        size = 2 * y.shape[2], 2 * y.shape[3]
        x: Tensor = registered.conv4x4_transposed(y, weight, *size, chosen)
        return x if bias is None else x + bias[:, None, None]
    return F.conv_transpose2d(y, weight, bias, stride=2, padding=1)


def serves(x: Tensor, weight: Tensor, dim: int, height: int, width: int, backend: str) -> bool:
    """Whether the kernel takes a call, and is faster there than torch: float32 images in
    channels_last, or contiguous and of many channels, with enough channels and pixels. Says nothing
    of threads, on which no result may depend.

    Args:
        x: the image that is read.
        weight: [low channels, high channels, 4, 4].
        dim: the dimension of the weight that has the channels of x.
        height, width: of the low-resolution image.
        backend: a chosen one.
    """
    return (
        backend != "reference"
        and has_kernel("conv4x4", backend)
        and weight.ndim == 4
        and tuple(weight.shape[2:]) == (4, 4)
        and weight.shape[dim] == x.shape[1]  # one group
        and x.dtype == weight.dtype == torch.float32
        and _order_pays(x, min(weight.shape[:2]))
        and not torch.is_autocast_enabled(x.device.type)
        and pays(x.shape[0], min(weight.shape[:2]), height, width)
    )


def _order_pays(x: Tensor, channels: int) -> bool:
    return kernel_order(x) or (x.is_contiguous() and channels >= LEAST_CHANNELS_COPIED)


def pays(samples: int, channels: int, height: int, width: int) -> bool:
    """Whether fewer products save more than the transforms cost, at low resolution."""
    if channels < LEAST_CHANNELS or samples * height * width < LEAST_PIXELS:
        return False
    products = min(
        points * -(-height // tile) * -(-width // tile) for tile, points in ((4, 25), (2, 9))
    )
    return 4 * height * width >= LEAST_SAVING * products


# The gradients of one call run on the kernels that its forward ran on.


def _down(x: Tensor, weight: Tensor, backend: str) -> Tensor:
    y: Tensor = launcher("conv4x4", backend)(x, weight)
    return y


def _down_fake(x: Tensor, weight: Tensor, backend: str) -> Tensor:
    return empty_image(x, weight.shape[0], x.shape[2] // 2, x.shape[3] // 2)


def _down_setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, ctx.backend = inputs
    ctx.save_for_backward(x, weight)


def _down_backward(ctx: Any, grad_y: Tensor) -> tuple[Any, ...]:
    x, weight = ctx.saved_tensors
    grad_y = in_order_of(x, grad_y)
    grad_x = grad_weight = None
    if ctx.needs_input_grad[0]:
        size = x.shape[2], x.shape[3]
        grad_x = registered.conv4x4_transposed(grad_y, weight, *size, ctx.backend)
    if ctx.needs_input_grad[1]:
        grad_weight = registered.conv4x4_weight_grad(x, grad_y, ctx.backend)
    return grad_x, grad_weight, None


register(
    "conv4x4(Tensor x, Tensor weight, str backend) -> Tensor",
    _down,
    _down_fake,
    setup_context=_down_setup_context,
    backward=_down_backward,
)


def _up(y: Tensor, weight: Tensor, height: int, width: int, backend: str) -> Tensor:
    x: Tensor = launcher("conv4x4_transposed", backend)(y, weight, height, width)
    return x


def _up_fake(y: Tensor, weight: Tensor, height: int, width: int, backend: str) -> Tensor:
    return empty_image(y, weight.shape[1], height, width)


def _up_setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    y, weight, _, _, ctx.backend = inputs
    ctx.save_for_backward(y, weight)


def _up_backward(ctx: Any, grad_x: Tensor) -> tuple[Any, ...]:
    y, weight = ctx.saved_tensors
    grad_x = in_order_of(y, grad_x)
    grad_y = grad_weight = None
    if ctx.needs_input_grad[0]:
        grad_y = registered.conv4x4(grad_x, weight, ctx.backend)
    if ctx.needs_input_grad[1]:
        grad_weight = registered.conv4x4_weight_grad(grad_x, y, ctx.backend)
    return grad_y, grad_weight, None, None, None


register(
    "conv4x4_transposed(Tensor y, Tensor weight, SymInt height, SymInt width, str backend)"
    " -> Tensor",
    _up,
    _up_fake,
    setup_context=_up_setup_context,
    backward=_up_backward,
)


def _grad(x: Tensor, y: Tensor, backend: str) -> Tensor:
    grad_weight: Tensor = launcher("conv4x4_weight_grad", backend)(x, y)
    return grad_weight


def _grad_fake(x: Tensor, y: Tensor, backend: str) -> Tensor:
    return x.new_empty((y.shape[1], x.shape[1], 4, 4))


def _grad_setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, y, ctx.backend = inputs
    ctx.save_for_backward(x, y)


def _grad_backward(ctx: Any, to_weight: Tensor) -> tuple[Any, ...]:
    """The op is bilinear: with `to_weight` as the weight, its gradients are convolutions."""
    x, y = ctx.saved_tensors
    on_x = on_y = None
    if ctx.needs_input_grad[0]:
        size = x.shape[2], x.shape[3]
        on_x = registered.conv4x4_transposed(y, to_weight, *size, ctx.backend)
    if ctx.needs_input_grad[1]:
        on_y = registered.conv4x4(x, to_weight, ctx.backend)
    return on_x, on_y, None


register(
    "conv4x4_weight_grad(Tensor x, Tensor y, str backend) -> Tensor",
    _grad,
    _grad_fake,
    setup_context=_grad_setup_context,
    backward=_grad_backward,
)
