"""spectral_norm of many weights in one call: a whole network's.

Where the backend has a grouped kernel (CUDA: three launches, two for the first gradient, whatever
the number of weights), one operator computes all of them; elsewhere `spectral_norm` serves them
one by one. Both give the same values. The mathematics is in `fastgan.reference.spectral_norm`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from fastgan.dispatch import has_kernel, launcher, select
from fastgan.ops._register import register, registered
from fastgan.ops.spectral_norm import check_arguments, grad_backward, spectral_norm

Lists: TypeAlias = tuple[list[Tensor], ...]


def spectral_norm_group(
    weights: Sequence[Tensor],
    us: Sequence[Tensor],
    *,
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dims: int | Sequence[int] = 0,
    backend: str | None = None,
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Divide each weight by an estimate of its largest singular value, as `spectral_norm` does.

    Args:
        weights: any shapes and layouts, of one dtype on one device. May be empty.
        us: one for each weight: [weight.shape[dim]], the left singular vector so far. They may be
            written as soon as the call returns: gradients do not need them.
        n_power_iterations: of every weight, at least 0.
        eps: floor of the norms in `normalize`.
        dims: the output dimension of each weight, or one for all.
        backend: "reference", "cpp", "cuda" or "triton"; None lets dispatch choose.

    Returns:
        For each weight (weight / sigma in its memory format, sigma as a scalar tensor, u_new).

    Raises:
        TypeError: a weight is not floating point, or weights or us differ in dtype or device.
        ValueError: the lists differ in length, or a dim, n_power_iterations or the length of a u
            does not fit.
        BackendUnavailableError: `backend` cannot run this call.

    Differentiable: any order in the weights, through each sigma, with u and v constant. A kernel
    for the group gives the gradients of all its weights at once, when the last of them is due.

    Source: Miyato et al. 2018, "Spectral Normalization for GANs", algorithm 1 and equation 12.
    """
    weights, us = list(weights), list(us)
    dims = _check(weights, us, n_power_iterations, dims)
    if not weights:
        return []
    chosen = select("spectral_norm", weights[0], backend)
    if len(weights) == 1 or not has_kernel("spectral_norm_group", chosen):
        return [
            spectral_norm(
                weight,
                u.clone() if chosen == "reference" else u,  # plain torch keeps it for gradients
                n_power_iterations=n_power_iterations,
                eps=eps,
                dim=dim,
                backend=chosen,
            )
            for weight, u, dim in zip(weights, us, dims, strict=True)
        ]
    normalized, sigmas, us_new, _ = registered.spectral_norm_group(
        weights, us, n_power_iterations, float(eps), dims, chosen
    )
    return list(zip(normalized, sigmas, us_new, strict=True))


def _check(
    weights: list[Tensor], us: list[Tensor], n_power_iterations: int, dims: int | Sequence[int]
) -> list[int]:
    op = "spectral_norm_group"
    dims = [dims] * len(weights) if isinstance(dims, int) else list(dims)
    if not len(weights) == len(us) == len(dims):
        raise ValueError(
            f"{op}: expected one u and one dim for each weight, got {len(weights)} weights, "
            f"{len(us)} us and {len(dims)} dims"
        )
    for i, weight in enumerate(weights):
        if weight.dtype != weights[0].dtype or weight.device != weights[0].device:
            raise TypeError(
                f"{op}: weight {i} is {weight.dtype} on {weight.device}, weight 0 is "
                f"{weights[0].dtype} on {weights[0].device}; make a group of each kind"
            )
        dims[i] = check_arguments(f"{op}: weight {i}", weight, us[i], n_power_iterations, dims[i])
    return dims


def _forward(weights: list[Tensor], us: list[Tensor], n_power_iterations: int, eps: float,
             dims: list[int], backend: str) -> Lists:  # fmt: skip
    lists: Lists = launcher("spectral_norm_group", backend)(
        weights, us, n_power_iterations, eps, dims
    )
    return tuple(list(tensors) for tensors in lists)


