"""The one place that registers operators with torch. Holds no mathematics."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from fastgan.ops._register_lists import flatten, list_function
from fastgan.ops._wanted import tensor_places, wanted

# Kept alive for the life of the process: dropping it would unregister the ops.
_LIBRARY = torch.library.Library("fastgan", "DEF")

registered: Any = SimpleNamespace()
"""`registered.<name>` computes what `torch.ops.fastgan.<name>` does, gradients included, and is
what the ops call: eager tensors go to the kernel without the dispatcher, whose way through Python
takes longer than a small kernel runs."""


def register(
    schema: str,
    forward: Callable[..., Any],
    fake: Callable[..., Any],
    *,
    setup_context: Callable[..., None] | None = None,
    backward: Callable[..., Any] | None = None,
) -> None:
    """Define `torch.ops.fastgan.<name>` and `registered.<name>` from a schema.

    Args:
        schema: torch schema, such as "f(Tensor x, str backend) -> Tensor". By convention the last
            argument is the backend's name, fixed by `fastgan.dispatch.select`. With lists of
            tensors (not empty) in it, `backward` gets and returns lists in their places.
        forward: computes the op; never records gradients.
        fake: shapes, dtypes and strides of the outputs without data.
        setup_context: saves what `backward` needs.
        backward: gradients, composed of differentiable operators only.
    """
    name = schema.split("(")[0]
    _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    _LIBRARY.impl(name, forward, "CompositeExplicitAutograd")
    torch.library.register_fake(f"fastgan::{name}", fake, lib=_LIBRARY)
    if setup_context is not None and backward is not None and schema.endswith("-> Tensor"):
        setup_context, backward = _without_zeros(setup_context, backward)
    if backward is not None:
        torch.library.register_autograd(
            f"fastgan::{name}", backward, setup_context=setup_context, lib=_LIBRARY
        )
    direct = _direct_lists if "Tensor[]" in schema else _direct
    setattr(registered, name, direct(name, forward, setup_context, backward))


def _without_zeros(
    setup_context: Callable[..., None], backward: Callable[..., Any]
) -> tuple[Callable[..., None], Callable[..., Any]]:
    """Return both so that no gradient of an output, the only one, gives none of the inputs.

    A second gradient reaches an op through what it has saved for its first one, often without a
    value; torch would make zeros, send them through the kernel, and add the zeros that come back.
    """

    def setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.set_materialize_grads(False)
        ctx.input_count = len(inputs)
        setup_context(ctx, inputs, output)

    def run(ctx: Any, grad: Tensor | None) -> Any:
        return (None,) * ctx.input_count if grad is None else backward(ctx, grad)

    return setup, run


def _direct(
    name: str,
    forward: Callable[..., Any],
    setup_context: Callable[..., None] | None,
    backward: Callable[..., Any] | None,
) -> Callable[..., Any]:
    operator = getattr(torch.ops.fastgan, name)
    apply = None if backward is None else _apply(name, forward, setup_context, backward)

    def call(*inputs: Any) -> Any:
        if torch.compiler.is_compiling() or not is_eager(inputs):
            return operator(*inputs)
        if apply is None or not torch.is_grad_enabled():
            return forward(*inputs)
        return apply(*inputs)

    return call


def _direct_lists(
    name: str,
    forward: Callable[..., Any],
    setup_context: Callable[..., None] | None,
    backward: Callable[..., Any] | None,
) -> Callable[..., Any]:
    """As `_direct`, apart from it because looking for lists takes time."""
    if setup_context is None or backward is None:
        raise TypeError(f"{name}: an operator on lists of tensors needs its gradient")
    operator = getattr(torch.ops.fastgan, name)
    apply = list_function(name, forward, setup_context, backward)

    def call(*inputs: Any) -> Any:
        if torch.compiler.is_compiling() or not is_eager(tuple(flatten(inputs))):
            return operator(*inputs)
        return apply(*inputs) if torch.is_grad_enabled() else forward(*inputs)

    return call


def _apply(
    name: str,
    forward: Callable[..., Any],
    setup_context: Callable[..., None] | None,
    backward: Callable[..., Any],
) -> Callable[..., Any]:
    def run(ctx: Any, *inputs: Any) -> Any:
        output = forward(*inputs)
        if setup_context is not None:
            setup_context(ctx, inputs, output)
        ctx.tensor_places = tensor_places(inputs)
        return output

    def run_backward(ctx: Any, *grads: Any) -> Any:
        needed = ctx.needs_input_grad
        ctx.needs_input_grad = wanted(ctx, ctx.tensor_places)
        try:
            return backward(ctx, *grads)
        finally:
            ctx.needs_input_grad = needed

    methods = {"forward": staticmethod(run), "backward": staticmethod(run_backward)}
    function: Any = type(name, (torch.autograd.Function,), methods)
    # Function.apply looks for functorch transforms first; `call` did.
    apply: Callable[..., Any] = super(torch.autograd.Function, function).apply
    return apply


_PLAIN = (Tensor, torch.nn.Parameter, float, int, str, bool, type(None))
_modes = torch._C._len_torch_dispatch_stack
_function_modes = torch._C._len_torch_function_stack
_is_tracing = torch._C._is_tracing
_transforms = torch._C._functorch.peek_interpreter_stack


def is_eager(inputs: tuple[Any, ...]) -> bool:
    """Whether nothing watches the calls of operators: no mode (fake tensors, tracing, counting of
    operations, selective checkpoints), no functorch transform, no subclass of Tensor."""
    if _modes() or _function_modes() or _transforms() is not None or _is_tracing():
        return False
    for x in inputs:  # noqa: SIM110 (a generator takes longer)
        if type(x) not in _PLAIN and isinstance(x, Tensor):
            return False
    return True
