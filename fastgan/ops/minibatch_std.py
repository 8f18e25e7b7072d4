"""minibatch_std: the standard deviation over groups of a batch, as extra channels.

Public function, schemas, fake kernels and gradients. The mathematics is in
`fastgan.reference.minibatch_std`; the loops are in kernels/minibatch_std.py and
csrc/cuda/minibatch_std_kernel.cuh.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan import reference
from fastgan.dispatch import launcher, select
from fastgan.ops._check import check_floating, check_rank
from fastgan.ops._layout import memory_format
from fastgan.ops._register import register, registered
from fastgan.ops._specification import differentiate
from fastgan.reference.minibatch_std import group_of


def minibatch_std(
    x: Tensor, group_size: int = 4, num_channels: int = 1, *, backend: str | None = None
) -> Tensor:
    """Append the standard deviation over groups of the batch as extra channels.

    y[n, C + f] = mean over pixels and the channels c of slice f of sqrt(var_n(x[:, c]) + 1e-8),
    with var_n the biased variance over the group of sample n, which is n mod (N / G); G is the
    largest divisor of N up to group_size.

    Args:
        x: [N, C, H, W], floating point, any memory format.
        group_size: at least 1.
        num_channels: slices F of the channels; divides C.
        backend: "reference", "cuda" or "triton"; None lets dispatch choose.

    Returns:
        [N, C + F, H, W], dtype of x; channels_last if x is, else contiguous. Half types are
        computed in float32.

    Raises:
        TypeError: x is not floating point.
        ValueError: x has not four dimensions, or group_size or num_channels does not fit.
        BackendUnavailableError: `backend` cannot run this call.

    Differentiable: any order.

    Source: Karras et al. 2018, "Progressive Growing of GANs", section 3.
    """
    check_floating("minibatch_std", "x", x)
    check_rank("minibatch_std", "x", x, 4, "[N, C, H, W]")
    if group_size < 1:
        raise ValueError(f"minibatch_std: group_size must be at least 1, got {group_size}")
    if num_channels < 1 or x.shape[1] == 0 or x.shape[1] % num_channels:
        raise ValueError(
            f"minibatch_std: num_channels must divide the {x.shape[1]} channels of x, "
            f"got {num_channels}"
        )
    chosen = select("minibatch_std", x, backend)
    if chosen == "reference":
        return reference.minibatch_std(x, group_size, num_channels)
    group = group_of(x.shape[0], group_size)
    y: Tensor = registered.minibatch_std(x, group, num_channels, chosen)
    return y


def _forward(x: Tensor, group_size: int, num_channels: int, backend: str) -> Tensor:
    y: Tensor = launcher("minibatch_std", backend)(x, group_size, num_channels)
    return y


def _fake(x: Tensor, group_size: int, num_channels: int, backend: str) -> Tensor:
    samples, channels, height, width = x.shape
    size = (samples, channels + num_channels, height, width)
    return torch.empty(size, dtype=x.dtype, device=x.device, memory_format=memory_format(x))


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, *ctx.arguments = inputs
    ctx.save_for_backward(x)


def _backward(ctx: Any, grad_y: Tensor) -> tuple[Any, ...]:
    (x,) = ctx.saved_tensors
    return registered.minibatch_std_grad(grad_y, x, *ctx.arguments), None, None, None


register(
    "minibatch_std(Tensor x, int group_size, int num_channels, str backend) -> Tensor",
    _forward,
    _fake,
    setup_context=_setup_context,
    backward=_backward,
)


# First gradient: grad_x = grad_y[:, :C] + S (x - mean) / (G P s), with S the sum of the upstream
# gradient of the group's statistic, s the standard deviation and P the places it is averaged over.


def _grad(grad_y: Tensor, x: Tensor, group_size: int, num_channels: int, backend: str) -> Tensor:
    grad_x: Tensor = launcher("minibatch_std_grad", backend)(grad_y, x, group_size, num_channels)
    return grad_x


def _grad_fake(
    grad_y: Tensor, x: Tensor, group_size: int, num_channels: int, backend: str
) -> Tensor:
    return torch.empty_like(x, memory_format=memory_format(x))


def _grad_setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    grad_y, x, *ctx.arguments = inputs
    ctx.save_for_backward(grad_y, x)


def _grad_backward(ctx: Any, h: Tensor) -> tuple[Any, ...]:
    group_size, num_channels, _ = ctx.arguments

    def gradient(grad_y: Tensor, x: Tensor) -> Tensor:
        y = reference.minibatch_std(x, group_size, num_channels)
        return torch.autograd.grad(y, x, grad_y, create_graph=True)[0]

    found = differentiate(gradient, ctx.saved_tensors, h, ctx.needs_input_grad[:2])
    return *found, None, None, None


register(
    "minibatch_std_grad(Tensor grad_y, Tensor x, int group_size, int num_channels, str backend) "
    "-> Tensor",
    _grad,
    _grad_fake,
    setup_context=_grad_setup_context,
    backward=_grad_backward,
)
