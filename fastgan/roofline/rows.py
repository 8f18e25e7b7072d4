"""Rows of the roofline: every call of a network with its counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from fastgan.roofline import (
    bias_act,
    modulated_conv2d,
    modulated_conv2d_triton,
    noise_bias_act,
    spectral_norm,
    upfirdn2d,
)
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
from fastgan.roofline.modulated_conv2d import Work
from fastgan.roofline.traffic import Stream, from_memory, total

# Passes over the activation (for spectral norm, the weight) of plain PyTorch operations. Each
# operation of the unfused sequence reads and writes all of it. What is computed again for a
# gradient, plain PyTorch has kept.
FINISH = ("demodulate", "add noise", "add bias", "leaky ReLU", "gain", "clamp")
EAGER: dict[str, tuple[str, ...]] = {
    "bias_act": ("add bias", "leaky ReLU", "gain", "clamp"),
    "bias_act grad": ("clamp", "gain", "leaky ReLU", "sum to the bias"),
    "noise_bias_act": ("add noise", "add bias", "leaky ReLU", "gain", "clamp"),
    "upfirdn2d up": ("insert zeros", "pad", "convolve", "gain"),
    "upfirdn2d": ("pad", "convolve"),
    "upfirdn2d down": ("pad", "convolve", "keep every second"),
    "modulated_conv2d": ("scale", "convolve", *FINISH),
    "modulated_conv2d up": ("scale", "convolve", "pad", "filter", *FINISH),
    "modulated_conv2d rgb": ("scale", "convolve", "add bias", "clamp"),
    "modulated_conv2d grad": ("demodulate", "convolve"),
    "modulated_conv2d again": (),
    "modulated_conv2d up again": (),
    "spectral_norm": ("W^T u", "W v", "u . W v", "divide"),
}
GOALS = dict.fromkeys(("bias_act", "bias_act grad", "noise_bias_act", "spectral_norm"), 1.1)
GOALS["upfirdn2d"] = 1.25
GOAL_SIZE = 64  # upfirdn2d of smaller images has no goal


@dataclass(frozen=True)
class Row:
    """One call of a network.

    Attributes:
        op: name of the op and the pass; see EAGER.
        shape: of the input, and what is done to it.
        dtype: of the images.
        count: how often the network makes the call.
        flops: floating-point operations that the result needs.
        compulsory: least bytes.
        moved: bytes that the kernels of a backend ask of the L2 cache; a backend without the
            kernel is missing. So it is in what follows.
        memory: bytes that they ask of memory if the cache keeps what blocks share.
        done: floating-point operations of the kernels, those for nothing and those done again by
            neighbours included; of convolutions.
        extra: reads and writes of images between kernels.
        saved: passes over the activation that the kernels save against the unfused sequence.
        bound: least seconds on the machine; None without one.
        limit: "memory" or "arithmetic"; None without a machine.
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
    memory: dict[str, int]
    done: dict[str, int]
    extra: dict[str, int]
    saved: dict[str, int]
    bound: float | None
    limit: str | None
    goal: float | None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """The op without the pass."""
        return self.op.split()[0]

    def ratio(self, backend: str) -> float:
        """Bytes moved over bytes that must be."""
        return self.moved[backend] / self.compulsory


def row(call: Call, count: int, machine: Machine | None) -> Row:
    """Count one call."""
    op, shape, dtype = _describe(call)
    work, compulsory = _least(call)
    bound = limit = None
    if machine is not None:
        cores: DType = dtype if isinstance(call, ModulatedConv2d) else "fp32"
        bound = machine.bound(compulsory, work.products, work.rest, cores)
        limit = "memory" if compulsory / machine.bandwidth >= bound else "arithmetic"
    streams = streams_of(call)
    extra = {name: _extra(found) for name, found in streams.items()}
    passes = 3 if isinstance(call, SpectralNorm) else 1
    eager = len(EAGER[op.removesuffix(" grad") if "upfirdn2d" in op else op])
    return Row(
        op, shape, dtype, count, work.total, compulsory,
        moved={name: total(found) for name, found in streams.items()},
        memory={name: from_memory(found) for name, found in streams.items()},
        done=_done(call),
        extra=extra,
        saved={name: eager - passes - between // 2 for name, between in extra.items()},
        bound=bound, limit=limit, goal=_goal(call, op),
    )  # fmt: skip


def streams_of(call: Call) -> dict[str, list[Stream]]:
    """{backend: streams} of the backends that have kernels for the call."""
    if isinstance(call, BiasAct):
        return {"cuda": bias_act.cuda(call), "triton": bias_act.triton(call)}
    if isinstance(call, NoiseBiasAct):
        return {"cuda": noise_bias_act.cuda(call), "triton": noise_bias_act.triton(call)}
    if isinstance(call, SpectralNorm):
        return {"cuda": spectral_norm.cuda(call), "triton": spectral_norm.triton(call)}
    if isinstance(call, ModulatedConv2d):
        packing = modulated_conv2d.packing(call)
        return {
            "cuda": modulated_conv2d.cuda(call) + packing,
            "triton": modulated_conv2d_triton.streams(call) + packing,
        }
    found = {"cuda": upfirdn2d.cuda(call), "triton": upfirdn2d.triton(call)}
    return {name: streams for name, streams in found.items() if streams is not None}


def _extra(streams: list[Stream]) -> int:
    between = [stream for stream in streams if stream.name == "between"]
    return sum((stream.loaded > 0) + (stream.stored > 0) for stream in between)


def _done(call: Call) -> dict[str, int]:
    if not isinstance(call, ModulatedConv2d):
        return {}
    return {
        "cuda": modulated_conv2d.cuda_work(call).total,
        "triton": modulated_conv2d_triton.work(call).total,
    }


def _least(call: Call) -> tuple[Work, int]:
    if isinstance(call, ModulatedConv2d):
        return modulated_conv2d.work(call), modulated_conv2d.compulsory(call)
    if isinstance(call, BiasAct):
        return Work(0, bias_act.flops(call)), bias_act.compulsory(call)
    if isinstance(call, NoiseBiasAct):
        return Work(0, noise_bias_act.flops(call)), noise_bias_act.compulsory(call)
    if isinstance(call, SpectralNorm):
        return Work(0, spectral_norm.flops(call)), spectral_norm.compulsory(call)
    return Work(0, upfirdn2d.flops(call)), upfirdn2d.compulsory(call)


def _describe(call: Call) -> tuple[str, str, DType]:
    if isinstance(call, SpectralNorm):
        return "spectral_norm", f"{call.rows}x{call.cols}", call.dtype
    shape, dtype = str(call.x), call.x.dtype
    if isinstance(call, NoiseBiasAct):
        return "noise_bias_act", shape, dtype
    if isinstance(call, BiasAct):
        return "bias_act grad" if call.backward else "bias_act", shape, dtype
    if isinstance(call, ModulatedConv2d):
        names = [
            "modulated_conv2d",
            *(["up"] if call.up > 1 else []),
            *(["rgb"] if call.rgb else []),
        ]
        names += [call.role] if call.backward else []
        return " ".join(names), f"{shape} to {call.out_channels}", dtype
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
