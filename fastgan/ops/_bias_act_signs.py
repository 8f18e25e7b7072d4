"""bias_act that keeps bits for its gradient: whether an element's slope is the upper one, and
whether it lay inside the clamp.

The gradient then reads no second tensor, which is what it spends its time on where results leave
the caches. Only for the piecewise linear activations, whose slope has two values.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from fastgan.dispatch import has_kernel, launcher
from fastgan.ops._register import register, registered

BLOCK = 512  # elements that share words of bits: kSignBlock of csrc/cpu/bias_act_signs_kernel.h
MIN_BYTES = 4 << 20  # smaller results stay in the caches, where reading them again costs little
ACTIVATIONS = ("linear", "relu", "lrelu")
DTYPES = (torch.float32, torch.float64)


def pays(x: Tensor, bias: Tensor | None, dim: int, act: str, backend: str) -> bool:
    """Whether a call will be differentiated, and can keep bits to advantage."""
    return (
        x.nbytes > MIN_BYTES
        and act in ACTIVATIONS
        and x.dtype in DTYPES
        and torch.is_grad_enabled()
        and (x.requires_grad or (bias is not None and bias.requires_grad))
        and x.is_contiguous()
        and math.prod(x.shape[dim + 1 :]) % BLOCK == 0
        and has_kernel("bias_act_signs", backend)
    )


def bias_act_signs(x: Tensor, bias: Tensor | None, dim: int, act: str, alpha: float, gain: float,
                   clamp: float, backend: str) -> Tensor:  # fmt: skip
    """What `bias_act` returns for the same arguments."""
    y: Tensor = registered.bias_act_signs(x, bias, dim, act, alpha, gain, clamp, backend)[0]
    return y


def _forward(x: Tensor, bias: Tensor | None, dim: int, act: str, alpha: float, gain: float,
             clamp: float, backend: str) -> tuple[Tensor, Tensor]:  # fmt: skip
    pair: tuple[Tensor, Tensor] = launcher("bias_act_signs", backend)(
        x, bias, dim, act, alpha, gain, clamp
    )
    return pair


def _fake(x: Tensor, bias: Tensor | None, dim: int, act: str, alpha: float, gain: float,
          clamp: float, backend: str) -> tuple[Tensor, Tensor]:  # fmt: skip
    words = x.numel() // 32 * (1 if clamp < 0 else 2)
    return torch.empty_like(x), x.new_empty(words, dtype=torch.int32)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, bias, dim, act, alpha, gain, _, backend = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)  # of the bits it would be a tensor of zeros
    ctx.save_for_backward(output[1])
    ctx.has_bias = bias is not None
    slope = {"linear": 1.0, "relu": 0.0}.get(act, alpha)  # below zero, before the gain
    ctx.arguments = (dim, slope, gain)
    ctx.backend = backend


def _backward(ctx: Any, grad_y: Tensor | None, _: Any) -> tuple[Any, ...]:
    if grad_y is None:
        return (None,) * 8
    with_bias = ctx.has_bias and ctx.needs_input_grad[1]
    grad_x, grad_bias = registered.bias_act_signs_grad(
        grad_y, *ctx.saved_tensors, *ctx.arguments, with_bias, ctx.backend
    )
    return grad_x, grad_bias if with_bias else None, *[None] * 6


register(
    "bias_act_signs(Tensor x, Tensor? bias, int dim, str act, float alpha, float gain, "
    "float clamp, str backend) -> (Tensor y, Tensor signs)",
    _forward,
    _fake,
    setup_context=_setup_context,
    backward=_backward,
)


# grad_x = grad_y * slope, grad_bias = its sum: linear in grad_y, so the op is its own adjoint.


def _grad(grad_y: Tensor, signs: Tensor, dim: int, alpha: float, gain: float, with_bias: bool,
          backend: str) -> tuple[Tensor, Tensor]:  # fmt: skip
    pair: tuple[Tensor, Tensor] = launcher("bias_act_signs_grad", backend)(
        grad_y, signs, dim, alpha, gain, with_bias
    )
    return pair


def _grad_fake(grad_y: Tensor, signs: Tensor, dim: int, alpha: float, gain: float,
               with_bias: bool, backend: str) -> tuple[Tensor, Tensor]:  # fmt: skip
    grad_x = torch.empty_like(grad_y, memory_format=torch.contiguous_format)
    return grad_x, grad_y.new_empty(grad_y.shape[dim] if with_bias else 0)


def _grad_setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, signs, *arguments, with_bias, backend = inputs
    ctx.save_for_backward(signs)
    ctx.arguments, ctx.with_bias, ctx.backend = tuple(arguments), with_bias, backend


def _grad_backward(ctx: Any, grad_grad_x: Tensor, grad_grad_bias: Tensor) -> tuple[Any, ...]:
    total = grad_grad_x
    if ctx.with_bias:
        dim = ctx.arguments[0]
        total = total + grad_grad_bias.reshape([-1 if i == dim else 1 for i in range(total.ndim)])
    to_grad_y, _ = registered.bias_act_signs_grad(
        total, *ctx.saved_tensors, *ctx.arguments, False, ctx.backend
    )
    return to_grad_y, *[None] * 6


register(
    "bias_act_signs_grad(Tensor grad_y, Tensor signs, int dim, float alpha, float gain, "
    "bool with_bias, str backend) -> (Tensor, Tensor)",
    _grad,
    _grad_fake,
    setup_context=_grad_setup_context,
    backward=_grad_backward,
)
