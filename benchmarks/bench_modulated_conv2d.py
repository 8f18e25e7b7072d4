"""modulated_conv2d: the generator's layer, at one size and upsampling by 2."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from torch import Tensor

from benchmarks import plain
from benchmarks.cases import TAPS, Case, normal, sizes
from benchmarks.report import Row
from benchmarks.roofline import Peaks
from benchmarks.runner import Options, run_cases
from fastgan import ops, reference

FILTER = ops.setup_filter(TAPS)


def run(options: Options, peaks: Peaks) -> list[Row]:
    """Time every case."""
    return run_cases(cases(options.quick), options, peaks)


def cases(quick: bool) -> Iterator[Case]:
    """Yield one layer in the middle of a StyleGAN2, without and with upsampling."""
    batch, channels, size = (2, 8, 8) if quick else (8, 128, 32)
    for up in (1, 2):
        yield case(batch, channels, size, up)


def case(batch: int, channels: int, size: int, up: int) -> Case:
    """Return the layer with as many channels out as in."""
    x = normal(batch, channels, size, size)
    weight = normal(channels, channels, 3, 3, seed=1)
    styles = 1 + 0.3 * normal(batch, channels, seed=2)

    def function(x: Tensor, weight: Tensor, styles: Tensor, *, backend: str) -> Tensor:
        return ops.modulated_conv2d(
            x, weight, styles, up=up, padding=1, resample_filter=FILTER, backend=backend
        )

    def specification(x: Tensor, weight: Tensor, styles: Tensor) -> Tensor:
        return reference.modulated_conv2d(
            x, weight, styles, up=up, padding=(1, 1, 1, 1), resample_filter=FILTER
        )

    flops = 2 * 9 * channels**2 * batch * size**2
    traffic = (1 + up**2) * x.nbytes + weight.nbytes + styles.nbytes  # x, y, weight, styles
    return Case(
        op="modulated_conv2d",
        name=f"{sizes(tuple(x.shape))} up{up}",
        inputs=(x, weight, styles),
        function=function,
        reference=specification,
        plain={
            "scaled": partial(plain.modulated, taps=FILTER, up=up),
            "grouped": partial(plain.modulated_grouped, taps=FILTER, up=up),
        },
        traffic={"fwd": traffic, "fwd_bwd": 3 * traffic},
        flops={"fwd": flops, "fwd_bwd": 3 * flops},
        passes=("fwd", "fwd_bwd", "double_bwd"),
    )
