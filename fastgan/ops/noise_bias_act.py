"""noise_bias_act: noise, bias, activation, gain and clamp in one pass over the images.

Public function, schema, fake kernel and gradients, which are those of bias_act. The mathematics is
in `fastgan.reference.noise_bias_act`; the loops are in kernels/noise_bias_act.py and
csrc/cuda/noise_bias_act_kernel.cuh.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan import reference
from fastgan.dispatch import launcher, select
from fastgan.ops._check import check_floating, check_rank, check_same
from fastgan.ops._layout import memory_format
from fastgan.ops._register import register, registered
from fastgan.reference.bias_act import ACTIVATIONS


def noise_bias_act(
    x: Tensor,
    noise: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    act: str = "lrelu",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    backend: str | None = None,
) -> Tensor:
    """Add noise and a bias to images, apply an activation, scale, and clamp.

    y[n, c, h, w] = clamp(gain * act(x[n, c, h, w] + noise[n, 0, h, w] + bias[c])).

    Args:
        x: [N, C, H, W], floating point, any memory format.
        noise: [N, 1, H, W] or [1, 1, H, W] for the same noise in every sample, already scaled by
            its strength; None for zero. Used in float32 (float64 for float64 x).
        bias: [C], dtype of x, or None for zero.
        act: one of `fastgan.ops.bias_act`.
        alpha: slope of "lrelu" for negative input; None means 0.2.
        gain: output scale; None means sqrt(2) for relu, lrelu and swish, 1 for the others.
        clamp: the output is limited to [-clamp, clamp], clamp >= 0; None means no limit.
        backend: "reference", "cuda" or "triton"; None lets dispatch choose.

    Returns:
        Shape and dtype of x, in the memory format of x if that is channels_last, else contiguous.
        Half types are computed in float32.

    Raises:
        TypeError: x is not floating point, or bias has another dtype.
        ValueError: act, clamp or a shape does not fit.
        BackendUnavailableError: `backend` cannot run this call.

    Differentiable: any order in x, noise and bias. With a clamp the gradient passes strictly
    inside (-clamp, clamp). In half precision, as in unfused code, the gradient of a curved
    activation starts from x + noise rounded to the dtype of x, and the gradient of the noise sums
    gradients of that dtype, in float32.

    Source: Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", section 2.
    """
    _check(x, noise, bias, act, clamp)
    row = ACTIVATIONS[act]
    alpha = row.default_alpha if alpha is None else float(alpha)
    gain = row.default_gain if gain is None else float(gain)
    chosen = select("noise_bias_act", x, backend)
    if chosen == "reference":
        return reference.noise_bias_act(
            x, noise, bias, act=act, alpha=alpha, gain=gain, clamp=clamp
        )
    wide = None if noise is None else noise.to(torch.promote_types(x.dtype, torch.float32))
    limit = -1.0 if clamp is None else float(clamp)
    result: Tensor = registered.noise_bias_act(x, wide, bias, act, alpha, gain, limit, chosen)
    return result


def _check(
    x: Tensor, noise: Tensor | None, bias: Tensor | None, act: str, clamp: float | None
) -> None:
    check_floating("noise_bias_act", "x", x)
    check_rank("noise_bias_act", "x", x, 4, "[N, C, H, W]")
    if act not in ACTIVATIONS:
        raise ValueError(f"noise_bias_act: act must be one of {list(ACTIVATIONS)}, got {act!r}")
    if clamp is not None and clamp < 0:
        raise ValueError(f"noise_bias_act: clamp must be at least 0 or None, got {clamp}")
    if noise is not None:
        samples, _, height, width = x.shape
        if tuple(noise.shape) not in ((samples, 1, height, width), (1, 1, height, width)):
            raise ValueError(
                f"noise_bias_act: noise must have shape [{samples} or 1, 1, {height}, {width}] "
                f"for x {tuple(x.shape)}, got {tuple(noise.shape)}"
            )
        check_floating("noise_bias_act", "noise", noise)
        if noise.device != x.device:
            raise ValueError(
                f"noise_bias_act: noise is on {noise.device}, x is on {x.device}; move one"
            )
    if bias is not None:
        if tuple(bias.shape) != (x.shape[1],):
            raise ValueError(
                f"noise_bias_act: bias must have shape [{x.shape[1]}], the channels of x "
                f"{tuple(x.shape)}, got {tuple(bias.shape)}"
            )
        check_same("noise_bias_act", "bias", bias, x)


def _forward(x: Tensor, noise: Tensor | None, bias: Tensor | None, act: str, alpha: float,
             gain: float, clamp: float, backend: str) -> Tensor:  # fmt: skip
    y: Tensor = launcher("noise_bias_act", backend)(x, noise, bias, act, alpha, gain, clamp)
    return y


def _fake(x: Tensor, noise: Tensor | None, bias: Tensor | None, act: str, alpha: float,
          gain: float, clamp: float, backend: str) -> Tensor:  # fmt: skip
    return torch.empty_like(x, memory_format=memory_format(x))


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, noise, bias, act, alpha, gain, clamp, backend = inputs
    # As bias_act: the output tells the slope of piecewise linear activations that keep signs.
    ctx.from_output = (
        ACTIVATIONS[act].piecewise_linear and gain > 0 and (act != "lrelu" or alpha > 0)
    )
    saved = (output, None, None) if ctx.from_output else (x, noise, bias)
    ctx.save_for_backward(*saved)
    ctx.noise_samples = None if noise is None else noise.shape[0]
    ctx.has_bias = bias is not None
    ctx.arguments = (1, act, alpha, gain, clamp)
    ctx.backend = backend


def _backward(ctx: Any, grad_y: Tensor) -> tuple[Any, ...]:
    value, noise, bias = ctx.saved_tensors
    if noise is not None:
        value = (value + noise).to(value.dtype)
    grad_x, grad_bias = registered.bias_act_grad(
        grad_y, value, bias, *ctx.arguments, ctx.from_output,
        ctx.has_bias and ctx.needs_input_grad[2], ctx.backend,
    )  # fmt: skip
    grad_noise = None
    if ctx.noise_samples is not None and ctx.needs_input_grad[1]:
        over = [1] if ctx.noise_samples == grad_y.shape[0] else [0, 1]
        wide = torch.promote_types(grad_x.dtype, torch.float32)
        grad_noise = grad_x.sum(over, keepdim=True, dtype=wide)
    return grad_x, grad_noise, grad_bias if ctx.needs_input_grad[2] else None, *[None] * 5


register(
    "noise_bias_act(Tensor x, Tensor? noise, Tensor? bias, str act, float alpha, float gain, "
    "float clamp, str backend) -> Tensor",
    _forward,
    _fake,
    setup_context=_setup_context,
    backward=_backward,
)
