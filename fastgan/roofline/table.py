"""Rows of the roofline: every call of a network with its counts, ready for a table or JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from rich.table import Table

from fastgan.roofline import bias_act, modulated_conv2d, spectral_norm, upfirdn2d
from fastgan.roofline.calls import (
    BiasAct,
    Call,
    DType,
    ModulatedConv2d,
    NoiseBiasAct,
    SpectralNorm,
    Upfirdn2d,
)
from fastgan.roofline.machines import Machine
from fastgan.roofline.traffic import Stream, total

# Passes over the activation (for spectral norm, the weight), of plain PyTorch operations and of
# fastgan's kernels. Each operation of the unfused sequence reads and writes all of it.
# Demodulation counts with the noise, which is added in the same pass.
EAGER = {
    "bias_act": ("add bias", "leaky ReLU", "gain", "clamp"),
    "bias_act grad": ("clamp", "gain", "leaky ReLU", "sum to the bias"),
    "noise+bias+act": ("demodulate", "add noise", "add bias", "leaky ReLU", "gain", "clamp"),
    "upfirdn2d up": ("insert zeros", "pad", "convolve", "gain"),
    "upfirdn2d": ("pad", "convolve"),
    "upfirdn2d down": ("pad", "convolve", "keep every second"),
    "modulated_conv2d": ("scale", "convolve"),
    "modulated_conv2d up": ("scale", "convolve", "pad", "filter"),
    "spectral_norm": ("W^T u", "W v", "u . W v", "divide"),
}
KERNELS = {
    "noise+bias+act": 2,
    "modulated_conv2d": 2,
    "modulated_conv2d up": 3,
    "spectral_norm": 3,
}  # 1 where nothing is said

GOALS = {"bias_act": 1.1, "bias_act grad": 1.1, "spectral_norm": 1.1, "upfirdn2d": 1.25}
GOAL_SIZE = 64  # upfirdn2d of smaller images has no goal


@dataclass(frozen=True)
class Row:
    """One call of a network.

    Attributes:
        op: name of the op and the pass; see EAGER.
        shape: of the input, and what is done to it.
        dtype: of the images.
        count: how often the network makes the call.
        flops: floating-point operations.
        compulsory: least bytes.
        moved: bytes that the kernels of a backend move; a backend without the kernel is missing.
        bound: least seconds on the machine; None without one.
        limit: "memory" or "arithmetic"; None without a machine.
        saved: passes over the activation that the kernels save against the unfused sequence.
        goal: most that moved / compulsory should be, where there is a goal.
        seconds: measured, by backend.
    """

    op: str
    shape: str
    dtype: DType
    count: int
    flops: int
    compulsory: int
    moved: dict[str, int]
    bound: float | None
    limit: str | None
    saved: int
    goal: float | None
    seconds: dict[str, float] = field(default_factory=dict)

    def ratio(self, backend: str) -> float:
        """Bytes moved over bytes that must be."""
        return self.moved[backend] / self.compulsory


def row(call: Call, count: int, machine: Machine | None) -> Row:
    """Count one call."""
    op, shape, dtype = _describe(call)
    flops, compulsory = _least(call)
    bound = limit = None
    if machine is not None:
        tensor_cores = isinstance(call, ModulatedConv2d) and dtype == "fp16"
        bound = machine.bound(compulsory, flops, tensor_cores=tensor_cores)
        limit = "memory" if compulsory / machine.bandwidth >= bound else "arithmetic"
    moved = {name: total(streams) for name, streams in streams_of(call).items()}
    family = " ".join(op.split()[:2]).removesuffix(" grad") if "upfirdn2d" in op else op
    saved = len(EAGER[family]) - KERNELS.get(family, 1)
    goal = _goal(call, op)
    return Row(op, shape, dtype, count, flops, compulsory, moved, bound, limit, saved, goal)


def streams_of(call: Call) -> dict[str, list[Stream]]:
    """{backend: streams} of the backends that have kernels for the call."""
    if isinstance(call, BiasAct):
        return {"cuda": bias_act.cuda(call), "triton": bias_act.triton(call)}
    if isinstance(call, NoiseBiasAct):
        return {"triton": bias_act.sequence_triton(call)}
    if isinstance(call, SpectralNorm):
        return {"cuda": spectral_norm.cuda(call), "triton": spectral_norm.triton(call)}
    if isinstance(call, ModulatedConv2d):
        return {"triton": modulated_conv2d.composed(call, upfirdn2d.triton)}
    found = {"cuda": upfirdn2d.cuda(call), "triton": upfirdn2d.triton(call)}
    return {name: streams for name, streams in found.items() if streams is not None}


def _least(call: Call) -> tuple[int, int]:
    if isinstance(call, BiasAct):
        return bias_act.flops(call), bias_act.compulsory(call)
    if isinstance(call, NoiseBiasAct):
        return bias_act.sequence_flops(call), bias_act.sequence_compulsory(call)
    if isinstance(call, SpectralNorm):
        return spectral_norm.flops(call), spectral_norm.compulsory(call)
    if isinstance(call, ModulatedConv2d):
        return modulated_conv2d.flops(call), modulated_conv2d.compulsory(call)
    return upfirdn2d.flops(call), upfirdn2d.compulsory(call)


def _describe(call: Call) -> tuple[str, str, DType]:
    if isinstance(call, SpectralNorm):
        return "spectral_norm", f"{call.rows}x{call.cols}", call.dtype
    shape, dtype = str(call.x), call.x.dtype
    if isinstance(call, BiasAct):
        return "bias_act grad" if call.backward else "bias_act", shape, dtype
    if isinstance(call, NoiseBiasAct):
        return "noise+bias+act", shape, dtype
    if isinstance(call, ModulatedConv2d):
        shape = f"{shape} to {call.out_channels}, {call.size}x{call.size}"
        return "modulated_conv2d" + (" up" if call.up > 1 else ""), shape, dtype
    factor = " up" if call.up > 1 else " down" if call.down > 1 else ""
    return f"upfirdn2d{factor}" + (" grad" if call.backward else ""), shape, dtype


def _goal(call: Call, op: str) -> float | None:
    if isinstance(call, Upfirdn2d):
        return GOALS["upfirdn2d"] if min(call.x.width, call.y.width) >= GOAL_SIZE else None
    return GOALS.get(op)


def rows(calls: Iterable[tuple[Call, int]], machine: Machine | None) -> list[Row]:
    """Count calls."""
    return in_order(row(call, count, machine) for call, count in calls)


def in_order(found: Iterable[Row]) -> list[Row]:
    """By op; the largest of each op come first."""
    order = list(EAGER)
    return sorted(found, key=lambda r: (_rank(r.op, order), -r.compulsory, r.shape))


def _rank(op: str, order: list[str]) -> int:
    return order.index(op.removesuffix(" grad") if "upfirdn2d" in op else op)


def table(title: str, found: list[Row]) -> Table:
    """The rows as a table."""
    measured = sorted({name for r in found for name in r.seconds})
    view = Table(title=title)
    heads = ["op", "input", "n", "GFLOP", "MB", "cuda MB", "triton MB", "bound us", "limit"]
    heads += ["saved", *(f"{name} us (of bound)" for name in measured)]
    words = ("op", "input", "limit")
    for head in heads:
        view.add_column(head, justify="left" if head in words else "right", no_wrap=True)
    for r in found:
        cells = [r.op, r.shape, str(r.count), f"{r.flops / 1e9:.3g}", f"{r.compulsory / 1e6:.3g}"]
        cells += [_moved(r, "cuda"), _moved(r, "triton")]
        cells += ["-" if r.bound is None else f"{r.bound * 1e6:.1f}", r.limit or "-", str(r.saved)]
        view.add_row(*cells, *(_measured(r, name) for name in measured))
    return view


def _moved(r: Row, backend: str) -> str:
    if backend not in r.moved:
        return "-"
    missed = r.goal is not None and r.ratio(backend) > r.goal
    text = f"{r.moved[backend] / 1e6:.3g} ({r.ratio(backend):.2f}x)"
    return f"[red]{text}[/]" if missed else text


def _measured(r: Row, backend: str) -> str:
    if backend not in r.seconds:
        return "-"
    seconds = r.seconds[backend]
    share = "" if r.bound is None else f" ({r.bound / seconds:.0%})"
    return f"{seconds * 1e6:.1f}{share}"