def _fake(weights: list[Tensor], us: list[Tensor], n_power_iterations: int, eps: float,
          dims: list[int], backend: str) -> Lists:  # fmt: skip
    columns = [
        math.prod((*weight.shape[:dim], *weight.shape[dim + 1 :]))
        for weight, dim in zip(weights, dims, strict=True)
    ]
    return (
        [torch.empty_like(weight) for weight in weights],
        [weight.new_empty(()) for weight in weights],
        [weight.new_empty(weight.shape[dim]) for weight, dim in zip(weights, dims, strict=True)],
        [weight.new_empty(size) for weight, size in zip(weights, columns, strict=True)],
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Lists) -> None:
    weights, _, _, _, dims, backend = inputs
    _, sigmas, us_new, vs = output
    ctx.mark_non_differentiable(*us_new, *vs)
    ctx.set_materialize_grads(False)  # weights that were not used stay out of the gradient
    ctx.save_for_backward(*weights, *sigmas, *us_new, *vs)
    ctx.dims, ctx.backend = list(dims), backend


def _backward(ctx: Any, grads: list[Tensor | None], grad_sigmas: list[Tensor | None],
              *_: Any) -> tuple[Any, ...]:  # fmt: skip
    count = len(ctx.dims)
    columns = _columns(ctx.saved_tensors, count)
    needed = [
        i
        for i in range(count)
        if ctx.needs_input_grad[0][i] and not (grads[i] is None and grad_sigmas[i] is None)
    ]
    found: list[Tensor | None] = [None] * count
    if needed:
        weights, sigmas, us, vs = ([column[i] for i in needed] for column in columns)
        zero = torch.zeros_like(sigmas[0])  # one for all whose sigma was not used
        upstream = [_or(grads[i], torch.zeros_like, columns[0][i]) for i in needed]
        along = [_or(grad_sigmas[i], lambda _: zero, zero) for i in needed]
        dims = [ctx.dims[i] for i in needed]
        results = registered.spectral_norm_group_grad(
            upstream, along, weights, sigmas, us, vs, dims, ctx.backend
        )
        for i, result in zip(needed, results, strict=True):
            found[i] = result
    return found, [None] * count, None, None, None, None


def _or(grad: Tensor | None, otherwise: Any, like: Tensor) -> Tensor:
    return otherwise(like) if grad is None else grad


def _columns(flat: Sequence[Tensor], count: int) -> list[Sequence[Tensor]]:
    """Lists of `count` tensors that were laid flat."""
    return [flat[at : at + count] for at in range(0, len(flat), count)]


register(
    "spectral_norm_group(Tensor[] weights, Tensor[] us, int n_power_iterations, float eps, "
    "int[] dims, str backend) -> (Tensor[] normalized, Tensor[] sigmas, Tensor[] us_new, "
    "Tensor[] vs)",
    _forward,
    _fake,
    setup_context=_setup_context,
    backward=_backward,
)


# The first gradient of every weight in one operator; the gradient of that by the differentiable
# formula of spectral_norm, weight by weight.


def _grad(grads: list[Tensor], grad_sigmas: list[Tensor], weights: list[Tensor],
          sigmas: list[Tensor], us: list[Tensor], vs: list[Tensor], dims: list[int],
          backend: str) -> list[Tensor]:  # fmt: skip
    results = launcher("spectral_norm_group_grad", backend)(
        grads, grad_sigmas, weights, sigmas, us, vs, dims
    )
    return list(results)


def _grad_fake(grads: list[Tensor], grad_sigmas: list[Tensor], weights: list[Tensor],
               sigmas: list[Tensor], us: list[Tensor], vs: list[Tensor], dims: list[int],
               backend: str) -> list[Tensor]:  # fmt: skip
    return [torch.empty_like(weight) for weight in weights]


def _grad_setup_context(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    grads, _, weights, sigmas, us, vs, dims, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*grads, *weights, *sigmas, *us, *vs)
    ctx.dims = list(dims)


def _grad_backward(ctx: Any, hs: list[Tensor | None]) -> tuple[Any, ...]:
    columns = _columns(ctx.saved_tensors, len(hs))
    found: list[list[Tensor | None]] = [[None] * len(hs) for _ in range(4)]
    for i, h in enumerate(hs):
        if h is None:
            continue
        wanted = [needed[i] for needed in ctx.needs_input_grad[:4]]
        tensors = [column[i] for column in columns]
        grads = grad_backward(ctx.dims[i], wanted, h, *tensors)
        for column, grad in zip(found, grads, strict=True):
            column[i] = grad
    return *found, [None] * len(hs), [None] * len(hs), None, None


register(
    "spectral_norm_group_grad(Tensor[] grads, Tensor[] grad_sigmas, Tensor[] weights, "
    "Tensor[] sigmas, Tensor[] us, Tensor[] vs, int[] dims, str backend) -> Tensor[]",
    _grad,
    _grad_fake,
    setup_context=_grad_setup_context,
    backward=_grad_backward,
)
