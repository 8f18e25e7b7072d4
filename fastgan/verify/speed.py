"""Times of the kernels beside the same op in plain PyTorch, eager and compiled, in turn."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch

from fastgan.networks.geometry import Widths
from fastgan.roofline import calls, rows
from fastgan.roofline.calls import BiasAct, Call, ModulatedConv2d, SpectralNorm
from fastgan.roofline.measured import backends, bind, dtype_of, precision
from fastgan.timing import measure
from fastgan.verify.device import Device
from fastgan.verify.parity import Skip


@dataclass(frozen=True)
class Speed:
    """Times of one call.

    Attributes:
        op, shape, dtype: what ran.
        seconds: {who: minimum, median, ... of `fastgan.timing.Timing`}.
        ratios: {backend: {"eager" or "compile": times as fast, by minimum}}.
    """

    op: str
    shape: str
    dtype: str
    seconds: dict[str, dict[str, float]]
    ratios: dict[str, dict[str, float]]


def chosen(device: Device, *, quick: bool) -> list[Call]:
    """The largest call of each kind in a StyleGAN2 that is large enough for the device."""
    size, batch, widths = (256, 16, Widths(16384)) if device.on_gpu else (64, 4, Widths(4096, 64))
    if quick:
        size, batch, widths = (64, 4, widths) if device.on_gpu else (16, 2, Widths(256, 16))
    dtypes: tuple[calls.DType, ...] = ("fp16", "tf32", "fp32") if device.on_gpu else ("fp32",)
    largest: dict[tuple[Any, ...], Call] = {}
    for dtype in dtypes:
        for call in calls.stylegan2(size, batch, widths, dtype):
            if isinstance(call, ModulatedConv2d):
                if call.backward:
                    continue  # the kernels of the forward pass
            elif dtype == "tf32":
                continue  # the calls of fp32
            row = rows.row(call, 1, None)
            backward = isinstance(call, BiasAct) and call.backward
            key = (row.op.removesuffix(" grad") if not backward else row.op, dtype)
            if key not in largest or row.compulsory > rows.row(largest[key], 1, None).compulsory:
                largest[key] = call
    return list(largest.values())


def time_all(
    found: list[Call], device: Device, *, quick: bool, progress: Callable[[], object]
) -> Iterator[Speed | Skip]:
    """Time each call on every backend that serves it, eager and torch.compile in between."""
    if quick:
        yield Skip("torch.compile", "not measured in a quick run: each call takes long to compile")
    timer = device.timer()
    for call in found:
        row = rows.row(call, 1, None)
        function = bind(call, device.place)
        names = ["reference", *backends(call, device.kind)]
        contenders: dict[str, Callable[[], object]] = {
            name: partial(function, backend=name) for name in names
        }
        contenders["eager"] = contenders.pop("reference")
        if not quick:
            compiled = _compiled(contenders["eager"], call)
            if isinstance(compiled, Skip):
                yield compiled
            else:
                contenders["compile"] = compiled
        try:
            with precision(dtype_of(call)):
                timings = measure(
                    contenders, rounds=5 if quick else 30, max_seconds=30, timer=timer
                )
        except Exception as error:
            yield Skip(f"time of {row.op} {row.shape}", f"{type(error).__name__}: {error}")
            continue
        seconds = {name: asdict(timing) for name, timing in timings.items()}
        yield Speed(row.op, row.shape, row.dtype, seconds, _ratios(seconds))
        progress()


def _compiled(eager: Callable[[], object], call: Call) -> Callable[[], object] | Skip:
    op, shape = rows.row(call, 1, None).op, rows.row(call, 1, None).shape
    if isinstance(call, BiasAct) and call.backward:
        return Skip(f"torch.compile of {op}", "a gradient of a graph that is kept is not compiled")
    torch._dynamo.reset()
    run: Callable[[], object] = torch.compile(eager, dynamic=isinstance(call, SpectralNorm))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run()
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        return Skip(f"torch.compile of {op} {shape}", f"{type(error).__name__}: {reason}")
    return run


def _ratios(seconds: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    plain = [name for name in ("eager", "compile") if name in seconds]
    return {
        name: {other: seconds[other]["minimum"] / found["minimum"] for other in plain}
        for name, found in seconds.items()
        if name not in plain
    }
