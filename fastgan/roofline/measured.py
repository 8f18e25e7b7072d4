"""Times of the calls on a real device, beside their bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fastgan import ops
from fastgan.dispatch import registry
from fastgan.dispatch.spec import OpCall
from fastgan.roofline.calls import (
    BiasAct,
    Call,
    DType,
    Images,
    ModulatedConv2d,
    NoiseBiasAct,
    SpectralNorm,
    Upfirdn2d,
)
from fastgan.roofline.machines import Machine
from fastgan.roofline.rows import Row, row
from fastgan.timing import CudaTimer, Timer, measure

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "tf32": torch.float32}
Bound = Callable[..., object]  # takes `backend`


def op_of(call: Call) -> str:
    """Name of the op in `fastgan.ops` whose backends serve the call."""
    if isinstance(call, BiasAct):
        return "bias_act"
    if isinstance(call, NoiseBiasAct):
        return "noise_bias_act"
    if isinstance(call, SpectralNorm):
        return "spectral_norm"
    return "upfirdn2d" if isinstance(call, Upfirdn2d) else "modulated_conv2d"


def dtype_of(call: Call) -> DType:
    """Type of the images, or of the weight."""
    return call.dtype if isinstance(call, SpectralNorm) else call.x.dtype


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
        with precision(dtype_of(call)):
            times = measure(contenders, rounds=rounds, timer=timer)
        seconds = {name: timing.minimum for name, timing in times.items()}
        found.append(replace(row(call, count, machine), seconds=seconds))
        progress()
    return found


def backends(call: Call, device: str) -> list[str]:
    """Kernel backends that serve the call on `device`."""
    asked = OpCall(op_of(call), torch.device(device).type, DTYPES[dtype_of(call)])
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
        tensors, settings = modulated(call, x)
        return torch.no_grad()(partial(ops.modulated_conv2d, x, **(tensors | settings)))
    bias = torch.randn(call.x.channels, device=device).to(x.dtype)
    if isinstance(call, NoiseBiasAct):
        noise = torch.randn(call.x.batch, 1, call.x.height, call.x.width, device=device)
        return torch.no_grad()(partial(ops.noise_bias_act, x, noise, bias, clamp=256.0))
    if call.backward:
        return _bias_act_grad(x, bias)
    return torch.no_grad()(partial(ops.bias_act, x, bias, clamp=256.0))


def _images(like: Images, device: str) -> Tensor:
    shape = (like.batch, like.channels, like.height, like.width)
    layout = torch.channels_last if like.channels_last else torch.contiguous_format
    x = torch.empty(shape, dtype=DTYPES[like.dtype], device=device, memory_format=layout)
    return x.normal_()


def modulated(call: ModulatedConv2d, x: Tensor) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Random tensors for the op on images x, and what else it is called with."""

    def random(*size: int) -> Tensor:
        return torch.randn(size, device=x.device)

    shape = (call.out_channels, call.x.channels, call.size, call.size)
    tensors = {"weight": random(*shape), "styles": random(*x.shape[:2])}
    settings: dict[str, Any] = {
        "up": call.up, "padding": call.size // 2, "flip_weight": call.up == 1,
        "resample_filter": ops.setup_filter([1, 3, 3, 1], device=x.device),
        "demodulate": call.is_layer,
    }  # fmt: skip
    if call.is_layer:
        tensors["noise"] = random(call.x.batch, 1, call.y.height, call.y.width)
        settings |= {"act": "lrelu"}
    if not call.backward:
        tensors["bias"] = random(call.out_channels)
        settings["clamp"] = 256.0
    return tensors, settings


@contextmanager
def precision(dtype: DType) -> Iterator[None]:
    """Convolutions of float32 in TensorFloat-32 for "tf32" and without it for the others."""
    settings = torch.backends.cudnn
    # What flags() is not told of it changes: cuDNN itself would be off.
    with settings.flags(
        enabled=settings.enabled, benchmark=settings.benchmark, allow_tf32=dtype == "tf32"
    ):
        yield


def _bias_act_grad(x: Tensor, bias: Tensor) -> Bound:
    leaves = [x.requires_grad_(), bias.requires_grad_()]
    upstream = torch.randn_like(x)
    outputs: dict[str, Tensor] = {}

    def function(backend: str) -> tuple[Tensor, ...]:
        if backend not in outputs:  # the warm-up; what is timed is the gradient alone
            outputs[backend] = ops.bias_act(*leaves, clamp=256.0, backend=backend)
        return torch.autograd.grad(outputs[backend], leaves, upstream, retain_graph=True)

    return function
