"""Runs every call of a network once on the Triton backend, forward and both backwards, so that
Triton's cache has all kernels before the first training step needs them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor

from fastgan import ops
from fastgan.dispatch import registry
from fastgan.dispatch.spec import GPU_OPS, OpCall
from fastgan.errors import BackendUnavailableError
from fastgan.roofline import rows
from fastgan.roofline.calls import (
    Call,
    DType,
    ModulatedConv2d,
    NoiseBiasAct,
    SpectralNorm,
    Upfirdn2d,
)
from fastgan.roofline.measured import DTYPES, modulated
from fastgan.roofline.report import network

Function = Callable[..., Tensor]


@dataclass
class Warmed:
    """What one op took.

    Attributes:
        op: its name.
        calls: shapes that ran.
        kernels: kernels that Triton's cache did not have.
        seconds: of all of them.
    """

    op: str
    calls: int = 0
    kernels: int = 0
    seconds: float = 0.0


def why_not(device: str, backend: str = "triton") -> str | None:
    """Why nothing can be compiled for `device`, and what to do; None when it can."""
    kind = device.split(":")[0]
    for op in (
        op for op in registry.OPS if op not in GPU_OPS
    ):  # the C++ backend, in tests, lacks those
        reason = registry.why_not(backend, OpCall(op, kind, torch.float32))
        if reason is not None:
            return (
                f"{reason}. Triton compiles for the GPU that it finds: run fastgan warmup on the "
                "machine that will train, with a CUDA build of torch and triton installed; "
                "fastgan doctor shows what is there. Nothing else has to be compiled ahead."
            )
    return None


def cache_folder() -> Path:
    """Where Triton keeps what it compiled: a folder for each kernel."""
    named = os.environ.get("TRITON_CACHE_DIR")
    return Path(named) if named else Path.home() / ".triton" / "cache"


def compiled() -> int:
    """Kernels in Triton's cache."""
    folder = cache_folder()
    return sum(1 for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else 0


def calls(resolution: int, batch: int | None, dtypes: Sequence[DType]) -> list[Call]:
    """The calls of the preset network, without those that others' gradients make."""
    found = [call for dtype in dtypes for call in network(resolution, batch, dtype)]
    return [call for call in dict.fromkeys(found) if not getattr(call, "backward", False)]


def warm(
    found: list[Call], device: str, backend: str = "triton",
    progress: Callable[[], object] = lambda: None,
) -> list[Warmed]:  # fmt: skip
    """Run each call once, with its first and second gradients; what that took, by op.

    Raises: BackendUnavailableError when the backend cannot run on `device`.
    """
    reason = why_not(device, backend)
    if reason is not None:
        raise BackendUnavailableError(f"warmup: {reason}")
    result: dict[str, Warmed] = {}
    for call in found:
        op = rows.row(call, 1, None).family
        entry = result.setdefault(op, Warmed(op))
        before, started = compiled(), time.perf_counter()
        for function, inputs in _functions(call, device):
            _differentiate_twice(function, inputs, backend)
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        entry.calls += 1
        entry.kernels += compiled() - before
        entry.seconds += time.perf_counter() - started
        progress()
    return list(result.values())


def _differentiate_twice(function: Function, inputs: list[Tensor], backend: str) -> None:
    leaves = [x.requires_grad_() for x in inputs]
    y = function(*leaves, backend=backend)
    upstream = torch.ones_like(y).requires_grad_()
    first = torch.autograd.grad(y, leaves, upstream, create_graph=True)
    torch.autograd.grad(first, [*leaves, upstream], first, allow_unused=True)


def _functions(call: Call, device: str) -> Iterator[tuple[Function, list[Tensor]]]:
    def random(*size: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.randn(size, device=device).to(dtype)

    if not isinstance(call, SpectralNorm):
        size = (call.x.batch, call.x.channels, call.x.height, call.x.width)
        x = random(*size, dtype=DTYPES[call.x.dtype])
        layout = torch.channels_last if call.x.channels_last else torch.contiguous_format
        x = x.contiguous(memory_format=layout)
        yield from _image_functions(call, x, random)
        return
    u = torch.nn.functional.normalize(random(call.rows), dim=0).to(DTYPES[call.dtype])

    def normalized(w: Tensor, *, backend: str) -> Tensor:
        return ops.spectral_norm(w, u, backend=backend)[0]

    yield normalized, [random(call.rows, call.cols, dtype=u.dtype)]


def _image_functions(
    call: Any, x: Tensor, random: Callable[..., Tensor]
) -> Iterator[tuple[Function, list[Tensor]]]:
    taps = ops.setup_filter([1, 3, 3, 1], device=x.device)
    if isinstance(call, Upfirdn2d):

        def resampled(x: Tensor, *, backend: str) -> Tensor:
            return ops.upfirdn2d(
                x, taps, up=call.up, down=call.down, padding=2 * call.padding, backend=backend
            )

        yield resampled, [x]
        return
    if isinstance(call, ModulatedConv2d):
        tensors, settings = modulated(call, x)
        names = list(tensors)

        def convolved(x: Tensor, *inputs: Tensor, backend: str) -> Tensor:
            named: dict[str, Any] = dict(zip(names, inputs, strict=True))
            return ops.modulated_conv2d(x, **named, **settings, backend=backend)

        yield convolved, [x, *tensors.values()]
        return
    bias = random(x.shape[1], dtype=x.dtype)
    if isinstance(call, NoiseBiasAct):
        yield partial(ops.noise_bias_act, clamp=256.0), [x, random(*x[:, :1].shape), bias]
        return

    def activated(x: Tensor, b: Tensor, *, backend: str) -> Tensor:
        smooth = ops.bias_act(x, b, act="swish", backend=backend)  # the kernel of second gradients
        return ops.bias_act(smooth, b, act="lrelu", clamp=256.0, backend=backend)

    yield activated, [x.detach(), bias]


def run(
    device: str, resolution: int, batch: int | None, dtypes: Sequence[DType], console: Console
) -> list[Warmed]:
    """Warm up and print what that took."""
    found = calls(resolution, batch, dtypes)
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("compiling", total=len(found))
        warmed = warm(found, device, progress=lambda: bar.advance(task))
    view = Table("op", "shapes", "new kernels", "seconds", title=f"StyleGAN2-{resolution}")
    for entry in warmed:
        view.add_row(entry.op, str(entry.calls), str(entry.kernels), f"{entry.seconds:.1f}")
    console.print(view)
    kernels, seconds = sum(w.kernels for w in warmed), sum(w.seconds for w in warmed)
    console.print(f"{kernels} kernels compiled into {cache_folder()} in {seconds:.0f} s")
    return warmed
