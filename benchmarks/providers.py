"""Who is timed: plain PyTorch, torch.compile of it, scipy where it has the op, and fastgan's
kernels; and the passes.

A contender is a call without arguments that returns the tensors of one pass.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, TypeAlias

import torch
from torch import Tensor

from benchmarks.cases import Case, Function, Pass
from fastgan.dispatch import registry
from fastgan.dispatch.spec import OpCall

Contender: TypeAlias = Callable[[], list[Tensor]]
TOLERANCE = 1e-4  # of the largest entry, in float32: the longest sum here has 5,000 terms


class WrongResultError(RuntimeError):
    """A contender does not compute what the specification says, so its time means nothing."""


def functions(case: Case, *, compiled: bool) -> dict[str, Function]:
    """Return {provider: function}: "eager/...", "compile/...", others and the kernel backends."""
    found: dict[str, Function] = {f"eager/{way}": plain for way, plain in case.plain.items()}
    if compiled:
        torch._dynamo.reset()  # every case is compiled for its own shape, as a user's would be
        for way, plain in case.plain.items():
            found[f"compile/{way}"] = torch.compile(plain, dynamic=False)
    found |= case.forward_only
    x = case.inputs[0]
    for name in registry.BACKENDS:
        available = registry.why_not(name, OpCall(case.op, x.device.type, x.dtype)) is None
        if name != "reference" and available:
            found[name] = partial(case.function, backend=name)
    return found


def contenders(case: Case, which: Pass, found: dict[str, Function]) -> dict[str, Contender]:
    """Return one call per function for a pass; torch.compile has no double backward."""
    second = which == "double_bwd"
    names = [name for name in found if not (second and name.startswith("compile/"))]
    names = [name for name in names if which == "fwd" or name not in case.forward_only]
    return {name: contender(found[name], case.inputs, which) for name in names}


def contender(function: Function, inputs: tuple[Tensor, ...], which: Pass) -> Contender:
    """Bind a pass of a function to its inputs."""
    if which == "fwd":
        return torch.no_grad()(lambda: [function(*inputs)])
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    with torch.no_grad():
        y = function(*inputs)
    grad_y = _upstream(y.shape, y.stride(), y.dtype, which == "double_bwd")
    if which == "fwd_bwd":
        return lambda: list(torch.autograd.grad(function(*leaves), leaves, grad_y))
    weights = [_normal_like(tensor, 2 + i) for i, tensor in enumerate(inputs)]
    return partial(_double_backward, function, leaves, grad_y, weights)


def _double_backward(
    function: Function, leaves: list[Tensor], grad_y: Tensor, weights: list[Tensor]
) -> list[Tensor]:
    first = torch.autograd.grad(function(*leaves), leaves, grad_y, create_graph=True)
    second = torch.autograd.grad(
        first, [*leaves, grad_y], weights, allow_unused=True, materialize_grads=True
    )
    return [*first, *second]


@lru_cache(maxsize=1)
def _upstream(
    shape: torch.Size, stride: tuple[int, ...], dtype: torch.dtype, requires_grad: bool
) -> Tensor:
    """The gradient that all contenders get: the same memory, as they get the same inputs."""
    return _normal_like(torch.empty_strided(shape, stride, dtype=dtype), 1).requires_grad_(
        requires_grad
    )


def _normal_like(tensor: Tensor, seed: int) -> Tensor:
    values = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(seed))
    return torch.empty_like(tensor).copy_(values)


def check(case: Case, which: Pass, found: dict[str, Contender]) -> None:
    """Compare every contender with the specification in float64.

    Raises: WrongResultError, naming the contender and its error.
    """
    doubles = tuple(tensor.double() for tensor in case.inputs)
    expected = contender(case.reference, doubles, which)()
    for name, run in found.items():
        for index, (value, truth) in enumerate(zip(run(), expected, strict=True)):
            error = _error(value, truth)
            if not error <= TOLERANCE:  # NaN is wrong too
                raise WrongResultError(
                    f"{case.op} {case.name} {which}: result {index} of {name} is off by "
                    f"{error:.1e} of the largest entry, more than {TOLERANCE:.0e}"
                )


def _error(value: Tensor, truth: Tensor) -> float:
    if value.shape != truth.shape:
        return float("inf")
    difference: Any = (value.detach().double() - truth.detach()).abs().max()
    return float(difference / truth.detach().abs().max().clamp_min(1e-30))
