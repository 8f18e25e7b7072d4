"""Every backend against the specification in float64: values, first and second gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from fastgan.dispatch import registry
from fastgan.dispatch.spec import OpCall
from fastgan.roofline.measured import precision
from fastgan.verify.cases import Case, normal
from fastgan.verify.device import Device
from fastgan.verify.tolerances import DTYPES, compare

PASSES = ("value", "first gradient", "second gradient")
QUICK_DTYPES = (torch.float32, torch.bfloat16)


@dataclass(frozen=True)
class Outcome:
    """One check of one backend.

    Attributes:
        check: "parity", "same bits" or "memory".
        backend, op, case, dtype: what ran.
        passed: whether it is as it must be.
        error, tolerance: distance and what is allowed, of the worst pass; None when nothing was
            compared.
        note: the worst pass, or what went wrong.
    """

    check: str
    backend: str
    op: str
    case: str
    dtype: str
    passed: bool
    error: float | None
    tolerance: float | None
    note: str


@dataclass(frozen=True)
class Skip:
    """What did not run, and why."""

    what: str
    reason: str


def kernel_backends() -> list[str]:
    """All backends with kernels."""
    return [name for name in registry.BACKENDS if name != "reference"]


def dtypes(quick: bool) -> tuple[torch.dtype, ...]:
    """What is compared in."""
    return QUICK_DTYPES if quick else DTYPES


def why_not(backend: str, op: str, device: Device, dtype: torch.dtype) -> str | None:
    """Why a backend does not serve an op here, or None."""
    return registry.why_not(backend, OpCall(op, device.kind, dtype))


def check(
    found: list[Case], device: Device, *, quick: bool, progress: Callable[[], object]
) -> Iterator[Outcome]:
    """Compare every backend that serves a case; those that do not are left to `skips`."""
    for case in found:
        for dtype in dtypes(quick):
            names = [n for n in kernel_backends() if why_not(n, case.op, device, dtype) is None]
            if names:
                yield from check_case(case, dtype, device, names)
        progress()


def skips(device: Device, *, quick: bool) -> list[Skip]:
    """What no case can say of: ops and dtypes that a backend does not serve."""
    found = []
    for backend in kernel_backends():
        for op in registry.OPS:
            reasons = {why_not(backend, op, device, dtype) or "" for dtype in dtypes(quick)}
            found += [Skip(f"{op} on {backend}", reason) for reason in sorted(reasons) if reason]
            if op == "modulated_conv2d" and reasons == {""}:
                found += _composed(backend)
    return found


def _composed(backend: str) -> list[Skip]:
    if registry.has_kernel("modulated_conv2d_fused", backend):
        return []
    what = f"modulated_conv2d in one kernel on {backend}"
    return [Skip(what, "the backend has none; it was checked as a sequence of passes")]


def check_case(
    case: Case, dtype: torch.dtype, device: Device, names: list[str]
) -> Iterator[Outcome]:
    """Compare the backends `names` with the specification, in one dtype."""
    inputs = case.inputs(dtype, device.place)
    half = dtype in (torch.float16, torch.bfloat16)
    passes = all_passes if case.rounds_freely or not half else value
    with exact_float32():
        exact = passes(case, [x.cpu().double() for x in inputs], "reference", dtype)
        rounded = passes(case, inputs, "reference", dtype)
        for backend in names:
            label = ("parity", backend, case.op, case.name, str(dtype)[6:])
            try:
                actual = passes(case, inputs, backend, dtype)
            except Exception as error:  # whatever a broken kernel does, the report must come out
                text = f"{type(error).__name__}: {' '.join(str(error).split())}"
                yield Outcome(*label, False, None, None, text)
                continue
            yield Outcome(*label, *_judge(actual, rounded, exact))


def _judge(
    actual: list[list[Tensor]], rounded: list[list[Tensor]], exact: list[list[Tensor]]
) -> tuple[bool, float, float, str]:
    """(passed, error, tolerance, pass) of the pass that comes closest to its tolerance."""
    worst = (-1.0, 0.0, 0.0, "")
    for order, results in enumerate(zip(actual, rounded, exact, strict=True)):
        for a, r, e in zip(*results, strict=True):
            if a.shape != e.shape:
                return False, float("inf"), 0.0, f"{PASSES[order]}: shape {tuple(a.shape)}"
            error, allowed = compare(a, r, e, order=order)
            share = error / allowed if allowed > 0 else (0.0 if error == 0 else float("inf"))
            worst = max(worst, (share, error, allowed, PASSES[order]))
    return worst[0] <= 1, *worst[1:]


def value(
    case: Case, inputs: list[Tensor], backend: str, rounded_to: torch.dtype
) -> list[list[Tensor]]:
    """Output alone."""
    return [[case.function(*inputs, backend=backend)]]


def all_passes(
    case: Case, inputs: list[Tensor], backend: str, rounded_to: torch.dtype
) -> list[list[Tensor]]:
    """Output, gradients of a weighted sum of it, and gradients of a weighted sum of those.

    Weights are rounded to the same dtype whatever the dtype of the inputs, so that runs in
    different precision differentiate the same function.
    """

    def weights(seed: int, like: Tensor) -> Tensor:
        return normal(seed, *like.shape).to(rounded_to).to(like.device, like.dtype)

    leaves = [x.detach().requires_grad_() for x in inputs]
    y = case.function(*leaves, backend=backend)
    upstream = weights(50, y).requires_grad_()
    first = torch.autograd.grad(y, leaves, upstream, create_graph=True)
    seconds = torch.autograd.grad(
        first, [*leaves, upstream], [weights(60 + i, g) for i, g in enumerate(first)],
        allow_unused=True, materialize_grads=True,
    )  # fmt: skip
    return [[y.detach()], [g.detach() for g in first], list(seconds)]


@contextmanager
def exact_float32() -> Iterator[None]:
    """Convolutions and products of float32 without TensorFloat-32, as parity needs."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with precision("fp32"):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
