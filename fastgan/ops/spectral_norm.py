"""spectral_norm: divide a weight by its largest singular value, found by power iteration.

Public function, schemas, fake kernels and gradients. The mathematics is in
`fastgan.reference.spectral_norm`; the module that carries u along is in `fastgan.nn`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastgan import reference
from fastgan.dispatch import launcher, select
from fastgan.ops._check import check_floating
from fastgan.ops._register import register, registered


def spectral_norm(
    weight: Tensor,
    u: Tensor,
    *,
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int = 0,
    backend: str | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Divide a weight by an estimate of its largest singular value.

    With W the weight with `dim` first and the rest flattened, [rows, cols], each iteration sets
    v = normalize(W^T u), u = normalize(W v); then sigma = u^T W v. Without iterations
    v = normalize(W^T u) and u stays as it is.

    Args:
        weight: at least one dimension, floating point; any dense layout runs without a copy.
        u: [weight.shape[dim]], dtype of weight: the left singular vector so far.
        n_power_iterations: at least 0; one per training step suffices, as u is carried on.
        eps: floor of the norms in `normalize`. It does not floor sigma: a zero weight gives
            sigma 0 and 0 / 0 = NaN, so that the failure shows.
        dim: the output dimension: 0, or 1 for transposed convolutions.
        backend: "reference", "cpp", "cuda" or "triton"; None lets dispatch choose.

    Returns:
        (weight / sigma in the memory format of weight, sigma as a scalar tensor, u_new). u_new
        is detached and never the same memory as u.

    Raises:
        TypeError: weight is not floating point or u has another dtype.
        ValueError: dim, n_power_iterations or the length of u does not fit.
        BackendUnavailableError: `backend` cannot run this call.

    Differentiable: any order in weight, through sigma, with u and v constant.

    Source: Miyato et al. 2018, "Spectral Normalization for GANs", algorithm 1 and equation 12.
    """
    dim = check_arguments("spectral_norm", weight, u, n_power_iterations, dim)
    chosen = select("spectral_norm", weight, backend)
    if chosen == "reference":
        return reference.spectral_norm(
            weight, u, n_power_iterations=n_power_iterations, eps=eps, dim=dim
        )
    normalized, sigma, u_new, _ = registered.spectral_norm(
        weight, u, n_power_iterations, float(eps), dim, chosen
    )
    return normalized, sigma, u_new


def check_arguments(op: str, weight: Tensor, u: Tensor, n_power_iterations: int, dim: int) -> int:
    """Raise where an argument does not fit; return dim, counted from the front."""
    check_floating(op, "weight", weight)
    if weight.ndim == 0 or not -weight.ndim <= dim < weight.ndim:
        raise ValueError(
            f"{op}: dim {dim} is out of range for weight of shape {tuple(weight.shape)}"
        )
    dim %= weight.ndim
    if u.dtype != weight.dtype or u.device != weight.device:
        raise TypeError(
            f"{op}: u is {u.dtype} on {u.device}, weight is {weight.dtype} on "
            f"{weight.device}; convert one of them"
        )
    if tuple(u.shape) != (weight.shape[dim],):
        raise ValueError(
            f"{op}: u must have shape [{weight.shape[dim]}], the size of dim {dim} of "
            f"weight {tuple(weight.shape)}, got {tuple(u.shape)}"
        )
    if n_power_iterations < 0:
        raise ValueError(f"{op}: n_power_iterations must be at least 0, got {n_power_iterations}")
    return dim


