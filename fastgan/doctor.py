"""What runs here and whether it is right: a table of ops and backends, and a self-test.

Facts about the machine come from `fastgan.dispatch.probe`. The self-test runs every op on every
available backend, forward, backward and double backward, against the specification in float64.
The thorough comparison is the test suite; this one takes seconds and needs no source tree.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from fastgan import ops
from fastgan.dispatch import probe, registry
from fastgan.dispatch.select import requested_backend, select
from fastgan.dispatch.spec import OpCall
from fastgan.synthesis.tuning import engine_status
from fastgan.training.allocator import allocator_status

PASSES = ("forward", "backward", "2nd backward")
# Largest error, relative to the largest entry of the float64 result, that float32 may make here:
# the longest sum has about 10^4 terms, each rounded to 6e-8.
TOLERANCE = 1e-4

Call = Callable[..., Tensor]


@dataclass(frozen=True)
class Check:
    """Errors of one op on one backend, relative to the largest entry, one per pass.

    Attributes:
        op, backend: what ran.
        errors: forward, backward, double backward; empty when it raised.
        failure: the exception's text, or None.
    """

    op: str
    backend: str
    errors: tuple[float, ...]
    failure: str | None = None

    @property
    def ok(self) -> bool:
        """Whether everything ran and every error is a number within the tolerance."""
        return self.failure is None and all(error <= TOLERANCE for error in self.errors)


def self_test() -> list[Check]:
    """Run every op on every backend that serves float32 on the CPU."""
    checks = []
    for op, (function, inputs) in _cases().items():
        expected = _passes(function, [tensor.double() for tensor in inputs], "reference")
        for name in registry.BACKENDS:
            if registry.why_not(name, OpCall(op, "cpu", torch.float32)) is None:
                checks.append(_check(op, name, function, inputs, expected))
    return checks


def _check(
    op: str, backend: str, function: Call, inputs: list[Tensor], expected: list[list[Tensor]]
) -> Check:
    try:
        found = _passes(function, inputs, backend)
    except Exception as error:  # whatever a broken kernel does, the table still has to print
        return Check(op, backend, (), f"{type(error).__name__}: {' '.join(str(error).split())}")
    pairs = zip(found, expected, strict=True)
    return Check(op, backend, tuple(max(map(_error, *pair)) for pair in pairs))


def _error(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape or not bool(found.isfinite().all()):
        return float("inf")
    found, expected = found.detach().double(), expected.detach()
    scale = max(float(expected.abs().max()), 1e-12)
    return float((found - expected).abs().max()) / scale


def _passes(function: Call, inputs: list[Tensor], backend: str) -> list[list[Tensor]]:
    """Output, gradients of a weighted sum of it, and gradients of a weighted sum of those."""
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    y = function(*leaves, backend=backend)
    weights = _normal(99, *y.shape).to(y.dtype).requires_grad_()
    first = list(torch.autograd.grad(y, leaves, weights, create_graph=True))
    total = torch.stack([(g * _normal(i, *g.shape).to(g.dtype)).sum() for i, g in enumerate(first)])
    second = torch.autograd.grad(total.sum(), [*leaves, weights], allow_unused=True)
    return [[y], first, [torch.zeros(1) if g is None else g for g in second]]


def _normal(seed: int, *size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def _cases() -> dict[str, tuple[Call, list[Tensor]]]:
    taps = ops.setup_filter([1, 3, 3, 1])

    def bias_act(x: Tensor, bias: Tensor, *, backend: str) -> Tensor:
        smooth = ops.bias_act(x, bias, act="swish", backend=backend)
        return ops.bias_act(smooth, None, act="lrelu", clamp=1.5, backend=backend)

    def upfirdn2d(x: Tensor, *, backend: str) -> Tensor:
        large = ops.upsample2d(x, taps, backend=backend)
        return ops.upfirdn2d(large * large, taps, down=2, padding=(2, 1), backend=backend)

    def conv2d_resample(x: Tensor, w: Tensor, *, backend: str) -> Tensor:
        return ops.conv2d_resample(x, w, taps, up=2, padding=1, backend=backend)

    def modulated_conv2d(x: Tensor, w: Tensor, s: Tensor, *, backend: str) -> Tensor:
        return ops.modulated_conv2d(x, w, s, up=2, padding=1, resample_filter=taps, backend=backend)

    def spectral_norm(w: Tensor, *, backend: str) -> Tensor:
        u = torch.nn.functional.normalize(_normal(5, w.shape[0]).to(w.dtype), dim=0)
        return ops.spectral_norm(w, u, backend=backend)[0]

    def noise_bias_act(x: Tensor, bias: Tensor, noise: Tensor, *, backend: str) -> Tensor:
        return ops.noise_bias_act(x, noise, bias, act="swish", clamp=1.5, backend=backend)

    x, w = _normal(1, 2, 6, 17, 19), _normal(2, 8, 6, 3, 3)
    return {
        "bias_act": (bias_act, [x, _normal(3, 6)]),
        "upfirdn2d": (upfirdn2d, [x]),
        "modulated_conv2d": (modulated_conv2d, [x, w, _normal(4, 2, 6)]),
        "conv2d_resample": (conv2d_resample, [x, w]),
        "spectral_norm": (spectral_norm, [w]),
        "noise_bias_act": (noise_bias_act, [x, _normal(3, 6), _normal(6, 2, 1, 17, 19)]),
        "minibatch_std": (ops.minibatch_std, [x]),
        "normalize_act": (partial(ops.normalize_act, act="swish"), [x, _normal(4, 2, 6)]),
    }


def examine() -> dict[str, Any]:
    """Everything that `fastgan doctor` says, ready for JSON.

    Raises:
        ConfigError: FASTGAN_BACKEND names an unknown op or backend.
    """
    chosen = {op: _chosen(op) for op in registry.OPS}
    started = time.perf_counter()
    checks = self_test()
    return {
        "versions": {
            **probe.versions(),
            "synthesis engine": engine_status(),
            "allocator": allocator_status(),
        },
        "environment": {k: v for k, v in sorted(os.environ.items()) if k.startswith("FASTGAN_")},
        "backends": probe.backend_table(),
        "chosen": chosen,
        "self_test": [_row(check) for check in checks],
        "self_test_seconds": round(time.perf_counter() - started, 3),
        "ok": all(check.ok for check in checks) and "unavailable" not in chosen.values(),
    }


def _row(check: Check) -> dict[str, Any]:
    """The check as JSON can say it: null stands for an error that is not a finite number."""
    errors = [error if math.isfinite(error) else None for error in check.errors]
    return asdict(check) | {"errors": errors, "ok": check.ok}


def _chosen(op: str) -> str:
    requested_backend(op)  # an unknown name in FASTGAN_BACKEND is the user's error: let it raise
    try:
        return select(op, torch.empty(0))
    except RuntimeError:  # a known backend that cannot run here: the table says why
        return "unavailable"


def show(report: dict[str, Any], console: Console) -> None:
    """Print the tables of a report from `examine`."""
    console.print(_facts(report))
    console.print(_backends(report))
    console.print(_results(report))
    for check in report["self_test"]:
        if check["failure"]:
            console.print(f"{check['op']} on {check['backend']}: {escape(check['failure'])}")
    verdict = "[green]all ops agree with the specification" if report["ok"] else "[red]FAILED"
    console.print(f"self-test: {verdict}[/] ({report['self_test_seconds']:.1f} s)")


def _facts(report: dict[str, Any]) -> Table:
    table = Table("what", "found", title="versions and hardware")
    for name, value in {**report["versions"], **report["environment"]}.items():
        table.add_row(name, escape(value))
    return table


def _backends(report: dict[str, Any]) -> Group:
    """A table of short cells, and below it each reason once."""
    table = Table(title="backends")
    for heading in ("op", *registry.BACKENDS, "CPU float32"):
        table.add_column(heading, no_wrap=True)
    notes: list[str] = []
    for op, row in report["backends"].items():
        cells = []
        for text in row.values():
            if text != "available" and text not in notes:
                notes.append(text)
            cells.append("yes" if text == "available" else f"no ({notes.index(text) + 1})")
        table.add_row(op, *cells, report["chosen"][op])
    return Group(table, *(escape(f"({i}) {note}") for i, note in enumerate(notes, 1)))


def _results(report: dict[str, Any]) -> Table:
    table = Table(title="largest error in float32, relative")
    for heading in ("op", "backend", *PASSES, "result"):
        table.add_column(heading, no_wrap=True)
    for check in report["self_test"]:
        errors = ["-" if e is None else f"{e:.1e}" for e in check["errors"] or [None] * len(PASSES)]
        result = "[green]ok" if check["ok"] else "[red]FAILED"
        table.add_row(check["op"], check["backend"], *errors, result)
    return table
