"""modulated_conv2d in one op: schema, fake kernel and gradients of any order.

y = clamp(gain act(out_scale[n, o] conv(in_scale[n, i] x, weight) + noise + bias)), where conv
correlates, or with up = 2 is `conv2d_resample` by the filter outer(taps, taps). Scales, noise and
bias are float32 for half-precision x. Kernels: kernels/modulated_conv2d_{gemm,pointwise,up2}.py.

The gradient goes through the activation first, by the kernels of bias_act. What is left is linear
in each argument, so that its gradients are convolutions and sums again, and differentiable.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from fastgan.dispatch import launcher
from fastgan.ops._layout import empty_image
from fastgan.ops._precision import without_autocast
from fastgan.ops._register import register, registered
from fastgan.ops.modulated_conv2d_linear import Convolution
from fastgan.ops.modulated_conv2d_scale import modulated_conv2d_scale, modulated_conv2d_scale_grad
from fastgan.reference.bias_act import ACTIVATIONS


class Activation(NamedTuple):
    """The last steps of a call; the arguments of the op by these names."""

    act: str
    alpha: float
    gain: float
    clamp: float  # negative for none


LINEAR = Activation("linear", 0.0, 1.0, -1.0)


def modulated_conv2d_fused(
    x: Tensor, weight: Tensor, in_scale: Tensor, out_scale: Tensor | None, noise: Tensor | None,
    bias: Tensor | None, taps: Tensor | None, up: int, padding: tuple[int, ...],
    activation: Activation, allow_tf32: bool, backend: str,
) -> Tensor:  # fmt: skip
    """Call the op."""
    y: Tensor = registered.modulated_conv2d_fused(
        x, weight, in_scale, out_scale, noise, bias, taps, up, padding, *activation, allow_tf32,
        backend,
    )  # fmt: skip
    return y


def output_size(x: Tensor, weight: Tensor, up: int, padding: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of the output."""
    x0, x1, y0, y1 = padding
    kernel_h, kernel_w = weight.shape[2:]
    return x.shape[2] * up + y0 + y1 - kernel_h + 1, x.shape[3] * up + x0 + x1 - kernel_w + 1


def _forward(x: Tensor, weight: Tensor, in_scale: Tensor, out_scale: Tensor | None,
             noise: Tensor | None, bias: Tensor | None, taps: Tensor | None, up: int,
             padding: list[int], act: str, alpha: float, gain: float, clamp: float,
             allow_tf32: bool, backend: str) -> Tensor:  # fmt: skip
    y: Tensor = launcher("modulated_conv2d_fused", backend)(
        x, weight, in_scale, out_scale, noise, bias, taps, up, padding, act, alpha, gain, clamp,
        allow_tf32,
    )  # fmt: skip
    return y


def _fake(x: Tensor, weight: Tensor, in_scale: Tensor, out_scale: Tensor | None,
          noise: Tensor | None, bias: Tensor | None, taps: Tensor | None, up: int,
          padding: list[int], act: str, alpha: float, gain: float, clamp: float,
          allow_tf32: bool, backend: str) -> Tensor:  # fmt: skip
    return empty_image(x, weight.shape[0], *output_size(x, weight, up, tuple(padding)))


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, up, padding, act, alpha, gain, clamp, allow_tf32, backend = inputs
    # As in bias_act: the sign of y gives the slope while gain and alpha keep signs.
    slopes_keep_sign = gain > 0 and (act != "lrelu" or alpha > 0)
    ctx.from_output = ACTIVATIONS[act].piecewise_linear and slopes_keep_sign
    ctx.save_for_backward(*tensors, output if ctx.from_output else None)
    ctx.up, ctx.padding, ctx.allow_tf32 = up, tuple(padding), allow_tf32
    ctx.activation, ctx.backend = Activation(act, alpha, gain, clamp), backend


def _through_activation(ctx: Any, grad_y: Tensor) -> tuple[Tensor, Tensor | None]:
    """(gradient of what the activation gets, its sum per channel if the bias needs that)."""
    x, weight, in_scale, out_scale, noise, bias, taps, ref = ctx.saved_tensors
    with_bias = ctx.needs_input_grad[5]
    if ctx.activation._replace(gain=1.0) == LINEAR:
        g = grad_y if ctx.activation.gain == 1 else grad_y * ctx.activation.gain
        return g, g.sum((0, 2, 3), dtype=bias.dtype) if with_bias else None
    if not ctx.from_output:
        ref = modulated_conv2d_fused(
            x, weight, in_scale, out_scale, noise, bias, taps, ctx.up, ctx.padding, LINEAR,
            ctx.allow_tf32, ctx.backend,
        )  # fmt: skip
    g, grad_bias = registered.bias_act_grad(
        grad_y, ref, None, 1, *ctx.activation, ctx.from_output, with_bias, ctx.backend
    )
    return g, grad_bias.to(bias.dtype) if with_bias else None


def _backward(ctx: Any, grad_y: Tensor) -> tuple[Any, ...]:
    x, weight, _, _, _, _, taps, _ = ctx.saved_tensors
    convolution = Convolution(
        weight, taps, ctx.up, ctx.padding, tuple(x.shape[2:]), ctx.allow_tf32, ctx.backend
    )
    with without_autocast(x.device.type):
        return *_gradients(ctx, convolution, grad_y), *[None] * 9


def _gradients(ctx: Any, convolution: Convolution, grad_y: Tensor) -> list[Tensor | None]:
    x, weight, in_scale, out_scale, noise, _, taps, _ = ctx.saved_tensors
    needed = ctx.needs_input_grad
    grads: list[Tensor | None] = [None] * 6
    g, grads[5] = _through_activation(ctx, grad_y)
    scaled = g if out_scale is None else None  # gradient of the convolution's own result
    if out_scale is not None and needed[3]:
        inner = (x, weight, in_scale, None, None, None, taps, ctx.up, ctx.padding)
        plain = modulated_conv2d_fused(*inner, LINEAR, ctx.allow_tf32, ctx.backend)
        scaled, grads[3] = modulated_conv2d_scale_grad(g, plain, out_scale, ctx.backend)
    elif out_scale is not None and (needed[1] or ctx.up > 1):
        scaled = modulated_conv2d_scale(g, out_scale, None, ctx.backend)
    source, factor = (g, out_scale) if scaled is None else (scaled, None)
    if needed[2]:
        to_scaled_x = convolution.transposed(source, factor, None)
        grads[0], grads[2] = modulated_conv2d_scale_grad(to_scaled_x, x, in_scale, ctx.backend)
    elif needed[0]:
        grads[0] = convolution.transposed(source, factor, in_scale)
    if needed[1]:
        scaled_x = modulated_conv2d_scale(x, in_scale, None, ctx.backend)
        grads[1] = convolution.weight_gradient(source, scaled_x)
    if noise is not None and needed[4]:
        grads[4] = g.sum(1, keepdim=True, dtype=noise.dtype).sum_to_size(noise.shape)
    return grads


register(
    "modulated_conv2d_fused(Tensor x, Tensor weight, Tensor in_scale, Tensor? out_scale, "
    "Tensor? noise, Tensor? bias, Tensor? taps, int up, SymInt[4] padding, str act, float alpha, "
    "float gain, float clamp, bool allow_tf32, str backend) -> Tensor",
    _forward,
    _fake,
    setup_context=_setup_context,
    backward=_backward,
)