def _forward(weight: Tensor, u: Tensor, n_power_iterations: int, eps: float, dim: int,
             backend: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    outputs: tuple[Tensor, Tensor, Tensor, Tensor] = launcher("spectral_norm", backend)(
        weight, u, n_power_iterations, eps, dim
    )
    return outputs


def _fake(weight: Tensor, u: Tensor, n_power_iterations: int, eps: float, dim: int,
          backend: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    rows = weight.shape[dim]
    cols = math.prod(size for i, size in enumerate(weight.shape) if i != dim)
    return (
        torch.empty_like(weight),
        weight.new_empty(()),
        weight.new_empty(rows),
        weight.new_empty(cols),
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    weight, _, _, _, dim, backend = inputs
    _, sigma, u_new, v = output
    ctx.mark_non_differentiable(u_new, v)
    ctx.save_for_backward(weight, sigma, u_new, v)
    ctx.dim, ctx.backend = dim, backend


def _backward(ctx: Any, grad_normalized: Tensor, grad_sigma: Tensor, *_: Any) -> tuple[Any, ...]:
    if not ctx.needs_input_grad[0]:
        return (None,) * 6
    grad_weight = registered.spectral_norm_grad(
        grad_normalized, grad_sigma, *ctx.saved_tensors, ctx.dim, ctx.backend
    )
    return grad_weight, *[None] * 5


register(
    "spectral_norm(Tensor weight, Tensor u, int n_power_iterations, float eps, int dim, "
    "str backend) -> (Tensor normalized, Tensor sigma, Tensor u_new, Tensor v)",
    _forward,
    _fake,
    setup_context=_setup_context,
    backward=_backward,
)


# First gradient: grad / sigma + (grad_sigma - <grad, W> / sigma^2) u v^T. The saved sigma is an
# output, so the graph of higher orders runs through it into the forward op again.


def _grad(grad_normalized: Tensor, grad_sigma: Tensor, weight: Tensor, sigma: Tensor, u: Tensor,
          v: Tensor, dim: int, backend: str) -> Tensor:  # fmt: skip
    grad_weight: Tensor = launcher("spectral_norm_grad", backend)(
        grad_normalized, grad_sigma, weight, sigma, u, v, dim
    )
    return grad_weight


def _grad_fake(grad_normalized: Tensor, grad_sigma: Tensor, weight: Tensor, sigma: Tensor,
               u: Tensor, v: Tensor, dim: int, backend: str) -> Tensor:  # fmt: skip
    return torch.empty_like(weight)


def _grad_setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    grad_normalized, _, weight, sigma, u, v, dim, _ = inputs
    ctx.save_for_backward(grad_normalized, weight, sigma, u, v)
    ctx.dim = dim


def _grad_backward(ctx: Any, h: Tensor) -> tuple[Any, ...]:
    grads = grad_backward(ctx.dim, ctx.needs_input_grad[:4], h, *ctx.saved_tensors)
    return *grads, *[None] * 4


def grad_backward(dim: int, needed: Sequence[bool], h: Tensor, grad: Tensor, weight: Tensor,
                  sigma: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Gradients of spectral_norm_grad in (grad_normalized, grad_sigma, weight, sigma), those that
    are needed, for h that of its result."""
    to_grad = to_grad_sigma = to_weight = to_sigma = None
    slope = _bilinear(h, u, v, dim)  # u^T h v
    ratio = (slope / sigma / sigma).to(h.dtype)
    if needed[0]:
        to_grad = h / sigma - ratio * weight
    if needed[1]:
        to_grad_sigma = slope.to(h.dtype)
    if needed[2]:
        to_weight = -ratio * grad
    if needed[3]:
        along = 2 * slope / sigma * _dot(grad, weight)
        to_sigma = ((along - _dot(h, grad)) / sigma / sigma).to(sigma.dtype)
    return to_grad, to_grad_sigma, to_weight, to_sigma


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """<a, b>, in float32 for half types."""
    wide = torch.promote_types(a.dtype, torch.float32)
    return (a.to(wide) * b.to(wide)).sum()


def _bilinear(matrix: Tensor, u: Tensor, v: Tensor, dim: int) -> Tensor:
    """u^T M v of a tensor folded like the weight, in float32 for half types."""
    wide = torch.promote_types(matrix.dtype, torch.float32)
    rows = matrix.to(wide).movedim(dim, 0).reshape(u.shape[0], v.shape[0])
    return u.to(wide) @ (rows @ v.to(wide))


register(
    "spectral_norm_grad(Tensor grad_normalized, Tensor grad_sigma, Tensor weight, Tensor sigma, "
    "Tensor u, Tensor v, int dim, str backend) -> Tensor",
    _grad,
    _grad_fake,
    setup_context=_grad_setup_context,
    backward=_grad_backward,
)
