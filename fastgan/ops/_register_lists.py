"""Autograd for operators whose arguments or results are lists of tensors. Holds no mathematics.

autograd.Function knows only tensors that are arguments or results themselves, so lists are laid
flat on the way in and out. `setup_context` and `backward` see lists, as they do when torch.library
calls them: `ctx.needs_input_grad`, gradients and the results of `backward` too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from fastgan.ops._wanted import tensor_places, wanted


class _Layout:
    """Which arguments and results of one call are lists: the length of each, None where not."""

    inputs: list[int | None]
    outputs: list[int | None]
    single: bool  # the one result comes without a tuple


def flatten(values: Iterable[Any]) -> list[Any]:
    """The values, with those in lists of tensors in their place."""
    flat: list[Any] = []
    for value in values:
        if _is_list(value):
            flat.extend(value)
        else:
            flat.append(value)
    return flat


def list_function(
    name: str,
    forward: Callable[..., Any],
    setup_context: Callable[..., None],
    backward: Callable[..., Any],
) -> Callable[..., Any]:
    """The operator for eager tensors, gradients included."""

    def run(ctx: Any, layout: _Layout, *flat: Any) -> tuple[Any, ...]:
        inputs = _nested(layout.inputs, flat)
        output = forward(*inputs)
        setup_context(ctx, inputs, output)
        ctx.layout, ctx.tensor_places = layout, tensor_places((layout, *flat))
        layout.single = not isinstance(output, tuple)
        results = (output,) if layout.single else output
        layout.outputs = _lengths(results)
        return tuple(flatten(results))

    def run_backward(ctx: Any, *flat: Any) -> tuple[Any, ...]:
        layout, needed = ctx.layout, ctx.needs_input_grad
        ctx.needs_input_grad = _nested(layout.inputs, wanted(ctx, ctx.tensor_places)[1:])
        try:
            grads = backward(ctx, *_nested(layout.outputs, flat))
        finally:
            ctx.needs_input_grad = needed
        found: list[Any] = [None]  # of the layout itself
        for length, grad in zip(layout.inputs, grads, strict=True):
            found += [grad] if length is None else grad
        return tuple(found)

    methods = {"forward": staticmethod(run), "backward": staticmethod(run_backward)}
    function: Any = type(name, (torch.autograd.Function,), methods)
    # As in _register: Function.apply would look for functorch transforms first.
    apply = super(torch.autograd.Function, function).apply

    def call(*inputs: Any) -> Any:
        layout = _Layout()
        layout.inputs = _lengths(inputs)
        flat = apply(layout, *flatten(inputs))
        results = _nested(layout.outputs, flat)
        return results[0] if layout.single else results

    return call


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and isinstance(value[0], Tensor)


def _lengths(values: Iterable[Any]) -> list[int | None]:
    return [len(value) if _is_list(value) else None for value in values]


def _nested(lengths: list[int | None], flat: tuple[Any, ...]) -> tuple[Any, ...]:
    values: list[Any] = []
    at = 0
    for length in lengths:
        values.append(flat[at] if length is None else list(flat[at : at + length]))
        at += 1 if length is None else length
    return tuple(values)
