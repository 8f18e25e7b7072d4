"""Which gradients a backward pass is after: `ctx.needs_input_grad` only says which could be."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_will_run = getattr(torch._C, "_will_engine_execute_node", None)  # not documented


def tensor_places(inputs: tuple[Any, ...]) -> list[int]:
    """Where the tensors among the inputs of a function are, for `wanted`."""
    return [place for place, value in enumerate(inputs) if isinstance(value, Tensor)]


def wanted(ctx: Any, places: list[int]) -> tuple[bool, ...]:
    """`ctx.needs_input_grad` without the gradients that nobody waits for in this pass.

    In G's update the weights of D require gradients and get none, and the gradient penalties ask
    for those of images and latents alone. torch's own functions ask the engine; Python's must, too.

    Args:
        ctx: of a torch.autograd.Function, inside its backward.
        places: `tensor_places` of the inputs of its forward.
    """
    needed: tuple[bool, ...] = ctx.needs_input_grad
    if _will_run is None:
        return needed
    found = list(needed)
    for place, (node, _) in zip(places, ctx.next_functions, strict=True):
        if found[place] and node is not None:
            found[place] = _runs(node)
    return tuple(found)


def _runs(node: Any) -> bool:
    assert _will_run is not None  # the caller has looked
    try:
        return bool(_will_run(node))
    except RuntimeError:
        # Of a leaf that torch.autograd.grad was asked for: the engine refuses to say, but it only
        # knows such leaves.
        return True
