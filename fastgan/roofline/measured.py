"""Times of the calls on a real device, beside their bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from fastgan import ops
from fastgan.dispatch import registry
from fastgan.dispatch.spec import OpCall
from fastgan.roofline.calls import (
    BiasAct,
    Call,
    Images,
    ModulatedConv2d,
    NoiseBiasAct,
    SpectralNorm,
    Upfirdn2d,
)
from fastgan.roofline.machines import Machine
from fastgan.roofline.table import Row, row
from fastgan.timing import CudaTimer, Timer, measure

DTYPES = {"fp32": torch.float32, "fp16": torch.float16}
Bound = Callable[..., object]  # takes `backend`


def op_of(call: Call) -> str:
    """Name of the op in `fastgan.ops` whose backends serve the call."""
    if isinstance(call, BiasAct | NoiseBiasAct):
        return "bias_act"
    if isinstance(call, SpectralNorm):
        return "spectral_norm"
    return "upfirdn2d" if isinstance(call, Upfirdn2d) else "modulated_conv2d"


def measured(
    counted: Iterable[tuple[Call, int]],
    machine: Machine | None,
    device: str,
    *,
    rounds: int = 30,
    timer: Timer | None = None,
    progress: Callable[[], object] = lambda: None,
) -> list[Row]:
    """Count and time the calls on every kernel backend of `device`, interleaved.

    Args:
        counted: calls and how often the network makes them.
        machine: whose bounds are taken.
        device: where to run.
        rounds: timed runs of each backend.
        timer: what times a run; None takes CUDA's events on CUDA.
        progress: called after each call.
    """
    if timer is None and device.startswith("cuda"):
        timer = CudaTimer()
    found = []
    for call, count in counted:
        function = bind(call, device)
        names = backends(call, device)
        contenders = {name: partial(function, backend=name) for name in names}
        times = measure(contenders, rounds=rounds, timer=timer)
        seconds = {name: timing.minimum for name, timing in times.items()}
        found.append(replace(row(call, count, machine), seconds=seconds))
        progress()
    return found


def backends(call: Call, device: str) -> list[str]:
    """Kernel backends that serve the call on `device`."""
    dtype = DTYPES[call.dtype if isinstance(call, SpectralNorm) else call.x.dtype]
    asked = OpCall(op_of(call), torch.device(device).type, dtype)
    return [
        name
        for name in registry.BACKENDS
        if name != "reference" and registry.why_not(name, asked) is None
    ]


def bind(call: Call, device: str) -> Bound:
    """The call on random tensors of its shapes, as a function of the backend."""
    if isinstance(call, SpectralNorm):
        w = torch.randn(call.rows, call.cols, device=device).to(DTYPES[call.dtype])
        return torch.no_grad()(partial(ops.spectral_norm, w, w[:, 0].contiguous()))
    x = _images(call.x, device)
    if isinstance(call, Upfirdn2d):
        taps = torch.ones(call.taps, call.taps, device=device) / call.taps**2
        return torch.no_grad()(
            partial(ops.upfirdn2d, x, taps, up=call.up, down=call.down, padding=2 * call.padding)
        )
    if isinstance(call, ModulatedConv2d):
        return _modulated(call, x)
    bias = torch.randn(call.x.channels, device=device).to(x.dtype)
    if isinstance(call, NoiseBiasAct):
        return _sequence(x, bias)
    if call.backward:
        return _bias_act_grad(x, bias)
    return torch.no_grad()(partial(ops.bias_act, x, bias, clamp=256.0))


def _images(like: Images, device: str) -> Tensor:
    shape = (like.batch, like.channels, like.height, like.width)
    layout = torch.channels_last if like.channels_last else torch.contiguous_format
    x = torch.empty(shape, dtype=DTYPES[like.dtype], device=device, memory_format=layout)
    return x.normal_()


def _modulated(call: ModulatedConv2d, x: Tensor) -> Bound:
    shape = (call.out_channels, call.x.channels, call.size, call.size)
    weight = torch.randn(shape, device=x.device)
    styles = torch.randn(call.x.batch, call.x.channels, device=x.device)
    function = partial(
        ops.modulated_conv2d, x, weight, styles, up=call.up, padding=call.size // 2,
        resample_filter=ops.setup_filter([1, 3, 3, 1], device=x.device),
        demodulate=call.demodulate, flip_weight=call.up == 1,
    )  # fmt: skip
    return torch.no_grad()(function)


def _sequence(x: Tensor, bias: Tensor) -> Bound:
    scale = torch.randn(x.shape[:2], device=x.device)
    noise = torch.randn(x.shape[0], 1, *x.shape[2:], device=x.device)

    @torch.no_grad()
    def function(backend: str) -> Tensor:
        scaled = torch.ops.fastgan.modulated_conv2d_scale(x, scale, noise, backend)
        return ops.bias_act(scaled, bias, clamp=256.0, backend=backend)

    return function


def _bias_act_grad(x: Tensor, bias: Tensor) -> Bound:
    leaves = [x.requires_grad_(), bias.requires_grad_()]
    upstream = torch.randn_like(x)
    outputs: dict[str, Tensor] = {}

    def function(backend: str) -> tuple[Tensor, ...]:
        if backend not in outputs:  # the warm-up; what is timed is the gradient alone
            outputs[backend] = ops.bias_act(*leaves, clamp=256.0, backend=backend)
        return torch.autograd.grad(outputs[backend], leaves, upstream, retain_graph=True)

    return function
