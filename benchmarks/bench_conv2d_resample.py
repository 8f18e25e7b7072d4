"""conv2d_resample: 3 x 3 convolutions with upsampling or downsampling by 2."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from benchmarks import plain
from benchmarks.cases import TAPS, Case, Function, normal, sizes
from benchmarks.report import Row
from benchmarks.roofline import Peaks
from benchmarks.runner import Options, run_cases
from fastgan import ops, reference

FILTER = ops.setup_filter(TAPS)


def run(options: Options, peaks: Peaks) -> list[Row]:
    """Time every case."""
    return run_cases(cases(options.quick), options, peaks)


def cases(quick: bool) -> Iterator[Case]:
    """Yield up- and downsampling, in both memory orders: kernels by 2 serve channels_last."""
    batch, channels, size = (2, 16, 8) if quick else (8, 128, 32)
    weight = normal(channels, channels, 3, 3, seed=1) / (9 * channels) ** 0.5
    for channels_last in (False, True):
        x = normal(batch, channels, size, size, channels_last=channels_last)
        yield case(x, weight, {"up": 2}, lambda x, weight: plain.conv_up(x, weight, FILTER))
        yield case(x, weight, {"down": 2}, lambda x, weight: plain.conv_down(x, weight, FILTER))


def case(x: Tensor, weight: Tensor, factor: dict[str, Any], way: Function) -> Case:
    """Return one factor of the op; padding keeps the size."""

    def function(x: Tensor, weight: Tensor, *, backend: str) -> Tensor:
        return ops.conv2d_resample(x, weight, FILTER, **factor, padding=1, backend=backend)

    def specification(x: Tensor, weight: Tensor) -> Tensor:
        return reference.conv2d_resample(x, weight, FILTER, **factor, padding=(1, 1, 1, 1))

    pixels = x.shape[0] * x.shape[2] * x.shape[3]
    pixels //= 4 if "down" in factor else 1
    outputs = 4 * pixels if "up" in factor else pixels
    traffic = x.nbytes + weight.nbytes + 4 * outputs * weight.shape[0]  # x, the weight, y
    flops = 2 * 9 * weight.shape[0] * weight.shape[1] * pixels
    return Case(
        op="conv2d_resample",
        name=f"{sizes(tuple(x.shape))} to {weight.shape[0]} {'up' if 'up' in factor else 'down'}2",
        inputs=(x, weight),
        function=function,
        reference=specification,
        plain={"transposed" if "up" in factor else "strided": way},
        traffic={"fwd": traffic, "fwd_bwd": 3 * traffic},
        flops={"fwd": flops, "fwd_bwd": 3 * flops},
    )
