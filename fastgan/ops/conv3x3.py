"""conv3x3: 3x3 convolution with stride 1 and padding 1 in fewer products, for `conv2d_resample`.

Minimal filtering computes 4 x 4 outputs by 36 products per pair of channels instead of 144. The
operators are closed under differentiation (conv3x3, its transpose and the gradient of the weight
are each other's gradients), so that every order exists. The loops are in csrc/cpu/conv3x3.cpp; what
they do not serve, or not faster than torch's convolution, is torch's.

Source: Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks".
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.dispatch import has_kernel, launcher
from fastgan.ops._half_conv import conv2d
from fastgan.ops._layout import empty_image, in_order_of, kernel_order
from fastgan.ops._register import register, registered

# Below these torch is faster: the transforms cost as much as the products that they save.
LEAST_CHANNELS = 16
LEAST_PIXELS = 256  # over the batch, as each weight is transformed once for all of them
LEAST_PIXELS_COPIED = 1024  # where the image is contiguous: it and the result are copied
LEAST_SAVING = 2  # products of the plain convolution to those of the tiles, which may overhang


def conv3x3(x: Tensor, weight: Tensor, backend: str) -> Tensor:
    """Correlate [N, C_in, H, W] with [C_out, C_in, 3, 3], zero outside of the image.

    By the backend's kernel where `serves` says so, else by torch's convolution. Differentiable: any
    order in x and weight.
    """
    if serves(x, weight, backend):
        y: Tensor = registered.conv3x3(x, weight, False, backend)
        return y
    return conv2d(x, weight, padding=(1, 1))


def serves(x: Tensor, weight: Tensor, backend: str) -> bool:
    """Whether the kernel takes a call, and is faster there than torch: float32 images in
    channels_last, or contiguous and large enough, with enough channels and pixels. Says nothing of
    threads, on which no result may depend."""
    return (
        backend != "reference"
        and has_kernel("conv3x3", backend)
        and tuple(weight.shape[2:]) == (3, 3)
        and weight.shape[1] == x.shape[1]  # one group
        and x.dtype == weight.dtype == torch.float32
        and _order_pays(x)
        and not torch.is_autocast_enabled(x.device.type)
        and pays(x.shape[0], x.shape[1], weight.shape[0], x.shape[2], x.shape[3])
    )


def _order_pays(x: Tensor) -> bool:
    pixels = x.shape[0] * x.shape[2] * x.shape[3]
    return kernel_order(x) or (x.is_contiguous() and pixels >= LEAST_PIXELS_COPIED)


def pays(samples: int, in_channels: int, out_channels: int, height: int, width: int) -> bool:
    """Whether fewer products save more than the transforms cost."""
    if min(in_channels, out_channels) < LEAST_CHANNELS or samples * height * width < LEAST_PIXELS:
        return False
    products = min(
        points * -(-height // tile) * -(-width // tile) for tile, points in ((4, 36), (2, 16))
    )
    return 9 * height * width >= LEAST_SAVING * products


# The gradients of one call run on the kernels that its forward ran on.


def _conv(x: Tensor, weight: Tensor, transposed: bool, backend: str) -> Tensor:
    y: Tensor = launcher("conv3x3", backend)(x, weight, transposed)
    return y


def _conv_fake(x: Tensor, weight: Tensor, transposed: bool, backend: str) -> Tensor:
    return empty_image(x, weight.shape[1 if transposed else 0], x.shape[2], x.shape[3])


def _conv_setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, ctx.transposed, ctx.backend = inputs
    ctx.save_for_backward(x, weight)


def _conv_backward(ctx: Any, grad_y: Tensor) -> tuple[Any, ...]:
    x, weight = ctx.saved_tensors
    grad_y = in_order_of(x, grad_y)
    grad_x = grad_weight = None
    if ctx.needs_input_grad[0]:
        grad_x = registered.conv3x3(grad_y, weight, not ctx.transposed, ctx.backend)
    if ctx.needs_input_grad[1]:
        low, high = (grad_y, x) if ctx.transposed else (x, grad_y)
        grad_weight = registered.conv3x3_weight_grad(low, high, ctx.backend)
    return grad_x, grad_weight, None, None


register(
    "conv3x3(Tensor x, Tensor weight, bool transposed, str backend) -> Tensor",
    _conv,
    _conv_fake,
    setup_context=_conv_setup_context,
    backward=_conv_backward,
)


def _grad(x: Tensor, grad_y: Tensor, backend: str) -> Tensor:
    grad_weight: Tensor = launcher("conv3x3_weight_grad", backend)(x, grad_y)
    return grad_weight


def _grad_fake(x: Tensor, grad_y: Tensor, backend: str) -> Tensor:
    return x.new_empty((grad_y.shape[1], x.shape[1], 3, 3))


def _grad_setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, grad_y, ctx.backend = inputs
    ctx.save_for_backward(x, grad_y)


def _grad_backward(ctx: Any, to_weight: Tensor) -> tuple[Any, ...]:
    """The op is bilinear: with `to_weight` as the weight, its gradients are convolutions."""
    x, grad_y = ctx.saved_tensors
    on_x = on_grad_y = None
    if ctx.needs_input_grad[0]:
        on_x = registered.conv3x3(grad_y, to_weight, True, ctx.backend)
    if ctx.needs_input_grad[1]:
        on_grad_y = registered.conv3x3(x, to_weight, False, ctx.backend)
    return on_x, on_grad_y, None


register(
    "conv3x3_weight_grad(Tensor x, Tensor grad_y, str backend) -> Tensor",
    _grad,
    _grad_fake,
    setup_context=_grad_setup_context,
    backward=_grad_backward,
)
