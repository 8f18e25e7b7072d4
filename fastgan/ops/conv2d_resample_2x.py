"""3x3 convolutions joined with up- or downsampling by 2: schema, fake kernels and gradients.

`conv3x3_up2`, `conv3x3_down2` and `conv3x3_updown_weight_grad` are closed under differentiation:
up and down are adjoint when weight and filter are flipped, and the gradient of the weight is
bilinear in the two images. So three kernels give every order of gradient. The equations and the
loops are in csrc/cpu/conv2d_resample*; `fastgan.ops.conv2d_resample` decides which calls come here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.dispatch import has_kernel, launcher
from fastgan.ops._layout import empty_image, in_order_of, kernel_order
from fastgan.ops._register import register, registered
from fastgan.ops._separable import separable_taps

CHANNELS = 16  # both images have a multiple of it
LEAST_PIXELS_COPIED = 128  # of low resolution: down2 of fewer, in another order, is torch's


def conv3x3_2x(
    x: Tensor, weight: Tensor, filter: Tensor | None, up: int, down: int,
    padding: tuple[int, int, int, int], groups: int, flip_weight: bool, flip_filter: bool,
    backend: str,
) -> Tensor | None:  # fmt: skip
    """`conv2d_resample` with up = 2 or down = 2 in one op, or None where no kernel serves it."""
    if (up, down) not in ((2, 1), (1, 2)) or padding != (1, 1, 1, 1) or groups != 1:
        return None
    if filter is None or weight.shape[2:] != (3, 3) or not _serves(x, weight, down):
        return None
    if not has_kernel("conv3x3_up2", backend):
        return None
    taps = separable_taps(filter)
    if taps is None or taps.shape[0] != 4:
        return None
    if torch.is_autocast_enabled(x.device.type):
        return None
    name = "conv3x3_up2" if up == 2 else "conv3x3_down2"
    gain = 4.0 if up == 2 else 1.0
    y: Tensor = getattr(registered, name)(
        x, weight, taps, flip_weight, flip_filter, gain, backend
    )  # fmt: skip
    return y


def _serves(x: Tensor, weight: Tensor, down: int) -> bool:
    if x.dtype != torch.float32 or x.device.type != "cpu":
        return False
    if x.shape[1] % CHANNELS or weight.shape[0] % CHANNELS or 0 in weight.shape:
        return False
    if down != 2:
        return True
    if x.shape[2] % 2 or x.shape[3] % 2:
        return False
    return kernel_order(x) or x.shape[0] * x.shape[2] * x.shape[3] >= 4 * LEAST_PIXELS_COPIED


def _up2(x: Tensor, weight: Tensor, taps: Tensor, flip_weight: bool, flip_filter: bool,
         gain: float, backend: str) -> Tensor:  # fmt: skip
    y: Tensor = launcher("conv3x3_up2", backend)(x, weight, taps, flip_weight, flip_filter, gain)
    return y


def _up2_fake(x: Tensor, weight: Tensor, taps: Tensor, flip_weight: bool, flip_filter: bool,
              gain: float, backend: str) -> Tensor:  # fmt: skip
    return empty_image(x, weight.shape[0], 2 * x.shape[2], 2 * x.shape[3])


def _down2(x: Tensor, weight: Tensor, taps: Tensor, flip_weight: bool, flip_filter: bool,
           gain: float, backend: str) -> Tensor:  # fmt: skip
    y: Tensor = launcher("conv3x3_down2", backend)(x, weight, taps, flip_weight, flip_filter, gain)
    return y


def _down2_fake(x: Tensor, weight: Tensor, taps: Tensor, flip_weight: bool, flip_filter: bool,
                gain: float, backend: str) -> Tensor:  # fmt: skip
    return empty_image(x, weight.shape[0], x.shape[2] // 2, x.shape[3] // 2)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, taps, *ctx.flips, ctx.gain, ctx.backend = inputs
    ctx.save_for_backward(x, weight, taps)


def _gradients(ctx: Any, grad_y: Tensor, up: bool) -> tuple[Any, ...]:
    x, weight, taps = ctx.saved_tensors
    flip_weight, flip_filter = ctx.flips
    grad_y = in_order_of(x, grad_y)
    grad_x, grad_weight = None, None
    if ctx.needs_input_grad[0]:
        adjoint = registered.conv3x3_down2 if up else registered.conv3x3_up2
        grad_x = adjoint(
            grad_y, weight.transpose(0, 1), taps, not flip_weight, not flip_filter, ctx.gain,
            ctx.backend,
        )  # fmt: skip
    if ctx.needs_input_grad[1]:
        low, high = (x, grad_y) if up else (grad_y, x)
        grad_weight = registered.conv3x3_updown_weight_grad(
            low, high, taps, up, flip_weight, flip_filter, ctx.gain, ctx.backend
        )
    return grad_x, grad_weight, *[None] * 5


def _up2_backward(ctx: Any, grad_y: Tensor) -> tuple[Any, ...]:
    return _gradients(ctx, grad_y, True)


def _down2_backward(ctx: Any, grad_y: Tensor) -> tuple[Any, ...]:
    return _gradients(ctx, grad_y, False)


def _weight_grad(low: Tensor, high: Tensor, taps: Tensor, up: bool, flip_weight: bool,
                 flip_filter: bool, gain: float, backend: str) -> Tensor:  # fmt: skip
    found: Tensor = launcher("conv3x3_updown_weight_grad", backend)(
        low, high, taps, up, flip_weight, flip_filter, gain
    )
    return found


def _weight_grad_fake(low: Tensor, high: Tensor, taps: Tensor, up: bool, flip_weight: bool,
                      flip_filter: bool, gain: float, backend: str) -> Tensor:  # fmt: skip
    channels = (high.shape[1], low.shape[1]) if up else (low.shape[1], high.shape[1])
    return low.new_empty((*channels, 3, 3))


def _weight_grad_setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    low, high, taps, *ctx.arguments = inputs
    ctx.save_for_backward(low, high, taps)


def _weight_grad_backward(ctx: Any, to_grad: Tensor) -> tuple[Any, ...]:
    """What came in is a weight: the gradients are the two convolutions with it."""
    low, high, taps = ctx.saved_tensors
    up, flip_weight, flip_filter, gain, backend = ctx.arguments
    turned = to_grad.transpose(0, 1), taps, not flip_weight, not flip_filter, gain, backend
    straight = to_grad, taps, flip_weight, flip_filter, gain, backend
    grad_low, grad_high = None, None
    if ctx.needs_input_grad[0]:
        grad_low = registered.conv3x3_down2(high, *(turned if up else straight))
    if ctx.needs_input_grad[1]:
        grad_high = registered.conv3x3_up2(low, *(straight if up else turned))
    return grad_low, grad_high, *[None] * 6


register(
    "conv3x3_up2(Tensor x, Tensor weight, Tensor taps, bool flip_weight, bool flip_filter, "
    "float gain, str backend) -> Tensor",
    _up2,
    _up2_fake,
    setup_context=_setup_context,
    backward=_up2_backward,
)
register(
    "conv3x3_down2(Tensor x, Tensor weight, Tensor taps, bool flip_weight, bool flip_filter, "
    "float gain, str backend) -> Tensor",
    _down2,
    _down2_fake,
    setup_context=_setup_context,
    backward=_down2_backward,
)
register(
    "conv3x3_updown_weight_grad(Tensor low, Tensor high, Tensor taps, bool up, bool flip_weight, "
    "bool flip_filter, float gain, str backend) -> Tensor",
    _weight_grad,
    _weight_grad_fake,
    setup_context=_weight_grad_setup_context,
    backward=_weight_grad_backward,
)
