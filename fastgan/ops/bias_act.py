"""bias_act: bias, activation, gain and clamp in one pass over memory.

Public function, schema, fake kernels and gradients. The mathematics is in
`fastgan.reference.bias_act`; the loops are in csrc/cpu/bias_act.cpp and kernels/bias_act.py.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan import reference
from fastgan.dispatch import launcher, select
from fastgan.ops import _bias_act_signs
from fastgan.ops._check import check_floating, check_same
from fastgan.ops._register import register, registered
from fastgan.reference.bias_act import ACTIVATIONS


def bias_act(
    x: Tensor,
    bias: Tensor | None = None,
    *,
    dim: int = 1,
    act: str = "lrelu",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    backend: str | None = None,
) -> Tensor:
    """Add a bias along one dimension, apply an activation, scale, and clamp.

    y = clamp(gain * act(x + bias)), in that order.

    Args:
        x: any shape, floating point, any memory format.
        bias: [x.shape[dim]], dtype of x, or None for zero.
        dim: the dimension that the bias runs along; negative counts from the end.
        act: "linear", "relu", "lrelu", "tanh", "sigmoid", "elu", "selu", "softplus" or "swish".
        alpha: slope of "lrelu" for negative input; None means 0.2. Other activations ignore it.
        gain: output scale; None means sqrt(2) for relu, lrelu and swish, 1 for the others.
        clamp: the output is limited to [-clamp, clamp], clamp >= 0; None means no limit.
        backend: "reference", "cpp", "cuda" or "triton"; None lets `fastgan.use_backend`,
            FASTGAN_BACKEND and then the machine decide.

    Returns:
        Shape, dtype and memory format of x (contiguous when x has gaps or overlaps). Half types
        are computed in float32.

    Raises:
        TypeError: x is not floating point, or bias has another dtype.
        ValueError: act, dim, clamp or the length of bias does not fit.
        BackendUnavailableError: `backend` cannot run this call.

    Differentiable: any order in x and bias. With a clamp the gradient passes strictly inside
    (-clamp, clamp).

    Source: Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", section 2.
    """
    dim = _check(x, bias, dim, act, clamp)
    row = ACTIVATIONS[act]
    alpha = row.default_alpha if alpha is None else float(alpha)
    gain = row.default_gain if gain is None else float(gain)
    chosen = select("bias_act", x, backend)
    if chosen == "reference":
        return reference.bias_act(x, bias, dim=dim, act=act, alpha=alpha, gain=gain, clamp=clamp)
    limit = -1.0 if clamp is None else float(clamp)
    if _bias_act_signs.pays(x, bias, dim, act, chosen):
        return _bias_act_signs.bias_act_signs(x, bias, dim, act, alpha, gain, limit, chosen)
    result: Tensor = registered.bias_act(x, bias, dim, act, alpha, gain, limit, chosen)
    return result


def _check(x: Tensor, bias: Tensor | None, dim: int, act: str, clamp: float | None) -> int:
    check_floating("bias_act", "x", x)
    if act not in ACTIVATIONS:
        raise ValueError(f"bias_act: act must be one of {list(ACTIVATIONS)}, got {act!r}")
    if clamp is not None and clamp < 0:
        raise ValueError(f"bias_act: clamp must be at least 0 or None, got {clamp}")
    if bias is None:
        return dim % x.ndim if x.ndim else 0
    if not -x.ndim <= dim < x.ndim:
        raise ValueError(f"bias_act: dim {dim} is out of range for x of shape {tuple(x.shape)}")
    dim %= x.ndim
    if bias.ndim != 1 or bias.shape[0] != x.shape[dim]:
        raise ValueError(
            f"bias_act: bias must have shape [{x.shape[dim]}], the size of dim {dim} of x "
            f"{tuple(x.shape)}, got {tuple(bias.shape)}"
        )
    check_same("bias_act", "bias", bias, x)
    return dim


def _forward(x: Tensor, bias: Tensor | None, dim: int, act: str, alpha: float, gain: float,
             clamp: float, backend: str) -> Tensor:  # fmt: skip
    y: Tensor = launcher("bias_act", backend)(x, bias, dim, act, alpha, gain, clamp)
    return y


def _fake(x: Tensor, bias: Tensor | None, dim: int, act: str, alpha: float, gain: float,
          clamp: float, backend: str) -> Tensor:  # fmt: skip
    return torch.empty_like(x)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, bias, dim, act, alpha, gain, clamp, backend = inputs
    # Saving y instead of x lets the caller's x be freed. The sign of y gives the slope only while
    # gain and alpha keep signs, and only where the second derivative is zero.
    slopes_keep_sign = gain > 0 and (act != "lrelu" or alpha > 0)
    ctx.from_output = ACTIVATIONS[act].piecewise_linear and slopes_keep_sign
    ctx.save_for_backward(output if ctx.from_output else x, None if ctx.from_output else bias)
    ctx.has_bias = bias is not None
    ctx.arguments = (dim, act, alpha, gain, clamp)
    ctx.backend = backend


def _backward(ctx: Any, grad_y: Tensor) -> tuple[Any, ...]:
    reference_value, bias = ctx.saved_tensors
    grad_x, grad_bias = registered.bias_act_grad(
        grad_y, reference_value, bias, *ctx.arguments, ctx.from_output,
        ctx.has_bias and ctx.needs_input_grad[1], ctx.backend,
    )  # fmt: skip
    return grad_x, grad_bias if ctx.needs_input_grad[1] else None, *[None] * 6


register(
    "bias_act(Tensor x, Tensor? bias, int dim, str act, float alpha, float gain, float clamp, "
    "str backend) -> Tensor",
    _forward,
    _fake,
    setup_context=_setup_context,
    backward=_backward,
)


# First gradient: grad_x = grad_y * gain * act'(v) inside the clamp, grad_bias = its sum.


def _grad(grad_y: Tensor, ref: Tensor, bias: Tensor | None, dim: int, act: str, alpha: float,
          gain: float, clamp: float, from_output: bool, with_bias: bool,
          backend: str) -> tuple[Tensor, Tensor]:  # fmt: skip
    pair: tuple[Tensor, Tensor] = launcher("bias_act_grad", backend)(
        grad_y, ref, bias, dim, act, alpha, gain, clamp, from_output, with_bias
    )
    return pair


def _grad_fake(grad_y: Tensor, ref: Tensor, bias: Tensor | None, dim: int, act: str, alpha: float,
               gain: float, clamp: float, from_output: bool, with_bias: bool,
               backend: str) -> tuple[Tensor, Tensor]:  # fmt: skip
    return torch.empty_like(ref), ref.new_empty(ref.shape[dim] if with_bias else 0)


def _grad_setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    grad_y, ref, bias, *arguments, from_output, with_bias, backend = inputs
    ctx.save_for_backward(grad_y, ref, bias)
    ctx.arguments, ctx.from_output, ctx.with_bias = tuple(arguments), from_output, with_bias
    ctx.backend = backend


def _grad_backward(ctx: Any, grad_grad_x: Tensor, grad_grad_bias: Tensor) -> tuple[Any, ...]:
    grad_y, ref, bias = ctx.saved_tensors
    total = grad_grad_x
    if ctx.with_bias:
        dim = ctx.arguments[0]
        total = total + grad_grad_bias.reshape([-1 if i == dim else 1 for i in range(total.ndim)])
    to_grad_y, to_ref, to_bias = None, None, None
    if ctx.needs_input_grad[0]:
        # Linear in grad_y, so the op is its own adjoint.
        to_grad_y, _ = registered.bias_act_grad(
            total, ref, bias, *ctx.arguments, ctx.from_output, False, ctx.backend
        )
    if not ctx.from_output and (ctx.needs_input_grad[1] or ctx.needs_input_grad[2]):
        to_ref = registered.bias_act_grad2(total, grad_y, ref, bias, *ctx.arguments, ctx.backend)
        if bias is not None and ctx.needs_input_grad[2]:
            to_bias = _sum_to_channels(to_ref, ctx.arguments[0])
    return to_grad_y, to_ref, to_bias, *[None] * 8


register(
    "bias_act_grad(Tensor grad_y, Tensor ref, Tensor? bias, int dim, str act, float alpha, "
    "float gain, float clamp, bool from_output, bool with_bias, str backend) -> (Tensor, Tensor)",
    _grad,
    _grad_fake,
    setup_context=_grad_setup_context,
    backward=_grad_backward,
)


# Second gradient, in x: grad_grad_x * grad_y * gain * act''(v) inside the clamp.


def _grad2(grad_grad_x: Tensor, grad_y: Tensor, x: Tensor, bias: Tensor | None, dim: int, act: str,
           alpha: float, gain: float, clamp: float, backend: str) -> Tensor:  # fmt: skip
    value: Tensor = launcher("bias_act_grad2", backend)(
        grad_grad_x, grad_y, x, bias, dim, act, alpha, gain, clamp
    )
    return value


def _grad2_fake(grad_grad_x: Tensor, grad_y: Tensor, x: Tensor, bias: Tensor | None, dim: int,
                act: str, alpha: float, gain: float, clamp: float,
                backend: str) -> Tensor:  # fmt: skip
    return torch.empty_like(x)


def _grad2_setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    grad_grad_x, grad_y, x, bias, *arguments, _ = inputs
    ctx.save_for_backward(grad_grad_x, grad_y, x, bias)
    ctx.arguments = tuple(arguments)


def _grad2_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    """Third order and above: rare and never fast, so it differentiates the specification."""
    grad_grad_x, grad_y, x, bias = (_alias(tensor) for tensor in ctx.saved_tensors)
    dim, act, alpha, gain, clamp = ctx.arguments
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        y = reference.bias_act(
            x, bias, dim=dim, act=act, alpha=alpha, gain=gain, clamp=None if clamp < 0 else clamp
        )
        (slope,) = torch.autograd.grad(y, x, grad_y, create_graph=True)
        (curve,) = torch.autograd.grad(
            slope, x, grad_grad_x, create_graph=True, materialize_grads=True
        )
        needed = ctx.needs_input_grad[:4]
        inputs = [tensor for tensor in (grad_grad_x, grad_y, x, bias) if tensor is not None]
        gradients = torch.autograd.grad(
            curve, inputs, grad, create_graph=create_graph, materialize_grads=True
        )
    found = (*gradients, None)[:4]
    return *(value if need else None for value, need in zip(found, needed, strict=True)), *[
        None
    ] * 6


def _alias(tensor: Tensor | None) -> Any:
    """The tensor under a new name, so that differentiating by it sees one argument only: the
    saved tensors may depend on each other through the graph around this op."""
    if tensor is None:
        return None
    with torch.enable_grad():
        return tensor.view_as(tensor) if tensor.requires_grad else tensor.detach().requires_grad_()


register(
    "bias_act_grad2(Tensor grad_grad_x, Tensor grad_y, Tensor x, Tensor? bias, int dim, str act, "
    "float alpha, float gain, float clamp, str backend) -> Tensor",
    _grad2,
    _grad2_fake,
    setup_context=_grad2_setup_context,
    backward=_grad2_backward,
)


def _sum_to_channels(value: Tensor, dim: int) -> Tensor:
    return value.sum([i for i in range(value.ndim) if i != dim])
