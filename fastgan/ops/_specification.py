"""Gradients by differentiating the specification: for orders that are rare and never fast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def differentiate(
    function: Callable[..., Any],
    inputs: Sequence[Tensor | None],
    upstream: Tensor | Sequence[Tensor],
    needed: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """Gradients of <function(*inputs), upstream> by the inputs that are needed, None for others.

    function: differentiable torch code, gradients with create_graph included.
    """
    aliases = [_alias(tensor) for tensor in inputs]
    wanted = [i for i, tensor in enumerate(aliases) if tensor is not None and needed[i]]
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        found = torch.autograd.grad(
            function(*aliases),
            [aliases[i] for i in wanted],
            upstream,
            create_graph=create_graph,
            materialize_grads=True,
        )
    by_index = dict(zip(wanted, found, strict=True))
    return tuple(by_index.get(i) for i in range(len(aliases)))


def _alias(tensor: Tensor | None) -> Any:
    """The tensor under a new name, so that differentiating by it sees one argument only: saved
    tensors may depend on each other through the graph around an op."""
    if tensor is None:
        return None
    with torch.enable_grad():
        return tensor.view_as(tensor) if tensor.requires_grad else tensor.detach().requires_grad_()
