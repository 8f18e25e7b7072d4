"""normalize_act: normalisation, scale and shift, activation, gain and clamp.

Public functions, schemas, fake kernels and gradients. The mathematics is in
`fastgan.reference.normalize_act`; the loops are in kernels/normalize_act.py and
csrc/cuda/normalize_act_kernel.cuh.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan import reference
from fastgan.dispatch import launcher, select
from fastgan.ops._check import check_floating, check_rank
from fastgan.ops._register import register, registered
from fastgan.ops._specification import differentiate
from fastgan.reference.bias_act import ACTIVATIONS
from fastgan.reference.normalize_act import STATISTICS


def moments(x: Tensor, stats: str = "instance") -> tuple[Tensor, Tensor]:
    """Mean and biased variance, as `normalize_act` takes them: for running averages.

    Args:
        x: [N, C, H, W], floating point.
        stats: "instance", "batch" or "layer".

    Returns:
        (mean, variance), float32 (float64 for float64 x): [N, C], [C] or [N].

    Raises:
        TypeError: x is not floating point.
        ValueError: x has not four dimensions, or stats is not known.

    Differentiable: any order in x.
    """
    _check_images(x, stats, "moments")
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    var, mean = torch.var_mean(wide, STATISTICS[stats], correction=0)
    return mean, var


def normalize_act(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    stats: str = "instance",
    eps: float = 1e-5,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    mean: Tensor | None = None,
    var: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """Normalise images, scale and shift them, apply an activation, scale, and clamp.

    y = clamp(gain * act(weight * (x - mean) / sqrt(var + eps) + bias)), with mean and biased
    variance over H, W of each sample and channel ("instance"), over N, H, W of each channel
    ("batch") or over C, H, W of each sample ("layer").

    Args:
        x: [N, C, H, W], floating point, any memory format; kernels copy what is not contiguous.
        weight: [C], or [N, C] for conditional normalisation and AdaIN; None for one.
        bias: [C] or [N, C]; None for zero. Both are used in float32 (float64 for float64 x).
        stats: what statistics are taken over.
        eps: added to the variance.
        act: one of `fastgan.ops.bias_act`.
        alpha: slope of "lrelu" for negative input; None means 0.2.
        gain: output scale; None means sqrt(2) for relu, lrelu and swish, 1 for the others.
        clamp: the output is limited to [-clamp, clamp], clamp >= 0; None means no limit.
        mean: [C], with `var` and stats "batch": running statistics, used as constants.
        var: [C], given together with mean.
        backend: "reference", "cuda" or "triton"; None lets dispatch choose.

    Returns:
        Shape and dtype of x; the memory format of x where that is dense. Half types are computed
        in float32.

    Raises:
        TypeError: a tensor is not floating point.
        ValueError: stats, act, clamp or a shape does not fit.
        BackendUnavailableError: `backend` cannot run this call.

    Differentiable: any order in x, weight and bias, through the statistics of x. With a clamp the
    gradient passes strictly inside (-clamp, clamp).

    Source: Ioffe & Szegedy 2015 (batch), Ulyanov et al. 2016 (instance), Ba et al. 2016 (layer),
    Huang & Belongie 2017 (AdaIN, equation 8).
    """
    _check(x, weight, bias, stats, act, clamp)
    _check_running(x, stats, mean, var)
    row = ACTIVATIONS[act]
    alpha = row.default_alpha if alpha is None else float(alpha)
    gain = row.default_gain if gain is None else float(gain)
    chosen = select("normalize_act", x, backend)
    if chosen == "reference":
        return reference.normalize_act(
            x, weight, bias, stats=stats, eps=eps, act=act, alpha=alpha, gain=gain, clamp=clamp,
            mean=mean, var=var,
        )  # fmt: skip
    dtype = torch.promote_types(x.dtype, torch.float32)
    weight, bias = (None if t is None else t.to(dtype) for t in (weight, bias))
    mean, var = (None if t is None else t.detach().to(dtype) for t in (mean, var))
    limit = -1.0 if clamp is None else float(clamp)
    y: Tensor = registered.normalize_act(
        x, weight, bias, mean, var, stats, float(eps), act, alpha, gain, limit, chosen
    )[0]
    return y


def _check_images(x: Tensor, stats: str, op: str = "normalize_act") -> None:
    check_floating(op, "x", x)
    check_rank(op, "x", x, 4, "[N, C, H, W]")
    if stats not in STATISTICS:
        raise ValueError(f"{op}: stats must be one of {list(STATISTICS)}, got {stats!r}")


def _check(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, stats: str, act: str,
    clamp: float | None,
) -> None:  # fmt: skip
    _check_images(x, stats)
    if act not in ACTIVATIONS:
        raise ValueError(f"normalize_act: act must be one of {list(ACTIVATIONS)}, got {act!r}")
    if clamp is not None and clamp < 0:
        raise ValueError(f"normalize_act: clamp must be at least 0 or None, got {clamp}")
    samples, channels = x.shape[:2]
    for name, value in (("weight", weight), ("bias", bias)):
        if value is not None:
            _check_parameter(x, name, value, [(channels,), (samples, channels)])


def _check_running(x: Tensor, stats: str, mean: Tensor | None, var: Tensor | None) -> None:
    if mean is None and var is None:
        return
    if mean is None or var is None:
        raise ValueError("normalize_act: mean and var must be given together, got one of them")
    if stats != "batch":
        raise ValueError(
            f"normalize_act: mean and var are those of stats 'batch', got stats {stats!r}"
        )
    for name, value in (("mean", mean), ("var", var)):
        _check_parameter(x, name, value, [(x.shape[1],)])


def _check_parameter(x: Tensor, name: str, value: Tensor, shapes: list[tuple[int, ...]]) -> None:
    check_floating("normalize_act", name, value)
    if tuple(value.shape) not in shapes:
        expected = " or ".join(str(list(shape)) for shape in shapes)
        raise ValueError(
            f"normalize_act: {name} must have shape {expected} for x {tuple(x.shape)}, "
            f"got {tuple(value.shape)}"
        )
    if value.device != x.device:
        raise ValueError(
            f"normalize_act: {name} is on {value.device}, x is on {x.device}; move one"
        )


def _forward(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor | None, var: Tensor | None,
    stats: str, eps: float, act: str, alpha: float, gain: float, clamp: float, backend: str,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    outputs: tuple[Tensor, Tensor, Tensor] = launcher("normalize_act", backend)(
        x, weight, bias, mean, var, stats, eps, act, alpha, gain, clamp
    )
    return outputs


def _fake(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor | None, var: Tensor | None,
    stats: str, eps: float, act: str, alpha: float, gain: float, clamp: float, backend: str,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    samples, channels = x.shape[:2]
    sizes = {"instance": samples * channels, "batch": channels, "layer": samples}
    size = 0 if mean is not None else sizes[stats]
    dtype = torch.promote_types(x.dtype, torch.float32)
    return torch.empty_like(x), x.new_empty(size, dtype=dtype), x.new_empty(size, dtype=dtype)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, weight, bias, mean, var, *arguments, backend = inputs
    ctx.mark_non_differentiable(output[1], output[2])
    ctx.running = mean is not None
    mean, var = (mean, var) if ctx.running else output[1:]
    ctx.save_for_backward(x, weight, bias, mean, var)
    ctx.arguments, ctx.backend = tuple(arguments), backend


def _backward(ctx: Any, grad_y: Tensor, *_: Any) -> tuple[Any, ...]:
    x, weight, bias, mean, var = ctx.saved_tensors
    grad_x, to_weight, to_bias = registered.normalize_act_grad(
        grad_y, x, weight, bias, mean, var, ctx.running, *ctx.arguments, ctx.backend
    )
    needs_weight, needs_bias = ctx.needs_input_grad[1:3]
    grad_weight = to_weight if needs_weight else None
    grad_bias = to_bias if needs_bias else None
    if needs_weight and weight.ndim == 1:
        grad_weight = to_weight.sum(0)
    if needs_bias and bias.ndim == 1:
        grad_bias = to_bias.sum(0)
    return grad_x, grad_weight, grad_bias, *[None] * 9


register(
    "normalize_act(Tensor x, Tensor? weight, Tensor? bias, Tensor? mean, Tensor? var, str stats, "
    "float eps, str act, float alpha, float gain, float clamp, str backend) "
    "-> (Tensor y, Tensor mean, Tensor var)",
    _forward,
    _fake,
    setup_context=_setup_context,
    backward=_backward,
)


# First gradient, in x and, per sample and channel, in weight and bias. mean and var are what the
# forward pass used: a function of x unless `running`.


def _grad(
    grad_y: Tensor, x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor,
    var: Tensor, running: bool, stats: str, eps: float, act: str, alpha: float, gain: float,
    clamp: float, backend: str,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    gradients: tuple[Tensor, Tensor, Tensor] = launcher("normalize_act_grad", backend)(
        grad_y, x, weight, bias, mean, var, running, stats, eps, act, alpha, gain, clamp
    )
    return gradients


def _grad_fake(
    grad_y: Tensor, x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor,
    var: Tensor, running: bool, stats: str, eps: float, act: str, alpha: float, gain: float,
    clamp: float, backend: str,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    size = x.shape[:2]
    return torch.empty_like(x), mean.new_empty(size), mean.new_empty(size)


def _grad_setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    grad_y, x, weight, bias, mean, var, ctx.running, *arguments, _ = inputs
    ctx.save_for_backward(grad_y, x, weight, bias, mean, var)
    ctx.arguments = tuple(arguments)


def _grad_backward(ctx: Any, *upstream: Tensor) -> tuple[Any, ...]:
    """Rare, so it differentiates the specification."""
    *inputs, mean, var = ctx.saved_tensors
    running = {"mean": mean, "var": var} if ctx.running else {}
    stats, eps, act, alpha, gain, clamp = ctx.arguments

    def gradients(grad_y: Tensor, x: Tensor, weight: Any, bias: Any) -> tuple[Tensor, ...]:
        samples, channels = x.shape[:2]
        # Per sample and channel, as the op returns the gradients of both.
        weight = x.new_ones(channels, dtype=mean.dtype) if weight is None else weight
        bias = x.new_zeros(channels, dtype=mean.dtype) if bias is None else bias
        weight, bias = (t.expand(samples, channels).clone() for t in (weight, bias))
        leaves = [t if t.requires_grad else t.requires_grad_() for t in (x, weight, bias)]
        y = reference.normalize_act(
            *leaves, stats=stats, eps=eps, act=act, alpha=alpha, gain=gain,
            clamp=None if clamp < 0 else clamp, **running,
        )  # fmt: skip
        return torch.autograd.grad(y, leaves, grad_y, create_graph=True)

    needed = ctx.needs_input_grad[:4]
    found = differentiate(gradients, inputs, upstream, needed)
    return *found, *[None] * 10


register(
    "normalize_act_grad(Tensor grad_y, Tensor x, Tensor? weight, Tensor? bias, Tensor mean, "
    "Tensor var, bool running, str stats, float eps, str act, float alpha, float gain, "
    "float clamp, str backend) -> (Tensor grad_x, Tensor grad_weight, Tensor grad_bias)",
    _grad,
    _grad_fake,
    setup_context=_grad_setup_context,
    backward=_grad_backward,
)
